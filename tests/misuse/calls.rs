//! Single wrong calls: the probes of which half kill the original, NULL, absurd parameters, memory operations with every corner of int.
use crate::processes::{MARK, address_space, child, in_child, limit};
use crate::tiny::{Batch, Ctx, Model, N_VOCAB, Tiny, ctx_params, errors, one_error, said};
use llama::capi::batch::*;
use llama::capi::context::*;
use llama::capi::memory::*;
use llama::capi::outputs::*;
use llama::capi::samplers::*;
use llama::capi::sampling::*;
use llama::capi::state::*;
use llama::capi::types::*;
use llama::capi::vocab::*;
use std::ptr::{null, null_mut};

const CORNERS: [i32; 9] = [i32::MIN, -2, -1, 0, 1, 5, 300, i32::MAX - 1, i32::MAX];

/// What a wrong call must leave alone: positions of some sequences, and what the next token's logits are.
fn state(c: &Ctx) -> Vec<(i32, i32)> {
    (0..4).map(|s| (c.min(s), c.max(s))).collect()
}

fn two_streams(m: &Model) -> Ctx {
    m.ctx(llama_context_params { n_seq_max: 2, ..ctx_params() })
}

fn filled(m: &Model) -> Ctx {
    let c = two_streams(m);
    assert_eq!(c.decode(&Batch::new(&[1, 2, 3, 4, 5, 6]).of(&[0])), 0);
    c
}

/// field.md's list of sixteen, with what llama.h or common sense wants.
#[test]
fn sixteen_probes() {
    let m = Tiny::new("gemma3").load("probes");
    let c = filled(&m);
    let before = state(&c);
    said();
    let refused = |what: &str, b: Batch| {
        assert_eq!(c.decode(&b), -1, "{what}");
        one_error(what, "decode");
        assert_eq!(state(&c), before, "{what}");
    };
    refused("n_tokens > n_batch", Batch::new(&[1; 65]));
    refused("a gap", Batch::new(&[1]).at(9));
    refused("the past", Batch::new(&[1]).at(3));
    refused("token -1", Batch::new(&[-1]));
    refused("token n_vocab", Batch::new(&[N_VOCAB as i32]));
    refused("seq id 300", Batch::new(&[1]).of(&[300]));
    refused("seq id -1", Batch::new(&[1]).of(&[-1]));
    refused("seq id n_seq_max", Batch::new(&[1]).of(&[2]));
    refused("n_tokens 0", Batch::new(&[]));
    // SAFETY: live handles; buffers of the stated sizes.
    unsafe {
        assert!(!llama_memory_seq_rm(c.mem(), 300, 0, -1));
        one_error("seq_rm(300)", "llama_memory_seq_rm");
        assert_eq!(llama_memory_seq_pos_max(c.mem(), -1), -1);
        llama_memory_seq_keep(c.mem(), -1);
        one_error("seq_keep(-1)", "llama_memory_seq_keep");
        llama_memory_seq_cp(c.mem(), 0, 1, 1, 4);
        one_error("a part across streams", "llama_memory_seq_cp");
        let vocab = llama::capi::model::llama_model_get_vocab(m.get()).as_ref();
        let mut buf = [0; 8];
        let n = llama_token_to_piece(vocab, 1_000_000_000, buf.as_mut_ptr(), 8, 0, true);
        assert!(n <= 0, "{n}");
        for i in [6, 1_000_000, -7, i32::MIN, i32::MAX] {
            assert!(llama_get_logits_ith(c.get(), i).is_null());
            assert!(llama_get_embeddings_ith(c.get(), i).is_null());
        }
        let garbage = [0xa5u8; 64];
        assert_eq!(llama_state_seq_set_data(c.get(), garbage.as_ptr(), 64, 300), 0);
        assert_eq!(llama_state_set_data(c.get(), garbage.as_ptr(), 64), 0);
        assert_eq!(llama_state_seq_set_data_ext(c.get(), garbage.as_ptr(), 64, 0, 2), 0);
    }
    assert_eq!(state(&c), before);
    said();
    assert_eq!(c.decode(&Batch::new(&[7]).of(&[0])), 0);
    assert_eq!(c.max(0), 6);
}

