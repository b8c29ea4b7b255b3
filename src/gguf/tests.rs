//! The reader against real files and against files made to break it.
use super::*;
use std::path::PathBuf;

/// `.gguf` files of a folder beside the checkout; empty, and said so, where there is none.
fn corpus(folder: &str) -> Vec<PathBuf> {
    let shared =
        std::env::var_os("CAMELID_SHARED").map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
    let Ok(dir) = std::fs::read_dir(shared.join(folder)) else {
        eprintln!("SKIPPED: no {} (set CAMELID_SHARED)", shared.join(folder).display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = dir.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "gguf")).collect();
    paths.sort();
    paths
}

#[test]
fn real_files_read_the_same_in_every_mode() {
    for path in ["conformance/vocab", "models"].iter().flat_map(|f| corpus(f)) {
        let mapped = Source::open(&path, LoadMode::Auto).unwrap();
        assert!(mapped.is_mapped() && mapped.gguf().meta.str("general.architecture").unwrap().is_some(), "{}", path.display());
        for mode in [LoadMode::None, LoadMode::DirectIo] {
            let read = Source::open(&path, mode).unwrap();
            assert_eq!(read.gguf().tensors, mapped.gguf().tensors);
            for t in &read.gguf().tensors {
                let mut bytes = vec![0; t.bytes as usize];
                read.read_tensor_parallel(t, &mut bytes, 3).unwrap();
                assert!(mapped.tensor_bytes(t) == Some(&bytes[..]), "{} of {} by {}", t.name, path.display(), mode.name());
                assert_eq!(read.tensor_bytes(t), None);
            }
        }
    }
}
