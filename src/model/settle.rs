//! Where weights stay: as the file has them, in its map, or copied into the layout that a device's products read fastest, or to the nodes that
//! multiply them. Bits do not depend on it.
//!
//! The copy takes as much memory as the weights, lies in huge pages, and is read as one stream; the file's pages are let go. Weights
//! that are only looked up, and models larger than half of what memory is free, stay where they are; so do they all where the caller wants no
//! extra buffers. Several processes on one model share the pages of its map; each has a copy of its own.
use crate::backend::{Backend, Buffer, Layout, Shard, Weight, WeightId};
use crate::gguf::{Source, TensorInfo};
use platform::error::Kind;
use platform::{Error, Result, log};
use std::ops::Range;
use std::sync::Arc;

pub struct Settle<'a> {
    pub source: &'a Source,
    pub backends: &'a [Arc<dyn Backend>],
    /// The tensor that each weight is rows of.
    pub files: &'a [TensorInfo],
    pub progress: &'a mut dyn FnMut(f32) -> bool,
}

/// Bytes that are moved between two calls of the progress callback.
const BATCH: usize = 64 << 20;
/// Bytes that a thread moves at a time: a whole number of huge pages, few enough to keep threads level.
const PIECE: usize = 4 << 20;

/// Rows of a weight on their way, counted through all matrices of a stack.
struct Job {
    id: usize,
    rows: Range<usize>,
    /// In the buffer of the node.
    at: usize,
}

/// Where the weights of a device go.
struct Target {
    ids: Vec<usize>,
    /// Of each weight: node, rows of each matrix, first byte in the node's buffer.
    parts: Vec<Vec<(u32, Range<u32>, usize)>>,
    /// Of each node.
    bytes: Vec<usize>,
}

impl Settle<'_> {
    /// Moves what is worth moving; `multiplied` says which weights are more than tables.
    pub fn run(&mut self, weights: &mut [Weight], multiplied: &dyn Fn(WeightId) -> bool, allowed: bool) -> Result<()> {
        let (start, asked) = (std::time::Instant::now(), asked());
        let mut moved = 0;
        for dev in self.backends {
            let moves = |(i, w): &(usize, &Weight)| dev.places() || multiplied(WeightId(*i as u32)) && dev.layout(w) != Layout::File;
            let of_dev = |(_, w): &(usize, &Weight)| w.shards[0].buf.device() == dev.device();
            let ids = weights.iter().enumerate().filter(of_dev).filter(moves).map(|(i, _)| i).collect();
            let target = target(dev.as_ref(), weights, ids);
            let bytes = target.bytes.iter().sum();
            if worth(bytes, dev.room(), allowed, asked, dev.places()) {
                moved += self.copy(dev.as_ref(), weights, &target)?;
            } else if dev.places() && bytes > 0 {
                log::warn(format!("numa: no room for {} MiB of weights: they stay as the file has them, wherever that is", bytes >> 20));
            }
        }
        let all: usize = weights.iter().map(Weight::bytes).sum();
        let mib = |n: usize| n as f64 / f64::from(1 << 20);
        let (ours, file, s) = (mib(moved), mib(all - moved), start.elapsed().as_secs_f64());
        log::info(format!(
            "weights: {ours:.1} MiB copied (huge pages), {file:.1} MiB as in the file ({}), {s:.2} s",
            self.source.mode().name()
        ));
        self.lock(weights);
        if (self.progress)(1.0) { Ok(()) } else { Err(cancelled()) }
    }

    /// Bytes that were moved, copies counted once: none where memory is refused, which is told.
    fn copy(&mut self, dev: &dyn Backend, weights: &mut [Weight], t: &Target) -> Result<usize> {
        let buffers = match buffers(dev, &t.bytes) {
            Ok(b) => b,
            Err(e) => {
                log::warn(e.within("weights stay as the file has them"));
                return Ok(0);
            }
        };
        let all: usize = t.ids.iter().map(|id| weights[*id].bytes()).sum();
        let (mut done, mut first, mut batch) = (0, 0, 0);
        for n in 0..t.ids.len() {
            batch += weights[t.ids[n]].bytes();
            if batch < BATCH && n + 1 < t.ids.len() {
                continue;
            }
            let mut jobs: Vec<Vec<Job>> = t.bytes.iter().map(|_| Vec::new()).collect();
            for (id, parts) in t.ids[first..=n].iter().zip(&t.parts[first..=n]) {
                parts.iter().for_each(|(node, rows, at)| jobs[*node as usize].extend(jobs_of(*id, &weights[*id], rows, *at)));
            }
            let (source, files, w) = (self.source, self.files, &*weights);
            let counts: Vec<usize> = jobs.iter().map(Vec::len).collect();
            dev.share(&counts, &|node, i| {
                let j = &jobs[node][i];
                dev.relay(&w[j.id], j.rows.clone(), dev.layout(&w[j.id]), buffers[node].as_ref(), j.at)?;
                let_go(source, &files[j.id], &w[j.id], &j.rows);
                Ok(())
            })?;
            for (id, parts) in t.ids[first..=n].iter().zip(&t.parts[first..=n]) {
                leave(dev, &mut weights[*id], parts, &buffers);
            }
            (done, first, batch) = (done + batch, n + 1, 0);
            if !(self.progress)(done as f32 / all as f32) {
                return Err(cancelled());
            }
        }
        Ok(all)
    }

    /// In the modes that lock: copies by their buffer, the rest in the map. The first refusal is told, and ends it.
    fn lock(&self, weights: &[Weight]) {
        if !self.source.mode().locks() {
            return;
        }
        for (w, t) in weights.iter().zip(self.files) {
            let mapped = in_file(w) && self.source.lock_tensor(t);
            let lock = |s: &Shard| s.buf.lock(s.at..s.at + w.row_bytes() * s.rows.len() * w.shape[2] as usize);
            let done = if mapped { Ok(()) } else { w.shards.iter().try_for_each(lock) };
            if let Err(e) = done {
                return log::warn(e.within("the model is not locked in memory"));
            }
        }
    }
}

