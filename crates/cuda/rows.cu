// What happens to the rows of values between products: norms, rotations, activations, sums, copies. A block has a row unless it says otherwise.
#include "common.cuh"

struct Norm {
    const float *x, *add, *w, *b;
    float *sum, *out;
    u32 width, layer;
    float eps;
};

// sum = x + add, out = norm(sum) * w + b
extern "C" __global__ void __launch_bounds__(ROW_THREADS) norm(Norm p) {
    u64 at = (u64)blockIdx.x * p.width;
    const float *x = p.x + at, *add = p.add ? p.add + at : 0;
    float *out = p.out + at;
    auto value = [&](u32 i) { return add ? __fadd_rn(x[i], add[i]) : x[i]; };
    double s = 0.0;
    for (u32 i = threadIdx.x; i < p.width; i += ROW_THREADS) {
        float v = value(i);
        s += p.layer ? (double)v : (double)__fmul_rn(v, v);
    }
    s = block_sum(s);
    float mean = 0.0f, scale;
    if (p.layer) {
        mean = (float)(s / p.width);
        double var = 0.0;
        for (u32 i = threadIdx.x; i < p.width; i += ROW_THREADS) {
            float v = __fsub_rn(value(i), mean);
            var += (double)__fmul_rn(v, v);
        }
        scale = __fdiv_rn(1.0f, sqrtf((float)(block_sum(var) / p.width) + p.eps));
    } else {
        scale = __fdiv_rn(1.0f, sqrtf((float)(s / p.width) + p.eps));
    }
    for (u32 i = threadIdx.x; i < p.width; i += ROW_THREADS) {
        float v = value(i);
        if (p.sum) p.sum[at + i] = v;
        float y = __fmul_rn(__fsub_rn(v, mean), scale);
        if (p.w) y = __fmul_rn(y, p.w[i]);
        out[i] = p.b ? __fadd_rn(y, p.b[i]) : y;
    }
}

struct Rope {
    float *x;
    // (cos, sin) of the pairs of each token: [n][n_rot]; null: no rotation.
    const float *cs;
    const float *w, *b;
    u32 width, n_head, at, n_rot, neox;
    // 0: no norm, 1: root mean square, 2: of a layer. `w` is [len], [n_head][len] or, where it is a number for each, [n_head].
    u32 norm, len, each_head, number;
    float eps;
};

#define HEAD_LANES 32

DEV void rotate(float *x, const float *cs, u32 n_rot, u32 neox, u32 lane, u32 lanes) {
    for (u32 i = lane; i < n_rot / 2; i += lanes) {
        u32 a = neox ? i : 2 * i, b = neox ? i + n_rot / 2 : 2 * i + 1;
        float c = cs[2 * i], s = cs[2 * i + 1], u = x[a], v = x[b];
        x[a] = __fsub_rn(__fmul_rn(u, c), __fmul_rn(v, s));
        x[b] = __fadd_rn(__fmul_rn(u, s), __fmul_rn(v, c));
    }
}

// grid: (heads, tokens); a warp has a head. In place.
extern "C" __global__ void __launch_bounds__(HEAD_LANES) rope(Rope p) {
    const u32 lane = threadIdx.x, h = blockIdx.x, head = p.width / p.n_head;
    float *x = p.x + (u64)blockIdx.y * p.width + h * head;
    if (p.norm) {
        double s = 0.0;
        for (u32 i = lane; i < p.len; i += HEAD_LANES) s += p.norm == 1 ? (double)__fmul_rn(x[i], x[i]) : (double)x[i];
        s = warp_sum(s);
        float mean = 0.0f;
        if (p.norm == 2) {
            mean = (float)(s / p.len);
            s = 0.0;
            for (u32 i = lane; i < p.len; i += HEAD_LANES) {
                float v = __fsub_rn(x[i], mean);
                s += (double)__fmul_rn(v, v);
            }
            s = warp_sum(s);
        }
        float scale = __fdiv_rn(1.0f, sqrtf((float)(s / p.len) + p.eps));
        const u64 first = p.each_head ? (u64)h * p.len : 0;
        for (u32 i = lane; i < p.len; i += HEAD_LANES) {
            float v = __fmul_rn(__fsub_rn(x[i], mean), scale);
            if (p.w && !p.number) v = __fmul_rn(v, p.w[first + i]);
            if (p.b) v = __fadd_rn(v, p.b[first + i]);
            if (p.w && p.number) v = __fmul_rn(v, p.w[h]);
            x[i] = v;
        }
        __syncwarp();
    }
    if (p.cs) rotate(x + p.at, p.cs + (u64)blockIdx.y * p.n_rot, p.n_rot, p.neox, lane, HEAD_LANES);
}

