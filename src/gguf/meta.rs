//! Key/values of a GGUF file, already parsed and bounded.
use platform::{Error, Result, log};
use std::fmt;

/// A metadata value. Strings are bytes: token texts need not be UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(Vec<u8>),
    Array(Array),
}

/// An array of one element type (GGUF has no nested arrays in practice; they are refused at parse).
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    Str(Vec<Vec<u8>>),
}

/// All key/values of a model, in file order. Lookups are linear scans over some tens of keys, at load only.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// As the file has them: listings and `llama_model_meta_val_str` do not show overrides.
    pub kv: Vec<(String, Value)>,
    /// Seen by the typed getters only.
    overrides: Vec<Override>,
}

/// A value that the caller wants in place of (or in addition to) the file's.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    pub key: String,
    pub value: OverrideValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum OverrideValue {
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(String),
}

impl OverrideValue {
    fn type_name(&self) -> &'static str {
        match self {
            OverrideValue::Int(_) => "int",
            OverrideValue::Float(_) => "float",
            OverrideValue::Bool(_) => "bool",
            OverrideValue::Str(_) => "str",
        }
    }
}

impl fmt::Display for OverrideValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OverrideValue::Int(v) => v.fmt(f),
            OverrideValue::Float(v) => write!(f, "{v:.6}"),
            OverrideValue::Bool(v) => v.fmt(f),
            OverrideValue::Str(v) => v.fmt(f),
        }
    }
}

impl Value {
    /// The original's short name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::U8(_) => "u8",
            Value::I8(_) => "i8",
            Value::U16(_) => "u16",
            Value::I16(_) => "i16",
            Value::U32(_) => "u32",
            Value::I32(_) => "i32",
            Value::U64(_) => "u64",
            Value::I64(_) => "i64",
            Value::F32(_) => "f32",
            Value::F64(_) => "f64",
            Value::Bool(_) => "bool",
            Value::Str(_) => "str",
            Value::Array(_) => "arr",
        }
    }
    /// Any integer type that fits.
    pub fn as_i64(&self) -> Option<i64> {
        Some(match self {
            Value::U8(v) => (*v).into(),
            Value::I8(v) => (*v).into(),
            Value::U16(v) => (*v).into(),
            Value::I16(v) => (*v).into(),
            Value::U32(v) => (*v).into(),
            Value::I32(v) => (*v).into(),
            Value::U64(v) => i64::try_from(*v).ok()?,
            Value::I64(v) => *v,
            Value::Bool(b) => (*b).into(),
            _ => return None,
        })
    }
    pub fn as_f32(&self) -> Option<f32> {
        match self {
            Value::F32(v) => Some(*v),
            Value::F64(v) => Some(*v as f32),
            _ => None,
        }
    }
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => std::str::from_utf8(s).ok(),
            _ => None,
        }
    }
}

impl Array {
    /// The original's short name of the element type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Array::U8(_) => "u8",
            Array::I8(_) => "i8",
            Array::U16(_) => "u16",
            Array::I16(_) => "i16",
            Array::U32(_) => "u32",
            Array::I32(_) => "i32",
            Array::U64(_) => "u64",
            Array::I64(_) => "i64",
            Array::F32(_) => "f32",
            Array::F64(_) => "f64",
            Array::Bool(_) => "bool",
            Array::Str(_) => "str",
        }
    }
    pub fn len(&self) -> usize {
        match self {
            Array::U8(v) => v.len(),
            Array::I8(v) => v.len(),
            Array::U16(v) => v.len(),
            Array::I16(v) => v.len(),
            Array::U32(v) => v.len(),
            Array::I32(v) => v.len(),
            Array::U64(v) => v.len(),
            Array::I64(v) => v.len(),
            Array::F32(v) => v.len(),
            Array::F64(v) => v.len(),
            Array::Bool(v) => v.len(),
            Array::Str(v) => v.len(),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The first `n` elements at most.
    pub fn head(&self, n: usize) -> Array {
        fn cut<T: Clone>(v: &[T], n: usize) -> Vec<T> {
            v[..n.min(v.len())].to_vec()
        }
        match self {
            Array::U8(v) => Array::U8(cut(v, n)),
            Array::I8(v) => Array::I8(cut(v, n)),
            Array::U16(v) => Array::U16(cut(v, n)),
            Array::I16(v) => Array::I16(cut(v, n)),
            Array::U32(v) => Array::U32(cut(v, n)),
            Array::I32(v) => Array::I32(cut(v, n)),
            Array::U64(v) => Array::U64(cut(v, n)),
            Array::I64(v) => Array::I64(cut(v, n)),
            Array::F32(v) => Array::F32(cut(v, n)),
            Array::F64(v) => Array::F64(cut(v, n)),
            Array::Bool(v) => Array::Bool(cut(v, n)),
            Array::Str(v) => Array::Str(cut(v, n)),
        }
    }
    /// Any integer type, widened; `None` for floats and strings, or a value over `i64::MAX`.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        fn wide<T: Copy + Into<i64>>(v: &[T]) -> Option<Vec<i64>> {
            Some(v.iter().map(|x| (*x).into()).collect())
        }
        match self {
            Array::U8(v) => wide(v),
            Array::I8(v) => wide(v),
            Array::U16(v) => wide(v),
            Array::I16(v) => wide(v),
            Array::U32(v) => wide(v),
            Array::I32(v) => wide(v),
            Array::I64(v) => wide(v),
            Array::Bool(v) => wide(v),
            Array::U64(v) => v.iter().map(|x| i64::try_from(*x).ok()).collect(),
            _ => None,
        }
    }
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match self {
            Array::F32(v) => Some(v.clone()),
            Array::F64(v) => Some(v.iter().map(|x| *x as f32).collect()),
            _ => None,
        }
    }
}

