//! A context and the full history, doing the same. What the context computes must be the same bits; what it refuses must have a reason and leave no
//! trace. The reasons come from llama.h and the original's capacity rules, with a margin: what may be lost here need not be.
use crate::full_history::{Cell, Cells, FullHistory, Lists, Token, groups, range, visible_from};
use crate::models::{N_VOCAB, Rng};
use crate::ops::{Kind, Op};
use llama::backend::DType;
use llama::memory::Window;
use llama::model::Model;
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use llama::state::{self, What};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What happened, over many sequences of operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub sequences: u64,
    pub ops: u64,
    pub decodes: u64,
    pub tokens: u64,
    pub scratch: u64,
    pub aborted: u64,
    pub full: u64,
    /// Decodes, operations, states that were refused for a reason.
    pub refused_decodes: u64,
    pub refused_ops: u64,
    pub refused_loads: u64,
}

impl Counts {
    pub fn join(&mut self, o: &Counts) {
        let add = |a: &mut u64, b: u64| *a += b;
        add(&mut self.sequences, o.sequences);
        add(&mut self.ops, o.ops);
        add(&mut self.decodes, o.decodes);
        add(&mut self.tokens, o.tokens);
        add(&mut self.scratch, o.scratch);
        add(&mut self.aborted, o.aborted);
        add(&mut self.full, o.full);
        add(&mut self.refused_decodes, o.refused_decodes);
        add(&mut self.refused_ops, o.refused_ops);
        add(&mut self.refused_loads, o.refused_loads);
    }
}

struct Saved {
    what: What,
    blob: Vec<u8>,
    lists: Lists,
}

pub struct Pair<'a> {
    pub kind: Kind,
    model: Arc<Model>,
    pub ctx: Context,
    pub full: &'a mut FullHistory,
    saved: Vec<Option<Saved>>,
    /// Cells that a group's stream was ever given since it was empty; [group][stream]
    stored: Vec<Vec<usize>>,
    /// Arrivals up to here have lost their order between sequences: a state of a whole context does not say it.
    mixed: u64,
    pub counts: Counts,
}

/// Something that must not be.
pub type Violation = String;

/// Position of each sequence and cells in use: what shows of a memory without touching it.
type Shown = (Vec<(Option<i32>, Option<i32>)>, Vec<u32>);

fn pad256(n: u32) -> usize {
    n.next_multiple_of(256) as usize
}

pub fn context(m: &Arc<Model>, k: &Kind) -> Context {
    let p = params(k);
    Context::new(m.clone(), p).expect("a context")
}

pub fn params(k: &Kind) -> ContextParams {
    ContextParams {
        n_ctx: if k.unified { k.n_ctx_seq } else { k.n_ctx_seq * k.n_seq },
        n_batch: 2048,
        n_ubatch: k.n_ubatch,
        n_seq_max: k.n_seq,
        n_threads: k.threads,
        n_threads_batch: k.threads,
        type_k: k.kv.0,
        type_v: k.kv.1,
        flash_attn: k.flash_attn,
        swa_full: k.swa_full,
        kv_unified: k.unified,
        swa_snapshots: Some(k.snapshots),
        ..ContextParams::default()
    }
}

