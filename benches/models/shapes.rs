//! The shapes of the models that are measured, as values: sizes as their files give them. What a tensor is called, how long its rows
//! are, what it is for. Must not know types of tensors.

/// What a tensor is for; types and spreads go by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    Embedding,
    Output,
    /// Also a fused qkv: the original counts that one as V.
    AttnV,
    FfnDown,
    /// Any other matrix.
    Matrix,
    /// Weights of the experts of a token: never quantised.
    Router,
    Norm,
    RopeFactors,
}

/// A tensor without its type.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub role: Role,
    pub layer: u64,
    /// `ne[0]`, a row's length, first.
    pub shape: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
pub enum Ffn {
    Dense,
    /// Gate and up are one matrix.
    Fused,
    Experts {
        n: u64,
        used: u32,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub arch: &'static str,
    pub title: &'static str,
    pub pre: &'static str,
    pub n_layer: u64,
    pub n_embd: u64,
    pub n_head: u64,
    pub n_head_kv: u64,
    pub head: u64,
    /// Of one expert, where there are experts.
    pub n_ff: u64,
    pub ffn: Ffn,
    pub n_vocab: u64,
    pub n_ctx: u32,
    pub rope_base: f32,
    /// The output matrix is the embedding.
    pub tied: bool,
    /// Q and K are normed per head.
    pub qk_norm: bool,
    pub qkv_fused: bool,
    /// A norm after attention and FFN as well.
    pub post_norms: bool,
    /// Of five layers in six; 0: none.
    pub window: u32,
    /// Llama 3's stretched rotations.
    pub rope_factors: bool,
}

const BASE: Shape = Shape {
    name: "",
    arch: "",
    title: "",
    pre: "qwen2",
    n_layer: 0,
    n_embd: 0,
    n_head: 0,
    n_head_kv: 0,
    head: 128,
    n_ff: 0,
    ffn: Ffn::Dense,
    n_vocab: 151_936,
    n_ctx: 40_960,
    rope_base: 1e6,
    tied: true,
    qk_norm: false,
    qkv_fused: false,
    post_norms: false,
    window: 0,
    rope_factors: false,
};

pub const SHAPES: &[Shape] = &[
    Shape {
        name: "llama-1b",
        arch: "llama",
        title: "Llama 3.2 1B",
        pre: "llama-bpe",
        n_layer: 16,
        n_embd: 2048,
        n_head: 32,
        n_head_kv: 8,
        head: 64,
        n_ff: 8192,
        n_vocab: 128_256,
        n_ctx: 131_072,
        rope_base: 500_000.0,
        rope_factors: true,
        ..BASE
    },
    Shape {
        name: "qwen3-0.6b",
        arch: "qwen3",
        title: "Qwen 3 0.6B",
        n_layer: 28,
        n_embd: 1024,
        n_head: 16,
        n_head_kv: 8,
        n_ff: 3072,
        qk_norm: true,
        ..BASE
    },
    Shape {
        name: "gemma3-1b",
        arch: "gemma3",
        title: "Gemma 3 1B",
        n_layer: 26,
        n_embd: 1152,
        n_head: 4,
        n_head_kv: 1,
        head: 256,
        n_ff: 6912,
        n_vocab: 262_144,
        n_ctx: 32_768,
        qk_norm: true,
        post_norms: true,
        window: 512,
        ..BASE
    },
    // Qwen 3 30B-A3B with half of its experts and a quarter of its layers, so that it is 2.8 GB as Q4_K_M and 4.8 GB as Q8_0:
    // 4.5 G parameters, 1.0 G of them for a token.
    Shape {
        name: "qwen3-moe",
        arch: "qwen3moe",
        title: "Qwen 3 MoE, 12 layers of 64 experts",
        n_layer: 12,
        n_embd: 2048,
        n_head: 32,
        n_head_kv: 4,
        n_ff: 768,
        ffn: Ffn::Experts { n: 64, used: 8 },
        tied: false,
        qk_norm: true,
        ..BASE
    },
    Shape {
        name: "phi3-mini",
        arch: "phi3",
        title: "Phi 3 mini 4k",
        n_layer: 32,
        n_embd: 3072,
        n_head: 32,
        n_head_kv: 32,
        head: 96,
        n_ff: 8192,
        ffn: Ffn::Fused,
        n_vocab: 32_064,
        n_ctx: 4096,
        rope_base: 10_000.0,
        tied: false,
        qkv_fused: true,
        ..BASE
    },
];

impl Shape {
    pub fn n_gqa(&self) -> u64 {
        self.n_head / self.n_head_kv
    }