/// Arrays that are NULL, in every combination; counts that are not what the lists hold.
#[test]
fn batches_with_missing_arrays() {
    let m = Tiny::new("llama").load("arrays");
    let (mut tokens, mut embd, mut pos) = (vec![1, 2, 3], vec![0.5f32; 3 * 64], vec![0, 1, 2]);
    let (mut counts, mut logits) = (vec![1, 1, 1], vec![0i8, 0, 1]);
    let mut seq = [0, 1];
    let mut lists = [seq.as_mut_ptr(); 3];
    let mut works = 0;
    for mask in 0..64 {
        let on = |bit: i32| mask >> bit & 1 == 1;
        let c = two_streams(&m);
        let b = llama_batch {
            n_tokens: 3,
            token: if on(0) { tokens.as_mut_ptr() } else { null_mut() },
            embd: if on(1) { embd.as_mut_ptr() } else { null_mut() },
            pos: if on(2) { pos.as_mut_ptr() } else { null_mut() },
            n_seq_id: if on(3) { counts.as_mut_ptr() } else { null_mut() },
            seq_id: if on(4) { lists.as_mut_ptr() } else { null_mut() },
            logits: if on(5) { logits.as_mut_ptr() } else { null_mut() },
        };
        said();
        // SAFETY: arrays of three elements, or NULL.
        let rc = unsafe { llama_decode(c.get(), b) };
        let e = errors(&format!("mask {mask:06b}"));
        assert!((rc == 0 && e.is_empty()) || (rc == -1 && e.len() == 1), "{mask:06b}: {rc} {e:?}");
        assert_eq!(rc == 0, on(0) || on(1), "{mask:06b}");
        assert_eq!(c.max(0), if rc == 0 { 2 } else { -1 });
        works += i32::from(rc == 0);
    }
    assert_eq!(works, 48);
    let c = two_streams(&m);
    for count in [-1, 0, 257, i32::MAX, i32::MIN] {
        let mut counts = [1, count, 1];
        let b = llama_batch { n_tokens: 3, token: tokens.as_mut_ptr(), n_seq_id: counts.as_mut_ptr(), seq_id: lists.as_mut_ptr(), ..EMPTY };
        // SAFETY: as above; a senseless count is not followed.
        assert_eq!(unsafe { llama_decode(c.get(), b) }, -1, "n_seq_id {count}");
        let mut holes = [seq.as_mut_ptr(), null_mut(), seq.as_mut_ptr()];
        let b = llama_batch { n_tokens: 3, token: tokens.as_mut_ptr(), seq_id: holes.as_mut_ptr(), ..EMPTY };
        // SAFETY: as above.
        assert_eq!(unsafe { llama_decode(c.get(), b) }, -1);
    }
    for n in [-1, i32::MIN, i32::MAX, 65] {
        let b = llama_batch { n_tokens: n, token: tokens.as_mut_ptr(), ..EMPTY };
        // SAFETY: a count above n_batch is refused before anything is read.
        assert_eq!(unsafe { llama_decode(c.get(), b) }, -1, "n_tokens {n}");
    }
    assert_eq!(state(&c), [(-1, -1); 4]);
    embd.fill(f32::NAN);
    let b = llama_batch { n_tokens: 3, embd: embd.as_mut_ptr(), ..EMPTY };
    // SAFETY: as above.
    assert_eq!(unsafe { llama_decode(c.get(), b) }, 0, "embeddings are numbers, and so is NaN");
    errors("missing arrays");
}

const EMPTY: llama_batch = llama_batch {
    n_tokens: 0,
    token: null_mut(),
    embd: null_mut(),
    pos: null_mut(),
    n_seq_id: null_mut(),
    seq_id: null_mut(),
    logits: null_mut(),
};

