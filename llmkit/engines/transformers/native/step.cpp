// One decoding step of a Llama-like decoder for several rows: all layers in one call, in one parallel region.
//
// A row is one token of a sequence. Every sequence has its own range of the key-value cache, so sequences of any
// length run together without padding; several tokens of one sequence may run in one step (speculation, short
// prompts). A row's result is computed in the same order whatever rows stand beside it.
// Weights are read where torch keeps them: float32 or bfloat16 [outputs, inputs]. The residual stream, norms, rotary
// embedding and softmax are float32. This file is compiled once for each instruction set; it includes nothing of torch.

#include "attend.h"
#include "call.h"

namespace decoder {

struct Buffers {
    float *hidden, *normed, *qkv[3], *attended, *delta, *gate, *up, *cosines, *sines, *scores, *low;
    Input input;
    int64_t width;
};

// Normalize and rotate a row's key of one group, and put it and the value into the cache.
template <typename T>
void store_key(const Model &m, const Layer &layer, const Row &row, const Buffers &b, int64_t r, int64_t g) {
    const int64_t dim = m.head_dim, half = m.rotary / 2, at = ((row.offset + row.position) * m.kv_heads + g) * dim;
    float *k = b.qkv[1] + (r * m.kv_heads + g) * dim;
    if (layer.k_norm) rms_norm(k, layer.k_norm, k, dim, m.epsilon);
    rotate(k, b.cosines + r * half, b.sines + r * half, m.rotary);
    keep((T *)layer.keys + at, k, dim);
    keep((T *)layer.values + at, b.qkv[2] + (r * m.kv_heads + g) * dim, dim);
}

// Attention of a row's queries of one group to all keys up to its own.
template <typename T>
void attention_of(const Model &m, const Layer &layer, const Row &row, const Buffers &b, int64_t r, int64_t g, float *scores) {
    const int64_t dim = m.head_dim, group = m.heads / m.kv_heads, half = m.rotary / 2, stride = m.kv_heads * dim;
    float *q = b.qkv[0] + (r * m.heads + g * group) * dim;
    for (int64_t h = 0; h < group; h++) {
        if (layer.q_norm) rms_norm(q + h * dim, layer.q_norm, q + h * dim, dim, m.epsilon);
        rotate(q + h * dim, b.cosines + r * half, b.sines + r * half, m.rotary);
    }
    const int64_t keys = row.position + 1, first = layer.window && keys > layer.window ? keys - layer.window : 0;
    const int64_t count = keys - first, width = (count + L - 1) / L * L, at = (row.offset + first) * stride + g * dim;
    attend<T>(q, (const T *)layer.keys + at, (const T *)layer.values + at, InOrder{}, count, stride, dim, (int)group, m.attention_scale, nullptr, scores, width, b.attended + (r * m.heads + g * group) * dim);
}

// The work of one thread.
void work(const Model &m, const Row *rows, int count, bool several, const Buffers &b, float *logits, int wanted, Barrier &barrier, int thread, int threads) {
    const int64_t n = m.hidden, qn = m.heads * m.head_dim;
    float *scores = b.scores + (int64_t)thread * (m.heads / m.kv_heads) * b.width;
    float *low = b.low + (int64_t)thread * count * m.rank; // each thread makes its own: it is short
    for (int r = thread; r < count; r += threads)
        for (int64_t i = 0; i < m.rotary / 2; i++) {
            float angle = (float)rows[r].position * m.frequencies[i];
            b.cosines[r * (m.rotary / 2) + i] = cosf(angle) * m.rope_scale;
            b.sines[r * (m.rotary / 2) + i] = sinf(angle) * m.rope_scale;
        }
    for (int64_t l = 0; l <= m.count; l++) {
        const bool last = l == m.count;
        const Layer &layer = m.layers[last ? 0 : l];
        for (int r = thread; r < count; r += threads) {
            if (l) add_to(b.hidden + r * n, b.delta + r * n, n);
            const int64_t line = last ? rows[r].logits : r;
            if (line < 0) continue;
            rms_norm(b.hidden + r * n, last ? m.final_norm : layer.input_norm, b.normed + line * n, n, m.epsilon);
            make_ready(last ? m.head : layer.q, b.input, line, b.normed + line * n);
        }
        barrier.wait();
        if (last) break;
        product(layer.q, b.normed, n, b.input, count, b.qkv[0], thread, threads, low);
        product(layer.k, b.normed, n, b.input, count, b.qkv[1], thread, threads, low);
        product(layer.v, b.normed, n, b.input, count, b.qkv[2], thread, threads, low);
        barrier.wait();
        for (int64_t i = thread; i < count * m.kv_heads; i += threads) {
            int64_t r = i / m.kv_heads, g = i % m.kv_heads;
            if (m.cache_kind) store_key<uint16_t>(m, layer, rows[r], b, r, g);
            else store_key<float>(m, layer, rows[r], b, r, g);
        }
        if (several) barrier.wait(); // keys of a sequence's earlier tokens in this step
        for (int64_t i = thread; i < count * m.kv_heads; i += threads) {
            int64_t r = i / m.kv_heads, g = i % m.kv_heads;
            if (m.cache_kind) attention_of<uint16_t>(m, layer, rows[r], b, r, g, scores);
            else attention_of<float>(m, layer, rows[r], b, r, g, scores);
        }
        barrier.wait();
        if (format_of(layer.o) != FLOATS) {
            for (int r = thread; r < count; r += threads) prepare(layer.o, b.input, r, b.attended + r * qn);
            barrier.wait();
        }
        product(layer.o, b.attended, qn, b.input, count, b.delta, thread, threads, low);
        barrier.wait();
        for (int r = thread; r < count; r += threads) {
            add_to(b.hidden + r * n, b.delta + r * n, n);
            rms_norm(b.hidden + r * n, layer.post_norm, b.normed + r * n, n, m.epsilon);
            make_ready(layer.gate, b.input, r, b.normed + r * n);
        }
        barrier.wait();
        product(layer.gate, b.normed, n, b.input, count, b.gate, thread, threads, low);
        product(layer.up, b.normed, n, b.input, count, b.up, thread, threads, low);
        barrier.wait();
        for (int r = thread; r < count; r += threads) {
            activate(m, b.gate + r * m.inner, b.up + r * m.inner, m.inner);
            make_ready(layer.down, b.input, r, b.gate + r * m.inner);
        }
        barrier.wait();
        product(layer.down, b.gate, m.inner, b.input, count, b.delta, thread, threads, low);
        barrier.wait();
    }
    if (wanted) product(m.head, b.normed, n, b.input, wanted, logits, thread, threads);
}

} // namespace decoder

