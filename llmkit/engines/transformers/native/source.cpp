// Read sources of an encoder-decoder model: all layers of the encoder, and the keys and values of the decoder's attention
// to them, in one call, in one parallel region.
//
// A row is one token; those of a source stand one behind the other, without padding. Weights are turned over into panels
// that all rows share, as in prefill.cpp, and threads take shares in the same way. The numbers of a token depend on its
// own source alone, to the bit.

#include "seq2seq.h"
#include "panels.h"
#include "shares.h"

namespace decoder {

constexpr int BLOCK = 8; // rows that a thread takes at a time

struct Token {
    int64_t first, length, position; // its source's first row and tokens, and where it stands in it
    int64_t line;                    // of the cache
};

struct Work {
    float *hidden, *normed, *qkv[3], *attended, *delta, *up, *gate, *scores;
    Input input, inner; // of the products before and after attention or activation
    Token *tokens;
    char *own; // each thread's panels
    int *tickets;
    int64_t width;
};

constexpr size_t PANEL_BYTES = SHARE * PANEL * DEPTH * 4;
constexpr int64_t PHASES = 10; // of a layer, at most

// The work of one thread.
template <typename T> void work(const Translator &m, int64_t count, const Work &b, Barrier &barrier, int thread) {
    const Side &side = m.source;
    const int64_t n = m.hidden, dim = side.head_dim, qn = side.heads * dim, blocks = (count + BLOCK - 1) / BLOCK;
    uint32_t *panels = (uint32_t *)(b.own + thread * PANEL_BYTES);
    float *scores = b.scores + (int64_t)thread * b.width;
    const float *x = m.before ? b.normed : b.hidden; // what a part reads
    const Norm *last = nullptr;                      // of the part that wrote `delta`; null before the first
    int64_t phase = -1;
    auto take = [&] { return __atomic_fetch_add(b.tickets + phase * L, 1, __ATOMIC_RELAXED); };
    // f(i) for all i below `all`, shared out.
    auto each = [&](int64_t all, auto f) {
        phase++;
        for (int64_t i; (i = take()) < all;) f(i);
        barrier.wait();
    };
    auto each_row = [&](auto f) {
        each(blocks, [&](int64_t i) {
            for (int64_t r = i * BLOCK; r < count && r < (i + 1) * BLOCK; r++) f(r);
        });
    };
    auto share = [&](const Matrix &matrix, const Input &in, int64_t i, float *out) { product_share(matrix, in, count, i, nullptr, panels, out); };
    auto enter = [&](const Norm &norm, const Matrix &next) {
        each_row([&](int64_t r) {
            float *hidden = b.hidden + r * n;
            if (last) {
                add_to(hidden, b.delta + r * n, n);
                if (!m.before) layer_norm(hidden, *last, hidden, n, side.epsilon);
            }
            if (m.before) layer_norm(hidden, norm, b.normed + r * n, n, side.epsilon);
            prepare(next, b.input, r, x + r * n);
        });
        last = &norm;
    };
    for (int64_t l = 0; l < side.count; l++) {
        const SourceLayer &layer = m.encoder[l];
        enter(layer.norm, layer.q);
        const int64_t each_of = shares(layer.q);
        each(3 * each_of, [&](int64_t i) {
            const Matrix *matrices[] = {&layer.q, &layer.k, &layer.v};
            share(*matrices[i / each_of], b.input, i % each_of, b.qkv[i / each_of]);
        });
        each_row([&](int64_t r) {
            const Token &token = b.tokens[r];
            const int64_t width = (token.length + L - 1) / L * L;
            for (int64_t h = 0; h < side.heads; h++) {
                const int64_t at = token.first * qn + h * dim, own = r * qn + h * dim;
                const float *bias = bias_of(side, h, token.position);
                attend<float>(b.qkv[0] + own, b.qkv[1] + at, b.qkv[2] + at, InOrder{}, token.length, qn, dim, 1, side.scale, bias, scores, width, b.attended + own);
            }
            prepare(layer.o, b.inner, r, b.attended + r * qn);
        });
        each(shares(layer.o), [&](int64_t i) { share(layer.o, b.inner, i, b.delta); });
        const Feed &feed = layer.feed;
        enter(feed.norm, feed.up);
        each(shares(feed.up), [&](int64_t i) {
            share(feed.up, b.input, i, b.up);
            if (feed.gate.outputs) share(feed.gate, b.input, i, b.gate);
            const int64_t from = i * SHARE * PANEL, width = side.inner - from < SHARE * PANEL ? side.inner - from : SHARE * PANEL;
            for (int64_t r = 0; r < count; r++) {
                const int64_t at = r * side.inner + from;
                activate(side, b.up + at, feed.gate.outputs ? b.gate + at : nullptr, width);
            }
        });
        each_row([&](int64_t r) { prepare(feed.down, b.inner, r, b.up + r * side.inner); });
        each(shares(feed.down), [&](int64_t i) { share(feed.down, b.inner, i, b.delta); });
    }
    enter(side.norm, m.decoder[0].cross_k);
    const int64_t kn = m.target.heads * m.target.head_dim;
    for (int64_t l = 0; l < m.target.count; l++) {
        const TargetLayer &layer = m.decoder[l];
        const int64_t each_of = shares(layer.cross_k);
        each(2 * each_of, [&](int64_t i) {
            const bool values = i >= each_of;
            share(values ? layer.cross_v : layer.cross_k, b.input, i % each_of, b.qkv[values]);
        });
        each_row([&](int64_t r) {
            const int64_t at = b.tokens[r].line * kn;
            copy_row((T *)layer.cross_keys + at, b.qkv[0] + r * kn, kn);
            copy_row((T *)layer.cross_values + at, b.qkv[1] + r * kn, kn);
        });
    }
}

} // namespace decoder

