//! A batch seen whole: llama_encode, and all there is of a context without a memory. What it stores lives as long as the ubatch; an encoder beside
//! a decoder leaves K and V of what it made for the decoder's attention.
use super::batch::{self, BatchView};
use super::context::{Context, active, code, stopped};
use super::kv::Groups;
use super::params::Sizes;
use super::pooling::Pool;
use super::runner::{Ground, Lowered, Runner};
use super::ubatch::{self, Split};
use super::watch::Watcher;
use crate::backend::{Bound, DType, DeviceId, GroupId, Io, KvGroup, Limits, Ubatch, Views};
use crate::blocks::{self, Settings};
use crate::memory::within::{Within, WithinLayer};
use crate::model::Model;
use crate::model::spec::LayerSpec;
use platform::{Result, log};
use std::sync::Arc;

pub struct Encoder {
    lowered: Lowered,
    /// Rows of the layer at hand.
    within: Within,
    /// Rows of all layers of the decoder.
    cross: Option<Within>,
}

/// Rows that nobody keeps are what was computed.
const ROW_TYPE: DType = DType::F32;

fn rows(layers: &[LayerSpec], place: &[usize], of: &[GroupId]) -> Vec<WithinLayer> {
    let all = layers.iter().zip(place).zip(of).enumerate();
    all.map(|(il, ((l, place), group))| WithinLayer { rows: super::kv::layer_rows(l, il, *place, [ROW_TYPE; 2]), group: *group }).collect()
}

/// Rows of the decoder's layers that an encoder fills.
pub fn cross(m: &Model, s: &Sizes) -> Result<Option<Within>> {
    if m.encoder.is_empty() {
        return Ok(None);
    }
    let of = vec![GroupId(0); m.layers.len()];
    let windows = [crate::memory::Window::All];
    Within::new(&rows(&m.layers, &m.place, &of), &windows, &m.backends, s.n_ubatch, s.n_seq_max, false).map(Some)
}

impl Encoder {
    /// `cross` as `cross` has made it; `settings` are the decoder's.
    pub fn new(
        m: &Model,
        s: &Sizes,
        settings: &Settings,
        cross: Option<Within>,
        bound: &Bound,
        limits: Limits,
        watch: Option<Watcher>,
    ) -> Result<Encoder> {
        let (layers, place) = match cross.is_some() {
            true => (&m.encoder, &m.place[m.layers.len()..]),
            false => (&m.layers, m.place.as_slice()),
        };
        let groups = Groups::of(layers);
        let rows = rows(layers, place, &groups.of);
        let within = Within::new(&rows, groups.windows(), &m.backends, s.n_ubatch, s.n_seq_max, true)?;
        let mut kv = within.groups().to_vec();
        let at = GroupId(kv.len() as u16);
        kv.extend(cross.iter().flat_map(Within::groups).cloned());
        let settings = Settings { groups: groups.of, index: None, cross: cross.is_some().then_some(at), ..settings.clone() };
        let plan = if cross.is_some() { blocks::encoder_plan } else { blocks::plan };
        let bound = Bound { kv: Arc::new(kv), ..bound.clone() };
        let lowered = Lowered::new(m, Ground { plan, settings, bound, limits, watch })?;
        Ok(Encoder { lowered, within, cross })
    }

    pub(super) fn lowered(&mut self) -> &mut Lowered {
        &mut self.lowered
    }
    pub fn runner(&self) -> &Runner {
        &self.lowered.runner
    }
    pub fn bytes(&self) -> impl Iterator<Item = (DeviceId, usize)> + '_ {
        self.within.bytes().chain(self.cross.iter().flat_map(Within::bytes))
    }
    /// What the decoder's layers see of the encoder's rows; `None` without a decoder. The error is a sequence that was not encoded.
    pub fn seen_by(&self, ub: &Ubatch) -> std::result::Result<Option<Views>, u32> {
        self.cross.as_ref().map(|c| c.seen_by(ub)).transpose()
    }
    /// Views of the plan's groups.
    fn place(&mut self, ub: &Ubatch) -> Result<Vec<Views>> {
        let mut views = self.within.place(ub)?.to_vec();
        if let Some(c) = &mut self.cross {
            views.extend_from_slice(c.place(ub)?);
        }
        Ok(views)
    }
}

/// The rows of an encoder that the decoder reads, for the decoder's plan.
pub fn cross_groups(cross: Option<&Within>) -> Vec<KvGroup> {
    cross.map(|c| c.groups().to_vec()).unwrap_or_default()
}

impl Context {
    /// Computes a batch of whole texts: 0; 2 aborted, -1 invalid, -2 no memory, -3 failed. Memory stays as it is.
    pub fn encode(&mut self, b: &BatchView<'_>) -> i32 {
        self.entry("encode", |c| c.encode_batch(b))
    }

    fn encode_batch(&mut self, b: &BatchView<'_>) -> std::result::Result<usize, i32> {
        let said = |what: &str, e: &dyn std::fmt::Display, rc: i32| {
            log::error(format!("encode: {what}{e}"));
            rc
        };
        if self.encoder.is_none() {
            let why = if self.model.vocab_only { "the model was loaded with vocab_only" } else { "the model has no encoder" };
            return Err(said(why, &"", code::INVALID));
        }
        // Texts are whole: every token is an output, sees both sides, and has no past.
        let limits = batch::Limits { causal: false, output_all: true, ..self.limits() };
        let batch = batch::check_alone(b, &limits).map_err(|e| said("", &e, code::INVALID))?;
        let ubs = ubatch::split_as(&batch, limits.n_ubatch, Split::Simple).map_err(|e| said("", &e, code::INVALID))?;
        self.outputs.begin(&batch.output, self.keeps_embd()).map_err(|e| said("", &e, code::NO_MEMORY))?;
        self.outputs.sampled.begin(None);
        let mut pool = Pool::default();
        for ub in &ubs {
            self.encode_ubatch(ub, &mut pool)?;
        }
        self.finish(pool)?;
        Ok(batch.n_tokens())
    }

    fn encode_ubatch(&mut self, ub: &Ubatch, pool: &mut Pool) -> std::result::Result<(), i32> {
        let Some(e) = &mut self.encoder else { return Err(code::INVALID) };
        let views = e.place(ub).map_err(|e| {
            log::error(format!("encode: {e}"));
            code::NO_MEMORY
        })?;
        let (rows, abort): (Vec<u32>, _) = ((0..ub.n_tokens() as u32).collect(), &self.abort);
        let io = Io {
            ub,
            views: &views,
            outputs: &rows,
            shifts: &[],
            team: &self.team,
            active: active(self.params.n_threads_batch),
            stop: &|| abort.as_ref().is_some_and(|a| a()),
        };
        if let Err(stop) = e.lowered.runner.run(&io) {
            e.cross.iter_mut().for_each(Within::forget);
            return Err(stopped(&stop));
        }
        let pool = (self.pooling_type != super::context::pooling::NONE).then_some(pool);
        let keeps_embd = self.params.embeddings || e.cross.is_some();
        e.lowered.collect(ub, &rows, keeps_embd, &mut self.outputs, pool).map_err(|e| {
            log::error(format!("encode: {e}"));
            code::FAILED
        })
    }
}
