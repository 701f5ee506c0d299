// What the kernels share: the job, vectors, bfloat16, and turning blocks over.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <cstdlib>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

typedef float vf __attribute__((vector_size(64), aligned(64)));
typedef float vfu __attribute__((vector_size(64), aligned(4)));
typedef int32_t vi __attribute__((vector_size(64), aligned(64)));
constexpr int L = 16;      // floats in a vector
constexpr int KB = 64;     // keys in a block
constexpr int ROWS = 32;   // rows in a tile, at most
constexpr int MAX_D = 256; // largest head size
constexpr float LOWEST = -3.0e38f;

struct Job {
    const char *q, *k, *v;
    const uint8_t *mask; // null: none
    char *out;
    int64_t batch, heads, kv_heads, queries, keys, dim;
    int64_t qs[3], ks[3], vs[3], ms[3], os[3]; // strides in elements: batch, head, position
    float scale;
    int causal;
    int64_t window = 0;  // keys that a query sees, itself included, with `causal`; 0: all
    bool alike = false;  // a row's numbers must not depend on the rows of its tile
};

inline float from_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

inline uint16_t to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline vf splat(float x) { return vf{} + x; }

// exp(x) for x <= 0: 2^n times a polynomial of degree 6 (Taylor in ln 2 f, |f| <= 0.5), to about 1e-7.
inline vf exp_v(vf x) {
    vf low = splat(-87.0f);
    x = x < low ? low : x;
    vf t = x * 1.44269504088896341f;
    vf magic = splat(12582912.0f);
    vf n = (t + magic) - magic;
    vf f = (t - n) * 0.693147180559945309f;
    vf p = splat(1.0f / 720);
    p = p * f + 1.0f / 120;
    p = p * f + 1.0f / 24;
    p = p * f + 1.0f / 6;
    p = p * f + 0.5f;
    p = p * f + 1.0f;
    p = p * f + 1.0f;
    vi e = (__builtin_convertvector(n, vi) + 127) << 23;
    return p * (vf)e;
}

#if defined(__AVX512F__)
// 16 rows of 16 words, to 16 columns.
inline void transpose16(const __m512i *in, uint32_t (*out)[L]) {
    __m512i t[16], u[16];
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(in[2 * i], in[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(in[2 * i], in[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        u[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        __m512i a = _mm512_shuffle_i32x4(u[i], u[i + 4], 0x88), b = _mm512_shuffle_i32x4(u[i], u[i + 4], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(u[i + 8], u[i + 12], 0x88), d = _mm512_shuffle_i32x4(u[i + 8], u[i + 12], 0xdd);
        _mm512_store_si512(out[i], _mm512_shuffle_i32x4(a, c, 0x88));
        _mm512_store_si512(out[i + 8], _mm512_shuffle_i32x4(a, c, 0xdd));
        _mm512_store_si512(out[i + 4], _mm512_shuffle_i32x4(b, d, 0x88));
        _mm512_store_si512(out[i + 12], _mm512_shuffle_i32x4(b, d, 0xdd));
    }
}
#endif

// Memory that a thread keeps for its next call: the kernel's fresh pages cost as much as a short cache to read.
struct Kept {
    void *at = nullptr;
    size_t bytes = 0;
    // Null where there is none. What it held is lost.
    void *need(size_t wanted) {
        if (wanted > bytes) {
            free(at);
            bytes = (wanted + 63) / 64 * 64;
            at = aligned_alloc(64, bytes);
            if (!at) bytes = 0;
        }
        return at;
    }
    void keep_at_most(size_t most) {
        if (bytes <= most) return;
        free(at);
        at = nullptr;
        bytes = 0;
    }
    ~Kept() { free(at); }
};

// Ask for the lines of a block that is read next, while this one is worked on.
inline void fetch(const char *rows, int64_t step, int64_t count, int64_t bytes) {
    for (int64_t i = 0; i < count; i++)
        for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(rows + i * step + at, 0, 2);
}

} // namespace