impl Meta {
    pub fn new(kv: Vec<(String, Value)>) -> Meta {
        Meta { kv, overrides: Vec::new() }
    }
    /// The file's value, whatever its type; overrides are not seen here.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.kv.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }
    fn typed<T>(&self, key: &str, what: &str, f: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(None),
            Some(v) => f(v).map(Some).ok_or_else(|| {
                Error::invalid(format!("key {key} has wrong type {} or a value out of range, expected {what}", v.type_name()))
            }),
        }
    }
    /// `Ok(None)`: the key is absent. `Err`: it is there with another type or out of range.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        match self.overridden(key, "int", OverrideValue::int) {
            // Wrapped as the original wraps it: `int:-1` is how a caller takes a token id away.
            Some(v) => Ok(Some(v as u32)),
            None => self.typed(key, "u32", |v| u32::try_from(v.as_i64()?).ok()),
        }
    }
    pub fn i32(&self, key: &str) -> Result<Option<i32>> {
        match self.overridden(key, "int", OverrideValue::int) {
            Some(v) => Ok(Some(v as i32)),
            None => self.typed(key, "i32", |v| i32::try_from(v.as_i64()?).ok()),
        }
    }
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        match self.overridden(key, "float", OverrideValue::float) {
            Some(v) => Ok(Some(v as f32)),
            None => self.typed(key, "f32", Value::as_f32),
        }
    }
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.overridden(key, "bool", OverrideValue::bool) {
            Some(v) => Ok(Some(v)),
            None => self.typed(key, "bool", |v| if let Value::Bool(b) = v { Some(*b) } else { None }),
        }
    }
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        if let Some(v) = self.overridden(key, "str", OverrideValue::str) {
            return Ok(Some(v));
        }
        match self.get(key) {
            None => Ok(None),
            Some(v) => v.as_str().map(Some).ok_or_else(|| Error::invalid(format!("key {key} is not a UTF-8 string"))),
        }
    }
    /// Arrays cannot be overridden.
    pub fn array(&self, key: &str) -> Result<Option<&Array>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(a)) => Ok(Some(a)),
            Some(v) => Err(Error::invalid(format!("key {key} has wrong type {}, expected an array", v.type_name()))),
        }
    }
    /// A value the model cannot do without.
    pub fn required<T>(&self, key: &str, got: Result<Option<T>>) -> Result<T> {
        got?.ok_or_else(|| Error::invalid(format!("key not found in model: {key}")))
    }
    /// Adds overrides; the first for a key counts. Each is logged when it is read, as is one whose type does not fit (and is then ignored).
    pub fn apply_overrides(&mut self, overrides: &[Override]) {
        self.overrides.extend_from_slice(overrides);
    }
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }
    fn overridden<'a, T>(&'a self, key: &str, expected: &str, f: impl Fn(&'a OverrideValue) -> Option<T>) -> Option<T> {
        let o = self.overrides.iter().find(|o| o.key == key)?;
        let got = o.value.type_name();
        let v = f(&o.value);
        match v {
            Some(_) => log::info(format_args!("validate_override: Using metadata override ({got:>5}) '{key}' = {}", o.value)),
            None => log::warn(format_args!(
                "validate_override: Warning: Bad metadata override type for key '{key}', expected {expected} but got {got}"
            )),
        }
        v
    }
}

impl OverrideValue {
    fn int(&self) -> Option<i64> {
        if let OverrideValue::Int(v) = self { Some(*v) } else { None }
    }
    fn float(&self) -> Option<f64> {
        if let OverrideValue::Float(v) = self { Some(*v) } else { None }
    }
    fn bool(&self) -> Option<bool> {
        if let OverrideValue::Bool(v) = self { Some(*v) } else { None }
    }
    fn str(&self) -> Option<&str> {
        if let OverrideValue::Str(v) = self { Some(v) } else { None }
    }
}
