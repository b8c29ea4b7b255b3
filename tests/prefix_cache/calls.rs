//! Store and restore: what is found, how much of it, and for whom.
use super::*;
use llama::backend::DType;

#[test]
fn the_longest_beginning_comes_back() {
    for name in [LLAMA, GEMMA] {
        for (flash_attn, kv) in [(true, DType::F16), (false, DType::F16), (true, DType::Q8_0)] {
            let d = Dir::unique();
            let (cache, p) = (d.cache(ANY_SIZE), ContextParams { flash_attn, type_k: kv, type_v: kv, ..params() });
            let t = tokens(1, 300);
            assert_eq!(restored(&cache, name, &p, &t), 0);
            stored(&cache, name, &p, &t);
            let with = |n: usize, more: usize| [&t[..n], &tokens(2, more)].concat();
            // The same, longer, shorter, a branch in the middle of a block, less than a block.
            assert_eq!(restored(&cache, name, &p, &t), 299);
            assert_eq!(restored(&cache, name, &p, &with(300, 50)), 300);
            assert_eq!(restored(&cache, name, &p, &t[..200]), 199);
            assert_eq!(restored(&cache, name, &p, &with(117, 60)), 117);
            assert_eq!(restored(&cache, name, &p, &with(32, 60)), 32);
            assert_eq!(restored(&cache, name, &p, &with(31, 60)), 0);
            assert_eq!(restored(&cache, name, &p, &t[..1]), 0);
            assert_eq!(cache.restore(&mut context(name, p.clone()), 0, &[]).expect("no error"), 0);
        }
    }
}

/// Settings that change no bit change no name.
#[test]
fn any_context_of_the_same_bits() {
    let t = tokens(1, 200);
    for name in [LLAMA, GEMMA] {
        let (d, p) = (Dir::unique(), params());
        let cache = d.cache(ANY_SIZE);
        stored(&cache, name, &p, &t);
        for p in [
            ContextParams { n_ubatch: 7, ..params() },
            ContextParams { n_ctx: 256, flash_attn: false, n_threads: 3, ..params() },
            ContextParams { n_seq_max: 4, kv_unified: true, ..params() },
            ContextParams { n_seq_max: 2, n_ctx: 2048, kv_unified: false, ..params() },
        ] {
            assert_eq!(restored(&cache, name, &p, &t), 199);
        }
        // Into another sequence, beside others and in place of what it had.
        let p = ContextParams { n_seq_max: 3, n_ctx: 2048, kv_unified: true, ..params() };
        let mut c = context(name, p.clone());
        decode(&mut c, 0, &tokens(5, 40));
        decode(&mut c, 2, &tokens(6, 70));
        assert_eq!(cache.restore(&mut c, 2, &t).expect("no error"), 199);
        assert!(decode(&mut c, 2, &t[199..]) == computed(name, &p, &t));
        assert!(decode(&mut c, 0, &[3]) == computed(name, &p, &[tokens(5, 40), vec![3]].concat()));
        assert!(cache.restore(&mut c, 3, &t).is_ok_and(|n| n == 0) && cache.restore(&mut c, -1, &t).is_ok_and(|n| n == 0));
    }
}

#[test]
fn other_bits_have_other_names() {
    let (d, t) = (Dir::unique(), tokens(1, 100));
    let cache = d.cache(ANY_SIZE);
    stored(&cache, LLAMA, &params(), &t);
    stored(&cache, GEMMA, &params(), &t);
    assert_eq!(d.entries().len(), 2);
    let identity = context(LLAMA, params()).identity().expect("says");
    for p in [
        ContextParams { rope_freq_base: 20_000.0, ..params() },
        ContextParams { rope_freq_scale: 0.5, ..params() },
        ContextParams { type_k: DType::BF16, ..params() },
        ContextParams { type_v: DType::F32, ..params() },
    ] {
        assert_eq!(restored(&cache, LLAMA, &p, &t), 0, "{p:?}");
        assert_ne!(context(LLAMA, p).identity().expect("says"), identity);
    }
    assert!(identity.contains("weights") && identity.contains("CPU"), "{identity}");
    let mut c = context(LLAMA, params());
    c.set_causal(false);
    assert!(cache.restore(&mut c, 0, &t).is_err() && cache.store(&mut c, 0, &t).is_err());
}

/// Rings give up what windows hide: an entry serves where its rows reach.
#[test]
fn small_rings() {
    let (d, p) = (Dir::unique(), ContextParams { swa_full: false, n_ubatch: 32, ..params() });
    let cache = d.cache(ANY_SIZE);
    let t = tokens(1, 700);
    let longer = [&t[..], &tokens(2, 50)].concat();
    stored(&cache, GEMMA, &p, &t);
    assert_eq!(restored(&cache, GEMMA, &p, &longer), 700, "goes on behind it");
    assert_eq!(restored(&cache, GEMMA, &p, &t), 699, "one token less");
    assert_eq!(restored(&cache, GEMMA, &p, &t[..690]), 689, "some less: a ring has more than its window");
    assert_eq!(restored(&cache, GEMMA, &p, &t[..300]), 0, "its window is gone");
    // A shorter entry serves where the longer one that hides it cannot.
    stored(&cache, GEMMA, &p, &t[..250]);
    stored(&cache, GEMMA, &p, &longer);
    assert_eq!(d.entries().len(), 3);
    assert_eq!(restored(&cache, GEMMA, &p, &[&t[..250], &tokens(3, 60)].concat()), 250);
    assert_eq!(restored(&cache, GEMMA, &p, &t[..300]), 250);
    // What keeps everything takes what a ring wrote, and the other way round.
    let full = ContextParams { swa_full: true, ..p.clone() };
    assert_eq!(restored(&cache, GEMMA, &full, &longer), 749);
    stored(&cache, GEMMA, &full, &longer);
    assert_eq!(restored(&cache, GEMMA, &p, &t[..400]), 399);
    // It can do what all of them could.
    assert_eq!(d.entries().len(), 1);
}

