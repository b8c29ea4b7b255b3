//! What is not a state: refused, and memory is byte for byte what it was.
use super::*;

fn filled(name: &'static str) -> Context {
    let mut c = context(name, ContextParams { n_seq_max: 3, n_ctx: 768, kv_unified: true, swa_full: false, ..params() });
    decode(&mut c, 0, &tokens(1, 70));
    decode(&mut c, 1, &tokens(2, 9));
    c
}

/// Loads what may be anything. Whether it was taken; if not, nothing may have changed.
fn try_load(c: &mut Context, what: What, blob: &[u8], before: &[u8], say: &dyn Fn() -> String) -> bool {
    let taken = state::load(c, what, &blob.to_vec()).is_ok();
    if !taken {
        assert!(save(c, What::Everything) == before, "{}", say());
    }
    taken
}

fn whats() -> [What; 3] {
    [What::Everything, seq(1), What::Seq { seq: 1, partial: true }]
}

#[test]
fn every_truncation_is_refused() {
    for name in [LLAMA, GEMMA] {
        let mut small = context(name, params());
        decode(&mut small, 0, &tokens(3, 3));
        let mut c = filled(name);
        let before = save(&mut c, What::Everything);
        for what in [What::Everything, seq(0)] {
            let blob = save(&mut small, what);
            for n in 0..blob.len() {
                assert!(
                    !try_load(&mut c, what, &blob[..n], &before, &|| format!("{name} {what:?} cut at {n}")),
                    "{name} {what:?} cut at {n}"
                );
            }
        }
    }
}

/// One to three changes of a blob, most of them where counts, types and positions are.
fn mutate(r: &mut Rng, blob: &mut Vec<u8>) {
    const VALUES: [u32; 12] = [0, 1, 2, 3, 8, 30, 255, 256, 65_536, i32::MAX as u32, i32::MIN as u32, u32::MAX];
    for _ in 0..1 + r.below(3) {
        let head = if r.below(4) > 0 { blob.len().min(2200) } else { blob.len() };
        let at = r.below(head.max(1)).min(blob.len().saturating_sub(4));
        match r.below(6) {
            0 => blob.truncate(r.below(blob.len() + 1)),
            1 => drop(blob.splice(at..at, (0..1 + r.below(9)).map(|i| i as u8))),
            2 => drop(blob.drain(at..(at + 1 + r.below(9)).min(blob.len()))),
            3 => blob[at] ^= 1 << r.below(8),
            _ => blob[at..at + 4].copy_from_slice(&VALUES[r.below(VALUES.len())].to_le_bytes()),
        }
        if blob.len() < 4 {
            return;
        }
    }
}

#[test]
fn thousands_of_broken_states_leave_no_trace() {
    let (mut refused, mut taken) = (0, 0);
    for name in [LLAMA, GEMMA] {
        let mut c = filled(name);
        let before = save(&mut c, What::Everything);
        for what in whats() {
            let good = save(&mut c, what);
            for i in 0..1500 {
                let mut r = Rng(i);
                let mut blob = good.clone();
                mutate(&mut r, &mut blob);
                if !try_load(&mut c, what, &blob, &before, &|| format!("{name} {what:?} seed {i}")) {
                    refused += 1;
                    continue;
                }
                // Changed rows, or other positions: a state like any other. It must be one that can be written and read again.
                taken += 1;
                let now = save(&mut c, What::Everything);
                load(&mut c, What::Everything, &now);
                assert!(save(&mut c, What::Everything).len() == now.len());
                load(&mut c, What::Everything, &before);
                assert!(save(&mut c, What::Everything) == before);
            }
        }
    }
    assert!(refused > 3000 && taken > 100, "{refused} refused, {taken} taken");
}

#[test]
fn thousands_of_broken_files_leave_no_trace() {
    let d = super::files::Dir::new("broken");
    let (mut refused, mut taken) = (0, 0);
    for name in [LLAMA, GEMMA] {
        let mut c = filled(name);
        let before = save(&mut c, What::Everything);
        state::save_session(&mut c, &d.path("s"), &[1, 2, 3]).expect("saves");
        state::save_seq(&mut c, &d.path("q"), 1, &[4]).expect("saves");
        for (file, whole) in [("s", true), ("q", false)] {
            let good = std::fs::read(d.path(file)).expect("there");
            for i in 0..600 {
                let mut blob = good.clone();
                mutate(&mut Rng(i), &mut blob);
                std::fs::write(d.path("t"), &blob).expect("writes");
                let done = match whole {
                    true => state::load_session(&mut c, &d.path("t"), 100),
                    false => state::load_seq(&mut c, &d.path("t"), 1, 100),
                };
                match done {
                    Ok(_) => (taken += 1, load(&mut c, What::Everything, &before)).1,
                    Err(e) => (refused += 1, assert!(!e.to_string().is_empty())).1,
                }
                assert!(save(&mut c, What::Everything) == before, "{name} {file} seed {i}");
            }
        }
    }
    assert!(refused > 1200 && taken > 50, "{refused} refused, {taken} taken");
}

#[test]
fn particular_lies_are_refused() {
    let mut c = filled(LLAMA);
    let before = save(&mut c, What::Everything);
    let good = save(&mut c, seq(1));
    let set = |at: usize, v: i32| {
        let mut b = good.clone();
        b[at..at + 4].copy_from_slice(&v.to_le_bytes());
        b
    };
    let other = save(&mut context(GEMMA, params()), What::Everything);
    assert!(!try_load(&mut c, What::Everything, &other, &before, &|| "another model".into()));
    // magic, id, streams, cells; position, count and id of the first cell
    let lies = [(0, 1), (8, 0), (8, 257), (12, 1 << 30), (12, 10), (16, -7), (16, i32::MAX), (20, 2), (20, 0)];
    for (at, v) in lies {
        assert!(!try_load(&mut c, seq(1), &set(at, v), &before, &|| format!("{v} at {at}")), "{v} at {at}");
    }
    for id in [3, -1, i32::MIN, 255, 256, i32::MAX] {
        assert!(!try_load(&mut c, seq(id), &good, &before, &|| format!("into {id}")));
        assert!(state::size(&mut c, seq(id)).is_err());
    }
    // The id that a sequence had is nobody's business.
    load(&mut c, seq(1), &set(4, -5));
    load(&mut c, seq(1), &set(24, i32::MIN));
    assert!(save(&mut c, What::Everything) == before);
    // No room for it in a smaller context.
    let mut large = context(LLAMA, params());
    decode(&mut large, 0, &tokens(4, 300));
    let blob = save(&mut large, seq(0));
    let mut little = context(LLAMA, ContextParams { n_ctx: 256, ..params() });
    decode(&mut little, 0, &tokens(1, 20));
    let before = save(&mut little, What::Everything);
    assert!(!try_load(&mut little, seq(0), &blob, &before, &|| "no room".into()));
    assert!(state::save(&mut little, seq(0), &mut [0; 100]).is_err());
}