// The numbers of backend::op::Act.
enum { SILU, GELU, RELU, RELU_SQR, SIGMOID, SWIGLU_OAI, SILU_CUT, CUT_SILU, XIELU };

struct Act {
    u32 kind;
    // Limits, or what xIELU was trained to.
    float a, b, c, d;
};

DEV float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
DEV float silu(float x) { return x / (1.0f + expf(-x)); }
DEV float softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }

DEV float act(const Act &f, float x) {
    switch (f.kind) {
    case GELU: return 0.5f * x * (1.0f + tanhf(0.79788456080286535588f * x * (1.0f + 0.044715f * x * x)));
    // A NaN stays one.
    case RELU: return x < 0.0f ? 0.0f : x;
    case RELU_SQR: return x < 0.0f ? 0.0f : x * x;
    case SIGMOID: return sigmoid(x);
    case XIELU: return x > 0.0f ? f.b * x * x + f.c * x : (expm1f(fminf(x, f.d)) - x) * f.a + f.c * x;
    default: return silu(x);
    }
}

DEV float held(float x, float limit) { return fminf(fmaxf(x, -limit), limit); }

DEV float glu_of(const Act &f, float g, float u) {
    switch (f.kind) {
    case SWIGLU_OAI: {
        float x = fminf(g, f.b);
        return x / (1.0f + expf(-f.a * x)) * (held(u, f.b) + 1.0f);
    }
    case SILU_CUT: return fminf(silu(g), f.a) * held(u, f.a);
    case CUT_SILU: return silu(fminf(g, f.a)) * held(u, f.a);
    default: return act(f, g) * u;
    }
}

// One thread per element. Null gate: act(up).
extern "C" __global__ void glu(const float *gate, const float *up, float *out, u64 n, Act f) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = gate ? glu_of(f, gate[i], up[i]) : act(f, up[i]);
}

enum { ADD, SUB, MUL, GATE, GATE_SOFTPLUS, ADD_PARTS, RESCALE, WEIGHT_MUL, WEIGHT_DIV, WEIGHT_ADD, SCALE, PLUS, SPARSE, HIDE, CLAMP, SOFTCAP, ACT, HADAMARD, SCALE_ROWS };

struct Map {
    const float *x, *y;
    float *out;
    // Of x, and of a row of y (for a weight: all of it).
    u32 width, y_width;
    u32 kind;
    // Parts that are left alone; columns from..to of all rows or the first; length of a transform.
    u32 from, to, first_only;
    float s;
    Act act;
};

