// What reading a prompt and decoding share: the model's parts, vectors, norms, rotary embedding, and products of few rows.
// The files that include this one are compiled once for each instruction set; they include nothing of torch.
#pragma once

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

namespace decoder {

constexpr int L = 16;
#if defined(__AVX512BF16__)
constexpr bool PAIRS = true;
#else
constexpr bool PAIRS = false;
#endif
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

// The sums of 16 registers, each added up as `sum_of` does.
inline v16 sums_of(const v16 *x) {
#if defined(__AVX512F__)
    // Halves, then quarters, then pairs, then neighbors; register i ends in lane i.
    __m512 s[4];
    for (int e = 0; e < 4; e++) {
        __m512 half[2];
        for (int k = 0; k < 2; k++) {
            __m512 a = (__m512)x[8 * k + e], b = (__m512)x[8 * k + 4 + e];
            half[k] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
        }
        s[e] = _mm512_add_ps(_mm512_shuffle_f32x4(half[0], half[1], 0x88), _mm512_shuffle_f32x4(half[0], half[1], 0xdd));
    }
    __m512 two[2];
    for (int k = 0; k < 2; k++) {
        __m512d a = _mm512_castps_pd(s[2 * k]), b = _mm512_castps_pd(s[2 * k + 1]);
        two[k] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    return (v16)_mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x88), _mm512_shuffle_ps(two[0], two[1], 0xdd));
#else
    v16 sums;
    for (int i = 0; i < L; i++) sums[i] = sum_of(x[i]);
    return sums;
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
    const float *down, *up; // of adapters of low rank: float32 [rank, inputs] and, scaled, [rank, outputs]
    int64_t rank;           // a multiple of 16; 0: none
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
    int64_t rank; // the largest of the adapters
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

// Weights are read once, from memory, and asked for ahead: where O rows of them are short, so many bytes on; where they
// are long, further on in each row, then in the row that comes after it.
constexpr int FETCH = 16384, FETCH_ROW = 1024;

#if defined(__AVX512F__)
inline __m512i words_of(const float *w, bool) { return _mm512_loadu_si512(w); }
inline __m512i words_of(const uint16_t *w, bool whole) {
    if (!PAIRS) return (__m512i)load(w);
    return whole ? _mm512_loadu_si512(w) : _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)w));
}
#endif

// acc + the inputs from `i` on of O outputs by those of R rows.
template <int O, int R, bool AHEAD, typename T>
inline __attribute__((always_inline)) void multiply_at(v16 (*acc)[O], const T *w, int64_t inputs, const float *x, int64_t step, int64_t i, int64_t on) {
    v16 line[O];
    for (int o = 0; o < O; o++) line[o] = load(w + o * inputs + i);
    if (AHEAD)
        for (int o = 0; o < O; o++) __builtin_prefetch((const char *)(w + o * inputs + i) + on, 0, 3);
    for (int r = 0; r < R; r++) {
        v16 y = load(x + r * step + i);
        for (int o = 0; o < O; o++) acc[r][o] += line[o] * y;
    }
}
#if defined(__AVX512BF16__)
template <int O, int R, bool AHEAD>
inline __attribute__((always_inline)) void multiply_at(v16 (*acc)[O], const uint16_t *w, int64_t inputs, const uint16_t *x, int64_t step, int64_t i, int64_t on) {
    const bool whole = i + 2 * L <= inputs;
    __m512i line[O];
    for (int o = 0; o < O; o++) line[o] = words_of(w + o * inputs + i, whole);
    if (AHEAD)
        for (int o = 0; o < O; o++) __builtin_prefetch((const char *)(w + o * inputs + i) + on, 0, 3);
    for (int r = 0; r < R; r++) {
        __m512bh y = (__m512bh)words_of(x + r * step + i, whole);
        for (int o = 0; o < O; o++) acc[r][o] = (v16)_mm512_dpbf16_ps((__m512)acc[r][o], (__m512bh)line[o], y);
    }
}
#endif

