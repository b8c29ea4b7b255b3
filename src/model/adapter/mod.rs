//! LoRA adapters (Hu et al. 2021) and control vectors: what a context computes beside a model's weights, which stay as they are. An adapter's file is
//! as hostile as a model's: everything is checked when it is loaded. Knows neither plans nor how a low rank is multiplied.
mod applied;
mod control;
mod lora;

pub use applied::{Adapted, Applied};
pub use control::Control;
pub use lora::Lora;
