// Weight formats, one after the other: how 32 elements of a row become eight words of int8 with a factor for each half, and perhaps
// a number that is taken away for each. The layouts are said in src/quant; here is only how a lane reads them.
//
//   w[i] = factor[i / 16] * q[i] - min[i / 16]
//
// BYTES, ELEMENTS: of a block. HALVES 1: both halves have factor[0]. MINS 0: none, 1: min[0] for both, 2: one each.
#pragma once
#include "common.cuh"

struct Sub {
    u32 q[8];
    float factor[2];
    float min[2];
};

// Where each code book begins in the table of bytes that the library brings along.
struct Books {
    const u64 *iq2_xxs, *iq2_xs, *iq2_s, *iq1;
    const u32 *iq3_xxs, *iq3_s;
};

// Bytes of a - b, each by itself; no byte of a is less than 128 below b's.
DEV u32 bytes_less(u32 a, u32 b) { return __vsub4(a, b); }

// Each nibble of the low ones of four bytes by a table of sixteen signed bytes.
DEV u32 look_up(u32 nibbles, u32 t0, u32 t1, u32 t2, u32 t3) {
    u32 sel = (nibbles & 0xf) | (nibbles >> 4 & 0xf0) | (nibbles >> 8 & 0xf00) | (nibbles >> 12 & 0xf000);
    u32 low = __byte_perm(t0, t1, sel & 0x7777), high = __byte_perm(t2, t3, sel & 0x7777);
    // All ones in bytes whose number is 8 or more.
    u32 top = (nibbles >> 3 & 0x01010101) * 0xff;
    return (low & ~top) | (high & top);
}

// -127 -104 -83 -65 | -49 -35 -22 -10 | 1 13 25 38 | 53 69 89 113
DEV u32 iq4_values(u32 n) { return look_up(n, 0xbfad9881, 0xf6eaddcf, 0x26190d01, 0x71594535); }
// Twice 0 .5 1 1.5 | 2 3 4 6, then the same below zero.
DEV u32 fp4_values(u32 n) { return look_up(n, 0x03020100, 0x0c080604, 0xfdfeff00, 0xf4f8fafc); }

// Bit i of four becomes byte i, 0 or 1.
DEV u32 spread4(u32 bits) { return (bits & 1) | (bits & 2) << 7 | (bits & 4) << 14 | (bits & 8) << 21; }

// Bytes with the sign bits of four: negated where a bit is one.
DEV u32 signed4(u32 v, u32 bits) {
    u32 all = spread4(bits) * 0xff;
    return __vsub4(v ^ all, all);
}

// Seven signs and the eighth, which makes their number even.
DEV u32 eight_signs(u32 seven) { return seven | (__popc(seven) & 1) << 7; }

struct Q8_0 {
    enum { BYTES = 34, ELEMENTS = 32, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int, const Books &, Sub &s) {
        for (int i = 0; i < 8; i++) s.q[i] = word<2>(b + 2 + 4 * i);
        s.factor[0] = f16_to_f32(half_word<2>(b));
    }
};

struct Q4_0 {
    enum { BYTES = 18, ELEMENTS = 32, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int, const Books &, Sub &s) {
        for (int i = 0; i < 4; i++) {
            u32 v = word<2>(b + 2 + 4 * i);
            s.q[i] = bytes_less(v & 0x0f0f0f0f, 0x08080808);
            s.q[i + 4] = bytes_less(v >> 4 & 0x0f0f0f0f, 0x08080808);
        }
        s.factor[0] = f16_to_f32(half_word<2>(b));
    }
};

struct Q4_1 {
    enum { BYTES = 20, ELEMENTS = 32, HALVES = 1, MINS = 1 };
    static __device__ __forceinline__ void read(const u8 *b, int, const Books &, Sub &s) {
        for (int i = 0; i < 4; i++) {
            u32 v = word<2>(b + 4 + 4 * i);
            s.q[i] = v & 0x0f0f0f0f;
            s.q[i + 4] = v >> 4 & 0x0f0f0f0f;
        }
        s.factor[0] = f16_to_f32(half_word<2>(b));
        s.min[0] = -f16_to_f32(half_word<2>(b + 2));
    }
};

