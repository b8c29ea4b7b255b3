//! What a model file says of itself, as the original prints it: values, file types, the summary in the log.
use super::{Array, DType, Gguf, LoadMode, TensorInfo, Value};
use platform::{Result, log};
use std::fmt::Write;

impl Value {
    /// As `llama_model_meta_val_str` shows it. Bytes: a string need not be UTF-8; it ends at a NUL, as C sees it.
    pub fn to_text(&self) -> Vec<u8> {
        match self {
            Value::Str(s) => until_nul(s).to_vec(),
            Value::Array(a) => a.to_text(),
            Value::U8(v) => v.to_string().into(),
            Value::I8(v) => v.to_string().into(),
            Value::U16(v) => v.to_string().into(),
            Value::I16(v) => v.to_string().into(),
            Value::U32(v) => v.to_string().into(),
            Value::I32(v) => v.to_string().into(),
            Value::U64(v) => v.to_string().into(),
            Value::I64(v) => v.to_string().into(),
            Value::F32(v) => float(f64::from(*v)).into(),
            Value::F64(v) => float(*v).into(),
            Value::Bool(v) => v.to_string().into(),
        }
    }
    /// `u32`, `str`, `arr[str,32000]`.
    pub fn type_text(&self) -> String {
        match self {
            Value::Array(a) => format!("arr[{},{}]", a.type_name(), a.len()),
            v => v.type_name().into(),
        }
    }
}

impl Array {
    fn to_text(&self) -> Vec<u8> {
        fn list<T>(v: &[T], f: impl Fn(&T) -> Vec<u8>) -> Vec<u8> {
            let parts: Vec<Vec<u8>> = v.iter().map(f).collect();
            [&b"["[..], &parts.join(&b", "[..]), b"]"].concat()
        }
        fn plain<T: ToString>(v: &[T]) -> Vec<u8> {
            list(v, |x| x.to_string().into())
        }
        match self {
            Array::U8(v) => plain(v),
            Array::I8(v) => plain(v),
            Array::U16(v) => plain(v),
            Array::I16(v) => plain(v),
            Array::U32(v) => plain(v),
            Array::I32(v) => plain(v),
            Array::U64(v) => plain(v),
            Array::I64(v) => plain(v),
            Array::Bool(v) => plain(v),
            Array::F32(v) => list(v, |x| float(f64::from(*x)).into()),
            Array::F64(v) => list(v, |x| float(*x).into()),
            Array::Str(v) => list(v, |s| quoted(s)),
        }
    }
}

fn until_nul(s: &[u8]) -> &[u8] {
    s.split(|b| *b == 0).next().unwrap_or_default()
}

