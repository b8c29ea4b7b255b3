//! Binding: file tensors become weights on devices. Everything is checked here, so that inner loops need not.
use super::hparams::HParams;
use super::names::{self, Name, Role, Tensor};
use super::place::Places;
use super::spec::{Arch, Ffn, Gating, LayerSpec, Moe, NormSpec};
use crate::backend::{Backend, Buffer, Copy2d, Layout, Shard, Weight, WeightId};
use crate::gguf::{Source, TensorInfo};
use kernels::DType;
use platform::{Error, Result, log};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Layer index (-1: the model's own) and name to weight.
pub type Roles = HashMap<(i32, Name), WeightId>;

/// Bytes read at a time into a device that cannot use the file in place: bounds the staging memory.
const PIECE: usize = 4 << 20;

/// What files call a tensor of layer `from` (-1: of the model).
pub fn file_name(t: &Tensor, from: i32, encoder: Option<i32>) -> String {
    if from < 0 || t.name.0.is_of_model() { t.name.full(-1) } else { t.name.in_file(from, encoder) }
}

pub struct Binder<'a> {
    source: &'a Source,
    backends: &'a [Arc<dyn Backend>],
    #[allow(dead_code, reason = "tensors by name come next")]
    places: &'a Places,
    /// Per file and backend: the mapped file as a buffer.
    maps: HashMap<(u16, usize), Arc<dyn Buffer>>,
    pub weights: Vec<Weight>,
    pub roles: Roles,
    /// The tensor that each weight is rows of.
    pub files: Vec<TensorInfo>,
    /// And the first of them.
    pub starts: Vec<u32>,
    used: HashSet<String>,
    /// The layer of the file that the layer at hand uses, and which of them is the first of an encoder.
    from: i32,
    encoder: Option<i32>,
    bytes_done: u64,
    progress: &'a mut dyn FnMut(f32) -> bool,
}