/// A context or one line that says why not; one that is made decodes.
#[test]
fn absurd_context_parameters() {
    if in_child().is_none() {
        return drop(child("calls::absurd_context_parameters", &[(MARK, "1".to_owned())]));
    }
    // A machine with room for a billion cells would give them, and take its time.
    limit(address_space() + (8 << 30));
    let m = Tiny::new("gemma3").load("absurd");
    let base = ctx_params;
    let u =
        [0, 1, 2, 3, 255, 256, 257, 1000, 1 << 20, 1 << 28, 1 << 30, (1 << 30) + 1, i32::MAX as u32, 1_000_000_000, u32::MAX - 1, u32::MAX];
    let mut list: Vec<(String, llama_context_params)> = Vec::new();
    for v in u {
        list.push((format!("n_ctx {v}"), llama_context_params { n_ctx: v, ..base() }));
        list.push((format!("n_batch {v}"), llama_context_params { n_batch: v, ..base() }));
        list.push((format!("n_ubatch {v}"), llama_context_params { n_ubatch: v, ..base() }));
        list.push((format!("n_seq_max {v}"), llama_context_params { n_seq_max: v, ..base() }));
        list.push((format!("n_seq_max {v} unified"), llama_context_params { n_seq_max: v, kv_unified: true, swa_full: false, ..base() }));
        list.push((format!("all {v}"), llama_context_params { n_ctx: v, n_batch: v, n_ubatch: v, n_seq_max: v, ..base() }));
        list.push((format!("not causal {v}"), llama_context_params { n_batch: v, n_ubatch: v, attention_type: 1, ..base() }));
        list.push((format!("n_outputs {v}"), llama_context_params { n_outputs_max: v, n_rs_seq: v, yarn_orig_ctx: v, ..base() }));
    }
    for v in CORNERS.into_iter().chain([999, 4, 10_000]) {
        list.push((format!("threads {v}"), llama_context_params { n_threads: v, n_threads_batch: v, ..base() }));
        list.push((format!("types {v}"), llama_context_params { type_k: v, ..base() }));
        list.push((format!("type_v {v}"), llama_context_params { type_v: v, ..base() }));
        list.push((format!("pooling {v}"), llama_context_params { pooling_type: v, embeddings: true, ..base() }));
        list.push((format!("rope {v}"), llama_context_params { rope_scaling_type: v, ..base() }));
        list.push((format!("attention {v}"), llama_context_params { attention_type: v, flash_attn_type: v, ..base() }));
        list.push((format!("ctx_type {v}"), llama_context_params { ctx_type: v, ..base() }));
    }
    for v in [f32::NAN, f32::INFINITY, -1e30, 0.0, 1e-45, f32::MAX] {
        let yarn = llama_context_params { yarn_ext_factor: v, yarn_attn_factor: v, yarn_beta_fast: v, yarn_beta_slow: v, ..base() };
        list.push((format!("rope {v}"), llama_context_params { rope_freq_base: v, rope_freq_scale: v, ..yarn }));
    }
    let (n, mut made) = (list.len(), 0);
    for (what, p) in list {
        said();
        match m.context(p) {
            None => _ = one_error(&what, ""),
            Some(c) => {
                made += 1;
                let rc = c.decode(&Batch::new(&[1]));
                let e = errors(&what);
                assert!(rc == 0 && e.is_empty(), "{what}: {rc} {e:?}");
                // SAFETY: a live handle.
                unsafe {
                    llama_set_n_threads(c.get(), i32::MAX, i32::MIN);
                    llama_set_causal_attn(c.get(), false);
                    llama_set_embeddings(c.get(), true);
                }
                assert_eq!(c.decode(&Batch::new(&[1])), 0, "{what}");
            }
        }
    }
    println!("{n} parameter sets, {made} contexts");
    assert!(made > n / 3 && made < n);
}

/// Every combination of corners for every operation on memory: it answers, and what it leaves is a memory that decodes.
#[test]
fn memory_operations_with_corners() {
    for arch in ["llama", "gemma3"] {
        let m = Tiny::new(arch).load("memory");
        for unified in [false, true] {
            let p = llama_context_params {
                n_seq_max: 2,
                kv_unified: unified,
                swa_full: false,
                n_threads: 1,
                n_threads_batch: 1,
                ..ctx_params()
            };
            let c = m.ctx(p);
            let ids = [-1, 0, 1, 2, 256, i32::MIN, i32::MAX];
            let corners = [i32::MIN, -1, 0, 1, 5, i32::MAX];
            for seq in ids {
                for p0 in corners {
                    for p1 in corners {
                        operations(&c, seq, p0, p1);
                    }
                }
                errors(&format!("{arch} {unified} {seq}"));
            }
        }
    }
}

