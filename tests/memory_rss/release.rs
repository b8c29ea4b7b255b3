//! The way down: what is freed is given back, some time later.
use crate::*;

const N: usize = 32_768;

#[test]
fn nine_tenths_of_a_sequence() {
    let m = model("tail");
    for (p0, p1) in [(N as i32 / 10, -1), (0, N as i32 / 10 * 9)] {
        let mut kv = kv(&m, &params());
        let at = fill(&mut kv, 0, N);
        assert!(kv.seq_rm(Some(0), p0, p1).is_ok());
        let (left, used) = (settled(&kv, bound(N / 10 + 1)), N / 10 + 1);
        assert!(left <= bound(used), "{p0}..{p1}: {left} for {used} cells");
        let kept = if p0 > 0 { 0..p0 } else { p1..N as i32 };
        assert!(intact(&kv, 0, kept.start, &at[kept.start as usize..kept.end as usize]), "{p0}..{p1}: what stays is as it was");
    }
}

#[test]
fn every_second_run_of_256() {
    let m = model("runs");
    let mut kv = kv(&m, &params());
    let at = fill(&mut kv, 0, N);
    for p in (0..N as i32).step_by(512) {
        assert!(kv.seq_rm(Some(0), p, p + 256).is_ok());
    }
    let left = settled(&kv, bound(N / 2));
    assert!(left <= bound(N / 2), "{left}");
    for p in (256..N).step_by(512) {
        assert!(intact(&kv, 0, p as i32, &at[p..p + 256]));
    }
    // And the holes can be used again, by somebody else.
    let at = fill(&mut kv, 1, N / 2);
    assert!(intact(&kv, 1, 0, &at));
}

#[test]
fn whole_sequences_and_everything() {
    let m = model("whole");
    let mut kv = kv(&m, &params());
    let at: Vec<_> = (0..32).map(|s| fill(&mut kv, s, 1000)).collect();
    (0..29).for_each(|s| assert!(kv.seq_rm(Some(s), 0, -1).is_ok()));
    let left = settled(&kv, bound(3000));
    assert!(left <= bound(3000), "{left}");
    assert!((29..32).all(|s| intact(&kv, s, 0, &at[s as usize])));
    kv.clear();
    assert_eq!(settled(&kv, 0), 0);
    let at = fill(&mut kv, 0, 1000);
    assert!(intact(&kv, 0, 0, &at));
}

/// The release counter stands still: blocks that are taken again soon are not given back in between.
#[test]
fn a_chat_that_clears_and_refills_keeps_its_pages() {
    let m = model("chat");
    let mut kv = kv(&m, &params());
    fill(&mut kv, 0, 4096);
    let blocks = 4096 * CELL / MIB;
    for _ in 0..100 {
        kv.clear();
        for pos in (0..4096).step_by(512) {
            let ub = ubatch(0, pos, 512);
            let Ok(placed) = kv.place(&ub, true) else { panic!("no room") };
            kv.commit(placed, &ub, true);
        }
    }
    // A machine that stops for a third of a second now and then is no reason to fail.
    assert!(kv.released() <= 10 * blocks as u64, "{} of {} blocks", kv.released(), 100 * blocks);
}

/// Taking and freeing while the thread that gives back is at work: what is in use is never touched.
#[test]
fn releases_beside_use() {
    let m = model("beside");
    let mut kv = kv(&m, &params());
    for round in 0..6 {
        let at: Vec<_> = (0..8).map(|s| fill(&mut kv, s, 1500)).collect();
        (0..8).step_by(2).for_each(|s| assert!(kv.seq_rm(Some(s), 0, -1).is_ok()));
        std::thread::sleep(Duration::from_millis(295 + 3 * round));
        let again = fill(&mut kv, 0, 1500);
        std::thread::sleep(Duration::from_millis(20));
        assert!(intact(&kv, 0, 0, &again), "round {round}");
        assert!((1..8).step_by(2).all(|s| intact(&kv, s, 0, &at[s as usize])), "round {round}");
        kv.clear();
    }
}
