//! The original's rules one by one, its recorded positions, and a property test against a map.
use super::*;
use crate::backend::io::SeqSet;

pub fn spec(window: Window, size: u32) -> GroupSpec {
    GroupSpec { window, size, cells_per_block: 32, keep_masked: false }
}

/// A ubatch of (position, sequences); the first sequence of each is the one it was named with first.
pub fn ubatch(tokens: &[(i32, &[u32])]) -> Ubatch {
    let mut ub = Ubatch { n_pos_per_token: 1, ..Ubatch::default() };
    for (i, (pos, seqs)) in tokens.iter().enumerate() {
        let mut set = SeqSet::default();
        seqs.iter().for_each(|s| set.insert(*s));
        ub.tokens.push(0);
        ub.pos.push(*pos);
        ub.seqs.push(set);
        ub.first_seq.push(seqs[0]);
        ub.output.push(false);
        ub.index.push(i as u32);
    }
    ub
}

pub fn span(seq: u32, p: std::ops::Range<i32>) -> Ubatch {
    let seqs = [seq];
    ubatch(&p.map(|p| (p, &seqs[..])).collect::<Vec<_>>())
}

fn decode(m: &mut Memory, seq: u32, p: std::ops::Range<i32>) {
    let placed = m.apply(&span(seq, p), true).expect("room");
    m.commit(placed);
}

/// n_swa 32, n_ctx 1024, n_ubatch 32 of the conformance model gemma3-dense.
fn gemma3() -> Memory {
    let ring = ring_size(1024, 32, true, 1, 32, false);
    Memory::new(vec![spec(Window::All, 1024), spec(Window::Sliding(32), ring)], 1, true).expect("valid")
}

/// The numbers of golden/gemma3-dense.npz: `swa_ring.pos` and `swa_ring.d_pos`, (pos_min, pos_max) after every decode of 64 and then of 1 token.
#[test]
fn ring_positions_are_the_recorded_ones() {
    let mut m = gemma3();
    let recorded = [(0, 63), (0, 127), (0, 191), (0, 255), (64, 319)];
    for (i, (min, max)) in recorded.into_iter().enumerate() {
        let p = 64 * i as i32;
        m.check(&[span(0, p..p + 32), span(0, p + 32..p + 64)]).expect("room");
        decode(&mut m, 0, p..p + 32);
        decode(&mut m, 0, p + 32..p + 64);
        assert_eq!((m.pos_min(0), m.pos_max(0)), (Some(min), Some(max)));
    }
    for i in 0..16 {
        decode(&mut m, 0, 320 + i..321 + i);
        assert_eq!((m.pos_min(0), m.pos_max(0)), (Some(65 + i), Some(320 + i)));
    }
    assert_eq!(m.used(), [336, 256]);
}

fn two_groups(size: u32, window: Window, ring: u32, unified: bool) -> Memory {
    Memory::new(vec![spec(Window::All, size), spec(window, ring)], 4, unified).expect("valid")
}

#[test]
fn specs_are_checked() {
    let new = |g: GroupSpec| Memory::new(vec![spec(Window::All, 256), g], 1, true).map(drop).map_err(|e| e.to_string());
    assert!(new(spec(Window::Sliding(0), 256)).unwrap_err().contains("empty window"));
    assert!(new(spec(Window::All, 0)).unwrap_err().contains("0 cells"));
    assert!(new(GroupSpec { cells_per_block: 48, ..spec(Window::All, 256) }).unwrap_err().contains("48"));
    assert!(Memory::new(vec![spec(Window::Sliding(8), 256)], 1, true).is_err(), "the base gives nothing up");
    assert!(Memory::new(Vec::new(), 1, true).is_err() && Memory::new(vec![spec(Window::All, 256)], 257, true).is_err());
}

/// What 3.5.1 of the field report shows the original losing in silence.
#[test]
fn a_rewind_past_the_window_is_refused() {
    let mut m = gemma3();
    for p in 0..19 {
        decode(&mut m, 0, 32 * p..32 * p + 32);
    }
    assert_eq!((m.pos_min(0), m.pos_max(0)), (Some(352), Some(607)));
    let before = m.clone();
    assert!(m.seq_rm(Some(0), 100, i32::MAX).is_err());
    assert!(m.state() == before.state());
    assert!(!m.can_continue(0, 382) && m.can_continue(0, 383), "a token at p sees p-31..=p");
    assert!(m.seq_rm(Some(0), 382, i32::MAX).is_err());
    assert!(m.seq_rm(Some(0), 383, i32::MAX).is_ok());
    assert_eq!((m.pos_min(0), m.pos_max(0)), (Some(352), Some(382)));
    assert!(m.seq_rm(Some(0), 0, i32::MAX).is_ok(), "a whole sequence always goes");
    assert_eq!((m.pos_min(0), m.used()), (None, vec![0, 0]));
    let mut compat = before.with_compat(true);
    assert!(compat.seq_rm(Some(0), 100, i32::MAX).is_ok());
    assert_eq!((compat.pos_min(0), compat.pos_max(0), compat.used()), (None, None, vec![100, 0]));
}