/// All operations on a fresh sequence of six, with a decode after each that the memory says is possible.
fn operations(c: &Ctx, seq: i32, p0: i32, p1: i32) {
    for op in 0..5 {
        // SAFETY: live handles, plain numbers.
        unsafe {
            llama_memory_clear(c.mem(), op % 2 == 0);
            assert_eq!(c.decode(&Batch::new(&[1, 2, 3, 4, 5, 6])), 0);
            match op {
                0 => _ = llama_memory_seq_rm(c.mem(), seq, p0, p1),
                1 => [-1, 0, 1, i32::MAX].into_iter().for_each(|dst| llama_memory_seq_cp(c.mem(), seq, dst, p0, p1)),
                2 => llama_memory_seq_keep(c.mem(), seq),
                3 => [p0, p1, -3].into_iter().for_each(|d| llama_memory_seq_add(c.mem(), seq, p0, p1, d)),
                _ => llama_memory_seq_div(c.mem(), seq, p0, p1, p0.wrapping_add(2)),
            }
        }
        let (min, max) = (c.min(0), c.max(0));
        assert!((max == -1) == (min == -1) && min <= max.saturating_add(1), "op {op} {seq} {p0} {p1}: {min}..{max}");
        if max < i32::MAX - 1 {
            let rc = c.decode(&Batch::new(&[7]));
            assert!(rc == 0, "op {op} {seq} {p0} {p1}: {rc}, {min}..{max}");
            assert_eq!(c.max(0), max + 1);
        }
    }
}

#[test]
fn batch_sizes_of_nonsense() {
    for n in CORNERS {
        for embd in [0, -1, 1, 64, i32::MAX, i32::MIN] {
            for n_seq in [0, -1, 1, 300, i32::MAX] {
                // SAFETY: nothing is read from the batch; freed once.
                unsafe {
                    let b = llama_batch_init(n, embd, n_seq);
                    assert_eq!(b.n_tokens, 0);
                    llama_batch_free(b);
                }
            }
        }
    }
}

#[test]
fn text_into_small_and_negative_buffers() {
    let m = Tiny::new("llama").load("text");
    let text = b"abc hello\nzzz\xff\x00\xf0\x9f";
    // SAFETY: buffers hold what is said; negative sizes mean none.
    unsafe {
        let vocab = llama::capi::model::llama_model_get_vocab(m.get()).as_ref();
        let tokenize = |len: i32, out: *mut i32, n: i32| llama_tokenize(vocab, text.as_ptr().cast(), len, out, n, true, true);
        let mut out = [-5; 64];
        let n = tokenize(15, out.as_mut_ptr(), 64);
        assert!(n > 3 && out[n as usize] == -5);
        for room in [-1, 0, 1, n - 1, i32::MIN] {
            let mut small = [-5; 64];
            assert_eq!(tokenize(15, small.as_mut_ptr(), room), -n, "room {room}");
            assert!(small[room.max(0) as usize..].iter().all(|t| *t == -5), "room {room}: wrote past it");
            assert_eq!(tokenize(15, null_mut(), room), -n);
        }
        assert!(tokenize(0, out.as_mut_ptr(), 64) <= 1);
        // negative lengths: up to NUL
        assert_eq!(tokenize(-1, out.as_mut_ptr(), 64), tokenize(14, out.as_mut_ptr(), 64));
        assert!(llama_tokenize(vocab, null(), 5, out.as_mut_ptr(), 64, true, true) <= 1);
        for token in CORNERS {
            for room in [-1, 0, 1, 8] {
                let mut buf = [7; 8];
                let n = llama_token_to_piece(vocab, token, buf.as_mut_ptr(), room, i32::MIN, true);
                assert!(n <= 8);
                llama_token_to_piece(vocab, token, null_mut(), room, i32::MAX, false);
                let n = llama_detokenize(vocab, [token, 2, 1].as_ptr(), 3, buf.as_mut_ptr(), room, true, true);
                assert!(n <= room.max(0));
                assert!(buf[room.max(0) as usize..].iter().all(|b| *b == 7));
            }
            llama_vocab_get_text(vocab, token);
            llama_vocab_get_score(vocab, token);
            llama_vocab_get_attr(vocab, token);
            llama_vocab_is_eog(vocab, token);
            llama_vocab_is_control(vocab, token);
        }
        llama_detokenize(vocab, null(), 3, null_mut(), 3, true, true);
        llama_detokenize(vocab, out.as_ptr(), -3, null_mut(), 3, true, true);
    }
    errors("text");
}

