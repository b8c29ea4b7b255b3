// Products of a quantised matrix with many tokens on tensor cores (int8, compute capability 8.0). The bits are those of mul.cu: 32 elements are
// exact integers and one rounding of each kind, eight terms are a chain from 0, the parts of a row are a chain.
#include "mul.cuh"

#define ROWS 64
#define COLS 64
#define THREADS 128
// A warp's rows, and columns that one instruction makes.
#define WARP_ROWS 16
#define TILE_COLS 8
#define TILES (COLS / TILE_COLS)
// Words from a term's row to the next: 8 words of values; the ninth keeps rows in different banks.
#define PITCH 9

struct Shared {
    // Weights: of 8 terms and 64 rows. Inputs: of 8 terms and 64 tokens.
    u32 w[8][ROWS][PITCH];
    u32 x[8][COLS][PITCH];
    float factor[8][ROWS][2], min[8][ROWS][2];
    float scales[8][COLS];
    short2 sums[8][COLS];
    u32 rows[COLS];
};

DEV void mma16(int (&c)[4], u32 a0, u32 a1, u32 b0) {
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(b0));
}

DEV void mma32(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// grid: (blocks of rows, blocks of tokens, matrices). Where tokens go to matrices of their own, `list` has the rows of y in the order of the
// matrices, `starts` where each one's begin.
extern "C" __global__ void __launch_bounds__(THREADS) mul_many(Mul m, const u32 *list, const u32 *starts) {
    extern __shared__ Shared shared[];
    Shared &s = *shared;
    const u32 tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t4 = lane % 4;
    const u32 mat = blockIdx.z, r0 = blockIdx.x * ROWS;
    const u32 begin = starts ? starts[mat] : 0, end = starts ? starts[mat + 1] : m.n, p0 = begin + blockIdx.y * COLS;
    if (p0 >= end) return;
    const u8 *w = m.w + mat * m.mat_bytes;
    for (u32 i = tid; i < COLS; i += THREADS) s.rows[i] = p0 + i < end ? (list ? list[p0 + i] : p0 + i) : ~0u;
    const u32 terms = m.k / 32;
    float total[TILES][4];
    for (int j = 0; j < TILES; j++)
        for (int e = 0; e < 4; e++) total[j][e] = 0.0f;
#pragma unroll 1
    for (u32 t0 = 0; t0 < terms; t0 += 8) {
        const u32 n = min(8, terms - t0);
        __syncthreads();
#pragma unroll 1
        for (u32 i = tid; i < ROWS * 8; i += THREADS) {
            const u32 t = i % 8, r = i / 8;
            if (t >= n) continue;
            Sub sub;
            if (r0 + r < m.rows) {
                const u8 *row = w + (u64)(m.first + r0 + r) * m.row_bytes;
                FORMAT::read(row + (u64)((t0 + t) / (FORMAT::ELEMENTS / 32)) * FORMAT::BYTES, (t0 + t) % (FORMAT::ELEMENTS / 32), m.books, sub);
            } else {
                sub = Sub{};
            }
            for (int q = 0; q < 8; q++) s.w[t][r][q] = sub.q[q];
            s.factor[t][r][0] = sub.factor[0];
            if (FORMAT::HALVES == 2) s.factor[t][r][1] = sub.factor[1];
            if (FORMAT::MINS >= 1) s.min[t][r][0] = sub.min[0];
            if (FORMAT::MINS == 2) s.min[t][r][1] = sub.min[1];
        }
#pragma unroll 1
        for (u32 i = tid; i < COLS * 8; i += THREADS) {
            const u32 t = i % 8, c = i / 8;
            if (t >= n) continue;
            const bool there = s.rows[c] != ~0u;
            const u64 at = (u64)(there ? s.rows[c] / m.per_x : 0) * terms + t0 + t;
            const uint4 *p = (const uint4 *)m.x + 2 * at;
            const uint4 none = make_uint4(0, 0, 0, 0), a = there ? p[0] : none, b = there ? p[1] : none;
            u32 *to = s.x[t][c];
            to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
            s.scales[t][c] = there ? m.scales[at] : 0.0f;
            if (FORMAT::MINS) s.sums[t][c] = there ? m.sums[at] : make_short2(0, 0);
        }
        __syncthreads();
        float part[TILES][4];
        for (int j = 0; j < TILES; j++)
            for (int e = 0; e < 4; e++) part[j][e] = 0.0f;
#pragma unroll 1
        for (u32 t = 0; t < n; t++) {
            const u32 low = warp * WARP_ROWS + g, high = low + 8;
            const u32 a0 = s.w[t][low][t4], a1 = s.w[t][high][t4], a2 = s.w[t][low][4 + t4], a3 = s.w[t][high][4 + t4];
            for (int j = 0; j < TILES; j++) {
                const u32 col = j * TILE_COLS + g;
                int lo[4] = {0, 0, 0, 0}, hi[4] = {0, 0, 0, 0};
                if (FORMAT::HALVES == 1) {
                    mma32(lo, a0, a1, a2, a3, s.x[t][col][t4], s.x[t][col][4 + t4]);
                } else {
                    mma16(lo, a0, a1, s.x[t][col][t4]);
                    mma16(hi, a2, a3, s.x[t][col][4 + t4]);
                }
                for (int e = 0; e < 4; e++) {
                    const u32 r = e < 2 ? low : high, c = j * TILE_COLS + 2 * t4 + e % 2;
                    const float v = finish<FORMAT>(s.factor[t][r], s.min[t][r], lo[e], hi[e], s.scales[t][c], FORMAT::MINS ? s.sums[t][c] : make_short2(0, 0));
                    part[j][e] = __fadd_rn(part[j][e], v);
                }
            }
        }
        for (int j = 0; j < TILES; j++)
            for (int e = 0; e < 4; e++) total[j][e] = __fadd_rn(total[j][e], part[j][e]);
    }
    for (int j = 0; j < TILES; j++) {
        for (int e = 0; e < 4; e++) {
            const u32 r = r0 + warp * WARP_ROWS + g + (e < 2 ? 0 : 8), p = s.rows[j * TILE_COLS + 2 * t4 + e % 2];
            if (r >= m.rows || p == ~0u) continue;
            float *y = m.y + (u64)p * m.y_stride + r;
            *y = finished(m, total[j][e], mat, r, y);
        }
    }
}
