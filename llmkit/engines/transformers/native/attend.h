// Attention of one token's queries to keys and values that lie in a cache.
#pragma once

#include "decoder.h"

#include <type_traits>

namespace decoder {

constexpr int MAX_GROUP = 32, MAX_DIM = 256; // as native_decoder.py allows

// A head's query as its keys want it: pairs of bfloat16 where the processor multiplies those, or float32.
template <typename T> struct Query { typedef float number; };
template <> struct Query<uint16_t> { typedef std::conditional_t<PAIRS, uint16_t, float> number; };

inline v16 multiply(v16 acc, const float *k, const float *q, int64_t) { return acc + load(k) * load(q); }
inline v16 multiply(v16 acc, const uint16_t *k, const float *q, int64_t) { return acc + load(k) * load(q); }
#if defined(__AVX512BF16__)
inline v16 multiply(v16 acc, const uint16_t *k, const uint16_t *q, int64_t left) {
    return (v16)_mm512_dpbf16_ps((__m512)acc, (__m512bh)words_of(k, left >= 2 * L), (__m512bh)words_of(q, left >= 2 * L));
}
#endif

// The lines of the cache that hold a sequence's keys: one behind the other, or as a table says.
struct InOrder {
    int64_t operator()(int64_t j) const { return j; }
};
struct ByTable {
    const int64_t *lines;
    int64_t operator()(int64_t j) const { return lines[j]; }
};

// The scores of `keys` keys, padded to whole registers with the last key's. bias: added to them, or null.
template <typename T, typename Q, typename At>
void score(const Q *q, const T *k, At at, int64_t keys, int64_t stride, int64_t dim, float scale, const float *bias, float *scores) {
    constexpr int64_t EACH = sizeof(Q) == 2 ? 2 * L : L;
    for (int64_t j = 0; j < keys; j += L) {
        v16 acc[L];
        for (int i = 0; i < L; i++) acc[i] = v16{};
        if (j + L <= keys)
            for (int64_t d = 0; d < dim; d += EACH)
                for (int i = 0; i < L; i++) acc[i] = multiply(acc[i], k + at(j + i) * stride + d, q + d, dim - d);
        else
            for (int64_t d = 0; d < dim; d += EACH)
                for (int i = 0; i < L; i++) acc[i] = multiply(acc[i], k + at(j + i < keys ? j + i : keys - 1) * stride + d, q + d, dim - d);
        v16 found = sums_of(acc) * scale;
        *(v16u *)(scores + j) = bias ? found + load(bias + j) : found;
    }
}

// Turn scores into exp(score - the largest); return the sum.
inline float soften(float *s, int64_t keys, int64_t width) {
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
    return sum_of(total);
}

// Add up P registers of values for H heads at once; by: what each head's sums are multiplied by.
template <int H, int P, typename T, typename At>
void mix(const T *v, At at, int64_t keys, int64_t stride, int64_t dim, const float *scores, int64_t width, const float *by, float *out) {
    v16 acc[H][P];
    for (int h = 0; h < H; h++)
        for (int p = 0; p < P; p++) acc[h][p] = v16{};
    for (int64_t j = 0; j < keys; j++) {
        v16 line[P];
        for (int p = 0; p < P; p++) line[p] = load(v + at(j) * stride + p * L);
        for (int h = 0; h < H; h++)
            for (int p = 0; p < P; p++) acc[h][p] += line[p] * scores[h * width + j];
    }
    for (int h = 0; h < H; h++)
        for (int p = 0; p < P; p++) *(v16u *)(out + h * dim + p * L) = acc[h][p] * by[h];
}

template <int P, typename T, typename At>
void mix_heads(const T *v, At at, int64_t keys, int64_t stride, int64_t dim, int group, const float *scores, int64_t width, const float *by, float *out) {
    int h = 0;
    for (; h + 3 <= group; h += 3) mix<3, P>(v, at, keys, stride, dim, scores + h * width, width, by + h, out + h * dim);
    for (; h + 2 <= group; h += 2) mix<2, P>(v, at, keys, stride, dim, scores + h * width, width, by + h, out + h * dim);
    for (; h < group; h++) mix<1, P>(v, at, keys, stride, dim, scores + h * width, width, by + h, out + h * dim);
}

// One query head group against its keys. bias: as `score` adds it. scores: [heads of the group][padded keys].
template <typename T, typename At>
void attend(const float *q, const T *k, const T *v, At at, int64_t keys, int64_t stride, int64_t dim, int group, float scale, const float *bias, float *scores, int64_t width, float *out) {
    typedef typename Query<T>::number Q;
    float by[MAX_GROUP];
    for (int h = 0; h < group; h++) {
        alignas(64) Q own[MAX_DIM];
        copy_row(own, q + h * dim, dim);
        score(own, k, at, keys, stride, dim, scale, bias, scores + h * width);
        by[h] = 1.0f / soften(scores + h * width, keys, width);
    }
    int64_t d = 0;
    for (; d + 4 * L <= dim; d += 4 * L) mix_heads<4>(v + d, at, keys, stride, dim, group, scores, width, by, out + d);
    for (; d < dim; d += L) mix_heads<1>(v + d, at, keys, stride, dim, group, scores, width, by, out + d);
}

} // namespace decoder
