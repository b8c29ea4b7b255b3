//! Round trips: another sequence, another size, holes, another kind of streams, other types; operations that wait.
use super::*;
use llama::backend::DType;

const PAST: usize = 150;

/// A past of `PAST` tokens in `seq`, its state, and the logits of what comes next.
fn past(c: &mut Context, id: i32) -> (Vec<u8>, Vec<f32>, Vec<i32>) {
    let (t, next) = (tokens(1, PAST), tokens(2, 20));
    decode(c, id, &t);
    let blob = save(c, seq(id));
    (blob, decode(c, id, &next), next)
}

fn kinds() -> Vec<ContextParams> {
    let many = |kv_unified, swa_full| ContextParams { n_seq_max: 4, n_ctx: 2048, kv_unified, swa_full, ..params() };
    vec![
        params(),
        ContextParams { n_ctx: 1024, swa_full: false, ..params() },
        ContextParams { flash_attn: false, ..params() },
        many(true, true),
        many(true, false),
        many(false, true),
        many(false, false),
    ]
}

#[test]
fn any_kind_of_context_goes_on_from_any_others_state_with_the_same_bits() {
    for name in [LLAMA, GEMMA] {
        for from in kinds() {
            let mut a = context(name, from.clone());
            let (blob, expected, next) = past(&mut a, 0);
            let whole = save(&mut a, What::Everything);
            for to in kinds() {
                let last = to.n_seq_max as i32 - 1;
                let mut b = context(name, to.clone());
                load(&mut b, seq(last), &blob);
                assert_eq!(b.memory().pos_max(last as u32), Some(PAST as i32 - 1));
                assert!(decode(&mut b, last, &next) == expected, "{name} {from:?} -> {to:?}");
                // A whole context in place of whatever is there.
                load(&mut b, What::Everything, &whole);
                assert_eq!((b.memory().pos_max(0), last > 0 && b.memory().pos_max(last as u32).is_some()), (Some(PAST as i32 + 19), false));
                b.seq_rm(Some(0), PAST as i32 + 19, -1).expect("a tail");
                let again = decode(&mut b, 0, &next[19..]);
                assert!(again == expected[expected.len() - again.len()..], "{name} {from:?} -> {to:?}, whole");
            }
        }
    }
}

#[test]
fn rows_that_the_host_cannot_address_come_back() {
    for name in [LLAMA, GEMMA] {
        let far = || Context::new(model(name, true), params()).expect("context");
        let mut a = far();
        let (blob, expected, next) = past(&mut a, 0);
        let mut b = far();
        decode(&mut b, 0, &tokens(9, 30));
        load(&mut b, seq(0), &blob);
        assert!(decode(&mut b, 0, &next) == expected, "{name}");
        assert!(save(&mut b, seq(0)) == save(&mut a, seq(0)), "{name}");
    }
}

#[test]
fn holes_in_the_destination_change_no_bit() {
    for name in [LLAMA, GEMMA] {
        let (blob, expected, next) = past(&mut context(name, params()), 0);
        let many = ContextParams { n_seq_max: 4, n_ctx: 512, kv_unified: true, ..params() };
        let mut c = context(name, many);
        // Three sequences token by token, of which one goes again: holes of one cell.
        for i in 0..100 {
            (0..3).for_each(|s| drop(decode(&mut c, s, &tokens(i, 1))));
        }
        c.seq_rm(Some(1), -1, -1).expect("a whole sequence");
        let (other, used) = (save(&mut c, seq(2)), c.memory().used()[0]);
        load(&mut c, seq(3), &blob);
        assert_eq!(c.memory().used()[0], used + PAST as u32);
        assert!(decode(&mut c, 3, &next) == expected, "{name}");
        assert!(save(&mut c, seq(2)) == other, "{name}: another sequence has changed");
    }
}

#[test]
fn shared_cells_come_back_shared_or_apart() {
    for name in [LLAMA, GEMMA] {
        let many = |kv_unified| ContextParams { n_seq_max: 3, n_ctx: 1536, kv_unified, ..params() };
        let mut a = context(name, many(true));
        decode(&mut a, 0, &tokens(1, 100));
        a.seq_cp(0, 2, -1, -1).expect("shared");
        let whole = save(&mut a, What::Everything);
        let (x, y) = (decode(&mut a, 0, &tokens(5, 9)), decode(&mut a, 2, &tokens(6, 9)));
        for unified in [true, false] {
            let mut b = context(name, many(unified));
            load(&mut b, What::Everything, &whole);
            assert_eq!(b.memory().used()[0], if unified { 100 } else { 200 });
            assert!(decode(&mut b, 0, &tokens(5, 9)) == x && decode(&mut b, 2, &tokens(6, 9)) == y, "{name}, unified {unified}");
        }
    }
}

