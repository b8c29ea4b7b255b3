//! GGUF headers: every field of a small file set to what an attacker would set it to, every truncation, random damage.
use crate::alloc::cost;
use llama::gguf::{Gguf, LoadMode, Source, parse};
use std::io::Read;

/// Builds a file byte by byte and remembers where each field is. Shares nothing with the writer.
#[derive(Default)]
struct Forge {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

struct Field {
    at: usize,
    width: usize,
    what: &'static str,
}

impl Forge {
    fn put(&mut self, what: &'static str, bytes: &[u8]) {
        self.fields.push(Field { at: self.bytes.len(), width: bytes.len(), what });
        self.bytes.extend(bytes);
    }
    fn u32(&mut self, what: &'static str, v: u32) {
        self.put(what, &v.to_le_bytes());
    }
    fn u64(&mut self, what: &'static str, v: u64) {
        self.put(what, &v.to_le_bytes());
    }
    fn text(&mut self, what: &'static str, s: &str) {
        self.u64(what, s.len() as u64);
        self.bytes.extend(s.as_bytes());
    }
    fn key(&mut self, key: &str, ty: u32) {
        self.text("key length", key);
        self.u32("value type", ty);
    }
    fn array(&mut self, key: &str, ty: u32, n: u64) {
        self.key(key, 9);
        self.u32("element type", ty);
        self.u64("array count", n);
    }
    fn tensor(&mut self, name: &str, shape: &[u64], ty: u32, offset: u64) {
        self.text("name length", name);
        self.u32("n_dims", shape.len() as u32);
        shape.iter().for_each(|ne| self.u64("ne", *ne));
        self.u32("tensor type", ty);
        self.u64("offset", offset);
    }
    fn head(version: u32, n_tensors: u64, n_kv: u64) -> Forge {
        let mut f = Forge::default();
        f.bytes.extend(b"GGUF");
        f.u32("version", version);
        f.u64("tensor count", n_tensors);
        f.u64("key count", n_kv);
        f
    }
    /// Pads to `alignment`, then adds `data` bytes.
    fn end(mut self, alignment: usize, data: usize) -> Forge {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment) + data, 0x55);
        self
    }
}

/// Every kind of field once: scalars, strings, arrays, an alignment, three tensors without a gap.
fn sample() -> Forge {
    let mut f = Forge::head(3, 3, 7);
    f.key("general.architecture", 8);
    f.text("string length", "llama");
    f.key("general.alignment", 4);
    f.u32("alignment", 64);
    f.key("a.bool", 7);
    f.put("bool", &[1]);
    f.key("a.double", 12);
    f.u64("double", 0x3ff0_0000_0000_0000);
    f.array("tokens", 8, 3);
    ["a", "", "ccc"].iter().for_each(|s| f.text("string length", s));
    f.array("scores", 6, 3);
    f.bytes.extend([0; 12]);
    f.array("bytes", 0, 5);
    f.bytes.extend([1; 5]);
    f.tensor("token_embd.weight", &[256, 2], 12, 0); // q4_K: 288 bytes, 320 with padding
    f.tensor("blk.0.attn_norm.weight", &[16], 0, 320); // f32: 64 bytes
    f.tensor("output.weight", &[32, 2, 1, 1], 8, 384); // q8_0: 68 bytes
    f.end(64, 384 + 68)
}

/// Counts what the parser asks of the stream.
struct Counted<'a> {
    left: &'a [u8],
    calls: usize,
}

impl Read for Counted<'_> {
    fn read(&mut self, dst: &mut [u8]) -> std::io::Result<usize> {
        self.calls += 1;
        self.left.read(dst)
    }
}

/// Parses within the limits that the length of `bytes` sets, and checks what an accepted file promises.
fn probe(bytes: &[u8], what: &str) -> Result<Gguf, String> {
    let mut stream = Counted { left: bytes, calls: 0 };
    let (result, cost) = cost(|| parse(&mut stream, 0, bytes.len() as u64, 0).map_err(|e| e.to_string()));
    let (n, calls) = (bytes.len(), stream.calls);
    assert!(calls <= n + 2, "{what}: {calls} reads of {n} bytes");
    // An entry takes up to 7 times its file size (an empty string: 24 bytes for 8), thrice that while a vector grows; hash tables
    // and messages on top.
    assert!(
        cost.peak <= 32 * n + 8192 && cost.largest <= 16 * n + 8192,
        "{what}: {n} bytes made us take {} (once {})",
        cost.peak,
        cost.largest
    );
    match &result {
        Ok(g) => promises(g, n as u64, what),
        Err(e) => assert!(e.len() > 8 && e.len() < 70_000, "{what}: {e:?}"),
    }
    result
}