// O outputs of R rows; each sum has one accumulator, so that it does not depend on R and O.
template <typename T, typename X, int O, int R, bool AHEAD>
inline __attribute__((always_inline)) void dots(const T *w, int64_t inputs, const X *x, int64_t step, float *out, int64_t out_step, const float *bias) {
    constexpr int64_t EACH = sizeof(X) == 2 ? 2 * L : L;
    v16 acc[R][O];
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) acc[r][o] = v16{};
    const int64_t bytes = inputs * sizeof(T), turn = bytes - FETCH_ROW;
    const bool wide = O * bytes > FETCH;
    for (int64_t i = 0; i < inputs; i += EACH) {
        const int64_t on = !wide ? FETCH : FETCH_ROW + ((int64_t)(i * sizeof(T)) < turn ? 0 : (O - 1) * bytes);
        multiply_at<O, R, AHEAD>(acc, w, inputs, x, step, i, on);
    }
    if (R * O == L) {
        v16 sums = sums_of(&acc[0][0]);
        for (int r = 0; r < R; r++)
            for (int o = 0; o < O; o++) out[r * out_step + o] = sums[r * O + o] + (bias ? bias[o] : 0.0f);
        return;
    }
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) out[r * out_step + o] = sum_of(acc[r][o]) + (bias ? bias[o] : 0.0f);
}

// O outputs of all rows. The first rows bring the weights near for the others.
template <typename T, typename X, int O>
void outputs_of(const T *w, int64_t inputs, const X *x, int64_t step, int rows, float *out, int64_t out_step, const float *bias) {
    int r = 0;
    if (O == 8) { // more sums of several rows than there are registers
        for (; r < rows; r++) dots<T, X, O, 1, true>(w, inputs, x + r * step, step, out + r * out_step, out_step, bias);
        return;
    }
    if (rows >= 4) {
        dots<T, X, O, 4, true>(w, inputs, x, step, out, out_step, bias);
        for (r = 4; r + 4 <= rows; r += 4) dots<T, X, O, 4, false>(w, inputs, x + r * step, step, out + r * out_step, out_step, bias);
    } else if (rows >= 2) {
        dots<T, X, O, 2, true>(w, inputs, x, step, out, out_step, bias);
        r = 2;
    }
    for (; r + 2 <= rows; r += 2) dots<T, X, O, 2, false>(w, inputs, x + r * step, step, out + r * out_step, out_step, bias);
    for (; r < rows; r++) dots<T, X, O, 1, false>(w, inputs, x + r * step, step, out + r * out_step, out_step, bias);
}

