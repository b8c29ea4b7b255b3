//! A story through the C interface, from a program that knows nothing of the library's source: declares what it calls, and links.
//!
//!     rustc --edition 2024 -O story.rs -L FOLDER -l llama && LD_LIBRARY_PATH=FOLDER ./story MODEL.gguf PROMPT [N]
use std::ffi::{CString, c_char, c_int};

/// Handles are pointers to what only the library knows.
type Handle = *mut std::ffi::c_void;

/// Parameters travel by value. They are taken as the library gives them, so their size is all that counts here.
#[repr(C, align(8))]
struct ModelParams([u8; 80]);
#[repr(C, align(8))]
struct ContextParams([u8; 160]);

#[repr(C)]
struct Batch {
    n_tokens: i32,
    token: *mut i32,
    embd: *mut f32,
    pos: *mut i32,
    n_seq_id: *mut i32,
    seq_id: *mut *mut i32,
    logits: *mut i8,
}

unsafe extern "C" {
    fn llama_model_default_params() -> ModelParams;
    fn llama_context_default_params() -> ContextParams;
    fn llama_model_load_from_file(path: *const c_char, params: ModelParams) -> Handle;
    fn llama_model_get_vocab(model: Handle) -> Handle;
    fn llama_init_from_model(model: Handle, params: ContextParams) -> Handle;
    fn llama_tokenize(vocab: Handle, text: *const c_char, len: i32, tokens: *mut i32, n_max: i32, special: bool, parse: bool) -> i32;
    fn llama_batch_get_one(tokens: *mut i32, n: i32) -> Batch;
    fn llama_decode(ctx: Handle, batch: Batch) -> i32;
    fn llama_sampler_init_greedy() -> Handle;
    fn llama_sampler_sample(sampler: Handle, ctx: Handle, i: i32) -> i32;
    fn llama_vocab_is_eog(vocab: Handle, token: i32) -> bool;
    fn llama_token_to_piece(vocab: Handle, token: i32, out: *mut c_char, len: i32, lstrip: i32, special: bool) -> c_int;
    fn llama_sampler_free(sampler: Handle);
    fn llama_free(ctx: Handle);
    fn llama_model_free(model: Handle);
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, prompt, rest @ ..] = &args[..] else { return eprintln!("story MODEL.gguf PROMPT [N]") };
    let n = rest.first().and_then(|n| n.parse().ok()).unwrap_or(60);
    let path = CString::new(model.as_str()).expect("a path without NUL");

    // SAFETY: handles are checked and used as llama.h says; buffers have the sizes that are passed.
    unsafe {
        let model = llama_model_load_from_file(path.as_ptr(), llama_model_default_params());
        assert!(!model.is_null(), "the model cannot be loaded");
        let vocab = llama_model_get_vocab(model);
        let ctx = llama_init_from_model(model, llama_context_default_params());
        assert!(!ctx.is_null(), "no context");

        let mut tokens = vec![0; prompt.len() + 2];
        let n_prompt = llama_tokenize(vocab, prompt.as_ptr().cast(), prompt.len() as i32, tokens.as_mut_ptr(), tokens.len() as i32, true, true);
        let greedy = llama_sampler_init_greedy();
        let (mut batch, mut token);
        batch = llama_batch_get_one(tokens.as_mut_ptr(), n_prompt);
        let mut story = prompt.clone().into_bytes();
        for _ in 0..n {
            assert_eq!(llama_decode(ctx, batch), 0);
            token = llama_sampler_sample(greedy, ctx, -1);
            if llama_vocab_is_eog(vocab, token) {
                break;
            }
            let mut piece = [0u8; 256];
            let len = llama_token_to_piece(vocab, token, piece.as_mut_ptr().cast(), 256, 0, false);
            story.extend(&piece[..len.max(0) as usize]);
            batch = llama_batch_get_one(&mut token, 1);
        }
        println!("{}", String::from_utf8_lossy(&story));
        llama_sampler_free(greedy);
        llama_free(ctx);
        llama_model_free(model);
    }
}
