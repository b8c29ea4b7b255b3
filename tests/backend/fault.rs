//! A worker that panics ends the decode with a code, never with a hang; the context and its memory stay usable.
use super::split::model;
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use std::process::Command;

/// Runs in a child of its own: the switch is read from the environment.
#[test]
fn a_panic_in_any_worker_gives_a_code() {
    if std::env::var("CAMELID_FAULT").is_ok() {
        return child();
    }
    for k in 0..2 {
        let me = std::env::current_exe().expect("test binary");
        let out =
            Command::new(me).args(["a_panic_in_any_worker", "--nocapture"]).env("CAMELID_FAULT", format!("{k}@1")).output().expect("runs");
        assert!(out.status.success(), "worker {k}: {}", String::from_utf8_lossy(&out.stderr));
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        if std::thread::available_parallelism().is_ok_and(|n| n.get() > k) {
            assert!(said.contains("rc -3, pos_max 9"), "worker {k}: {said}");
        }
    }
}

fn child() {
    let m = model("tinystories-llama-q8_0.gguf", 0);
    let p = ContextParams { n_ctx: 256, n_ubatch: 10, n_threads: 2, n_threads_batch: 2, ..ContextParams::default() };
    let mut c = Context::new(m, p).expect("context");
    let toks: Vec<i32> = (100..130).collect();
    fn view(t: &[i32]) -> BatchView<'_> {
        BatchView { n_tokens: t.len(), tokens: Some(t), embd: None, pos: None, seqs: None, logits: None }
    }
    let rc = c.decode(&view(&toks));
    // The first ubatch of ten stays, the second leaves no trace.
    println!("rc {rc}, pos_max {}", c.memory().pos_max(0).unwrap_or(-1));
    assert_eq!(c.decode(&view(&toks[10..])), 0);
    assert_eq!(c.memory().pos_max(0), Some(29));
}