impl<'a> Pair<'a> {
    pub fn new(model: &Arc<Model>, kind: &Kind, full: &'a mut FullHistory) -> Pair<'a> {
        full.reset(kind.n_seq);
        let n_groups = groups(model).0.len();
        Pair {
            ctx: context(model, kind),
            model: model.clone(),
            full,
            saved: (0..4).map(|_| None).collect(),
            stored: vec![vec![0; kind.n_seq as usize]; n_groups],
            mixed: 0,
            counts: Counts { sequences: 1, ..Counts::default() },
            kind: kind.clone(),
        }
    }

    // ---- what the full history says about the other

    fn stream(&self, seq: u32) -> usize {
        if self.kind.unified { 0 } else { seq as usize }
    }
    fn n_streams(&self) -> usize {
        if self.kind.unified { 1 } else { self.kind.n_seq as usize }
    }
    fn seqs_of(&self, stream: usize) -> Vec<u32> {
        (0..self.kind.n_seq).filter(|s| self.stream(*s) == stream).collect()
    }
    /// Cells of a stream by the original's rule.
    fn size(&self, g: usize) -> usize {
        let (k, n_swa) = (&self.kind, self.full.windows[g].n_swa());
        let base = pad256(k.n_ctx_seq);
        match self.full.windows[g] {
            Window::All => base,
            _ if k.swa_full => base,
            _ => pad256((n_swa * if k.unified { k.n_seq } else { 1 } + k.n_ubatch).min(base as u32)),
        }
    }
    fn rings(&self) -> Vec<usize> {
        (0..self.full.windows.len()).filter(|g| self.is_ring(*g)).collect()
    }
    fn is_ring(&self, g: usize) -> bool {
        self.full.windows[g] != Window::All && !self.kind.swa_full
    }

    /// Whether a decode behind the end of `seq` certainly finds all that its windows show of the base's cells.
    pub fn complete(&self, seq: u32) -> bool {
        let Some(max) = self.full.pos_max(seq) else { return true };
        (1..self.full.windows.len()).all(|g| {
            let lo = visible_from(self.full.windows[g], max + 1);
            let there = |l: &Cells| l.iter().filter(|c| c.pos >= lo && !c.lost).map(|c| c.pos).collect::<Vec<_>>();
            there(&self.full.lists[g][seq as usize]) == there(self.full.cells(seq))
        })
    }

    /// Whether a batch may couple two sequences; `text`: only if they hold the same tokens (else the second one's are computed with the first one's
    /// past, as the caller said).
    pub fn same_past(&self, a: u32, b: u32, text: bool) -> bool {
        let tokens = |s: u32| self.full.cells(s).iter().map(|c| (c.pos, c.token)).collect::<Vec<_>>();
        self.full.pos_max(a) == self.full.pos_max(b) && (!text || tokens(a) == tokens(b))
    }

    /// Cells of a stream's group, those counted once that sequences may share. `seen`: only those that some sequence's next token sees.
    fn n_cells(&self, lists: &Lists, g: usize, stream: usize, seen: bool) -> usize {
        let mut ids = BTreeSet::new();
        for s in self.seqs_of(stream) {
            let l = &lists[g][s as usize];
            let lo = l.last().filter(|_| seen).map_or(0, |c| visible_from(self.full.windows[g], c.pos + 1));
            ids.extend(l.iter().filter(|c| c.pos >= lo).map(|c| c.id));
        }
        ids.len()
    }

    /// Whether the original's rules find room for the tokens, piece by piece.
    fn fits(&self, tokens: &[Token]) -> bool {
        (0..self.n_streams()).all(|stream| {
            let mine: Vec<&Token> = tokens.iter().filter(|t| t.seqs.iter().any(|s| self.stream(*s) == stream)).collect();
            (0..self.full.windows.len()).all(|g| {
                let mut lists = self.full.lists.clone();
                mine.chunks(self.kind.n_ubatch as usize).enumerate().all(|(k, piece)| {
                    let used = self.n_cells(&lists, g, stream, self.is_ring(g));
                    for (i, t) in piece.iter().enumerate() {
                        let id = u64::MAX - (k * 10_000 + i) as u64;
                        let c = Cell::at(t.pos, id);
                        t.seqs.iter().for_each(|s| lists[g][*s as usize].push(c));
                    }
                    used + piece.len() <= self.size(g)
                })
            })
        })
    }

    /// Marks what a ring may have given up: masked cells, once more cells came than it holds. The last piece of a batch is placed by what is masked
    /// before it: for a batch of one sequence at worst before its last token.
    fn forget(&mut self, batch: &[Token], done: bool) {
        let alone = done && batch.windows(2).all(|t| t[0].seqs == t[1].seqs);
        for g in self.rings() {
            for s in 0..self.kind.n_seq {
                let behind = i32::from(!(alone && batch.iter().any(|t| t.seqs.contains(&s))));
                if self.stored[g][self.stream(s)] > self.size(g) {
                    self.mark(g, s, behind);
                }
            }
        }
    }
    /// Marks what a token `behind` positions behind the last does not see.
    fn mark(&mut self, g: usize, s: u32, behind: i32) {
        let Some(max) = self.full.pos_max(s) else { return };
        let lo = visible_from(self.full.windows[g], max + behind);
        self.full.lists[g][s as usize].iter_mut().filter(|c| c.pos < lo).for_each(|c| c.lost = true);
    }
    fn count_stored(&mut self, batch: &[Token]) {
        for stream in 0..self.n_streams() {
            let n = batch.iter().filter(|t| self.stream(t.seqs[0]) == stream).count();
            for g in 0..self.stored.len() {
                let empty = self.seqs_of(stream).iter().all(|s| self.full.lists[g][*s as usize].is_empty());
                self.stored[g][stream] = if empty { n } else { self.stored[g][stream] + n };
            }
        }
    }

    fn shown(&self) -> Shown {
        let m = self.ctx.memory();
        // Windows that snapshots serve may come back at any time: only the base's cells are counted then.
        let groups = if self.kind.snapshots > 0 { 1 } else { m.used().len() };
        ((0..self.kind.n_seq).map(|s| (m.pos_min(s), m.pos_max(s))).collect(), m.used()[..groups].to_vec())
    }

    /// Positions as llama.h has them, and no more cells than there are.
    fn positions(&self) -> Result<(), Violation> {
        for s in 0..self.kind.n_seq {
            let (min, max) = (self.ctx.memory().pos_min(s), self.ctx.memory().pos_max(s));
            if max != self.full.pos_max(s) {
                return Err(format!("sequence {s}: pos_max {max:?}, should be {:?}", self.full.pos_max(s)));
            }
            let same = |g: &Vec<Cells>| {
                let at = |l: &Cells| l.iter().map(|c| c.pos).collect::<Vec<_>>();
                at(&g[s as usize]) == at(self.full.cells(s)) && g[s as usize].iter().all(|c| !c.lost)
            };
            if self.full.lists.iter().all(same) && min != self.full.pos_min(s) {
                return Err(format!("sequence {s}: pos_min {min:?}, though all is there from {:?} on", self.full.pos_min(s)));
            }
            if min < self.full.pos_min(s) {
                return Err(format!("sequence {s}: pos_min {min:?} before the first, {:?}", self.full.pos_min(s)));
            }
        }
        let most: usize = (0..self.n_streams()).map(|s| self.n_cells(&self.full.lists, 0, s, false)).sum();
        let used = self.ctx.memory().used()[0] as usize;
        if used > most { Err(format!("{used} cells in use for {most}")) } else { Ok(()) }
    }

    // ---- operations

    pub fn apply(&mut self, op: &Op) -> Result<(), Violation> {
        self.counts.ops += 1;
        match op {
            Op::Decode { parts, turns, start, seed, abort } => self.decode(parts, *turns, *start, *seed, *abort)?,
            Op::Clear => {
                self.ctx.memory_clear();
                self.full.clear();
            }
            Op::Rm { seq, p0, p1 } => self.change(op, |c| c.seq_rm(*seq, *p0, *p1).is_ok(), |f, _| f.rm(*seq, *p0, *p1))?,
            Op::Keep { seq } => self.change(op, |c| c.seq_keep(*seq).is_ok(), |f, _| f.keep(*seq))?,
            Op::Add { seq, p0, p1, delta } => {
                self.copies(*seq, *p0, *p1);
                self.change(op, |c| c.seq_add(*seq, *p0, *p1, *delta).is_ok(), |f, _| f.add(*seq, *p0, *p1, *delta))?;
            }
            Op::Div { seq, p0, p1, d } => {
                self.copies(*seq, *p0, *p1);
                self.change(op, |c| c.seq_div(*seq, *p0, *p1, *d).is_ok(), |f, _| f.div(*seq, *p0, *p1, *d))?;
            }
            Op::Cp { src, dst, p0, p1 } => self.cp(op, *src, *dst, *p0, *p1)?,
            Op::Save { seq, slot, partial } => self.save(*seq, *slot, *partial)?,
            Op::Load { slot, seq } => self.load(*slot, *seq)?,
            Op::Move { kind } => self.move_to(kind)?,
        }
        self.positions()
    }

    /// An operation that may be refused where it would leave a sequence without its window, and then changes nothing.
    fn change(&mut self, op: &Op, ours: impl Fn(&mut Context) -> bool, theirs: impl Fn(&mut FullHistory, bool)) -> Result<(), Violation> {
        let (before, lists) = (self.shown(), self.full.lists.clone());
        theirs(self.full, !self.kind.unified);
        if ours(&mut self.ctx) {
            return Ok(());
        }
        self.counts.refused_ops += 1;
        let full = |g| (0..self.n_streams()).any(|s| self.n_cells(&self.full.lists, g, s, self.is_ring(g)) > self.size(g));
        let why = (0..self.kind.n_seq).any(|s| !self.complete(s)) || (0..self.full.windows.len()).any(full);
        self.full.lists = lists;
        if self.shown() != before {
            return Err(format!("{op:?} was refused but changed {before:?} to {:?}", self.shown()));
        }
        if why { Ok(()) } else { Err(format!("{op:?} was refused: {} (everything is there)", platform::log::last_error())) }
    }

    /// A shift gives `seq` cells of its own for those that it shares: a ring may have to give up others for them.
    fn copies(&mut self, seq: u32, p0: i32, p1: i32) {
        let stream = self.stream(seq);
        for g in self.rings() {
            let lists = &self.full.lists[g];
            let others: BTreeSet<u64> =
                self.seqs_of(stream).iter().filter(|s| **s != seq).flat_map(|s| lists[*s as usize].iter().map(|c| c.id)).collect();
            let n = lists[seq as usize].iter().filter(|c| range(p0, p1).contains(&c.pos) && others.contains(&c.id)).count();
            self.stored[g][stream] += n;
        }
        self.forget(&[], false);
    }

    fn cp(&mut self, op: &Op, src: u32, dst: u32, p0: i32, p1: i32) -> Result<(), Violation> {
        let apart = self.stream(src) != self.stream(dst);
        if !apart && self.out_of_order(src, dst) {
            return Ok(());
        }
        let whole = self.full.cells(src).iter().all(|c| range(p0, p1).contains(&c.pos));
        if apart && !whole {
            // Parts cannot be copied across streams.
            let before = self.shown();
            return match self.ctx.seq_cp(src, dst, p0, p1) {
                Err(_) if self.shown() == before => Ok(()),
                r => Err(format!("{op:?}, a part across streams: {r:?}, {before:?} -> {:?}", self.shown())),
            };
        }
        self.change(op, |c| c.seq_cp(src, dst, p0, p1).is_ok(), |f, _| f.cp(src, dst, p0, p1, apart))?;
        for g in 0..self.stored.len() {
            let (from, to) = (self.stream(src), self.stream(dst));
            self.stored[g][to] = self.stored[g][from].max(self.stored[g][to]);
        }
        Ok(())
    }

    /// Whether two sequences have a position in common of which nobody knows any more whose came first.
    fn out_of_order(&self, a: u32, b: u32) -> bool {
        let old = |c: &&Cell| c.arrival <= self.mixed;
        self.full.cells(a).iter().filter(old).any(|c| self.full.cells(b).iter().filter(old).any(|d| c.pos == d.pos && c.id != d.id))
    }

    /// The tokens of a batch; `None` where coupled sequences are not at one position.
    fn tokens(&self, parts: &[(Vec<u32>, u32)], turns: bool, start: i32, seed: u64) -> Option<Vec<Token>> {
        let mut rng = Rng(seed);
        let mut next: Vec<i32> = (0..self.kind.n_seq).map(|s| self.full.pos_max(s).map_or(start, |p| p + 1)).collect();
        let mut order: Vec<(u32, usize)> = parts.iter().enumerate().flat_map(|(i, (_, n))| (0..*n).map(move |k| (k, i))).collect();
        if turns {
            order.sort_unstable();
        }
        let mut out = Vec::new();
        for (_, i) in order {
            let seqs = parts[i].0.clone();
            let pos = next[seqs[0] as usize];
            if seqs.iter().any(|s| next[*s as usize] != pos) {
                return None;
            }
            seqs.iter().for_each(|s| next[*s as usize] += 1);
            out.push(Token { id: rng.below(N_VOCAB - 2) as i32, pos, seqs });
        }
        (!out.is_empty()).then_some(out)
    }

    fn run(&mut self, tokens: &[Token], abort: Option<u32>) -> i32 {
        let ids: Vec<i32> = tokens.iter().map(|t| t.id).collect();
        let pos: Vec<i32> = tokens.iter().map(|t| t.pos).collect();
        let seqs = tokens.iter().map(|t| t.seqs.iter().map(|s| *s as i32).collect()).collect();
        let all = vec![1; tokens.len()];
        if let Some(n) = abort {
            let left = AtomicU32::new(n);
            self.ctx
                .set_abort(Some(Box::new(move || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_err())));
        }
        let view = BatchView {
            n_tokens: tokens.len(),
            tokens: Some(&ids),
            pos: Some(&pos),
            seqs: Some(seqs),
            logits: Some(&all),
            ..BatchView::default()
        };
        let rc = self.ctx.decode(&view);
        self.ctx.set_abort(None);
        rc
    }

    fn decode(&mut self, parts: &[(Vec<u32>, u32)], turns: bool, start: i32, seed: u64, abort: Option<u32>) -> Result<(), Violation> {
        let Some(tokens) = self.tokens(parts, turns, start, seed) else { return Ok(()) };
        let before = self.shown();
        let fits = self.fits(&tokens);
        self.counts.decodes += 1;
        self.counts.tokens += tokens.len() as u64;
        let rc = self.run(&tokens, abort);
        if rc == 1 || rc == -1 {
            if self.shown() != before {
                return Err(format!("decode gives {rc} but changed {before:?} to {:?}", self.shown()));
            }
            return self.refused(rc, &tokens, fits);
        }
        if rc != 0 && !(rc == 2 && abort.is_some()) {
            return Err(format!("decode gives {rc}: {}", platform::log::last_error()));
        }
        self.counts.aborted += u64::from(rc == 2);
        self.same_bits(&tokens, rc == 0)
    }

    fn refused(&mut self, rc: i32, tokens: &[Token], fits: bool) -> Result<(), Violation> {
        let coupled: Vec<&Vec<u32>> = tokens.iter().map(|t| &t.seqs).filter(|s| s.len() > 1).collect();
        if rc == 1 {
            // Whether there is room is asked after rotations were done.
            self.full.settle();
            self.counts.full += 1;
            let apart = coupled.iter().any(|l| l.iter().any(|s| self.stream(*s) != self.stream(l[0])));
            return if apart || !fits { Ok(()) } else { Err("decode gives 1 though there is room".into()) };
        }
        self.counts.refused_decodes += 1;
        let torn = tokens.iter().flat_map(|t| &t.seqs).any(|s| !self.complete(*s));
        let past = |s: u32| (self.ctx.memory().pos_min(s), self.ctx.memory().pos_max(s));
        let diverged = coupled.iter().any(|l| l.iter().any(|s| past(*s) != past(l[0])));
        if torn || diverged { Ok(()) } else { Err(format!("decode gives -1: {}", platform::log::last_error())) }
    }

    /// What was computed against the full history. Of an aborted batch a part: whole pieces, in order for every sequence.
    fn same_bits(&mut self, tokens: &[Token], done: bool) -> Result<(), Violation> {
        let got: Vec<Option<Vec<f32>>> = (0..tokens.len()).map(|i| self.ctx.outputs.logits_ith(i as i32).map(|l| l.to_vec())).collect();
        let kept: Vec<Token> = tokens.iter().zip(&got).filter(|(_, g)| g.is_some()).map(|(t, _)| t.clone()).collect();
        if done && kept.len() < tokens.len() {
            return Err(format!("{} of {} tokens have no logits", tokens.len() - kept.len(), tokens.len()));
        }
        self.count_stored(tokens);
        let expected = self.full.decode(&kept);
        self.forget(&kept, done);
        let wrong: Vec<(i32, u32, f32)> = kept
            .iter()
            .zip(got.iter().flatten())
            .zip(&expected)
            .filter(|((_, a), b)| a.iter().zip(*b).any(|(a, b)| a.to_bits() != b.to_bits()))
            .map(|((t, a), b)| (t.pos, t.seqs[0], a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)))
            .collect();
        match wrong.first() {
            None => Ok(()),
            Some((pos, seq, off)) => {
                Err(format!("{} of {} tokens have other logits, first sequence {seq} at {pos}, off by {off:e}", wrong.len(), kept.len()))
            }
        }
    }

