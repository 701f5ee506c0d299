// Attention on a CPU: softmax(QK'/sqrt(d))V over a key and value cache that is not repeated for grouped queries.
//
// Keys are read in blocks with an online softmax (Milakov and Gimelshein 2018; Dao et al., FlashAttention, 2022).
// All query heads that share a key head, and several queries, are rows of one tile, so that a block of keys is
// packed once for all of them. This file is compiled once for each instruction set, with NAME as the function's
// name; it includes nothing of torch. OpenMP's runtime is the one that the process has loaded.

#include "common.h"
#if defined(__AMX_BF16__)
#include "tiles.h"
#endif

namespace {

struct alignas(64) Scratch {
    float s[ROWS][KB];      // scores, then weights
    float o[ROWS][MAX_D];   // outputs so far
    float largest[ROWS], total[ROWS];
    uint8_t seen[ROWS][KB]; // which keys of a block each row sees
#if defined(__AVX512BF16__)
    uint32_t qp[ROWS][MAX_D / 2];         // queries, pairs of bf16
    uint32_t kp[KB / L][MAX_D / 2][L];    // keys: 16 beside each other, a pair of dimensions each
    uint32_t vp[KB / 2][MAX_D];           // values: two keys beside each other
    uint32_t pp[ROWS][KB / 2];            // weights, pairs of bf16
#endif
    float qf[ROWS][MAX_D];
    float kf[KB / L][MAX_D][L];
    float vfl[KB][MAX_D];
};

template <int R> void scores_f(const Scratch &w, float (*s)[KB], int row, int group, int dim) {
    vf acc[R];
    for (int r = 0; r < R; r++) acc[r] = vf{};
    for (int d = 0; d < dim; d++) {
        vf k = *(const vf *)w.kf[group][d];
        for (int r = 0; r < R; r++) acc[r] += k * w.qf[row + r][d];
    }
    for (int r = 0; r < R; r++) *(vf *)(s[row + r] + group * L) = acc[r];
}

#if defined(__AVX512F__)
// Scores of 4 keys as they lie for R rows: each is a sum across a vector, 16 of them at once at the end. For few
// rows that costs less than to pack the keys.
template <int R> void scores_lying(Scratch &w, const float *const *k, int column, int dim) {
    __m512 sums[16];
    for (int i = 0; i < 16; i++) sums[i] = _mm512_setzero_ps();
    for (int d = 0; d < dim; d += L) {
        __m512 lines[4];
        for (int i = 0; i < 4; i++) lines[i] = _mm512_loadu_ps(k[i] + d);
        for (int r = 0; r < R; r++) {
            __m512 q = _mm512_load_ps(w.qf[r] + d);
            for (int i = 0; i < 4; i++) sums[4 * r + i] = _mm512_fmadd_ps(lines[i], q, sums[4 * r + i]);
        }
    }
    __m512 pairs[8], fours[4];
    for (int i = 0; i < 8; i++)
        pairs[i] = _mm512_add_ps(_mm512_unpacklo_ps(sums[2 * i], sums[2 * i + 1]), _mm512_unpackhi_ps(sums[2 * i], sums[2 * i + 1]));
    for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(pairs[2 * i]), b = _mm512_castps_pd(pairs[2 * i + 1]);
        fours[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    // Each quarter of a vector has a share of a row's four sums.
    __m512 low = _mm512_add_ps(_mm512_shuffle_f32x4(fours[0], fours[1], 0x88), _mm512_shuffle_f32x4(fours[0], fours[1], 0xdd));
    __m512 high = _mm512_add_ps(_mm512_shuffle_f32x4(fours[2], fours[3], 0x88), _mm512_shuffle_f32x4(fours[2], fours[3], 0xdd));
    __m512 all = _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
    alignas(64) float out[16];
    _mm512_store_ps(out, all);
    for (int r = 0; r < R; r++) memcpy(w.s[r] + column, out + 4 * r, 4 * sizeof(float));
}

void scores_lying(Scratch &w, const float *k, int64_t ks, int rows, int keys, int dim, const float *v, int64_t vs) {
    for (int j = 0; j < keys; j += 4) {
        // The values come next; asked for a few at a time, since the processor waits on more.
        fetch((const char *)(v + j * vs), vs * 4, keys - j < 4 ? keys - j : 4, dim * 4);
        const float *lines[4]; // beyond the last key any will do: what comes out is not looked at
        for (int i = 0; i < 4; i++) lines[i] = k + (j + i < keys ? j + i : j) * ks;
        if (rows == 1) scores_lying<1>(w, lines, j, dim);
        else if (rows == 2) scores_lying<2>(w, lines, j, dim);
        else if (rows == 3) scores_lying<3>(w, lines, j, dim);
        else scores_lying<4>(w, lines, j, dim);
    }
}
#endif

template <int R> void values_f(Scratch &w, const float *rows, int64_t step, int row, int from, int keys) {
    // Four vectors of the output's dimensions at a time.
    vf acc[R][4];
    for (int r = 0; r < R; r++)
        for (int j = 0; j < 4; j++) acc[r][j] = *(vf *)(w.o[row + r] + from + j * L);
    for (int k = 0; k < keys; k++) {
        vf v[4];
        for (int j = 0; j < 4; j++) v[j] = *(const vfu *)(rows + k * step + from + j * L);
        for (int r = 0; r < R; r++)
            for (int j = 0; j < 4; j++) acc[r][j] += v[j] * w.s[row + r][k];
    }
    for (int r = 0; r < R; r++)
        for (int j = 0; j < 4; j++) *(vf *)(w.o[row + r] + from + j * L) = acc[r][j];
}

#if defined(__AVX512BF16__)
inline __m512bh as_bh(__m512i x) { return (__m512bh)x; }

template <int R> void scores_b(const Scratch &w, float (*s)[KB], int row, int group, int dim) {
    // Two groups of 16 keys at a time: half as many broadcasts.
    __m512 a[R], b[R];
    for (int r = 0; r < R; r++) a[r] = b[r] = _mm512_setzero_ps();
    for (int d = 0; d < dim / 2; d++) {
        __m512bh k0 = as_bh(_mm512_load_si512(w.kp[group][d]));
        __m512bh k1 = as_bh(_mm512_load_si512(w.kp[group + 1][d]));
        for (int r = 0; r < R; r++) {
            __m512bh q = as_bh(_mm512_set1_epi32((int)w.qp[row + r][d]));
            a[r] = _mm512_dpbf16_ps(a[r], k0, q);
            b[r] = _mm512_dpbf16_ps(b[r], k1, q);
        }
    }
    for (int r = 0; r < R; r++) {
        _mm512_store_ps(s[row + r] + group * L, a[r]);
        _mm512_store_ps(s[row + r] + group * L + L, b[r]);
    }
}

template <int R> void values_b(Scratch &w, int row, int from, int pairs) {
    __m512 acc[R][4];
    for (int r = 0; r < R; r++)
        for (int j = 0; j < 4; j++) acc[r][j] = _mm512_load_ps(w.o[row + r] + from + j * L);
    for (int k = 0; k < pairs; k++) {
        __m512bh v[4];
        for (int j = 0; j < 4; j++) v[j] = as_bh(_mm512_load_si512(w.vp[k] + from + j * L));
        for (int r = 0; r < R; r++) {
            __m512bh p = as_bh(_mm512_set1_epi32((int)w.pp[row + r][k]));
            for (int j = 0; j < 4; j++) acc[r][j] = _mm512_dpbf16_ps(acc[r][j], v[j], p);
        }
    }
    for (int r = 0; r < R; r++)
        for (int j = 0; j < 4; j++) _mm512_store_ps(w.o[row + r] + from + j * L, acc[r][j]);
}

void pack_b(Scratch &w, const uint16_t *k, const uint16_t *v, int64_t ks, int64_t vs, int keys, int dim) {
    const __m512i zero = _mm512_setzero_si512();
    for (int g = 0; g < KB / L; g++) {
        if (g * L >= (keys + 2 * L - 1) / (2 * L) * (2 * L)) break;
        for (int d = 0; d < dim / 2; d += L) {
            int words = dim / 2 - d < L ? dim / 2 - d : L;
            __mmask16 some = (__mmask16)((1u << words) - 1);
            __m512i rows[L];
            for (int i = 0; i < L; i++)
                rows[i] = g * L + i < keys ? _mm512_maskz_loadu_epi32(some, k + (g * L + i) * ks + 2 * d) : zero;
            alignas(64) uint32_t columns[L][L];
            transpose16(rows, words == L ? w.kp[g] + d : columns);
            if (words < L) memcpy(w.kp[g] + d, columns, words * sizeof(columns[0]));
        }
    }
    for (int i = 0; i < keys; i += 2) {
        for (int d = 0; d < dim; d += L) {
            __m512i a = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(v + i * vs + d)));
            __m512i b = i + 1 < keys ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(v + (i + 1) * vs + d))) : zero;
            _mm512_store_si512(w.vp[i / 2] + d, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
        }
    }
}
#endif