extern "C" __global__ void __launch_bounds__(ROW_THREADS) map(Map p) {
    const u64 row = blockIdx.x;
    const float *x = p.x + row * p.width;
    const bool weight = p.kind >= WEIGHT_MUL && p.kind <= WEIGHT_ADD;
    const float *y = p.y + (weight ? 0 : row * p.y_width);
    float *out = p.out + row * p.width;
    if (p.kind == RESCALE) {
        double mine = 0.0;
        for (u32 i = threadIdx.x; i < p.y_width; i += ROW_THREADS) mine += (double)y[i] * (double)y[i];
        const double want = sqrt(block_sum(mine));
        for (u32 first = 0; first < p.width; first += p.y_width) {
            double sum = 0.0;
            for (u32 i = threadIdx.x; i < p.y_width; i += ROW_THREADS) sum += (double)x[first + i] * (double)x[first + i];
            float scale = (float)(want / sqrt(block_sum(sum)));
            for (u32 i = threadIdx.x; i < p.y_width; i += ROW_THREADS) out[first + i] = __fmul_rn(x[first + i], scale);
        }
        return;
    }
    float least = 0.0f;
    if (p.kind == SPARSE) {
        double sum = 0.0, spread = 0.0;
        for (u32 i = threadIdx.x; i < p.width; i += ROW_THREADS) sum += (double)x[i];
        const double mean = block_sum(sum) / p.width;
        for (u32 i = threadIdx.x; i < p.width; i += ROW_THREADS) spread += ((double)x[i] - mean) * ((double)x[i] - mean);
        double n = (double)p.width - 1.0;
        least = (float)(mean + sqrt(block_sum(spread) / (n < 1.0 ? 1.0 : n)) * (double)p.s);
    }
    if (p.kind == HADAMARD) {
        for (u32 i = threadIdx.x; i < p.width; i += ROW_THREADS) out[i] = x[i];
        __syncthreads();
        hadamard(out, p.width, p.from, threadIdx.x, ROW_THREADS, BlockSync());
        return;
    }
    const u32 each = p.y_width && p.width >= p.y_width ? p.width / p.y_width : 1;
    for (u32 i = threadIdx.x; i < p.width; i += ROW_THREADS) {
        float v = x[i];
        switch (p.kind) {
        case ADD: v = __fadd_rn(v, y[i]); break;
        case SUB: v = __fsub_rn(v, y[i]); break;
        case MUL: v = __fmul_rn(v, y[i]); break;
        case GATE: v = __fmul_rn(v, sigmoid(y[i / each])); break;
        case GATE_SOFTPLUS: v = __fmul_rn(v, softplus(y[i / each])); break;
        case ADD_PARTS: v = i / p.y_width >= p.from ? __fadd_rn(v, y[i % p.y_width]) : v; break;
        case WEIGHT_MUL: v = __fmul_rn(v, y[i / each]); break;
        case WEIGHT_DIV: v = __fdiv_rn(v, y[i / each]); break;
        case WEIGHT_ADD: v = __fadd_rn(v, y[i / each]); break;
        case SCALE: v = __fmul_rn(v, p.s); break;
        case SCALE_ROWS: v = __fmul_rn(v, y[0]); break;
        case PLUS: v = __fadd_rn(v, p.s); break;
        case SPARSE: v = fmaxf(__fsub_rn(v, least), 0.0f); break;
        case HIDE: v = i >= p.from && i < p.to && !(p.first_only && row > 0) ? -3.402823466e+38f : v; break;
        case CLAMP: v = v != v ? v : held(v, p.s); break;
        case SOFTCAP: v = __fmul_rn(p.s, tanhf(__fdiv_rn(v, p.s))); break;
        case ACT: v = act(p.act, v); break;
        }
        out[i] = v;
    }
}

// out[i] = rows[i] of x
extern "C" __global__ void pick_rows(const float *x, const u32 *rows, float *out, u32 width) {
    const float *from = x + (u64)rows[blockIdx.x] * width;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) out[(u64)blockIdx.x * width + i] = from[i];
}

struct Columns {
    const float *x;
    float *out;
    u32 x_width, out_width, first, step, len;
    // Columns of the output: of the first time, and from time to time.
    u32 at, pitch, n;
};

// `len` columns, n times.
extern "C" __global__ void columns(Columns p) {
    const float *x = p.x + (u64)blockIdx.x * p.x_width;
    float *out = p.out + (u64)blockIdx.x * p.out_width;
    for (u32 i = threadIdx.x; i < p.n * p.len; i += blockDim.x)
        out[p.at + i / p.len * p.pitch + i % p.len] = x[p.first + i / p.len * p.step + i % p.len];
}

// Each part of `out` is a sum of the `n` parts of `x`, in order: coef is [parts of out][n].
extern "C" __global__ void mix(const float *x, const float *coef, float *out, u32 n, u32 width, u32 n_out) {
    x += (u64)blockIdx.x * n * width, coef += (u64)blockIdx.x * n_out * n, out += (u64)blockIdx.x * n_out * width;
    for (u32 i = threadIdx.x; i < n_out * width; i += blockDim.x) {
        float v = 0.0f;
        for (u32 j = 0; j < n; j++) v = __fmaf_rn(x[j * width + i % width], coef[i / width * n + j], v);
        out[i] = v;
    }
}

struct Low {
    float *y;
    const float *z, *b, *by;
    // Experts of the rows; null: one matrix.
    const u32 *ids;
    u32 width, rank, b_width, first, n_mat;
    float scale;
};

// y += scale * by * z b, in order of rank; then the sum is added as one.
extern "C" __global__ void add_low(Low p) {
    const u64 row = blockIdx.x;
    const float *z = p.z + row * p.rank, *b = p.b + (p.ids ? (u64)min(p.ids[row], p.n_mat - 1) * p.rank * p.b_width : 0);
    const float scale = p.by ? __fmul_rn(p.scale, *p.by) : p.scale;
    for (u32 i = threadIdx.x; i < p.width; i += blockDim.x) {
        float v = 0.0f;
        for (u32 r = 0; r < p.rank; r++) v = __fmaf_rn(z[r], b[(u64)r * p.b_width + p.first + i], v);
        float *y = p.y + row * p.width + i;
        *y = __fmaf_rn(v, scale, *y);
    }
}