    pub fn tensors(&self) -> Vec<Tensor> {
        let whole = |name: &str, role, shape| Tensor { name: format!("{name}.weight"), role, layer: 0, shape };
        let mut all = vec![whole("token_embd", Role::Embedding, vec![self.n_embd, self.n_vocab])];
        if self.rope_factors {
            all.push(whole("rope_freqs", Role::RopeFactors, vec![self.head / 2]));
        }
        all.extend((0..self.n_layer).flat_map(|il| self.layer(il)));
        all.push(whole("output_norm", Role::Norm, vec![self.n_embd]));
        if !self.tied {
            all.push(whole("output", Role::Output, vec![self.n_embd, self.n_vocab]));
        }
        all
    }

    fn layer(&self, layer: u64) -> Vec<Tensor> {
        let of_layer = |(name, role, shape): Part| Tensor { name: format!("blk.{layer}.{name}.weight"), role, layer, shape };
        self.attention().into_iter().chain(self.feed_forward()).map(of_layer).collect()
    }

    fn attention(&self) -> Vec<Part> {
        let (d, q, kv) = (self.n_embd, self.n_head * self.head, self.n_head_kv * self.head);
        let mut parts = vec![("attn_norm", Role::Norm, vec![d])];
        if self.qkv_fused {
            parts.push(("attn_qkv", Role::AttnV, vec![d, q + 2 * kv]));
        } else {
            parts.push(("attn_q", Role::Matrix, vec![d, q]));
            parts.push(("attn_k", Role::Matrix, vec![d, kv]));
            parts.push(("attn_v", Role::AttnV, vec![d, kv]));
        }
        if self.qk_norm {
            parts.extend(["attn_q_norm", "attn_k_norm"].map(|name| (name, Role::Norm, vec![self.head])));
        }
        parts.push(("attn_output", Role::Matrix, vec![q, d]));
        parts.extend(self.post_norms.then(|| ("post_attention_norm", Role::Norm, vec![d])));
        parts
    }

    fn feed_forward(&self) -> Vec<Part> {
        let (d, ff) = (self.n_embd, self.n_ff);
        let mut parts = vec![("ffn_norm", Role::Norm, vec![d])];
        match self.ffn {
            Ffn::Dense => {
                parts.extend(["ffn_gate", "ffn_up"].map(|name| (name, Role::Matrix, vec![d, ff])));
                parts.push(("ffn_down", Role::FfnDown, vec![ff, d]));
            }
            Ffn::Fused => {
                parts.push(("ffn_up", Role::Matrix, vec![d, 2 * ff]));
                parts.push(("ffn_down", Role::FfnDown, vec![ff, d]));
            }
            Ffn::Experts { n, .. } => {
                parts.push(("ffn_gate_inp", Role::Router, vec![d, n]));
                parts.extend(["ffn_gate_exps", "ffn_up_exps"].map(|name| (name, Role::Matrix, vec![d, ff, n])));
                parts.push(("ffn_down_exps", Role::FfnDown, vec![ff, d, n]));
            }
        }
        parts.extend(self.post_norms.then(|| ("post_ffw_norm", Role::Norm, vec![d])));
        parts
    }
}

type Part = (&'static str, Role, Vec<u64>);
