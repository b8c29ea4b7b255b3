//! What decides the bits of a sequence's K and V rows besides its tokens, as text: where two contexts say the same, rows of one are rows of the
//! other. Settings that change no bit are not in it: threads, batch sizes, context size, cell layout, `swa_full`.
use super::Context;
use super::params::rope_settings;
use super::runner::Runner;
use crate::memory::hadamard;
use crate::model::hparams::RopeScaling;
use std::fmt::Write;

/// Of the sources that compute, the compiler and its settings; made by build.rs. Bits are promised within one build.
const BUILD: &str = env!("CAMELID_BUILD");

impl Context {
    /// Whether rows can be had from elsewhere instead of computing them: the one place where that is asked. `Err` says why not. Every model
    /// promises the same bits for any batch split today; one that cannot (a recurrent scan) says so here.
    pub fn is_batch_invariant(&self) -> Result<(), &'static str> {
        if self.model.encodes() {
            return Err("nothing is kept, or it depends on what was encoded before");
        }
        if self.runners().any(Runner::streams) {
            return Err("large batches are computed on another device than small ones (op_offload)");
        }
        match self.memory().compat() && self.memory().first_ring().is_some() {
            true => Err("with CAMELID_COMPAT windows may lose cells that tokens should have seen"),
            false => Ok(()),
        }
    }

    pub fn identity(&self) -> platform::Result<String> {
        let (m, p) = (&self.model, &self.params);
        let mut s = format!("camelid {} build {BUILD} libm {:016x}\n", env!("CARGO_PKG_VERSION"), libm());
        let devices: Vec<String> = m.backends.iter().map(|b| b.identity()).collect();
        let _ = writeln!(s, "devices {devices:?}, layers on {:?}, head on {}, rows with them {}", m.place, m.head_place, p.offload_kqv);
        let at: Vec<u8> = m.weights.iter().flat_map(|w| w.shards[0].buf.device().0.to_le_bytes()).collect();
        let _ = writeln!(s, "weights at {:016x}", platform::hash::of(&at));
        let _ = writeln!(s, "model {} {:?}\nweights {:016x}", m.arch.name, m.hp, m.fingerprint()?);
        let _ = writeln!(s, "kv {} {} as is {} causal {}", p.type_k.name(), p.type_v.name(), hadamard::disabled(), self.causal());
        // All that context size decides: which of its two lists of factors LongRoPE takes.
        let long = m.hp.rope.scaling == RopeScaling::LongRope && self.sizes.n_ctx_seq > m.hp.rope.n_ctx_orig;
        let _ = writeln!(s, "{:?} long {long}", rope_settings(m, p));
        s += &self.applied.identity();
        Ok(s)
    }
}

/// The system's mathematics are not ours and may differ between two machines with one cache: what they say of some numbers.
fn libm() -> u64 {
    let one = |i: u32| {
        let x = std::hint::black_box(i as f32 * 0.731 + 0.01);
        [x.sin(), x.cos(), (-x).exp(), x.ln(), x.tanh(), (x + 1.0).powf(-0.37)]
    };
    let bits: Vec<u8> = (0..64).flat_map(one).flat_map(|v| v.to_bits().to_le_bytes()).collect();
    platform::hash::of(&bits)
}
