//! One value per architecture. This folder is the only place where their names stand.
mod alibi;
mod bert;
mod cohere;
mod deepseek;
mod diffusion;
mod exaone;
mod gated;
mod gemma;
mod glm;
mod gpt;
mod granite;
mod latent;
mod layernorm;
mod llama;
mod loops;
mod mixtures;
mod olmo;
mod openai;
mod phi;
mod qwen;
mod variants;
mod t5;

use super::spec::Arch;

/// Every architecture there is.
pub const ALL: &[&Arch] = &[
    &llama::LLAMA,
    &llama::LLAMA4,
    &llama::MISTRAL3,
    &llama::INTERNLM2,
    &llama::XVERSE,
    &llama::SMOLLM3,
    &llama::ARCEE,
    &llama::SEED_OSS,
    &llama::MAINCODER,
    &llama::PANGU_EMBEDDED,
    &llama::PLAMO,
    &llama::OPENELM,
    &exaone::EXAONE,
    &exaone::EXAONE4,
    &exaone::EXAONE_MOE,
    &qwen::QWEN,
    &qwen::QWEN2,
    &qwen::QWEN2MOE,
    &qwen::QWEN2VL,
    &qwen::QWEN3,
    &qwen::QWEN3MOE,
    &qwen::QWEN3TTS,
    &qwen::QWEN3VL,
    &qwen::QWEN3VLMOE,
    &gemma::GEMMA,
    &gemma::GEMMA2,
    &gemma::GEMMA3,
    &gemma::GEMMA_EMBEDDING,
    &gemma::GEMMA3N,
    &gemma::GEMMA4,
    &phi::PHI2,
    &phi::PHI3,
    &phi::PHIMOE,
    &cohere::COMMAND_R,
    &cohere::COHERE2,
    &cohere::COHERE2MOE,
    &openai::GPT_OSS,
    &granite::GRANITE,
    &granite::GRANITEMOE,
    &granite::GRANITE_SWA,
    &granite::MINICPM,
    &deepseek::DEEPSEEK,
    &deepseek::DOTS1,
    &deepseek::BAILINGMOE,
    &deepseek::BAILINGMOE2,
    &deepseek::GLM4MOE,
    &deepseek::HUNYUAN_MOE,
    &deepseek::ERNIE4_5,
    &deepseek::ERNIE4_5_MOE,
    &deepseek::PADDLEOCR,
    &deepseek::MINIMAX_M2,
    &gated::MELLUM,
    &gated::AFMOE,
    &gated::SPARK2_5,
    &olmo::OLMO2,
    &olmo::OLMOE,
    &glm::CHATGLM,
    &glm::GLM4,
    &glm::HUNYUAN_DENSE,
    &glm::HUNYUAN_VL,
    &gpt::GPT2,
    &gpt::STARCODER,
    &gpt::STARCODER2,
    &gpt::CODESHELL,
    &gpt::GPTNEOX,
    &gpt::JAIS2,
    &layernorm::FALCON,
    &layernorm::STABLELM,
    &layernorm::ORION,
    &layernorm::NEMOTRON,
    &layernorm::OLMO,
    &layernorm::DBRX,
    &layernorm::POCKETTTS,
    &alibi::BAICHUAN,
    &alibi::BLOOM,
    &alibi::MPT,
    &alibi::REFACT,
    &alibi::JAIS,
    &latent::DEEPSEEK2,
    &latent::MISTRAL4,
    &latent::DEEPSEEK32,
    &latent::GLM_DSA,
    &latent::DOTS3NOTE,
    &latent::HY_V4,
    &latent::MINICPM3,
    &mixtures::GROK,
    &mixtures::ARCTIC,
    &mixtures::HY_V3,
    &mixtures::LAGUNA,
    &mixtures::MIMO2,
    &mixtures::SMALLTHINKER,
    &mixtures::GROVEMOE,
    &mixtures::MAPLE,
    &mixtures::MINIMAX_M3,
    &mixtures::STEP35,
    &loops::NANBEIGE,
    &loops::HRM_TEXT,
    &loops::TALKIE,
    &variants::APERTUS,
    &variants::BITNET,
    &variants::CHAMELEON,
    &variants::PLAMO3,
    &variants::MUSE_GLIMMER,
    &variants::DECI,
    &variants::COGVLM,
    &bert::BERT,
    &bert::NOMIC_BERT,
    &bert::NOMIC_BERT_MOE,
    &bert::JINA_BERT_V2,
    &bert::JINA_BERT_V3,
    &t5::T5,
    &t5::T5ENCODER,
    &bert::MODERN_BERT,
    &bert::NEO_BERT,
    &bert::EUROBERT,
    &diffusion::DREAM,
    &diffusion::LLADA,
    &diffusion::LLADA_MOE,
    &diffusion::RND1,
];

pub fn find(name: &str) -> Option<&'static Arch> {
    ALL.iter().copied().find(|a| a.name == name)
}

/// Stands for an architecture that is not there yet, where only the vocabulary of a file is asked for.
pub const VOCAB_ONLY: &Arch = &Arch { name: "(vocabulary)", ..llama::LLAMA };
