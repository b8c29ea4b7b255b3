//! What a tensor's name says: its kind, its layer, and whether it is one that is never quantised. Names as the original spells them in all files.

/// Kinds that the choice of types tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Embedding,
    AttnQ,
    AttnV,
    AttnK,
    AttnQkv,
    AttnKvB,
    AttnOutput,
    FfnUp,
    FfnGate,
    FfnDown,
    Output,
    Other,
}

/// The first that is found in a name.
const PARTS: &[(&str, Kind)] = &[
    ("attn_qkv.weight", Kind::AttnQkv),
    ("attn_kv_b.weight", Kind::AttnKvB),
    ("attn_v.weight", Kind::AttnV),
    ("attn_k.weight", Kind::AttnK),
    ("attn_q.weight", Kind::AttnQ),
    ("attn_output.weight", Kind::AttnOutput),
    ("ffn_up", Kind::FfnUp),
    ("ffn_gate", Kind::FfnGate),
    ("ffn_down", Kind::FfnDown),
];

pub const PER_LAYER_EMBEDDING: &str = "per_layer_token_embd.weight";

impl Kind {
    pub fn of(name: &str) -> Kind {
        match name {
            "output.weight" => Kind::Output,
            "token_embd.weight" | PER_LAYER_EMBEDDING => Kind::Embedding,
            _ => PARTS.iter().find(|p| name.contains(p.0)).map_or(Kind::Other, |p| p.1),
        }
    }
    /// V, alone or with others.
    pub fn is_v(self) -> bool {
        matches!(self, Kind::AttnV | Kind::AttnQkv | Kind::AttnKvB)
    }
}

/// Small, sensitive, or not multiplied with: names with one of these stay.
const NEVER: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// The same for one architecture.
const NEVER_IN_GLM5_NEXT: &[&str] = &[
    "hc_",
    "indexer.attn_q_b",
    "indexer.attn_k",
    "indexer.proj",
    "indexer_compressor_gate",
    "indexer_compressor_ape",
    "ssm_f_a.weight",
    "ssm_f_b.weight",
    "ssm_g_a.weight",
    "ssm_g_b.weight",
    "ssm_beta.weight",
    "attn_kv_a_mqa.weight",
    "attn_k_b.weight",
    "attn_v_b.weight",
];

/// Positions and token types: whole names.
const NEVER_AS_A_WHOLE: &[&str] = &["position_embd.weight", "token_types.weight"];

/// Whether a matrix of this name may change its type.
pub fn may_change(name: &str, arch: &str) -> bool {
    let has = |list: &[&str]| list.iter().any(|part| name.contains(part));
    let stays = has(NEVER) || NEVER_AS_A_WHOLE.contains(&name) || arch == super::sizes::GLM5_NEXT && has(NEVER_IN_GLM5_NEXT);
    name.ends_with("weight") && !stays
}

/// The layer's number in `blk.N.`, and where its digits are; at the start of the name or anywhere in it.
pub fn layer(name: &str) -> Option<(i32, std::ops::Range<usize>)> {
    name.match_indices("blk.").find_map(|(at, part)| {
        let start = at + part.len();
        let n = name[start..].bytes().take_while(u8::is_ascii_digit).count();
        let range = start..start + n;
        name[range.end..].starts_with('.').then(|| name[range.clone()].parse().ok()).flatten().map(|n| (n, range))
    })
}

/// Tensors stand in files by layer, those without one first, then by name.
pub fn order(name: &str) -> (i64, &str) {
    let digits = name.strip_prefix("blk.").map_or("", |r| &r[..r.find(|c: char| !c.is_ascii_digit()).unwrap_or(r.len())]);
    (digits.parse().unwrap_or(-1), name)
}
