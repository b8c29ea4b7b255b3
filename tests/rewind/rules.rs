//! One rule at a time, on the bundled model with windows of 64.
use super::*;
use llama::backend::DType;
use llama::state::{self, What};
use std::sync::atomic::{AtomicI64, Ordering};

fn tokens(seed: u64, n: usize) -> Vec<i32> {
    let mut r = tiny::Rng(0xabcd_ef01 + seed * 977);
    (0..n).map(|_| 10 + r.below(400) as i32).collect()
}

fn on(every: u32) -> ContextParams {
    ContextParams { swa_snapshots: Some(every), ..params() }
}

fn with(every: u32) -> Context {
    context(&models()[BUNDLED], &on(every))
}

/// What a context says that was given all of `t` at once.
fn expected(t: &[i32]) -> Vec<u32> {
    fresh(&models()[BUNDLED], &params(), t)
}

fn rewound(t: &[i32], p: usize, tail: &[i32]) -> Vec<i32> {
    [&t[..p], tail].concat()
}

#[test]
fn a_rewind_computes_at_most_the_distance_of_snapshots_again() {
    let t = tokens(1, 900);
    for p in [0, 1, 63, 100, 255, 256, 257, 300, 511, 512, 560, 800, 899] {
        let mut c = with(128);
        logits(&mut c, 0, &t);
        assert_eq!((c.memory().pos_min(0), c.memory().pos_max(0)), (Some(0), Some(899)));
        assert!(c.can_continue(0, p) && !c.can_continue(0, 901));
        c.seq_rm(Some(0), p, -1).expect("served");
        assert_eq!(c.memory().pos_max(0), (p > 0).then_some(p - 1));
        assert_eq!(c.n_again(), 0, "nothing is computed before it is needed");
        assert!(logits(&mut c, 0, &[7, 8, 9]) == expected(&rewound(&t, p as usize, &[7, 8, 9])), "{p}");
        assert!(c.n_again() <= (p % 128) as u64, "{p}: {}", c.n_again());
    }
}

#[test]
fn without_snapshots_it_is_refused_as_before() {
    let mut c = with(0);
    logits(&mut c, 0, &tokens(1, 900));
    assert!(c.memory().pos_min(0) > Some(400) && c.seq_rm(Some(0), 300, -1).is_err() && !c.can_continue(0, 300));
    assert_eq!((c.memory().pos_max(0), c.memory().kept().bytes), (Some(899), 0));
}

/// Rows of what lies close together are kept once: then nothing is computed again at all.
#[test]
fn snapshots_closer_than_a_window_share_rows() {
    let t = tokens(2, 700);
    let of = |every| context(&models()[BUNDLED], &ContextParams { swa_snapshot_bytes: Some(1 << 30), ..on(every) });
    let (mut c, mut far) = (of(16), of(64));
    logits(&mut c, 0, &t);
    logits(&mut far, 0, &t);
    let page = 43 * 4096;
    assert!(c.memory().kept().bytes <= far.memory().kept().bytes + page, "{:?} {:?}", c.memory().kept(), far.memory().kept());
    for p in [640, 333, 64, 20] {
        c.seq_rm(Some(0), p, -1).expect("served");
        assert!(logits(&mut c, 0, &[5]) == expected(&rewound(&t, p as usize, &[5])), "{p}");
        assert_eq!(c.n_again(), 0, "{p}");
        c.seq_rm(Some(0), p, -1).expect("served");
    }
}

#[test]
fn an_abort_while_a_window_comes_back_loses_nothing() {
    let t = tokens(3, 800);
    static LEFT: AtomicI64 = AtomicI64::new(i64::MAX);
    let mut aborts = 0;
    for n in (0..2000).step_by(37) {
        let p = ContextParams { n_ubatch: 16, ..on(200) };
        let mut c = context(&models()[BUNDLED], &p);
        logits(&mut c, 0, &t);
        c.seq_rm(Some(0), 390, -1).expect("served");
        c.set_abort(Some(Box::new(|| LEFT.fetch_sub(1, Ordering::Relaxed) <= 0)));
        LEFT.store(n, Ordering::Relaxed);
        let (rc, _) = decode(&mut c, &[0], &[4]);
        LEFT.store(i64::MAX, Ordering::Relaxed);
        assert_eq!(c.memory().pos_max(0), Some(if rc == 0 { 390 } else { 389 }));
        assert_eq!(c.memory().pos_min(0), Some(0));
        if rc == 0 {
            break;
        }
        assert_eq!(rc, 2);
        aborts += 1;
        let done = c.n_again();
        match n % 3 {
            0 => assert!(logits(&mut c, 0, &[4]) == expected(&rewound(&t, 390, &[4])), "{n}"),
            // Rewound again in the middle of it.
            1 => {
                c.seq_rm(Some(0), 280, -1).expect("served");
                assert!(logits(&mut c, 0, &[4]) == expected(&rewound(&t, 280, &[4])), "{n}");
            }
            _ => {
                let blob = save(&mut c, What::Everything);
                let mut other = with(0);
                assert_eq!(state::load(&mut other, What::Everything, &blob).ok(), Some(blob.len()));
                assert!(logits(&mut other, 0, &[4]) == expected(&rewound(&t, 390, &[4])), "{n}");
            }
        }
        assert!(n % 3 == 1 || c.n_again() <= 190, "what was done before the abort is not done twice: {done}, {}", c.n_again());
    }
    assert!(aborts > 5);
}

