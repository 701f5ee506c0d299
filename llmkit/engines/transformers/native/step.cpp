// One decoding step of a Llama-like decoder for several rows: all layers in one call, in one parallel region.
//
// A row is one token of a sequence. Every sequence has its own range of the key-value cache, so sequences of any
// length run together without padding; several tokens of one sequence may run in one step (speculation, short
// prompts). A row's result is computed in the same order whatever rows stand beside it.
// Weights are read where torch keeps them: float32 or bfloat16 [outputs, inputs]. The residual stream, norms, rotary
// embedding and softmax are float32. This file is compiled once for each instruction set; it includes nothing of torch.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <omp.h>
#include <sched.h>
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#define NO_ENTRY
#include "product.cpp"

namespace step {

constexpr int L = 16;
typedef float v16 __attribute__((vector_size(64), aligned(64)));
typedef float v16u __attribute__((vector_size(64), aligned(4)));
typedef int32_t i16 __attribute__((vector_size(64), aligned(64)));
typedef uint16_t h16 __attribute__((vector_size(32), aligned(2)));

inline v16 splat(float x) { return v16{} + x; }
inline v16 load(const float *p) { return *(const v16u *)p; }
inline v16 load(const uint16_t *p) {
#if defined(__AVX512F__)
    return (v16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#else
    h16 h = *(const h16 *)p;
    return (v16)(__builtin_convertvector(h, i16) << 16);
#endif
}

inline float sum_of(v16 x) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)x);
#else
    float s[8];
    for (int i = 0; i < 8; i++) s[i] = x[i] + x[i + 8];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
#endif
}

// exp(x) for x <= 88: 2^n times a polynomial of degree 6 (Taylor in ln 2 f, |f| <= 0.5), to about 1e-7.
inline v16 exp_of(v16 x) {
    v16 low = splat(-87.0f), high = splat(88.0f);
    x = x < low ? low : x;
    x = x > high ? high : x;
    v16 t = x * 1.44269504088896341f, magic = splat(12582912.0f);
    v16 n = (t + magic) - magic;
    v16 f = (t - n) * 0.693147180559945309f;
    v16 p = splat(1.0f / 720);
    p = p * f + 1.0f / 120;
    p = p * f + 1.0f / 24;
    p = p * f + 1.0f / 6;
    p = p * f + 0.5f;
    p = p * f + 1.0f;
    p = p * f + 1.0f;
    i16 e = (__builtin_convertvector(n, i16) + 127) << 23;
    return p * (v16)e;
}

// kind: 0 float32, 1 bfloat16 (weight: [outputs, inputs]); 8, 4: a quantized `Weight` of linear/native.
struct Matrix {
    const void *weight;
    const float *bias; // float32 [outputs], or null; a quantized weight brings its own
    int64_t outputs, inputs, kind;
};

struct Layer {
    Matrix q, k, v, o, gate, up, down;
    const float *input_norm, *post_norm; // float32 [hidden]
    const float *q_norm, *k_norm;        // float32 [head_dim], or null
    void *keys, *values;                 // [tokens, kv_heads, head_dim]
    int64_t window;                      // keys that a query sees, itself included; 0: all
};

struct Model {
    const Layer *layers;
    Matrix head;
    const float *final_norm; // float32 [hidden]
    const float *frequencies; // float32 [rotary / 2]
    int64_t count, hidden, heads, kv_heads, head_dim, inner, rotary;
    int64_t cache_kind; // 0 float32, 1 bfloat16
    int64_t activation; // 0 silu, 1 gelu (tanh)
    float epsilon, rope_scale, attention_scale;
};

struct Row {
    int64_t offset;   // where the sequence begins in the cache, in tokens
    int64_t position; // of the token in its sequence: this many keys stand before it
    int64_t logits;   // line of the output that its logits are written to; -1: none
};

struct Barrier {
    int threads;
    volatile int waiting = 0, round = 0;
    void wait() {
        if (threads == 1) return;
        int mine = __atomic_load_n(&round, __ATOMIC_ACQUIRE);
        if (__atomic_add_fetch(&waiting, 1, __ATOMIC_ACQ_REL) == threads) {
            __atomic_store_n(&waiting, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&round, mine + 1, __ATOMIC_RELEASE);
            return;
        }
        for (int spins = 0; __atomic_load_n(&round, __ATOMIC_ACQUIRE) == mine; spins++) {
            if (spins > 2000) sched_yield(); // another process needs the core
#if defined(__x86_64__)
            else __builtin_ia32_pause();
#endif
        }
    }
};

constexpr int FETCH = 16384; // bytes that are asked for ahead: the weights are read once, from memory

