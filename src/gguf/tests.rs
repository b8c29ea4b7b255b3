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
#[cfg_attr(camelid_no_mmap, ignore = "asks for maps")]
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

#[test]
#[cfg_attr(camelid_no_mmap, ignore = "asks for maps")]
fn real_files_hold_valid_data_and_print() {
    for path in ["conformance/vocab", "models"].iter().flat_map(|f| corpus(f)) {
        let s = Source::open(&path, LoadMode::Mmap).unwrap();
        for t in &s.gguf().tensors {
            check_data(t, s.tensor_bytes(t).unwrap()).unwrap();
        }
        assert!(s.gguf().meta.kv.iter().all(|(_, v)| matches!(v, Value::Str(_)) || !v.to_text().is_empty()));
        assert!(!s.gguf().ftype().unwrap().name().contains("unknown"), "{}", path.display());
    }
}

fn every_value() -> Meta {
    let arrays = [
        Array::U8(vec![0, 255]),
        Array::I8(vec![-128, 127]),
        Array::U16(vec![65535]),
        Array::I16(vec![-32768; 3000]),
        Array::U32((0..5000).collect()),
        Array::I32(vec![]),
        Array::U64(vec![u64::MAX]),
        Array::I64(vec![i64::MIN, 1]),
        Array::F32(vec![f32::INFINITY, -0.0]),
        Array::F64(vec![1e300]),
        Array::Bool(vec![true, false]),
        Array::Str(vec![b"\xff\0".to_vec(), vec![]]),
    ];
    let scalars = [
        Value::U8(7),
        Value::I8(-7),
        Value::U16(7),
        Value::I16(-7),
        Value::U32(7),
        Value::I32(-7),
        Value::U64(u64::MAX),
        Value::I64(i64::MIN),
        Value::F32(0.5),
        Value::F64(0.25),
        Value::Bool(true),
        Value::Str(b"text".to_vec()),
    ];
    let all = scalars.into_iter().chain(arrays.into_iter().map(Value::Array));
    Meta::new(all.enumerate().map(|(i, v)| (format!("key.{i}"), v)).collect())
}

fn tensor(name: &str, ty: DType, shape: &[u64]) -> NewTensor {
    NewTensor { name: name.into(), ty, shape: shape.into() }
}

/// A file in memory; each tensor is filled with the first letter of its name.
fn file(meta: &Meta, tensors: &[NewTensor]) -> Vec<u8> {
    let mut out = Vec::new();
    let fill = &mut |t: &TensorInfo, w: &mut dyn std::io::Write| {
        w.write_all(&vec![t.name.as_bytes()[0]; t.bytes as usize]).map_err(|e| platform::Error::io("write", e))
    };
    Layout::new(meta, tensors).unwrap().write(&mut out, fill).unwrap();
    out
}

