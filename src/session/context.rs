//! A context over a model: its memory, its lowered plan, its team. `decode` is the whole story of a batch.
use super::batch::{self, BatchView};
use super::encoder::{self, Encoder};
use super::hidden::Hidden;
use super::kv::{Groups, Kv, NoPlace};
use super::outputs::Outputs;
use super::params::{ContextParams, Sizes, rope_settings};
use super::perf::Perf;
use super::pooling::{Finish, Pool};
use super::runner::{Ground, Lowered, Runner};
use super::ubatch;
use super::watch::Watcher;
use crate::backend::{Backend, Bound, DeviceId, GroupId, Io, Limits, Ubatch, Views};
use crate::blocks::{self, Settings, Taps};
use crate::memory::store::Store;
use crate::memory::{Memory, Placed, Refused};
use crate::model::Model;
use crate::model::adapter::{Adapted, Applied};
use platform::pool::{Stop, Team};
use platform::{Error, Result, log};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// True ends the decode at hand.
pub type AbortCallback = Box<dyn Fn() -> bool + Send + Sync>;

/// llama.h's pooling types that are computed here.
pub mod pooling {
    pub const NONE: i32 = 0;
    pub const MEAN: i32 = 1;
    pub const CLS: i32 = 2;
    pub const LAST: i32 = 3;
    pub const RANK: i32 = 4;
}

pub struct Context {
    pub model: Arc<Model>,
    pub sizes: Sizes,
    pub params: ContextParams,
    pub pooling_type: i32,
    pub outputs: Outputs,
    pub hidden: Hidden,
    pub perf: Perf,
    pub(super) kv: Kv,
    /// `None` where nothing is kept: a decode is an `encode` then.
    pub(super) decoder: Option<Decoder>,
    pub(super) encoder: Option<Encoder>,
    /// What embeddings go through at last.
    finish: Option<Finish>,
    pub(super) team: Team,
    causal: bool,
    pub(super) abort: Option<AbortCallback>,
    /// Tokens computed again for windows that were brought back.
    pub(super) n_again: u64,
    /// Set while an entry point works; still set at the next one when it panicked.
    pub(super) busy: bool,
    edits: u64,
    /// Somebody looks at what decodes compute.
    pub watched: bool,
    pub(super) applied: Applied,
    /// Sequences with rows that other adapters than those of now had a part in, until they are empty.
    pub(super) mixed: BTreeSet<u32>,
}

pub(super) struct Decoder {
    pub lowered: Lowered,
    shifter: Runner,
}

impl Decoder {
    fn new(m: &Model, s: &Settings, bound: &Bound, limits: Limits, watch: Option<Watcher>) -> Result<Decoder> {
        let ground = Ground { plan: blocks::plan, settings: s.clone(), bound: bound.clone(), limits, watch };
        let lowered = Lowered::new(m, ground)?;
        Ok(Decoder { lowered, shifter: Runner::new(&blocks::shift_plan(m, s), &m.backends, bound, limits)? })
    }
}

/// llama_decode's return codes.
pub mod code {
    pub const OK: i32 = 0;
    pub const FULL: i32 = 1;
    pub const ABORTED: i32 = 2;
    pub const INVALID: i32 = -1;
    pub const NO_MEMORY: i32 = -2;
    pub const FAILED: i32 = -3;
}

/// The code for a ubatch that found no place.
pub(super) fn no_place(e: NoPlace) -> i32 {
    match e {
        NoPlace::Full => code::FULL,
        NoPlace::NoMemory(e) => {
            log::error(format!("decode: {e}"));
            code::NO_MEMORY
        }
    }
}

/// The code for a ubatch that was not computed to its end.
pub(super) fn stopped(stop: &Stop) -> i32 {
    log::error(format!("decode: {stop}"));
    if *stop == Stop::Aborted { code::ABORTED } else { code::FAILED }
}

/// Workers that take part: what the caller asks for, but never more than there are CPUs; more only slow each other down.
pub(super) fn workers(model: &Model, asked: i32) -> u32 {
    u32::try_from(asked).unwrap_or(1).clamp(1, model.nodes().n_cpus().max(1) as u32)
}

