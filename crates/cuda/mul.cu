// Products with the rows of a matrix of one format (FORMAT, a struct of formats.cuh, or F32, F16, BF16), and its rows as floats.
//
// The order of a sum. 32 elements are a term: quantised, the exact integers of its two halves times their factors, less the mins, times
// the input's scale; of floats, a chain in order of k. Eight terms are a chain from 0, a part; the parts of a row are a chain. So the bits depend on
// the row and the input alone, not on the number of tokens, rows or threads.
#include "mul.cuh"

#define THREADS 256
// Tokens that share what is read of a row.
#define TOKENS 8

// Elements in the last term of a row of floats.
DEV int left(u32 k, u32 t) { return k - 32 * t < 32 ? k - 32 * t : 32; }

template <class F> struct Quantised {
    enum { BLOCK = F::ELEMENTS };
    Sub s;
    __device__ __forceinline__ void read(const u8 *row, u32 t, u32, const Books &books) {
        F::read(row + (u64)(t / (F::ELEMENTS / 32)) * F::BYTES, t % (F::ELEMENTS / 32), books, s);
    }
    __device__ __forceinline__ float term(const Mul &m, u32 x, u32 t) const {
        const u64 at = (u64)x * (m.k / 32) + t;
        const uint4 *p = (const uint4 *)m.x + 2 * at;
        uint4 a = p[0], b = p[1];
        int lo = dot4(s.q[0], a.x, 0), hi = dot4(s.q[4], b.x, 0);
        lo = dot4(s.q[1], a.y, lo), hi = dot4(s.q[5], b.y, hi);
        lo = dot4(s.q[2], a.z, lo), hi = dot4(s.q[6], b.z, hi);
        lo = dot4(s.q[3], a.w, lo), hi = dot4(s.q[7], b.w, hi);
        return finish<F>(s.factor, s.min, lo, hi, m.scales[at], F::MINS ? m.sums[at] : make_short2(0, 0));
    }
    __device__ __forceinline__ void floats(float *out, u32, u32) const {
        for (int i = 0; i < 32; i++) {
            float v = __fmul_rn(s.factor[F::HALVES == 1 ? 0 : i / 16], (float)(i8)(s.q[i / 4] >> 8 * (i % 4)));
            out[i] = F::MINS ? v - s.min[F::MINS == 1 ? 0 : i / 16] : v;
        }
    }
};

struct F32 {
    enum { BYTES = 4 };
    static __device__ __forceinline__ float at(const u8 *p) { return *(const float *)p; }
};
struct F16 {
    enum { BYTES = 2 };
    static __device__ __forceinline__ float at(const u8 *p) { return f16_to_f32(*(const u16 *)p); }
};
struct BF16 {
    enum { BYTES = 2 };
    static __device__ __forceinline__ float at(const u8 *p) { return bf16_to_f32(*(const u16 *)p); }
};

template <class F> struct Floats {
    float w[32];
    __device__ __forceinline__ void read(const u8 *row, u32 t, u32 k, const Books &) {
        const u8 *p = row + (u64)t * 32 * F::BYTES;
        int n = left(k, t);
        for (int i = 0; i < 32; i++) w[i] = i < n ? F::at(p + i * F::BYTES) : 0.0f;
    }
    __device__ __forceinline__ float term(const Mul &m, u32 x, u32 t) const {
        const float *p = (const float *)m.x + (u64)x * m.k + 32 * t;
        int n = left(m.k, t);
        float v = 0.0f;
        for (int i = 0; i < 32; i++)
            if (i < n) v = __fmaf_rn(w[i], p[i], v);
        return v;
    }
    __device__ __forceinline__ void floats(float *out, u32 t, u32 k) const {
        int n = left(k, t);
        for (int i = 0; i < 32; i++)
            if (i < n) out[i] = w[i];
    }
};

#ifdef PLAIN
typedef Floats<FORMAT> Weights;
#else
typedef Quantised<FORMAT> Weights;
#endif

// grid: blocks of rows, tiles of tokens. Eight lanes are at the terms of a part; its sum, of each token, goes to `parts`.
template <int N> DEV void rows_of(const Mul &m, u32 p0, u32 mat) {
    extern __shared__ float parts[]; // [N][block_rows][n_parts]
    const u32 terms = (m.k + 31) / 32, n_parts = (terms + 7) / 8, r0 = blockIdx.x * m.block_rows;
    const u32 lane = threadIdx.x % 8, items = m.block_rows * n_parts;
    for (u32 i = threadIdx.x / 8; i < (items + 3) / 4 * 4; i += THREADS / 8) {
        const u32 r = i / n_parts, part = i % n_parts, t = 8 * part + lane;
        float v[N];
        for (int n = 0; n < N; n++) v[n] = 0.0f;
        if (i < items && r0 + r < m.rows && t < terms) {
            Weights w;
            w.read(m.w + mat * m.mat_bytes + (u64)(m.first + r0 + r) * m.row_bytes, t, m.k, m.books);
            for (int n = 0; n < N; n++)
                if (p0 + n < m.n) v[n] = w.term(m, (p0 + n) / m.per_x, t);
        }
        for (int n = 0; n < N; n++) {
            float sum = 0.0f;
            for (int j = 0; j < 8; j++) {
                float one = __shfl_sync(~0u, v[n], j, 8);
                if (8 * part + j < terms) sum = __fadd_rn(sum, one);
            }
            if (lane == 0 && i < items) parts[n * items + i] = sum;
        }
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < N * m.block_rows; i += THREADS) {
        const u32 n = i / m.block_rows, r = i % m.block_rows;
        if (r0 + r >= m.rows || p0 + n >= m.n) continue;
        float sum = 0.0f;
#pragma unroll 1
        for (u32 j = 0; j < n_parts; j++) sum = __fadd_rn(sum, parts[(n * m.block_rows + r) * n_parts + j]);
        float *y = m.y + (u64)(p0 + n) * m.y_stride + r0 + r;
        *y = finished(m, sum, mat, r0 + r, y);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) mul_tokens(Mul m) {
    u32 p0 = blockIdx.y * TOKENS;
    if (m.n - p0 == 1) rows_of<1>(m, p0, 0);
    else rows_of<TOKENS>(m, p0, 0);
}

// Each row of y with a matrix of its own.
extern "C" __global__ void __launch_bounds__(THREADS) mul_each(Mul m) {
    u32 p = blockIdx.y;
    rows_of<1>(m, p, m.ids ? min(m.ids[p], m.n_mat - 1) : p % m.n_mat);
}

// grid: rows of y; each is row ids[i] of the table, as floats times `scale`.
extern "C" __global__ void look_up_rows(const u8 *w, u64 row_bytes, const u32 *ids, float scale, u32 k, float *y, Books books) {
    const u8 *row = w + ids[blockIdx.x] * row_bytes;
    float *out = y + (u64)blockIdx.x * k;
    for (u32 t = threadIdx.x; t < (k + 31) / 32; t += blockDim.x) {
        Weights v;
        float f[32];
        v.read(row, t, k, books);
        v.floats(f, t, k);
        for (int i = 0; i < 32; i++)
            if (32 * t + i < k) out[32 * t + i] = __fmul_rn(f[i], scale);
    }
}
