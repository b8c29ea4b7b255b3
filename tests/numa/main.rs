//! Work spread over nodes says what one node says: any strategy, any number of nodes and threads. The nodes are fakes of this machine's CPUs;
//! where pages lie is shown in a virtual machine (`make test-numa`).
use llama::gguf::{LoadMode, Source};
use llama::model::{LoadParams, Model, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use platform::numa::{self, Nodes, Strategy};
use std::path::PathBuf;
use std::sync::Arc;

const LLAMA: &str = "tinystories-llama-q8_0.gguf";
const GEMMA: &str = "tinystories-gemma3-q8_0.gguf";

fn model(name: &str, nodes: Arc<Nodes>) -> Arc<Model> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    let p = LoadParams {
        vocab_only: false,
        check_tensors: false,
        extra_bufts: true,
        offload: Offload::none(),
        nodes: Some(nodes),
        progress: &mut |_| true,
    };
    Arc::new(Model::load(&Source::open(&path, LoadMode::Auto).expect("bundled model"), p).expect("loads"))
}

fn nodes(cpus: &[usize], strategy: Strategy) -> Arc<Nodes> {
    Arc::new(Nodes::of(&numa::fake(cpus).expect("fake nodes"), strategy, None, false))
}

fn view(t: &[i32]) -> BatchView<'_> {
    BatchView { n_tokens: t.len(), tokens: Some(t), embd: None, pos: None, seqs: None, logits: None }
}

/// Logits after a prompt, after single tokens, after a shift, after a sequence's state was taken to another context.
fn said(m: &Arc<Model>, n_threads: i32, n_threads_batch: i32) -> Vec<f32> {
    let p =
        ContextParams { n_ctx: 256, n_ubatch: 24, n_threads, n_threads_batch, n_seq_max: 2, kv_unified: true, ..ContextParams::default() };
    let mut c = Context::new(m.clone(), p).expect("context");
    let (mut all, prompt): (Vec<f32>, Vec<i32>) = (Vec::new(), (0..70).map(|i| 5 + i * 37 % 900).collect());
    let mut step = |c: &mut Context, t: &[i32]| {
        assert_eq!(c.decode(&view(t)), 0);
        all.extend_from_slice(c.outputs.logits_ith(-1).expect("wanted"));
    };
    step(&mut c, &prompt);
    (0..3).for_each(|i| step(&mut c, &[40 + i]));
    c.seq_rm(Some(0), 10, 20).expect("a full window");
    c.seq_add(0, 20, i32::MAX, -10).expect("moves");
    (0..2).for_each(|i| step(&mut c, &[50 + i]));
    all
}

/// Weights are where the strategy says: a test of one node would say the same bits too.
fn is_spread(m: &Model, strategy: Strategy) {
    let several = m.nodes().len() > 1;
    let matrices = || m.weights.iter().filter(|w| w.shape[1] > 256);
    let cut = matrices().all(|w| w.cuts().is_some_and(|c| c.len() == m.nodes().len()));
    let (cut_wanted, mirrored_wanted) = (several && strategy == Strategy::Shard, several && strategy == Strategy::Mirror);
    assert!(matrices().count() > 0 && cut == cut_wanted, "{}: cut {cut}", strategy.name());
    assert_eq!(matrices().all(|w| w.is_mirrored()), mirrored_wanted, "{}", strategy.name());
    let mut vectors = m.weights.iter().filter(|w| w.shape[1] * w.shape[2] == 1);
    assert!(!(cut_wanted || mirrored_wanted) || vectors.all(|w| w.is_mirrored()), "vectors are on every node");
}

#[test]
fn bits_do_not_depend_on_nodes() {
    for name in [LLAMA, GEMMA] {
        let want = said(&model(name, nodes(&[1], Strategy::Disabled)), 1, 1);
        let mut count = 0;
        for cpus in [vec![2], vec![1, 1], vec![2, 2], vec![3, 1], vec![1, 1, 1], vec![1, 2, 1], vec![1, 1, 1, 1]] {
            for strategy in [Strategy::Shard, Strategy::Mirror, Strategy::Distribute, Strategy::Isolate] {
                let m = model(name, nodes(&cpus, strategy));
                is_spread(&m, strategy);
                for (one, batch) in [(4, 4), (1, 2), (3, 4), (2, 1)] {
                    assert!(said(&m, one, batch) == want, "{name}, nodes of {cpus:?}, {}, {one} and {batch} threads", strategy.name());
                    count += 1;
                }
            }
        }
        eprintln!("{name}: {count} ways, the same bits");
    }
}
