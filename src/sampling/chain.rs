//! Samplers in a row, with the clock and the reused list. Generic over its links: the C face hangs raw samplers into it.
use super::{Candidates, Row, Sampler, TokenData, rng};
use platform::{Error, Result};
use std::any::Any;
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A link of a chain can be cloned, unless it comes from outside and cannot.
pub trait TryClone: Sized {
    fn try_clone(&self) -> Option<Self>;
}

impl TryClone for Box<dyn Sampler> {
    fn try_clone(&self) -> Option<Self> {
        self.clone_box()
    }
}

/// What `llama_perf_sampler` reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perf {
    pub t_sample: Duration,
    pub n_sample: i32,
}

/// What a chain and the contexts it runs with know of each other: a chain may be gone when its context looks for it, and the other way round.
#[derive(Debug, Default)]
pub struct Attachment {
    gone: AtomicBool,
    /// Contexts and sequences it runs with.
    users: AtomicUsize,
    /// Links at the front that run with the model; `apply` begins behind them.
    links: AtomicUsize,
}

impl Attachment {
    pub fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }
    fn links(&self) -> usize {
        if self.users.load(Relaxed) > 0 { self.links.load(Relaxed) } else { 0 }
    }
    /// One user less; true for the last one.
    pub fn leave(&self) -> bool {
        self.users.fetch_sub(1, Relaxed) == 1
    }
}

/// The chain's end of it.
#[derive(Debug, Default)]
struct Attached(Arc<Attachment>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.gone.store(true, Relaxed);
    }
}

/// Applies its links in order. A link is anything that samples: a box of ours, or a handle of the C face whose pointer stays the same.
pub struct Chain<E = Box<dyn Sampler>> {
    links: Vec<E>,
    no_perf: bool,
    perf: Perf,
    /// One token per vocabulary entry, kept between calls of [`Chain::sample`].
    cur: Vec<TokenData>,
    attached: Attached,
    /// These logits come from no row: every link has to see them.
    whole: bool,
}

impl<E> Chain<E> {
    pub fn new(no_perf: bool) -> Chain<E> {
        Chain { links: Vec::new(), no_perf, perf: Perf::default(), cur: Vec::new(), attached: Attached::default(), whole: false }
    }
    pub fn add(&mut self, link: E) {
        self.links.push(link);
    }
    pub fn get(&self, i: usize) -> Option<&E> {
        self.links.get(i)
    }
    pub fn len(&self) -> usize {
        self.links.len()
    }
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
    pub fn no_perf(&self) -> bool {
        self.no_perf
    }
    /// Takes link `i` out; the following move up.
    pub fn remove(&mut self, i: usize) -> Option<E> {
        let with_model = &self.attached.0.links;
        if i < with_model.load(Relaxed) {
            with_model.fetch_sub(1, Relaxed);
        }
        (i < self.links.len()).then(|| self.links.remove(i))
    }
    /// Links that `apply` leaves to the model.
    fn n_left_out(&self) -> usize {
        if self.whole { 0 } else { self.attached.0.links().min(self.links.len()) }
    }
    pub fn perf(&self) -> Perf {
        self.perf
    }
    pub fn reset_perf(&mut self) {
        self.perf = Perf::default();
    }

    fn timed(&mut self, work: impl FnOnce(&mut Vec<E>)) {
        if self.no_perf {
            return work(&mut self.links);
        }
        let start = Instant::now();
        work(&mut self.links);
        self.perf.t_sample += start.elapsed();
    }
}

impl<E: TryClone> TryClone for Chain<E> {
    /// Links and settings; the clock of a clone starts at zero.
    fn try_clone(&self) -> Option<Self> {
        let links = self.links.iter().map(E::try_clone).collect::<Option<Vec<E>>>()?;
        Some(Chain { links, ..Chain::new(self.no_perf) })
    }
}

impl<E: Sampler + TryClone> Chain<E> {
    /// A whole step: candidates from `logits` (one per token id), apply, accept. The error: nothing was selected.
    pub fn sample(&mut self, logits: &[f32]) -> Result<i32> {
        let mut cur = std::mem::take(&mut self.cur);
        self.whole = true;
        let token = sample_into(self, logits, &mut cur);
        self.whole = false;
        self.cur = cur;
        token
    }

