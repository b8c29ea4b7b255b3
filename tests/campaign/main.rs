//! Random calls of the C API in random order, right and wrong, with callbacks that say no, stop, and call back: every sequence of them ends, and
//! none meets an internal error. `make test-calls` runs a hundred thousand, and some under valgrind. A seed is a sequence: the same calls each time.
//!
//! What llama.h asks of a caller is kept: pointers are NULL or good, handles are alive, except where a function says what becomes of dead ones.
mod calls;
#[path = "../hostile/tiny.rs"]
mod tiny;
mod world;

use tiny::Rng;
use world::{Shelf, World};

/// `CAMELID_TEST_CALLS=from..to` picks the sequences.
fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("CAMELID_TEST_CALLS").unwrap_or_else(|_| "0..300".into());
    let (from, to) = given.split_once("..").expect("CAMELID_TEST_CALLS=from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn random_calls() {
    let (shelf, mut counts) = (Shelf::new(), calls::Counts::default());
    for seed in seeds() {
        let mut world = World::new(&shelf, Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        for _ in 0..10 + world.rng.below(40) {
            calls::one(&mut world, &mut counts);
        }
        assert_eq!(world.host.nameless, 0, "sequence {seed}: values without a name or a source");
        drop(world);
        let broken = tiny::said().into_iter().find(|(_, l)| l.contains("internal error") || l.contains("panicked"));
        assert!(broken.is_none(), "sequence {seed}: {broken:?}");
    }
    println!("{counts:?}");
    assert!(counts.all_did_something(), "some calls were never right: {counts:?}");
}
