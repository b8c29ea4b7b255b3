//! Binding: file tensors become weights on devices. Everything is checked here, so that inner loops need not.
use super::hparams::HParams;
use super::names::{self, Role, Tensor};
use super::spec::{Arch, LayerSpec};
use crate::backend::{Backend, Buffer, Copy2d, Layout, Shard, Weight, WeightId};
use crate::gguf::{Source, TensorInfo};
use kernels::DType;
use platform::{Error, Result, log};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Layer index (-1: the model's own) and role to weight.
pub type Roles = HashMap<(i32, Role), WeightId>;

/// Bytes read at a time into a device that cannot use the file in place: bounds the staging memory.
const PIECE: usize = 4 << 20;

pub struct Binder<'a> {
    source: &'a Source,
    backends: &'a [Arc<dyn Backend>],
    /// Per file and backend: the mapped file as a buffer.
    maps: HashMap<(u16, usize), Arc<dyn Buffer>>,
    pub weights: Vec<Weight>,
    pub roles: Roles,
    used: HashSet<String>,
    bytes_done: u64,
    progress: &'a mut dyn FnMut(f32) -> bool,
}

fn full_name(il: i32, role: Role) -> String {
    if il < 0 { role.name().to_string() } else { format!("blk.{il}.{}", role.name()) }
}