/// Those of a run; a team has no more than it has.
pub(super) fn active(asked: i32) -> u32 {
    u32::try_from(asked).unwrap_or(1)
}

impl Context {
    /// Of a model without weights (vocab_only) too: it has sizes, and refuses every batch.
    pub fn new(model: Arc<Model>, params: ContextParams) -> Result<Context> {
        Context::watched(model, params, None)
    }

    /// A context whose decodes somebody looks at: slower, with the same bits.
    pub fn watched(model: Arc<Model>, params: ContextParams, watch: Option<Watcher>) -> Result<Context> {
        let sizes = Sizes::of(&model, &params)?;
        let pooling_type =
            [params.pooling_type, model.hp.pooling_type, pooling::NONE].into_iter().find(|t| *t >= 0).unwrap_or(pooling::NONE);
        if pooling_type > pooling::RANK {
            return Err(Error::unsupported(format!("pooling type {pooling_type}")));
        }
        for (what, ty) in [("type_k", params.type_k), ("type_v", params.type_v)] {
            if !model.place.iter().all(|p| model.backends[params.rows_at(*p)].stores(ty)) {
                return Err(Error::unsupported(format!("{what}: KV cache type {}", ty.name())));
            }
        }
        let has_weights = !model.vocab_only;
        let groups = Groups::of(if model.arch.memory { &model.layers } else { &[] });
        let kv = Kv::new(&model, &params, &sizes, &groups)?;
        let cross = encoder::cross(&model, &sizes)?;
        let settings = Settings {
            rope: rope_settings(&model, &params),
            groups: groups.of,
            index: groups.index,
            cross: cross.is_some().then_some(GroupId(kv.groups().len() as u16)),
            n_ctx_seq: sizes.n_ctx_seq,
            compat: platform::env::flag("CAMELID_COMPAT"),
            taps: Taps::default(),
            watched: watch.is_some(),
            op_offload: params.op_offload,
            adapted: Arc::new(Adapted::default()),
        };
        let kv_groups = kv.groups().into_iter().chain(encoder::cross_groups(cross.as_ref())).collect();
        let bound = Bound { weights: model.weights.clone(), kv: Arc::new(kv_groups) };
        let team = Team::on(model.nodes(), workers(&model, params.n_threads.max(params.n_threads_batch)));
        let n = sizes.n_ubatch as usize;
        // Threads can be raised later: room for every core.
        let limits = Limits { tokens: n, outputs: n, workers: team.max().max(model.nodes().n_cpus() as u32) };
        let decoder = match model.arch.memory && has_weights {
            true => Some(Decoder::new(&model, &settings, &bound, limits, watch.clone())?),
            false => None,
        };
        let encoder = match model.encodes() && has_weights {
            true => Some(Encoder::new(&model, &sizes, &settings, cross, &bound, limits, watch)?),
            false => None,
        };
        let finish = match has_weights {
            true => Finish::new(&model, &settings, pooling_type == pooling::RANK, &bound, limits)?,
            false => None,
        };
        if pooling_type == pooling::RANK && finish.is_none() {
            log::warn("pooling type rank: the model has no classifier, what it gives are no scores");
        }
        let n_vocab = if model.arch.head.logits { model.hp.n_vocab } else { 0 };
        let ctx = Context {
            outputs: Outputs::new(n_vocab as usize, model.hp.n_embd as usize),
            hidden: Hidden::new(model.hp.n_embd as usize),
            perf: Perf::new(model.load_us),
            causal: sizes.causal,
            model,
            sizes,
            params,
            pooling_type,
            kv,
            decoder,
            encoder,
            finish,
            team,
            abort: None,
            n_again: 0,
            busy: false,
            edits: 0,
            watched: settings.watched,
            applied: Applied::default(),
            mixed: BTreeSet::new(),
        };
        ctx.announce();
        Ok(ctx)
    }