/// 3.5.3: a prefix of 300 tokens shared by four sequences; the original is full after ~64 more tokens.
#[test]
fn a_shared_prefix_does_not_block_a_ring() {
    let run = |compat: bool| {
        let ring = ring_size(2048, 32, true, 4, 32, false);
        let mut m = two_groups(2048, Window::Sliding(32), ring, true).with_compat(compat);
        (0..10).for_each(|p| decode(&mut m, 0, 30 * p..30 * p + 30));
        (1..4).for_each(|s| assert_eq!(m.seq_cp(0, s, 0, i32::MAX), Ok(())));
        let turns = (300..).flat_map(|p| (0..4).map(move |s| span(s, p..p + 1)));
        turns.take_while(|ub| m.apply(ub, true).map(|p| m.commit(p)).is_ok()).count()
    };
    assert_eq!(run(false), 2048 - 300, "to the end of the base");
    assert!(run(true) < 200);
}

/// 3.5.2: swa_full means that nothing is lost, and 1 when there is no room.
#[test]
fn swa_full_keeps_masked_cells() {
    let full = GroupSpec { keep_masked: true, ..spec(Window::Sliding(16), 128) };
    let mut m = Memory::new(vec![spec(Window::All, 256), full], 2, true).expect("valid");
    (0..4).for_each(|p| decode(&mut m, 0, 32 * p..32 * p + 32));
    assert_eq!(m.check(&[span(0, 128..129)]), Err(Full));
    assert_eq!(m.pos_min(0), Some(0));
    let mut compat = m.with_compat(true);
    assert_eq!(compat.check(&[span(0, 128..129)]), Ok(()));
}

#[test]
fn streams_count_their_own_cells() {
    let mut m = two_groups(64, Window::Sliding(8), 64, false);
    decode(&mut m, 2, 0..64);
    decode(&mut m, 1, 0..40);
    assert_eq!(m.check(&[span(2, 64..65)]), Err(Full));
    assert_eq!(m.check(&[span(1, 40..64)]), Ok(()));
    assert_eq!(m.check(&[span(1, 40..64), span(1, 64..65)]), Err(Full));
    assert_eq!(m.used(), [104, 104]);
    assert_eq!(m.check(&[ubatch(&[(0, &[0, 3])])]), Err(Full), "a token of two streams");
    assert_eq!(m.pos_max(4), None);
    assert!(m.seq_rm(Some(4), 0, i32::MAX).is_err());
    assert!(m.seq_cp(2, 3, 0, 10).is_err(), "only whole sequences");
    let blocks = m.used_blocks();
    m.seq_cp(2, 3, -1, -1).expect("whole");
    assert_eq!((m.pos_max(3), m.used_blocks()), (Some(63), blocks), "it costs cells, not blocks");
    m.seq_keep(3).expect("any");
    assert_eq!((m.used(), m.pos_max(1)), (vec![64, 64], None));
}

#[test]
fn blocks_come_with_the_first_cell_and_go_with_the_last() {
    let mut m = Memory::new(vec![spec(Window::All, 256)], 2, true).expect("valid");
    let p = m.apply(&span(0, 0..40), true).expect("room");
    assert_eq!(m.blocks(), [(0, BlockId(0)), (0, BlockId(1))].into());
    assert_eq!(p.views[0].dst[39], (BlockId(1), 7));
    m.commit(p);
    let p = m.apply(&span(1, 0..4), true).expect("room");
    assert_eq!((m.blocks().len(), p.views[0].dst[0]), (3, (BlockId(2), 0)), "a block of its own");
    m.revert(p);
    assert_eq!(m.freed(), [(0, BlockId(2))]);
    assert_eq!(m.freed(), []);
    m.seq_rm(Some(0), 32, i32::MAX).expect("single group");
    decode(&mut m, 0, 32..33);
    assert_eq!(m.freed(), [], "given back and taken again");
    m.seq_rm(None, 0, i32::MAX).expect("all");
    assert_eq!((m.freed(), m.used_blocks()), (vec![(0, BlockId(0)), (0, BlockId(1))], vec![0]));
}

