// One register of int32 and of float32 lanes, for each instruction set, and the product of bytes.
//
// dot(acc, w, x): acc[i] += sum over 4 of w[i][j] * x[i][j], x signed bytes in [-127, 127]. `dot4` takes w in [0, 15].
// `dot8` takes any byte w, which stands for w - 128; what it subtracts itself is 128 - OFFSET8, and the caller takes
// OFFSET8 times the sum of x off the result.
//
// Integers have GCC's vector type: arrays of __m512i, which the intrinsics cast, would live in memory.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

namespace {

constexpr int PANEL = 16; // outputs that lie together

inline float from_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

inline float from_float16(uint16_t x) {
    const uint32_t magnitude = x & 0x7fff;
    float f;
    if (magnitude < 0x400) f = (float)magnitude / 16777216.0f; // subnormal: magnitude / 2^24
    else {
        uint32_t bits = magnitude < 0x7c00 ? (magnitude << 13) + 0x38000000 : (magnitude << 13) | 0x7f800000;
        memcpy(&f, &bits, 4);
    }
    return x & 0x8000 ? -f : f;
}

inline uint16_t to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

#if defined(__AVX512VNNI__)

constexpr int LANES = 16;
typedef int32_t vi __attribute__((vector_size(64)));
typedef __m512 vf;
inline vi splat_i(int32_t x) { return (vi)_mm512_set1_epi32(x); }
inline vf splat_f(float x) { return _mm512_set1_ps(x); }
inline vf zero_f() { return _mm512_setzero_ps(); }
inline vi load_bytes(const uint8_t *p) { return (vi)_mm512_loadu_si512(p); }
inline vi low_nibbles(vi x) { return (vi)_mm512_and_si512((__m512i)x, _mm512_set1_epi8(15)); }
inline vi high_nibbles(vi x) { return (vi)_mm512_and_si512(_mm512_srli_epi16((__m512i)x, 4), _mm512_set1_epi8(15)); }
constexpr int OFFSET8 = 128;
inline vi dot8(vi acc, vi w, vi x) { return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)w, (__m512i)x); }
inline vi dot4(vi acc, vi w, vi x) { return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)w, (__m512i)x); }
inline vf to_float(vi x) { return _mm512_cvtepi32_ps((__m512i)x); }
inline vf mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
inline vf add(vf a, vf b) { return _mm512_add_ps(a, b); }
inline vf fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
inline vf load_f(const float *p) { return _mm512_loadu_ps(p); }
inline vf load_half(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
inline vf load_float16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
inline void store_f(float *p, vf x) { _mm512_storeu_ps(p, x); }

#elif defined(__AVX2__)

constexpr int LANES = 8;
typedef int32_t vi __attribute__((vector_size(32)));
typedef __m256 vf;
inline vi splat_i(int32_t x) { return (vi)_mm256_set1_epi32(x); }
inline vf splat_f(float x) { return _mm256_set1_ps(x); }
inline vf zero_f() { return _mm256_setzero_ps(); }
inline vi load_bytes(const uint8_t *p) { return (vi)_mm256_loadu_si256((const __m256i *)p); }
inline vi low_nibbles(vi x) { return (vi)_mm256_and_si256((__m256i)x, _mm256_set1_epi8(15)); }
inline vi high_nibbles(vi x) {
    return (vi)_mm256_and_si256(_mm256_srli_epi16((__m256i)x, 4), _mm256_set1_epi8(15));
}
#if defined(__AVXVNNI__)
constexpr int OFFSET8 = 128;
inline vi dot8(vi acc, vi w, vi x) { return (vi)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)w, (__m256i)x); }
inline vi dot4(vi acc, vi w, vi x) { return dot8(acc, w, x); }
#else
inline vi dot4(vi acc, vi w, vi x) { // pairs stay below 15 * 127 * 2
    __m256i pairs = _mm256_maddubs_epi16((__m256i)w, (__m256i)x);
    return acc + (vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
// Pairs of 255 * 127 would saturate: subtract 128 and let x carry the sign, pairs then stay below 128 * 127 * 2.
constexpr int OFFSET8 = 0;
inline vi dot8(vi acc, vi w, vi x) {
    __m256i s = _mm256_xor_si256((__m256i)w, _mm256_set1_epi8((char)128));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8((__m256i)x, s));
    return acc + (vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
#endif
inline vf to_float(vi x) { return _mm256_cvtepi32_ps((__m256i)x); }
inline vf mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
inline vf add(vf a, vf b) { return _mm256_add_ps(a, b); }
inline vf fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
inline vf load_f(const float *p) { return _mm256_loadu_ps(p); }
inline vf load_half(const uint16_t *p) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline vf load_float16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
inline void store_f(float *p, vf x) { _mm256_storeu_ps(p, x); }

#elif defined(__ARM_FEATURE_DOTPROD)

// Run under an emulator only (same bits as x86's on 24 cases); never timed on a real processor.
constexpr int LANES = 4;
typedef int32x4_t vi;
typedef float32x4_t vf;
inline vi splat_i(int32_t x) { return vdupq_n_s32(x); }
inline vf splat_f(float x) { return vdupq_n_f32(x); }
inline vf zero_f() { return vdupq_n_f32(0); }
inline vi load_bytes(const uint8_t *p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
inline vi low_nibbles(vi x) { return vreinterpretq_s32_u8(vandq_u8(vreinterpretq_u8_s32(x), vdupq_n_u8(15))); }
inline vi high_nibbles(vi x) { return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(x), 4)); }
inline vi dot4(vi acc, vi w, vi x) { return vdotq_s32(acc, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x)); }
constexpr int OFFSET8 = 0;
inline vi dot8(vi acc, vi w, vi x) {
    int8x16_t s = vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_s32(w), vdupq_n_u8(128)));
    return vdotq_s32(acc, s, vreinterpretq_s8_s32(x));
}
inline vf to_float(vi x) { return vcvtq_f32_s32(x); }
inline vf mul(vf a, vf b) { return vmulq_f32(a, b); }
inline vf add(vf a, vf b) { return vaddq_f32(a, b); }
inline vf fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
inline vf load_f(const float *p) { return vld1q_f32(p); }
inline vf load_half(const uint16_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
inline vf load_float16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
inline void store_f(float *p, vf x) { vst1q_f32(p, x); }

#else

constexpr int LANES = 16;
struct vi { union { int32_t i[16]; uint8_t u[64]; int8_t s[64]; }; };
struct vf { float f[16]; };
#define EACH for (int n = 0; n < 16; n++)
inline vi splat_i(int32_t x) { vi r; EACH r.i[n] = x; return r; }
inline vf splat_f(float x) { vf r; EACH r.f[n] = x; return r; }
inline vf zero_f() { return splat_f(0); }
inline vi load_bytes(const uint8_t *p) { vi r; memcpy(r.u, p, 64); return r; }
inline vi low_nibbles(vi x) { for (int n = 0; n < 64; n++) x.u[n] &= 15; return x; }
inline vi high_nibbles(vi x) { for (int n = 0; n < 64; n++) x.u[n] >>= 4; return x; }
constexpr int OFFSET8 = 128;
inline vi dot8(vi acc, vi w, vi x) {
    EACH for (int j = 0; j < 4; j++) acc.i[n] += (int32_t)w.u[4 * n + j] * x.s[4 * n + j];
    return acc;
}
inline vi dot4(vi acc, vi w, vi x) { return dot8(acc, w, x); }
inline vf to_float(vi x) { vf r; EACH r.f[n] = (float)x.i[n]; return r; }
inline vf mul(vf a, vf b) { EACH a.f[n] *= b.f[n]; return a; }
inline vf add(vf a, vf b) { EACH a.f[n] += b.f[n]; return a; }
inline vf fma(vf a, vf b, vf c) { EACH c.f[n] += a.f[n] * b.f[n]; return c; }
inline vf load_f(const float *p) { vf r; memcpy(r.f, p, 64); return r; }
inline vf load_half(const uint16_t *p) { vf r; EACH r.f[n] = from_bf16(p[n]); return r; }
inline vf load_float16(const uint16_t *p) { vf r; EACH r.f[n] = from_float16(p[n]); return r; }
inline void store_f(float *p, vf x) { memcpy(p, x.f, 64); }
#undef EACH

#endif

constexpr int PARTS = PANEL / LANES; // registers in a panel

// Memory that a thread keeps for its next call.
struct Kept {
    void *at = nullptr;
    size_t bytes = 0;
    void *need(size_t wanted) { // null where there is none; what it held is lost
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

} // namespace