// O outputs of R rows; each sum has one accumulator, so that it does not depend on R and O.
template <typename T, int O, int R, bool AHEAD>
inline __attribute__((always_inline)) void dots(const T *w, int64_t inputs, const float *x, int64_t step, float *out, int64_t out_step, const float *bias) {
    v16 acc[R][O];
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) acc[r][o] = v16{};
    for (int64_t i = 0; i < inputs; i += L) {
        v16 line[O];
        for (int o = 0; o < O; o++) line[o] = load(w + o * inputs + i);
        if (AHEAD)
            for (int o = 0; o < O; o++) __builtin_prefetch((const char *)(w + o * inputs + i) + FETCH, 0, 3);
        for (int r = 0; r < R; r++) {
            v16 y = load(x + r * step + i);
            for (int o = 0; o < O; o++) acc[r][o] += line[o] * y;
        }
    }
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) out[r * out_step + o] = sum_of(acc[r][o]) + (bias ? bias[o] : 0.0f);
}

// O outputs of all rows. The first rows bring the weights near for the others.
template <typename T, int O>
void outputs_of(const T *w, int64_t inputs, const float *x, int64_t step, int rows, float *out, int64_t out_step, const float *bias) {
    int r = 0;
    if (O == 8) { // more sums of several rows than there are registers
        for (; r < rows; r++) dots<T, O, 1, true>(w, inputs, x + r * step, step, out + r * out_step, out_step, bias);
        return;
    }
    if (rows >= 4) {
        dots<T, O, 4, true>(w, inputs, x, step, out, out_step, bias);
        for (r = 4; r + 4 <= rows; r += 4) dots<T, O, 4, false>(w, inputs, x + r * step, step, out + r * out_step, out_step, bias);
    } else if (rows >= 2) {
        dots<T, O, 2, true>(w, inputs, x, step, out, out_step, bias);
        r = 2;
    }
    for (; r + 2 <= rows; r += 2) dots<T, O, 2, false>(w, inputs, x + r * step, step, out + r * out_step, out_step, bias);
    for (; r < rows; r++) dots<T, O, 1, false>(w, inputs, x + r * step, step, out + r * out_step, out_step, bias);
}

template <typename T>
void product_float(const Matrix &m, const float *x, int64_t step, int rows, float *out, int64_t out_step, int64_t from, int64_t to) {
    for (int64_t o = from; o < to;) {
        const T *w = (const T *)m.weight + o * m.inputs;
        const float *bias = m.bias ? m.bias + o : nullptr;
        if (rows == 1 && o + 8 <= to) {
            outputs_of<T, 8>(w, m.inputs, x, step, rows, out + o, out_step, bias);
            o += 8;
        } else if (o + 4 <= to) {
            outputs_of<T, 4>(w, m.inputs, x, step, rows, out + o, out_step, bias);
            o += 4;
        } else {
            outputs_of<T, 1>(w, m.inputs, x, step, rows, out + o, out_step, bias);
            o += 1;
        }
    }
}

// The activations' buffer as one weight wants it.
inline Rows rows_for(const Rows &base, const Weight &w) {
    Rows a = base;
    a.width = (w.inputs + 63) / 64 * 64;
    a.blocks = (w.inputs + w.block - 1) / w.block;
    return a;
}

// A thread's share of the outputs of x W' + bias. Quantized activations come ready in `quantized`.
void product(const Matrix &m, const float *x, int64_t step, const Rows &quantized, int rows, float *out, int thread, int threads) {
    if (m.kind >= 4) {
        const Weight &w = *(const Weight *)m.weight;
        const Rows a = rows_for(quantized, w);
        const int64_t units = (w.outputs + PANEL - 1) / PANEL * PARTS, pieces = (units + 4 * PARTS - 1) / (4 * PARTS);
        int64_t from = pieces * thread / threads * 4 * PARTS, to = pieces * (thread + 1) / threads * 4 * PARTS;
        if (to > units) to = units;
        if (w.bits == 4) range<true, float>(w, a, rows, from, to, out);
        else range<false, float>(w, a, rows, from, to, out);
        return;
    }
    int64_t pieces = (m.outputs + 15) / 16;
    int64_t from = pieces * thread / threads * 16, to = pieces * (thread + 1) / threads * 16;
    if (to > m.outputs) to = m.outputs;
    if (m.kind == 0) product_float<float>(m, x, step, rows, out, m.outputs, from, to);
    else product_float<uint16_t>(m, x, step, rows, out, m.outputs, from, to);
}

