//! What queries see, as the kernels read it: the leaves of a group, their segments, and how leaves stand in spans.
use super::exec::Run;
use crate::backend::*;
use kernels::attn::SPAN_LEAVES;
use platform::{Error, Result};

/// Where a group's views are on the device.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    pub queries: u64,
    pub leaves: u64,
    pub segs: u64,
    pub span_of: u64,
    pub spans: u64,
    pub dst: u64,
    pub pos: u64,
    /// Of the query that sees the most.
    pub n_spans: usize,
}

/// For each leaf the number of its span, and the first leaf of each span (one more than there are). A span is some neighbours in the list whose tiles
/// are of one stretch of positions: those of two sequences may count as one, queries cut them apart.
fn spans(leaves: &[Leaf]) -> (Vec<u32>, Vec<u32>) {
    let stretch = |l: &Leaf| l.tile.div_euclid(SPAN_LEAVES as i32);
    let (mut of, mut starts) = (Vec::with_capacity(leaves.len()), Vec::new());
    for (i, l) in leaves.iter().enumerate() {
        if i == 0 || stretch(&leaves[i - 1]) != stretch(l) {
            starts.push(i as u32);
        }
        of.push(starts.len() as u32 - 1);
    }
    starts.push(leaves.len() as u32);
    (of, starts)
}

/// Brings a group's views to the device, once per run.
pub fn seen(r: &mut Run<'_>, g: GroupId) -> Result<Seen> {
    let Some(io) = r.io else { return Ok(Seen { n_spans: 1, ..Seen::default() }) };
    if let Some(s) = r.seen.get(&g.0) {
        return Ok(*s);
    }
    let v = io.views.get(g.0 as usize).ok_or_else(|| Error::invalid(format!("nothing is seen of group {}", g.0)))?;
    let (span_of, starts) = spans(&v.leaves);
    let of_row =
        |q: &QueryRow| if q.leaves.is_empty() { 1 } else { span_of[q.leaves.end as usize - 1] - span_of[q.leaves.start as usize] + 1 };
    let leaves: Vec<[u32; 4]> =
        v.leaves.iter().map(|l| [l.tile as u32, l.segs.start, l.segs.end, u32::from(l.from) | u32::from(l.to) << 8]).collect();
    let segs: Vec<[u32; 2]> =
        v.segs.iter().map(|s| [s.block.0, u32::from(s.slot) | u32::from(s.at) << 16 | u32::from(s.len) << 24]).collect();
    let queries: Vec<[u32; 4]> = v.rows.iter().map(|q| [q.leaves.start, q.leaves.end, q.lo as u32, q.hi as u32]).collect();
    let dst: Vec<[u32; 2]> = v.dst.iter().map(|d| [d.0.0, u32::from(d.1)]).collect();
    let pos: Vec<i32> = (0..io.ub.n_tokens()).map(|i| io.ub.pos_of(i)).collect();
    let s = Seen {
        queries: r.input(&queries)?,
        leaves: r.input(&leaves)?,
        segs: r.input(&segs)?,
        span_of: r.input(&span_of)?,
        spans: r.input(&starts)?,
        dst: r.input(&dst)?,
        pos: r.input(&pos)?,
        n_spans: v.rows.iter().map(of_row).max().unwrap_or(1) as usize,
    };
    r.seen.insert(g.0, s);
    Ok(s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_stretches_of_sixteen_tiles() {
        let leaves = |tiles: &[i32]| tiles.iter().map(|t| Leaf { tile: *t, segs: 0..0, from: 0, to: 1 }).collect::<Vec<_>>();
        assert_eq!(spans(&leaves(&[0, 1, 15, 16, 16, 40])), (vec![0, 0, 0, 1, 1, 2], vec![0, 3, 5, 6]));
        assert_eq!(spans(&leaves(&[-1, 0])), (vec![0, 1], vec![0, 1, 2]));
        assert_eq!(spans(&[]), (vec![], vec![0]));
    }
}
