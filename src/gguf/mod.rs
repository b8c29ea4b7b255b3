//! GGUF files: reading and writing. Hostile until bound; see `README.md`, "Threat model". Knows no model, no architecture, no vocabulary.
#![forbid(unsafe_code)]
mod check;
pub mod meta;
mod read;
mod source;
mod split;
#[cfg(test)]
mod tests;
mod text;
mod write;
pub use check::check_data;
pub use kernels::DType;
pub use meta::{Array, Meta, Override, OverrideValue, Value};
pub use read::{parse, parse_header, parse_key, parse_value, tensor_bytes};
pub use source::{LoadMode, Source};
pub use split::{split_path, split_prefix};
pub use text::FType;
pub use write::{Layout, NewTensor, type_number};

/// One tensor of a model: where it is and what it is. Checked: its bytes lie in its file and belong to nobody else.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    pub ty: DType,
    /// Elements per dimension, `ne[0]` (a row's length) first; unused ones are 1.
    pub shape: [u64; 4],
    pub n_dims: u32,
    /// Index of the split file.
    pub file: u16,
    /// From the start of that file.
    pub offset: u64,
    pub bytes: u64,
}

impl TensorInfo {
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// The headers of all files of a model: the first file's key/values, every file's tensors.
#[derive(Clone, Debug, Default)]
pub struct Gguf {
    pub meta: Meta,
    pub tensors: Vec<TensorInfo>,
    pub version: u32,
    pub alignment: u64,
    /// Where the first file's data section starts, from the start of that file.
    pub data_offset: u64,
}

impl Gguf {
    /// Linear; whoever binds many tensors makes a map.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|t| t.name == name)
    }
    /// Sum of all tensors' elements (`llama_model_n_params`).
    pub fn n_elements(&self) -> u64 {
        self.tensors.iter().map(TensorInfo::elements).sum()
    }
    /// Sum of all tensors' bytes (`llama_model_size`).
    pub fn n_bytes(&self) -> u64 {
        self.tensors.iter().map(|t| t.bytes).sum()
    }
}
