//! A loaded model: its architecture's value, hyper-parameters, weights by role, vocabulary. Immutable once loaded.
#![forbid(unsafe_code)]
pub mod adapter;
pub mod arch;
pub mod bind;
mod check;
mod fingerprint;
pub mod hparams;
pub mod keys;
pub mod names;
pub mod place;
mod settle;
pub mod spec;
mod wanted;

use crate::backend::cpu::Cpu;
use crate::backend::{Backend, Device, DeviceId, Weight, WeightId, gpus};
use crate::gguf::{Meta, Source};
use crate::vocab::Vocab;
use hparams::HParams;
use names::Name;
pub use place::Offload;
use place::Places;
use platform::numa::{self, Nodes};
use platform::{Error, Result, log};
use spec::{Arch, Ffn, LayerSpec};
use std::sync::{Arc, OnceLock};
pub use wanted::Wanted;

/// What a caller may say about loading.
pub struct LoadParams<'a> {
    pub vocab_only: bool,
    pub check_tensors: bool,
    /// Weights may be copied into layouts that products read faster.
    pub extra_bufts: bool,
    /// Which layers and tensors are kept on which devices.
    pub offload: Offload,
    /// Where weights and work go; `None`: as holds in this process.
    pub nodes: Option<Arc<Nodes>>,
    /// Told the share of bytes bound so far; false cancels.
    pub progress: &'a mut dyn FnMut(f32) -> bool,
}

pub struct Model {
    pub arch: &'static Arch,
    pub hp: HParams,
    /// Per layer; of the decoder where there is an encoder too.
    pub layers: Vec<LayerSpec>,
    /// The layers of an encoder beside a decoder, whose weights are counted from `layers.len()` on.
    pub encoder: Vec<LayerSpec>,
    pub meta: Meta,
    pub vocab: Arc<Vocab>,
    pub vocab_only: bool,
    pub weights: Arc<Vec<Weight>>,
    roles: bind::Roles,
    /// Of each weight the first row that it is of its tensor.
    starts: Vec<u32>,
    /// Those beside the CPU that it may be divided over.
    pub devices: Vec<Arc<dyn Device>>,
    /// The CPU, then the devices, where anything is on them.
    pub backends: Vec<Arc<dyn Backend>>,
    /// Backend index of each layer, and of the head.
    pub place: Vec<usize>,
    pub head_place: usize,
    pub n_params: u64,
    pub n_bytes: u64,
    pub load_us: i64,
    /// Where the tensors came from: what is saved is read there again.
    pub origin: Source,
    fingerprint: OnceLock<u64>,
}

/// Bytes looked at a time, about: cut to whole blocks of the format.
const CHECK_PIECE: u64 = 1 << 22;

/// Looks through all tensor data for values no kernel can use (NaN, infinities). The first finding refuses the file.
fn check_tensors(source: &Source) -> Result<()> {
    for t in &source.gguf().tensors {
        let block = t.ty.block_bytes() as u64;
        let piece = CHECK_PIECE / block * block;
        let mut at = 0;
        while at < t.bytes {
            let mut bytes = platform::error::try_zeroed::<u8>(piece.min(t.bytes - at) as usize, &t.name)?;
            source.read_range(t, at, &mut bytes)?;
            crate::gguf::check_data(t, &bytes)?;
            at += bytes.len() as u64;
        }
    }
    Ok(())
}

/// The CPU, then devices.
fn backends(devices: &[Arc<dyn Device>], nodes: Option<Arc<Nodes>>) -> Result<Vec<Arc<dyn Backend>>> {
    let cpu = Cpu::new(DeviceId(0), Cpu::isa_from_env()).on(nodes.unwrap_or_else(numa::nodes));
    log::info(format!("kernels: {}", cpu.isa().name()));
    if let Some(nodes) = cpu.nodes().filter(|n| n.strategy != numa::Strategy::Disabled) {
        log::info(nodes);
    }
    let mut list: Vec<Arc<dyn Backend>> = vec![Arc::new(cpu)];
    for d in devices {
        list.push(d.open().map_err(|e| e.within(format!("device {}", d.name())))?);
    }
    Ok(list)
}

/// What a model is divided over, told as the original does.
fn chosen(offload: &Offload) -> Result<Vec<Arc<dyn Device>>> {
    let devices = offload.devices()?;
    for d in &devices {
        let bus = d.bus_id().unwrap_or("unknown id");
        log::info(format!("using device {} ({}) ({bus}) - {} MiB free", d.name(), d.description(), d.memory().free >> 20));
    }
    Ok(devices)
}

impl Model {
    /// Loads from opened files whose metadata overrides have been applied.
    pub fn load(source: &Source, p: LoadParams<'_>) -> Result<Model> {
        let start = std::time::Instant::now();
        let gguf = source.gguf();
        let name = gguf.meta.str("general.architecture")?.ok_or_else(|| Error::invalid("key general.architecture is missing"))?;
        // A tokenizer needs no layers: with vocab_only any architecture will do.
        let known = arch::find(name).or(p.vocab_only.then_some(arch::VOCAB_ONLY));
        let arch = known.ok_or_else(|| Error::unsupported(format!("unknown model architecture: '{name}'")))?;
        let vocab = Arc::new(Vocab::from_meta(&gguf.meta, name)?);
        let mut m = Model {
            arch,
            hp: HParams::default(),
            layers: Vec::new(),
            encoder: Vec::new(),
            meta: gguf.meta.clone(),
            vocab,
            vocab_only: p.vocab_only,
            weights: Arc::new(Vec::new()),
            roles: bind::Roles::new(),
            starts: Vec::new(),
            devices: chosen(&p.offload)?,
            backends: Vec::new(),
            place: Vec::new(),
            head_place: 0,
            n_params: gguf.n_elements(),
            n_bytes: gguf.n_bytes(),
            load_us: 0,
            origin: source.tensors_only(),
            fingerprint: OnceLock::new(),
        };
        if !p.vocab_only {
            m.load_weights(source, p)?;
        }
        m.load_us = start.elapsed().as_micros() as i64;
        Ok(m)
    }

