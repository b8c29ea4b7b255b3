//! Where weights stay: as the file has them, in its map, or copied into the layout that a device's products read fastest. Bits do not depend on it.
//!
//! The copy takes as much memory as the weights, lies in huge pages, and is read as one stream; the file's pages are let go. Weights
//! that are only looked up, and models larger than half of what memory is free, stay where they are; so do they all where the caller wants no
//! extra buffers. Several processes on one model share the pages of its map; each has a copy of its own.
use crate::backend::{Backend, Buffer, Layout, Shard, Weight, WeightId};
use crate::gguf::{Source, TensorInfo};
use platform::error::Kind;
use platform::share::share;
use platform::{Backing, Error, Result, log};
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

/// Rows of a weight on their way.
struct Job {
    id: usize,
    rows: Range<usize>,
    at: usize,
}

impl Settle<'_> {
    /// Moves what is worth moving; `multiplied` says which weights are more than tables.
    pub fn run(&mut self, weights: &mut [Weight], multiplied: &dyn Fn(WeightId) -> bool, allowed: bool) -> Result<()> {
        let (start, asked) = (std::time::Instant::now(), asked());
        let mut moved = 0;
        for dev in self.backends {
            let of_dev = |(i, w): &(usize, &Weight)| w.shards[0].buf.device() == dev.device() && multiplied(WeightId(*i as u32));
            let ids: Vec<usize> =
                weights.iter().enumerate().filter(of_dev).filter(|(_, w)| dev.layout(w) != Layout::File).map(|(i, _)| i).collect();
            let bytes = ids.iter().map(|i| weights[*i].bytes().next_multiple_of(ALIGN)).sum();
            if worth(bytes, dev.room(), allowed, asked) {
                moved += self.copy(dev.as_ref(), weights, &ids, bytes)?;
            }
        }
        let all: usize = weights.iter().map(Weight::bytes).sum();
        let mib = |n: usize| n as f64 / f64::from(1 << 20);
        let (ours, file, s) = (mib(moved), mib(all - moved), start.elapsed().as_secs_f64());
        log::info(format!(
            "weights: {ours:.1} MiB in groups of rows (huge pages), {file:.1} MiB as in the file ({}), {s:.2} s",
            self.source.mode().name()
        ));
        self.lock(weights);
        if (self.progress)(1.0) { Ok(()) } else { Err(cancelled()) }
    }

    /// Bytes that were moved: none where memory is refused, which is told.
    fn copy(&mut self, dev: &dyn Backend, weights: &mut [Weight], ids: &[usize], bytes: usize) -> Result<usize> {
        let buf = match dev.alloc_in(bytes, "weights", &Backing::Mmap).and_then(|b| secured(b, bytes)) {
            Ok(b) => b,
            Err(e) => {
                log::warn(e.within("weights stay as the file has them"));
                return Ok(0);
            }
        };
        let (mut at, mut done, mut batch) = (0, 0, Vec::new());
        for (n, id) in ids.iter().enumerate() {
            batch.extend(jobs(*id, &weights[*id], at));
            at += weights[*id].bytes().next_multiple_of(ALIGN);
            if at - done >= BATCH || n + 1 == ids.len() {
                let (source, files, w) = (self.source, self.files, &*weights);
                share(&batch, |j: &Job| {
                    dev.relay(&w[j.id], j.rows.clone(), Layout::Groups, buf.as_ref(), j.at)?;
                    let_go(source, &files[j.id], &w[j.id], &j.rows);
                    Ok(())
                })?;
                leave(dev, weights, &batch, &buf);
                batch.clear();
                done = at;
                if !(self.progress)(done as f32 / bytes as f32) {
                    return Err(cancelled());
                }
            }
        }
        Ok(bytes)
    }

    /// In the modes that lock: copies by their buffer, the rest in the map. The first refusal is told, and ends it.
    fn lock(&self, weights: &[Weight]) {
        if !self.source.mode().locks() {
            return;
        }
        for (w, t) in weights.iter().zip(self.files) {
            let s = &w.shards[0];
            let mapped = s.layout == Layout::File && self.source.lock_tensor(t);
            let done = if mapped { Ok(()) } else { s.buf.lock(s.at..s.at + w.bytes()) };
            if let Err(e) = done {
                return log::warn(e.within("the model is not locked in memory"));
            }
        }
    }
}

/// The file's pages of rows that were moved: at once, or the largest tensor is there twice.
fn let_go(source: &Source, t: &TensorInfo, w: &Weight, rows: &Range<usize>) {
    if let Some(map) = source.map(t.file) {
        let at = w.shards[0].at;
        map.let_go(at + rows.start * w.row_bytes()..at + rows.end * w.row_bytes());
    }
}

/// The moved weights are in `buf` now.
fn leave(dev: &dyn Backend, weights: &mut [Weight], batch: &[Job], buf: &Arc<dyn Buffer>) {
    for j in batch.iter().filter(|j| j.rows.start == 0) {
        let w = &mut weights[j.id];
        w.shards = vec![Shard { node: 0, rows: 0..w.shape[1], layout: dev.layout(w), buf: buf.clone(), at: j.at }];
    }
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

/// Whether `bytes` of weights are copied: what was asked for, else where the caller allows it and half of the free memory holds them.
fn worth(bytes: usize, room: u64, allowed: bool, asked: Option<Layout>) -> bool {
    bytes > 0 && asked.map_or(allowed && bytes as u64 <= room / 2, |layout| layout == Layout::Groups)
}

/// Pages are taken before anything is moved: memory that is refused leaves everything as it was.
fn secured(buf: Arc<dyn Buffer>, bytes: usize) -> Result<Arc<dyn Buffer>> {
    let parts: Vec<Range<usize>> = (0..bytes).step_by(BATCH).map(|at| at..(at + BATCH).min(bytes)).collect();
    share(&parts, |r| buf.secure(r.clone()))?;
    Ok(buf)
}

/// A weight in pieces of whole groups, to `at`.
fn jobs(id: usize, w: &Weight, at: usize) -> impl Iterator<Item = Job> {
    let (n, row_bytes) = (w.shape[1] as usize * w.shape[2] as usize, w.row_bytes());
    // Pieces hold whole groups.
    let step = (PIECE / row_bytes.max(1)).next_multiple_of(kernels::quant::ROW_GRANULE);
    (0..n).step_by(step).map(move |r| Job { id, rows: r..(r + step).min(n), at: at + r * row_bytes })
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, "loading was cancelled by the progress callback")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_copied_where_half_of_the_free_memory_holds_them() {
        assert!(worth(50, 100, true, None) && !worth(51, 100, true, None));
        assert!(!worth(50, 100, false, None), "the caller wants no extra buffers");
        assert!(!worth(0, 100, true, None) && !worth(0, 100, true, Some(Layout::Groups)), "nothing to copy");
        assert!(worth(101, 100, false, Some(Layout::Groups)) && !worth(1, 100, true, Some(Layout::File)), "who asks is served");
    }
}