void rms_norm(const float *x, const float *weight, float *out, int64_t n, float epsilon) {
    v16 squares = v16{};
    for (int64_t i = 0; i < n; i += L) squares += load(x + i) * load(x + i);
    float scale = 1.0f / sqrtf(sum_of(squares) / (float)n + epsilon);
    for (int64_t i = 0; i < n; i += L) *(v16u *)(out + i) = load(x + i) * scale * load(weight + i);
}

// Rotate the halves of a head: (a, b) -> (a cos - b sin, b cos + a sin).
inline void rotate(float *x, const float *cosines, const float *sines, int64_t rotary) {
    int64_t half = rotary / 2;
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cosines[i] - b * sines[i];
        x[i + half] = b * cosines[i] + a * sines[i];
    }
}

inline void keep(float *into, const float *x, int64_t n) { memcpy(into, x, n * sizeof(float)); }
inline void keep(uint16_t *into, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) into[i] = to_bf16(x[i]);
}

// One query head group against its keys. scores: [heads of the group][padded keys].
template <typename T>
void attend(const float *q, const T *k, const T *v, int64_t keys, int64_t stride, int64_t dim, int group, float scale, float *scores, int64_t width, float *out) {
    for (int64_t j = 0; j < keys; j++) {
        const T *key = k + j * stride;
        for (int h = 0; h < group; h++) {
            v16 acc = v16{};
            for (int64_t d = 0; d < dim; d += L) acc += load(key + d) * load(q + h * dim + d);
            scores[h * width + j] = sum_of(acc) * scale;
        }
    }
    for (int h = 0; h < group; h++) {
        float *s = scores + h * width;
        for (int64_t j = keys; j < width; j++) s[j] = -3.0e38f;
        v16 most = load(s);
        for (int64_t j = L; j < width; j += L) most = most > load(s + j) ? most : load(s + j);
        float top = most[0];
        for (int i = 1; i < L; i++) top = most[i] > top ? most[i] : top;
        v16 total = v16{};
        for (int64_t j = 0; j < width; j += L) {
            v16 e = exp_of(load(s + j) - top);
            if (j + L > keys)
                for (int i = 0; i < L; i++) e[i] = j + i < keys ? e[i] : 0.0f;
            *(v16u *)(s + j) = e;
            total += e;
        }
        float by = 1.0f / sum_of(total);
        for (int64_t d = 0; d < dim; d += 4 * L) {
            int parts = (int)((dim - d) / L < 4 ? (dim - d) / L : 4);
            v16 acc[4] = {v16{}, v16{}, v16{}, v16{}};
            if (parts == 4)
                for (int64_t j = 0; j < keys; j++)
                    for (int p = 0; p < 4; p++) acc[p] += load(v + j * stride + d + p * L) * s[j];
            else
                for (int64_t j = 0; j < keys; j++)
                    for (int p = 0; p < parts; p++) acc[p] += load(v + j * stride + d + p * L) * s[j];
            for (int p = 0; p < parts; p++) *(v16u *)(out + h * dim + d + p * L) = acc[p] * by;
        }
    }
}

struct Buffers {
    float *hidden, *normed, *qkv[3], *attended, *delta, *gate, *up, *cosines, *sines, *scores;
    Rows quantized;
    int64_t width;
};

inline void to_int8(const Matrix &m, const Rows &base, int64_t row, const float *x) {
    const Weight &w = *(const Weight *)m.weight;
    quantize<float>(w, rows_for(base, w), row, x);
}

inline bool is_quantized(const Matrix &m) { return m.kind >= 4; }

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
    attend<T>(q, (const T *)layer.keys + at, (const T *)layer.values + at, count, stride, dim, (int)group, m.attention_scale, scores, width, b.attended + (r * m.heads + g * group) * dim);
}

void activate(const Model &m, float *gate, const float *up) {
    for (int64_t i = 0; i < m.inner; i += L) {
        v16 x = load(gate + i), y;
        if (m.activation == 0) y = x / (exp_of(-x) + 1.0f);
        else {
            v16 t = (x + x * x * x * 0.044715f) * 1.5957691216057308f; // 2 sqrt(2 / pi)
            y = x / (exp_of(-t) + 1.0f);
        }
        *(v16u *)(gate + i) = y * load(up + i);
    }
}

void add_to(float *x, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i += L) *(v16u *)(x + i) = load(x + i) + load(y + i);
}