    fn load_weights(&mut self, source: &Source, p: LoadParams<'_>) -> Result<()> {
        let n_vocab = self.vocab.n_tokens();
        if n_vocab == 0 {
            return Err(Error::invalid("the vocabulary is empty"));
        }
        self.hp = HParams::read(&self.meta, self.arch, n_vocab, &|name| source.gguf().tensor(name).map(|t| t.shape[1]))?;
        if p.check_tensors {
            check_tensors(source)?;
        }
        self.encoder = self.arch.encoder_layers(&self.hp);
        self.layers = (0..self.arch.n_layer(&self.hp)).map(|il| self.arch.layer_spec(&self.hp, il)).collect();
        if self.layers.iter().any(|l| matches!(&l.ffn, Ffn::Moe(m) if m.n_expert == 0)) {
            return Err(Error::invalid(format!("{} without experts: key {}.expert_count is 0 or missing", self.arch.name, self.arch.name)));
        }
        let places = Places::new(p.offload, self.hp.n_layer_all, &self.devices)?;
        self.backends = backends(if places.any() { &self.devices } else { &[] }, p.nodes)?;
        self.place = (0..self.layers.len() as u32).map(|il| places.layer((self.arch.source)(&self.hp, il))).collect();
        for (il, of) in self.layers.iter().enumerate().filter_map(|(il, l)| Some((il, l.attn.kv_of? as usize))) {
            // Attention stands where its rows are.
            self.place[il] = self.place[of];
        }
        self.head_place = places.output();
        if !gpus().is_empty() || !self.devices.is_empty() {
            places.report();
        }
        // Mapping takes no time; reading takes about as long as settling does.
        let bound = if source.is_mapped() { 0.05 } else { 0.5 };
        let mut first = |x: f32| (p.progress)(x * bound);
        let mut binder = bind::Binder::new(source, &self.backends, &places, &mut first);
        // An encoder beside a decoder is where the embeddings are.
        let all = [self.layers.as_slice(), &self.encoder].concat();
        let place: Vec<usize> = self.place.iter().copied().chain(self.encoder.iter().map(|_| 0)).collect();
        binder.bind(self.arch, &self.hp, &all, &place, self.head_place)?;
        let (mut weights, files) = (binder.weights, binder.files);
        (self.roles, self.starts) = (binder.roles, binder.starts);
        let lookup_only = self.lookup_only();
        let mut s =
            settle::Settle { source, backends: &self.backends, files: &files, progress: &mut |x| (p.progress)(bound + x * (1.0 - bound)) };
        s.run(&mut weights, &|id| !lookup_only.contains(&id), p.extra_bufts)?;
        self.weights = Arc::new(weights);
        Ok(())
    }

    /// Tables whose rows are looked up and never multiplied.
    fn lookup_only(&self) -> Vec<WeightId> {
        let head = self.weight(-1, names::Role::Output.weight());
        let tables = [names::Role::TokenEmbd, names::Role::TokenTypes, names::Role::PosEmbd, names::Role::LayerEmbd];
        let tables = tables.map(|r| self.weight(-1, r.weight()));
        tables.into_iter().flatten().filter(|t| Some(*t) != head).collect()
    }

    /// A layer's weight (`il` -1: the model's own), if the file has it.
    pub fn weight(&self, il: i32, name: Name) -> Option<WeightId> {
        self.roles.get(&(il, name)).copied()
    }

    /// What the file's tensor `name` is here, with the first of its rows that each is.
    pub fn parts_of(&self, name: &str) -> Vec<(WeightId, u32)> {
        let all = self.weights.iter().zip(&self.starts).enumerate();
        all.filter(|(_, (w, _))| w.name == name).map(|(i, (_, start))| (WeightId(i as u32), *start)).collect()
    }

    /// Architecture and size, e.g. "llama 1B"; the C face adds the file type.
    pub fn size_name(&self) -> &'static str {
        if self.vocab_only { "?B" } else { (self.arch.size)(&self.hp) }
    }

    /// Bytes of weights, copies counted, also of those that stay in a mapped file.
    pub fn held_bytes(&self) -> usize {
        let of = |w: &Weight| w.shards.iter().map(|s| w.row_bytes() * s.rows.len() * w.shape[2] as usize).sum::<usize>();
        self.weights.iter().map(of).sum()
    }

    /// Whether a batch is seen whole by an encoder: the only way of a model without a memory.
    pub fn encodes(&self) -> bool {
        !self.arch.memory || !self.encoder.is_empty()
    }

    /// What the work is spread over.
    pub fn nodes(&self) -> Arc<Nodes> {
        self.backends.iter().find_map(|b| b.nodes()).cloned().unwrap_or_else(numa::nodes)
    }

    /// Positions per embedding of a batch.
    pub fn n_pos_per_embd(&self) -> u32 {
        if self.hp.mrope().is_some() { 4 } else { 1 }
    }

    /// The window of the sliding layers, 0 if there are none.
    pub fn n_swa(&self) -> u32 {
        self.hp.n_swa
    }
}

#[cfg(test)]
mod tests;
