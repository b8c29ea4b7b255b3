// What products share: their parameters, what becomes of 32 elements, and of the sum.
#pragma once
#include "formats.cuh"

struct Mul {
    const u8 *w;
    u64 row_bytes, mat_bytes;
    // Of an input as the format wants it: floats [n][k], or int8 [n][k] with a scale and the sums of both halves for each 32.
    const void *x;
    const float *scales;
    const short2 *sums;
    float *y;
    // Per row of y the matrix it is with; null: row p is with matrix p % n_mat.
    const u32 *ids;
    const float *scale, *bias;
    Books books;
    u32 k, rows, first, n, y_stride, n_mat;
    // Rows of y that read the same row of x.
    u32 per_x;
    // Rows of the matrices that a block takes.
    u32 block_rows;
    u32 add, scale_after_bias;
};

// A term: the exact sums of both halves, times factors, less mins, times the input's scale.
template <class F> DEV float finish(const float *factor, const float *min, int lo, int hi, float dx, short2 sum) {
    float v;
    if (F::HALVES == 1) v = __fmul_rn(factor[0], (float)(lo + hi));
    else v = __fmaf_rn(factor[1], (float)hi, __fmul_rn(factor[0], (float)lo));
    if (F::MINS == 1) v = __fmaf_rn(-min[0], (float)(sum.x + sum.y), v);
    if (F::MINS == 2) v = __fmaf_rn(-min[1], (float)sum.y, __fmaf_rn(-min[0], (float)sum.x, v));
    return __fmul_rn(v, dx);
}

DEV float finished(const Mul &m, float v, u32 mat, u32 r, const float *y) {
    if (m.add) v = __fadd_rn(*y, v);
    float scale = m.scale ? m.scale[m.ids ? mat : 0] : 1.0f;
    float bias = m.bias ? m.bias[(u64)(m.ids ? mat : 0) * m.rows + r] : 0.0f;
    return m.scale_after_bias ? __fmul_rn(__fadd_rn(v, bias), scale) : __fadd_rn(__fmul_rn(v, scale), bias);
}