// The work of one thread.
void work(const Model &m, const Row *rows, int count, bool several, const Buffers &b, float *logits, int wanted, Barrier &barrier, int thread, int threads) {
    const int64_t n = m.hidden, qn = m.heads * m.head_dim;
    float *scores = b.scores + (int64_t)thread * (m.heads / m.kv_heads) * b.width;
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
            const Matrix &next = last ? m.head : layer.q;
            if (is_quantized(next)) to_int8(next, b.quantized, line, b.normed + line * n);
        }
        barrier.wait();
        if (last) break;
        product(layer.q, b.normed, n, b.quantized, count, b.qkv[0], thread, threads);
        product(layer.k, b.normed, n, b.quantized, count, b.qkv[1], thread, threads);
        product(layer.v, b.normed, n, b.quantized, count, b.qkv[2], thread, threads);
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
        if (is_quantized(layer.o)) {
            for (int r = thread; r < count; r += threads) to_int8(layer.o, b.quantized, r, b.attended + r * qn);
            barrier.wait();
        }
        product(layer.o, b.attended, qn, b.quantized, count, b.delta, thread, threads);
        barrier.wait();
        for (int r = thread; r < count; r += threads) {
            add_to(b.hidden + r * n, b.delta + r * n, n);
            rms_norm(b.hidden + r * n, layer.post_norm, b.normed + r * n, n, m.epsilon);
            if (is_quantized(layer.gate)) to_int8(layer.gate, b.quantized, r, b.normed + r * n);
        }
        barrier.wait();
        product(layer.gate, b.normed, n, b.quantized, count, b.gate, thread, threads);
        product(layer.up, b.normed, n, b.quantized, count, b.up, thread, threads);
        barrier.wait();
        for (int r = thread; r < count; r += threads) {
            activate(m, b.gate + r * m.inner, b.up + r * m.inner);
            if (is_quantized(layer.down)) to_int8(layer.down, b.quantized, r, b.gate + r * m.inner);
        }
        barrier.wait();
        product(layer.down, b.gate, m.inner, b.quantized, count, b.delta, thread, threads);
        barrier.wait();
    }
    if (wanted) product(m.head, b.normed, n, b.quantized, wanted, logits, thread, threads);
}

} // namespace step

// hidden: float32 [rows, hidden], embeddings of the rows' tokens; holds the last hidden states after the call.
// logits: float32 [wanted, vocabulary]. Rows of one sequence stand in the order of their positions.
// Returns 0 when done, 1 when there is no memory.
extern "C" int NAME(const void *model, const void *rows, int count, float *hidden, float *logits, int wanted, int threads) {
    using namespace step;
    const Model &m = *(const Model *)model;
    const Row *row = (const Row *)rows;
    int64_t longest = 0;
    bool several = false;
    for (int r = 0; r < count; r++) {
        longest = row[r].position + 1 > longest ? row[r].position + 1 : longest;
        several |= r > 0 && row[r].offset == row[r - 1].offset;
    }
    const int64_t qn = m.heads * m.head_dim, kn = m.kv_heads * m.head_dim;
    const int64_t widest = m.inner > m.hidden ? (m.inner > qn ? m.inner : qn) : (m.hidden > qn ? m.hidden : qn);
    Buffers b{};
    b.width = (longest + L - 1) / L * L;
    b.quantized.width = (widest + 63) / 64 * 64;
    b.quantized.blocks = widest / 8 + 1; // the smallest block that a weight may have
    const int64_t floats[] = {count * m.hidden, count * qn, count * kn, count * kn, count * qn, count * m.hidden, count * m.inner, count * m.inner,
                              count * m.rotary, count * m.rotary, threads * (m.heads / m.kv_heads) * b.width, 2 * count * b.quantized.blocks, count * b.quantized.width / 4};
    float **places[] = {&b.normed, &b.qkv[0], &b.qkv[1], &b.qkv[2], &b.attended, &b.delta, &b.gate, &b.up, &b.cosines, &b.sines, &b.scores};
    int64_t total = 0;
    for (int64_t x : floats) total += (x + L - 1) / L * L;
    static thread_local Kept kept;
    float *at = (float *)kept.need(total * sizeof(float));
    if (!at) return 1;
    for (int i = 0; i < 13; i++) {
        if (i < 11) *places[i] = at;
        else if (i == 11) {
            b.quantized.scale = at;
            b.quantized.start = (int32_t *)(at + count * b.quantized.blocks);
        } else b.quantized.x = (int8_t *)at;
        at += (floats[i] + L - 1) / L * L;
    }
    b.hidden = hidden;
    Barrier barrier{threads};
    if (threads == 1) work(m, row, count, several, b, logits, wanted, barrier, 0, 1);
    else {
#pragma omp parallel num_threads(threads)
        {
#pragma omp single
            barrier.threads = omp_get_num_threads();
            work(m, row, count, several, b, logits, wanted, barrier, omp_get_thread_num(), barrier.threads);
        }
    }
    return 0;
}