fn save(c: &mut Context, what: What) -> Vec<u8> {
    let mut blob = vec![0; state::size(c, what).expect("a size")];
    assert_eq!(state::save(c, what, &mut blob).expect("saves"), blob.len());
    blob
}

/// A state's history is not known: rewinds work back to where it ended, and further only within what it brought.
#[test]
fn a_state_is_a_barrier() {
    let t = tokens(4, 700);
    let what = What::Seq { seq: 0, partial: false };
    let mut a = with(64);
    logits(&mut a, 0, &t[..500]);
    let blob = save(&mut a, what);
    let mut b = with(64);
    assert!(state::load(&mut b, what, &blob).is_ok());
    assert_eq!(b.memory().pos_min(0), Some(436), "the window of its last position");
    assert!(logits(&mut b, 0, &t[500..]) == expected(&t));
    assert_eq!(b.memory().pos_min(0), Some(437), "the window of the first position that is known");
    for p in [650, 501, 500] {
        b.seq_rm(Some(0), p, -1).expect("served");
        assert!(logits(&mut b, 0, &[9, 8]) == expected(&rewound(&t, p as usize, &[9, 8])), "{p}");
        b.seq_rm(Some(0), p, -1).expect("served");
    }
    // Within the state: its rows are not all there.
    logits(&mut b, 0, &t[500..]);
    assert!(b.seq_rm(Some(0), 470, -1).is_err() && b.memory().pos_max(0) == Some(699));
}

/// A window that a state brought by itself: the base goes on from what it was computed from, or from there.
#[test]
fn windows_of_a_partial_state_give_way_to_what_is_known() {
    let t = tokens(5, 900);
    let part = What::Seq { seq: 0, partial: true };
    let mut c = with(128);
    logits(&mut c, 0, &t[..400]);
    let blob = save(&mut c, part);
    logits(&mut c, 0, &t[400..]);
    assert!(state::load(&mut c, part, &blob).is_ok());
    // The base goes up to 900, the window ends at 400.
    assert!(logits(&mut c, 0, &[3]) == expected(&rewound(&t, 900, &[3])));
    assert!(state::load(&mut c, part, &blob).is_ok());
    c.seq_rm(Some(0), 400, -1).expect("its window is here");
    let before = c.n_again();
    assert!(logits(&mut c, 0, &[3]) == expected(&rewound(&t, 400, &[3])));
    assert_eq!(c.n_again(), before, "the state's own window is used");
    // From there on it is not known what was computed from what.
    assert!(c.seq_rm(Some(0), 300, -1).is_err());
    c.seq_rm(Some(0), 400, -1).expect("its window was kept");
    // Without snapshots the first of these decodes is refused.
    let mut c = with(0);
    logits(&mut c, 0, &t[..400]);
    logits(&mut c, 0, &t[400..]);
    assert!(state::load(&mut c, part, &blob).is_ok());
    assert_eq!(decode(&mut c, &[0], &[3]).0, -1);
}

