//! Rotary positions: the angles of one token (YaRN and sections as ggml has them), and the rotation of one head.
//! Must not know where rows are stored.
//!
//! Angles are built by repeated multiplication and through the C library's `cosf`, `sinf`, `powf`, `logf`: the original does,
//! and at large positions another order gives visibly other logits.

/// Which two channels turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeKind {
    /// Neighbours: (2i, 2i + 1).
    Norm,
    /// Halves: (i, i + n_rot / 2). The sectioned kinds rotate this way too.
    Neox,
}

/// What ggml_rope_ext is given besides the position.
#[derive(Clone, Copy, Debug)]
pub struct RopeFreq<'a> {
    /// Channels that turn, even.
    pub n_rot: usize,
    pub freq_base: f32,
    pub freq_scale: f32,
    pub ext_factor: f32,
    pub attn_factor: f32,
    pub beta_fast: f32,
    pub beta_slow: f32,
    pub n_ctx_orig: i32,
    /// One divisor per pair, `[n_rot / 2]`.
    pub factors: Option<&'a [f32]>,
}

/// How the four positions of one token (time, height, width, extra) share the pairs.
#[derive(Clone, Copy, Debug)]
pub struct RopeSections {
    /// Pairs per position kind; the pattern repeats after their sum.
    pub sections: [u32; 4],
    /// The kinds alternate t, h, w, t, h, w (the original's IMROPE) instead of standing in blocks.
    pub interleaved: bool,
}

impl RopeSections {
    /// Which of the four positions turns pair `i`.
    fn kind_of(&self, i: usize) -> usize {
        let sections = self.sections.map(u64::from);
        let [t, h, w, e] = sections;
        let sector = (i as u64) % (t + h + w + e).max(1);
        if self.interleaved {
            let kind = [0, 1, 2][(sector % 3) as usize];
            return if sector < 3 * sections[kind] { kind } else { 3 };
        }
        [t, t + h, t + h + w].iter().filter(|end| sector >= **end).count()
    }
}

/// YaRN's two corner dimensions: below the first a pair keeps its own frequency, above the second it is interpolated.
fn corr_dims(f: &RopeFreq) -> [f32; 2] {
    let dim =
        |n_turns: f32| f.n_rot as f32 * (f.n_ctx_orig as f32 / (n_turns * 2.0 * std::f32::consts::PI)).ln() / (2.0 * f.freq_base.ln());
    [dim(f.beta_fast).floor().max(0.0), dim(f.beta_slow).ceil().min(f.n_rot as f32 - 1.0)]
}

/// (cos, sin) of pair `i` at angle `theta` before scaling.
fn yarn(f: &RopeFreq, corr: [f32; 2], i: usize, theta: f32) -> (f32, f32) {
    let interpolated = f.freq_scale * theta;
    if f.ext_factor == 0.0 {
        return (interpolated.cos() * f.attn_factor, interpolated.sin() * f.attn_factor);
    }
    let along = (i as f32 - corr[0]) / (corr[1] - corr[0]).max(0.001);
    let mix = (1.0 - along.clamp(0.0, 1.0)) * f.ext_factor;
    // Fused this way round: so the compiler of the original's builds has it, and it shows in the angle at large positions.
    let angle = interpolated.mul_add(1.0 - mix, theta * mix);
    let magnitude = f.attn_factor * (1.0 + 0.1 * (1.0 / f.freq_scale).ln());
    (angle.cos() * magnitude, angle.sin() * magnitude)
}

/// Fills `out` `[n_rot / 2][2]` with (cos, sin) of the token at `pos`.
pub fn rope_cache(pos: i32, freq: &RopeFreq, out: &mut [f32]) {
    rope_cache_multi([pos; 4], &RopeSections { sections: [1, 0, 0, 0], interleaved: false }, freq, out);
}

/// As `rope_cache` for a token with four positions (M-RoPE). Vision rope, which restarts angles per section, is not here.
pub fn rope_cache_multi(pos: [i32; 4], sections: &RopeSections, freq: &RopeFreq, out: &mut [f32]) {
    let corr = corr_dims(freq);
    let theta_scale = freq.freq_base.powf(-2.0 / freq.n_rot as f32);
    let mut theta = pos.map(|p| p as f32);
    for (i, cs) in out.chunks_exact_mut(2).take(freq.n_rot / 2).enumerate() {
        let factor = freq.factors.and_then(|f| f.get(i)).copied().unwrap_or(1.0);
        (cs[0], cs[1]) = yarn(freq, corr, i, theta[sections.kind_of(i)] / factor);
        theta = theta.map(|t| t * theta_scale);
    }
}
