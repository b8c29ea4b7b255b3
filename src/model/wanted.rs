//! The tensors that a model may have by its key/values alone: what is to be made for one that is in no file.
use super::bind::file_name;
use super::hparams::HParams;
use super::names::{self, Role, Tensor};
use super::{Model, arch};
use crate::gguf::Meta;
use crate::vocab::Vocab;
use platform::{Error, Result};
use std::collections::HashSet;

/// A name, and `ne[0]` first.
pub struct Wanted {
    pub name: String,
    pub shape: [u32; 3],
}

impl Model {
    /// Those that it must have and those that it may have, each once, as they stand in files that fuse nothing.
    pub fn wanted(meta: &Meta) -> Result<Vec<Wanted>> {
        let name = meta.str("general.architecture")?.ok_or_else(|| Error::invalid("key general.architecture is missing"))?;
        let arch = arch::find(name).ok_or_else(|| Error::unsupported(format!("unknown model architecture: '{name}'")))?;
        let n_vocab = Vocab::from_meta(meta, name)?.n_tokens();
        let hp = HParams::read(meta, arch, n_vocab, &|_| None)?;
        let (norm, encoder) = (arch.norm(&hp), arch.encoder_from(&hp));
        let mut all = Vec::new();
        // A head of NVFP4 alone has a scale, and those made here are of one type.
        let head = names::model_tensors(&hp, arch).into_iter().filter(|t| t.name != Role::Output.scale());
        let mut add = |t: Tensor, from: i32| all.push(Wanted { name: file_name(&t, from, encoder), shape: t.shape });
        head.for_each(|t| add(t, -1));
        let layers = (0..arch.n_layer(&hp)).map(|il| arch.layer_spec(&hp, il)).chain(arch.encoder_layers(&hp));
        for (il, spec) in layers.enumerate() {
            let from = (arch.source)(&hp, il as u32) as i32;
            names::layer_tensors(&hp, &norm, &spec).into_iter().for_each(|t| add(t, from));
        }
        let mut seen = HashSet::new();
        all.retain(|w| seen.insert(w.name.clone()));
        Ok(all)
    }
}