// Row p of out is row p / per of x times weights[p].
extern "C" __global__ void weigh(const float *x, const float *weights, float *out, u32 width, u32 per) {
    const float *from = x + (u64)(blockIdx.x / per) * width;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) out[(u64)blockIdx.x * width + i] = __fmul_rn(from[i], weights[blockIdx.x]);
}

#define GROUP_THREADS 512

// Rows by the matrix that each goes to: `list` has their numbers, those of matrix i from starts[i] on, in any order. One block; shared: n_mat + 1 numbers.
extern "C" __global__ void __launch_bounds__(GROUP_THREADS) group(const u32 *ids, u32 n, u32 n_mat, u32 *starts, u32 *list) {
    extern __shared__ u32 next[];
    for (u32 i = threadIdx.x; i <= n_mat; i += GROUP_THREADS) next[i] = 0;
    __syncthreads();
    for (u32 i = threadIdx.x; i < n; i += GROUP_THREADS) atomicAdd(&next[min(ids[i], n_mat - 1) + 1], 1u);
    __syncthreads();
    if (threadIdx.x == 0)
        for (u32 i = 0; i < n_mat; i++) next[i + 1] += next[i];
    __syncthreads();
    for (u32 i = threadIdx.x; i <= n_mat; i += GROUP_THREADS) starts[i] = next[i];
    __syncthreads();
    for (u32 i = threadIdx.x; i < n; i += GROUP_THREADS) list[atomicAdd(&next[min(ids[i], n_mat - 1)], 1u)] = i;
}

// A token's sum over its ranks, in their order. Null weights: each counts once.
extern "C" __global__ void sum_ranks(const float *x, const float *weights, float *out, u32 width, u32 n) {
    const u64 token = blockIdx.x;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        float v = 0.0f;
        for (u32 r = 0; r < n; r++) v = __fmaf_rn(x[(token * n + r) * width + i], weights ? weights[token * n + r] : 1.0f, v);
        out[token * width + i] = v;
    }
}

// Inputs of products as int8: 32 elements share a scale; the sums of both halves go beside. A warp has 32 elements, grid: (terms, rows).
// `lost`: what rounding took away, instead of nothing.
extern "C" __global__ void __launch_bounds__(32) to_int8(const float *x, i8 *q, float *scales, short2 *sums, float *lost, u32 k) {
    const u64 row = blockIdx.y, at = row * k + 32 * blockIdx.x + threadIdx.x, block = row * (k / 32) + blockIdx.x;
    const float v = x[at];
    const float d = __fdiv_rn(warp_max(fabsf(v)), 127.0f);
    const float id = d > 0.0f ? __fdiv_rn(1.0f, d) : 0.0f;
    const int n = (int)rintf(fminf(fmaxf(__fmul_rn(v, id), -127.0f), 127.0f));
    q[at] = (i8)n;
    if (lost) lost[at] = __fsub_rn(v, __fmul_rn((float)n, d));
    int sum = n;
    for (int i = 8; i > 0; i /= 2) sum += __shfl_xor_sync(~0u, sum, i);
    const int other = __shfl_xor_sync(~0u, sum, 16);
    if (threadIdx.x == 0) {
        scales[block] = d;
        sums[block] = make_short2((short)sum, (short)other);
    }
}

struct Route {
    const float *logits, *bias;
    u32 *ids;
    float *weights;
    u32 n, n_used, gate, by_logit, renorm, n_group, n_group_used, each;
    float scale;
};

// Sorts as the value does; -0 equals 0, NaN is above everything.
DEV int key(float v) {
    int bits = __float_as_int(v + 0.0f);
    return bits ^ (int)((u32)(bits >> 31) >> 1);
}

