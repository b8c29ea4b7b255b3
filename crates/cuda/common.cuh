// What all kernels share: integer names, unaligned reads, conversions, and sums in a fixed order.
// Nothing is included: NVRTC needs no headers of the toolkit. Every float sum here has one order, whatever the launch looks like.
#pragma once
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;

#define DEV static __device__ __forceinline__

DEV float f16_to_f32(u16 h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

DEV u16 f32_to_f16(float f) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

DEV float bf16_to_f32(u16 h) { return __uint_as_float((u32)h << 16); }

// Half to even; a NaN stays one.
DEV u16 f32_to_bf16(float f) {
    u32 b = __float_as_uint(f);
    if (f != f) return (u16)(b >> 16 | 64);
    return (u16)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}

// Four bytes at an address that is a multiple of A.
template <int A> DEV u32 word(const u8 *p) {
    if (A % 4 == 0) return *(const u32 *)p;
    if (A % 2 == 0) return *(const u16 *)p | (u32) * (const u16 *)(p + 2) << 16;
    return p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24;
}

template <int A> DEV u16 half_word(const u8 *p) { return A % 2 == 0 ? *(const u16 *)p : (u16)(p[0] | p[1] << 8); }

// Four products of signed bytes, added to c.
DEV int dot4(u32 a, u32 b, int c) {
    int d;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

// Over the 32 lanes of a warp, the same in all of them; a tree.
DEV float warp_sum(float v) {
    for (int i = 16; i > 0; i /= 2) v = __fadd_rn(v, __shfl_xor_sync(~0u, v, i));
    return v;
}

DEV float warp_max(float v) {
    for (int i = 16; i > 0; i /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, i));
    return v;
}

DEV double warp_sum(double v) {
    for (int i = 16; i > 0; i /= 2) v = __dadd_rn(v, __shfl_xor_sync(~0u, v, i));
    return v;
}

// Threads of the kernels that take a row per block.
#define ROW_THREADS 256

// Over the threads of a block of ROW_THREADS: a tree, then the warps in order.
template <class F> DEV F block_sum(F v) {
    __shared__ F part[ROW_THREADS / 32];
    v = warp_sum(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    F sum = part[0];
    for (int i = 1; i < ROW_THREADS / 32; i++) sum += part[i];
    return sum;
}

// The orthonormal Walsh-Hadamard transform of x[0..len] in parts of n, by the threads `lane` of `lanes`, which `sync` brings together.
template <class S> DEV void hadamard(float *x, int len, int n, int lane, int lanes, S sync) {
    float scale = __fdiv_rn(1.0f, sqrtf((float)n));
    for (int i = lane; i < len; i += lanes) x[i] = __fmul_rn(x[i], scale);
    for (int apart = 1; apart < n; apart *= 2) {
        sync();
        for (int i = lane; i < len / 2; i += lanes) {
            int a = i / apart * 2 * apart + i % apart;
            float u = x[a], v = x[a + apart];
            x[a] = __fadd_rn(u, v);
            x[a + apart] = __fsub_rn(u, v);
        }
    }
    sync();
}

struct WarpSync {
    __device__ __forceinline__ void operator()() const { __syncwarp(); }
};
struct BlockSync {
    __device__ __forceinline__ void operator()() const { __syncthreads(); }
};
