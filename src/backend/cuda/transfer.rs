//! How runs of bytes go between host and device: a pure plan. Large runs are copied by themselves, the others are packed and put in place by a
//! kernel, so that the number of calls does not grow with the number of runs.
use crate::backend::Copy2d;

/// Runs from here on are copies of their own: the link is busy for 40 us with them, a call costs 5.
const LARGE: usize = 512 << 10;
/// Bytes of a piece that one block of the kernel moves.
const PIECE: usize = 16 << 10;
/// Pieces start here in the packed list, so that most can be moved 16 bytes at a time.
const ALIGN: usize = 16;

/// `len` bytes between `place` of the buffer and `from` of the host's memory, at `at` of the packed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub place: usize,
    pub from: usize,
    pub at: usize,
    pub len: usize,
}

/// What goes through the staging memory at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub pieces: Vec<Piece>,
    /// Bytes of the packed list.
    pub bytes: usize,
    /// Each piece is a copy to its place; else one copy and a kernel.
    pub direct: bool,
}

/// (place, from, len) of every run, those that follow each other on both sides as one. `place` is `at` of the copies, or `from` where these read.
fn runs(list: &[Copy2d], reads: bool) -> Vec<(usize, usize, usize)> {
    let mut out: Vec<(usize, usize, usize)> = Vec::new();
    for c in list {
        for i in 0..c.rows {
            let (at, from) = (c.at + i * c.at_pitch, c.from + i * c.from_pitch);
            let (place, host) = if reads { (from, at) } else { (at, from) };
            match out.last_mut() {
                Some(l) if l.0 + l.2 == place && l.1 + l.2 == host => l.2 += c.width,
                _ => out.push((place, host, c.width)),
            }
        }
    }
    out.retain(|r| r.2 > 0);
    out
}

/// The batches for a list of copies through `room` bytes of staging memory, in the order of the list.
pub fn plan(list: &[Copy2d], room: usize, reads: bool) -> Vec<Batch> {
    let mut out: Vec<Batch> = Vec::new();
    let mut packed = Batch { pieces: Vec::new(), bytes: 0, direct: false };
    for (place, from, len) in runs(list, reads) {
        let (direct, most) = if len >= LARGE { (true, room) } else { (false, PIECE) };
        let mut done = 0;
        while done < len {
            let n = (len - done).min(most);
            let piece = |at| Piece { place: place + done, from: from + done, at, len: n };
            if direct {
                out.push(Batch { pieces: vec![piece(0)], bytes: n, direct });
            } else {
                if packed.bytes + n > room {
                    out.push(std::mem::replace(&mut packed, Batch { pieces: Vec::new(), bytes: 0, direct: false }));
                }
                packed.pieces.push(piece(packed.bytes));
                packed.bytes = (packed.bytes + n).next_multiple_of(ALIGN);
            }
            done += n;
        }
    }
    if let [one] = packed.pieces[..] {
        // A lone piece is there with one call as well.
        out.push(Batch { pieces: vec![one], bytes: one.len, direct: true });
    } else if !packed.pieces.is_empty() {
        out.push(packed);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOM: usize = 4 << 20;

    fn calls(batches: &[Batch]) -> usize {
        batches.iter().map(|b| if b.direct { 1 } else { 3 }).sum()
    }

    #[test]
    fn fragments_cost_a_few_calls() {
        // 32k rows of 128 bytes, each by itself: 4 MiB.
        let list: Vec<Copy2d> = (0..32 << 10).map(|i| Copy2d::flat(256 * i, 128 * i, 128)).collect();
        assert_eq!(calls(&plan(&list, ROOM, false)), 3);
        let whole = [Copy2d::flat(0, 0, 64 << 20)];
        assert_eq!(plan(&whole, ROOM, false).iter().map(|b| b.bytes).collect::<Vec<_>>(), [ROOM; 16]);
        let rows = [Copy2d { at: 0, from: 0, width: 64, rows: 1000, at_pitch: 64, from_pitch: 64 }];
        assert_eq!(plan(&rows, ROOM, true).iter().map(|b| b.pieces.iter().map(|p| p.len).sum::<usize>()).sum::<usize>(), 64_000);
    }

    proptest! {
        /// Every byte of every run goes to its place once, no batch is larger than the room, and pieces do not overlap in it.
        #[test]
        fn a_plan_is_the_copies(sizes in prop::collection::vec((1usize..3000, 1usize..5, 0usize..40), 1..30), reads: bool, big in 0usize..3) {
            let (mut at, mut from, mut list) = (0, 0, Vec::new());
            for (i, (width, rows, gap)) in sizes.iter().enumerate() {
                let width = if i < big { width * 1000 } else { *width };
                list.push(Copy2d { at, from, width, rows: *rows, at_pitch: width + gap, from_pitch: width + gap / 2 });
                at += (width + gap) * rows;
                from += (width + gap / 2) * rows;
            }
            let n = at.max(from);
            let src: Vec<u8> = (0..n).map(|i| (i * 7 + i / 256) as u8).collect();
            let copied = |pairs: &mut dyn Iterator<Item = (usize, usize, usize)>| {
                let mut dst = vec![0u8; n];
                pairs.for_each(|(to, from, len)| dst[to..to + len].copy_from_slice(&src[from..from + len]));
                dst
            };
            let want = copied(&mut list.iter().flat_map(|c| (0..c.rows).map(move |i| (c.at + i * c.at_pitch, c.from + i * c.from_pitch, c.width))));
            let room = 1 << 20;
            let batches = plan(&list, room, reads);
            for b in &batches {
                prop_assert!(b.bytes <= room && b.pieces.iter().all(|p| p.at + p.len <= b.bytes.max(p.len)));
                prop_assert!(b.pieces.windows(2).all(|p| p[0].at + p[0].len <= p[1].at));
            }
            let pieces = batches.iter().flat_map(|b| &b.pieces);
            let got = copied(&mut pieces.map(|p| if reads { (p.from, p.place, p.len) } else { (p.place, p.from, p.len) }));
            prop_assert_eq!(got, want);
        }
    }
}