impl<'a> Binder<'a> {
    pub fn new(
        source: &'a Source,
        backends: &'a [Arc<dyn Backend>],
        places: &'a Places,
        progress: &'a mut dyn FnMut(f32) -> bool,
    ) -> Binder<'a> {
        Binder {
            source,
            backends,
            places,
            maps: HashMap::new(),
            weights: Vec::new(),
            roles: Roles::new(),
            files: Vec::new(),
            starts: Vec::new(),
            used: HashSet::new(),
            from: -1,
            encoder: None,
            bytes_done: 0,
            progress,
        }
    }

    /// Binds the whole model; `place[il]` is a layer's backend, `head` the output's. The layers of an encoder follow those of its decoder.
    pub fn bind(&mut self, arch: &Arch, hp: &HParams, layers: &[LayerSpec], place: &[usize], head: usize) -> Result<()> {
        self.encoder = arch.encoder_from(hp);
        let scaled = self.has_fp4_head();
        for t in names::model_tensors(hp, arch).into_iter().filter(|t| scaled || t.name != Role::Output.scale()) {
            // An encoder beside a decoder is where the embeddings are.
            let beside = t.name.0 == Role::EncOutputNorm && arch.head.norm != Some(Role::EncOutputNorm);
            self.one(-1, &t, if names::of_input(t.name.0) || beside { 0 } else { head })?;
        }
        if arch.head.logits && !self.roles.contains_key(&(-1, Role::Output.weight())) {
            self.tie(hp, head)?;
        }
        let (norm, mut loaded) = (arch.norm(hp), HashMap::new());
        for (il, spec) in layers.iter().enumerate() {
            let (from, il32) = ((arch.source)(hp, il as u32) as i32, il as i32);
            match loaded.get(&(from, place[il])) {
                Some(first) => {
                    self.share(*first, il32);
                    self.scales(il32, hp, &norm, spec, place[il])?;
                }
                None => {
                    self.from = from;
                    self.layer(il32, hp, &norm, spec, place[il])?;
                    loaded.insert((from, place[il]), il32);
                }
            }
        }
        for role in [Role::RopeFreqs, Role::RopeLong, Role::RopeShort] {
            self.copy_factors(role, layers, place, head)?;
        }
        self.leftovers();
        Ok(())
    }

    /// Only of such heads the original looks for a scale.
    fn has_fp4_head(&self) -> bool {
        self.source.gguf().tensor(&Role::Output.weight().full(-1)).is_some_and(|t| t.ty == DType::NVFP4)
    }

    /// Without a head of its own the model uses the embeddings; on another device they are there a second time.
    fn tie(&mut self, hp: &HParams, head: usize) -> Result<()> {
        let name = Role::TokenEmbd.weight();
        let embd = self.roles[&(-1, name)];
        let id = if head == 0 {
            embd
        } else {
            self.load(-1, &Tensor { name, shape: [hp.n_embd, hp.n_vocab, 1], required: true, small: false }, head, 0..hp.n_vocab)?
                .unwrap_or(embd)
        };
        self.roles.insert((-1, Role::Output.weight()), id);
        Ok(())
    }

    /// Rotation factors are small and wanted on every device that has layers: each layer gets the copy of its device.
    fn copy_factors(&mut self, role: Role, layers: &[LayerSpec], place: &[usize], head: usize) -> Result<()> {
        let name = role.weight();
        let Some(at_head) = self.roles.get(&(-1, name)).copied() else { return Ok(()) };
        let mut by_dev = HashMap::from([(head, at_head)]);
        let uses = |s: &LayerSpec| names::factor_roles(s.attn.rope_factors).contains(&role);
        for (il, _) in layers.iter().enumerate().filter(|(_, s)| uses(s)) {
            let id = match by_dev.get(&place[il]) {
                Some(id) => *id,
                None => {
                    let n = self.weights[at_head.0 as usize].shape[0];
                    let t = Tensor { name, shape: [n, 1, 1], required: true, small: true };
                    self.load(-1, &t, place[il], 0..n)?.unwrap_or(at_head)
                }
            };
            by_dev.insert(place[il], id);
            self.roles.insert((il as i32, name), id);
        }
        Ok(())
    }

    /// Scales are the file's for that layer itself, as in the original.
    fn scales(&mut self, il: i32, hp: &HParams, norm: &NormSpec, spec: &LayerSpec, dev: usize) -> Result<()> {
        names::layer_tensors(hp, norm, spec).iter().filter(|t| t.is_scale()).try_for_each(|t| self.one(il, t, dev))
    }

    /// Layer `il` uses what layer `first` has.
    fn share(&mut self, first: i32, il: i32) {
        let shared: Vec<(Name, WeightId)> =
            self.roles.iter().filter(|r| r.0.0 == first && !r.0.1.is_scale()).map(|(k, id)| (k.1, *id)).collect();
        self.roles.extend(shared.into_iter().map(|(name, id)| ((il, name), id)));
    }

    fn layer(&mut self, il: i32, hp: &HParams, norm: &NormSpec, spec: &LayerSpec, dev: usize) -> Result<()> {
        let fused = self.source.gguf().tensor(&self.in_file(Role::Qkv.weight())).is_some();
        let n_ff = match &spec.ffn {
            Ffn::Dense(d) if d.gating == Gating::InUp || d.gating == Gating::AsFile && self.up_holds_both(d.n_ff) => Some(d.n_ff),
            _ => None,
        };
        let experts = match &spec.ffn {
            Ffn::Moe(m) => Some(m),
            _ => spec.side.as_ref().map(|s| &s.moe),
        };
        let experts = experts.filter(|_| self.source.gguf().tensor(&self.in_file(Role::GateUpExps.weight())).is_some());
        for t in &names::layer_tensors(hp, norm, spec) {
            let cut = match t.name.0 {
                // Biases may stand by themselves beside a fused matrix.
                Role::Q | Role::K | Role::V => fused && t.name != t.name.0.bias(),
                Role::GateExps | Role::UpExps => experts.is_some() && t.name == t.name.0.weight(),
                Role::FfnUp => n_ff.is_some() && t.name != Role::FfnUp.scale(),
                Role::FfnGate => n_ff.is_some(),
                _ => false,
            };
            if !cut {
                self.one(il, t, dev)?;
            }
        }
        if let Some(m) = experts {
            let shape = [hp.n_embd, 2 * m.n_ff, m.n_expert];
            self.one(il, &Tensor { name: Role::GateUpExps.weight(), shape, required: true, small: false }, dev)?;
        }
        if fused {
            self.cut_qkv(il, hp, spec, dev)?;
        }
        if let Ffn::Moe(Moe { shared: Some(s), .. }) = &spec.ffn
            && s.in_up
        {
            self.cut_up(il, hp, s.n_ff, dev, [Role::SharedGate, Role::SharedUp])?;
        }
        n_ff.map_or(Ok(()), |n| self.cut_up(il, hp, n, dev, [Role::FfnGate, Role::FfnUp]))
    }

    /// What the file calls a tensor of the layer at hand.
    fn in_file(&self, name: Name) -> String {
        name.in_file(self.from, self.encoder)
    }

    /// Whether `ffn_up` is twice as wide as the FFN.
    fn up_holds_both(&self, n_ff: u32) -> bool {
        let up = self.source.gguf().tensor(&self.in_file(Role::FfnUp.weight()));
        up.is_some_and(|t| t.shape[1] == 2 * u64::from(n_ff))
    }

    /// `attn_qkv` holds the rows of Q, then K, then V; so does its bias.
    fn cut_qkv(&mut self, il: i32, hp: &HParams, spec: &LayerSpec, dev: usize) -> Result<()> {
        let a = &spec.attn;
        let rows = [a.n_head * a.head_k, a.n_head_kv * a.head_k, a.n_head_kv * a.head_v];
        let total = rows.iter().sum();
        let weight = Tensor { name: Role::Qkv.weight(), shape: [hp.n_embd, total, 1], required: true, small: false };
        let bias = Tensor { name: Role::Qkv.bias(), shape: [total, 1, 1], required: false, small: true };
        let mut at = 0;
        for (n, role) in rows.into_iter().zip([Role::Q, Role::K, Role::V]) {
            self.piece(il, &weight, dev, at..at + n, role.weight())?;
            if a.qkv_biased {
                self.piece(il, &bias, dev, at..at + n, role.bias())?;
            }
            at += n;
        }
        if !a.qkv_scaled {
            return Ok(());
        }
        let scale = Tensor { name: Role::Qkv.scale(), shape: [1, 1, 1], required: false, small: true };
        if let Some(id) = self.load(il, &scale, dev, 0..1)? {
            self.roles.extend([Role::Q, Role::K, Role::V].map(|r| ((il, r.scale()), id)));
        }
        Ok(())
    }

    /// The tensor of `up` holds the rows of the gate, then its own.
    fn cut_up(&mut self, il: i32, hp: &HParams, n_ff: u32, dev: usize, [gate, up]: [Role; 2]) -> Result<()> {
        let t = Tensor { name: up.weight(), shape: [hp.n_embd, 2 * n_ff, 1], required: true, small: false };
        let bias = Tensor { name: up.bias(), shape: [2 * n_ff, 1, 1], required: false, small: true };
        self.piece(il, &t, dev, 0..n_ff, gate.weight())?;
        self.piece(il, &t, dev, n_ff..2 * n_ff, up.weight())?;
        self.piece(il, &bias, dev, 0..n_ff, gate.bias())?;
        self.piece(il, &bias, dev, n_ff..2 * n_ff, up.bias())
    }

    /// Rows of a tensor under a name of their own.
    fn piece(&mut self, il: i32, t: &Tensor, dev: usize, rows: std::ops::Range<u32>, name: Name) -> Result<()> {
        if let Some(id) = self.load(il, t, dev, rows)? {
            self.roles.insert((il, name), id);
        }
        Ok(())
    }

    fn one(&mut self, il: i32, t: &Tensor, dev: usize) -> Result<()> {
        let rows = if t.small { 0..t.shape.iter().fold(1, |n: u32, d| n.saturating_mul(*d)) } else { 0..t.shape[1] };
        self.piece(il, t, dev, rows, t.name)
    }

    /// Checks a tensor and makes a weight of its rows `rows` (elements of a small one) on backend `dev`.
    fn load(&mut self, il: i32, t: &Tensor, dev: usize, rows: std::ops::Range<u32>) -> Result<Option<WeightId>> {
        let of = if il < 0 || t.is_scale() { il } else { self.from };
        let (name, shape) = (file_name(t, of, self.encoder), t.shape);
        // Some files leave the part out of a name.
        let bare = name.rsplit_once('.').map_or(name.as_str(), |n| n.0).to_owned();
        let found = self.source.gguf().tensor(&name).or_else(|| self.source.gguf().tensor(&bare).filter(|_| !t.is_scale()));
        let Some(info) = found else {
            return if t.required { Err(Error::invalid(format!("missing tensor '{name}'"))) } else { Ok(None) };
        };
        let name = info.name.clone();
        let want = shape.map(u64::from);
        if info.shape[..3] != want || info.shape[3] != 1 {
            return Err(Error::invalid(format!("tensor '{name}' has wrong shape; expected {want:?}, got {:?}", info.shape)));
        }
        self.used.insert(name.clone());
        let start = rows.start;
        let weight = if t.small { self.vector(info, dev, rows)? } else { self.matrix(info, shape, dev, rows)? };
        self.count(info)?;
        self.weights.push(weight);
        self.files.push(info.clone());
        self.starts.push(start);
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