fn quoted(s: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for &b in until_nul(s) {
        if b == b'\\' || b == b'"' {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
    out
}

/// C's `%f`.
fn float(v: f64) -> String {
    match v.is_nan() {
        true => if v.is_sign_negative() { "-nan" } else { "nan" }.into(),
        false => format!("{v:.6}"),
    }
}

/// `llama_ftype`: which mix of types a file holds, by its number. Bit 10 says that nobody wrote it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FType(pub u32);

impl FType {
    pub const GUESSED: u32 = 1024;
    pub const ALL_F32: FType = FType(0);

    /// (number, the most frequent tensor type it is guessed from, name).
    const TABLE: &[(u32, Option<DType>, &str)] = &[
        (0, Some(DType::F32), "all F32"),
        (1, Some(DType::F16), "F16"),
        (2, Some(DType::Q4_0), "Q4_0"),
        (3, Some(DType::Q4_1), "Q4_1"),
        (7, Some(DType::Q8_0), "Q8_0"),
        (8, Some(DType::Q5_0), "Q5_0"),
        (9, Some(DType::Q5_1), "Q5_1"),
        (10, Some(DType::Q2_K), "Q2_K - Medium"),
        (11, None, "Q3_K - Small"),
        (12, Some(DType::Q3_K), "Q3_K - Medium"),
        (13, None, "Q3_K - Large"),
        (14, None, "Q4_K - Small"),
        (15, Some(DType::Q4_K), "Q4_K - Medium"),
        (16, None, "Q5_K - Small"),
        (17, Some(DType::Q5_K), "Q5_K - Medium"),
        (18, Some(DType::Q6_K), "Q6_K"),
        (19, Some(DType::IQ2_XXS), "IQ2_XXS - 2.0625 bpw"),
        (20, Some(DType::IQ2_XS), "IQ2_XS - 2.3125 bpw"),
        (21, None, "Q2_K - Small"),
        (22, None, "IQ3_XS - 3.3 bpw"),
        (23, Some(DType::IQ3_XXS), "IQ3_XXS - 3.0625 bpw"),
        (24, Some(DType::IQ1_S), "IQ1_S - 1.5625 bpw"),
        (25, Some(DType::IQ4_NL), "IQ4_NL - 4.5 bpw"),
        (26, Some(DType::IQ3_S), "IQ3_S - 3.4375 bpw"),
        (27, None, "IQ3_S mix - 3.66 bpw"),
        (28, Some(DType::IQ2_S), "IQ2_S - 2.5 bpw"),
        (29, None, "IQ2_M - 2.7 bpw"),
        (30, Some(DType::IQ4_XS), "IQ4_XS - 4.25 bpw"),
        (31, Some(DType::IQ1_M), "IQ1_M - 1.75 bpw"),
        (32, Some(DType::BF16), "BF16"),
        (36, Some(DType::TQ1_0), "TQ1_0 - 1.69 bpw ternary"),
        (37, Some(DType::TQ2_0), "TQ2_0 - 2.06 bpw ternary"),
        // The original does not guess it from MXFP4 tensors.
        (38, None, "MXFP4 MoE"),
        (39, Some(DType::NVFP4), "NVFP4"),
        (40, Some(DType::Q1_0), "Q1_0"),
        (41, Some(DType::Q2_0), "Q2_0"),
    ];

    fn of_type(ty: DType) -> FType {
        let row = Self::TABLE.iter().find(|r| r.1 == Some(ty));
        if row.is_none() {
            log::warn(format_args!("llama_model_loader: unknown type {}", ty.name()));
        }
        row.map_or(FType::ALL_F32, |r| FType(r.0))
    }
    /// `Q4_K - Medium`, `(guessed) all F32`.
    pub fn name(self) -> String {
        let row = Self::TABLE.iter().find(|r| r.0 == self.0 & !Self::GUESSED);
        let prefix = if self.0 & Self::GUESSED != 0 { "(guessed) " } else { "" };
        format!("{prefix}{}", row.map_or("unknown, may not work", |r| r.2))
    }
}

impl Gguf {
    /// What the file says (`general.file_type`, overrides seen), else a guess from the most frequent tensor type.
    pub fn ftype(&self) -> Result<FType> {
        match self.meta.u32("general.file_type")? {
            Some(n) => Ok(FType(n)),
            None => Ok(FType(self.most_frequent_type().map_or(FType::ALL_F32, FType::of_type).0 | FType::GUESSED)),
        }
    }
    /// Of equally frequent types the one that got there first in the original's order: by layer, then by name.
    fn most_frequent_type(&self) -> Option<DType> {
        let mut order: Vec<&TensorInfo> = self.tensors.iter().collect();
        order.sort_by_cached_key(|t| (layer_of(&t.name), t.name.as_str()));
        let mut counts = [0; DType::TABLE.len()];
        let mut best = None;
        for t in order {
            let Some(count) = type_index(t.ty).and_then(|i| counts.get_mut(i)) else { continue };
            *count += 1;
            if best.is_none_or(|(most, _)| most < *count) {
                best = Some((*count, t.ty));
            }
        }
        best.map(|b| b.1)
    }
    pub fn version_name(&self) -> &'static str {
        match self.version {
            2 => "GGUF V2",
            3 => "GGUF V3 (latest)",
            _ => "unknown",
        }
    }
    /// `1.18 GiB (5.33 BPW)`.
    pub fn size_text(&self) -> String {
        // A vocabulary has no tensors; the original prints -nan for it.
        let (bytes, n) = (self.n_bytes() as f64, self.n_elements().max(1) as f64);
        let mib = bytes / 1024.0 / 1024.0;
        let (size, unit) = if mib < 1024.0 { (mib, "MiB") } else { (mib / 1024.0, "GiB") };
        format!("{size:.2} {unit} ({:.2} BPW)", bytes * 8.0 / n)
    }
    /// The original's dump of key/values and types; `from` is the file's name.
    pub fn log_summary(&self, from: &str) {
        let say = |line: std::fmt::Arguments| log::info(format_args!("llama_model_loader: {line}"));
        let (n_kv, n_tensors, version) = (self.meta.kv.len(), self.tensors.len(), self.version_name());
        say(format_args!("loaded meta data with {n_kv} key-value pairs and {n_tensors} tensors from {from} (version {version})"));
        say(format_args!("Dumping metadata keys/values. Note: KV overrides do not apply in this output."));
        for (i, (key, value)) in self.meta.kv.iter().enumerate() {
            say(format_args!("- kv {i:3}: {key:>42} {:<16} = {}", value.type_text(), short(value)));
        }
        for (ty, name, ..) in DType::TABLE {
            let n = self.tensors.iter().filter(|t| t.ty == *ty).count();
            if n > 0 {
                say(format_args!("- type {name:>4}: {n:4} tensors"));
            }
        }
    }
    /// The original's three lines on the file as a whole.
    pub fn log_file(&self) -> Result<()> {
        log::info(format_args!("print_info: file format = {}", self.version_name()));
        log::info(format_args!("print_info: file type   = {}", self.ftype()?.name()));
        log::info(format_args!("print_info: file size   = {} ", self.size_text()));
        Ok(())
    }
}

impl TensorInfo {
    /// `  4096,  32000,      1,      1`.
    pub fn shape_text(&self) -> String {
        let mut s = String::new();
        for (i, ne) in self.shape.iter().enumerate() {
            let _ = write!(s, "{}{ne:6}", if i > 0 { ", " } else { "" });
        }
        s
    }
}

impl std::fmt::Display for LoadMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn type_index(ty: DType) -> Option<usize> {
    DType::TABLE.iter().position(|r| r.0 == ty)
}

/// The number after `blk.`, -1 without one.
fn layer_of(name: &str) -> i64 {
    let digits = name.strip_prefix("blk.").map_or("", |r| &r[..r.find(|c: char| !c.is_ascii_digit()).unwrap_or(r.len())]);
    digits.parse().unwrap_or(-1)
}

/// A line's worth of a value: at most 40 bytes, newlines shown. Only what is shown of an array is printed.
fn short(v: &Value) -> String {
    const MAX: usize = 40;
    let text = match v {
        Value::Array(a) => a.head(MAX).to_text(),
        v => v.to_text(),
    };
    let cut = if text.len() > MAX { [&text[..MAX - 3], b"..."].concat() } else { text };
    String::from_utf8_lossy(&cut).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Meta;

    fn text(v: Value) -> String {
        String::from_utf8(v.to_text()).unwrap()
    }

    /// Expected strings are what C++'s std::to_string and printf("%f") give.
    #[test]
    fn values_print_as_in_c() {
        assert_eq!(text(Value::F32(1e-6)), "0.000001");
        assert_eq!(text(Value::F32(0.1)), "0.100000");
        assert_eq!(text(Value::F32(500000.0)), "500000.000000");
        assert_eq!(text(Value::F32(-0.0)), "-0.000000");
        // Ties go to even.
        assert_eq!(text(Value::F64(1.0 / 128.0)), "0.007812");
        assert_eq!(text(Value::F64(3.0 / 128.0)), "0.023438");
        assert_eq!(text(Value::F32(f32::NEG_INFINITY)), "-inf");
        assert_eq!(text(Value::F32(f32::NAN)), "nan");
        assert_eq!(text(Value::F64(-f64::NAN)), "-nan");
        assert_eq!(text(Value::F32(f32::MAX)), "340282346638528859811704183484516925440.000000");
        assert_eq!(text(Value::U64(u64::MAX)), "18446744073709551615");
        assert_eq!(text(Value::Bool(true)), "true");
        assert_eq!(text(Value::Str(b"a\"\\\n\0b".to_vec())), "a\"\\\n");
        assert_eq!(text(Value::Array(Array::Str(vec![b"a\"b\\".to_vec(), b"".to_vec(), b"x\0y".to_vec()]))), r#"["a\"b\\", "", "x"]"#);
        assert_eq!(text(Value::Array(Array::F32(vec![1.0, 0.5]))), "[1.000000, 0.500000]");
        assert_eq!(text(Value::Array(Array::Bool(vec![]))), "[]");
        assert_eq!(Value::Array(Array::I8(vec![1, 2])).type_text(), "arr[i8,2]");
    }

    #[test]
    fn the_short_form_is_the_start_of_the_long_one() {
        let strings = Value::Array(Array::Str((0..1000).map(|i| format!("{i}\n").into()).collect()));
        let numbers = Value::Array(Array::I32((0..1000).collect()));
        for v in [strings, numbers, Value::Str(vec![b'x'; 41])] {
            let long = text(v.clone());
            assert_eq!(short(&v), format!("{}...", &long[..37]).replace('\n', "\\n"));
        }
        assert_eq!(short(&Value::Str(vec![b'x'; 40])), "x".repeat(40));
        assert_eq!(short(&Value::Array(Array::I32(vec![1, 2]))), "[1, 2]");
    }

    #[test]
    fn file_types() {
        assert_eq!(FType(15).name(), "Q4_K - Medium");
        assert_eq!(FType(FType::GUESSED).name(), "(guessed) all F32");
        assert_eq!(FType(4).name(), "unknown, may not work");
        let t = |name: &str, ty| TensorInfo { name: name.into(), ty, shape: [32, 1, 1, 1], n_dims: 1, file: 0, offset: 0, bytes: 0 };
        let mut g = Gguf { tensors: vec![t("blk.10.b", DType::Q8_0), t("blk.2.a", DType::F16)], ..Gguf::default() };
        // Equally frequent: layer 2 comes before layer 10.
        assert_eq!(g.ftype().unwrap(), FType(1 | FType::GUESSED));
        g.tensors.push(t("z", DType::Q8_0));
        assert_eq!(g.ftype().unwrap(), FType(7 | FType::GUESSED));
        g.meta = Meta::new(vec![("general.file_type".into(), Value::U32(18))]);
        assert_eq!(g.ftype().unwrap().name(), "Q6_K");
    }
}
