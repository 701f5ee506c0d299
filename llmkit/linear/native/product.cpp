// x W' + bias for weights of 8 or 4 bits: activations become int8, products are summed in int32, scales are float32.
//
// Weights lie in panels of 16 outputs, 4 inputs of an output beside each other, so that a vector of a panel is 64
// bytes: [outputs / 16][inputs / 4][16][4] unsigned bytes, value + 128. Of 4-bit weights a byte holds two, value + 8:
// the lower half of input i of a group of 8, the upper half of input i + 4: [outputs / 16][inputs / 8][16][4].
// Activations have a scale for each row and each block of inputs: the weights' group (4 bits) or `block` (8 bits).
// Weights of a GGUF file (`halves`) have a float16 scale for each output and block in 8 bits too, and in 4 bits perhaps
// an offset: weight = (value + 8) * scale + offset.
// Every row is computed in the same order whatever stands beside it, so its result does not depend on the batch.
// This file is compiled once for each instruction set, with NAME as the function's name; it includes nothing of torch.

#include "lanes.h"

#include <utility>

namespace {

struct Weight {
    const uint8_t *values;
    const void *scale;  // 8 bits: float[outputs]; 4 bits: bfloat16 [outputs / 16][groups][16]; outputs padded to 16
    const float *bias;  // float[outputs], padded to 16; null: none
    int64_t outputs, inputs, block, bits;
    const uint16_t *offset; // float16, as the scale; null: none
    int64_t halves;         // the scale is float16 [outputs / 16][blocks][16], whatever the bits
};

// Rows of activations as int8.
struct Rows {
    int8_t *x;       // [rows][width], zeros behind the inputs
    float *scale;    // [rows][blocks]
    int32_t *sum;    // [rows][blocks], of x
    int64_t width, blocks;
};

constexpr int MAX_BLOCK = 256;

inline float widen(float x) { return x; }
inline float widen(uint16_t x) { return from_bf16(x); }

template <typename T> void quantize(const Weight &w, const Rows &a, int64_t row, const T *x) {
    int8_t *q = a.x + row * a.width;
    for (int64_t b = 0; b < a.blocks; b++, x += w.block, q += w.block) {
        int64_t count = w.inputs - b * w.block < w.block ? w.inputs - b * w.block : w.block;
        alignas(64) float values[MAX_BLOCK];
        alignas(64) int32_t bits[MAX_BLOCK];
        // Magnitudes are compared as integers, in which NaN is the largest: it reaches the scale, and so the result.
        int32_t largest = 0;
        for (int64_t i = 0; i < count; i++) values[i] = widen(x[i]);
        memcpy(bits, values, count * sizeof(float));
        for (int64_t i = 0; i < count; i++) {
            int32_t magnitude = bits[i] & 0x7fffffff;
            largest = magnitude > largest ? magnitude : largest;
        }
        float top;
        memcpy(&top, &largest, 4);
        const bool none = top < 1e-30f;
        const float by = none ? 0.0f : 127.0f / top;
        int32_t sum = 0;
        for (int64_t i = 0; i < count; i++) {
            float shifted = values[i] * by + 12582912.0f; // rounds to the nearest, ties to even
            memcpy(&bits[i], &shifted, 4);
            bits[i] -= 0x4b400000;
            sum += (int8_t)bits[i];
        }
        for (int64_t i = 0; i < count; i++) q[i] = (int8_t)bits[i];
        a.scale[row * a.blocks + b] = none ? 0.0f : top / 127.0f;
        a.sum[row * a.blocks + b] = sum;
    }
    memset(a.x + row * a.width + w.inputs, 0, a.width - w.inputs);
}

inline vi broadcast(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, 4);
    return splat_i(four);
}

inline void fetch(const uint8_t *at) { __builtin_prefetch(at, 0, 3); }
constexpr int64_t AHEAD = 2048;     // bytes of a panel
constexpr int64_t SCALES_AHEAD = 8; // groups

#define INLINE __attribute__((always_inline))

