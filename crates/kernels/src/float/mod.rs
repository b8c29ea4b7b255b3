//! Float kernels on rows of f32: norms, activations, rope, softmax, routing, the codecs of stored K and V.
//! Must not know tensors, threads or models.
//!
//! **Order.** Sums run in 16 fixed lanes (element i in lane i mod 16), in f64, joined by a fixed tree; a short tail counts as zeros.
//! AVX2 runs two halves of the same lanes, so both vector ISAs give the same bits; `Isa::Scalar` is the oracle and sums straight on.
//! Elementwise kernels give each element the same bits wherever it stands. Slices of one call have equal lengths; a shorter one
//! shortens the work or panics in debug builds, it is never overrun.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod math;
mod oracle;
mod rope;
mod route;
mod rows;
pub(crate) mod simd;
#[cfg(test)]
pub(crate) mod tests;

use crate::{DType, Impl, Isa, attn, isa::pick, quant};
pub use rope::{RopeFreq, RopeKind, RopeSections, rope_cache, rope_cache_multi};
pub use route::{Gate, RouteSpec, route, top_k};
use std::sync::OnceLock;

/// An activation. `glu` multiplies it by a second input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Silu,
    /// tanh form, computed exactly (the original's CPU looks f32 input up in an f16 table).
    GeluTanh,
    GeluErf,
    /// x * sigmoid(1.702 x).
    GeluQuick,
    Relu,
    ReluSqr,
    Sigmoid,
    /// Through the C library on every ISA.
    Softplus,
    Tanh,
    Exp,
}

/// Lists that `Table::max_of_middles` reads side by side.
pub const STREAMS: usize = 4;