/// Whether a weight is a part of the map of its file.
fn in_file(w: &Weight) -> bool {
    w.shards[0].buf.host().is_some_and(|m| !m.writable)
}

/// The file's pages of rows that were moved: at once, or the largest tensor is there twice.
fn let_go(source: &Source, t: &TensorInfo, w: &Weight, rows: &Range<usize>) {
    if let Some(map) = source.map(t.file).filter(|_| in_file(w)) {
        let at = w.shards[0].at;
        map.let_go(at + rows.start * w.row_bytes()..at + rows.end * w.row_bytes());
    }
}

/// A weight is in `buffers` now.
fn leave(dev: &dyn Backend, w: &mut Weight, parts: &[(u32, Range<u32>, usize)], buffers: &[Arc<dyn Buffer>]) {
    let layout = dev.layout(w);
    let shard = |(node, rows, at): &(u32, Range<u32>, usize)| {
        let buf = buffers[*node as usize].clone();
        Shard { node: *node, rows: rows.clone(), layout, buf, at: *at }
    };
    w.shards = parts.iter().map(shard).collect();
}

/// Where the weights `ids` go: one buffer a node, one after the other in it.
fn target(dev: &dyn Backend, weights: &[Weight], ids: Vec<usize>) -> Target {
    let list: Vec<&Weight> = ids.iter().map(|i| &weights[*i]).collect();
    let spread = dev.spread(&list);
    let nodes = spread.iter().flatten().map(|p| p.0 as usize + 1).max().unwrap_or(1);
    let mut bytes = vec![0; nodes];
    let mut part = |w: &Weight, (node, rows): (u32, Range<u32>)| {
        let (n, end) = (w.row_bytes() * rows.len() * w.shape[2] as usize, &mut bytes[node as usize]);
        *end += n.next_multiple_of(ALIGN);
        (node, rows, *end - n.next_multiple_of(ALIGN))
    };
    let parts = list.iter().zip(spread).map(|(w, s)| s.into_iter().map(|p| part(w, p)).collect()).collect();
    Target { ids, parts, bytes }
}

/// Weights start on cache lines.
const ALIGN: usize = 64;

/// What the user asked for, `None` for nothing; a word that is not known counts as nothing and is told.
fn asked() -> Option<Layout> {
    match platform::env::get("CAMELID_WEIGHTS")?.as_str() {
        "file" => Some(Layout::File),
        "groups" => Some(Layout::Groups),
        other => {
            log::warn(format!("CAMELID_WEIGHTS={other} is neither `file` nor `groups`: decided as if it were not set"));
            None
        }
    }
}

/// Whether `bytes` of weights are copied: what was asked for, else where the caller allows it and half of the free memory holds them, or where they
/// are to be on certain nodes and there is room.
fn worth(bytes: usize, room: u64, allowed: bool, asked: Option<Layout>, places: bool) -> bool {
    if places {
        return bytes > 0 && bytes as u64 <= room;
    }
    bytes > 0 && asked.map_or(allowed && bytes as u64 <= room / 2, |layout| layout == Layout::Groups)
}

/// A buffer for each node. Pages are taken before anything is moved: memory that is refused leaves everything as it was.
fn buffers(dev: &dyn Backend, bytes: &[usize]) -> Result<Vec<Arc<dyn Buffer>>> {
    let on = |(node, n): (usize, &usize)| dev.alloc_on(node as u32, (*n).max(1), "weights");
    let all = bytes.iter().enumerate().map(on).collect::<Result<Vec<_>>>()?;
    let counts: Vec<usize> = bytes.iter().map(|n| n.div_ceil(BATCH)).collect();
    dev.share(&counts, &|node, i| all[node].secure(i * BATCH..((i + 1) * BATCH).min(bytes[node])))?;
    Ok(all)
}

/// Rows `rows` of each matrix of a weight in pieces, to `at` on.
fn jobs_of(id: usize, w: &Weight, rows: &Range<u32>, at: usize) -> impl Iterator<Item = Job> {
    let (all, row_bytes) = (w.shape[1] as usize, w.row_bytes());
    // Pieces hold whole groups.
    let step = (PIECE / row_bytes.max(1)).next_multiple_of(kernels::quant::ROW_GRANULE);
    let (start, n) = (rows.start as usize, rows.len());
    // All rows are one run through the whole stack.
    let (runs, len) = if n == all { (1, all * w.shape[2] as usize) } else { (w.shape[2] as usize, n) };
    let of_run = move |i: usize| {
        let first = i * all + start;
        (0..len).step_by(step).map(move |r| Job { id, rows: first + r..first + (r + step).min(len), at: at + (i * n + r) * row_bytes })
    };
    (0..runs).flat_map(of_run)
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, "loading was cancelled by the progress callback")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_copied_where_half_of_the_free_memory_holds_them() {
        assert!(worth(50, 100, true, None, false) && !worth(51, 100, true, None, false));
        assert!(!worth(50, 100, false, None, false), "the caller wants no extra buffers");
        assert!(!worth(0, 100, true, None, true) && !worth(0, 100, true, Some(Layout::Groups), false), "nothing to copy");
        assert!(worth(100, 100, false, None, true) && !worth(101, 100, true, None, true), "where they are to be placed");
        assert!(
            worth(101, 100, false, Some(Layout::Groups), false) && !worth(1, 100, true, Some(Layout::File), false),
            "who asks is served"
        );
    }
}
