// Rows of K and V: how they are stored, turned and attended to.
//
// The order of attention, per query and head. A leaf is up to 64 cells at consecutive positions. Scores: 32 lanes over the head, a tree. Then the
// maximum, exp, the sum of p in a tree over the 64 places, and p V in order of position, one chain per channel onto the rescaled sum.
// Leaves follow in order inside a span of sixteen, spans merge in order. Cells outside the query's interval are neither read nor counted.
#include "formats.cuh"

#define LEAF 64
#define SPAN_LEAVES 16
#define ATTEND_THREADS 128
// Cells whose rows of one head lie together.
#define TILE 16

// One plane of a layer: [blocks][.. [tiles][heads][TILE][head_bytes] ..].
struct Plane {
    u8 *base;
    u64 block_bytes, at;
    u32 type, heads, head_len, head_bytes;
    // Rows are under a transform of parts of that length; 0: as they were.
    u32 hadamard;
};

// The numbers of ggml_type.
enum { T_F32 = 0, T_F16 = 1, T_Q4_0 = 2, T_Q4_1 = 3, T_Q5_0 = 6, T_Q5_1 = 7, T_Q8_0 = 8, T_IQ4_NL = 20, T_BF16 = 30 };

DEV u8 *row_at(const Plane &p, u32 block, u32 slot, u32 h) {
    return p.base + block * p.block_bytes + p.at + ((u64)(slot / TILE * p.heads + h) * TILE + slot % TILE) * p.head_bytes;
}

template <class F> DEV float one(const u8 *row, u32 i) {
    Books none = {};
    Sub s;
    F::read(row + i / 32 * F::BYTES, 0, none, s);
    u32 q = 0;
    // Registers have no index.
    for (int w = 0; w < 8; w++)
        if (w == i % 32 / 4) q = s.q[w];
    float v = __fmul_rn(s.factor[0], (float)(i8)(q >> 8 * (i % 4)));
    return F::MINS ? v - s.min[0] : v;
}

DEV float element(u32 type, const u8 *row, u32 i) {
    switch (type) {
    case T_F32: return ((const float *)row)[i];
    case T_F16: return f16_to_f32(((const u16 *)row)[i]);
    case T_BF16: return bf16_to_f32(((const u16 *)row)[i]);
    case T_Q8_0: return __fmul_rn(f16_to_f32(*(const u16 *)(row + i / 32 * 34)), (float)(i8)row[i / 32 * 34 + 2 + i % 32]);
    case T_Q4_0: return one<Q4_0>(row, i);
    case T_Q4_1: return one<Q4_1>(row, i);
    case T_Q5_0: return one<Q5_0>(row, i);
    case T_Q5_1: return one<Q5_1>(row, i);
    default: return one<IQ4_NL>(row, i);
    }
}

// The value farthest from 0, with its sign; the first of equals. The same in all lanes.
DEV float farthest(float v) {
    u32 lane = threadIdx.x % 32;
    float best = v;
    for (int i = 16; i > 0; i /= 2) {
        float o = __shfl_xor_sync(~0u, best, i);
        u32 l = __shfl_xor_sync(~0u, lane, i);
        if (fabsf(o) > fabsf(best) || (fabsf(o) == fabsf(best) && l < lane)) best = o, lane = l;
    }
    return best;
}

DEV float warp_min(float v) { return -warp_max(-v); }

// The place of the value nearest to x among those of IQ4_NL: the first at or past half way.
DEV u32 nearest_iq4(float x) {
    u32 i = 0;
    for (u32 n = 0; n < 15; n++) {
        float a = (float)(i8)(iq4_values(n) & 0xff), b = (float)(i8)(iq4_values(n + 1) & 0xff);
        if (x - a >= b - x) i = n + 1;
    }
    return i;
}

