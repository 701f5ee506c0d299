// One decoding step of an encoder-decoder model for several rows: all layers of the decoder in one call.
//
// A row is the newest token of a sequence, which has its own range of the cache of its own keys, and a range of the keys
// that the encoder's states gave. Beams share the lines of the cache that they have in common. As in step.cpp, a row's
// result does not depend on the rows beside it, and what lies between products is float32.

#include "seq2seq.h"

namespace decoder {

struct Work {
    float *hidden, *normed, *qkv[3], *attended, *delta, *up, *gate, *scores;
    Input input;
    int64_t width;
};

// The work of one thread.
template <typename T>
void work(const Translator &m, const TargetRow *rows, int count, const Work &b, float *logits, Barrier &barrier, int thread, int threads) {
    const Side &side = m.target;
    const int64_t n = m.hidden, dim = side.head_dim, qn = side.heads * dim;
    float *scores = b.scores + (int64_t)thread * b.width;
    const float *x = m.before ? b.normed : b.hidden; // what a part reads
    const Norm *last = nullptr;                      // of the part that wrote `delta`; null before the first
    auto each_row = [&](auto f) {
        for (int r = thread; r < count; r += threads) f((int64_t)r);
        barrier.wait();
    };
    // Add what the last part gave, and make its rows ready for the next.
    auto enter = [&](const Norm &norm, const Matrix &next) {
        each_row([&](int64_t r) {
            float *hidden = b.hidden + r * n;
            if (last) {
                add_to(hidden, b.delta + r * n, n);
                if (!m.before) layer_norm(hidden, *last, hidden, n, side.epsilon);
            }
            if (m.before) layer_norm(hidden, norm, b.normed + r * n, n, side.epsilon);
            make_ready(next, b.input, r, x + r * n);
        });
        last = &norm;
    };
    auto multiply = [&](const Matrix &matrix, const float *in, int64_t step, float *out) {
        product(matrix, in, step, b.input, count, out, thread, threads);
    };
    // Attention of a row's head. A row's own key and value are put into the cache by the thread that needs them next.
    auto attend_one = [&](int64_t r, int64_t h, const TargetLayer &layer, bool cross) {
        const TargetRow &row = rows[r];
        const int64_t own = r * qn + h * dim, many = cross ? row.length : row.position + 1, width = (many + L - 1) / L * L;
        const int64_t at = ((cross ? row.source : row.lines ? 0 : row.offset) * side.heads + h) * dim;
        const T *k = (const T *)(cross ? layer.cross_keys : layer.keys) + at, *v = (const T *)(cross ? layer.cross_values : layer.values) + at;
        const float *bias = cross ? nullptr : bias_of(side, h, row.position);
        if (!cross) {
            const int64_t line = (row.offset + row.position) * qn + h * dim;
            copy_row((T *)layer.keys + line, b.qkv[1] + own, dim);
            copy_row((T *)layer.values + line, b.qkv[2] + own, dim);
        }
        if (!cross && row.lines) attend<T>(b.qkv[0] + own, k, v, ByTable{row.lines}, many, qn, dim, 1, side.scale, bias, scores, width, b.attended + own);
        else attend<T>(b.qkv[0] + own, k, v, InOrder{}, many, qn, dim, 1, side.scale, bias, scores, width, b.attended + own);
    };
    // Threads take rows where there are enough of them, else heads.
    auto attend_all = [&](const TargetLayer &layer, bool cross, const Matrix &out) {
        const bool whole = count >= threads, ready = format_of(out) != FLOATS;
        for (int64_t i = thread; i < (whole ? count : count * side.heads); i += threads) {
            const int64_t r = whole ? i : i / side.heads, first = whole ? 0 : i % side.heads, end = whole ? side.heads : first + 1;
            for (int64_t h = first; h < end; h++) attend_one(r, h, layer, cross);
            if (whole && ready) prepare(out, b.input, r, b.attended + r * qn);
        }
        barrier.wait();
        if (!whole && ready) each_row([&](int64_t r) { prepare(out, b.input, r, b.attended + r * qn); });
        multiply(out, b.attended, qn, b.delta);
        barrier.wait();
    };
    for (int64_t l = 0; l < side.count; l++) {
        const TargetLayer &layer = m.decoder[l];
        enter(layer.norm, layer.q);
        multiply(layer.q, x, n, b.qkv[0]);
        multiply(layer.k, x, n, b.qkv[1]);
        multiply(layer.v, x, n, b.qkv[2]);
        barrier.wait();
        attend_all(layer, false, layer.o);
        enter(layer.cross_norm, layer.cross_q);
        multiply(layer.cross_q, x, n, b.qkv[0]);
        barrier.wait();
        attend_all(layer, true, layer.cross_o);
        const Feed &feed = layer.feed;
        enter(feed.norm, feed.up);
        multiply(feed.up, x, n, b.up);
        if (feed.gate.outputs) multiply(feed.gate, x, n, b.gate);
        barrier.wait();
        each_row([&](int64_t r) {
            activate(side, b.up + r * side.inner, feed.gate.outputs ? b.gate + r * side.inner : nullptr, side.inner);
            make_ready(feed.down, b.input, r, b.up + r * side.inner);
        });
        multiply(feed.down, b.up, side.inner, b.delta);
        barrier.wait();
    }
    enter(side.norm, m.head);
    multiply(m.head, x, n, logits);
}

} // namespace decoder

// hidden: float32 [rows, hidden], embeddings of the rows' tokens, lost. logits: float32 [rows, vocabulary]. Every row is
// of another sequence. Returns 0 when done, 1 when there is no memory.
extern "C" int NAME(const void *model, const void *rows, int count, float *hidden, float *logits, int threads) {
    using namespace decoder;
    const Translator &m = *(const Translator *)model;
    const TargetRow *row = (const TargetRow *)rows;
    int64_t longest = 1;
    for (int r = 0; r < count; r++) longest = wider(longest, wider(row[r].position + 1, row[r].length));
    const int64_t qn = m.target.heads * m.target.head_dim, inner = m.target.inner;
    Work b{};
    b.hidden = hidden;
    b.width = (longest + L - 1) / L * L;
    static thread_local Kept kept;
    const bool there = lay_out(kept, [&](Places &place) {
        place(b.normed, count * m.hidden), place(b.delta, count * m.hidden);
        place(b.up, count * inner), place(b.gate, count * inner);
        for (float *&one : b.qkv) place(one, count * qn);
        place(b.attended, count * qn), place(b.scores, threads * b.width);
        place(b.input, count, wider(m.hidden, wider(qn, inner)), PAIRS ? 2 : 4);
    });
    if (!there) return 1;
    in_threads(threads, [&](Barrier &barrier, int thread, int all) {
        if (m.cache_kind) work<uint16_t>(m, row, count, b, logits, barrier, thread, all);
        else work<float>(m, row, count, b, logits, barrier, thread, all);
    });
    return 0;
}
