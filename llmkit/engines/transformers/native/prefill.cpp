// Read prompts of a Llama-like decoder: all layers in one call, in one parallel region.
//
// A row is one token; the tokens of a sequence that are read now stand one behind the other. Weights are turned over
// into panels that all rows share (panels.h), and attention goes over blocks of keys that begin at fixed positions of
// the sequence. So the numbers of a token do not depend on the rows beside it, or on where a prompt is cut.
// Threads take shares of the outputs, of rows, or of attention's tiles, one after the other, so that one that is held
// up holds up no share but its own.

#include "call.h"
#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace attention {
#include "attend.cpp"
}

#include "panels.h"
#if defined(__AMX_BF16__) || defined(EMULATE_TILES)
#include "matrix_registers.h"
#endif
#include "shares.h"

namespace decoder {

constexpr int BLOCK = 8; // rows that a thread takes at a time

// Tokens of a sequence that are read now.
struct Piece {
    int64_t row, count, offset, position;
};

struct Reading {
    float *hidden, *qkv[3], *delta, *gate, *up, *cosines, *sines, *low[3];
    char *queries, *attended; // [rows, heads, head_dim], in the cache's type
    Input input, inner;       // of the products before and after attention or activation
    char *own;                // each thread's panels and scratch
    int *tickets;
    Piece *pieces;
    int count_pieces;
};

// Shares of a phase, handed out in order. All threads go through the same phases.
struct Tickets {
    int *next;
    int64_t phase = -1;
    void begin() { phase++; }
    int64_t take() { return __atomic_fetch_add(next + phase * L, 1, __ATOMIC_RELAXED); }
};
constexpr int PHASES = 10; // of a layer, at most

constexpr size_t PANEL_BYTES = SHARE * PANEL * DEPTH * 4;
constexpr size_t OWN_BYTES = PANEL_BYTES + (sizeof(attention::Scratch) + 63) / 64 * 64;

// A row's input of an adapter's second product.
inline void to_low_row(const Matrix &m, const float *x, float *low, int64_t r) {
    if (m.rank) to_low(m, x, 0, 1, low + r * m.rank);
}

// Normalize and rotate a row's queries and keys, and put its keys and values into the cache.
template <typename T>
void place(const Model &m, const Layer &layer, const Row &row, const Reading &b, int64_t r) {
    const int64_t dim = m.head_dim, half = m.rotary / 2, qn = m.heads * dim, kn = m.kv_heads * dim;
    const float *cosines = b.cosines + r * half, *sines = b.sines + r * half;
    float *q = b.qkv[0] + r * qn, *k = b.qkv[1] + r * kn;
    for (int64_t h = 0; h < m.heads; h++, q += dim) {
        if (layer.q_norm) rms_norm(q, layer.q_norm, q, dim, m.epsilon);
        rotate(q, cosines, sines, m.rotary);
        copy_row((T *)b.queries + r * qn + h * dim, q, dim);
    }
    for (int64_t h = 0; h < m.kv_heads; h++) {
        if (layer.k_norm) rms_norm(k + h * dim, layer.k_norm, k + h * dim, dim, m.epsilon);
        rotate(k + h * dim, cosines, sines, m.rotary);
    }
    const int64_t at = (row.offset + row.position) * kn;
    copy_row((T *)layer.keys + at, k, kn);
    copy_row((T *)layer.values + at, b.qkv[2] + r * kn, kn);
}

// Attention of the pieces' queries to all keys up to their own, tile by tile.
template <typename T>
void attention_of(const Model &m, const Layer &layer, const Reading &b, Tickets &tickets, attention::Scratch &scratch, char *out, int64_t out_step) {
    const int64_t dim = m.head_dim, groups = m.heads / m.kv_heads, each = attention::ROWS / groups, stride = m.kv_heads * dim;
    int64_t done = 0, n = tickets.take();
    for (int i = b.count_pieces - 1; i >= 0; i--) {
        const Piece &piece = b.pieces[i];
        const int64_t tiles = (piece.count + each - 1) / each, all = tiles * m.kv_heads;
        attention::Job job{};
        job.q = b.queries + piece.row * m.heads * dim * sizeof(T);
        job.k = (const char *)layer.keys + piece.offset * stride * sizeof(T);
        job.v = (const char *)layer.values + piece.offset * stride * sizeof(T);
        job.out = out + piece.row * out_step;
        job.heads = m.heads, job.kv_heads = m.kv_heads, job.dim = dim;
        job.queries = piece.count, job.keys = piece.position + piece.count;
        job.qs[1] = job.ks[1] = job.vs[1] = job.os[1] = dim;
        job.qs[2] = m.heads * dim, job.ks[2] = job.vs[2] = stride, job.os[2] = out_step / sizeof(T);
        job.scale = m.attention_scale, job.causal = 1, job.window = layer.window, job.alike = true;
        for (; n < done + all; n = tickets.take()) {
            // The last queries first: they see the most keys.
            const int64_t first = (tiles - 1 - (n - done) / m.kv_heads) * each;
            const int64_t count = piece.count - first < each ? piece.count - first : each;
            attention::tile<T>(job, scratch, 0, (n - done) % m.kv_heads, first, (int)count, (int)groups);
        }
        done += all;
    }
}

// The work of one thread.
void work(const Model &m, const Row *rows, int64_t count, const Reading &b, float *logits, int64_t wanted, Barrier &barrier, int thread, int threads) {
    const int64_t n = m.hidden, qn = m.heads * m.head_dim, blocks = (count + BLOCK - 1) / BLOCK;
    uint32_t *panels = (uint32_t *)(b.own + thread * OWN_BYTES);
    attention::Scratch &scratch = *(attention::Scratch *)((char *)panels + PANEL_BYTES);
    Tickets tickets{b.tickets};
    // f(row) for all rows.
    auto each_row = [&](auto f) {
        tickets.begin();
        for (int64_t i; (i = tickets.take()) < blocks;)
            for (int64_t r = i * BLOCK; r < count && r < (i + 1) * BLOCK; r++) f(r);
        barrier.wait();
    };
    auto product_of = [&](const Matrix &matrix, const Input &in, float *out) {
        tickets.begin();
        for (int64_t i; (i = tickets.take()) < shares(matrix);) product_share(matrix, in, count, i, b.low[0], panels, out);
        barrier.wait();
    };
    each_row([&](int64_t r) {
        for (int64_t i = 0; i < m.rotary / 2; i++) {
            float angle = (float)rows[r].position * m.frequencies[i];
            b.cosines[r * (m.rotary / 2) + i] = cosf(angle) * m.rope_scale;
            b.sines[r * (m.rotary / 2) + i] = sinf(angle) * m.rope_scale;
        }
    });
    for (int64_t l = 0; l < m.count; l++) {
        const Layer &layer = m.layers[l];
        each_row([&](int64_t r) {
            if (l) add_to(b.hidden + r * n, b.delta + r * n, n);
            rms_norm(b.hidden + r * n, layer.input_norm, b.delta + r * n, n, m.epsilon);
            prepare(layer.q, b.input, r, b.delta + r * n);
            int i = 0;
            for (const Matrix *matrix : {&layer.q, &layer.k, &layer.v}) to_low_row(*matrix, b.delta + r * n, b.low[i++], r);
        });
        tickets.begin();
        const int64_t to_k = shares(layer.q), to_v = to_k + shares(layer.k), end = to_v + shares(layer.v);
        for (int64_t i; (i = tickets.take()) < end;) {
            if (i < to_k) product_share(layer.q, b.input, count, i, b.low[0], panels, b.qkv[0]);
            else if (i < to_v) product_share(layer.k, b.input, count, i - to_k, b.low[1], panels, b.qkv[1]);
            else product_share(layer.v, b.input, count, i - to_v, b.low[2], panels, b.qkv[2]);
        }
        barrier.wait();
        each_row([&](int64_t r) {
            if (m.cache_kind) place<uint16_t>(m, layer, rows[r], b, r);
            else place<float>(m, layer, rows[r], b, r);
        });
        // The output product reads what attention wrote, or its int8 or widened form.
        const bool direct = !layer.o.rank && format_of(layer.o) == (m.cache_kind ? WORDS : FLOATS);
        char *out = direct ? b.inner.rows : b.attended;
        tickets.begin();
        if (m.cache_kind) attention_of<uint16_t>(m, layer, b, tickets, scratch, out, direct ? b.inner.step : qn * 2);
        else attention_of<float>(m, layer, b, tickets, scratch, out, direct ? b.inner.step : qn * 4);
        barrier.wait();
        if (!direct)
            each_row([&](int64_t r) {
                float *row = b.qkv[0] + r * qn; // the queries are done with
                if (m.cache_kind) copy_row(row, (const uint16_t *)b.attended + r * qn, qn);
                else copy_row(row, (const float *)b.attended + r * qn, qn);
                prepare(layer.o, b.inner, r, row);
                to_low_row(layer.o, row, b.low[0], r);
            });
        product_of(layer.o, b.inner, b.delta);
        each_row([&](int64_t r) {
            add_to(b.hidden + r * n, b.delta + r * n, n);
            rms_norm(b.hidden + r * n, layer.post_norm, b.delta + r * n, n, m.epsilon);
            prepare(layer.gate, b.input, r, b.delta + r * n);
            to_low_row(layer.gate, b.delta + r * n, b.low[0], r);
            to_low_row(layer.up, b.delta + r * n, b.low[1], r);
        });
        tickets.begin();
        for (int64_t i; (i = tickets.take()) < shares(layer.gate);) {
            product_share(layer.gate, b.input, count, i, b.low[0], panels, b.gate);
            product_share(layer.up, b.input, count, i, b.low[1], panels, b.up);
            const int64_t from = i * SHARE * PANEL, width = m.inner - from < SHARE * PANEL ? m.inner - from : SHARE * PANEL;
            for (int64_t r = 0; r < count; r++) {
                float *gate = b.gate + r * m.inner + from;
                activate(m, gate, b.up + r * m.inner + from, width);
                if (format_of(layer.down) == WORDS) copy_row((uint16_t *)(b.inner.rows + r * b.inner.step) + from, gate, width);
                else if (format_of(layer.down) == FLOATS) copy_row((float *)(b.inner.rows + r * b.inner.step) + from, gate, width);
            }
        }
        barrier.wait();
        if (format_of(layer.down) == BYTES || layer.down.rank)
            each_row([&](int64_t r) {
                prepare(layer.down, b.inner, r, b.gate + r * m.inner);
                to_low_row(layer.down, b.gate + r * m.inner, b.low[0], r);
            });
        product_of(layer.down, b.inner, b.delta);
    }
    each_row([&](int64_t r) {
        const int64_t line = rows[r].logits;
        if (line < 0) return;
        add_to(b.hidden + r * n, b.delta + r * n, n);
        rms_norm(b.hidden + r * n, m.final_norm, b.gate + line * n, n, m.epsilon);
        make_ready(m.head, b.input, line, b.gate + line * n);
    });
    if (wanted) product(m.head, b.gate, n, b.input, (int)wanted, logits, thread, threads);
}

} // namespace decoder

