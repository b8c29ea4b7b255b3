//! Gemma 3: sliding windows with a full layer now and then, norms before and after each half, embeddings times sqrt(width).
use crate::model::hparams::HParams;
use crate::model::spec::*;

pub static GEMMA3: Arch = Arch {
    name: "gemma3",
    keys: &[req(Key::RmsEps), opt(Key::SlidingWindow), opt(Key::SwaPattern(6)), opt(Key::RopeBaseSwa), opt(Key::FinalSoftcap)],
    rope: RopeKind::Neox,
    rot_is_head: false,
    embed: Embed { scale: Scale::SqrtWidth },
    layer: |hp, il| LayerSpec {
        attn: Attention { qk_norm: true, ..windowed(hp, il) },
        ffn: dense(hp, il, Act::Gelu),
        norms: Norms::PreAndPost,
    },
    head: Head { bias: false, softcap: true },
    quirks: &[Quirk {
        when: |hp| hp.n_layer == 62,
        set: |hp, s| s.attn.scale = 1.0 / ((hp.n_embd / s.attn.n_head) as f32).sqrt(),
        why: "the 27B scales by width over heads, not by the head's size (gemma_pytorch config.py)",
    }],
    size: |hp| match hp.n_layer {
        18 => "270M",
        26 => "1B",
        32 => "8B",
        34 => "4B",
        48 => "12B",
        62 => "27B",
        _ => "?B",
    },
};

fn windowed(hp: &HParams, il: u32) -> Attention {
    let a = attention(hp, il, RopeKind::Neox);
    if !hp.is_swa[il as usize] {
        return a;
    }
    Attention { window: Window::Sliding(hp.n_swa), rope_base: RopeBase::Swa, ..a }
}