    fn save(&mut self, seq: Option<u32>, slot: usize, partial: bool) -> Result<(), Violation> {
        let what = seq.map_or(What::Everything, |s| What::Seq { seq: s as i32, partial });
        let blob = blob(&mut self.ctx, what)?;
        let mut lists = match seq {
            None => {
                self.full.settle();
                self.full.lists.clone()
            }
            Some(s) => self.full.save(s).into_iter().map(|l| vec![l]).collect(),
        };
        for (g, l) in lists.iter_mut().enumerate().filter(|_| seq.is_some()) {
            // What the last token does not see is not written.
            let lo = l[0].last().map_or(0, |c| visible_from(self.full.windows[g], c.pos));
            l[0].iter_mut().filter(|c| c.pos < lo).for_each(|c| c.lost = true);
        }
        self.saved[slot] = Some(Saved { what, blob, lists });
        Ok(())
    }

    fn load(&mut self, slot: usize, seq: u32) -> Result<(), Violation> {
        // Whether snapshots bring back what windows restored alone leave missing depends on what was kept: not compared here.
        let torn = |s: &Saved| self.kind.snapshots > 0 && matches!(s.what, What::Seq { partial: true, .. });
        if self.saved[slot].as_ref().is_some_and(torn) {
            return Ok(());
        }
        let Some(saved) = self.saved[slot].take() else { return Ok(()) };
        // Rotations that wait are done first on both sides: whether a refused state does them is nobody's promise.
        self.ctx.settle().map_err(|e| e.to_string())?;
        self.full.settle();
        let done = match saved.what {
            What::Everything => self.load_all(&saved),
            What::Seq { partial, .. } => self.load_seq(&saved, seq, partial),
        };
        self.saved[slot] = Some(saved);
        done
    }

