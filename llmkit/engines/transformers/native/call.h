// What the native calls share: their work memory, and their threads.
#pragma once

#include "decoder.h"

#include <type_traits>

namespace decoder {

inline int64_t wider(int64_t a, int64_t b) { return a > b ? a : b; }

// Hands out places of a block of memory, each at the beginning of a line of the processor's cache.
struct Places {
    uintptr_t at = 0;
    template <typename T> void operator()(T *&place, int64_t count) {
        place = (T *)at;
        at += (count * sizeof(T) + 63) / 64 * 64;
    }
    // Rows of at most `width` numbers, as products want them, in `bytes` bytes each.
    void operator()(Input &in, int64_t rows, int64_t width, int64_t bytes) {
        in.step = width * bytes + 64; // no power of two: rows would fall on the same lines of the cache
        in.bytes.width = (width + 63) / 64 * 64;
        in.bytes.blocks = width / 8 + 1; // the smallest block that a weight may have
        (*this)(in.rows, (rows + L - 1) / L * L * in.step); // matrix registers read whole ones
        (*this)(in.bytes.x, rows * in.bytes.width);
        (*this)(in.bytes.scale, rows * in.bytes.blocks);
        (*this)(in.bytes.sum, rows * in.bytes.blocks);
    }
};

// Give work memory its places; layout(Places &) names them, and is called for their size first. False: there is none.
template <typename F> bool lay_out(Kept &kept, F layout) {
    Places sizes, places;
    layout(sizes);
    places.at = (uintptr_t)kept.need(sizes.at);
    if (!places.at) return false;
    layout(places);
    return true;
}

// f(barrier, thread, threads) in as many threads, or fewer where there are no more.
template <typename F> void in_threads(int threads, F f) {
    Barrier barrier{threads};
    if (threads == 1) return f(barrier, 0, 1);
#pragma omp parallel num_threads(threads)
    {
#pragma omp single
        barrier.threads = omp_get_num_threads();
        f(barrier, omp_get_thread_num(), barrier.threads);
    }
}

} // namespace decoder