fn promises(g: &Gguf, file: u64, what: &str) {
    assert!(g.alignment.is_power_of_two(), "{what}");
    for (i, t) in g.tensors.iter().enumerate() {
        let (blocks, block) = (t.elements() / t.ty.block_len() as u64, t.ty.block_bytes() as u64);
        assert_eq!(t.bytes, blocks * block, "{what}");
        assert!(t.offset >= g.data_offset && t.offset + t.bytes <= file, "{what}: {t:?}");
        assert!((t.offset - g.data_offset).is_multiple_of(g.alignment), "{what}: {t:?}");
        assert!(t.n_dims <= 4 && (1..64).contains(&t.name.len()), "{what}: {t:?}");
        for u in &g.tensors[..i] {
            assert!(
                t.name != u.name && (t.offset + t.bytes <= u.offset || u.offset + u.bytes <= t.offset || t.bytes == 0 || u.bytes == 0),
                "{what}"
            );
        }
    }
}

fn refused(bytes: &[u8], words: &str) {
    let e = probe(bytes, words).expect_err(words);
    assert!(e.contains(words), "{e:?} does not say {words:?}");
}

#[test]
fn the_sample_is_a_good_file() {
    let g = probe(&sample().bytes, "sample").unwrap();
    assert_eq!((g.meta.kv.len(), g.tensors.len(), g.alignment), (7, 3, 64));
    let mut v2 = sample().bytes;
    v2[4] = 2;
    assert_eq!(probe(&v2, "v2").unwrap().version, 2);
}

#[test]
fn every_field_takes_every_bad_value() {
    let f = sample();
    let n = f.bytes.len() as u64;
    let mut accepted = 0;
    for field in &f.fields {
        let mut old = [0; 8];
        old[..field.width].copy_from_slice(&f.bytes[field.at..][..field.width]);
        let old = u64::from_le_bytes(old);
        let near = [old.wrapping_sub(1), old.wrapping_add(1), old.wrapping_mul(2), old ^ 0x80, n - 1, n, n + 1, n / 8, n / 24];
        let far = [0, 1, 2, 3, 4, 5, 8, 9, 13, 31, 63, 64, 255, 1 << 16, 1 << 20, 1 << 31, u64::from(u32::MAX), 1 << 32, 1 << 40];
        let huge = [i64::MAX as u64, 1 << 63, u64::MAX / 8, u64::MAX / 4 + 1, u64::MAX - 31, u64::MAX - 1, u64::MAX];
        for v in near.into_iter().chain(far).chain(huge) {
            let mut bytes = f.bytes.clone();
            bytes[field.at..][..field.width].copy_from_slice(&v.to_le_bytes()[..field.width]);
            accepted += usize::from(probe(&bytes, &format!("{} at {} = {v}", field.what, field.at)).is_ok());
        }
    }
    // Values that hold any bit pattern, and the old values themselves, pass; the rest must not.
    let tried = f.fields.len() * 35;
    assert!(accepted > 0 && accepted < tried / 4, "{accepted} of {tried} passed");
}