/// Every sampler with parameters out of their ranges, on lists without data, with NaN, with a selection that is nowhere.
#[test]
fn samplers_on_nonsense() {
    let m = Tiny::new("llama").load("samplers");
    let reals = [0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-45, f32::MAX];
    let ints = [0, 1, -1, 3, i32::MIN, i32::MAX];
    // SAFETY: live handles; lists of the stated length.
    unsafe {
        let vocab = llama::capi::model::llama_model_get_vocab(m.get()).as_ref();
        let mut n = 0;
        for r in reals {
            for i in ints {
                let keep = i as usize;
                let bias = [llama_logit_bias { token: i, bias: r }; 2];
                let list = [
                    llama_sampler_init_greedy(),
                    llama_sampler_init_dist(i as u32),
                    llama_sampler_init_top_k(i),
                    llama_sampler_init_top_p(r, keep),
                    llama_sampler_init_min_p(r, keep),
                    llama_sampler_init_typical(r, keep),
                    llama_sampler_init_temp(r),
                    llama_sampler_init_temp_ext(r, r, r),
                    llama_sampler_init_xtc(1.0, r, keep, 1),
                    llama_sampler_init_top_n_sigma(r),
                    llama_sampler_init_mirostat(i, 1, r, r, i),
                    llama_sampler_init_mirostat_v2(1, r, r),
                    llama_sampler_init_penalties(i, if i > 100 { 100 } else { i }, r, r, r),
                    llama_sampler_init_dry(vocab, r, r, i, if i > 100 { 100 } else { i }, null_mut(), 0),
                    llama_sampler_init_adaptive_p(r, r, 1),
                    llama_sampler_init_logit_bias(i, 2, bias.as_ptr()),
                    llama_sampler_init_infill(vocab),
                ];
                for s in list {
                    sample_nonsense(s, r);
                    n += 1;
                }
            }
        }
        println!("{n} samplers");
    }
    errors("samplers");
}

/// # Safety
/// A live sampler, which is freed here.
unsafe fn sample_nonsense(s: *mut llama_sampler, r: f32) {
    let token = |id: i32, logit: f32| llama_token_data { id, logit, p: 0.0 };
    let lists = [
        vec![],
        vec![token(0, r)],
        vec![token(-1, f32::NAN); 3],
        (0..32).map(|i| token(i, if i % 3 == 0 { f32::NAN } else { i as f32 })).collect(),
        (0..32).map(|i| token(i * 1_000_000, f32::NEG_INFINITY)).collect(),
        (0..300).map(|i| token(i, r * i as f32)).collect(),
    ];
    // SAFETY: the caller's promise; each list is alive for its call.
    unsafe {
        for mut l in lists {
            for selected in [-1, 0, 1_000_000, i64::MIN, i64::MAX] {
                for sorted in [false, true] {
                    let n = l.len();
                    let mut a = llama_token_data_array { data: l.as_mut_ptr(), size: n, selected, sorted };
                    llama_sampler_apply(s, &raw mut a);
                    assert!(a.size <= n);
                }
            }
            llama_sampler_accept(s, l.last().map_or(i32::MIN, |t| t.id));
        }
        let mut none = llama_token_data_array { data: null_mut(), size: 5, selected: 3, sorted: true };
        llama_sampler_apply(s, &raw mut none);
        llama_sampler_apply(s, null_mut());
        [i32::MIN, -1, i32::MAX].into_iter().for_each(|t| llama_sampler_accept(s, t));
        assert_eq!(llama_sampler_sample(s, None, 0), -1);
        llama_sampler_reset(s);
        llama_sampler_free(llama_sampler_clone(s));
        llama_sampler_free(s);
    }
}

/// A sampler on a context without logits, and on an index that is not there.
#[test]
fn sampling_where_nothing_is() {
    let m = Tiny::new("llama").load("sampling");
    let c = m.ctx(ctx_params());
    // SAFETY: live handles.
    unsafe {
        let s = llama_sampler_init_greedy();
        assert_eq!(llama_sampler_sample(s, c.get(), -1), -1);
        assert_eq!(c.decode(&Batch::new(&[1])), 0);
        for i in [1, -2, i32::MAX, i32::MIN] {
            assert_eq!(llama_sampler_sample(s, c.get(), i), -1);
        }
        assert!(llama_sampler_sample(s, c.get(), -1) >= 0);
        assert_eq!(llama_sampler_sample(null_mut(), c.get(), -1), -1);
        llama_sampler_chain_add(s, null_mut());
        let chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
        llama_sampler_chain_add(chain, chain);
        llama_sampler_chain_add(chain, s);
        for i in [-2, 1, i32::MAX, i32::MIN] {
            assert!(llama_sampler_chain_get(chain, i).is_null() && llama_sampler_chain_remove(chain, i).is_null());
        }
        llama_sampler_free(chain);
        llama_sampler_free(null_mut());
        llama_free(null_mut());
        llama_batch_free(EMPTY);
        llama::capi::model::llama_model_free(null_mut());
    }
    errors("sampling");
}
