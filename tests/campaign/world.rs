//! What random calls have to work with: models and files made once, handles that come and go, callbacks.
use crate::tiny::{Model, N_EMBD, Rng, TempFile, Tiny, ctx_params, said};
use llama::capi::adapter::llama_adapter_lora_free;
use llama::capi::batch::llama_batch_ext_free;
use llama::capi::context::{llama_free, llama_get_memory, llama_init_from_model};
use llama::capi::sampling::llama_sampler_free;
use llama::capi::types::*;
use llama::gguf::Value;
use std::ffi::c_void;

/// Made once: loading is tested elsewhere.
pub struct Shelf {
    pub models: Vec<Model>,
    /// An adapter of the first model.
    pub adapter: TempFile,
}

fn adapter() -> Tiny {
    let mut t = Tiny { arch: "llama", kv: Vec::new(), tensors: Vec::new() };
    for (k, v) in [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")] {
        t.set(k, Value::Str(v.into()));
    }
    t.set("adapter.lora.alpha", Value::F32(4.0));
    t.tensor("blk.0.attn_q.weight.lora_a", &[N_EMBD, 4]);
    t.tensor("blk.0.attn_q.weight.lora_b", &[4, 64]);
    t.tensor("blk.1.ffn_down.weight.lora_a", &[96, 4]);
    t.tensor("blk.1.ffn_down.weight.lora_b", &[4, N_EMBD]);
    t
}

impl Shelf {
    pub fn new() -> Shelf {
        said();
        let models = ["llama", "gemma3", "qwen3moe"].map(|arch| Tiny::new(arch).load("campaign"));
        Shelf { models: models.into(), adapter: adapter().file("campaign-adapter") }
    }
}

/// A handle's owner frees it; what calls free on the way is taken out first.
pub struct World<'a> {
    pub shelf: &'a Shelf,
    pub rng: Rng,
    pub contexts: Vec<*mut llama_context>,
    pub samplers: Vec<*mut llama_sampler>,
    /// Freed ones stay: their functions say what becomes of those.
    pub adapters: Vec<*mut llama_adapter_lora>,
    pub batches: Vec<*mut llama_batch_ext>,
    pub states: Vec<Vec<u8>>,
    /// What callbacks know; boxed, so that its address stays.
    pub host: Box<Host>,
}

/// A program's side of callbacks.
pub struct Host {
    pub rng: Rng,
    /// The context at hand, to be called from inside its decode.
    pub inside: *mut llama_context,
    /// Values without a name or a source.
    pub nameless: u32,
}

impl Host {
    pub fn data(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast()
    }
}

/// Stops one decode in so many, and calls back into the context.
///
/// # Safety
/// `data` is a `Host`.
pub unsafe extern "C" fn abort(data: *mut c_void) -> bool {
    // SAFETY: the caller's promise; contexts call from one thread at a time.
    unsafe {
        let host = &mut *data.cast::<Host>();
        _ = llama::capi::outputs::llama_get_logits_ith(host.inside.as_ref(), 0);
        host.rng.below(200) == 0
    }
}

/// Wants some values, reads what it gets, stops some decodes.
///
/// # Safety
/// As `abort`; `t` is a tensor as `cb_eval` shows it.
pub unsafe extern "C" fn eval(t: *mut ggml_tensor, ask: bool, data: *mut c_void) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let (t, host) = (&*t, &mut *data.cast::<Host>());
        if ask {
            return host.rng.below(3) == 0;
        }
        if t.src[0].is_null() || t.name[0] == 0 {
            host.nameless += 1;
        }
        if t.r#type == 0 && !t.data.is_null() {
            let last = (0..4).map(|i| (t.ne[i] as usize - 1) * t.nb[i]).sum::<usize>();
            _ = std::hint::black_box(t.data.cast::<u8>().add(last).cast::<f32>().read_unaligned());
        }
        host.rng.below(500) != 0
    }
}