// The best of 0..n (value down, index up) behind `last` that `open` admits; the same in all lanes. -1: none.
template <class V, class O> DEV int next_best(int n, V value, O open, int last) {
    const int last_key = last >= 0 ? key(value(last)) : 0;
    int best = -1, best_key = 0;
    for (int i = threadIdx.x; i < n; i += 32) {
        if (!open(i)) continue;
        int k = key(value(i));
        bool after = last < 0 || k < last_key || (k == last_key && i > last);
        if (after && (best < 0 || k > best_key)) best = i, best_key = k;
    }
    for (int apart = 16; apart > 0; apart /= 2) {
        int i = __shfl_xor_sync(~0u, best, apart), k = __shfl_xor_sync(~0u, best_key, apart);
        if (i >= 0 && (best < 0 || k > best_key || (k == best_key && i < best))) best = i, best_key = k;
    }
    return best;
}

DEV void softmax(float *x, u32 n) {
    float m = -__int_as_float(0x7f800000);
    for (u32 i = threadIdx.x; i < n; i += 32) m = fmaxf(m, x[i]);
    m = warp_max(m);
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < n; i += 32) sum += (double)expf(x[i] - m);
    const float inv = (float)(1.0 / warp_sum(sum));
    __syncwarp();
    for (u32 i = threadIdx.x; i < n; i += 32) x[i] = __fmul_rn(expf(x[i] - m), inv);
    __syncwarp();
}

// grid: tokens, a warp each; shared: n floats, then n_used numbers.
extern "C" __global__ void __launch_bounds__(32) route(Route p) {
    extern __shared__ float x[];
    u32 *ids = (u32 *)(x + p.n);
    float *w = p.weights + (u64)blockIdx.x * p.n_used;
    for (u32 i = threadIdx.x; i < p.n; i += 32) x[i] = p.logits[(u64)blockIdx.x * p.n + i];
    __syncwarp();
    auto value = [&](int i) { return p.bias ? __fadd_rn(x[i], p.bias[i]) : x[i]; };
    auto choose = [&]() {
        u64 open = ~0ull;
        u32 size = p.n;
        if (p.n_group > 1 && p.n_group <= 64 && p.n >= 2 * p.n_group) {
            size = p.n / p.n_group;
            __shared__ float score[64];
            for (u32 g = 0; g < p.n_group; g++) {
                auto mine = [&](int i) { return value(g * size + i); };
                auto all = [](int) { return true; };
                int a = next_best(size, mine, all, -1), b = next_best(size, mine, all, a);
                if (threadIdx.x == 0) score[g] = __fadd_rn(__fadd_rn(0.0f, mine(a)), mine(b < 0 ? a : b));
            }
            __syncwarp();
            open = 0;
            int last = -1;
            for (u32 i = 0; i < min(p.n_group_used, p.n_group); i++) {
                int g = next_best(p.n_group, [&](int i) { return score[i]; }, [](int) { return true; }, last);
                last = g < 0 ? last : g;
                open |= 1ull << last;
            }
        }
        int last = -1;
        for (u32 r = 0; r < p.n_used; r++) {
            int i = next_best(p.n, value, [&](int i) { return i / size < 64 && (open >> (i / size) & 1); }, last);
            last = i < 0 ? last : i;
            if (threadIdx.x == 0) ids[r] = last < 0 ? 0 : last;
        }
        __syncwarp();
    };
    const bool first = p.by_logit || p.gate == 2;
    if (first) choose();
    if (p.gate == 0) softmax(x, p.n);
    if (p.gate == 1)
        for (u32 i = threadIdx.x; i < p.n; i += 32) x[i] = sigmoid(x[i]);
    __syncwarp();
    if (!first) choose();
    if (threadIdx.x == 0) {
        for (u32 r = 0; r < p.n_used; r++) w[r] = x[ids[r]];
    }
    __syncwarp();
    if (p.gate == 2) softmax(w, p.n_used);
    if (threadIdx.x != 0) return;
    if (p.each > 1)
        for (u32 r = 0; r < p.n_used; r++) {
            ids[r] /= p.each;
            w[r] = x[ids[r]];
        }
    double sum = 0.0;
    for (u32 r = 0; r < p.n_used; r++) sum += (double)w[r];
    float s = (float)sum;
    // The smallest normal f16.
    if (s < 6.103515625e-5f) s = 6.103515625e-5f;
    for (u32 r = 0; r < p.n_used; r++) {
        float v = p.renorm ? __fdiv_rn(w[r], s) : w[r];
        w[r] = p.scale != 0.0f && p.scale != 1.0f ? __fmul_rn(v, p.scale) : v;
        p.ids[(u64)blockIdx.x * p.n_used + r] = ids[r];
    }
}
