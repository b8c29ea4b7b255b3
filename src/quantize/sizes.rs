//! The numbers of a model that the choice of types asks for, straight from its key/values: any architecture will do.
use crate::gguf::{Array, Meta, Value};
use platform::{Error, Result};

/// Architectures with rules of their own; files of them are quantised whether or not a model of them can be run here.
pub const GLM5_NEXT: &str = "glm5-next";
pub const FALCON: &str = "falcon";
/// In this one also other tensors than experts have three dimensions.
pub const BAILINGMOE3: &str = "bailingmoe3";

#[derive(Debug, Default)]
pub struct Sizes {
    pub arch: String,
    pub n_layer: u32,
    pub n_expert: u32,
    /// Heads per head of K and V, in the first layer.
    pub n_gqa: u32,
    /// The original calls it 70B, by its layers.
    pub is_70b: bool,
}

impl Sizes {
    pub fn of(meta: &Meta) -> Result<Sizes> {
        const ARCH: &str = "general.architecture";
        let arch = meta.required(ARCH, meta.str(ARCH))?.to_owned();
        let number = |name: &str| first(meta, &format!("{arch}.{name}"));
        let n_layer = number("block_count")?.unwrap_or(0);
        let n_head = number("attention.head_count")?.unwrap_or(0);
        let n_head_kv = number("attention.head_count_kv")?.unwrap_or(n_head);
        let decoding = n_layer.saturating_sub(number("nextn_predict_layers")?.unwrap_or(0));
        let n_expert = number("expert_count")?.filter(|n| *n > 1).unwrap_or(0);
        let is_70b = match (arch.as_str(), decoding) {
            ("llama" | "llama-embed", 80) => n_head != n_head_kv && n_expert != 8,
            ("qwen2" | "deci" | "olmo", 80) | ("jais2", 68) => true,
            _ => false,
        };
        Ok(Sizes { arch, n_layer, n_expert, n_gqa: n_head.checked_div(n_head_kv).unwrap_or(0), is_70b })
    }
}

/// A number, or the first of a list.
fn first(meta: &Meta, key: &str) -> Result<Option<u32>> {
    match meta.get(key) {
        Some(Value::Array(a)) => {
            let list = a.to_i64().ok_or_else(|| wrong(key, a))?;
            list.first().map(|v| u32::try_from(*v).map_err(|_| wrong(key, a))).transpose()
        }
        _ => meta.u32(key),
    }
}

fn wrong(key: &str, a: &Array) -> Error {
    Error::invalid(format!("key {key} holds {} values, expected u32", a.type_name()))
}
