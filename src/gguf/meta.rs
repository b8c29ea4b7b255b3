//! Key/values of a GGUF file, already parsed and bounded.
use platform::{Error, Result};

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
    pub kv: Vec<(String, Value)>,
}

impl Value {
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
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.kv.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }
    fn typed<T>(&self, key: &str, what: &str, f: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(None),
            Some(v) => f(v).map(Some).ok_or_else(|| Error::invalid(format!("key {key} is not {what}"))),
        }
    }
    /// `Ok(None)`: the key is absent. `Err`: it is there with another type or out of range.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "a u32", |v| u32::try_from(v.as_i64()?).ok())
    }
    pub fn i32(&self, key: &str) -> Result<Option<i32>> {
        self.typed(key, "an i32", |v| i32::try_from(v.as_i64()?).ok())
    }
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a float", Value::as_f32)
    }
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a bool", |v| if let Value::Bool(b) = v { Some(*b) } else { None })
    }
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(v) => v.as_str().map(Some).ok_or_else(|| Error::invalid(format!("key {key} is not a UTF-8 string"))),
        }
    }
    pub fn array(&self, key: &str) -> Result<Option<&Array>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(a)) => Ok(Some(a)),
            Some(_) => Err(Error::invalid(format!("key {key} is not an array"))),
        }
    }
}
