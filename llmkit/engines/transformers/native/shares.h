// A thread's share of a product of many rows, whatever the weights are.
#pragma once

#include "panels.h"

namespace decoder {

template <bool TWO, typename T>
void share_of(const Matrix &m, const Input &in, int64_t rows, int64_t from, int64_t to, uint32_t *panels, float *out, bool tiles = false) {
    (void)tiles;
    constexpr int64_t EACH = TWO ? 2 : 1;
    const int64_t words = m.inputs / EACH;
    for (int64_t k = 0; k < words; k += DEPTH) {
        const int64_t depth = words - k < DEPTH ? words - k : DEPTH;
        for (int64_t o = from; o < to; o += PANEL)
            pack((const T *)m.weight + o * m.inputs + k * EACH, m.inputs, depth, panels + (o - from) * DEPTH);
        Input here = in;
        here.rows += k * 4;
#if defined(__AMX_BF16__) || defined(EMULATE_TILES)
        if (tiles) {
            for (int64_t o = from; o < to; o += 2 * PANEL) {
                const float *bias = m.bias && k + depth == words ? m.bias + o : nullptr;
                tiles_of(panels + (o - from) * DEPTH, o + PANEL < to, depth, here, rows, out + o, m.outputs, k > 0, bias);
            }
            continue;
        }
#endif
        for (int64_t o = from; o < to;) {
            const float *bias = m.bias && k + depth == words ? m.bias + o : nullptr;
            const uint32_t *panel = panels + (o - from) / PANEL * PANEL * DEPTH + (o - from) % PANEL;
            if (o + WIDE * LANES <= to && (WIDE * LANES) % PANEL == 0) {
                rows_of<TWO, WIDE>(panel, depth, here, rows, out + o, m.outputs, k > 0, bias);
                o += WIDE * LANES;
            } else {
                rows_of<TWO, 1>(panel, depth, here, rows, out + o, m.outputs, k > 0, bias);
                o += LANES;
            }
        }
    }
}

inline int64_t shares(const Matrix &m) { return (m.outputs + SHARE * PANEL - 1) / (SHARE * PANEL); }

// The n-th share of a matrix's outputs, for all rows. low: [rows, rank] for its adapter. panels: room for `SHARE` panels
// of `DEPTH` words.
inline void product_share(const Matrix &m, const Input &in, int64_t rows, int64_t n, const float *low, uint32_t *panels, float *out) {
    if (m.kind >= 4) {
        const Weight &w = *(const Weight *)m.weight;
        const Rows a = rows_for(in.bytes, w);
        const int64_t units = (w.outputs + PANEL - 1) / PANEL * PARTS, from = n * SHARE * PARTS;
        const int64_t to = from + SHARE * PARTS < units ? from + SHARE * PARTS : units;
        range<float>(w, a, rows, from, to, out);
        if (m.rank) add_adapter(m, low, rows, out, from * LANES, to * LANES);
        return;
    }
    const int64_t from = n * SHARE * PANEL, to = from + SHARE * PANEL < m.outputs ? from + SHARE * PANEL : m.outputs;
    if (m.kind == 0) share_of<false, float>(m, in, rows, from, to, panels, out);
    else {
#if defined(__AMX_BF16__) || defined(EMULATE_TILES)
        if (takes_tiles(m)) {
            TileState state;
            share_of<PAIRS, uint16_t>(m, in, rows, from, to, panels, out, true);
        } else
#endif
            share_of<PAIRS, uint16_t>(m, in, rows, from, to, panels, out);
    }
    if (m.rank) add_adapter(m, low, rows, out, from, to);
}

} // namespace decoder
