//! Development aid: greedy text through the Rust API. `story MODEL PROMPT N`
use llama::gguf::{LoadMode, Source};
use llama::model::{LoadParams, Model};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use std::sync::Arc;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let src = Source::open(a[1].as_ref(), LoadMode::Mmap).unwrap();
    let m = Arc::new(
        Model::load(&src, LoadParams { vocab_only: false, check_tensors: false, far_layers: None, progress: &mut |_| true }).unwrap(),
    );
    let mut toks = m.vocab.tokenize(a[2].as_bytes(), true, true).unwrap();
    let mut c = Context::new(m.clone(), ContextParams { n_ctx: 1024, n_threads: 2, n_threads_batch: 2, ..Default::default() }).unwrap();
    let n: usize = a[3].parse().unwrap();
    let t0 = std::time::Instant::now();
    for _ in 0..n {
        let rc = c.decode(&BatchView { n_tokens: toks.len(), tokens: Some(&toks), embd: None, pos: None, seqs: None, logits: None });
        assert_eq!(rc, 0);
        let l = c.outputs.logits_ith(-1).unwrap();
        let best = (0..l.len()).max_by(|a, b| l[*a].total_cmp(&l[*b])).unwrap() as i32;
        if m.vocab.is_eog(best) {
            break;
        }
        print!("{}", String::from_utf8_lossy(&m.vocab.token_to_piece(best, 0, false).unwrap()));
        toks = vec![best];
    }
    println!("\n{:?}", t0.elapsed());
}