    /// From now on its first links run with a model, up to the one that cannot.
    pub fn attach_to(&mut self, outputs_per_seq: u32) -> Arc<Attachment> {
        let n = self.links.iter_mut().position(|s| !s.attach(outputs_per_seq)).unwrap_or(self.links.len());
        self.attached.0.links.store(n, Relaxed);
        self.attached.0.users.fetch_add(1, Relaxed);
        self.attached.0.clone()
    }
    fn with_model(&mut self) -> impl Iterator<Item = &mut E> {
        let n = self.attached.0.links();
        self.links.iter_mut().take(n)
    }
}

/// A step from candidates as a row has them: apply, accept.
pub fn sample_list(s: &mut dyn Sampler, list: &mut [TokenData]) -> Result<i32> {
    finish(s, Candidates::new(list))
}

/// [`Chain::sample`] for a sampler that stands alone.
pub fn sample(s: &mut dyn Sampler, logits: &[f32]) -> Result<i32> {
    sample_into(s, logits, &mut Vec::new())
}

fn sample_into(s: &mut dyn Sampler, logits: &[f32], cur: &mut Vec<TokenData>) -> Result<i32> {
    let mut best = Vec::new();
    let short = s.keeps_best().and_then(|n| Candidates::best_of(logits, n, &mut best));
    let c = match short {
        Some(short) => short,
        None => one_each(logits, cur)?,
    };
    finish(s, c)
}

fn finish(s: &mut dyn Sampler, mut c: Candidates<'_>) -> Result<i32> {
    s.apply(&mut c);
    let chosen = c.selected.and_then(|i| c.data.get(i)).map(|t| t.id);
    let token = chosen.ok_or_else(|| Error::invalid(format!("sampler {:?} selected no token", s.name())))?;
    s.accept(token);
    Ok(token)
}

/// A candidate for every logit.
fn one_each<'a>(logits: &[f32], cur: &'a mut Vec<TokenData>) -> Result<Candidates<'a>> {
    cur.clear();
    cur.try_reserve(logits.len()).map_err(|_| Error::no_memory(format!("no memory for {} candidates", logits.len())))?;
    cur.extend(logits.iter().zip(0..).map(|(&logit, id)| TokenData { id, logit, p: 0.0 }));
    Ok(Candidates::new(cur))
}

impl<E: Sampler + TryClone> Sampler for Chain<E> {
    fn name(&self) -> &CStr {
        c"chain"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        let n = self.n_left_out();
        self.timed(|links| links.iter_mut().skip(n).for_each(|s| s.apply(c)));
    }
    fn keeps_best(&self) -> Option<usize> {
        self.links.get(self.n_left_out())?.keeps_best()
    }
    fn detach(&mut self) {
        self.links.iter_mut().for_each(E::detach);
    }
    fn begin(&mut self) {
        self.with_model().for_each(E::begin);
    }
    fn run(&mut self, row: &mut Row) {
        self.with_model().for_each(|s| s.run(row));
    }
    fn accept(&mut self, token: i32) {
        self.timed(|links| links.iter_mut().for_each(|s| s.accept(token)));
        self.perf.n_sample = self.perf.n_sample.saturating_add(1);
    }
    fn reset(&mut self) {
        self.links.iter_mut().for_each(E::reset);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.try_clone()?))
    }
    /// Link by link, which must agree in number and kind, and the clock with it.
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        let Some(src) = src.downcast_ref::<Chain<E>>() else { return false };
        if src.links.len() != self.links.len() {
            return false;
        }
        (self.no_perf, self.perf) = (src.no_perf, src.perf);
        self.links.iter_mut().zip(&src.links).fold(true, |all, (to, from)| to.copy_state(from) && all)
    }
    /// The last link's that has one to report.
    fn seed(&self) -> Option<u32> {
        self.links.iter().rev().find_map(|s| s.seed().filter(|s| *s != rng::DEFAULT_SEED))
    }
}