// hidden: float32 [rows, hidden], embeddings of the rows' tokens; holds the last hidden states after the call.
// logits: float32 [wanted, vocabulary]. Rows of one sequence stand in the order of their positions.
// Returns 0 when done, 1 when there is no memory.
extern "C" int NAME(const void *model, const void *rows, int count, float *hidden, float *logits, int wanted, int threads) {
    using namespace decoder;
    const Model &m = *(const Model *)model;
    const Row *row = (const Row *)rows;
    int64_t longest = 0;
    bool several = false;
    for (int r = 0; r < count; r++) {
        longest = row[r].position + 1 > longest ? row[r].position + 1 : longest;
        several |= r > 0 && row[r].offset == row[r - 1].offset;
    }
    const int64_t qn = m.heads * m.head_dim, kn = m.kv_heads * m.head_dim;
    Buffers b{};
    b.hidden = hidden;
    b.width = (longest + L - 1) / L * L;
    static thread_local Kept kept;
    const bool there = lay_out(kept, [&](Places &place) {
        place(b.normed, count * m.hidden), place(b.delta, count * m.hidden);
        place(b.qkv[0], count * qn), place(b.qkv[1], count * kn), place(b.qkv[2], count * kn), place(b.attended, count * qn);
        place(b.gate, count * m.inner), place(b.up, count * m.inner);
        place(b.cosines, count * m.rotary / 2), place(b.sines, count * m.rotary / 2);
        place(b.scores, threads * (m.heads / m.kv_heads) * b.width), place(b.low, threads * count * m.rank);
        place(b.input, count, wider(m.inner, wider(m.hidden, qn)), PAIRS ? 2 : 4);
    });
    if (!there) return 1;
    in_threads(threads, [&](Barrier &barrier, int thread, int all) { work(m, row, count, several, b, logits, wanted, barrier, thread, all); });
    return 0;
}