// 32 numbers, one per lane, as a block of `type` at p.
DEV void put_block(u32 type, u8 *p, float v) {
    const u32 lane = threadIdx.x % 32;
    u32 q = 0;
    float d = 0.0f, m = 0.0f;
    bool min = false;
    int bits = 4;
    switch (type) {
    case T_Q8_0: {
        d = __fdiv_rn(warp_max(fabsf(v)), 127.0f);
        float id = d != 0.0f ? __fdiv_rn(1.0f, d) : 0.0f;
        p[2 + lane] = (u8)(i8)roundf(__fmul_rn(v, id));
        if (lane == 0) *(u16 *)p = f32_to_f16(d);
        return;
    }
    case T_Q4_0:
    case T_Q5_0: {
        const float half = type == T_Q4_0 ? 8.0f : 16.0f;
        d = __fdiv_rn(farthest(v), -half);
        float id = d != 0.0f ? __fdiv_rn(1.0f, d) : 0.0f;
        q = (u32)fminf(2.0f * half - 1.0f, truncf(__fadd_rn(__fmul_rn(v, id), half + 0.5f)));
        bits = type == T_Q4_0 ? 4 : 5;
        break;
    }
    case T_Q4_1:
    case T_Q5_1: {
        const float most = type == T_Q4_1 ? 15.0f : 31.0f;
        m = warp_min(v);
        d = __fdiv_rn(__fsub_rn(warp_max(v), m), most);
        float id = d != 0.0f ? __fdiv_rn(1.0f, d) : 0.0f;
        q = (u32)fminf(most, truncf(__fadd_rn(__fmul_rn(__fsub_rn(v, m), id), 0.5f)));
        min = true;
        bits = type == T_Q4_1 ? 4 : 5;
        break;
    }
    default: {
        float far = farthest(v);
        if (fabsf(far) >= 1e-15f) {
            q = nearest_iq4(__fmul_rn(__fdiv_rn(1.0f, __fdiv_rn(far, -127.0f)), v));
            float w = __fmul_rn(v, v), c = (float)(i8)(iq4_values(q) & 0xff), qx = 0.0f, q2 = 0.0f;
            // As one chain, so that the scale is the one that the CPU finds.
            for (int i = 0; i < 32; i++) {
                float wi = __shfl_sync(~0u, w, i), ci = __shfl_sync(~0u, c, i), vi = __shfl_sync(~0u, v, i);
                qx = __fadd_rn(qx, __fmul_rn(__fmul_rn(wi, ci), vi));
                q2 = __fadd_rn(q2, __fmul_rn(__fmul_rn(wi, ci), ci));
            }
            d = q2 > 0.0f ? __fdiv_rn(qx, q2) : 0.0f;
        }
    }
    }
    if (lane == 0) *(u16 *)p = f32_to_f16(d);
    p += 2;
    if (min) {
        if (lane == 0) *(u16 *)p = f32_to_f16(m);
        p += 2;
    }
    if (bits == 5) {
        u32 top = __ballot_sync(~0u, q >> 4 & 1);
        if (lane < 4) p[lane] = (u8)(top >> 8 * lane);
        p += 4;
    }
    u32 other = __shfl_xor_sync(~0u, q, 16);
    if (lane < 16) p[lane] = (u8)((q & 15) | (other & 15) << 4);
}

// A warp writes a row of `len` floats.
DEV void put_row(u32 type, u8 *row, const float *x, u32 len) {
    const u32 lane = threadIdx.x % 32;
    if (type == T_F32 || type == T_F16 || type == T_BF16) {
        for (u32 i = lane; i < len; i += 32) {
            if (type == T_F32) ((float *)row)[i] = x[i];
            else ((u16 *)row)[i] = type == T_F16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
        }
        return;
    }
    const u32 bytes = type == T_Q8_0 ? 34 : type == T_Q4_1 ? 20 : type == T_Q5_0 ? 22 : type == T_Q5_1 ? 24 : 18;
    for (u32 b = 0; b < len / 32; b++) put_block(type, row + b * bytes, x[32 * b + lane]);
}