    fn load_all(&mut self, saved: &Saved) -> Result<(), Violation> {
        let before = self.shown();
        let fits =
            (0..self.n_streams()).all(|s| (0..self.full.windows.len()).all(|g| self.n_cells(&saved.lists, g, s, false) <= self.size(g)));
        match state::load(&mut self.ctx, What::Everything, &saved.blob) {
            Ok(_) => {
                self.full.restore_all(&saved.lists, !self.kind.unified);
                self.came(None);
                Ok(())
            }
            Err(e) => self.not_loaded(before, !fits, &e),
        }
    }

    fn load_seq(&mut self, saved: &Saved, seq: u32, partial: bool) -> Result<(), Violation> {
        // A memory without windows has no part that could be left out.
        let ring = self.full.windows.iter().position(|w| *w != Window::All);
        let (before, first, stream) = (self.shown(), ring.filter(|_| partial).unwrap_or(0), self.stream(seq));
        let mut others = self.full.lists.clone();
        others.iter_mut().for_each(|g| g[seq as usize].clear());
        let fits =
            (first..self.full.windows.len()).all(|g| self.n_cells(&others, g, stream, false) + saved.lists[g][0].len() <= self.size(g));
        let based = first == 0 || saved.lists[first..].iter().all(|l| within(&l[0], self.full.cells(seq)));
        match state::load(&mut self.ctx, What::Seq { seq: seq as i32, partial }, &saved.blob) {
            Ok(_) => {
                let lists: Vec<Cells> = saved.lists.iter().map(|l| l[0].clone()).collect();
                self.full.restore(seq, &lists, first);
                self.came(Some(seq));
                Ok(())
            }
            Err(e) => self.not_loaded(before, !fits || !based, &e),
        }
    }