    fn announce(&self) {
        let (s, mib) = (&self.sizes, |n: usize| n as f64 / (1024.0 * 1024.0));
        log::info(format!(
            "context: n_ctx {} ({} per sequence), n_batch {}, n_ubatch {}, n_seq_max {}",
            s.n_ctx, s.n_ctx_seq, s.n_batch, s.n_ubatch, s.n_seq_max
        ));
        for (b, [kv, activations]) in self.model.backends.iter().zip(self.reserved()) {
            let (kv, activations) = (mib(kv), mib(activations));
            log::info(format!("context: {}: KV {kv:.2} MiB and activations {activations:.2} MiB reserved, taken as used", b.name()));
        }
        if s.n_ctx_seq > self.model.hp.n_ctx_train && !self.model.vocab_only {
            log::warn(format!(
                "n_ctx per sequence ({}) exceeds what the model was trained for ({})",
                s.n_ctx_seq, self.model.hp.n_ctx_train
            ));
        }
    }

    /// Computes a batch. The codes are llama_decode's: 0; 1 no room, 2 aborted, -1 invalid, -2 no memory, -3 failed.
    /// After 1 and -1 memory is as before; after 2, -2 and -3 the ubatches that finished stay and the failing one leaves no trace.
    /// Without a memory it is the same as `encode`.
    pub fn decode(&mut self, b: &BatchView<'_>) -> i32 {
        if self.decoder.is_none() {
            return self.encode(b);
        }
        self.entry("decode", |c| c.decode_batch(b))
    }

    /// What an entry point does with a batch, counted; nothing where an earlier one panicked.
    pub(super) fn entry(&mut self, name: &str, work: impl FnOnce(&mut Context) -> std::result::Result<usize, i32>) -> i32 {
        if std::mem::replace(&mut self.busy, true) {
            log::error(format!("{name}: an earlier call panicked inside this context; it can only be freed"));
            return code::FAILED;
        }
        let start = Instant::now();
        let done = work(self);
        self.busy = false;
        if let (Ok(n), false) = (done, self.params.no_perf) {
            self.perf.count(n, start);
        }
        done.err().unwrap_or(code::OK)
    }

    pub(super) fn limits(&self) -> batch::Limits {
        batch::Limits {
            n_vocab: self.model.hp.n_vocab,
            n_embd: self.model.hp.n_embd,
            n_pos_per_embd: self.model.n_pos_per_embd(),
            n_batch: self.sizes.n_batch,
            n_ubatch: self.sizes.n_ubatch,
            n_seq_max: self.sizes.n_seq_max,
            unified: self.params.kv_unified,
            causal: self.causal,
            output_all: self.params.embeddings,
        }
    }

    fn decode_batch(&mut self, b: &BatchView<'_>) -> std::result::Result<usize, i32> {
        let said = |what: &str, e: &dyn std::fmt::Display, rc: i32| {
            log::error(format!("decode: {what}{e}"));
            rc
        };
        let limits = self.limits();
        let batch = batch::check(b, &limits, self.kv.memory()).map_err(|e| said("", &e, code::INVALID))?;
        self.check_outputs(&batch).map_err(|e| said("", &e, code::INVALID))?;
        self.flush().map_err(|s| said("K-shift: ", &s, code::FAILED))?;
        self.bring_back(batch.all_seqs().iter())?;
        let ubs = self.find_room(&batch, &limits)?;
        if let Some(s) = self.encoder.iter().find_map(|e| ubs.iter().find_map(|ub| e.seen_by(ub).err())) {
            return Err(said("llama_encode must come first: there is no text of sequence ", &s, code::INVALID));
        }
        self.outputs.begin(&batch.output, self.keeps_embd()).map_err(|e| said("", &e, code::NO_MEMORY))?;
        self.outputs.sampled.begin(Some(batch.n_outputs()));
        let kept = self.hidden.begin(&self.taps(), batch.n_tokens(), batch.n_outputs());
        kept.map_err(|e| said("", &e, code::NO_MEMORY))?;
        let mut pool = Pool::default();
        for ub in &ubs {
            self.one(ub, &mut pool)?;
        }
        self.finish(pool)?;
        Ok(batch.n_tokens())
    }