template <typename T> inline float widen(T x);
template <> inline float widen<float>(float x) { return x; }
template <> inline float widen<uint16_t>(uint16_t x) { return from_bf16(x); }

template <typename T> void pack_keys_f(Scratch &w, const T *k, int64_t ks, int keys, int dim) {
    for (int g = 0; g * L < keys; g++)
        for (int i = 0; i < L; i++) {
            bool there = g * L + i < keys;
            const T *row = k + (g * L + i) * ks;
            for (int d = 0; d < dim; d++) w.kf[g][d][i] = there ? widen<T>(row[d]) : 0.0f;
        }
}

#if defined(__AVX512F__)
template <> void pack_keys_f<float>(Scratch &w, const float *k, int64_t ks, int keys, int dim) {
    for (int g = 0; g * L < keys; g++)
        for (int d = 0; d < dim; d += L) {
            __m512i rows[L];
            for (int i = 0; i < L; i++)
                rows[i] = g * L + i < keys ? _mm512_loadu_si512(k + (g * L + i) * ks + d) : _mm512_setzero_si512();
            transpose16(rows, (uint32_t (*)[L])(w.kf[g] + d));
        }
}
#endif

template <typename T> void pack_values_f(Scratch &w, const T *v, int64_t vs, int keys, int dim) {
    for (int i = 0; i < keys; i++)
        for (int d = 0; d < dim; d++) w.vfl[i][d] = widen<T>(v[i * vs + d]);
}