impl<'a> Binder<'a> {
    pub fn new(source: &'a Source, backends: &'a [Arc<dyn Backend>], progress: &'a mut dyn FnMut(f32) -> bool) -> Binder<'a> {
        Binder {
            source,
            backends,
            maps: HashMap::new(),
            weights: Vec::new(),
            roles: Roles::new(),
            used: HashSet::new(),
            bytes_done: 0,
            progress,
        }
    }

    /// Binds the whole model; `place[il]` is a layer's backend, `head` the output's.
    pub fn bind(&mut self, arch: &Arch, hp: &HParams, layers: &[LayerSpec], place: &[usize], head: usize) -> Result<()> {
        for t in names::model_tensors(hp, arch) {
            let dev = if t.role == Role::TokenEmbd { 0 } else { head };
            self.one(-1, &t, dev)?;
        }
        if !self.roles.contains_key(&(-1, Role::Output)) {
            self.tie(hp, head)?;
        }
        for (il, spec) in layers.iter().enumerate() {
            self.layer(il as i32, hp, spec, place[il])?;
        }
        self.copy_factors(layers, place, head)?;
        self.leftovers();
        Ok(())
    }

    /// Without a head of its own the model uses the embeddings; on another device they are there a second time.
    fn tie(&mut self, hp: &HParams, head: usize) -> Result<()> {
        let embd = self.roles[&(-1, Role::TokenEmbd)];
        let id = if head == 0 {
            embd
        } else {
            self.load(-1, Role::TokenEmbd, [hp.n_embd, hp.n_vocab, 1], head, 0..hp.n_vocab, true)?.unwrap_or(embd)
        };
        self.roles.insert((-1, Role::Output), id);
        Ok(())
    }

    /// Rotation factors are small and wanted on every device that has layers: each layer gets the copy of its device.
    fn copy_factors(&mut self, layers: &[LayerSpec], place: &[usize], head: usize) -> Result<()> {
        let Some(at_head) = self.roles.get(&(-1, Role::RopeFreqs)).copied() else { return Ok(()) };
        let mut by_dev = HashMap::from([(head, at_head)]);
        for (il, spec) in layers.iter().enumerate().filter(|(_, s)| s.attn.rope_factors) {
            let id = match by_dev.get(&place[il]) {
                Some(id) => *id,
                None => {
                    let n = spec.attn.n_rot / 2;
                    self.load(-1, Role::RopeFreqs, [n, 1, 1], place[il], 0..n, true)?.unwrap_or(at_head)
                }
            };
            by_dev.insert(place[il], id);
            self.roles.insert((il as i32, Role::RopeFreqs), id);
        }
        Ok(())
    }

    fn layer(&mut self, il: i32, hp: &HParams, spec: &LayerSpec, dev: usize) -> Result<()> {
        let tensors = names::layer_tensors(hp, spec);
        let fused = self.source.gguf().tensor(&full_name(il, Role::Qkv)).is_some();
        for t in &tensors {
            let cut = fused && matches!(t.role, Role::Q | Role::K | Role::V);
            if !cut {
                self.one(il, t, dev)?;
            }
        }
        if fused { self.cut_qkv(il, hp, spec, dev) } else { Ok(()) }
    }

    /// `attn_qkv` holds the rows of Q, then K, then V; so does its bias.
    fn cut_qkv(&mut self, il: i32, hp: &HParams, spec: &LayerSpec, dev: usize) -> Result<()> {
        let a = &spec.attn;
        let rows = [a.n_head * a.head_k, a.n_head_kv * a.head_k, a.n_head_kv * a.head_v];
        let total = rows.iter().sum();
        let mut at = 0;
        for (n, roles) in rows.into_iter().zip([(Role::Q, Role::QBias), (Role::K, Role::KBias), (Role::V, Role::VBias)]) {
            if let Some(id) = self.load(il, Role::Qkv, [hp.n_embd, total, 1], dev, at..at + n, true)? {
                self.roles.insert((il, roles.0), id);
            }
            if let Some(id) = self.load(il, Role::QkvBias, [total, 1, 1], dev, at..at + n, false)? {
                self.roles.insert((il, roles.1), id);
            }
            at += n;
        }
        if let Some(id) = self.load(il, Role::QkvScale, [1, 1, 1], dev, 0..1, false)? {
            self.roles.extend([Role::QScale, Role::KScale, Role::VScale].map(|r| ((il, r), id)));
        }
        Ok(())
    }

    fn one(&mut self, il: i32, t: &Tensor, dev: usize) -> Result<()> {
        let rows = if t.is_vector() { 0..t.shape[0] } else { 0..t.shape[1] };
        if let Some(id) = self.load(il, t.role, t.shape, dev, rows, t.required)? {
            self.roles.insert((il, t.role), id);
        }
        Ok(())
    }

    /// Checks a tensor against `shape` and makes a weight of its rows `rows` (elements of a vector) on backend `dev`.
    fn load(
        &mut self,
        il: i32,
        role: Role,
        shape: [u32; 3],
        dev: usize,
        rows: std::ops::Range<u32>,
        required: bool,
    ) -> Result<Option<WeightId>> {
        let name = full_name(il, role);
        let Some(info) = self.source.gguf().tensor(&name) else {
            return if required { Err(Error::invalid(format!("missing tensor '{name}'"))) } else { Ok(None) };
        };
        let want = shape.map(u64::from);
        if info.shape[..3] != want || info.shape[3] != 1 {
            return Err(Error::invalid(format!("tensor '{name}' has wrong shape; expected {want:?}, got {:?}", info.shape)));
        }
        self.used.insert(name.clone());
        let vector = shape[1] == 1 && shape[2] == 1;
        let weight = if vector { self.vector(info, dev, rows)? } else { self.matrix(info, shape, dev, rows)? };
        self.count(info)?;
        self.weights.push(weight);
        Ok(Some(WeightId(self.weights.len() as u32 - 1)))
    }

    fn count(&mut self, info: &TensorInfo) -> Result<()> {
        self.bytes_done += info.bytes;
        let all = self.source.gguf().n_bytes().max(1);
        if (self.progress)((self.bytes_done as f32 / all as f32).min(1.0)) {
            return Ok(());
        }
        Err(Error::new(platform::error::Kind::Cancelled, "loading was cancelled by the progress callback"))
    }

    fn shard(buf: Arc<dyn Buffer>, at: usize, rows: u32) -> Shard {
        Shard { node: 0, rows: 0..rows, layout: Layout::File, buf, at }
    }

    fn matrix(&mut self, info: &TensorInfo, shape: [u32; 3], dev: usize, rows: std::ops::Range<u32>) -> Result<Weight> {
        if !self.backends[dev].supports(info.ty) {
            return Err(Error::unsupported(format!("tensor '{}': type {} has no kernel yet", info.name, info.ty.name())));
        }
        let row = info.ty.row_bytes(shape[0] as usize).ok_or_else(|| Error::invalid(format!("tensor '{}': ragged rows", info.name)))?;
        let (from, n) = (row * rows.start as usize, row * rows.len() * shape[2] as usize);
        let shape = [shape[0], rows.len() as u32, shape[2]];
        let (buf, at) = match self.mapped(info, dev) {
            Some(m) => (m, info.offset as usize + from),
            None => (self.copied(info, dev, from, n)?, 0),
        };
        Ok(Weight { name: info.name.clone(), ty: info.ty, shape, shards: vec![Self::shard(buf, at, shape[1])] })
    }

    fn mapped(&mut self, info: &TensorInfo, dev: usize) -> Option<Arc<dyn Buffer>> {
        if let Some(b) = self.maps.get(&(info.file, dev)) {
            return Some(b.clone());
        }
        let b = self.backends[dev].adopt(self.source.map(info.file)?)?;
        self.maps.insert((info.file, dev), b.clone());
        Some(b)
    }

    fn copied(&self, info: &TensorInfo, dev: usize, from: usize, n: usize) -> Result<Arc<dyn Buffer>> {
        let buf = self.backends[dev].alloc(n, &info.name)?;
        let mut piece = platform::error::try_zeroed::<u8>(n.min(PIECE), &info.name)?;
        let mut at = 0;
        while at < n {
            let part = &mut piece[..PIECE.min(n - at)];
            self.source.read_range(info, (from + at) as u64, part)?;
            buf.write(&[Copy2d::flat(at, 0, part.len())], part)?;
            at += part.len();
        }
        Ok(buf)
    }

    /// Vectors (norms, biases) become aligned f32 on their device.
    fn vector(&mut self, info: &TensorInfo, dev: usize, range: std::ops::Range<u32>) -> Result<Weight> {
        let mut raw = platform::error::try_zeroed::<u8>(info.bytes as usize, &info.name)?;
        self.source.read_tensor(info, &mut raw)?;
        let floats = to_f32(info.ty, &raw)
            .ok_or_else(|| Error::unsupported(format!("tensor '{}': a vector of type {}", info.name, info.ty.name())))?;
        let part = floats
            .get(range.start as usize..range.end as usize)
            .ok_or_else(|| Error::invalid(format!("tensor '{}' is too short", info.name)))?;
        let bytes: Vec<u8> = part.iter().flat_map(|f| f.to_le_bytes()).collect();
        let buf = self.backends[dev].alloc(bytes.len(), &info.name)?;
        buf.write(&[Copy2d::flat(0, 0, bytes.len())], &bytes)?;
        Ok(Weight { name: info.name.clone(), ty: DType::F32, shape: [part.len() as u32, 1, 1], shards: vec![Self::shard(buf, 0, 1)] })
    }

    /// Tensors that nobody asked for: the original refuses such files; we load and say so.
    fn leftovers(&self) {
        let extra: Vec<&str> = self
            .source
            .gguf()
            .tensors
            .iter()
            .map(|t| t.name.as_str())
            .filter(|n| !self.used.contains(*n) && !n.ends_with(".input_scale"))
            .collect();
        if let Some(first) = extra.first() {
            log::warn(format!("{} tensors of the file are not used by this architecture, the first is '{first}'", extra.len()));
        }
    }
}

fn to_f32(ty: DType, raw: &[u8]) -> Option<Vec<f32>> {
    let t = kernels::float::table(kernels::Isa::Scalar);
    let mut out = vec![0.0; raw.len() / ty.block_bytes()];
    (!ty.is_quantized() && t.decode_row(ty, raw, &mut out)).then_some(out)
}