// grid: (heads, tokens), a warp each; shared: head_len floats. dst: (block, slot) of each token.
extern "C" __global__ void __launch_bounds__(32) store(Plane p, const float *x, const uint2 *dst) {
    extern __shared__ float row[];
    const uint2 to = dst[blockIdx.y];
    const float *from = x + ((u64)blockIdx.y * p.heads + blockIdx.x) * p.head_len;
    for (u32 i = threadIdx.x; i < p.head_len; i += 32) row[i] = from[i];
    __syncwarp();
    if (p.hadamard) hadamard(row, p.head_len, p.hadamard, threadIdx.x, 32, WarpSync());
    put_row(p.type, row_at(p, to.x, to.y, blockIdx.x), row, p.head_len);
}

struct Turn {
    // (cos, sin) of the pairs: [n shifts][n_rot].
    const float *cs;
    u32 at, n_rot, neox, bare;
};

// Cells whose K turns: block, slot, and which of the rotations. grid: (heads, cells), a warp each; shared: head_len floats.
extern "C" __global__ void __launch_bounds__(32) shift(Plane p, Turn t, const uint4 *cells) {
    extern __shared__ float row[];
    const uint4 c = cells[blockIdx.y];
    u8 *at = row_at(p, c.x, c.y, blockIdx.x);
    for (u32 i = threadIdx.x; i < p.head_len; i += 32) row[i] = element(p.type, at, i);
    __syncwarp();
    if (p.hadamard) hadamard(row, p.head_len, p.hadamard, threadIdx.x, 32, WarpSync());
    // Of an index's keys: the rows stand under a transform of their own.
    if (t.bare) hadamard(row, p.head_len, t.bare, threadIdx.x, 32, WarpSync());
    const float *cs = t.cs + (u64)c.z * t.n_rot;
    for (u32 i = threadIdx.x; i < t.n_rot / 2; i += 32) {
        float *x = row + t.at;
        u32 a = t.neox ? i : 2 * i, b = t.neox ? i + t.n_rot / 2 : 2 * i + 1;
        float co = cs[2 * i], si = cs[2 * i + 1], u = x[a], v = x[b];
        x[a] = __fsub_rn(__fmul_rn(u, co), __fmul_rn(v, si));
        x[b] = __fadd_rn(__fmul_rn(u, si), __fmul_rn(v, co));
    }
    __syncwarp();
    if (t.bare) hadamard(row, p.head_len, t.bare, threadIdx.x, 32, WarpSync());
    if (p.hadamard) hadamard(row, p.head_len, p.hadamard, threadIdx.x, 32, WarpSync());
    put_row(p.type, at, row, p.head_len);
}

// Cells of one tile of positions at the places from..to; their segments are segs[first..end].
struct Leaf {
    int tile;
    u32 first, end, from_to;
};
// Cells of a block from a slot on that stand at consecutive places.
struct Seg {
    u32 block;
    u16 slot;
    u8 at, len;
};
// The leaves that a token sees, and which positions.
struct Query {
    u32 first, end;
    int lo, hi;
};

struct Attend {
    const float *q;
    // [rows][n_head][spans][2 + head_v]: maximum, sum, channels.
    float *state;
    const Query *queries;
    const Leaf *leaves;
    const Seg *segs;
    // Of each leaf the span that it is in, and of each span its first leaf (one more than there are).
    const u32 *span_of, *spans;
    const int *pos;
    // Per head, where scores fall with distance.
    const float *slopes;
    // [n][n_head] by the bucket of distances -128..128.
    const float *added;
    const u8 *buckets;
    Plane k, v;
    u32 n_head, n_head_kv, head_k, head_v, n_spans, row0;
    float scale, softcap;
};

#define NOTHING (-__int_as_float(0x7f800000))