#[test]
fn what_is_written_is_read() {
    for alignment in [1, 32, 4096, 65536] {
        let mut meta = every_value();
        meta.kv.push(("general.alignment".into(), Value::U32(alignment)));
        let tensors = [
            tensor("a", DType::Q4_K, &[512, 3]),
            tensor("b", DType::F32, &[]),
            tensor("c", DType::I8, &[5, 0, 7]),
            tensor("d", DType::BF16, &[3, 1, 2, 2]),
        ];
        let bytes = file(&meta, &tensors);
        let g = parse(&mut &bytes[..], 0, bytes.len() as u64, 3).unwrap();
        assert_eq!(g.meta.kv, meta.kv);
        assert_eq!((g.version, g.alignment), (3, alignment.into()));
        let seen: Vec<_> = g.tensors.iter().map(|t| (t.name.as_str(), t.ty, t.shape, t.n_dims, t.bytes, t.file)).collect();
        assert_eq!(
            seen,
            [
                ("a", DType::Q4_K, [512, 3, 1, 1], 2, 864, 3),
                ("b", DType::F32, [1; 4], 0, 4, 3),
                ("c", DType::I8, [5, 0, 7, 1], 3, 0, 3),
                ("d", DType::BF16, [3, 1, 2, 2], 4, 24, 3)
            ]
        );
        for t in &g.tensors {
            assert!(bytes[t.offset as usize..][..t.bytes as usize].iter().all(|b| *b == t.name.as_bytes()[0]), "{}", t.name);
        }
        assert_eq!((g.n_elements(), g.n_bytes()), (1536 + 1 + 12, 864 + 4 + 24));
    }
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let none = Meta::default();
    let f32s = |name: &str, shape: &[u64]| [tensor(name, DType::F32, shape)];
    assert!(Layout::new(&none, &f32s(&"n".repeat(63), &[1])).is_ok());
    assert!(Layout::new(&none, &f32s(&"n".repeat(64), &[1])).is_err());
    assert!(Layout::new(&none, &f32s("", &[1])).is_err());
    assert!(Layout::new(&none, &f32s("n", &[1; 5])).is_err());
    assert!(Layout::new(&none, &f32s("n", &[u64::MAX, 2])).is_err());
    assert!(Layout::new(&none, &[tensor("n", DType::Q8_0, &[33])]).is_err());
    assert!(Layout::new(&none, &[f32s("n", &[1]), f32s("n", &[1])].concat()).is_err());
    assert!(Layout::new(&Meta::new(vec![("general.alignment".into(), Value::U32(33))]), &[]).is_err());
    let short = Layout::new(&none, &f32s("n", &[2])).unwrap().write(&mut Vec::new(), &mut |_, _| Ok(()));
    assert_eq!(short.unwrap_err().to_string(), "tensor n: 0 bytes written, it has 8");
}

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("camelid-gguf-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
    /// A part of a model: `no`, `count` and `total` as its keys say, one tensor.
    fn part(&self, name: &str, (no, count, total): (Option<u16>, u16, i32), t: &str) -> PathBuf {
        let keys = [
            no.map(|n| ("split.no".into(), Value::U16(n))),
            Some(("split.count".into(), Value::U16(count))),
            Some(("split.tensors.count".into(), Value::I32(total))),
        ];
        self.put(name, &file(&Meta::new(keys.into_iter().flatten().collect()), &[tensor(t, DType::F32, &[300])]))
    }
    fn whole(&self, prefix: &str, n: u16) -> Vec<PathBuf> {
        let part = |i: u16| self.part(&format!("{prefix}-{:05}-of-{n:05}.gguf", i + 1), (Some(i), n, n.into()), &format!("{i}.t"));
        (0..n).map(part).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
#[cfg_attr(camelid_no_mmap, ignore = "asks for maps")]
fn parts_are_found_by_the_first_and_read_from_each() {
    let dir = Folder::new("parts");
    let paths = dir.whole("m", 3);
    for mode in [LoadMode::Mmap, LoadMode::None, LoadMode::DirectIo, LoadMode::Mlock, LoadMode::MmapMlock] {
        for s in [Source::open(&paths[0], mode).unwrap(), Source::open_splits(&paths, mode).unwrap()] {
            assert_eq!((s.n_files(), s.mode(), s.is_mapped()), (3, mode, matches!(mode, LoadMode::Mmap | LoadMode::MmapMlock)));
            for (i, t) in s.gguf().tensors.iter().enumerate() {
                assert_eq!((t.file as usize, t.name.as_str()), (i, ["0.t", "1.t", "2.t"][i]));
                let mut all = vec![0; 1200];
                s.read_tensor(t, &mut all).unwrap();
                assert!(all.iter().all(|b| *b == t.name.as_bytes()[0]));
                let mut piece = [0; 5];
                s.read_range(t, 1195, &mut piece).unwrap();
                assert!(s.read_range(t, 1196, &mut piece).is_err());
                assert!(s.read_range(t, u64::MAX, &mut piece).is_err());
                assert!(s.read_tensor(t, &mut piece).is_err());
                // Locking may be refused by the machine; it must not fail the load.
                assert!(mode == LoadMode::MmapMlock || !s.lock_tensor(t));
            }
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let dir = Folder::new("misfits");
    let why = |r: platform::Result<Source>| r.err().map(|e| e.to_string()).unwrap_or_default();
    let open = |p: &PathBuf| why(Source::open(p, LoadMode::None));
    let splits = |p: &[PathBuf]| why(Source::open_splits(p, LoadMode::None));
    let whole = dir.whole("m", 3);
    assert!(open(&whole[1]).contains("illegal split file idx: 1"), "{}", open(&whole[1]));
    assert!(splits(&[]).contains("list of splits is empty"));
    assert!(splits(&whole[..2]).contains("invalid split count, given: 2 splits, but expected 3"));
    assert!(splits(&[whole[0].clone(), whole[2].clone(), whole[1].clone()]).contains("invalid split file idx: 2"));
    assert!(splits(&[whole[0].clone(), whole[1].clone(), whole[0].clone()]).contains("expected 2"));
    let renamed = dir.part("renamed.gguf", (Some(0), 2, 2), "a");
    assert!(open(&renamed).contains("invalid split file name"));
    let b = dir.part("b.gguf", (Some(1), 2, 2), "a");
    assert!(splits(&[renamed.clone(), b]).contains("tensor 'a' is duplicated"));
    let unnumbered = dir.part("u.gguf", (None, 2, 2), "b");
    assert!(splits(&[renamed, unnumbered.clone()]).contains("missing key split.no"));
    assert!(open(&unnumbered).contains("key not found in model: split.no"));
    let greedy = dir.part("g.gguf", (Some(0), 2, 9), "a");
    assert!(splits(&[greedy, dir.part("c.gguf", (Some(1), 2, 2), "b")]).contains("corrupted model: 9 tensors expected but 2 found"));
    std::fs::remove_file(&whole[2]).unwrap();
    assert!(open(&whole[0]).contains("00003-of-00003.gguf"));
    let single = dir.part("s.gguf", (Some(0), 1, 1), "a");
    assert_eq!((open(&single), splits(std::slice::from_ref(&single))), (String::new(), String::new()));
}

#[test]
fn a_model_may_start_inside_an_open_file() {
    let dir = Folder::new("inside");
    let bytes = file(&every_value(), &[tensor("a", DType::F32, &[77])]);
    let path = dir.put("inside", &[vec![9; 4096], bytes.clone()].concat());
    for mode in [LoadMode::Mmap, LoadMode::None] {
        let s = Source::from_file(std::fs::File::open(&path).unwrap(), 4096, mode).unwrap();
        let mut data = vec![0; 308];
        s.read_tensor(&s.gguf().tensors[0], &mut data).unwrap();
        assert!(data == [b'a'; 308]);
        assert!(Source::from_file(std::fs::File::open(&path).unwrap(), u64::MAX, mode).is_err());
    }
    // Alignment counts from the header, so a header at an odd place puts the data at one: fine to read, not to map.
    let path = dir.put("odd", &[vec![9; 5], bytes].concat());
    assert!(Source::from_file(std::fs::File::open(&path).unwrap(), 5, LoadMode::None).is_ok());
    assert!(Source::from_file(std::fs::File::open(&path).unwrap(), 5, LoadMode::Mmap).is_err());
}

#[test]
fn overrides_replace_what_is_read_and_not_what_is_listed() {
    let mut m = Meta::new(vec![("n".into(), Value::U32(4)), ("f".into(), Value::F32(1.5)), ("s".into(), Value::Str(b"old".to_vec()))]);
    let set = |key: &str, value| Override { key: key.into(), value };
    m.apply_overrides(&[
        set("n", OverrideValue::Int(-1)),
        set("n", OverrideValue::Int(5)),
        set("f", OverrideValue::Int(2)),
        set("s", OverrideValue::Str("new".into())),
        set("b", OverrideValue::Bool(true)),
    ]);
    assert_eq!(m.u32("n").unwrap(), Some(u32::MAX));
    assert_eq!(m.i32("n").unwrap(), Some(-1));
    assert_eq!(m.f32("f").unwrap(), Some(1.5), "a value of the wrong type is ignored");
    assert_eq!(m.str("s").unwrap(), Some("new"));
    assert_eq!(m.bool("b").unwrap(), Some(true));
    assert_eq!((m.get("b"), m.get("n")), (None, Some(&Value::U32(4))));
    assert!(m.str("f").unwrap_err().to_string().contains("key f"));
}

#[test]
fn load_modes_have_the_originals_names_and_numbers() {
    let names: Vec<_> = (-1..=4).map(|n| LoadMode::from_number(n).unwrap().name()).collect();
    assert_eq!(names, ["auto", "none", "mmap", "mlock", "mmap+mlock", "dio"]);
    assert!(LoadMode::TABLE.iter().all(|(m, n)| LoadMode::from_name(n) == Some(*m) && LoadMode::from_number(*m as i32) == Some(*m)));
    assert_eq!((LoadMode::from_number(5), LoadMode::from_name("MMAP")), (None, None));
}
