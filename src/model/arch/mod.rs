//! One value per architecture. This folder is the only place where their names stand.
mod cohere;
mod gemma;
mod llama;
mod openai;
mod phi;
mod qwen;

use super::spec::Arch;

/// Every architecture there is.
pub const ALL: &[&Arch] = &[
    &llama::LLAMA,
    &llama::LLAMA4,
    &llama::INTERNLM2,
    &llama::XVERSE,
    &llama::EXAONE,
    &qwen::QWEN2,
    &qwen::QWEN2MOE,
    &qwen::QWEN3,
    &qwen::QWEN3MOE,
    &gemma::GEMMA,
    &gemma::GEMMA2,
    &gemma::GEMMA3,
    &phi::PHI2,
    &phi::PHI3,
    &cohere::COMMAND_R,
    &cohere::COHERE2,
    &cohere::COHERE2MOE,
    &openai::GPT_OSS,
];

pub fn find(name: &str) -> Option<&'static Arch> {
    ALL.iter().copied().find(|a| a.name == name)
}

/// Stands for an architecture that is not there yet, where only the vocabulary of a file is asked for.
pub const VOCAB_ONLY: &Arch = &Arch { name: "(vocabulary)", ..llama::LLAMA };