    /// A chain that runs with the model takes so many outputs of its sequence and no more.
    fn check_outputs(&self, batch: &batch::Batch) -> Result<()> {
        if self.outputs.sampled.is_empty() {
            return Ok(());
        }
        let (most, mut n) = (self.outputs_per_seq(), std::collections::BTreeMap::new());
        let wanted = batch.seqs.iter().zip(&batch.output).filter(|(_, o)| **o).flat_map(|(s, _)| s.iter());
        for seq in wanted.filter(|s| self.outputs.sampled.has(*s)) {
            let n: &mut u32 = n.entry(seq).or_default();
            *n += 1;
            if *n > most {
                return Err(Error::invalid(format!("sequence {seq} has a sampler and more than {most} outputs (n_outputs_max_per_seq)")));
            }
        }
        Ok(())
    }

    /// Most outputs of a sequence in a batch, where a chain runs with the model.
    pub fn outputs_per_seq(&self) -> u32 {
        let all = match self.params.n_outputs_max {
            n if n > 0 && self.model.encoder.is_empty() => n,
            _ => self.sizes.n_batch,
        };
        if self.params.n_outputs_max_per_seq == 0 { all } else { self.params.n_outputs_max_per_seq.min(all) }
    }

    /// Hidden states that are kept.
    pub fn taps(&self) -> Taps {
        self.decoder.as_ref().map_or(Taps::default(), |d| d.lowered.taps().clone())
    }
    /// Another decoder, which leaves these hidden states; memory is as it was. On failure the old one stays.
    pub(super) fn tap(&mut self, taps: Taps) -> Result<()> {
        let Some(d) = &mut self.decoder else { return Err(Error::unsupported("hidden states of a context without a memory")) };
        if taps != *d.lowered.taps() {
            d.lowered = d.lowered.tapping(&self.model, taps)?;
        }
        Ok(())
    }

    /// An encoder's outputs are embeddings, so are those of the decoder beside it.
    pub(super) fn keeps_embd(&self) -> bool {
        self.params.embeddings || !self.model.encoder.is_empty()
    }

    /// Pooled embeddings, through what is behind them; so go those that are not pooled.
    pub(super) fn finish(&mut self, pool: Pool) -> std::result::Result<(), i32> {
        let (n_threads, rank) = (active(self.params.n_threads), self.pooling_type == pooling::RANK);
        let pooled = pool.finish(super::pooling::take(&self.model, self.pooling_type, self.causal && self.decoder.is_some()));
        let Some(f) = &mut self.finish else {
            let n = if rank { self.model.hp.n_cls_out as usize } else { usize::MAX };
            pooled.into_iter().for_each(|(seq, mut v)| {
                v.truncate(n);
                self.outputs.set_seq(seq, v);
            });
            return Ok(());
        };
        let rows: Vec<&[f32]> = pooled.iter().map(|p| p.1.as_slice()).collect();
        let done = f.run(&rows, &self.team, n_threads).map_err(|s| stopped(&s))?;
        pooled.iter().zip(done).for_each(|((seq, _), v)| self.outputs.set_seq(*seq, v));
        if self.pooling_type == pooling::NONE && f.width() == self.model.hp.n_embd as usize {
            let rows: Vec<Vec<f32>> = self.outputs.embd().map_or(Vec::new(), |e| e.chunks_exact(f.width()).map(<[f32]>::to_vec).collect());
            let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let done = f.run(&rows, &self.team, n_threads).map_err(|s| stopped(&s))?;
            done.iter().enumerate().for_each(|(i, v)| self.outputs.embd_row(i).copy_from_slice(v));
        }
        Ok(())
    }

    pub(super) fn runners(&self) -> impl Iterator<Item = &Runner> {
        let decoder = self.decoder.iter().flat_map(|d| [&d.lowered.runner, &d.shifter]);
        decoder.chain(self.encoder.iter().map(Encoder::runner))
    }
    /// Whether decodes leave something behind.
    pub fn has_memory(&self) -> bool {
        self.decoder.is_some()
    }

    /// The batch cut into ubatches that find room, one way of cutting after the other.
    fn find_room(&mut self, batch: &batch::Batch, limits: &batch::Limits) -> std::result::Result<Vec<Ubatch>, i32> {
        for how in ubatch::ways(limits.unified) {
            match ubatch::split_as(batch, limits.n_ubatch, *how) {
                Ok(ubs) if self.kv.check(&ubs).is_ok() => return Ok(ubs),
                Ok(_) => {}
                Err(e) => log::error(format!("decode: {e}")),
            }
        }
        log::warn(format!("decode: no room in memory for a batch of {} tokens", batch.n_tokens()));
        Err(code::FULL)
    }

