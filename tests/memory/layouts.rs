//! Same order, same bits: the hardest layouts by hand, in every kind of context, against the full history. Nothing may be refused here.
use crate::full_history::FullHistory;
use crate::models::SHAPES;
use crate::ops::{Kind, Op};
use crate::pair::{Pair, params};
use crate::property::{all_models, model};
use llama::backend::DType;

fn kinds(shape: usize, n_seq: u32, n_ctx_seq: u32) -> impl Iterator<Item = Kind> {
    let all = (0..16u32).map(move |i| Kind {
        shape,
        n_swa: 112,
        n_seq,
        n_ctx_seq,
        n_ubatch: if i & 1 == 0 { 7 } else { 30 },
        unified: i & 2 == 0,
        swa_full: i & 4 == 0,
        flash_attn: i % 3 > 0,
        snapshots: 0,
        threads: 1 + (i / 8) as i32,
        kv: if i & 8 == 0 { (DType::F16, DType::F16) } else { (DType::Q8_0, DType::Q8_0) },
    });
    all.filter(move |k| SHAPES[shape].windowed || k.swa_full)
}

/// `ops` in every kind of context that `wants` takes, for every architecture.
fn everywhere(n_seq: u32, n_ctx_seq: u32, wants: impl Fn(&Kind) -> bool, ops: &[Op]) {
    let known = (0..SHAPES.len()).filter(|s| all_models()[*s][0].is_some());
    for kind in known.flat_map(|s| kinds(s, n_seq, n_ctx_seq)).filter(wants) {
        let mut full = FullHistory::new(model(&kind), &params(&kind), n_seq);
        let mut pair = Pair::new(model(&kind), &kind, &mut full);
        for (i, op) in ops.iter().enumerate() {
            pair.apply(op).unwrap_or_else(|e| panic!("{kind}, operation {i} {op:?}: {e}"));
        }
        let c = pair.counts;
        assert_eq!((c.full, c.refused_decodes, c.refused_ops, c.refused_loads), (0, 0, 0, 0), "{kind}");
    }
}

fn decode(parts: &[(&[u32], u32)]) -> Op {
    Op::Decode { parts: parts.iter().map(|(s, n)| (s.to_vec(), *n)).collect(), turns: true, start: 0, seed: 5, abort: None }
}
fn rm(seq: u32, p0: i32, p1: i32) -> Op {
    Op::Rm { seq: Some(seq), p0, p1 }
}
fn add(seq: u32, p0: i32, delta: i32) -> Op {
    Op::Add { seq, p0, p1: -1, delta }
}

/// Three sequences fill the store token by token; one goes, and what comes finds only its holes.
#[test]
fn cells_in_runs_of_one() {
    let ops = [decode(&[(&[0], 165), (&[1], 165), (&[2], 165)]), rm(1, -1, -1), decode(&[(&[1], 100)]), decode(&[(&[1], 70), (&[0], 2)])];
    everywhere(3, 512, |_| true, &ops);
}

/// Holes in the middle of tiles, some of them behind the edge of a window, whose cells before the edge are given up afterwards.
#[test]
fn holes_in_tiles_whose_beginning_is_lost() {
    let tail = decode(&[(&[0], 45)]);
    let holes = [rm(0, 70, 71), rm(0, 97, 103), rm(0, 130, 131), rm(0, 190, 192)];
    let ops = [vec![decode(&[(&[0], 200)])], holes.to_vec(), vec![tail.clone(), tail.clone(), tail.clone(), tail.clone()]].concat();
    everywhere(1, 512, |_| true, &ops);
}

/// Positions that several cells share, there as well: their order and places must not depend on what is gone.
#[test]
fn shared_positions_in_tiles_whose_beginning_is_lost() {
    let tail = decode(&[(&[0], 45)]);
    let ops = [decode(&[(&[0], 256)]), add(0, 150, -3), Op::Div { seq: 0, p0: 200, p1: 210, d: 2 }, tail.clone(), tail.clone(), tail];
    everywhere(1, 512, |k| k.swa_full, &ops);
    let ops = [decode(&[(&[0], 250)]), add(0, 180, -3), decode(&[(&[0], 7)]), decode(&[(&[0], 45)]), decode(&[(&[0], 45)])];
    everywhere(1, 512, |_| true, &ops);
}

/// A state into another sequence, another size, the other kind of streams, and on from there.
#[test]
fn states_into_other_contexts() {
    let on = decode(&[(&[0], 30), (&[2], 9)]);
    for unified in [true, false] {
        for small in [true, false] {
            for kind in kinds(0, 3, 1024).take(1) {
                let to = |shape| Kind { shape, unified, swa_full: !small, n_ubatch: 13, kv: (DType::F16, DType::F16), ..kind.clone() };
                for shape in (0..SHAPES.len()).filter(|s| all_models()[*s][0].is_some()) {
                    let save = Op::Save { seq: Some(0), slot: 0, partial: false };
                    let ops = [
                        decode(&[(&[0], 230)]),
                        rm(0, 90, 95),
                        save,
                        Op::Load { slot: 0, seq: 2 },
                        Op::Move { kind: to(shape) },
                        on.clone(),
                        on.clone(),
                    ];
                    everywhere(3, 512, |k| k.shape == shape && k.kv.0 == DType::F16 && k.n_ubatch == 7, &ops);
                }
            }
        }
    }
}

/// What went wrong before.
mod found {
    use super::*;

    /// Sequence 1 has two cells at position 0, of which the later one lies in the earlier cell.
    #[test]
    fn who_came_first_at_a_position_is_in_the_order_of_a_state() {
        let cp = Op::Cp { src: 2, dst: 1, p0: -1, p1: -1 };
        let to = Kind { n_ctx_seq: 1024, ..kinds(0, 3, 768).next().expect("some") };
        for shape in (0..SHAPES.len()).filter(|s| all_models()[*s][0].is_some()) {
            let go = Op::Move { kind: Kind { shape, ..to.clone() } };
            let ops = [decode(&[(&[0], 257)]), decode(&[(&[2], 1)]), decode(&[(&[1], 1)]), cp.clone(), go, decode(&[(&[1], 1), (&[0], 1)])];
            everywhere(3, 768, |k| k.shape == shape && k.unified && k.swa_full && k.threads == 1, &ops);
        }
    }

    /// Two sequences share a cell of the base and have one each in a window, because one of them was restored there alone.
    #[test]
    fn a_cell_shared_in_the_base_and_apart_in_a_window() {
        let ops = [
            decode(&[(&[2, 1], 1)]),
            decode(&[(&[2], 1)]),
            decode(&[(&[1], 1)]),
            Op::Save { seq: Some(2), slot: 0, partial: true },
            Op::Load { slot: 0, seq: 1 },
            Op::Save { seq: None, slot: 1, partial: false },
            Op::Load { slot: 1, seq: 0 },
            decode(&[(&[1], 1), (&[2], 1)]),
        ];
        everywhere(3, 512, |k| k.unified && k.n_ubatch == 7, &ops);
    }

    /// A ring that is full of cells that two sequences share: a shift of one of them copies what it still sees, the rest it leaves.
    #[test]
    fn a_shift_of_shared_cells_needs_room_for_those_it_sees_only() {
        let ops = [decode(&[(&[2, 1], 266)]), decode(&[(&[2], 2), (&[1], 8)]), add(1, 72, -61), decode(&[(&[1], 30), (&[2], 30)])];
        everywhere(3, 1024, |k| k.unified && k.n_ubatch == 7, &ops);
    }
}