// f(0), f(1), ... with constants: arrays indexed so become registers, which loops unrolled later do not.
template <typename F, int... I> inline INLINE void each(std::integer_sequence<int, I...>, F f) {
    (f(std::integral_constant<int, I>{}), ...);
}
template <int N, typename F> inline INLINE void each(F f) { each(std::make_integer_sequence<int, N>{}, f); }

// R rows from `row` on by P registers of outputs from `unit` on.
template <bool FOUR, bool HALVES, int R, int P>
inline INLINE void tile(const Weight &w, const Rows &a, int64_t row, int64_t unit, bool cold, float (*out)[P * LANES]) {
    constexpr int64_t STEP = FOUR ? 8 : 4; // inputs in 64 bytes of a panel
    const int64_t steps = (w.inputs + STEP - 1) / STEP, per_block = w.block / STEP, width = a.width;
    const int64_t panel = steps * 64, skip = P > PARTS ? (P / PARTS - 1) * panel : 0;
    // The sum of x undoes that bytes stand for value + 128 or + 8, unless the weight has an offset instead.
    const int32_t shift = FOUR ? (HALVES && w.offset ? 0 : -8) : -OFFSET8;
    const uint8_t *v[P];
    each<P>([&](auto p) INLINE {
        v[p] = w.values + (unit + p) / PARTS * steps * 64 + (unit + p) % PARTS * LANES * 4;
    });
    const int8_t *x = a.x + row * width;
    vf sums[R][P];
    each<R>([&](auto r) INLINE { each<P>([&](auto p) INLINE { sums[r][p] = zero_f(); }); });
    for (int64_t b = 0; b < a.blocks; b++) {
        const int64_t left = steps - b * per_block, here = left < per_block ? left : per_block;
        const int64_t first = row * a.blocks + b;
        vi acc[R][P];
        each<R>([&](auto r) INLINE {
            each<P>([&](auto p) INLINE { acc[r][p] = splat_i(shift * a.sum[first + r * a.blocks]); });
        });
        // Weights on their way from memory: further on in the panel, then in the one that this register reads next.
        int64_t ahead = cold ? AHEAD : 0;
        if (cold && (b * per_block + here) * 64 + AHEAD > panel) ahead += skip;
        for (int64_t i = 0; i < here; i++) {
            vi low[P], high[P];
            each<P>([&](auto p) INLINE {
                low[p] = load_bytes(v[p] + 64 * i);
                if (p % PARTS == 0) fetch(v[p] + 64 * i + ahead);
                if (FOUR) {
                    high[p] = high_nibbles(low[p]);
                    low[p] = low_nibbles(low[p]);
                }
            });
            each<R>([&](auto r) INLINE {
                vi inputs = broadcast(x + r * width + STEP * i);
                each<P>([&](auto p) INLINE {
                    acc[r][p] = FOUR ? dot4(acc[r][p], low[p], inputs) : dot8(acc[r][p], low[p], inputs);
                });
                if (FOUR) {
                    inputs = broadcast(x + r * width + STEP * i + 4);
                    each<P>([&](auto p) INLINE { acc[r][p] = dot4(acc[r][p], high[p], inputs); });
                }
            });
        }
        x += STEP * here;
        each<P>([&](auto p) INLINE { v[p] += 64 * here; });
        vf scale[P], offset[P];
        int64_t scales_ahead = cold ? SCALES_AHEAD * PANEL : 0;
        if (cold && b + SCALES_AHEAD >= a.blocks) scales_ahead += (P / PARTS - 1) * a.blocks * PANEL;
        if (FOUR || HALVES)
            each<P>([&](auto p) INLINE {
                int64_t at = ((unit + p) / PARTS * a.blocks + b) * PANEL + (unit + p) % PARTS * LANES;
                const uint16_t *from = (const uint16_t *)w.scale + at;
                if (p % PARTS == 0) fetch((const uint8_t *)(from + scales_ahead));
                scale[p] = HALVES ? load_float16(from) : load_half(from);
                if (HALVES && w.offset) offset[p] = load_float16(w.offset + at);
            });
        each<R>([&](auto r) INLINE {
            vf by = splat_f(a.scale[first + r * a.blocks]);
            each<P>([&](auto p) INLINE {
                sums[r][p] = fma(to_float(acc[r][p]), FOUR || HALVES ? mul(by, scale[p]) : by, sums[r][p]);
            });
            if (HALVES && w.offset) {
                vf x_sum = mul(by, splat_f((float)a.sum[first + r * a.blocks]));
                each<P>([&](auto p) INLINE { sums[r][p] = fma(x_sum, offset[p], sums[r][p]); });
            }
        });
    }
    each<R>([&](auto r) INLINE {
        each<P>([&](auto p) INLINE {
            vf y = sums[r][p];
            if (!FOUR && !HALVES) y = mul(y, load_f((const float *)w.scale + (unit + p) * LANES));
            if (w.bias) y = add(y, load_f(w.bias + (unit + p) * LANES));
            store_f(out[r] + p * LANES, y);
        });
    });
}

