//! The calls, by kind. Each is right about as often as it is wrong.
use crate::tiny::{Batch, N_EMBD, N_VOCAB};
use crate::world::{World, abort};
use llama::capi::adapter::*;
use llama::capi::batch::*;
use llama::capi::context::*;
use llama::capi::memory::*;
use llama::capi::model::*;
use llama::capi::outputs::*;
use llama::capi::perf::*;
use llama::capi::samplers::*;
use llama::capi::sampling::*;
use llama::capi::state::*;
use llama::capi::types::*;
use llama::capi::vocab::*;
use std::ffi::c_char;
use std::ptr::{null, null_mut};

/// Calls of each kind, and how many of them did what was asked.
#[derive(Debug, Default)]
pub struct Counts(std::collections::BTreeMap<&'static str, (u64, u64)>);

impl Counts {
    fn add(&mut self, kind: &'static str, did: bool) {
        let c = self.0.entry(kind).or_default();
        *c = (c.0 + 1, c.1 + u64::from(did));
    }
    /// Kinds of which nothing ever succeeds test nothing. Small runs may not get to all of them.
    pub fn all_did_something(&self) -> bool {
        self.0.values().all(|(calls, did)| *calls < 100 || *did > 0)
    }
}

/// Whether it did what was asked.
type Call = fn(&mut World<'_>) -> bool;

pub fn one(w: &mut World<'_>, counts: &mut Counts) {
    if w.contexts.is_empty() {
        w.new_context();
    }
    let kinds: [(&'static str, Call); 18] = [
        ("decode", decode),
        ("decode", decode),
        ("context", context),
        ("memory", memory),
        ("memory", memory),
        ("state", state),
        ("sequence", sequence),
        ("sampler", sampler),
        ("chain", chain),
        ("sample", sample),
        ("set sampler", set_sampler),
        ("adapter", adapter),
        ("control", control),
        ("batch", batch),
        ("process", process),
        ("outputs", outputs),
        ("settings", settings),
        ("model", model),
    ];
    let (kind, call) = kinds[w.rng.below(kinds.len())];
    let did = call(w);
    counts.add(kind, did);
}

fn token(w: &mut World<'_>) -> i32 {
    if w.rng.below(12) == 0 { w.odd() } else { w.rng.below(N_VOCAB) as i32 }
}

fn some_batch(w: &mut World<'_>) -> Batch {
    let n = 1 + w.rng.below(12);
    let mut b = Batch { tokens: (0..n).map(|_| token(w)).collect(), ..Batch::default() };
    b.logits = (0..n).map(|_| w.rng.below(2) as i8).collect();
    if w.rng.below(3) == 0 {
        let first = w.odd();
        b.pos = (0..n as i32).map(|i| first.wrapping_add(i)).collect();
    }
    if w.rng.below(3) == 0 {
        b.seqs = (0..n).map(|_| (0..w.rng.below(3)).map(|_| w.odd() % 5).collect()).collect();
    }
    b
}

/// A batch that has room in most contexts.
fn good_batch(w: &mut World<'_>) -> Batch {
    let n = 1 + w.rng.below(6);
    Batch::new(&(0..n).map(|_| w.rng.below(N_VOCAB) as i32).collect::<Vec<_>>())
}

fn decode(w: &mut World<'_>) -> bool {
    let b = if w.flag() { good_batch(w) } else { some_batch(w) };
    let c = w.context();
    // SAFETY: the arrays live until the call returns.
    let rc = unsafe { if w.rng.below(10) == 0 { llama_encode(c, b.view()) } else { llama_decode(c, b.view()) } };
    assert!((-3..=2).contains(&rc), "{rc}");
    rc == 0
}

fn context(w: &mut World<'_>) -> bool {
    if w.contexts.len() > 2 || w.contexts.len() > 1 && w.flag() {
        let c = w.contexts.swap_remove(w.rng.below(w.contexts.len()));
        // SAFETY: alive, and freed once; its batches, samplers and adapters live on.
        unsafe { llama_free(c) };
        return true;
    }
    let before = w.contexts.len();
    w.new_context();
    w.contexts.len() > before
}

fn memory(w: &mut World<'_>) -> bool {
    let (m, a, b, p0, p1) = (w.memory(), w.odd(), w.odd(), w.odd(), w.odd());
    // SAFETY: a live memory or NULL, plain numbers.
    unsafe {
        match w.rng.below(9) {
            0 => return llama_memory_seq_rm(m, a, p0, p1),
            1 => llama_memory_seq_cp(m, a, b, p0, p1),
            2 => llama_memory_seq_keep(m, a),
            3 => llama_memory_seq_add(m, a, p0, p1, b),
            4 => llama_memory_seq_div(m, a, p0, p1, b),
            5 => llama_memory_clear(m, w.flag()),
            6 => return llama_memory_can_shift(m),
            7 => return llama_memory_seq_rm(m, a, -1, -1),
            _ => {
                let (min, max) = (llama_memory_seq_pos_min(m, a), llama_memory_seq_pos_max(m, a));
                assert!((min == -1) == (max == -1) && min <= max.saturating_add(1), "{min}..{max}");
                return max >= 0;
            }
        }
    }
    m.is_some()
}

/// Spoils a copy of a state now and then.
fn some_state(w: &mut World<'_>) -> Vec<u8> {
    let i = w.rng.below(w.states.len());
    let mut s = w.states.get(i).cloned().unwrap_or_default();
    if w.flag() && !s.is_empty() {
        let (at, end) = (w.rng.below(s.len()), w.rng.below(s.len()));
        s[at] = w.rng.next() as u8;
        if w.flag() {
            s.truncate(end);
        }
    }
    s
}

fn keep_state(w: &mut World<'_>, s: Vec<u8>) -> bool {
    let some = !s.is_empty();
    if w.states.len() < 4 {
        w.states.push(s)
    } else {
        w.states[0] = s
    }
    some
}

fn state(w: &mut World<'_>) -> bool {
    let c = w.context();
    // SAFETY: a live context or NULL; buffers of the sizes that are said.
    unsafe {
        if w.flag() {
            let s = some_state(w);
            return llama_state_set_data(c, s.as_ptr(), s.len()) > 0;
        }
        let size = llama_state_get_size(c);
        let mut s = vec![0; if w.rng.below(4) == 0 { size / 2 } else { size }];
        let n = llama_state_get_data(c, s.as_mut_ptr(), s.len());
        s.truncate(n);
        keep_state(w, s)
    }
}

fn sequence(w: &mut World<'_>) -> bool {
    let (c, seq, flags) = (w.context(), w.odd(), w.rng.pick(&[0, 0, 1, 2, 3, 77]));
    // SAFETY: as above.
    unsafe {
        if w.flag() {
            let s = some_state(w);
            return llama_state_seq_set_data_ext(c, s.as_ptr(), s.len(), seq, flags) > 0;
        }
        let mut s = vec![0; llama_state_seq_get_size_ext(c, seq, flags)];
        let n = llama_state_seq_get_data_ext(c, s.as_mut_ptr(), s.len(), seq, flags);
        s.truncate(n);
        keep_state(w, s)
    }
}

fn new_sampler(w: &mut World<'_>) -> *mut llama_sampler {
    let (x, y, n, seed) = (w.float(), w.float(), w.odd(), w.rng.next() as u32);
    let model = w.model();
    // SAFETY: a live model's vocabulary; terminated texts; lists as long as said.
    unsafe {
        let vocab = llama_model_get_vocab(model).as_ref();
        match w.rng.below(19) {
            0 => llama_sampler_init_greedy(),
            1 => llama_sampler_init_dist(seed),
            2 => llama_sampler_init_top_k(n),
            3 => llama_sampler_init_top_p(x, n.max(0) as usize),
            4 => llama_sampler_init_min_p(x, 1),
            5 => llama_sampler_init_typical(x, 1),
            6 => llama_sampler_init_temp(x),
            7 => llama_sampler_init_temp_ext(x, y, 1.0),
            8 => llama_sampler_init_xtc(x, y, 1, seed),
            9 => llama_sampler_init_top_n_sigma(x),
            10 => llama_sampler_init_mirostat(n, seed, x, y, 100),
            11 => llama_sampler_init_mirostat_v2(seed, x, y),
            12 => llama_sampler_init_penalties(N_VOCAB as i32, n, x, y, 0.1),
            13 => llama_sampler_init_dry(vocab, x, y, n, 64, null_mut(), 0),
            14 => llama_sampler_init_adaptive_p(x, y, seed),
            15 => {
                let bias = [llama_logit_bias { token: n, bias: x }, llama_logit_bias { token: 3, bias: 1.0 }];
                llama_sampler_init_logit_bias(N_VOCAB as i32, 2, bias.as_ptr())
            }
            16 => {
                let text = w.rng.pick(&[c"root ::= [a-f]+", c"root ::= \"ab\" root | \"c\"", c"root ::= x", c"", c"root ::= [^"]);
                llama_sampler_init_grammar(vocab, text.as_ptr(), c"root".as_ptr())
            }
            17 => llama_sampler_init_infill(vocab),
            _ => llama_sampler_chain_init(llama_sampler_chain_params { no_perf: x > 0.3 }),
        }
    }
}

fn sampler(w: &mut World<'_>) -> bool {
    let (s, t) = (w.sampler(), token(w));
    // SAFETY: live samplers or NULL.
    unsafe {
        match w.rng.below(7) {
            0..3 if w.samplers.len() < 6 => {
                let new = new_sampler(w);
                if !new.is_null() {
                    w.samplers.push(new);
                }
                return !new.is_null();
            }
            3 => llama_sampler_accept(s, t),
            4 => llama_sampler_reset(s),
            5 => {
                let copy = llama_sampler_clone(s);
                if !copy.is_null() {
                    w.samplers.push(copy);
                }
            }
            _ => {
                // Also while it is set on a context.
                let i = w.rng.below(w.samplers.len());
                if i < w.samplers.len() {
                    llama_sampler_free(w.samplers.swap_remove(i));
                }
                return true;
            }
        }
    }
    !s.is_null()
}

fn chain(w: &mut World<'_>) -> bool {
    let (c, i) = (w.sampler(), w.odd());
    // SAFETY: live samplers or NULL; what a chain takes over leaves the list, what it gives back enters it.
    unsafe {
        match w.rng.below(4) {
            0 | 1 => {
                let new = new_sampler(w);
                let before = llama_sampler_chain_n(c);
                llama_sampler_chain_add(c, new);
                if llama_sampler_chain_n(c) > before {
                    return true;
                }
                llama_sampler_free(new);
                false
            }
            2 => {
                let out = llama_sampler_chain_remove(c, i);
                if !out.is_null() {
                    w.samplers.push(out);
                }
                !out.is_null()
            }
            _ => {
                _ = llama_sampler_get_seed(c);
                !llama_sampler_name(llama_sampler_chain_get(c, i)).is_null()
            }
        }
    }
}

fn sample(w: &mut World<'_>) -> bool {
    let (s, c, i) = (w.sampler(), w.context(), if w.flag() { -1 } else { w.odd() });
    // SAFETY: live handles or NULL.
    unsafe {
        if w.flag() {
            _ = llama_decode(c, good_batch(w).view());
        }
        let token = llama_sampler_sample(s, c, i);
        assert!((-1..N_VOCAB as i32).contains(&token), "token {token}");
        token >= 0
    }
}

fn set_sampler(w: &mut World<'_>) -> bool {
    let (s, c, seq) = (w.sampler(), w.context(), w.odd());
    // SAFETY: live handles or NULL; a sampler that is freed while it is set is noticed.
    unsafe { llama_set_sampler(c, seq, s) }
}

fn adapter(w: &mut World<'_>) -> bool {
    let c = w.context();
    let (i, model) = (w.rng.below(w.adapters.len()), w.model());
    let a = w.adapters.get(i).copied().unwrap_or(null_mut());
    // SAFETY: adapters may be dead or of another model: their functions say so.
    unsafe {
        match w.rng.below(5) {
            0 if w.adapters.len() < 4 => {
                let path = w.shelf.adapter.c_path();
                let new = llama_adapter_lora_init(model, path.as_ptr());
                if !new.is_null() {
                    w.adapters.push(new);
                }
                !new.is_null()
            }
            1 => {
                llama_adapter_lora_free(a);
                !a.is_null()
            }
            2 => {
                let mut text: [c_char; 9] = [1; 9];
                _ = llama_adapter_meta_key_by_index(a, w.odd(), text.as_mut_ptr(), w.rng.below(10));
                _ = llama_adapter_get_alora_n_invocation_tokens(a);
                llama_adapter_meta_val_str(a, c"adapter.type".as_ptr(), text.as_mut_ptr(), 9) > 0
            }
            _ => {
                let mut list: Vec<_> = (0..w.rng.below(3)).map(|_| a).collect();
                let mut scales: Vec<f32> = list.iter().map(|_| w.float()).collect();
                let null = w.rng.below(10) == 0;
                let p = if null { null_mut() } else { list.as_mut_ptr() };
                llama_set_adapters_lora(c, p, list.len(), scales.as_mut_ptr()) == 0
            }
        }
    }
}

fn control(w: &mut World<'_>) -> bool {
    let (c, n, from, to) = (w.context(), w.rng.below(3) * N_EMBD as usize, w.odd(), w.odd());
    let data = vec![w.float(); n];
    let width = if w.rng.below(4) == 0 { w.odd() } else { N_EMBD as i32 };
    let p = if n == 0 { null() } else { data.as_ptr() };
    // SAFETY: as many floats as said.
    unsafe { llama_set_adapter_cvec(c, p, n, width, from, to) == 0 }
}

fn batch(w: &mut World<'_>) -> bool {
    let (b, seq, idx, t) = (w.batch(), w.odd(), w.odd(), token(w));
    let row = [0.5; N_EMBD as usize];
    let n_embd = if w.rng.below(4) == 0 { 3 } else { N_EMBD as usize };
    let embd = llama_embd { data: row.as_ptr(), n_rows: 1, n_embd };
    // SAFETY: a live batch or NULL; rows and positions as long as an entry takes.
    unsafe {
        match w.rng.below(10) {
            0 | 1 if w.batches.len() < 3 => {
                let new = llama_batch_ext_init(w.context());
                if !new.is_null() {
                    w.batches.push(new);
                }
                return !new.is_null();
            }
            0 => llama_batch_ext_free(w.batches.swap_remove(0)),
            1 => llama_batch_ext_clear(b),
            2 => return llama_batch_ext_add(b, seq) >= 0,
            3..6 => {
                let i = llama_batch_ext_add_token(b, seq % 3, t);
                return llama_batch_ext_set_output_logits(b, i, w.flag());
            }
            6 => return llama_batch_ext_add_embd(b, seq, embd) >= 0,
            7 => return llama_batch_ext_add_seq(b, idx, seq),
            8 => {
                let pos = [idx; 4];
                return llama_batch_ext_set_pos(b, w.rng.below(3) as i32, pos.as_ptr());
            }
            _ => return llama_batch_ext_set_embd_token(b, idx, embd) | llama_batch_ext_set_output_embd(b, idx, true),
        }
    }
    b.is_some()
}

fn process(w: &mut World<'_>) -> bool {
    let (c, b, kind) = (w.context(), w.batch(), w.rng.pick(&[0, 1, 1, 1, 1, 7, -1]));
    let (first, n) = (w.rng.below(3) as i32, w.rng.below(6));
    // SAFETY: live handles or NULL; the batch may be of a context that is gone.
    let rc = unsafe {
        if w.flag() {
            llama_batch_ext_clear(b);
            let end = llama_memory_seq_pos_max(llama_get_memory(c).as_ref(), first);
            for k in 0..n as i32 {
                let (i, pos) = (llama_batch_ext_add_token(b, first, k), [end + 1 + k; 4]);
                _ = llama_batch_ext_set_pos(b, i, pos.as_ptr()) && llama_batch_ext_set_output_logits(b, i, true);
            }
        }
        llama_process(c, kind, b)
    };
    assert!((-3..=2).contains(&rc), "{rc}");
    rc == 0
}

/// Rows are there to be read as a whole.
///
/// # Safety
/// NULL or `n` numbers.
unsafe fn read<T: Copy>(p: *const T, n: usize) -> bool {
    // SAFETY: the caller's promise.
    (0..n).filter(|_| !p.is_null()).for_each(|i| _ = std::hint::black_box(unsafe { p.add(i).read() }));
    !p.is_null()
}

fn outputs(w: &mut World<'_>) -> bool {
    let (c, i) = (w.context(), w.odd());
    // SAFETY: a live context or NULL; rows are as long as llama.h says.
    unsafe {
        match w.rng.below(5) {
            0 => read(llama_get_logits_ith(c, i), N_VOCAB),
            1 => read(llama_get_embeddings_ith(c, i), N_EMBD as usize),
            2 => read(llama_get_embeddings_seq(c, i), 1),
            3 => read(llama_get_logits(c), 1) | read(llama_get_embeddings(c), 1),
            _ => {
                let picked = llama_get_sampled_token_ith(c, i);
                assert!((-1..N_VOCAB as i32).contains(&picked), "{picked}");
                let probs = read(llama_get_sampled_probs_ith(c, i), llama_get_sampled_probs_count_ith(c, i) as usize);
                let logits = read(llama_get_sampled_logits_ith(c, i), llama_get_sampled_logits_count_ith(c, i) as usize);
                let ids = read(llama_get_sampled_candidates_ith(c, i), llama_get_sampled_candidates_count_ith(c, i) as usize);
                picked >= 0 || probs || logits || ids
            }
        }
    }
}

fn settings(w: &mut World<'_>) -> bool {
    let (c, a, b) = (w.context(), w.odd(), w.odd());
    // SAFETY: a live context or NULL; the callback's data outlive it.
    unsafe {
        match w.rng.below(8) {
            0 => llama_set_n_threads(c, a.clamp(-3, 3), b.clamp(-3, 3)),
            1 => llama_set_embeddings(c, w.flag()),
            2 => llama_set_causal_attn(c, w.flag()),
            3 => llama_synchronize(c),
            4 | 5 => llama_perf_context_reset(c),
            6 => {
                let data = w.host.data();
                let callback: ggml_abort_callback = if w.flag() { Some(abort) } else { None };
                llama_set_abort_callback(c, callback, data)
            }
            _ => _ = llama_perf_context(c),
        }
    }
    c.is_some()
}

fn model(w: &mut World<'_>) -> bool {
    let (m, i, n) = (w.model(), w.odd(), w.rng.below(12));
    let mut text = [1 as c_char; 12];
    let mut tokens = [0; 12];
    let bytes: Vec<u8> = (0..n).map(|_| w.rng.next() as u8).collect();
    // SAFETY: a live model; buffers of the sizes that are said.
    unsafe {
        let vocab = llama_model_get_vocab(m).as_ref();
        match w.rng.below(5) {
            0 => llama_model_meta_key_by_index(m, i, text.as_mut_ptr(), n) >= 0,
            1 => llama_model_meta_val_str(m, c"general.architecture".as_ptr(), text.as_mut_ptr(), n) >= 0,
            2 => llama_tokenize(vocab, bytes.as_ptr().cast(), n as i32, tokens.as_mut_ptr(), i.min(12), w.flag(), w.flag()) >= 0,
            3 => llama_token_to_piece(vocab, i, text.as_mut_ptr(), n as i32, 0, w.flag()) >= 0,
            _ => {
                let ids: Vec<i32> = (0..n).map(|_| token(w)).collect();
                llama_detokenize(vocab, ids.as_ptr(), n as i32, text.as_mut_ptr(), 12, w.flag(), w.flag()) >= 0
            }
        }
    }
}