#[test]
fn what_waits_is_done_before_a_state_is_written() {
    for name in [LLAMA, GEMMA] {
        let shifted = |settle: bool| {
            let mut c = context(name, params());
            decode(&mut c, 0, &tokens(1, 100));
            c.seq_rm(Some(0), 10, 20).expect("a hole");
            c.seq_add(0, 20, -1, -10).expect("a shift");
            if settle {
                decode(&mut c, 0, &tokens(3, 1));
                c.seq_rm(Some(0), 90, -1).expect("a tail");
            }
            (save(&mut c, What::Everything), save(&mut c, seq(0)))
        };
        let (now, later) = (shifted(false), shifted(true));
        assert!(now == later, "{name}");
    }
}

#[test]
fn types_are_converted() {
    for name in [LLAMA, GEMMA] {
        for (from, to, least) in [
            (DType::F16, DType::F32, 0.0),
            (DType::F32, DType::F16, 1e-3),
            (DType::F32, DType::BF16, 1e-2),
            (DType::F16, DType::Q8_0, 1e-2),
            (DType::Q8_0, DType::F32, 0.0),
            (DType::Q5_1, DType::F32, 1e-3),
            (DType::Q5_0, DType::F32, 1e-3),
            (DType::Q4_1, DType::F32, 1e-3),
            (DType::Q4_0, DType::F32, 1e-3),
            (DType::IQ4_NL, DType::F32, 1e-3),
            (DType::F16, DType::Q5_1, 2e-2),
        ] {
            let kind = |t| ContextParams { type_k: t, type_v: t, ..params() };
            let mut a = context(name, kind(from));
            let (blob, expected, next) = past(&mut a, 0);
            let mut b = context(name, kind(to));
            load(&mut b, seq(0), &blob);
            // Only the past is converted without a loss, what follows is not.
            let got = decode(&mut b, 0, &next[..1]);
            let square = |x: f32| f64::from(x) * f64::from(x);
            let off: f64 = got.iter().zip(&expected).map(|(a, b)| square(a - b)).sum();
            let nmse = off / got.iter().map(|a| square(*a)).sum::<f64>();
            assert!(nmse <= f64::max(least, 2e-4), "{name} {from:?} -> {to:?}: {nmse}");
        }
    }
}

#[test]
fn a_part_is_what_the_window_holds() {
    let small = || ContextParams { swa_full: false, n_ctx: 1024, ..params() };
    let mut c = context(GEMMA, small());
    let part = What::Seq { seq: 0, partial: true };
    decode(&mut c, 0, &tokens(1, PAST));
    let (snapshot, whole) = (save(&mut c, part), save(&mut c, seq(0)));
    assert!(snapshot.len() < whole.len());
    let expected = decode(&mut c, 0, &tokens(2, 20));
    decode(&mut c, 0, &tokens(3, 500));
    let at = PAST as i32;
    assert!(c.seq_rm(Some(0), at, -1).is_err(), "the window has moved on");
    load(&mut c, part, &snapshot);
    let on = BatchView { n_tokens: 1, tokens: Some(&[9]), ..BatchView::default() };
    assert_eq!(c.decode(&on), -1, "the window ends before its base");
    c.seq_rm(Some(0), at, -1).expect("back to where the window is");
    assert!(decode(&mut c, 0, &tokens(2, 20)) == expected);
    // Without its base a window is nothing.
    let mut empty = context(GEMMA, small());
    assert!(state::load(&mut empty, part, &snapshot).is_err());
    assert_eq!(empty.memory().used(), [0, 0]);
    // A memory without windows writes everything.
    let mut plain = context(LLAMA, params());
    decode(&mut plain, 0, &tokens(1, 9));
    assert!(save(&mut plain, part) == save(&mut plain, seq(0)));
}

#[test]
fn an_empty_state_empties() {
    for name in [LLAMA, GEMMA] {
        let mut c = context(name, ContextParams { n_seq_max: 2, n_ctx: 1024, ..params() });
        decode(&mut c, 0, &tokens(1, 30));
        let (kept, empty) = (save(&mut c, seq(0)), save(&mut c, seq(1)));
        assert_eq!(empty.len(), if name == GEMMA { 32 } else { 20 });
        decode(&mut c, 1, &tokens(2, 30));
        load(&mut c, seq(1), &empty);
        assert_eq!(c.memory().pos_max(1), None);
        assert!(save(&mut c, seq(0)) == kept);
    }
}