/// A copy across streams shares blocks; whoever writes first gets rows of his own, and only those of the block he writes to.
#[test]
fn shared_blocks_are_copied_when_written() {
    let mut m = Memory::new(vec![spec(Window::All, 256)], 4, false).expect("valid");
    decode(&mut m, 0, 0..70);
    (1..4).for_each(|s| m.seq_cp(0, s, -1, -1).expect("whole"));
    assert_eq!((m.used(), m.used_blocks()), (vec![280], vec![3]));
    let before = m.clone();
    let p = m.apply(&span(2, 70..71), true).expect("room");
    assert_eq!(&m.blocks() - &before.blocks(), [(0, BlockId(3))].into());
    assert_eq!(p.copies, [RowCopy { group: 0, from: (BlockId(2), 0), to: (BlockId(3), 0), len: 6 }]);
    m.unplace(p);
    assert!(m.state() == before.state());
    decode(&mut m, 2, 70..71);
    let c = m.seq_add(1, 0, 10, 3).expect("fits");
    assert_eq!(c.copies.iter().map(|c| (c.from, c.len)).collect::<Vec<_>>(), [((BlockId(0), 0), 32)]);
    m.keep_change(c);
    assert_eq!(m.used_blocks(), [5]);
    assert_eq!(m.take_shifts().len(), 1, "only the copy is rotated");
    (0..4).for_each(|s| m.seq_rm(Some(s), -1, -1).expect("whole"));
    assert_eq!((m.used_blocks(), m.freed().len()), (vec![0], 5));
}

/// In one stream cells are shared: a shift copies them for the sequence that is shifted.
#[test]
fn a_shift_leaves_others_where_they_are() {
    let mut m = Memory::new(vec![spec(Window::All, 96)], 2, true).expect("valid");
    decode(&mut m, 0, 0..40);
    m.seq_cp(0, 1, 0, 20).expect("one stream");
    let c = m.seq_add(1, 4, -1, -2).expect("there is room");
    assert_eq!((c.copies.iter().map(|c| c.len).collect::<Vec<_>>(), m.used()[0]), (vec![16], 56), "they lie together on both sides");
    m.keep_change(c);
    assert_eq!((m.pos_max(0), m.pos_max(1)), (Some(39), Some(17)));
    decode(&mut m, 0, 40..80);
    assert!(m.seq_cp(0, 1, 20, -1).is_ok() && m.seq_add(1, 20, -1, 1).is_err(), "no room for 60 copies");
    assert_eq!(m.pos_max(1), Some(79));
    let mut compat = m.with_compat(true);
    compat.seq_add(1, 20, -1, 1).expect("all of them move");
    assert_eq!((compat.pos_max(0), compat.pos_max(1)), (Some(80), Some(80)));
}

#[test]
fn shifts_add_up_and_are_told_once() {
    let mut m = Memory::new(vec![spec(Window::All, 256)], 1, true).expect("valid");
    decode(&mut m, 0, 0..100);
    m.seq_rm(Some(0), 4, 40).expect("single group");
    m.seq_add(0, 40, -1, -36).expect("fits");
    assert_eq!((m.pos_min(0), m.pos_max(0)), (Some(0), Some(63)));
    m.seq_add(0, 0, 8, -2).expect("fits");
    assert_eq!(m.used(), [62], "positions 0 and 1 fell below 0");
    let deltas: Vec<(u32, u16, i32)> = m.take_shifts().iter().map(|s| (s.block.0 * 32 + u32::from(s.slot), s.len, s.delta)).collect();
    assert_eq!(deltas, [(2, 2, -2), (40, 4, -38), (44, 20, -36), (64, 32, -36), (96, 4, -36)]);
    assert_eq!(m.take_shifts(), []);
    m.seq_div(0, 0, -1, 2).expect("positive");
    assert_eq!(m.pos_max(0), Some(31));
    assert!(m.seq_div(0, 0, -1, 0).is_err() && m.seq_add(0, 0, -1, i32::MAX).is_err());
}

#[test]
fn a_window_lists_only_leaves_it_can_see() {
    let mut m = two_groups(1024, Window::Sliding(64), 1024, true);
    (0..10).for_each(|p| decode(&mut m, 0, 100 * p..100 * p + 100));
    let p = m.apply(&span(0, 1000..1001), true).expect("room");
    assert_eq!(p.views[0].rows[0].leaves, 0..16);
    assert_eq!((p.views[1].leaves.len(), p.views[1].rows[0].lo), (2, 937));
    m.unplace(p);
    let p = m.apply(&span(0, 1000..1010), false).expect("room");
    assert_eq!((p.views[0].rows[0].hi, p.views[1].rows[3].hi), (i32::MAX, i32::MAX));
    assert_eq!(p.views[0].leaves.iter().map(|l| u32::from(l.to - l.from)).sum::<u32>(), 1010);
    m.unplace(p);
}