    /// Places, secures and computes one ubatch; on any failure it is taken back whole.
    fn one(&mut self, ub: &Ubatch, pool: &mut Pool) -> std::result::Result<(), i32> {
        let placed = self.kv.place(ub, self.causal).map_err(no_place)?;
        let rows: Vec<u32> = (0..ub.n_tokens() as u32).filter(|i| ub.output[*i as usize]).collect();
        match self.run(ub, &placed, &rows) {
            Ok(()) => {
                self.kv.commit(placed, ub, self.causal);
                self.perf.n_reused += 1;
                let (embd, mut pool) = (self.keeps_embd(), (self.pooling_type != pooling::NONE).then_some(pool));
                let done = self.decoder.iter().try_for_each(|d| d.lowered.collect(ub, &rows, embd, &mut self.outputs, pool.as_deref_mut()));
                let hidden = self.decoder.iter().try_for_each(|d| d.lowered.hidden(ub, &rows, &self.outputs, &mut self.hidden));
                let done = done.and(hidden);
                done.map_err(|e| {
                    log::error(format!("decode: {e}"));
                    code::FAILED
                })
            }
            Err(stop) => {
                self.kv.revert(placed);
                Err(stopped(&stop))
            }
        }
    }

    pub(super) fn run(&mut self, ub: &Ubatch, placed: &Placed, rows: &[u32]) -> std::result::Result<(), Stop> {
        let threads = if ub.n_tokens() == 1 { self.params.n_threads } else { self.params.n_threads_batch };
        let abort = &self.abort;
        let cross = self.encoder.as_ref().and_then(|e| e.seen_by(ub).ok().flatten());
        let all: Vec<Views>;
        let views = match cross {
            Some(c) => {
                all = placed.views.iter().cloned().chain([c]).collect();
                &all
            }
            None => &placed.views,
        };
        let io = Io {
            ub,
            views,
            outputs: rows,
            shifts: &[],
            team: &self.team,
            active: active(threads),
            stop: &|| abort.as_ref().is_some_and(|a| a()),
        };
        self.decoder.as_mut().map_or(Ok(()), |d| d.lowered.runner.run(&io))
    }

    /// Carries out pending K rotations.
    pub(super) fn flush(&mut self) -> std::result::Result<(), Stop> {
        let shifts = self.kv.take_shifts();
        let Some(d) = self.decoder.as_mut().filter(|_| !shifts.is_empty()) else { return Ok(()) };
        let none = Ubatch::default();
        let io = Io {
            ub: &none,
            views: &[],
            outputs: &[],
            shifts: &shifts,
            team: &self.team,
            active: active(self.params.n_threads),
            stop: &|| false,
        };
        d.shifter.run(&io).inspect_err(|_| {
            // Some rows are turned and some are not, and nothing tells which.
            log::error("K-shift: it failed on its way; memory is empty now");
            self.kv.clear();
        })
    }

    // ---- memory, as llama.h has it; `seq` None means any

