//! client MODEL ADAPTER PROMPT N: what the crate llama-cpp-2 gets from its libllama, a line `name<tab>value` for each answer.
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaChatMessage, LlamaModel};
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use std::error::Error;
use std::num::NonZeroU32;

const GRAMMAR: &str = r#"root ::= " " ("red" | "blue" | "green") " fox" [a-z ]+ ".""#;

fn params() -> LlamaContextParams {
    LlamaContextParams::default().with_n_ctx(NonZeroU32::new(512)).with_n_threads(1).with_n_threads_batch(1)
}

fn prefill(context: &mut LlamaContext, tokens: &[LlamaToken]) -> Result<(), Box<dyn Error>> {
    let mut batch = LlamaBatch::new(tokens.len(), 1);
    batch.add_sequence(tokens, 0, false)?;
    Ok(context.decode(&mut batch)?)
}

/// At most `n` tokens after what the context holds, chosen by the sampler.
fn generate(
    context: &mut LlamaContext,
    model: &LlamaModel,
    mut position: i32,
    sampler: &mut LlamaSampler,
    n: usize,
) -> Result<String, Box<dyn Error>> {
    let mut said = Vec::new();
    let mut batch = LlamaBatch::new(1, 1);
    for _ in 0..n {
        let token = sampler.sample(context, -1);
        if model.vocab().is_eog(token) {
            break;
        }
        said.push(token);
        batch.clear();
        batch.add(token, position, &[0], true)?;
        context.decode(&mut batch)?;
        position += 1;
    }
    Ok(String::from_utf8_lossy(&model.vocab().detokenize(&said, false, true)).into_owned())
}

fn say(name: &str, value: impl std::fmt::Debug) {
    println!("{name}\t{value:?}");
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, path, adapter, prompt, n] = args.as_slice() else { return Err("client MODEL ADAPTER PROMPT N".into()) };
    let n = n.parse()?;
    let mut backend = LlamaBackend::init()?;
    backend.void_logs();
    let mut model = LlamaModel::load_from_file(&backend, path, &LlamaModelParams::default())?;

    say(
        "sizes",
        (
            model.n_vocab(),
            model.n_embd(),
            model.n_ctx_train(),
            model.n_layer(),
            model.n_head(),
            model.n_head_kv(),
            model.n_params(),
            model.size(),
        ),
    );
    let keys = (0..model.meta_count()).map(|i| Ok((model.meta_key_by_index(i)?, model.meta_val_str_by_index(i)?)));
    let mut keys = keys.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    keys.sort();
    say("metadata", keys);
    let vocab = model.vocab();
    say("vocabulary", (vocab.n_tokens(), vocab.bos(), vocab.eos(), vocab.eot(), vocab.nl(), vocab.should_add_bos()));
    let chat = [LlamaChatMessage::new("user".into(), "Hello".into())?];
    say("chat", model.apply_chat_template(&model.chat_template(None)?, &chat, true)?);
    let tokens = vocab.tokenize(prompt.as_bytes(), true, false);
    say("tokens", &tokens);
    say(
        "words",
        String::from_utf8_lossy(&vocab.detokenize(&vocab.tokenize("déjà vu 漢字 🦊\n 12".as_bytes(), false, false), false, false)),
    );

    let end = tokens.len() as i32;
    let lora = model.lora_adapter_init(adapter);
    let mut context = model.new_context(&backend, params())?;
    prefill(&mut context, &tokens[..tokens.len() - 1])?;
    let kept = context.state_seq_get(0, llama_cpp_2::context::session::LlamaStateSeqFlags::empty());
    prefill_last(&mut context, &tokens)?;
    say("text", generate(&mut context, &model, end, &mut LlamaSampler::greedy(), n)?);

    context.clear_kv_cache();
    context.state_seq_set(&kept?, 0)?;
    prefill_last(&mut context, &tokens)?;
    let mut chain = LlamaSampler::chain_simple([LlamaSampler::grammar(&model, GRAMMAR, "root")?, LlamaSampler::greedy()]);
    say("grammar, restored", generate(&mut context, &model, end, &mut chain, n)?);

    context.clear_kv_cache();
    context.lora_adapter_set(&mut lora?, 1.0)?;
    prefill(&mut context, &tokens[..tokens.len() - 1])?;
    prefill_last(&mut context, &tokens)?;
    let mut chain = LlamaSampler::chain_simple([
        LlamaSampler::penalties(model.n_vocab(), 64, 1.1, 0.0, 0.0),
        LlamaSampler::top_k(40),
        LlamaSampler::greedy(),
    ]);
    say("adapter", generate(&mut context, &model, end, &mut chain, n)?);

    let mut context = model.new_context(&backend, params().with_embeddings(true).with_pooling_type(LlamaPoolingType::Mean))?;
    prefill(&mut context, &tokens)?;
    say("embedding", context.embeddings_seq_ith(0)?);
    Ok(())
}

/// The last token of a prompt, with logits.
fn prefill_last(context: &mut LlamaContext, tokens: &[LlamaToken]) -> Result<(), Box<dyn Error>> {
    let mut batch = LlamaBatch::new(1, 1);
    batch.add(tokens[tokens.len() - 1], tokens.len() as i32 - 1, &[0], true)?;
    Ok(context.decode(&mut batch)?)
}