// Outputs [from, to) of x W' + bias; `step` counts numbers from row to row.
template <typename T, typename X>
void product_float(const Matrix &m, const X *x, int64_t step, int rows, float *out, int64_t out_step, int64_t from, int64_t to) {
    for (int64_t o = from; o < to;) {
        const T *w = (const T *)m.weight + o * m.inputs;
        const float *bias = m.bias ? m.bias + o : nullptr;
        if (rows == 1 && o + 8 <= to) {
            outputs_of<T, X, 8>(w, m.inputs, x, step, rows, out + o, out_step, bias);
            o += 8;
        } else if (o + 4 <= to) {
            outputs_of<T, X, 4>(w, m.inputs, x, step, rows, out + o, out_step, bias);
            o += 4;
        } else {
            outputs_of<T, X, 1>(w, m.inputs, x, step, rows, out + o, out_step, bias);
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

namespace {
// Rows as the weights want them: float32, pairs of bfloat16, or int8 with scales.
struct Input {
    char *rows;
    int64_t step; // bytes from row to row
    Rows bytes;
};
} // namespace

enum Format { FLOATS, WORDS, BYTES };
inline Format format_of(const Matrix &m) { return m.kind >= 4 ? BYTES : (m.kind == 1 && PAIRS ? WORDS : FLOATS); }

using ::to_bf16;
inline h16 to_bf16(v16 x) {
    i16 bits = (i16)x;
    i16 rounded = bits + 0x7fff + ((bits >> 16) & 1);
    i16 none = (bits & 0x7fffffff) > 0x7f800000;
    return __builtin_convertvector((((none & 0x7fc00000) | (~none & rounded)) >> 16) & 0xffff, h16);
}
inline void put(float *into, v16 x) { *(v16u *)into = x; }
inline void put(uint16_t *into, v16 x) { *(h16 *)into = to_bf16(x); }
template <typename A, typename B> inline void copy_row(A *into, const B *from, int64_t n) {
    for (int64_t i = 0; i < n; i += L) put(into + i, load(from + i));
}

// A row of a matrix's input.
template <typename T> void prepare(const Matrix &m, const Input &in, int64_t row, const T *x) {
    switch (format_of(m)) {
    case FLOATS: copy_row((float *)(in.rows + row * in.step), x, m.inputs); break;
    case WORDS: copy_row((uint16_t *)(in.rows + row * in.step), x, m.inputs); break;
    case BYTES: {
        const Weight &w = *(const Weight *)m.weight;
        quantize<T>(w, rows_for(in.bytes, w), row, x);
    }
    }
}

// low = x down', [rows, rank]
inline void to_low(const Matrix &m, const float *x, int64_t step, int rows, float *low) {
    Matrix down{};
    down.weight = m.down, down.inputs = m.inputs;
    product_float<float, float>(down, x, step, rows, low, m.rank, 0, m.rank);
}

// Add what an adapter gives to the outputs [from, to): low up.
inline void add_adapter(const Matrix &m, const float *low, int64_t rows, float *out, int64_t from, int64_t to) {
    for (int64_t r = 0; r < rows; r++, low += m.rank, out += m.outputs)
        for (int64_t o = from; o < to; o += L) {
            v16 sum = load(out + o);
            for (int64_t k = 0; k < m.rank; k++) sum += load(m.up + k * m.outputs + o) * low[k];
            *(v16u *)(out + o) = sum;
        }
}

// A thread's share of the outputs of x W' + bias. What is no float32 product finds its rows ready in `in`.
inline void product(const Matrix &m, const float *x, int64_t step, const Input &in, int rows, float *out, int thread, int threads, float *low = nullptr) {
    if (m.rank) to_low(m, x, step, rows, low);
    if (m.kind >= 4) {
        const Weight &w = *(const Weight *)m.weight;
        const Rows a = rows_for(in.bytes, w);
        const int64_t units = (w.outputs + PANEL - 1) / PANEL * PARTS, pieces = (units + 4 * PARTS - 1) / (4 * PARTS);
        int64_t from = pieces * thread / threads * 4 * PARTS, to = pieces * (thread + 1) / threads * 4 * PARTS;
        if (to > units) to = units;
        range<float>(w, a, rows, from, to, out);
        if (m.rank) add_adapter(m, low, rows, out, from * LANES, to * LANES);
        return;
    }
    int64_t pieces = (m.outputs + 15) / 16;
    int64_t from = pieces * thread / threads * 16, to = pieces * (thread + 1) / threads * 16;
    if (to > m.outputs) to = m.outputs;
    if (m.kind == 0) product_float<float, float>(m, x, step, rows, out, m.outputs, from, to);
#if defined(__AVX512BF16__)
    else product_float<uint16_t, uint16_t>(m, (const uint16_t *)in.rows, in.step / 2, rows, out, m.outputs, from, to);
#else
    else product_float<uint16_t, float>(m, x, step, rows, out, m.outputs, from, to);
#endif
    if (m.rank) add_adapter(m, low, rows, out, from, to);
}

inline void rms_norm(const float *x, const float *weight, float *out, int64_t n, float epsilon) {
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

// gate = activation(gate) * up
inline void activate(const Model &m, float *gate, const float *up, int64_t n) {
    for (int64_t i = 0; i < n; i += L) {
        v16 x = load(gate + i), y;
        if (m.activation == 0) y = x / (exp_of(-x) + 1.0f);
        else {
            v16 t = (x + x * x * x * 0.044715f) * 1.5957691216057308f; // 2 sqrt(2 / pi)
            y = x / (exp_of(-t) + 1.0f);
        }
        *(v16u *)(gate + i) = y * load(up + i);
    }
}

inline void add_to(float *x, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i += L) *(v16u *)(x + i) = load(x + i) + load(y + i);
}

// A row of a matrix's input, if its product is none of float32.
inline void make_ready(const Matrix &m, const Input &in, int64_t row, const float *x) {
    if (format_of(m) != FLOATS) prepare(m, in, row, x);
}

} // namespace decoder