#[test]
fn embeddings_are_barriers() {
    let t = tokens(6, 500);
    let m = &models()[BUNDLED];
    let n_embd = m.hp.n_embd as usize;
    let embd: Vec<f32> = (0..30 * n_embd).map(|i| ((i * 37 % 101) as f32 - 50.0) / 40.0).collect();
    let image = BatchView { n_tokens: 30, embd: Some(&embd), ..BatchView::default() };
    let (mut c, mut full) = (with(128), context(m, &ContextParams { swa_full: true, ..params() }));
    for c in [&mut c, &mut full] {
        logits(c, 0, &t[..200]);
        assert_eq!(c.decode(&image), 0);
        logits(c, 0, &t[200..]);
    }
    for (p, served) in [(231, true), (230, true), (529, true), (215, false), (150, true)] {
        assert_eq!(c.can_continue(0, p), served, "{p}");
        assert_eq!(c.seq_rm(Some(0), p, -1).is_ok(), served, "{p}");
        if !served {
            continue;
        }
        full.seq_rm(Some(0), p, -1).expect("all is there");
        let more = &t[..(530 - p) as usize];
        assert!(logits(&mut c, 0, more) == logits(&mut full, 0, more), "{p}");
        // As it was, for the next one.
        if p > 200 {
            for c in [&mut c, &mut full] {
                c.seq_rm(Some(0), 230, -1).expect("served");
                logits(c, 0, &t[200..]);
            }
        }
    }
}

/// Of other ubatches, threads and KV types the rows are the same: what is put back and what is computed again fit together.
#[test]
fn the_bits_do_not_depend_on_how_it_was_computed() {
    let t = tokens(7, 640);
    let m = &models()[BUNDLED];
    for (ty, far) in [(DType::F16, 0), (DType::Q8_0, 0), (DType::BF16, 2)] {
        let m = if far > 0 { &models()[2] } else { m };
        let t: Vec<i32> = t.iter().map(|t| t % m.hp.n_vocab as i32).collect();
        for (n_ubatch, n_threads) in [(1, 1), (32, 2), (512, 1)] {
            let p = ContextParams { n_ubatch, n_threads, n_threads_batch: n_threads, type_k: ty, type_v: ty, ..on(100) };
            let mut c = context(m, &p);
            for part in t.chunks(if n_ubatch == 1 { 160 } else { 77 }) {
                logits(&mut c, 0, part);
            }
            c.seq_rm(Some(0), 190, -1).expect("served");
            assert!(logits(&mut c, 0, &[5]) == fresh(m, &p, &rewound(&t, 190, &[5])), "{ty:?} {n_ubatch}");
        }
    }
}

/// With little memory old snapshots go first, and a rewind costs in proportion to how far back it goes.
#[test]
fn snapshots_are_thinned_where_memory_is_short() {
    let t = tokens(8, 3000);
    // One window is 64 rows of 5 layers of K and V of 128 bytes: 80 KiB.
    let p = ContextParams { n_ctx: 4096, swa_snapshot_bytes: Some(16 * 81_920), ..on(16) };
    let mut c = context(&models()[BUNDLED], &p);
    for t in t.chunks(1000) {
        logits(&mut c, 0, t);
    }
    let kept = c.memory().kept();
    assert!(kept.bytes <= 16 * 81_920 && kept.bytes > 8 * 81_920, "{kept:?}");
    assert_eq!(c.memory().pos_min(0), Some(0));
    for back in [300, 700, 1500, 2900] {
        let (at, before) = (3000 - back, c.n_again());
        c.seq_rm(Some(0), at as i32, -1).expect("served");
        assert!(logits(&mut c, 0, &[5]) == expected(&rewound(&t, at, &[5])), "{back}");
        assert!(c.n_again() - before <= 2 * back as u64, "{back}: {}", c.n_again() - before);
        c.seq_rm(Some(0), at as i32, -1).expect("served");
        assert!(c.memory().kept().bytes <= kept.bytes);
    }
    c.memory_clear();
    assert_eq!(c.memory().kept().bytes, 0);
}

/// Copies share rows, whatever becomes of the one they are copies of.
#[test]
fn copies_share_what_is_kept() {
    let t = tokens(9, 700);
    for unified in [true, false] {
        let p = ContextParams { n_ctx: 3072, n_seq_max: 3, kv_unified: unified, ..on(64) };
        let mut c = context(&models()[BUNDLED], &p);
        logits(&mut c, 0, &t);
        let bytes = c.memory().kept().bytes;
        c.seq_cp(0, 1, -1, -1).expect("whole");
        if unified {
            c.seq_cp(0, 2, 0, 333).expect("served");
        }
        assert_eq!(c.memory().kept().bytes, bytes);
        c.seq_rm(Some(0), -1, -1).expect("whole");
        if unified {
            assert!(logits(&mut c, 2, &[6]) == expected(&rewound(&t, 333, &[6])));
        }
        c.seq_rm(Some(1), 200, -1).expect("served");
        assert!(logits(&mut c, 1, &[6]) == expected(&rewound(&t, 200, &[6])));
        c.seq_keep(1).expect("always");
        assert!(c.memory().kept().bytes < bytes / 2);
    }
}