    /// Restored cells are in the streams; what is masked need not have come.
    fn came(&mut self, seq: Option<u32>) {
        if seq.is_none() {
            self.mixed = self.full.clock();
        }
        for s in (0..self.kind.n_seq).filter(|s| seq.is_none_or(|x| x == *s)) {
            let stream = self.stream(s);
            for g in 0..self.stored.len() {
                self.stored[g][stream] += self.full.lists[g][s as usize].len();
            }
            self.rings().into_iter().for_each(|g| self.mark(g, s, 1));
        }
        self.forget(&[], false);
    }

    fn not_loaded(&mut self, before: Shown, why: bool, e: &llama::Error) -> Result<(), Violation> {
        self.counts.refused_loads += 1;
        if self.shown() != before {
            return Err(format!("a state was refused ({e}) but changed {before:?} to {:?}", self.shown()));
        }
        if why { Ok(()) } else { Err(format!("a state was refused: {e}")) }
    }

    /// Goes on in another context from this one's state.
    fn move_to(&mut self, kind: &Kind) -> Result<(), Violation> {
        let blob = blob(&mut self.ctx, What::Everything)?;
        self.full.settle();
        let (mut ctx, old) = (context(&self.model, kind), std::mem::replace(&mut self.kind, kind.clone()));
        let fits = (0..self.n_streams())
            .all(|s| (0..self.full.windows.len()).all(|g| self.n_cells(&self.full.lists, g, s, false) <= self.size(g)));
        match state::load(&mut ctx, What::Everything, &blob) {
            Ok(_) => {
                self.ctx = ctx;
                let lists = self.full.lists.clone();
                self.full.restore_all(&lists, !kind.unified);
                self.stored.iter_mut().for_each(|g| g.fill(0));
                self.came(None);
                Ok(())
            }
            Err(e) => {
                self.kind = old;
                self.counts.refused_loads += 1;
                if fits { Err(format!("a state was refused by {kind:?}: {e}")) } else { Ok(()) }
            }
        }
    }

