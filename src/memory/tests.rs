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