// grid: (heads, rows, spans). Shared: head_k + head_v floats.
extern "C" __global__ void __launch_bounds__(ATTEND_THREADS) attend(Attend p) {
    extern __shared__ float mem[];
    float *q = mem, *acc = mem + p.head_k;
    __shared__ float s[LEAF];
    __shared__ u64 at[LEAF];
    __shared__ float m, sum, alpha;
    const u32 h = blockIdx.x, row = blockIdx.y, tid = threadIdx.x, lane = tid % 32, warp = tid / 32, kv = h / (p.n_head / p.n_head_kv);
    const Query qr = p.queries[p.row0 + row];
    float *state = p.state + (((u64)row * p.n_head + h) * p.n_spans + blockIdx.z) * (2 + p.head_v);
    u32 l = 0, end = 0;
    if (qr.first < qr.end && blockIdx.z <= p.span_of[qr.end - 1] - p.span_of[qr.first]) {
        const u32 span = p.span_of[qr.first] + blockIdx.z;
        l = max(qr.first, p.spans[span]), end = min(qr.end, p.spans[span + 1]);
    }
    for (u32 i = tid; i < p.head_k; i += ATTEND_THREADS) q[i] = p.q[((u64)(p.row0 + row) * p.n_head + h) * p.head_k + i];
    for (u32 i = tid; i < p.head_v; i += ATTEND_THREADS) acc[i] = 0.0f;
    if (tid == 0) m = NOTHING, sum = 0.0f;
    __syncthreads();
    if (p.k.hadamard) hadamard(q, p.head_k, p.k.hadamard, tid, ATTEND_THREADS, BlockSync());
    for (; l < end; l++) {
        const Leaf leaf = p.leaves[l];
        const long long base = (long long)leaf.tile * LEAF;
        const int from = leaf.from_to & 0xff, to = leaf.from_to >> 8;
        const int a = (int)min(max((long long)qr.lo - base, (long long)from), (long long)to);
        const int b = (int)min(max((long long)qr.hi + 1 - base, (long long)from), (long long)to);
        if (a >= b) continue;
        // Where each place's cell is: its row of K, as block and slot.
        for (u32 i = leaf.first + warp; i < leaf.end; i += ATTEND_THREADS / 32) {
            const Seg g = p.segs[i];
            for (u32 j = lane; j < g.len; j += 32) at[g.at + j] = (u64)g.block << 16 | (u32)(g.slot + j);
        }
        if (tid < LEAF) s[tid] = NOTHING;
        __syncthreads();
        for (int j = a + warp; j < b; j += ATTEND_THREADS / 32) {
            const u8 *k = row_at(p.k, (u32)(at[j] >> 16), (u32)(at[j] & 0xffff), kv);
            float v = 0.0f;
            for (u32 i = lane; i < p.head_k; i += 32) v = __fmaf_rn(q[i], element(p.k.type, k, i), v);
            v = __fmul_rn(warp_sum(v), p.scale);
            if (p.softcap > 0.0f) v = __fmul_rn(p.softcap, tanhf(__fdiv_rn(v, p.softcap)));
            const int apart = (int)(base + j - p.pos[p.row0 + row]);
            if (p.slopes) v = __fsub_rn(v, __fmul_rn(p.slopes[h], (float)abs(apart)));
            if (p.added) v = __fadd_rn(v, p.added[p.buckets[min(max(apart, -128), 128) + 128] * p.n_head + h]);
            if (lane == 0) s[j] = v;
        }
        __syncthreads();
        if (warp == 0) {
            const float most = fmaxf(m, warp_max(fmaxf(s[lane], s[lane + 32])));
            const float x = s[lane] == NOTHING ? 0.0f : expf(s[lane] - most), y = s[lane + 32] == NOTHING ? 0.0f : expf(s[lane + 32] - most);
            const float part = warp_sum(__fadd_rn(x, y)), old = m == NOTHING ? 0.0f : expf(m - most);
            __syncwarp();
            s[lane] = x, s[lane + 32] = y;
            if (lane == 0) {
                sum = __fmaf_rn(sum, old, part);
                m = most, alpha = old;
            }
        }
        __syncthreads();
        for (u32 c = tid; c < p.head_v; c += ATTEND_THREADS) {
            float v = __fmul_rn(acc[c], alpha);
            for (int j = a; j < b; j++) {
                const u8 *r = row_at(p.v, (u32)(at[j] >> 16), (u32)(at[j] & 0xffff), kv);
                v = __fmaf_rn(s[j], element(p.v.type, r, c), v);
            }
            acc[c] = v;
        }
        __syncthreads();
    }
    if (tid == 0) state[0] = m, state[1] = sum;
    for (u32 i = tid; i < p.head_v; i += ATTEND_THREADS) state[2 + i] = acc[i];
}