// Which keys of a block the rows see. Returns 0: none, 1: some, 2: every row sees all.
int look(Scratch &w, const Job &job, int64_t b, int64_t first, int count, int64_t k0, int keys) {
    int any = 0, all = 1;
    for (int i = 0; i < count; i++) {
        uint8_t *row = w.seen[i];
        int64_t last = job.causal ? first + i + job.keys - job.queries - k0 : keys;
        for (int j = 0; j < keys; j++) row[j] = j <= last && (!job.window || j > last - job.window);
        if (job.mask) {
            const uint8_t *mask = job.mask + b * job.ms[0] + (first + i) * job.ms[2] + k0;
            for (int j = 0; j < keys; j++) row[j] &= mask[j];
        }
        int sum = 0;
        for (int j = 0; j < keys; j++) sum += row[j];
        any |= sum > 0;
        all &= sum == keys;
    }
    return any ? (all ? 2 : 1) : 0;
}

template <typename T> struct Kind { static constexpr bool bf16 = false; };
template <> struct Kind<uint16_t> { static constexpr bool bf16 = true; };

// One tile: `count` queries of each of the `groups` heads that share a key head.
template <typename T>
void tile(const Job &job, Scratch &w, int64_t b, int64_t g, int64_t first, int count, int groups) {
    const int dim = (int)job.dim, rows = count * groups, padded = (dim + 4 * L - 1) / (4 * L) * (4 * L);
    const T *k = (const T *)job.k + b * job.ks[0] + g * job.ks[1];
    const T *v = (const T *)job.v + b * job.vs[0] + g * job.vs[1];
#if defined(__AVX512BF16__)
    constexpr bool pairs = Kind<T>::bf16;
#else
    constexpr bool pairs = false;
#endif
    // Values in float32 whose rows are whole vectors are read where they lie.
    const bool direct = !Kind<T>::bf16 && dim % (4 * L) == 0;
#if defined(__AVX512F__)
    const bool lying = !Kind<T>::bf16 && rows <= 4 && !job.alike;
#else
    const bool lying = false;
#endif
    for (int r = 0; r < rows; r++) {
        const T *q = (const T *)job.q + b * job.qs[0] + (g * groups + r / count) * job.qs[1] + (first + r % count) * job.qs[2];
#if defined(__AVX512BF16__)
        if (pairs) memcpy(w.qp[r], q, dim * sizeof(T));
        else
#endif
            for (int d = 0; d < dim; d++) w.qf[r][d] = widen<T>(q[d]);
        for (int d = 0; d < padded; d++) w.o[r][d] = 0;
        w.largest[r] = LOWEST;
        w.total[r] = 0;
    }
    int64_t end = job.causal ? first + count + job.keys - job.queries : job.keys;
    const int64_t before = job.window ? first + job.keys - job.queries - job.window + 1 : 0; // keys that none sees
    for (int64_t k0 = before > 0 ? before / KB * KB : 0; k0 < end; k0 += KB) {
        int keys = (int)(end - k0 < KB ? end - k0 : KB);
        int seen = look(w, job, b, first, count, k0, keys);
        if (!seen) continue;
#if defined(__AVX512BF16__)
        if (pairs) pack_b(w, (const uint16_t *)(k + k0 * job.ks[2]), (const uint16_t *)(v + k0 * job.vs[2]), job.ks[2], job.vs[2], keys, dim);
        else
#endif
        {
            if (!lying) pack_keys_f<T>(w, k + k0 * job.ks[2], job.ks[2], keys, dim);
            if (!direct) pack_values_f<T>(w, v + k0 * job.vs[2], job.vs[2], keys, dim);
        }
#if !defined(__AMX_BF16__) // processors that have tiles read ahead well by themselves
        int64_t next = end - k0 - KB < KB ? end - k0 - KB : KB;
        if (next > 0) {
            int64_t size = sizeof(T);
            fetch((const char *)(k + (k0 + KB) * job.ks[2]), job.ks[2] * size, next, dim * size);
            fetch((const char *)(v + (k0 + KB) * job.vs[2]), job.vs[2] * size, next, dim * size);
        }
#endif
        int wide = (keys + L - 1) / L;
#if defined(__AVX512BF16__)
        if (pairs) {
            wide = (wide + 1) / 2 * 2;
            for (int n = 0; n < wide; n += 2) {
                int r = 0;
                for (; r + 8 <= rows; r += 8) scores_b<8>(w, w.s, r, n, dim);
                for (; r + 4 <= rows; r += 4) scores_b<4>(w, w.s, r, n, dim);
                for (; r + 2 <= rows; r += 2) scores_b<2>(w, w.s, r, n, dim);
                for (; r < rows; r++) scores_b<1>(w, w.s, r, n, dim);
            }
        } else
#endif
#if defined(__AVX512F__)
        if (lying) scores_lying(w, (const float *)(k + k0 * job.ks[2]), job.ks[2], rows, keys, dim, (const float *)(v + k0 * job.vs[2]), job.vs[2]);
        else
#endif
            for (int n = 0; n < wide; n++) {
                int r = 0;
                for (; r + 8 <= rows; r += 8) scores_f<8>(w, w.s, r, n, dim);
                for (; r + 4 <= rows; r += 4) scores_f<4>(w, w.s, r, n, dim);
                for (; r < rows; r++) scores_f<1>(w, w.s, r, n, dim);
            }
        for (int r = 0; r < rows; r++) {
            if (lying) { // the next block's keys, likewise; after the last, what lies there is the next head's
                int64_t at = k0 + KB + r * KB / rows, n = (r + 1) * KB / rows - r * KB / rows;
                fetch((const char *)(k + at * job.ks[2]), job.ks[2] * sizeof(T), n, dim * sizeof(T));
            }
            float *s = w.s[r];
            const uint8_t *row = w.seen[r % count];
            if (seen == 1)
                for (int j = 0; j < keys; j++) s[j] = row[j] ? s[j] * job.scale : LOWEST;
            else
                for (int j = 0; j < keys; j++) s[j] *= job.scale;
            for (int j = keys; j < wide * L; j++) s[j] = LOWEST;
            vf most = splat(w.largest[r]);
            for (int n = 0; n < wide; n++) {
                vf x = *(vf *)(s + n * L);
                most = x > most ? x : most;
            }
            float largest = most[0];
            for (int i = 1; i < L; i++) largest = most[i] > largest ? most[i] : largest;
            vf sum = vf{}, base = splat(largest), none = splat(LOWEST);
            for (int n = 0; n < wide; n++) {
                vf x = *(vf *)(s + n * L);
                // What is not seen weighs nothing, in a row that has seen nothing yet too.
                vf p = x > none ? exp_v(x - base) : vf{};
                *(vf *)(s + n * L) = p;
                sum += p;
            }
            float add = 0;
            for (int i = 0; i < L; i++) add += sum[i];
            float old = w.largest[r] <= LOWEST ? 0.0f : expf(w.largest[r] - largest);
            w.total[r] = w.total[r] * old + add;
            w.largest[r] = largest;
            if (old != 1.0f)
                for (int d = 0; d < padded; d += L) *(vf *)(w.o[r] + d) *= old;
#if defined(__AVX512BF16__)
            if (pairs)
                for (int n = 0; n < wide; n += 2) {
                    __m512bh p = _mm512_cvtne2ps_pbh(_mm512_load_ps(s + n * L + L), _mm512_load_ps(s + n * L));
                    memcpy(w.pp[r] + n * L / 2, &p, 64);
                }
#endif
        }
        for (int from = 0; from < dim; from += 4 * L) {
            int r = 0;
#if defined(__AVX512BF16__)
            if (pairs) {
                int n = (keys + 1) / 2;
                for (; r + 4 <= rows; r += 4) values_b<4>(w, r, from, n);
                for (; r + 2 <= rows; r += 2) values_b<2>(w, r, from, n);
                for (; r < rows; r++) values_b<1>(w, r, from, n);
                continue;
            }
#endif
            const float *vrows = direct ? (const float *)(v + k0 * job.vs[2]) : w.vfl[0];
            int64_t step = direct ? job.vs[2] : MAX_D;
            for (; r + 4 <= rows; r += 4) values_f<4>(w, vrows, step, r, from, keys);
            for (; r < rows; r++) values_f<1>(w, vrows, step, r, from, keys);
        }
    }
    for (int r = 0; r < rows; r++) {
        T *out = (T *)job.out + b * job.os[0] + (g * groups + r / count) * job.os[1] + (first + r % count) * job.os[2];
        float by = w.total[r] > 0 ? 1.0f / w.total[r] : 0.0f;
        for (int d = 0; d < dim; d++) {
            float x = w.o[r][d] * by;
            if (Kind<T>::bf16) {
                uint16_t y = to_bf16(x);
                memcpy(out + d, &y, 2);
            } else
                memcpy(out + d, &x, 4);
        }
    }
}

