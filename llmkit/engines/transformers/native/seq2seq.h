// The parts of an encoder-decoder model (Marian, BART, T5), which reading sources and decoding share.
#pragma once

#include "attend.h"
#include "call.h"

namespace decoder {

// float32 [hidden]. Without a bias the mean is not taken off (root mean square).
struct Norm {
    const float *weight, *bias;
};

struct Feed {
    Matrix up, gate, down; // gate.outputs is 0 where there is none: activation(x up') down', or activation(x up') * (x gate')
    Norm norm;
};

struct SourceLayer {
    Matrix q, k, v, o;
    Norm norm;
    Feed feed;
};

struct TargetLayer {
    Matrix q, k, v, o;
    Norm norm;
    Matrix cross_q, cross_k, cross_v, cross_o;
    Norm cross_norm;
    Feed feed;
    void *keys, *values;             // [tokens, heads, head_dim]
    void *cross_keys, *cross_values; // the same, of the sources
};

// What the layers of the encoder, or of the decoder, have in common.
struct Side {
    int64_t count, heads, head_dim, inner;
    int64_t activation;   // 0 silu, 1 gelu (tanh), 2 gelu, 3 relu
    int64_t reach;        // of `bias`, in tokens to each side
    const float *bias;    // of attention to itself, by distance: [heads, 2 reach + 16], or null
    Norm norm;            // after the last layer; its weight is null where there is none
    float scale, epsilon; // of attention's scores; of norms
};

struct Translator {
    const SourceLayer *encoder;
    const TargetLayer *decoder;
    Side source, target;
    Matrix head;
    int64_t hidden;
    int64_t cache_kind; // 0 float32, 1 bfloat16
    int64_t before;     // 1: layers normalize before each part, 0: after
};

struct Source {
    int64_t offset, length; // of its keys in the decoder's cache of sources
};

struct TargetRow {
    int64_t offset, position;     // where the sequence begins in the cache, and the token in the sequence
    const int64_t *lines;         // the lines of the cache that hold each position's keys, or null: in order
    int64_t source, length;       // of the encoder's keys
};

inline void layer_norm(const float *x, const Norm &norm, float *out, int64_t n, float epsilon) {
    if (!norm.bias) return rms_norm(x, norm.weight, out, n, epsilon);
    v16 sum = v16{}, squares = v16{};
    for (int64_t i = 0; i < n; i += L) sum += load(x + i);
    const float mean = sum_of(sum) / (float)n;
    for (int64_t i = 0; i < n; i += L) {
        v16 d = load(x + i) - mean;
        squares += d * d;
    }
    const float scale = 1.0f / sqrtf(sum_of(squares) / (float)n + epsilon);
    for (int64_t i = 0; i < n; i += L) put(out + i, (load(x + i) - mean) * scale * load(norm.weight + i) + load(norm.bias + i));
}

// erf(x), to 1.5e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, 7.1.26).
inline v16 erf_of(v16 x) {
    const v16 size = x < v16{} ? -x : x;
    const v16 t = 1.0f / (size * 0.3275911f + 1.0f);
    v16 p = splat(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const v16 y = 1.0f - p * t * exp_of(-size * size);
    return x < v16{} ? -y : y;
}

inline void activate(const Side &side, float *x, const float *by, int64_t n) {
    for (int64_t i = 0; i < n; i += L) {
        v16 y = load(x + i);
        if (side.activation == 0) y = y / (exp_of(-y) + 1.0f);
        else if (side.activation == 1) y = y / (exp_of((y + y * y * y * 0.044715f) * -1.5957691216057308f) + 1.0f); // 2 sqrt(2 / pi)
        else if (side.activation == 2) y = y * 0.5f * (erf_of(y * 0.70710678118654752f) + 1.0f);
        else y = y > v16{} ? y : v16{};
        put(x + i, by ? y * load(by + i) : y);
    }
}

// The biases of a query's scores, from its first key on.
inline const float *bias_of(const Side &side, int64_t head, int64_t position) {
    return side.bias ? side.bias + head * (2 * side.reach + L) + side.reach - position : nullptr;
}

} // namespace decoder
