// Products of many rows in tiles of matrix registers (Intel AMX), over the panels of panels.h.
//
// A panel's words are what a tile of the second factor holds, and rows of bfloat16 are a tile of the first. All rows of a
// matrix go this way or none does, so that a row's result does not depend on the others. With EMULATE_TILES the registers
// are arrays, for tests.
#pragma once

#include "panels.h"

#if defined(EMULATE_TILES)
namespace {
thread_local uint32_t emulated[8][16][16];
inline void emulated_product(int c, int a, int b) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++)
            for (int k = 0; k < 16; k++) {
                uint32_t x = emulated[a][m][k], y = emulated[b][k][n];
                float sum;
                memcpy(&sum, &emulated[c][m][n], 4);
                sum += from_bf16((uint16_t)x) * from_bf16((uint16_t)y) + from_bf16(x >> 16) * from_bf16(y >> 16);
                memcpy(&emulated[c][m][n], &sum, 4);
            }
}
} // namespace
#define TILE_LOAD(t, base, stride) for (int i = 0; i < 16; i++) memcpy(emulated[t][i], (const char *)(base) + i * (stride), 64)
#define TILE_STORE(t, base, stride) for (int i = 0; i < 16; i++) memcpy((char *)(base) + i * (stride), emulated[t][i], 64)
#define TILE_ZERO(t) memset(emulated[t], 0, sizeof emulated[t])
#define TILE_PRODUCT(c, a, b) emulated_product(c, a, b)
#endif

namespace decoder {

#if defined(EMULATE_TILES)
struct TileState {
    TileState() {}
};
inline bool takes_tiles(const Matrix &m) { return m.inputs % 32 == 0; }
#else
// The tiles' configuration belongs to the thread; what other libraries keep there is put back at the end.
namespace {
struct TileState {
    attention::tiles::Config before;
    TileState() {
        attention::tiles::Config config;
        for (int t = 0; t < 8; t++) config.rows[t] = 16, config.bytes[t] = 64;
        __asm__ volatile("sttilecfg %0" : "=m"(before));
        __asm__ volatile("ldtilecfg %0" ::"m"(config));
    }
    ~TileState() { __asm__ volatile("ldtilecfg %0" ::"m"(before)); }
};
} // namespace
inline bool takes_tiles(const Matrix &m) { return m.inputs % 32 == 0 && attention::tiles::permitted(); }
#endif

// One panel or two for all rows. The rows' memory goes on to a multiple of 16; what lies there gives lines that are left.
inline void tiles_of(const uint32_t *panel, bool two, int64_t depth, const Input &in, int64_t rows, float *out, int64_t out_step, bool more, const float *bias) {
    alignas(64) float sums[2][2][16][L]; // [16 rows][panel]
    for (int64_t r = 0; r < rows; r += 32) {
        const char *x = in.rows + r * in.step;
        const bool high = rows - r > 16;
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
        for (int64_t k = 0; k < depth; k += 16) {
            TILE_LOAD(4, x + 4 * k, in.step);
            TILE_LOAD(6, panel + k * L, 64);
            TILE_PRODUCT(0, 4, 6);
            if (two) {
                TILE_LOAD(7, panel + (DEPTH + k) * L, 64);
                TILE_PRODUCT(1, 4, 7);
            }
            if (!high) continue;
            TILE_LOAD(5, x + 16 * in.step + 4 * k, in.step);
            TILE_PRODUCT(2, 5, 6);
            if (two) TILE_PRODUCT(3, 5, 7);
        }
        TILE_STORE(0, sums[0][0], 64);
        TILE_STORE(1, sums[0][1], 64);
        TILE_STORE(2, sums[1][0], 64);
        TILE_STORE(3, sums[1][1], 64);
        for (int64_t i = 0; i < 32 && r + i < rows; i++)
            for (int p = 0; p < 1 + two; p++) {
                float *line = out + (r + i) * out_step + p * PANEL;
                v16 y = load(sums[i / 16][p][i % 16]);
                if (more) y += load(line);
                if (bias) y += load(bias + p * PANEL);
                put(line, y);
            }
    }
}

} // namespace decoder