inline void narrow(float *into, const float *from, int64_t count) { memcpy(into, from, count * sizeof(float)); }
inline void narrow(uint16_t *into, const float *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) into[i] = to_bf16(from[i]);
}

template <bool FOUR, bool HALVES, typename T, int R, int P>
__attribute__((noinline)) void block(const Weight &w, const Rows &a, int64_t row, int64_t unit, bool cold, T *out) {
    alignas(64) float y[R][P * LANES];
    tile<FOUR, HALVES, R, P>(w, a, row, unit, cold, y);
    int64_t first = unit * LANES, count = w.outputs - first < P * LANES ? w.outputs - first : P * LANES;
    for (int r = 0; r < R; r++) narrow(out + (row + r) * w.outputs + first, y[r], count);
}

template <bool FOUR, bool HALVES, typename T, int R, int P>
inline int64_t rows_by(const Weight &w, const Rows &a, int64_t row, int64_t first, int64_t end, int64_t unit, T *out) {
    for (; row + R <= end; row += R) block<FOUR, HALVES, T, R, P>(w, a, row, unit, row == first, out);
    return row;
}

#if defined(__AVX512VNNI__)
constexpr int FEW = 4, MANY = 3;
#elif defined(__AVX2__)
constexpr int FEW = 4, MANY = 2;
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr int FEW = 4, MANY = 3;
#else
constexpr int FEW = 1, MANY = 1;
#endif

template <bool FOUR, bool HALVES, typename T, int P>
inline void rows_of(const Weight &w, const Rows &a, int64_t first, int64_t end, int64_t unit, T *out) {
    int64_t row = first;
    if constexpr (P != FEW || FEW == 1) { // `range_of` takes FEW for less than 4 rows
#if !defined(__AVX2__) || defined(__AVX512VNNI__)
        row = rows_by<FOUR, HALVES, T, 8, P>(w, a, row, first, end, unit, out);
#endif
        row = rows_by<FOUR, HALVES, T, 4, P>(w, a, row, first, end, unit, out);
    }
    row = rows_by<FOUR, HALVES, T, 2, P>(w, a, row, first, end, unit, out);
    rows_by<FOUR, HALVES, T, 1, P>(w, a, row, first, end, unit, out);
}

constexpr int64_t ROW_BLOCK = 64; // rows that share a panel while it is near

// Outputs of the units [from, to) for all rows.
template <bool FOUR, bool HALVES, typename T>
void range_of(const Weight &w, const Rows &a, int64_t rows, int64_t from, int64_t to, T *out) {
    for (int64_t row = 0; row < rows; row += ROW_BLOCK) {
        int64_t end = row + ROW_BLOCK < rows ? row + ROW_BLOCK : rows, unit = from;
        if (end - row < 4)
            for (; unit + FEW <= to; unit += FEW) rows_of<FOUR, HALVES, T, FEW>(w, a, row, end, unit, out);
        else
            for (; unit + MANY <= to; unit += MANY) rows_of<FOUR, HALVES, T, MANY>(w, a, row, end, unit, out);
        for (; unit < to; unit++) rows_of<FOUR, HALVES, T, 1>(w, a, row, end, unit, out);
    }
}