#[test]
fn what_is_stored_is_what_the_sequence_holds() {
    let (d, t) = (Dir::unique(), tokens(1, 100));
    let cache = d.cache(ANY_SIZE);
    let mut c = context(LLAMA, ContextParams { n_seq_max: 2, kv_unified: true, ..params() });
    decode(&mut c, 0, &t);
    for (seq, n) in [(0, 99), (1, 100), (0, 0), (2, 100), (-1, 100)] {
        assert!(cache.store(&mut c, seq, &t[..n]).is_err(), "{n} tokens of sequence {seq}");
    }
    c.seq_rm(Some(0), 50, 60).expect("a hole");
    assert!(cache.store(&mut c, 0, &t).is_err() && cache.store(&mut c, 0, &t[..90]).is_err());
    c.seq_add(0, 60, -1, -10).expect("moves");
    c.seq_rm(Some(0), 31, -1).expect("cuts");
    assert!(cache.store(&mut c, 0, &t[..31]).is_err(), "less than a block");
    assert!(d.entries().is_empty());
}

/// A longer entry takes the place of those it contains, and only of those.
#[test]
fn a_conversation_is_one_entry() {
    let (d, p) = (Dir::unique(), params());
    let cache = d.cache(ANY_SIZE);
    let t = tokens(1, 400);
    stored(&cache, LLAMA, &p, &[&t[..90], &tokens(9, 50)].concat());
    for n in [90, 100, 230, 400] {
        stored(&cache, LLAMA, &p, &t[..n]);
        assert_eq!(d.entries().len(), 2);
    }
    stored(&cache, LLAMA, &p, &t);
    assert_eq!(d.entries().len(), 2);
    // 12 blocks of this one, and what the other one has of its own: its third and fourth block, and where it ends.
    assert_eq!(d.names("prefixes").len(), 12 + 1 + 2 + 1);
    assert!(d.names("prefixes").iter().all(|n| fs::metadata(d.0.join("prefixes").join(n)).is_ok()), "a link to nothing");
}

#[test]
fn the_least_recently_used_goes_first() {
    let (d, p) = (Dir::unique(), params());
    let all: Vec<Vec<i32>> = (0..4).map(|i| [tokens(1, 64), tokens(10 + i, 64)].concat()).collect();
    stored(&d.cache(ANY_SIZE), LLAMA, &p, &all[0]);
    let one = d.bytes();
    let cache = d.cache(3 * one + one / 2);
    stored(&cache, LLAMA, &p, &all[1]);
    stored(&cache, LLAMA, &p, &all[2]);
    assert_eq!(restored(&cache, LLAMA, &p, &all[0]), 127, "used now");
    stored(&cache, LLAMA, &p, &all[3]);
    assert!(d.bytes() <= 3 * one + one / 2 && d.entries().len() == 3);
    // Of the one that went the common part is still there, by way of any other.
    let left: Vec<usize> = all.iter().map(|t| restored(&cache, LLAMA, &p, t)).collect();
    assert_eq!(left, [127, 64, 127, 127]);
    assert!(d.names("prefixes").iter().all(|n| fs::metadata(d.0.join("prefixes").join(n)).is_ok()), "a link to nothing");
    // What does not fit at all is refused, and takes nobody's place.
    let mut c = context(LLAMA, p.clone());
    decode(&mut c, 0, &tokens(7, 600));
    assert!(cache.store(&mut c, 0, &tokens(7, 600)).is_err());
    assert_eq!(d.entries().len(), 3);
}

/// An entry is a sequence file for everybody.
#[test]
fn an_entry_is_a_sequence_file() {
    let (d, t) = (Dir::unique(), tokens(1, 100));
    for name in [LLAMA, GEMMA] {
        stored(&d.cache(ANY_SIZE), name, &params(), &t);
        let path = d.entries().remove(0);
        let mut c = context(name, params());
        let got = llama::state::load_seq(&mut c, &path, 0, 100).expect("loads");
        assert_eq!(got.tokens, t);
        assert!(decode(&mut c, 0, &[5]) == computed(name, &params(), &[&t[..], &[5]].concat()));
        fs::remove_file(path).expect("ours");
    }
}

/// From C: NULL anywhere, counts that are none, a folder that cannot be.
#[test]
fn wrong_calls_are_lines() {
    use llama::capi::cache::*;
    use std::ptr::null;
    let d = Dir::unique();
    let dir = std::ffi::CString::new(d.0.to_str().expect("text")).expect("no NUL");
    // SAFETY: NULL, terminated strings, handles that live.
    unsafe {
        assert!(camelid_cache_open(null(), 5).is_null());
        assert!(camelid_cache_open(c"/dev/null/x".as_ptr(), 5).is_null());
        assert!(platform::log::last_error().contains("/dev/null/x"), "{}", platform::log::last_error());
        camelid_cache_free(std::ptr::null_mut());
        let cache = camelid_cache_open(dir.as_ptr(), 0);
        let t = [1, 2, 3];
        for (c, n) in [(None, 3), (cache.as_ref(), 3), (cache.as_ref(), -1)] {
            assert_eq!(camelid_cache_restore(c, None, 0, t.as_ptr(), n), 0);
            assert!(platform::log::last_error().contains("NULL"));
            assert!(!camelid_cache_store(c, None, 0, null(), n));
        }
        camelid_cache_free(cache);
    }
    assert!(d.entries().is_empty());
}