// hidden: float32 [rows, hidden], embeddings of the rows' tokens; its contents are lost.
// logits: float32 [wanted, vocabulary]. Rows of one sequence stand in the order of their positions.
// Returns 0 when done, 1 when there is no memory.
extern "C" int NAME(const void *model, const void *rows, int count, float *hidden, float *logits, int wanted, int threads) {
    using namespace decoder;
    const Model &m = *(const Model *)model;
    const Row *row = (const Row *)rows;
    const int64_t qn = m.heads * m.head_dim, kn = m.kv_heads * m.head_dim;
    const int64_t tickets = (m.count * PHASES + 4) * L;
    Reading b{};
    b.hidden = hidden;
    static thread_local Kept kept;
    const bool there = lay_out(kept, [&](Places &place) {
        place(b.qkv[0], count * qn), place(b.qkv[1], count * kn), place(b.qkv[2], count * kn);
        place(b.delta, count * m.hidden), place(b.up, count * m.inner);
        place(b.gate, count * wider(m.inner, m.hidden)); // the last hidden states end there
        place(b.cosines, count * m.rotary / 2), place(b.sines, count * m.rotary / 2);
        for (float *&low : b.low) place(low, count * m.rank);
        place(b.queries, count * qn * 4), place(b.attended, count * qn * 4);
        place(b.input, count, m.hidden, 4), place(b.inner, count, wider(qn, m.inner), 4);
        place(b.own, threads * OWN_BYTES), place(b.tickets, tickets), place(b.pieces, count);
    });
    if (!there) return 1;
    memset(b.tickets, 0, tickets * sizeof(int));
    for (int r = 0; r < count; r++) {
        Piece *before = r ? b.pieces + b.count_pieces - 1 : nullptr;
        if (r && before->offset == row[r].offset && before->position + before->count == row[r].position) before->count++;
        else b.pieces[b.count_pieces++] = {r, 1, row[r].offset, row[r].position};
    }
    in_threads(threads, [&](Barrier &barrier, int thread, int all) { work(m, row, count, b, logits, wanted, barrier, thread, all); });
    kept.keep_at_most(64 << 20);
    return 0;
}