struct Q5_0 {
    enum { BYTES = 22, ELEMENTS = 32, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int, const Books &, Sub &s) {
        u32 top = word<2>(b + 2);
        for (int i = 0; i < 4; i++) {
            u32 v = word<2>(b + 6 + 4 * i);
            s.q[i] = bytes_less((v & 0x0f0f0f0f) | spread4(top >> 4 * i) << 4, 0x10101010);
            s.q[i + 4] = bytes_less((v >> 4 & 0x0f0f0f0f) | spread4(top >> (16 + 4 * i)) << 4, 0x10101010);
        }
        s.factor[0] = f16_to_f32(half_word<2>(b));
    }
};

struct Q5_1 {
    enum { BYTES = 24, ELEMENTS = 32, HALVES = 1, MINS = 1 };
    static __device__ __forceinline__ void read(const u8 *b, int, const Books &, Sub &s) {
        u32 top = word<2>(b + 4);
        for (int i = 0; i < 4; i++) {
            u32 v = word<2>(b + 8 + 4 * i);
            s.q[i] = (v & 0x0f0f0f0f) | spread4(top >> 4 * i) << 4;
            s.q[i + 4] = (v >> 4 & 0x0f0f0f0f) | spread4(top >> (16 + 4 * i)) << 4;
        }
        s.factor[0] = f16_to_f32(half_word<2>(b));
        s.min[0] = -f16_to_f32(half_word<2>(b + 2));
    }
};

struct IQ4_NL {
    enum { BYTES = 18, ELEMENTS = 32, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int, const Books &, Sub &s) {
        for (int i = 0; i < 4; i++) {
            u32 v = word<2>(b + 2 + 4 * i);
            s.q[i] = iq4_values(v & 0x0f0f0f0f);
            s.q[i + 4] = iq4_values(v >> 4 & 0x0f0f0f0f);
        }
        s.factor[0] = f16_to_f32(half_word<2>(b));
    }
};

struct MXFP4 {
    enum { BYTES = 17, ELEMENTS = 32, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int, const Books &, Sub &s) {
        for (int i = 0; i < 4; i++) {
            u32 v = word<1>(b + 1 + 4 * i);
            s.q[i] = fp4_values(v & 0x0f0f0f0f);
            s.q[i + 4] = fp4_values(v >> 4 & 0x0f0f0f0f);
        }
        s.factor[0] = __uint_as_float(b[0] < 2 ? 0x00200000u << b[0] : (u32)(b[0] - 1) << 23);
    }
};

struct NVFP4 {
    enum { BYTES = 36, ELEMENTS = 64, HALVES = 2, MINS = 0 };
    static __device__ __forceinline__ float scale(u8 e) {
        u32 x = e >> 3 & 15, m = e & 7;
        if (e == 0x7f) return 0.0f;
        return x == 0 ? m / 1024.0f : (8 + m) / 2048.0f * (float)(1u << x);
    }
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int h = 0; h < 2; h++) {
            for (int i = 0; i < 2; i++) {
                u32 v = word<4>(b + 4 + 16 * j + 8 * h + 4 * i);
                s.q[4 * h + i] = fp4_values(v & 0x0f0f0f0f);
                s.q[4 * h + i + 2] = fp4_values(v >> 4 & 0x0f0f0f0f);
            }
            s.factor[h] = scale(b[2 * j + h]);
        }
    }
};

struct Q1_0 {
    enum { BYTES = 18, ELEMENTS = 128, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        u32 bits = word<2>(b + 2 + 4 * j);
        for (int i = 0; i < 8; i++) s.q[i] = bytes_less(spread4(bits >> 4 * i) * 2, 0x01010101);
        s.factor[0] = f16_to_f32(half_word<2>(b));
    }
};