// hidden: float32 [tokens, hidden], embeddings of the sources' tokens, lost. sources: `count` of them, in the same order.
// Returns 0 when done, 1 when there is no memory.
extern "C" int NAME(const void *model, const void *sources, int count, float *hidden, int threads) {
    using namespace decoder;
    const Translator &m = *(const Translator *)model;
    const Source *source = (const Source *)sources;
    int64_t tokens = 0, longest = 1;
    for (int i = 0; i < count; i++) tokens += source[i].length, longest = wider(longest, source[i].length);
    const int64_t kn = m.target.heads * m.target.head_dim, qn = m.source.heads * m.source.head_dim, inner = m.source.inner;
    const int64_t tickets = ((m.source.count + m.target.count) * PHASES + 4) * L;
    Work b{};
    b.hidden = hidden;
    b.width = (longest + L - 1) / L * L;
    static thread_local Kept kept;
    const bool there = lay_out(kept, [&](Places &place) {
        place(b.normed, tokens * m.hidden), place(b.delta, tokens * m.hidden);
        place(b.up, tokens * inner), place(b.gate, tokens * inner);
        for (float *&one : b.qkv) place(one, tokens * wider(qn, kn));
        place(b.attended, tokens * qn), place(b.scores, threads * b.width);
        place(b.input, tokens, m.hidden, 4), place(b.inner, tokens, wider(qn, inner), 4);
        place(b.tokens, tokens), place(b.own, threads * PANEL_BYTES), place(b.tickets, tickets);
    });
    if (!there) return 1;
    memset(b.tickets, 0, tickets * sizeof(int));
    Token *token = b.tokens;
    for (int64_t i = 0, first = 0; i < count; first += source[i++].length)
        for (int64_t p = 0; p < source[i].length; p++) *token++ = {first, source[i].length, p, source[i].offset + p};
    in_threads(threads, [&](Barrier &barrier, int thread, int) {
        if (m.cache_kind) work<uint16_t>(m, tokens, b, barrier, thread);
        else work<float>(m, tokens, b, barrier, thread);
    });
    kept.keep_at_most(64 << 20);
    return 0;
}