impl<'a> World<'a> {
    pub fn new(shelf: &'a Shelf, rng: Rng) -> World<'a> {
        let host = Box::new(Host { rng: rng.clone(), inside: std::ptr::null_mut(), nameless: 0 });
        let (contexts, samplers, adapters, batches, states) = Default::default();
        World { shelf, rng, contexts, samplers, adapters, batches, states, host }
    }

    /// A live one, or NULL.
    pub fn context(&mut self) -> Option<&'static llama_context> {
        let i = self.rng.below(self.contexts.len() + usize::from(self.rng.clone().below(8) == 0));
        self.host.inside = self.contexts.get(i).copied().unwrap_or(std::ptr::null_mut());
        // SAFETY: alive until it is taken out of the list.
        unsafe { self.host.inside.as_ref() }
    }
    pub fn memory(&mut self) -> Option<&'static llama_memory_i> {
        let c = self.context();
        // SAFETY: a live context or NULL; its memory lives as long.
        unsafe { llama_get_memory(c).as_ref() }
    }
    pub fn sampler(&mut self) -> *mut llama_sampler {
        let i = self.rng.below(self.samplers.len() + usize::from(self.rng.clone().below(6) == 0));
        self.samplers.get(i).copied().unwrap_or(std::ptr::null_mut())
    }
    pub fn batch(&mut self) -> Option<&'static llama_batch_ext> {
        let i = self.rng.below(self.batches.len());
        // SAFETY: alive until it is taken out of the list.
        self.batches.get(i).and_then(|b| unsafe { b.as_ref() })
    }
    pub fn model(&mut self) -> Option<&'a llama_model> {
        let i = self.rng.below(self.shelf.models.len());
        self.shelf.models[i].get()
    }
    /// A number that is right now and then.
    pub fn odd(&mut self) -> i32 {
        self.rng.pick(&[0, 0, 1, 1, 2, 3, 4, 5, 7, 8, 31, 32, 64, 255, 256, -1, -2, i32::MAX, i32::MIN])
    }
    pub fn float(&mut self) -> f32 {
        self.rng.pick(&[0.0, 0.1, 0.5, 0.9, 1.0, 2.0, -1.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE, 1e30])
    }
    pub fn flag(&mut self) -> bool {
        self.rng.below(2) == 0
    }

    pub fn new_context(&mut self) {
        let mut p = llama_context_params { n_threads: 1, n_threads_batch: 1, ..ctx_params() };
        p.n_seq_max = self.rng.pick(&[1, 1, 2, 4, 4, 0, 300]);
        p.n_ctx = self.rng.pick(&[256, 64, 8, 512, 0]);
        p.n_ubatch = self.rng.pick(&[8, 1, 64, 0]);
        (p.kv_unified, p.swa_full, p.embeddings) = (self.flag(), self.flag(), self.rng.below(4) == 0);
        p.n_threads = self.rng.pick(&[1, 1, 1, 2, 0, -3]);
        p.pooling_type = self.rng.pick(&[-1, -1, 0, 1, 3, 9]);
        if self.rng.below(4) == 0 {
            p.cb_eval = Some(eval);
            p.cb_eval_user_data = self.host.data();
        }
        if self.rng.below(4) == 0 {
            p.abort_callback = Some(abort);
            p.abort_callback_data = self.host.data();
        }
        let model = self.model();
        // SAFETY: a live model; callbacks and their data outlive the context.
        let c = unsafe { llama_init_from_model(model, p) };
        if !c.is_null() {
            self.contexts.push(c);
        }
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        let mut order = [0, 1, 2, 3];
        order.swap(0, self.rng.below(4));
        // SAFETY: live handles of ours, each freed once; adapters may be freed again.
        unsafe {
            for what in order {
                match what {
                    0 => self.contexts.drain(..).for_each(|c| llama_free(c)),
                    1 => self.samplers.drain(..).for_each(|s| llama_sampler_free(s)),
                    2 => self.batches.drain(..).for_each(|b| llama_batch_ext_free(b)),
                    _ => self.adapters.drain(..).for_each(|a| llama_adapter_lora_free(a)),
                }
            }
        }
    }
}