struct Q2_0 {
    enum { BYTES = 18, ELEMENTS = 64, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int i = 0; i < 8; i++) {
            u32 v = b[2 + 8 * j + i];
            s.q[i] = bytes_less((v & 3) | (v & 12) << 6 | (v & 48) << 12 | (v & 192) << 18, 0x01010101);
        }
        s.factor[0] = f16_to_f32(half_word<2>(b));
    }
};

// The two-bit formats: per half of 128, byte l of 32 holds elements l, l + 32, l + 64, l + 96.
template <int A> DEV u32 two_bits(const u8 *qs, int j, int i) { return word<A>(qs + j / 4 * 32 + 4 * i) >> 2 * (j % 4) & 0x03030303; }

struct Q2_K {
    enum { BYTES = 84, ELEMENTS = 256, HALVES = 2, MINS = 2 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int i = 0; i < 8; i++) s.q[i] = two_bits<4>(b + 16, j, i);
        float d = f16_to_f32(half_word<2>(b + 80)), dmin = f16_to_f32(half_word<2>(b + 82));
        for (int h = 0; h < 2; h++) {
            u8 sc = b[2 * j + h];
            s.factor[h] = __fmul_rn(d, (float)(sc & 15));
            s.min[h] = __fmul_rn(dmin, (float)(sc >> 4));
        }
    }
};

struct Q3_K {
    enum { BYTES = 110, ELEMENTS = 256, HALVES = 2, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int i = 0; i < 8; i++) {
            u32 top = word<2>(b + 4 * i) >> j & 0x01010101;
            s.q[i] = bytes_less(two_bits<2>(b + 32, j, i) | top << 2, 0x04040404);
        }
        float d = f16_to_f32(half_word<2>(b + 108));
        for (int h = 0; h < 2; h++) {
            int g = 2 * j + h;
            int sc = (b[96 + g % 8] >> 4 * (g / 8) & 15) | (b[104 + g % 4] >> 2 * (g / 4) & 3) << 4;
            s.factor[h] = __fmul_rn(d, (float)(sc - 32));
        }
    }
};

// The six-bit scale and min of 32 elements of Q4_K and Q5_K.
DEV void scale_min(const u8 *s, int j, float d, float dmin, Sub &sub) {
    int sc, m;
    if (j < 4) {
        sc = s[j] & 63;
        m = s[j + 4] & 63;
    } else {
        sc = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        m = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
    sub.factor[0] = __fmul_rn(d, (float)sc);
    sub.min[0] = __fmul_rn(dmin, (float)m);
}

struct Q4_K {
    enum { BYTES = 144, ELEMENTS = 256, HALVES = 1, MINS = 1 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int i = 0; i < 8; i++) s.q[i] = word<4>(b + 16 + j / 2 * 32 + 4 * i) >> 4 * (j % 2) & 0x0f0f0f0f;
        scale_min(b + 4, j, f16_to_f32(half_word<2>(b)), f16_to_f32(half_word<2>(b + 2)), s);
    }
};

struct Q5_K {
    enum { BYTES = 176, ELEMENTS = 256, HALVES = 1, MINS = 1 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int i = 0; i < 8; i++) {
            u32 top = word<4>(b + 16 + 4 * i) >> j & 0x01010101;
            s.q[i] = (word<4>(b + 48 + j / 2 * 32 + 4 * i) >> 4 * (j % 2) & 0x0f0f0f0f) | top << 4;
        }
        scale_min(b + 4, j, f16_to_f32(half_word<2>(b)), f16_to_f32(half_word<2>(b + 2)), s);
    }
};

struct Q6_K {
    enum { BYTES = 210, ELEMENTS = 256, HALVES = 2, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int i = 0; i < 8; i++) {
            u32 low = word<2>(b + 64 * (j / 4) + 32 * (j % 2) + 4 * i) >> 4 * (j / 2 % 2) & 0x0f0f0f0f;
            u32 high = word<2>(b + 128 + 32 * (j / 4) + 4 * i) >> 2 * (j % 4) & 0x03030303;
            s.q[i] = bytes_less(low | high << 4, 0x20202020);
        }
        float d = f16_to_f32(half_word<2>(b + 208));
        for (int h = 0; h < 2; h++) s.factor[h] = __fmul_rn(d, (float)(i8)b[192 + 2 * j + h]);
    }
};