#ifndef NO_ENTRY // the decoder includes this file for its tiles
template <typename T> int attend(const Job &job, int threads) {
    int groups = (int)(job.heads / job.kv_heads);
    if (groups > ROWS) return 1;
    int count = ROWS / groups;
    if (count > job.queries) count = (int)job.queries;
    int64_t tiles = (job.queries + count - 1) / count, jobs = job.batch * job.kv_heads * tiles;
    // Tiles of one size are parted at once, so that each thread reads on from head to head.
    const int64_t part = tiles > 1 ? 1 : (jobs + threads - 1) / threads;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        // What an earlier call left beyond a head's size is multiplied too, into what is not read.
        static thread_local Kept kept;
        Scratch *w = (Scratch *)kept.need(sizeof(Scratch));
        if (!w) failed = 1;
#pragma omp for schedule(dynamic, part)
        for (int64_t n = 0; n < jobs; n++) {
            if (!w) continue;
            // The longest tiles first: with causality the last queries see the most.
            int64_t t = tiles - 1 - n % tiles, g = n / tiles % job.kv_heads, b = n / tiles / job.kv_heads;
            int64_t first = t * count;
            int here = (int)(job.queries - first < count ? job.queries - first : count);
            tile<T>(job, *w, b, g, first, here, groups);
        }
    }
    return failed;
}

#endif

} // namespace

#ifndef NO_ENTRY
// sizes: batch, heads, kv_heads, queries, keys, dim. strides: of q, k, v, mask, out; batch, head, position each.
// kind: 0 float32, 1 bfloat16. Returns 0 when done, 1 when it cannot.
extern "C" int NAME(const void *q, const void *k, const void *v, const void *mask, void *out, const int64_t *sizes,
                    const int64_t *strides, float scale, int causal, int kind, int threads) {
    Job job{(const char *)q, (const char *)k, (const char *)v, (const uint8_t *)mask, (char *)out,
            sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], {}, {}, {}, {}, {}, scale, causal};
    if (job.dim > MAX_D || job.dim % L) return 1;
    int64_t *into[5] = {job.qs, job.ks, job.vs, job.ms, job.os};
    for (int i = 0; i < 5; i++) memcpy(into[i], strides + 3 * i, 3 * sizeof(int64_t));
#if defined(__AMX_BF16__)
    if (kind) {
        int failed = tiles::attend(job, threads);
        if (failed >= 0) return failed;
    }
#endif
    return kind ? attend<uint16_t>(job, threads) : attend<float>(job, threads);
}
#endif
