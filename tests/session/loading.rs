//! What a caller sees of loading: progress, the way out, and where memory is afterwards.
use super::{GEMMA, LLAMA, source};
use llama::gguf::LoadMode;
use llama::model::{LoadParams, Model, Offload};
use platform::error::Kind;

/// The calls of the progress callback, which says no at call `no`.
fn load(name: &str, mode: LoadMode, no: Option<usize>) -> (Vec<f32>, platform::Result<Model>) {
    let mut seen = Vec::new();
    let mut progress = |x| {
        seen.push(x);
        Some(seen.len()) != no
    };
    let p = LoadParams {
        vocab_only: false,
        check_tensors: false,
        extra_bufts: true,
        offload: Offload::default(),
        nodes: None,
        progress: &mut progress,
    };
    let m = Model::load(&source(name, mode), p);
    (seen, m)
}

#[test]
fn progress_rises_to_one_and_every_no_ends_the_load() {
    for (name, mode) in [(LLAMA, LoadMode::Mmap), (GEMMA, LoadMode::None)] {
        let (seen, m) = load(name, mode, None);
        assert!(m.is_ok() && seen.is_sorted() && seen.first() >= Some(&0.0), "{name}: {seen:?}");
        assert_eq!(seen.last(), Some(&1.0), "{name}");
        for no in 1..=seen.len() {
            let (until, m) = load(name, mode, Some(no));
            assert_eq!(until, seen[..no], "{name}: called again after a no");
            assert_eq!(m.err().map(|e| e.kind), Some(Kind::Cancelled), "{name}, call {no}");
        }
    }
}

/// Resident bytes of this process's maps of a file.
#[cfg(not(camelid_no_mmap))]
fn resident(file: &std::path::Path) -> usize {
    let (maps, name) = (std::fs::read_to_string("/proc/self/smaps").expect("Linux"), file.to_str().expect("text"));
    let mut ours = false;
    let mut kib = 0;
    for line in maps.lines() {
        if line.split(' ').next().is_some_and(|at| at.contains('-')) {
            ours = line.ends_with(name);
        } else if ours && let Some(n) = line.strip_prefix("Rss:") {
            kib += n.trim().trim_end_matches(" kB").parse::<usize>().expect("a number");
        }
    }
    kib << 10
}

/// Weights that were copied are there once: the map keeps what was not, norms above all.
#[test]
#[cfg(not(camelid_no_mmap))]
fn the_pages_of_copied_weights_are_let_go() {
    let file = std::env::temp_dir().join(format!("camelid-pages-{}.gguf", std::process::id()));
    std::fs::copy(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(LLAMA), &file).expect("room");
    let size = std::fs::metadata(&file).expect("there").len() as usize;
    let s = llama::gguf::Source::open(&file, LoadMode::Mmap).expect("well formed");
    let left = |extra_bufts| {
        let p = LoadParams {
            vocab_only: false,
            check_tensors: false,
            extra_bufts,
            offload: Offload::default(),
            nodes: None,
            progress: &mut |_| true,
        };
        let m = std::sync::Arc::new(Model::load(&s, p).expect("loads"));
        assert_eq!(super::context(&m, |_| {}).decode(&super::view(&[1, 2, 3])), 0);
        let copied = m.weights.iter().any(|w| w.shards[0].layout == llama::backend::Layout::Groups);
        (resident(&file), copied)
    };
    let (mapped, copied) = left(false);
    assert!(!copied && mapped > size / 2, "{mapped} of {size}: a decode reads all weights");
    let (rest, copied) = left(true);
    assert!(!copied || rest < size / 8, "{rest} of {size} are there twice");
    let _ = std::fs::remove_file(&file);
}

/// A tokenizer's program makes a context of its vocabulary, because its library always does.
#[test]
fn a_context_of_a_vocabulary_has_sizes_and_refuses_batches() {
    let p = LoadParams {
        vocab_only: true,
        check_tensors: false,
        extra_bufts: true,
        offload: Offload::default(),
        nodes: None,
        progress: &mut |_| true,
    };
    let m = std::sync::Arc::new(Model::load(&source(LLAMA, LoadMode::Mmap), p).expect("loads"));
    let mut c = super::context(&m, |p| p.n_ctx = 512);
    assert_eq!((c.sizes.n_ctx, c.has_memory(), m.held_bytes()), (512, false, 0));
    assert_eq!((c.decode(&super::view(&[1, 2, 3])), c.encode(&super::view(&[1]))), (-1, -1));
}