struct IQ4_XS {
    enum { BYTES = 136, ELEMENTS = 256, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int i = 0; i < 4; i++) {
            u32 v = word<4>(b + 8 + 16 * j + 4 * i);
            s.q[i] = iq4_values(v & 0x0f0f0f0f);
            s.q[i + 4] = iq4_values(v >> 4 & 0x0f0f0f0f);
        }
        int sc = (b[4 + j / 2] >> 4 * (j % 2) & 15) | (half_word<2>(b + 2) >> 2 * j & 3) << 4;
        s.factor[0] = __fmul_rn(f16_to_f32(half_word<2>(b)), (float)(sc - 32));
    }
};

struct TQ2_0 {
    enum { BYTES = 66, ELEMENTS = 256, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int i = 0; i < 8; i++) s.q[i] = bytes_less(two_bits<2>(b, j, i), 0x01010101);
        s.factor[0] = f16_to_f32(half_word<2>(b + 64));
    }
};

struct TQ1_0 {
    enum { BYTES = 54, ELEMENTS = 256, HALVES = 1, MINS = 0 };
    // Five digits to a byte: elements m, m + 32 .. of 32 bytes, then 160 + m, 176 + m .. of 16, then four of each of the last four.
    static __device__ __forceinline__ u32 digit(const u8 *b, int e) {
        const u8 *p;
        int n;
        if (e < 160) {
            p = b + e % 32;
            n = e / 32;
        } else if (e < 240) {
            p = b + 32 + (e - 160) % 16;
            n = (e - 160) / 16;
        } else {
            p = b + 48 + (e - 240) % 4;
            n = (e - 240) / 4;
        }
        u32 power = n == 0 ? 1 : n == 1 ? 3 : n == 2 ? 9 : n == 3 ? 27 : 81;
        return (*p * power & 0xff) * 3 >> 8;
    }
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &, Sub &s) {
        for (int i = 0; i < 8; i++) {
            u32 v = 0;
            for (int e = 0; e < 4; e++) v |= digit(b, 32 * j + 4 * i + e) << 8 * e;
            s.q[i] = bytes_less(v, 0x01010101);
        }
        s.factor[0] = f16_to_f32(half_word<2>(b + 52));
    }
};

// Eight elements of a code book at place i of eight words.
DEV void put8(Sub &s, int i, u64 v, u32 signs) {
    s.q[2 * i] = signed4((u32)v, signs);
    s.q[2 * i + 1] = signed4((u32)(v >> 32), signs >> 4);
}

struct IQ2_XXS {
    enum { BYTES = 66, ELEMENTS = 256, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &t, Sub &s) {
        const u8 *p = b + 2 + 8 * j;
        u32 rest = word<2>(p + 4);
        for (int i = 0; i < 4; i++) put8(s, i, t.iq2_xxs[p[i]], eight_signs(rest >> 7 * i & 127));
        s.factor[0] = __fmul_rn(f16_to_f32(half_word<2>(b)) * 0.125f, (float)(2 * (rest >> 28) + 1));
    }
};

// The factors of two four-bit scales in a byte.
DEV void nibble_factors(float d, u8 sc, Sub &s) {
    s.factor[0] = __fmul_rn(d, (float)(2 * (sc & 15) + 1));
    s.factor[1] = __fmul_rn(d, (float)(2 * (sc >> 4) + 1));
}

struct IQ2_XS {
    enum { BYTES = 74, ELEMENTS = 256, HALVES = 2, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &t, Sub &s) {
        for (int i = 0; i < 4; i++) {
            u32 v = half_word<2>(b + 2 + 8 * j + 2 * i);
            put8(s, i, t.iq2_xs[v & 511], eight_signs(v >> 9));
        }
        nibble_factors(f16_to_f32(half_word<2>(b)) * 0.125f, b[66 + j], s);
    }
};