template <typename T> void range(const Weight &w, const Rows &a, int64_t rows, int64_t from, int64_t to, T *out) {
    if (w.halves && w.bits == 4) range_of<true, true, T>(w, a, rows, from, to, out);
    else if (w.halves) range_of<false, true, T>(w, a, rows, from, to, out);
    else if (w.bits == 4) range_of<true, false, T>(w, a, rows, from, to, out);
    else range_of<false, false, T>(w, a, rows, from, to, out);
}

template <typename T> int product(const Weight &w, const T *x, T *out, int64_t rows, int64_t step, int threads) {
    static thread_local Kept kept;
    Rows a{};
    a.width = (w.inputs + 63) / 64 * 64;
    a.blocks = (w.inputs + w.block - 1) / w.block;
    size_t bytes = (size_t)rows * (a.width + 8 * a.blocks);
    a.x = (int8_t *)kept.need(bytes);
    if (!a.x) return 1;
    a.scale = (float *)(a.x + rows * a.width);
    a.sum = (int32_t *)(a.scale + rows * a.blocks);
    const int64_t units = (w.outputs + LANES - 1) / LANES; // a register of padding alone is left out
    const int64_t pieces = (units + 4 * PARTS - 1) / (4 * PARTS); // shares of the threads, in wholes of 4 panels
    if (threads > pieces) threads = (int)pieces;
    if (w.inputs * w.outputs * rows < 1 << 16) threads = 1; // waking a thread costs more
    if (rows == 1 || threads == 1)
        for (int64_t r = 0; r < rows; r++) quantize<T>(w, a, r, x + r * step);
    if (threads == 1) {
        range<T>(w, a, rows, 0, units, out);
    } else {
#pragma omp parallel num_threads(threads)
        {
            if (rows > 1) {
#pragma omp for schedule(static)
                for (int64_t r = 0; r < rows; r++) quantize<T>(w, a, r, x + r * step);
            }
#pragma omp for schedule(static)
            for (int t = 0; t < threads; t++) {
                int64_t from = pieces * t / threads * 4 * PARTS, to = pieces * (t + 1) / threads * 4 * PARTS;
                if (to > units) to = units;
                range<T>(w, a, rows, from, to, out);
            }
        }
    }
    kept.keep_at_most(1 << 22);
    return 0;
}

} // namespace

#ifndef NO_ENTRY // the decoding step includes this file for its products
// x: [rows][inputs] with `step` elements from row to row; out: [rows][outputs]. kind: 0 float32, 1 bfloat16, of both.
// Returns 0 when done, 1 when there is no memory, 2 when the weight is none of ours.
extern "C" int NAME(const void *weight, const void *x, void *out, int64_t rows, int64_t step, int kind, int threads) {
    const Weight &w = *(const Weight *)weight;
    if (w.block <= 0 || w.block > MAX_BLOCK || w.block % 8 || (w.bits != 8 && w.bits != 4)) return 2;
    if ((w.bits == 4 || w.halves) && w.inputs % w.block) return 2;
    if (kind) return product<uint16_t>(w, (const uint16_t *)x, (uint16_t *)out, rows, step, threads);
    return product<float>(w, (const float *)x, (float *)out, rows, step, threads);
}

#define PASTE(a, b) a##b
#define SUFFIXED(a, b) PASTE(a, b)
// Read memory as fast as it comes and give the sum of its 64-bit words: the limit that a product is measured against.
extern "C" uint64_t SUFFIXED(NAME, _read)(const uint64_t *at, int64_t words, int threads) {
    uint64_t total = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : total)
    for (int64_t block = 0; block < words / 512; block++) {
        const uint64_t *from = at + block * 512;
        uint64_t sum = 0;
        for (int i = 0; i < 512; i += 8) __builtin_prefetch(from + 1024 + i, 0, 2);
        for (int i = 0; i < 512; i++) sum += from[i];
        total += sum;
    }
    return total;
}
#endif