#define PASTE(a, b) a##b
#define SUFFIXED(a, b) PASTE(a, b)
// Compare products in matrix registers, where the level has them, with those without. Returns 0 when they agree.
extern "C" int SUFFIXED(NAME, _check)() {
    using namespace decoder;
#if defined(__AMX_BF16__) || defined(EMULATE_TILES)
    constexpr int64_t INPUTS = 2 * DEPTH + 96, OUTPUTS = SHARE * PANEL, ROWS = 37, PADDED = 48, STEP = 2 * INPUTS + 64;
    const size_t bytes = 2 * INPUTS * OUTPUTS + PADDED * STEP + PANEL_BYTES + 2 * ROWS * OUTPUTS * 4;
    char *at = (char *)aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!at) return 1;
    uint32_t *panels = (uint32_t *)at;
    Matrix m{};
    Input in{};
    m.weight = at + PANEL_BYTES, m.inputs = INPUTS, m.outputs = OUTPUTS, m.kind = 1;
    in.rows = (char *)m.weight + 2 * INPUTS * OUTPUTS, in.step = STEP;
    float *found[2];
    found[0] = (float *)(in.rows + PADDED * STEP), found[1] = found[0] + ROWS * OUTPUTS;
    uint32_t seed = 1;
    for (uint16_t *x = (uint16_t *)m.weight; x < (uint16_t *)found[0]; x++) {
        seed = seed * 1664525 + 1013904223;
        *x = to_bf16((float)(seed >> 16) / 65536 - 0.5f);
    }
    int wrong = !takes_tiles(m);
    if (!wrong) {
        TileState state;
        share_of<true, uint16_t>(m, in, ROWS, 0, OUTPUTS, panels, found[0], true);
        share_of<true, uint16_t>(m, in, ROWS, 0, OUTPUTS, panels, found[1], false);
    }
    for (int64_t i = 0; i < ROWS * OUTPUTS && !wrong; i++) wrong = !(fabsf(found[0][i] - found[1][i]) < 1e-2f);
    free(at);
    return wrong;
#else
    return 0;
#endif
}
