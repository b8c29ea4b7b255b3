//! Adapters of a context: setting some makes its plans anew, weights stay. What memory holds stays as it was computed.
use super::context::Context;
use crate::backend::WeightId;
use crate::model::adapter::{Applied, Lora};
use platform::{Result, log};
use std::sync::Arc;

impl Context {
    /// These from now on, each with its scale, instead of those before. An error changes nothing.
    pub fn set_loras(&mut self, list: Vec<(Arc<Lora>, f32)>) -> Result<()> {
        let applied = self.applied.with_loras(&self.model, list)?;
        self.adapt(applied)
    }

    /// Directions for the outputs of layers `layers[0]..=layers[1]`: rows of `n_embd` from layer 1 on; `None` takes them away.
    pub fn set_control(&mut self, data: Option<&[f32]>, n_embd: i32, layers: [i32; 2]) -> Result<()> {
        let mut applied = self.applied.clone();
        applied.control.set(data, n_embd, layers, (self.model.hp.n_embd, self.model.hp.n_layer as usize))?;
        if !self.model.arch.steered && !applied.control.is_off() {
            log::warn("the model's layers take no control vector");
        }
        self.adapt(applied)
    }

    fn adapt(&mut self, applied: Applied) -> Result<()> {
        if applied.is_same(&self.applied) {
            self.applied = applied;
            return Ok(());
        }
        let (weights, adapted) = applied.bind(&self.model)?;
        let adapted = Arc::new(adapted);
        let m = &self.model;
        let decoder = self.decoder.as_ref().map(|d| d.lowered.with(m, &weights, &adapted)).transpose()?;
        let encoder = self.encoder.as_mut().map(|e| e.lowered().with(m, &weights, &adapted)).transpose()?;
        let used = |id: &WeightId| [&decoder, &encoder].into_iter().flatten().any(|l| l.matrices.contains(id));
        if let Some(left) = adapted.narrow().find(|id| !used(id)) {
            log::warn(format!("adapters: {} and others like it stand beside nothing that takes them", weights[left.0 as usize].name));
        }
        // What is owed to windows is what the adapters until now would have computed.
        if let Err(e) = self.settle() {
            log::warn(format!("adapters: {e}"));
        }
        self.kv().0.forget_tokens();
        if let (Some(d), Some(lowered)) = (&mut self.decoder, decoder) {
            d.lowered = lowered;
        }
        if let (Some(e), Some(lowered)) = (&mut self.encoder, encoder) {
            *e.lowered() = lowered;
        }
        self.applied = applied;
        self.mixed = (0..self.sizes.n_seq_max).collect();
        self.unmix();
        Ok(())
    }

    /// Whether other adapters than those of now may have had a part in rows of `seq`.
    pub fn is_mixed(&self, seq: u32) -> bool {
        self.mixed.contains(&seq)
    }
    /// What is empty now is filled anew.
    pub(super) fn unmix(&mut self) {
        let memory = self.kv.memory();
        self.mixed.retain(|s| memory.pos_max(*s).is_some());
    }
}
