// bfloat16 attention in tiles of matrix registers (Intel AMX).
//
// Scores are made turned over, keys by queries: rows of keys are then tiles as they lie in the cache, and a vector
// holds one key's scores for 16 queries, so that nothing is summed across a vector. With many queries the values are
// turned over too, once for all of them, and so is the output. With few (decoding), the weights are turned back
// instead and the values only interleaved, since each is used once.
//
// The tiles' configuration belongs to the thread; other libraries keep theirs there, so it is put back at the end.
#pragma once

#include "common.h"

#include <sys/syscall.h>
#include <unistd.h>

// The compiler's own intrinsics do not tell it that memory is read.
#define TILE_LOAD(t, base, stride)                                                                                     \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(base), "r"((int64_t)(stride)) : "memory")
#define TILE_STORE(t, base, stride)                                                                                    \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(base), "r"((int64_t)(stride)) : "memory")
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t ::)
#define TILE_PRODUCT(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)

namespace {
namespace tiles {

constexpr int BLOCK = 64;   // keys in a block
constexpr int CHUNK = 32;    // keys in a tile of weights
constexpr int CHUNKS = BLOCK / CHUNK;
constexpr int GROUPS = 8;    // vectors of 16 queries at once, at most
constexpr size_t KEEP = 64 << 20; // bytes that stay with a thread between calls
constexpr int FEW = 8;       // up to so many queries the values are not turned over

struct alignas(64) Config {
    uint8_t palette = 1, start = 0, none[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
};

struct alignas(64) Work {
    uint32_t q[GROUPS][MAX_D / 2][L];        // queries: pairs of dimensions, 16 queries beside each other
    float s[2][BLOCK][L];                    // scores, a key in a row; of two groups, as all fit the first cache
    uint32_t p[2][BLOCK / 2][L];             // weights: pairs of keys; with few queries, rows of 32 keys
    float o[GROUPS][MAX_D][L];               // outputs so far, a dimension in a row; with few queries, turned
    uint32_t v[CHUNKS][MAX_D / L][L][L];     // with few queries: values, pairs of keys, 16 dimensions in a tile
    uint16_t tail[CHUNK][MAX_D];             // the last keys, and nothing after them
    uint32_t seen[GROUPS * L][CHUNKS];       // which keys of a block a position sees, a bit each
    uint32_t lanes[GROUPS][CHUNKS][L];       // the same, as the lanes of a vector want it
    float most[GROUPS][L], total[GROUPS][L]; // of the scores, and of the weights
};

// The kernel lets a process use tiles once it has asked.
bool permitted() {
    static const bool found = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
    return found;
}

// 2^x for x <= 8, to 1e-4: the weights are rounded to bfloat16's 4e-3.
inline __m512 exp2_v(__m512 x) {
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_fmadd_ps(f, _mm512_set1_ps(0.0559220356f), _mm512_set1_ps(0.242640083f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693121034f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.999924481f));
    return _mm512_scalef_ps(p, n);
}

// By how much sums made beside `before` shrink where `after` is the largest.
inline __m512 shrunk(__m512 before, __m512 after, float by) {
    __m512 x = _mm512_mul_ps(_mm512_sub_ps(before, after), _mm512_set1_ps(by));
    return exp2_v(_mm512_max_ps(x, _mm512_set1_ps(-200.0f)));
}

// The mask's bytes for a chunk of keys as bits.
inline uint32_t bits_of(const Job &job, int64_t b, int64_t position, int64_t key) {
    uint32_t there = job.keys - key < CHUNK ? (1u << (job.keys - key)) - 1 : ~0u;
    __m256i bytes = _mm256_maskz_loadu_epi8(there, job.mask + b * job.ms[0] + position * job.ms[2] + key);
    return _mm256_test_epi8_mask(bytes, bytes);
}

// Whether a largest score has grown by so much that what was summed beside the one before must shrink. Until then
// weights may pass 1, and the largest is rounded like the others instead of being 1 exactly: on sharp attention that
// costs up to a half more error, still of bfloat16's rounding (the idea is that of FlashAttention-4).
inline bool grown(__m512 before, __m512 after, float by) {
    __m512 more = _mm512_mul_ps(_mm512_sub_ps(after, before), _mm512_set1_ps(by));
    return _mm512_cmp_ps_mask(more, _mm512_set1_ps(8.0f), _CMP_GT_OQ) != 0;
}

// Which keys of a block each of `count` positions sees. Returns 0: none, 1: some, 2: each sees all.
// `packed`: the mask in bits, a row for each of a text's positions; null: read its bytes.
int look(Work &w, const Job &job, const uint32_t *packed, int64_t b, int64_t first, int count, int64_t k0, int keys) {
    const int64_t wide = (job.keys + CHUNK - 1) / CHUNK;
    uint32_t any = 0, all = ~0u;
    for (int c = 0; c * CHUNK < keys; c++) {
        int64_t base = k0 + c * CHUNK;
        int there = keys - c * CHUNK;
        uint32_t whole = there < CHUNK ? (1u << there) - 1 : ~0u;
        for (int i = 0; i < count; i++) {
            uint32_t bits = whole;
            if (job.causal) {
                int64_t past = first + i + job.keys - job.queries - base + 1;
                if (past < CHUNK) bits &= past > 0 ? (1u << past) - 1 : 0;
            }
            if (packed) bits &= packed[(b * job.queries + first + i) * wide + base / CHUNK];
            else if (job.mask) bits &= bits_of(job, b, first + i, base);
            w.seen[i][c] = bits;
            any |= bits;
            all &= bits;
        }
    }
    return any ? (all == ~0u ? 2 : 1) : 0;
}

// A chunk of keys as it lies, or copied where it would be read beyond the last.
inline const uint16_t *chunk_of(Work &w, const Job &job, const uint16_t *keys, int64_t at, int64_t &stride) {
    const uint16_t *rows = keys + at * job.ks[2];
    stride = job.ks[2] * 2;
    int64_t there = job.keys - at;
    if (there >= CHUNK) return rows;
    for (int i = 0; i < CHUNK; i++) {
        if (i < there) memcpy(w.tail[i], rows + i * job.ks[2], job.dim * 2);
        else memset(w.tail[i], 0, job.dim * 2);
    }
    stride = sizeof w.tail[0];
    return w.tail[0];
}

// ---- many queries ----

// Values of a chunk of keys turned over: for each dimension 32 keys, nothing after the last.
void turn(const Job &job, const uint16_t *v, int64_t at, uint16_t *out) {
    const __m256i zero = _mm256_setzero_si256();
    for (int64_t d = 0; d < job.dim; d += L) {
        __m512i rows[L];
        for (int i = 0; i < L; i++) {
            int64_t k = at + 2 * i;
            const uint16_t *row = v + k * job.vs[2] + d;
            __m256i a = k < job.keys ? _mm256_loadu_si256((const __m256i *)row) : zero;
            __m256i b = k + 1 < job.keys ? _mm256_loadu_si256((const __m256i *)(row + job.vs[2])) : zero;
            rows[i] = _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
        }
        transpose16(rows, (uint32_t (*)[L])(out + d * CHUNK));
    }
}

// Scores of a chunk of keys for one or two vectors of queries.
template <bool TWO> void scores(Work &w, int g, int c, const uint16_t *k, int64_t stride, int dim) {
    const char *low = (const char *)k, *high = low + 16 * stride;
    TILE_ZERO(0);
    TILE_ZERO(1);
    if (TWO) {
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (int d = 0; d < dim / 32; d++) {
        TILE_LOAD(4, low + 64 * d, stride);
        TILE_LOAD(6, w.q[g][16 * d], 64);
        TILE_PRODUCT(0, 4, 6);
        TILE_LOAD(5, high + 64 * d, stride);
        TILE_PRODUCT(1, 5, 6);
        if (TWO) {
            TILE_LOAD(7, w.q[g + 1][16 * d], 64);
            TILE_PRODUCT(2, 4, 7);
            TILE_PRODUCT(3, 5, 7);
        }
    }
    TILE_STORE(0, w.s[0][c * CHUNK], 64);
    TILE_STORE(1, w.s[0][c * CHUNK + 16], 64);
    if (TWO) {
        TILE_STORE(2, w.s[1][c * CHUNK], 64);
        TILE_STORE(3, w.s[1][c * CHUNK + 16], 64);
    }
}

// Scores to weights, for one vector of queries; the outputs so far shrink by what a new largest score asks.
template <bool SOME> void weigh(Work &w, int g, int chunks, int dim, float by) {
    const __m512 lowest = _mm512_set1_ps(LOWEST);
    alignas(64) static const uint8_t pairs[64] = {0,  1,  32, 33, 2,  3,  34, 35, 4,  5,  36, 37, 6,  7,  38, 39,
                                                  8,  9,  40, 41, 10, 11, 42, 43, 12, 13, 44, 45, 14, 15, 46, 47,
                                                  16, 17, 48, 49, 18, 19, 50, 51, 20, 21, 52, 53, 22, 23, 54, 55,
                                                  24, 25, 56, 57, 26, 27, 58, 59, 28, 29, 60, 61, 30, 31, 62, 63};
    const __m512i order = _mm512_load_si512(pairs);
    __m512 before = _mm512_load_ps(w.most[g]), tops[4] = {before, before, before, before};
    for (int c = 0; c < chunks; c++) {
        const float(*s)[L] = w.s[g % 2] + c * CHUNK;
        __m512i lanes = SOME ? _mm512_load_si512(w.lanes[g][c]) : _mm512_setzero_si512();
        for (int j = 0; j < CHUNK; j += 4)
            for (int i = 0; i < 4; i++) {
                __m512 x = _mm512_load_ps(s[j + i]);
                if (SOME) x = _mm512_mask_mov_ps(lowest, _mm512_test_epi32_mask(lanes, _mm512_set1_epi32(1u << (j + i))), x);
                tops[i] = _mm512_max_ps(tops[i], x);
            }
    }
    __m512 after = _mm512_max_ps(_mm512_max_ps(tops[0], tops[1]), _mm512_max_ps(tops[2], tops[3]));
    const bool moves = grown(before, after, by);
    if (!moves) after = before;
    __m512 factor = _mm512_set1_ps(by), base = _mm512_mul_ps(after, factor), sums[2] = {};
    for (int c = 0; c < chunks; c++) {
        const float(*s)[L] = w.s[g % 2] + c * CHUNK;
        __m512i lanes = SOME ? _mm512_load_si512(w.lanes[g][c]) : _mm512_setzero_si512();
        for (int j = 0; j < CHUNK; j += 2) {
            __m512 a = exp2_v(_mm512_fmsub_ps(_mm512_load_ps(s[j]), factor, base));
            __m512 b = exp2_v(_mm512_fmsub_ps(_mm512_load_ps(s[j + 1]), factor, base));
            if (SOME) {
                // What is not seen weighs nothing, in a row that has seen nothing yet too.
                a = _mm512_maskz_mov_ps(_mm512_test_epi32_mask(lanes, _mm512_set1_epi32(1u << j)), a);
                b = _mm512_maskz_mov_ps(_mm512_test_epi32_mask(lanes, _mm512_set1_epi32(2u << j)), b);
            }
            sums[0] = _mm512_add_ps(sums[0], a);
            sums[1] = _mm512_add_ps(sums[1], b);
            __m512i both = (__m512i)_mm512_cvtne2ps_pbh(b, a);
            _mm512_store_si512(w.p[g % 2][(c * CHUNK + j) / 2], _mm512_permutexvar_epi8(order, both));
        }
    }
    __m512 total = _mm512_load_ps(w.total[g]), sum = _mm512_add_ps(sums[0], sums[1]);
    if (moves) {
        __m512 less = shrunk(before, after, by);
        total = _mm512_mul_ps(total, less);
        for (int d = 0; d < dim; d++) _mm512_store_ps(w.o[g][d], _mm512_mul_ps(_mm512_load_ps(w.o[g][d]), less));
        _mm512_store_ps(w.most[g], after);
    }
    _mm512_store_ps(w.total[g], _mm512_add_ps(total, sum));
}

// Values by weights, for one or two vectors of queries; `v` as `turn` leaves it, chunk after chunk.
template <bool TWO> void values(Work &w, int g, int chunks, const uint16_t *v, int dim) {
    for (int d = 0; d < dim; d += 32) {
        TILE_LOAD(0, w.o[g][d], 64);
        TILE_LOAD(1, w.o[g][d + 16], 64);
        if (TWO) {
            TILE_LOAD(2, w.o[g + 1][d], 64);
            TILE_LOAD(3, w.o[g + 1][d + 16], 64);
        }
        for (int c = 0; c < chunks; c++) {
            const uint16_t *rows = v + ((int64_t)c * dim + d) * CHUNK;
            TILE_LOAD(4, rows, 64);
            TILE_LOAD(6, w.p[0][c * 16], 64);
            TILE_PRODUCT(0, 4, 6);
            TILE_LOAD(5, rows + 16 * CHUNK, 64);
            TILE_PRODUCT(1, 5, 6);
            if (TWO) {
                TILE_LOAD(7, w.p[1][c * 16], 64);
                TILE_PRODUCT(2, 4, 7);
                TILE_PRODUCT(3, 5, 7);
            }
        }
        TILE_STORE(0, w.o[g][d], 64);
        TILE_STORE(1, w.o[g][d + 16], 64);
        if (TWO) {
            TILE_STORE(2, w.o[g + 1][d], 64);
            TILE_STORE(3, w.o[g + 1][d + 16], 64);
        }
    }
}

// `count` positions from `first` on, of `heads` query heads from `head` on that share key head g.
void many(const Job &job, Work &w, int64_t b, int64_t g, int64_t head, int heads, int64_t first, int count,
          const uint16_t *turned, const uint32_t *packed) {
    const int dim = (int)job.dim, rows = heads * count, groups = (rows + L - 1) / L;
    const uint16_t *k = (const uint16_t *)job.k + b * job.ks[0] + g * job.ks[1];
    const float by = job.scale * 1.44269504088896341f;
    for (int n = 0; n < groups; n++) {
        for (int d = 0; d < dim / 2; d += L) {
            __m512i lines[L];
            for (int i = 0; i < L; i++) {
                int r = n * L + i;
                const uint16_t *q = (const uint16_t *)job.q + b * job.qs[0] + (head + r / count) * job.qs[1] +
                                    (first + r % count) * job.qs[2] + 2 * d;
                lines[i] = r < rows ? _mm512_loadu_si512(q) : _mm512_setzero_si512();
            }
            transpose16(lines, w.q[n] + d);
        }
        for (int i = 0; i < L; i++) {
            w.most[n][i] = LOWEST;
            w.total[n][i] = 0;
        }
        memset(w.o[n], 0, dim * sizeof w.o[n][0]);
    }
    int64_t end = job.causal ? first + count + job.keys - job.queries : job.keys;
    for (int64_t k0 = 0; k0 < end; k0 += BLOCK) {
        int keys = (int)(end - k0 < BLOCK ? end - k0 : BLOCK), chunks = (keys + CHUNK - 1) / CHUNK;
        int seen = look(w, job, packed, b, first, count, k0, keys);
        if (!seen) continue;
        if (seen == 1)
            for (int n = 0; n < groups; n++)
                for (int i = 0; i < L; i++) {
                    const uint32_t *bits = w.seen[(n * L + i) % count];
                    for (int c = 0; c < chunks; c++) w.lanes[n][c][i] = bits[c];
                }
        const uint16_t *v = turned + k0 * dim;
        for (int n = 0; n < groups; n += 2) {
            const bool two = n + 1 < groups;
            for (int c = 0; c < chunks; c++) {
                int64_t stride;
                const uint16_t *part = chunk_of(w, job, k, k0 + c * CHUNK, stride);
                if (two) scores<true>(w, n, c, part, stride, dim);
                else scores<false>(w, n, c, part, stride, dim);
            }
            for (int i = n; i < n + 1 + two; i++)
                if (seen == 1) weigh<true>(w, i, chunks, dim, by);
                else weigh<false>(w, i, chunks, dim, by);
            if (two) values<true>(w, n, chunks, v, dim);
            else values<false>(w, n, chunks, v, dim);
        }
    }
    for (int n = 0; n < groups; n++) {
        __m512 total = _mm512_load_ps(w.total[n]);
        __mmask16 some = _mm512_cmp_ps_mask(total, _mm512_setzero_ps(), _CMP_GT_OQ);
        __m512 inverse = _mm512_maskz_div_ps(some, _mm512_set1_ps(1.0f), total);
        for (int d = 0; d < dim; d += L) {
            __m512i lines[L];
            for (int i = 0; i < L; i++) lines[i] = (__m512i)_mm512_mul_ps(_mm512_load_ps(w.o[n][d + i]), inverse);
            alignas(64) uint32_t turned_back[L][L];
            transpose16(lines, turned_back);
            for (int i = 0; i < L && n * L + i < rows; i++) {
                int r = n * L + i;
                uint16_t *out = (uint16_t *)job.out + b * job.os[0] + (head + r / count) * job.os[1] +
                                (first + r % count) * job.os[2] + d;
                __m256i line = (__m256i)_mm512_cvtneps_pbh((__m512)_mm512_load_si512(turned_back[i]));
                _mm256_storeu_si256((__m256i *)out, line);
            }
        }
    }
}

// ---- few queries ----

// Every second 16-bit word of two vectors: the even ones, the odd ones.
inline void unzip(__m512i a, __m512i b, __m512i &even, __m512i &odd) {
    const __m512i low = _mm512_set1_epi32(0xffff), order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    // Packed within each quarter; then the quarters in order.
    even = _mm512_packus_epi32(_mm512_and_si512(a, low), _mm512_and_si512(b, low));
    odd = _mm512_packus_epi32(_mm512_srli_epi32(a, 16), _mm512_srli_epi32(b, 16));
    even = _mm512_permutexvar_epi64(order, even);
    odd = _mm512_permutexvar_epi64(order, odd);
}

// All queries of one key head, N at most: a vector holds 16 / N keys of N queries each.
template <int N> void few(const Job &job, Work &w, int64_t b, int64_t g) {
    constexpr int EACH = L / N, VECTORS = CHUNK / EACH; // keys in a vector, vectors in a chunk
    const int dim = (int)job.dim, count = (int)job.queries, heads = (int)(job.heads / job.kv_heads);
    const int rows = heads * count, parts = dim / L;
    const uint16_t *k = (const uint16_t *)job.k + b * job.ks[0] + g * job.ks[1];
    const uint16_t *v = (const uint16_t *)job.v + b * job.vs[0] + g * job.vs[1];
    const float by = job.scale * 1.44269504088896341f;
    const __m512 factor = _mm512_set1_ps(by), lowest = _mm512_set1_ps(LOWEST);
    uint32_t *q = w.q[0][0];
    float *s = w.s[0][0], *o = w.o[0][0]; // o: for each 16 dimensions N rows
    for (int r = 0; r < N; r++)
        for (int d = 0; d < dim / 2; d++) {
            q[d * N + r] = 0;
            if (r < rows)
                memcpy(q + d * N + r,
                       (const uint16_t *)job.q + b * job.qs[0] + (g * heads + r / count) * job.qs[1] + (r % count) * job.qs[2] + 2 * d, 4);
        }
    memset(o, 0, sizeof(float) * dim * N);
    int at[N];
    for (int i = 0; i < N; i++) at[i] = i % count;
    __m512 most = lowest, total = _mm512_setzero_ps();
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int64_t end = job.keys;
    for (int64_t k0 = 0; k0 < end; k0 += BLOCK) {
        int keys = (int)(end - k0 < BLOCK ? end - k0 : BLOCK), chunks = (keys + CHUNK - 1) / CHUNK;
        int seen = look(w, job, nullptr, b, 0, count, k0, keys);
        if (!seen) continue;
        for (int c = 0; c < chunks; c++) {
            int64_t stride;
            const char *part = (const char *)chunk_of(w, job, k, k0 + c * CHUNK, stride);
            TILE_ZERO(0);
            TILE_ZERO(1);
            for (int d = 0; d < dim / 32; d++) {
                TILE_LOAD(3, q + d * 16 * N, 4 * N);
                TILE_LOAD(2, part + 64 * d, stride);
                TILE_PRODUCT(0, 2, 3);
                TILE_LOAD(7, part + 16 * stride + 64 * d, stride);
                TILE_PRODUCT(1, 7, 3);
            }
            TILE_STORE(0, s + c * CHUNK * N, 4 * N);
            TILE_STORE(1, s + (c * CHUNK + 16) * N, 4 * N);
        }
        __mmask16 sees[CHUNKS][VECTORS];
        if (seen == 1)
            for (int c = 0; c < chunks; c++) {
                alignas(64) uint32_t bits[L];
                for (int i = 0; i < L; i++) bits[i] = i % N < rows ? w.seen[at[i % N]][c] >> (i / N) : 0;
                for (int i = 0; i < VECTORS; i++)
                    sees[c][i] = _mm512_test_epi32_mask(_mm512_load_si512(bits), _mm512_set1_epi32(1u << (i * EACH)));
            }
        __m512 before = most, tops[2] = {most, most};
        for (int c = 0; c < chunks; c++)
            for (int i = 0; i < VECTORS; i++) {
                __m512 x = _mm512_load_ps(s + (c * VECTORS + i) * L);
                tops[i % 2] = _mm512_max_ps(tops[i % 2], seen == 1 ? _mm512_mask_mov_ps(lowest, sees[c][i], x) : x);
            }
        most = _mm512_max_ps(tops[0], tops[1]);
        for (int step = N; step < L; step *= 2) {
            __m512i other = _mm512_and_si512(_mm512_add_epi32(lane, _mm512_set1_epi32(step)), _mm512_set1_epi32(L - 1));
            most = _mm512_max_ps(most, _mm512_permutexvar_ps(other, most));
        }
        if (!grown(before, most, by)) most = before;
        else {
            alignas(64) float less[L];
            __m512 by_how_much = shrunk(before, most, by);
            _mm512_store_ps(less, by_how_much);
            total = _mm512_mul_ps(total, by_how_much);
            for (int n = 0; n < parts; n++)
                for (int r = 0; r < rows; r++) {
                    float *row = o + (n * N + r) * L;
                    _mm512_store_ps(row, _mm512_mul_ps(_mm512_load_ps(row), _mm512_set1_ps(less[r])));
                }
        }
        __m512 base = _mm512_mul_ps(most, factor);
        for (int c = 0; c < chunks; c++) {
            __m512 p[VECTORS];
            for (int i = 0; i < VECTORS; i++) {
                p[i] = exp2_v(_mm512_fmsub_ps(_mm512_load_ps(s + (c * VECTORS + i) * L), factor, base));
                if (seen == 1) p[i] = _mm512_maskz_mov_ps(sees[c][i], p[i]);
                total = _mm512_add_ps(total, p[i]);
            }
            __m512i row[N];
            for (int i = 0; i < N; i++) row[i] = (__m512i)_mm512_cvtne2ps_pbh(p[2 * i + 1], p[2 * i]);
            for (int step = 1; step < N; step *= 2) {
                __m512i apart[N];
                for (int i = 0; i < N / 2; i++) unzip(row[2 * i], row[2 * i + 1], apart[i], apart[i + N / 2]);
                for (int i = 0; i < N; i++) row[i] = apart[i];
            }
            for (int i = 0; i < N; i++) _mm512_store_si512(w.p[0][c * L + i], row[i]);
        }
        for (int c = 0; c < chunks; c++)
            for (int i = 0; i < L; i++) {
                int64_t at = k0 + c * CHUNK + 2 * i;
                const uint16_t *row = v + at * job.vs[2];
                for (int n = 0; n < parts; n += 2) {
                    __m512i x = at < end ? _mm512_loadu_si512(row + n * L) : _mm512_setzero_si512();
                    __m512i y = at + 1 < end ? _mm512_loadu_si512(row + job.vs[2] + n * L) : _mm512_setzero_si512();
                    _mm512_store_si512(w.v[c][n][i], _mm512_unpacklo_epi16(x, y));
                    _mm512_store_si512(w.v[c][n + 1][i], _mm512_unpackhi_epi16(x, y));
                }
            }
        for (int n = 0; n < parts; n += 2) {
            TILE_LOAD(4, o + n * N * L, 64);
            TILE_LOAD(5, o + (n + 1) * N * L, 64);
            for (int c = 0; c < chunks; c++) {
                TILE_LOAD(6, w.p[0][c * L], 64);
                TILE_LOAD(2, w.v[c][n], 64);
                TILE_PRODUCT(4, 6, 2);
                TILE_LOAD(7, w.v[c][n + 1], 64);
                TILE_PRODUCT(5, 6, 7);
            }
            TILE_STORE(4, o + n * N * L, 64);
            TILE_STORE(5, o + (n + 1) * N * L, 64);
        }
    }
    alignas(64) float sums[L];
    _mm512_store_ps(sums, total);
    // Interleaving parted the dimensions in fours: 0 to 3, 8 to 11, ... and 4 to 7, 12 to 15, ...
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    for (int r = 0; r < rows; r++) {
        float all = 0;
        for (int i = r; i < L; i += N) all += sums[i];
        __m512 inverse = _mm512_set1_ps(all > 0 ? 1.0f / all : 0.0f);
        uint16_t *out = (uint16_t *)job.out + b * job.os[0] + (g * heads + r / count) * job.os[1] + (r % count) * job.os[2];
        for (int n = 0; n < parts; n += 2) {
            __m512 x = _mm512_mul_ps(_mm512_load_ps(o + (n * N + r) * L), inverse);
            __m512 y = _mm512_mul_ps(_mm512_load_ps(o + ((n + 1) * N + r) * L), inverse);
            __m512 low = _mm512_permutex2var_ps(x, first, y), high = _mm512_permutex2var_ps(x, second, y);
            _mm512_storeu_si512(out + n * L, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        }
    }
}

// Returns 0 when done, 1 without memory, -1 where tiles cannot be used.
int attend(const Job &job, int threads) {
    if (job.dim % 32 || job.scale <= 0 || !permitted()) return -1;
    const int shared = (int)(job.heads / job.kv_heads), dim = (int)job.dim;
    const bool few_rows = shared * job.queries <= FEW;
    // How many heads and positions share the reading of a key.
    const int heads = shared < GROUPS ? shared : GROUPS, shares = (shared + heads - 1) / heads;
    int count = heads >= 4 ? L : heads >= 2 ? 2 * L : 4 * L;
    if (count > job.queries) count = (int)job.queries;
    const int64_t spans = (job.queries + count - 1) / count, pairs = job.batch * job.kv_heads;
    const int64_t chunks = (job.keys + CHUNK - 1) / CHUNK, jobs = pairs * shares * spans;
    const int rows = (int)(few_rows ? shared * job.queries : L), lanes = rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : rows <= 8 ? 8 : L;
    Config config;
    for (int t = 0; t < 8; t++) {
        config.rows[t] = 16;
        config.bytes[t] = 64;
    }
    if (few_rows) {
        config.bytes[0] = config.bytes[1] = config.bytes[3] = (uint16_t)(4 * lanes);
        config.rows[4] = config.rows[5] = config.rows[6] = (uint8_t)lanes;
    }
    // The values turned over, and the mask in bits, since every key head asks it anew.
    static thread_local Kept shared_memory;
    uint16_t *turned = nullptr;
    uint32_t *packed = nullptr;
    if (!few_rows) {
        const size_t values_take = sizeof(uint16_t) * pairs * chunks * CHUNK * dim;
        const size_t mask_takes = job.mask ? sizeof(uint32_t) * job.batch * job.queries * chunks : 0;
        turned = (uint16_t *)shared_memory.need(values_take + mask_takes);
        if (!turned) return 1;
        if (job.mask) packed = (uint32_t *)((char *)turned + values_take);
    }
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        static thread_local Kept kept;
        Work *w = (Work *)kept.need(sizeof(Work));
        Config before;
        __asm__ volatile("sttilecfg %0" : "=m"(before));
        __asm__ volatile("ldtilecfg %0" ::"m"(config));
        if (!w) failed = 1;
        if (packed) {
#pragma omp for schedule(static)
            for (int64_t n = 0; n < job.batch * job.queries; n++)
                for (int64_t c = 0; c < chunks; c++)
                    packed[n * chunks + c] = bits_of(job, n / job.queries, n % job.queries, c * CHUNK);
        }
        if (!few_rows) {
#pragma omp for schedule(static)
            for (int64_t n = 0; n < pairs * chunks; n++) {
                int64_t b = n / chunks / job.kv_heads, g = n / chunks % job.kv_heads;
                const uint16_t *v = (const uint16_t *)job.v + b * job.vs[0] + g * job.vs[1];
                turn(job, v, n % chunks * CHUNK, turned + n * CHUNK * dim);
            }
        }
        if (few_rows) {
#pragma omp for schedule(static)
            for (int64_t n = 0; n < pairs; n++) {
                if (!w) continue;
                int64_t b = n / job.kv_heads, g = n % job.kv_heads;
                if (lanes == 1) few<1>(job, *w, b, g);
                else if (lanes == 2) few<2>(job, *w, b, g);
                else if (lanes == 4) few<4>(job, *w, b, g);
                else few<8>(job, *w, b, g);
            }
        } else {
#pragma omp for schedule(dynamic, 1)
            for (int64_t n = 0; n < jobs; n++) {
                if (!w) continue;
                // The longest first: with causality the last queries see the most.
                int64_t t = spans - 1 - n % spans, share = n / spans % shares, pair = n / spans / shares;
                int64_t first = t * count, from = share * heads;
                int here = (int)(job.queries - first < count ? job.queries - first : count);
                int some = (int)(shared - from < heads ? shared - from : heads);
                int64_t b = pair / job.kv_heads, g = pair % job.kv_heads;
                many(job, *w, b, g, g * shared + from, some, first, here, turned + pair * chunks * CHUNK * dim, packed);
            }
        }
        __asm__ volatile("ldtilecfg %0" ::"m"(before));
    }
    shared_memory.keep_at_most(KEEP);
    return failed;
}

} // namespace tiles
} // namespace