    pub fn memory(&self) -> &Memory {
        self.kv.memory()
    }
    /// Memory and its rows, for the state room.
    pub fn kv(&mut self) -> (&mut Memory, &[Store]) {
        self.edits += 1;
        self.kv.parts()
    }
    /// Grows when a sequence may hold something else than what decodes put there and cuts of its end left.
    pub fn edits(&self) -> u64 {
        self.edits
    }
    /// Bytes that K and V, and activations, may come to take on each of the model's backends.
    pub fn reserved(&self) -> Vec<[usize; 2]> {
        let kv = || self.kv.bytes_by_device().chain(self.encoder.iter().flat_map(Encoder::bytes));
        let on = |b: &Arc<dyn Backend>| {
            let sum = |all: &mut dyn Iterator<Item = (DeviceId, usize)>| all.filter(|e| e.0 == b.device()).map(|e| e.1).sum();
            [sum(&mut kv()), sum(&mut self.runners().flat_map(Runner::bytes))]
        };
        self.model.backends.iter().map(on).collect()
    }
    /// Bytes of the KV store that are in memory now.
    pub fn kv_resident(&self) -> usize {
        self.kv.resident()
    }
    pub fn memory_clear(&mut self) {
        self.kv.clear();
        self.mixed.clear();
    }
    pub fn seq_rm(&mut self, seq: Option<u32>, p0: i32, p1: i32) -> std::result::Result<(), Refused> {
        self.edits += u64::from((0..i32::MAX).contains(&p1));
        self.operate(|kv| kv.seq_rm(seq, p0, p1))?;
        self.unmix();
        Ok(())
    }
    pub fn seq_cp(&mut self, src: u32, dst: u32, p0: i32, p1: i32) -> std::result::Result<(), Refused> {
        self.edits += 1;
        self.operate(|kv| kv.seq_cp(src, dst, p0, p1))?;
        self.mixed.extend(self.mixed.contains(&src).then_some(dst));
        Ok(())
    }
    pub fn seq_keep(&mut self, seq: u32) -> std::result::Result<(), Refused> {
        self.operate(|kv| kv.seq_keep(seq))?;
        self.unmix();
        Ok(())
    }
    pub fn seq_add(&mut self, seq: u32, p0: i32, p1: i32, delta: i32) -> std::result::Result<(), Refused> {
        self.edits += 1;
        self.operate(|kv| kv.seq_add(seq, p0, p1, delta))
    }
    pub fn seq_div(&mut self, seq: u32, p0: i32, p1: i32, d: i32) -> std::result::Result<(), Refused> {
        self.edits += 1;
        self.operate(|kv| kv.seq_div(seq, p0, p1, d))
    }

    // ---- switches

    pub fn set_causal(&mut self, causal: bool) {
        self.causal = causal;
    }
    pub fn causal(&self) -> bool {
        self.causal
    }
    pub fn set_embeddings(&mut self, on: bool) {
        self.params.embeddings = on;
    }
    pub fn set_abort(&mut self, callback: Option<AbortCallback>) {
        self.abort = callback;
    }
    /// A larger count than before makes a new team, whose threads start at the next decode.
    pub fn set_threads(&mut self, n_threads: i32, n_threads_batch: i32) {
        (self.params.n_threads, self.params.n_threads_batch) = (n_threads, n_threads_batch);
        let n = workers(&self.model, n_threads.max(n_threads_batch));
        if n > self.team.max() {
            self.team = Team::on(self.model.nodes(), n);
        }
    }

    /// What was read and written where, under `CAMELID_NUMA_AUDIT`.
    pub fn traffic(&self) -> Vec<crate::backend::Traffic> {
        self.runners().flat_map(Runner::traffic).collect()
    }
    /// Workers by node of single tokens and of batches.
    pub fn seats(&self) -> [Vec<usize>; 2] {
        [self.params.n_threads, self.params.n_threads_batch].map(|n| self.team.seats(active(n)))
    }
    /// Bytes of weights by node.
    pub fn weight_bytes(&self) -> Vec<usize> {
        let mut by = vec![0; self.model.nodes().len()];
        for (w, s) in self.model.weights.iter().flat_map(|w| w.shards.iter().map(move |s| (w, s))) {
            if let Some(n) = by.get_mut(s.node as usize) {
                *n += w.row_bytes() * s.rows.len() * w.shape[2] as usize;
            }
        }
        by
    }
    /// Time, calls and GB/s and barriers per op, for `CAMELID_TRACE`.
    pub fn trace(&self) -> String {
        let rows: Vec<_> = self.runners().flat_map(Runner::trace).collect();
        let total: u64 = rows.iter().map(|r| r.ns).sum();
        let mut s = String::from("op            calls        ms     %       MB   GB/s barriers\n");
        for r in rows {
            let (ms, share) = (r.ns as f64 / 1e6, 100.0 * r.ns as f64 / total.max(1) as f64);
            let (mb, rate) = (r.bytes as f64 / 1e6, r.bytes as f64 / r.ns.max(1) as f64);
            s += &format!("{:<10} {:>8} {ms:>9.2} {share:>5.1} {mb:>8.1} {rate:>6.2} {:>8}\n", r.op, r.calls, r.barriers);
        }
        s
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if platform::env::flag("CAMELID_TRACE") {
            log::info(self.trace());
        }
    }
}