/// Declares the kernels: for each a list of implementations, a field of `Table`, and a safe method that calls it.
/// A macro because `#[target_feature]` needs an item per ISA, which no generic function can make.
macro_rules! kernels {
    ($($(#[$doc:meta])* $list:ident: $name:ident($($a:ident: $t:ty),*) $(-> $r:ty)?;)*) => {
        $(pub(crate) const $list: &[Impl<unsafe fn($($t),*) $(-> $r)?>] = &[
            #[cfg(target_arch = "x86_64")]
            Impl { needs: Isa::Avx512, run: {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
                fn run($($a: $t),*) $(-> $r)? {
                    rows::$name(avx512::Avx512::new(), $($a),*)
                }
                run
            } },
            #[cfg(target_arch = "x86_64")]
            Impl { needs: Isa::Avx2, run: {
                #[target_feature(enable = "avx2,fma,f16c")]
                fn run($($a: $t),*) $(-> $r)? {
                    rows::$name(avx2::Avx2::new(), $($a),*)
                }
                run
            } },
            Impl { needs: Isa::Scalar, run: oracle::$name },
        ];)*

        /// One pointer per kernel. Only `table` makes one, and only for what this CPU can run: so the methods are safe.
        pub struct Table {
            isa: Isa,
            $($name: unsafe fn($($t),*) $(-> $r)?,)*
        }

        impl Table {
            fn new(isa: Isa) -> Table {
                Table { isa, $($name: pick($list, isa),)* }
            }
            $($(#[$doc])*
            #[inline]
            pub fn $name(&self, $($a: $t),*) $(-> $r)? {
                // SAFETY: the table was filled for a level this CPU has; the arguments are safe types.
                unsafe { (self.$name)($($a),*) }
            })*
        }
    };
}

kernels! {
    /// out = x / sqrt(mean(x^2) + eps) * w.
    RMS_NORM: rms_norm(x: &[f32], w: Option<&[f32]>, eps: f32, out: &mut [f32]);
    /// out = (x - mean) / sqrt(var + eps) * w + b.
    LAYER_NORM: layer_norm(x: &[f32], w: Option<&[f32]>, b: Option<&[f32]>, eps: f32, out: &mut [f32]);
    /// out = x / max(|x|, eps).
    L2_NORM: l2_norm(x: &[f32], eps: f32, out: &mut [f32]);
    ADD: add(x: &[f32], y: &[f32], out: &mut [f32]);
    /// x += y.
    ADD_TO: add_to(x: &mut [f32], y: &[f32]);
    /// x += y * s, two roundings.
    ADD_SCALED: add_scaled(x: &mut [f32], y: &[f32], s: f32);
    /// To each `y` is added `s` times the sum over `r` of `z[r] * b[r * width..]`, of that row's `z`: in order of `r`, fused; then two roundings.
    LOW_RANK: low_rank(y: &mut [&mut [f32]], z: &[&[f32]], b: &[f32], width: usize, s: f32);
    MUL: mul(x: &[f32], y: &[f32], out: &mut [f32]);
    SCALE: scale(x: &mut [f32], s: f32);
    /// x = cap * tanh(x / cap).
    SOFTCAP: softcap(x: &mut [f32], cap: f32);
    /// x = act(x).
    ACT: act(kind: Act, x: &mut [f32]);
    /// out = act(gate) * up.
    GLU: glu(kind: Act, gate: &[f32], up: &[f32], out: &mut [f32]);
    /// gpt-oss: g = min(gate, limit); out = g * sigmoid(alpha g) * (clamp(up, -limit, limit) + 1).
    GLU_OAI: glu_oai(gate: &[f32], up: &[f32], alpha: f32, limit: f32, out: &mut [f32]);
    /// Turns the first `n_rot` channels of one head by `cos_sin` `[n_rot / 2][2]`. Products and sums are rounded apart: same bits on every ISA.
    ROPE_ROWS: rope_rows(kind: RopeKind, x: &mut [f32], n_rot: usize, cos_sin: &[f32]);
    /// The orthonormal Walsh-Hadamard transform, its own inverse, of each `n` values (a power of two; what is left over stays): scaled, then sums and
    /// differences 1, 2, 4 ... apart, as the original has it. Same bits on every ISA.
    HADAMARD: hadamard(x: &mut [f32], n: usize);
    /// x = exp(x - max) / sum.
    SOFTMAX: softmax(x: &mut [f32]);
    /// The first index of the largest value; NaN loses to everything.
    ARGMAX: argmax(x: &[f32]) -> usize;
    /// Of each of four lists of triples, equally long, the largest middle one; NaN is passed over, -inf where there is none. Four, because
    /// memory is faster in several streams.
    MAX_OF_MIDDLES: max_of_middles(x: &[&[f32]; STREAMS], out: &mut [f32; STREAMS]);
    /// Float dot product: 16 lanes of f32, fused.
    DOT: dot(x: &[f32], y: &[f32]) -> f32;
    /// Nearest even, as all codecs here that ggml rounds so. `out` is little-endian bytes.
    F32_TO_F16: f32_to_f16(x: &[f32], out: &mut [u8]);
    F16_TO_F32: f16_to_f32(x: &[u8], out: &mut [f32]);
    F32_TO_BF16: f32_to_bf16(x: &[f32], out: &mut [u8]);
    BF16_TO_F32: bf16_to_f32(x: &[u8], out: &mut [f32]);
    /// ggml's reference rounding (half away from zero), bit by bit. A multiple of 32 values.
    F32_TO_Q8_0: f32_to_q8_0(x: &[f32], out: &mut [u8]);
    Q8_0_TO_F32: q8_0_to_f32(x: &[u8], out: &mut [f32]);
}

impl Table {
    /// The level this table was filled for.
    pub fn isa(&self) -> Isa {
        self.isa
    }
    /// Writes a row as type `t`; false: `t` is not a type K and V are stored in.
    pub fn encode_row(&self, t: DType, x: &[f32], out: &mut [u8]) -> bool {
        match t {
            DType::F32 => out.as_chunks_mut().0.iter_mut().zip(x).for_each(|(o, x)| *o = x.to_le_bytes()),
            DType::F16 => self.f32_to_f16(x, out),
            DType::BF16 => self.f32_to_bf16(x, out),
            DType::Q8_0 => self.f32_to_q8_0(x, out),
            _ => return attn::supports(t) && quant::from_f32(t, x, out),
        }
        true
    }
    /// Reads a row of type `t`; false as above.
    pub fn decode_row(&self, t: DType, x: &[u8], out: &mut [f32]) -> bool {
        match t {
            DType::F32 => out.iter_mut().zip(x.as_chunks().0).for_each(|(o, x)| *o = f32::from_le_bytes(*x)),
            DType::F16 => self.f16_to_f32(x, out),
            DType::BF16 => self.bf16_to_f32(x, out),
            DType::Q8_0 => self.q8_0_to_f32(x, out),
            _ => return attn::supports(t) && quant::to_f32(t, x, out),
        }
        true
    }
}

/// The kernels for level `isa`, or for the best this CPU has where that is less.
pub fn table(isa: Isa) -> &'static Table {
    static TABLES: [OnceLock<Table>; Isa::ALL.len()] = [const { OnceLock::new() }; Isa::ALL.len()];
    let isa = isa.or_less();
    TABLES[isa as usize].get_or_init(|| Table::new(isa))
}