    /// One more token of every sequence, against a context that has seen nothing else.
    pub fn against_scratch(&mut self) -> Result<(), Violation> {
        for seq in 0..self.kind.n_seq {
            let mut text: Vec<i32> = self.full.cells(seq).iter().map(|c| c.token).collect();
            let n = text.len();
            if n == 0 || !self.full.cells(seq).iter().enumerate().all(|(i, c)| c.pos == i as i32) {
                continue;
            }
            let next = Token { id: (n % 7) as i32, pos: n as i32, seqs: vec![seq] };
            if self.run(std::slice::from_ref(&next), None) != 0 {
                continue;
            }
            let got = self.ctx.outputs.logits_ith(0).expect("wanted").to_vec();
            self.count_stored(std::slice::from_ref(&next));
            self.full.decode(std::slice::from_ref(&next));
            self.forget(&[next], true);
            text.push((n % 7) as i32);
            let kind = Kind { n_seq: 1, n_ctx_seq: 4096, swa_full: true, unified: true, n_ubatch: 37, ..self.kind.clone() };
            let mut fresh = context(&self.model, &kind);
            let view = BatchView { n_tokens: text.len(), tokens: Some(&text), ..BatchView::default() };
            if fresh.decode(&view) != 0 {
                return Err(format!("{n} tokens from scratch: {}", platform::log::last_error()));
            }
            self.counts.scratch += 1;
            if fresh.outputs.logits_ith(-1).is_none_or(|l| l.iter().zip(&got).any(|(a, b)| a.to_bits() != b.to_bits())) {
                return Err(format!("sequence {seq} at {n} is not what it is from scratch"));
            }
        }
        Ok(())
    }
}

/// Whether `base` has for every cell of a window one of its own at that position.
fn within(window: &[Cell], base: &[Cell]) -> bool {
    let count = |l: &[Cell], pos: i32| l.iter().filter(|c| c.pos == pos).count();
    window.iter().all(|c| count(window, c.pos) <= count(base, c.pos))
}

fn blob(c: &mut Context, what: What) -> Result<Vec<u8>, Violation> {
    let n = state::size(c, what).map_err(|e| format!("the size of {what:?}: {e}"))?;
    let mut blob = vec![0; n];
    match state::save(c, what, &mut blob) {
        Ok(written) if written == n => Ok(blob),
        r => Err(format!("{what:?} has {n} bytes, writing gives {r:?}")),
    }
}

/// Types of K and V.
pub const KV: [(DType, DType); 4] =
    [(DType::F32, DType::F32), (DType::F16, DType::F16), (DType::Q8_0, DType::Q8_0), (DType::Q8_0, DType::F16)];
