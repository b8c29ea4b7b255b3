//! client MODEL PROMPT N: what the model is, its tokens, and a greedy continuation, by the crate llama-cpp-2.
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{AddBos, LlamaChatMessage, LlamaModel};
use llama_cpp_2::sampling::LlamaSampler;
use std::num::NonZeroU32;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, path, prompt, n] = args.as_slice() else { return Err("client MODEL PROMPT N".into()) };
    let mut backend = LlamaBackend::init()?;
    backend.void_logs();
    let model = LlamaModel::load_from_file(&backend, path, &LlamaModelParams::default())?;
    println!("{} {} {} {}", model.n_vocab(), model.n_embd(), model.n_ctx_train(), model.meta_val_str("general.architecture")?);
    let template = model.chat_template(None)?;
    let chat = [LlamaChatMessage::new("user".into(), "Hello".into())?];
    println!("{:?}", model.apply_chat_template(&template, &chat, true)?);

    let mut tokens = model.str_to_token(prompt, AddBos::Always)?;
    println!("{:?}", tokens.iter().map(|t| t.0).collect::<Vec<_>>());
    let params = LlamaContextParams::default().with_n_ctx(NonZeroU32::new(512)).with_n_threads(1).with_n_threads_batch(1);
    let mut context = model.new_context(&backend, params)?;
    let mut batch = LlamaBatch::new(512, 1);
    for (i, token) in tokens.iter().enumerate() {
        batch.add(*token, i as i32, &[0], i + 1 == tokens.len())?;
    }
    let mut sampler = LlamaSampler::chain_simple([LlamaSampler::greedy()]);
    let n_prompt = tokens.len();
    for _ in 0..n.parse::<usize>()? {
        context.decode(&mut batch)?;
        let token = sampler.sample(&context, batch.n_tokens() - 1);
        if model.is_eog_token(token) {
            break;
        }
        batch.clear();
        batch.add(token, tokens.len() as i32, &[0], true)?;
        tokens.push(token);
    }
    let mut decoder = encoding_rs::UTF_8.new_decoder();
    for token in &tokens[n_prompt..] {
        print!("{}", model.token_to_piece(*token, &mut decoder, true, None)?);
    }
    println!();
    Ok(())
}
