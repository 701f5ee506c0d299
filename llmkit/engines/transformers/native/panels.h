// Products of many rows: x W' for weights as torch keeps them, float32 or bfloat16 [outputs, inputs].
//
// Weights of 48 outputs are turned over into panels, a word of 16 outputs beside each other, which stay in the second
// cache while all rows pass. A word is a float32, or two bfloat16 where the processor multiplies pairs; elsewhere
// bfloat16 is widened. Every output is one sum, taken in the order of the inputs, so it does not depend on the rows
// that are computed with it.
#pragma once

#include "decoder.h"

namespace decoder {

#if defined(__AVX512VNNI__)
constexpr int WIDE = 3, TALL = 8; // registers of outputs, and rows, in a tile
#elif defined(__AVX2__)
constexpr int WIDE = 2, TALL = 6;
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr int WIDE = 4, TALL = 6;
#else
constexpr int WIDE = 1, TALL = 4;
#endif
constexpr int SHARE = 3;         // panels that a thread takes at a time
constexpr int64_t DEPTH = 1024;  // words of a panel at a time

#if defined(__AVX512F__)
// 16 rows of 16 words, to 16 columns.
inline void turn(const __m512i *in, uint32_t *out) {
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
        _mm512_store_si512(out + i * L, _mm512_shuffle_i32x4(a, c, 0x88));
        _mm512_store_si512(out + (i + 8) * L, _mm512_shuffle_i32x4(a, c, 0xdd));
        _mm512_store_si512(out + (i + 4) * L, _mm512_shuffle_i32x4(b, d, 0x88));
        _mm512_store_si512(out + (i + 12) * L, _mm512_shuffle_i32x4(b, d, 0xdd));
    }
}
#endif

// Turn `depth` words, a multiple of 8, of 16 outputs over.
template <typename T> void pack(const T *w, int64_t inputs, int64_t depth, uint32_t *panel) {
#if defined(__AVX512F__)
    constexpr int64_t EACH = PAIRS && sizeof(T) == 2 ? 2 : 1; // inputs in a word
    for (int64_t k = 0; k < depth; k += L) {
        __m512i lines[L];
        for (int i = 0; i < L; i++) {
            const T *from = w + i * inputs + k * EACH;
            __builtin_prefetch((const char *)from + 512, 0, 3);
            lines[i] = words_of(from, k + L <= depth);
        }
        turn(lines, panel + k * L);
    }
#else
    for (int i = 0; i < L; i++)
        for (int64_t k = 0; k < depth; k++) {
            float x = widen(w[i * inputs + k]);
            memcpy(panel + k * L + i, &x, 4);
        }
#endif
}

// acc + words of 16 outputs by one word of a row.
#if defined(__AVX512BF16__)
template <bool TWO> inline INLINE vf multiply(vf acc, const uint32_t *w, const char *x) {
    int32_t word;
    memcpy(&word, x, 4);
    if (TWO) return _mm512_dpbf16_ps(acc, (__m512bh)_mm512_load_si512(w), (__m512bh)_mm512_set1_epi32(word));
    return fma(load_f((const float *)w), (vf)_mm512_set1_epi32(word), acc);
}
#else
template <bool TWO> inline INLINE vf multiply(vf acc, const uint32_t *w, const char *x) {
    float word;
    memcpy(&word, x, 4);
    return fma(load_f((const float *)w), splat_f(word), acc);
}
#endif

// R rows by P registers of outputs; `panel` holds `DEPTH` words of each 16 outputs. `more`: go on with what is there.
template <bool TWO, int R, int P>
__attribute__((noinline)) void tile(const uint32_t *panel, int64_t depth, const char *x, int64_t step, float *out, int64_t out_step, bool more, const float *bias) {
    vf acc[R][P];
    each<R>([&](auto r) INLINE {
        each<P>([&](auto p) INLINE { acc[r][p] = more ? load_f(out + r * out_step + p * LANES) : zero_f(); });
    });
    for (int64_t k = 0; k < depth; k++)
        each<R>([&](auto r) INLINE {
            each<P>([&](auto p) INLINE {
                acc[r][p] = multiply<TWO>(acc[r][p], panel + (p / PARTS * DEPTH + k) * L + p % PARTS * LANES, x + r * step + 4 * k);
            });
        });
    each<R>([&](auto r) INLINE {
        each<P>([&](auto p) INLINE {
            if (bias) acc[r][p] = add(acc[r][p], load_f(bias + p * LANES));
            store_f(out + r * out_step + p * LANES, acc[r][p]);
        });
    });
}

template <bool TWO, int P>
void rows_of(const uint32_t *panel, int64_t depth, const Input &in, int64_t rows, float *out, int64_t out_step, bool more, const float *bias) {
    const int64_t step = in.step;
    int64_t r = 0;
    for (; r + TALL <= rows; r += TALL) tile<TWO, TALL, P>(panel, depth, in.rows + r * step, step, out + r * out_step, out_step, more, bias);
    for (; r + 2 <= rows; r += 2) tile<TWO, 2, P>(panel, depth, in.rows + r * step, step, out + r * out_step, out_step, more, bias);
    for (; r < rows; r++) tile<TWO, 1, P>(panel, depth, in.rows + r * step, step, out + r * out_step, out_step, more, bias);
}

} // namespace decoder