// grid: (heads, rows). Spans in order, then the sink; V as it was before its transform. Shared: head_v floats.
extern "C" __global__ void __launch_bounds__(ATTEND_THREADS) merge(const float *state, const float *sinks, float *out, u32 n_head, u32 n_spans, u32 head_v, u32 back, u32 row0) {
    extern __shared__ float acc[];
    const u64 at = (u64)blockIdx.y * n_head + blockIdx.x;
    state += at * n_spans * (2 + head_v);
    out += (u64)(row0 + blockIdx.y) * n_head * head_v + (u64)blockIdx.x * head_v;
    float m = NOTHING, sum = 0.0f;
    for (u32 c = threadIdx.x; c < head_v; c += ATTEND_THREADS) acc[c] = 0.0f;
    for (u32 i = 0; i < n_spans; i++, state += 2 + head_v) {
        if (state[0] == NOTHING) continue;
        const float most = fmaxf(m, state[0]), old = m == NOTHING ? 0.0f : expf(m - most), add = expf(state[0] - most);
        sum = __fmaf_rn(sum, old, __fmul_rn(state[1], add));
        for (u32 c = threadIdx.x; c < head_v; c += ATTEND_THREADS) acc[c] = __fmaf_rn(acc[c], old, __fmul_rn(state[2 + c], add));
        m = most;
    }
    float by = 1.0f;
    if (sinks) {
        const float most = fmaxf(m, sinks[blockIdx.x]);
        by = m == NOTHING ? 0.0f : expf(m - most);
        sum = __fmaf_rn(sum, by, expf(sinks[blockIdx.x] - most));
    }
    // What sees nothing is zeros.
    const float inv = sum > 0.0f ? __fdiv_rn(by, sum) : 0.0f;
    for (u32 c = threadIdx.x; c < head_v; c += ATTEND_THREADS) acc[c] = __fmul_rn(acc[c], inv);
    __syncthreads();
    if (back) hadamard(acc, head_v, back, threadIdx.x, ATTEND_THREADS, BlockSync());
    for (u32 c = threadIdx.x; c < head_v; c += ATTEND_THREADS) out[c] = acc[c];
}

// Bytes between a packed list and places of a buffer. grid: runs. back: from the places to the list.
struct Run {
    u64 place;
    u32 at, len;
};

extern "C" __global__ void scatter(u8 *buffer, u8 *list, const Run *runs, u32 back) {
    const Run r = runs[blockIdx.x];
    u8 *a = buffer + r.place, *b = list + r.at;
    u8 *to = back ? b : a;
    const u8 *from = back ? a : b;
    if ((((u64)to | (u64)from | r.len) & 15) == 0) {
        for (u32 i = threadIdx.x; i < r.len / 16; i += blockDim.x) ((uint4 *)to)[i] = ((const uint4 *)from)[i];
    } else {
        for (u32 i = threadIdx.x; i < r.len; i += blockDim.x) to[i] = from[i];
    }
}