struct IQ2_S {
    enum { BYTES = 82, ELEMENTS = 256, HALVES = 2, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &t, Sub &s) {
        for (int i = 0; i < 4; i++) put8(s, i, t.iq2_s[b[2 + 4 * j + i] | (b[66 + j] >> 2 * i & 3) << 8], b[34 + 4 * j + i]);
        nibble_factors(f16_to_f32(half_word<2>(b)) * 0.125f, b[74 + j], s);
    }
};

struct IQ3_XXS {
    enum { BYTES = 98, ELEMENTS = 256, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &t, Sub &s) {
        u32 rest = word<2>(b + 66 + 4 * j);
        for (int i = 0; i < 4; i++) {
            const u8 *p = b + 2 + 8 * j + 2 * i;
            put8(s, i, t.iq3_xxs[p[0]] | (u64)t.iq3_xxs[p[1]] << 32, eight_signs(rest >> 7 * i & 127));
        }
        s.factor[0] = __fmul_rn(f16_to_f32(half_word<2>(b)) * 0.25f, (float)(2 * (rest >> 28) + 1));
    }
};

struct IQ3_S {
    enum { BYTES = 110, ELEMENTS = 256, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &t, Sub &s) {
        u32 top = b[66 + j];
        for (int i = 0; i < 4; i++) {
            const u8 *p = b + 2 + 8 * j + 2 * i;
            u32 lo = p[0] | (top >> 2 * i & 1) << 8, hi = p[1] | (top >> (2 * i + 1) & 1) << 8;
            put8(s, i, t.iq3_s[lo] | (u64)t.iq3_s[hi] << 32, b[74 + 4 * j + i]);
        }
        s.factor[0] = __fmul_rn(f16_to_f32(half_word<2>(b)), (float)(2 * (b[106 + j / 2] >> 4 * (j % 2) & 15) + 1));
    }
};

// The entries are eighths and 32 too large; the second half of the book has those an eighth less.
DEV u64 iq1_entry(const Books &t, u32 number) { return t.iq1[number]; }

struct IQ1_S {
    enum { BYTES = 50, ELEMENTS = 256, HALVES = 1, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &t, Sub &s) {
        u32 qh = half_word<2>(b + 34 + 2 * j);
        for (int i = 0; i < 4; i++) {
            u64 v = iq1_entry(t, b[2 + 4 * j + i] | (qh >> 3 * i & 7) << 8 | (qh >> 15) << 11);
            s.q[2 * i] = bytes_less((u32)v, 0x20202020);
            s.q[2 * i + 1] = bytes_less((u32)(v >> 32), 0x20202020);
        }
        s.factor[0] = __fmul_rn(f16_to_f32(half_word<2>(b)) * 0.125f, (float)(2 * (qh >> 12 & 7) + 1));
    }
};

struct IQ1_M {
    enum { BYTES = 56, ELEMENTS = 256, HALVES = 2, MINS = 0 };
    static __device__ __forceinline__ void read(const u8 *b, int j, const Books &t, Sub &s) {
        u32 qh = half_word<2>(b + 32 + 2 * j), d = 0;
        for (int i = 0; i < 4; i++) {
            u64 v = iq1_entry(t, b[4 * j + i] | (qh >> 4 * i & 15) << 8);
            s.q[2 * i] = bytes_less((u32)v, 0x20202020);
            s.q[2 * i + 1] = bytes_less((u32)(v >> 32), 0x20202020);
            d |= (u32)(half_word<2>(b + 48 + 2 * i) >> 12) << 4 * i;
        }
        u32 sc = half_word<2>(b + 48 + j / 2 * 2) >> 6 * (j % 2);
        float f = f16_to_f32((u16)d) * 0.125f;
        for (int h = 0; h < 2; h++) s.factor[h] = __fmul_rn(f, (float)(2 * (sc >> 3 * h & 7) + 1));
    }
};