#[test]
fn two_bad_fields_at_once() {
    let f = sample();
    let values = [0, 1, 33, 1 << 31, 1 << 32, u64::MAX / 2, u64::MAX];
    let set =
        |bytes: &mut Vec<u8>, field: &Field, v: u64| bytes[field.at..][..field.width].copy_from_slice(&v.to_le_bytes()[..field.width]);
    for (i, a) in f.fields.iter().enumerate() {
        for b in &f.fields[..i] {
            for (va, vb) in values.iter().flat_map(|a| values.map(|b| (*a, b))) {
                let mut bytes = f.bytes.clone();
                set(&mut bytes, a, va);
                set(&mut bytes, b, vb);
                let _ = probe(&bytes, "two fields");
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let f = sample();
    for n in 0..f.bytes.len() {
        assert!(probe(&f.bytes[..n], "truncated").is_err(), "{n} of {} bytes", f.bytes.len());
    }
}

#[test]
fn random_damage() {
    let f = sample();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        // splitmix64
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    for round in 0..10_000 {
        let mut bytes = f.bytes.clone();
        for _ in 0..=next() % 4 {
            let at = next() as usize % bytes.len();
            bytes[at] = if next() % 2 == 0 { bytes[at] ^ 1 << (next() % 8) } else { next() as u8 };
        }
        if next() % 4 == 0 {
            bytes.truncate(next() as usize % bytes.len());
        }
        let _ = probe(&bytes, &format!("round {round}"));
    }
}

#[test]
fn errors_name_the_thing() {
    refused(b"", "failed to read magic");
    refused(b"GGML\x03\0\0\0", "invalid magic characters: 'GGML'");
    refused(&Forge::head(0, 0, 0).bytes, "bad GGUF version: 0");
    refused(&Forge::head(1, 0, 0).bytes, "GGUFv1 is no longer supported");
    refused(&Forge::head(4, 0, 0).bytes, "version 4 but only");
    refused(&Forge::head(3u32.swap_bytes(), 0, 0).bytes, "big-endian");
    refused(&Forge::head(3, 0, 5).bytes, "5 key/values");
    refused(&Forge::head(3, u64::MAX, 0).bytes, "18446744073709551615 tensors");

    let with = |build: &dyn Fn(&mut Forge), n_tensors, n_kv| {
        let mut f = Forge::head(3, n_tensors, n_kv);
        build(&mut f);
        f.end(32, 64).bytes
    };
    let kv = |build: &dyn Fn(&mut Forge)| with(build, 0, 1);
    refused(&kv(&|f| f.key("", 0)), "key 0: a name of 0 bytes");
    refused(&kv(&|f| f.key("a\0b", 0)), "holds a control character");
    refused(&kv(&|f| f.key("k", 13)), "key k: invalid GGUF type 13");
    refused(&kv(&|f| f.array("k", 9, 1)), "key k: nested arrays");
    refused(&kv(&|f| f.array("k", 11, 1 << 60)), "key k: 1152921504606846976 array elements");
    refused(&kv(&|f| f.array("k", 8, 1 << 40)), "key k: 1099511627776 strings");
    let alignment = |v: u32| {
        kv(&move |f| {
            f.key("general.alignment", 4);
            f.u32("", v);
        })
    };
    refused(&alignment(0), "alignment 0 is not a power of 2");
    refused(&alignment(48), "alignment 48 is not a power of 2");
    refused(&kv(&|f| f.key("general.alignment", 5)), "must be of type u32 but is i32");
    let twice = |f: &mut Forge| {
        f.key("k", 7);
        f.bytes.push(0);
    };
    let doubled = |f: &mut Forge| {
        twice(f);
        twice(f);
    };
    refused(&with(&doubled, 0, 2), "duplicate key 'k'");

    let one = |name: &str, shape: &[u64], ty, offset| with(&|f| f.tensor(name, shape, ty, offset), 1, 0);
    assert!(probe(&one("t", &[16], 0, 0), "one").is_ok());
    refused(&one("t", &[17], 0, 0), "tensor t: data ends at 132, file at 128");
    refused(&one("t", &[1], 0, u64::MAX - 31), "tensor t: offset 18446744073709551584, expected 0");
    refused(&one("t", &[1 << 60], 24, 0), "tensor t: data ends at 1152921504606847040, file at 128");
    refused(&one("t", &[1; 5], 0, 0), "tensor t: 5 dimensions");
    refused(&one("t", &[33], 8, 0), "tensor t: 33 elements per row, not a multiple of q8_0's block size 32");
    refused(&one("t", &[1 << 32, 1 << 32], 0, 0), "tensor t: shape");
    refused(&one("t", &[0, 1 << 32, 1 << 32], 0, 0), "tensor t: shape");
    refused(&one("t", &[1 << 61], 0, 0), "tensor t: shape");
    // 4 and 5 were types once; 36..=38 too.
    [4, 5, 33, 36, 43, u32::MAX].iter().for_each(|ty| refused(&one("t", &[1], *ty, 0), "tensor t: invalid ggml type"));
    refused(&one(&"n".repeat(64), &[1], 0, 0), "tensor 0: a name of 64 bytes");
    let pair = |a: &'static str, b: &'static str, at: u64| {
        with(
            &move |f| {
                f.tensor(a, &[9], 0, 0);
                f.tensor(b, &[1], 0, at);
            },
            2,
            0,
        )
    };
    refused(&pair("a", "b", 0), "tensor b: offset 0, expected 64");
    refused(&pair("a", "b", 32), "tensor b: offset 32, expected 64");
    refused(&pair("a", "b", 96), "tensor b: offset 96, expected 64");
    refused(&pair("a", "a", 32), "duplicate tensor name 'a'");
}

/// The same file, broken, through the door that a model load uses.
#[test]
fn a_broken_file_opens_as_an_error_in_every_mode() {
    let path = std::env::temp_dir().join(format!("camelid-hostile-{}.gguf", std::process::id()));
    let f = sample();
    for mode in LoadMode::TABLE.iter().map(|r| r.0) {
        for n in (0..f.bytes.len()).step_by(37) {
            std::fs::write(&path, &f.bytes[..n]).unwrap();
            let e = Source::open(&path, mode).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(e.contains("camelid-hostile"), "{n} bytes, {}: {e:?}", mode.name());
        }
    }
    std::fs::remove_file(path).unwrap();
}
