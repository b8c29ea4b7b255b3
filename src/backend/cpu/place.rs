//! Which rows of a weight belong to which node. Vectors are on every node: they are small, and wanted whole by all.
use super::GRANULE;
use crate::backend::Weight;
use platform::log;
use platform::numa::{Nodes, Strategy, pages};
use std::ops::Range;

/// Cuts are multiples of this: two halves of a matrix may be used by themselves, and each is whole groups.
const CUT: usize = 2 * GRANULE as usize;

pub fn spread(nodes: &Nodes, weights: &[&Weight]) -> Vec<Vec<(u32, Range<u32>)>> {
    let everywhere = |w: &Weight| (0..nodes.len() as u32).map(|n| (n, 0..w.shape[1])).collect();
    let mirrors = nodes.strategy == Strategy::Mirror && holds_copies(nodes, weights.iter().map(|w| w.bytes() as u64).sum());
    let cut = |w: &Weight| -> Vec<(u32, Range<u32>)> {
        let parts = nodes.cut(w.shape[1] as usize, CUT).into_iter().enumerate();
        parts.filter(|(_, p)| !p.is_empty()).map(|(n, p)| (n as u32, p.start as u32..p.end as u32)).collect()
    };
    let of = |w: &&Weight| match nodes.strategy {
        Strategy::Distribute => vec![(0, 0..w.shape[1])],
        _ if mirrors || w.shape[1] * w.shape[2] == 1 => everywhere(w),
        _ => cut(w),
    };
    weights.iter().map(of).collect()
}

/// Whether every node has room for all weights; where one has not they are cut, which is told.
fn holds_copies(nodes: &Nodes, bytes: u64) -> bool {
    let short = nodes.homes.iter().find_map(|h| h.os.zip(h.os.and_then(pages::free_memory)).filter(|(_, free)| *free < bytes));
    if let Some((node, free)) = short {
        let mib = |n: u64| n >> 20;
        log::warn(format!(
            "numa: node {node} has {} MiB free for a copy of {} MiB: matrices are cut by rows instead",
            mib(free),
            mib(bytes)
        ));
    }
    short.is_none()
}
