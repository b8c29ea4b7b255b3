//! The header of a GGUF file: key/values and the tensor list, every field checked before it is believed.
//! Reads from a stream of known length; knows nothing of files, maps or models.
use super::{Array, Gguf, Meta, TensorInfo, Value};
use kernels::DType;
use platform::{Error, Result};
use std::collections::HashSet;
use std::io::Read;

/// ggml's GGML_MAX_NAME, with the closing NUL.
const MAX_NAME: usize = 64;
/// The specification's limit for keys.
const MAX_KEY: usize = 65535;
const DEFAULT_ALIGNMENT: u64 = 32;
/// A string takes its length at least.
const STR_BYTES: u64 = 8;
/// Key length, one key byte, type, one value byte.
const KV_BYTES: u64 = 8 + 1 + 4 + 1;
/// Name length, number of dimensions, type, offset.
const INFO_BYTES: u64 = 8 + 4 + 4 + 8;

/// Parses a header that starts at `start` of a file (alignment counts from there) with `len` bytes from there to the file's end.
/// The tensors carry `file` as their split index.
pub fn parse(stream: &mut dyn Read, start: u64, len: u64, file: u16) -> Result<Gguf> {
    let gguf = parse_header(stream, start, len, file)?;
    let end = |t: &TensorInfo| t.offset + t.bytes;
    match gguf.tensors.iter().find(|t| end(t) > start + len) {
        Some(t) => Err(Error::invalid(format!("tensor {}: data ends at {}, file at {}", t.name, end(t), start + len))),
        None => Ok(gguf),
    }
}

/// The same for a file whose data need not be there, such as one that holds the key/values only.
pub fn parse_header(stream: &mut dyn Read, start: u64, len: u64, file: u16) -> Result<Gguf> {
    let mut c = Cursor { stream, at: 0, len };
    let (version, n_tensors, n_kv) = header(&mut c)?;
    let meta = key_values(&mut c, n_kv)?;
    let alignment = alignment(&meta)?;
    let mut tensors = tensor_infos(&mut c, n_tensors, file)?;
    let data = match tensors.is_empty() {
        true => c.at,
        false => c.at.next_multiple_of(alignment),
    };
    place(&mut tensors, start, data, alignment)?;
    Ok(Gguf { meta, tensors, version, alignment, data_offset: start + data })
}

/// Where we are in the file; no read goes past its end.
struct Cursor<'a> {
    stream: &'a mut dyn Read,
    at: u64,
    len: u64,
}

impl Cursor<'_> {
    fn left(&self) -> u64 {
        self.len - self.at
    }
    fn fill(&mut self, dst: &mut [u8]) -> Result<()> {
        let n = dst.len() as u64;
        if n > self.left() {
            return Err(Error::invalid(format!("the file ends at {}, {n} bytes wanted at {}", self.len, self.at)));
        }
        self.stream.read_exact(dst).map_err(|e| Error::io(format_args!("cannot read {n} bytes at {}", self.at), e))?;
        self.at += n;
        Ok(())
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut b = [0; N];
        self.fill(&mut b)?;
        Ok(b)
    }
    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// `n` things of at least `each` bytes, as a number that the rest of the file justifies.
    fn count(&self, n: u64, each: u64, what: &str) -> Result<usize> {
        match n <= self.left() / each {
            true => Ok(n as usize),
            false => Err(Error::invalid(format!("{n} {what}, but only {} bytes are left in the file", self.left()))),
        }
    }
    fn bytes(&mut self, n: u64, what: &str) -> Result<Vec<u8>> {
        let n = self.count(n, 1, what)?;
        let mut v = platform::error::try_zeroed(n, what)?;
        self.fill(&mut v)?;
        Ok(v)
    }
    fn string(&mut self) -> Result<Vec<u8>> {
        let n = self.u64()?;
        self.bytes(n, "bytes of a string")
    }
    /// A key or a tensor name: text, because messages and lookups need it as such.
    fn name(&mut self, max: usize) -> Result<String> {
        let n = self.u64()?;
        if n == 0 || n > max as u64 {
            return Err(Error::invalid(format!("a name of {n} bytes (1 to {max} are allowed)")));
        }
        named(self.bytes(n, "bytes of a name")?)
    }
}

fn named(bytes: Vec<u8>) -> Result<String> {
    let name = String::from_utf8(bytes).map_err(|e| {
        let lossy = String::from_utf8_lossy(e.as_bytes()).into_owned();
        Error::invalid(format!("the name {lossy:?} is not UTF-8"))
    })?;
    // C would cut it at a NUL; the others would let a file write to a terminal through a message.
    match name.contains(char::is_control) {
        true => Err(Error::invalid(format!("the name {name:?} holds a control character"))),
        false => Ok(name),
    }
}

/// A key by itself, by the rules of one in a file.
pub fn parse_key(bytes: &[u8]) -> Result<String> {
    let mut long = (bytes.len() as u64).to_le_bytes().to_vec();
    long.extend(bytes);
    let len = long.len() as u64;
    Cursor { stream: &mut &long[..], at: 0, len }.name(MAX_KEY)
}

/// Magic, version and the two counts.
fn header(c: &mut Cursor) -> Result<(u32, u64, u64)> {
    let magic: [u8; 4] = c.array().map_err(|e| e.within("failed to read magic"))?;
    if &magic != b"GGUF" {
        return Err(Error::invalid(format!("invalid magic characters: '{}', expected 'GGUF'", magic.escape_ascii())));
    }
    let version = c.u32()?;
    match version {
        2 | 3 => {}
        1 => return Err(Error::invalid("GGUFv1 is no longer supported, please use a more up-to-date version")),
        0 => return Err(Error::invalid("bad GGUF version: 0")),
        v if v.swap_bytes() <= 0xffff => {
            return Err(Error::invalid(format!("GGUF version {v} is extremely large: this is a big-endian file, which is not supported")));
        }
        v => return Err(Error::invalid(format!("this GGUF file is version {v} but only versions up to 3 are supported"))),
    }
    Ok((version, c.u64()?, c.u64()?))
}

fn key_values(c: &mut Cursor, n: u64) -> Result<Meta> {
    let n = c.count(n, KV_BYTES, "key/values")?;
    let mut seen = HashSet::new();
    let mut kv = Vec::new();
    for i in 0..n {
        let key = c.name(MAX_KEY).map_err(|e| e.within(format_args!("key {i}")))?;
        if !seen.insert(key.clone()) {
            return Err(Error::invalid(format!("duplicate key '{key}'")));
        }
        let value = value(c).map_err(|e| e.within(format_args!("key {key}")))?;
        kv.push((key, value));
    }
    Ok(Meta::new(kv))
}

const ARRAY: u32 = 9;

fn value(c: &mut Cursor) -> Result<Value> {
    Ok(match c.u32()? {
        0 => Value::U8(u8::from_le_bytes(c.array()?)),
        1 => Value::I8(i8::from_le_bytes(c.array()?)),
        2 => Value::U16(u16::from_le_bytes(c.array()?)),
        3 => Value::I16(i16::from_le_bytes(c.array()?)),
        4 => Value::U32(c.u32()?),
        5 => Value::I32(i32::from_le_bytes(c.array()?)),
        6 => Value::F32(f32::from_le_bytes(c.array()?)),
        7 => Value::Bool(c.array::<1>()? != [0]),
        8 => Value::Str(c.string()?),
        ARRAY => Value::Array(array(c)?),
        10 => Value::U64(c.u64()?),
        11 => Value::I64(i64::from_le_bytes(c.array()?)),
        12 => Value::F64(f64::from_le_bytes(c.array()?)),
        t => return Err(Error::invalid(format!("invalid GGUF type {t}"))),
    })
}

fn array(c: &mut Cursor) -> Result<Array> {
    let ty = c.u32()?;
    let n = c.u64()?;
    Ok(match ty {
        0 => Array::U8(c.bytes(n, "array elements")?),
        1 => Array::I8(numbers(c, n, i8::from_le_bytes)?),
        2 => Array::U16(numbers(c, n, u16::from_le_bytes)?),
        3 => Array::I16(numbers(c, n, i16::from_le_bytes)?),
        4 => Array::U32(numbers(c, n, u32::from_le_bytes)?),
        5 => Array::I32(numbers(c, n, i32::from_le_bytes)?),
        6 => Array::F32(numbers(c, n, f32::from_le_bytes)?),
        7 => Array::Bool(numbers(c, n, |b: [u8; 1]| b != [0])?),
        8 => Array::Str(strings(c, n)?),
        ARRAY => return Err(Error::invalid("nested arrays are not supported")),
        10 => Array::U64(numbers(c, n, u64::from_le_bytes)?),
        11 => Array::I64(numbers(c, n, i64::from_le_bytes)?),
        12 => Array::F64(numbers(c, n, f64::from_le_bytes)?),
        t => return Err(Error::invalid(format!("invalid GGUF array type {t}"))),
    })
}

fn numbers<T, const N: usize>(c: &mut Cursor, n: u64, from: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
    let n = c.count(n, N as u64, "array elements")?;
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| Error::no_memory(format!("no memory for {n} array elements")))?;
    // Through a fixed buffer: one read per element would cost more than the conversion.
    let mut buf = [0; 4096];
    while v.len() < n {
        let part = &mut buf[..((n - v.len()) * N).min(4096 / N * N)];
        c.fill(part)?;
        v.extend(part.as_chunks::<N>().0.iter().map(|b| from(*b)));
    }
    Ok(v)
}

fn strings(c: &mut Cursor, n: u64) -> Result<Vec<Vec<u8>>> {
    let n = c.count(n, STR_BYTES, "strings")?;
    // Not reserved: a `Vec` takes three times the bytes that an empty string has in the file.
    let mut v = Vec::new();
    for i in 0..n {
        v.push(c.string().map_err(|e| e.within(format_args!("string {i}")))?);
    }
    Ok(v)
}

fn alignment(meta: &Meta) -> Result<u64> {
    match meta.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::U32(a)) if a.is_power_of_two() => Ok((*a).into()),
        Some(Value::U32(a)) => Err(Error::invalid(format!("alignment {a} is not a power of 2"))),
        Some(v) => Err(Error::invalid(format!("key general.alignment must be of type u32 but is {}", v.type_name()))),
    }
}

/// The tensor list; `offset` is still relative to the data section.
fn tensor_infos(c: &mut Cursor, n: u64, file: u16) -> Result<Vec<TensorInfo>> {
    let n = c.count(n, INFO_BYTES, "tensors")?;
    let mut seen = HashSet::new();
    let mut tensors = Vec::new();
    for i in 0..n {
        let name = c.name(MAX_NAME - 1).map_err(|e| e.within(format_args!("tensor {i}")))?;
        if !seen.insert(name.clone()) {
            return Err(Error::invalid(format!("duplicate tensor name '{name}'")));
        }
        let t = tensor_info(c, &name, file).map_err(|e| e.within(format_args!("tensor {name}")))?;
        tensors.push(t);
    }
    Ok(tensors)
}

fn tensor_info(c: &mut Cursor, name: &str, file: u16) -> Result<TensorInfo> {
    let n_dims = c.u32()?;
    if n_dims > 4 {
        return Err(Error::invalid(format!("{n_dims} dimensions, at most 4 are allowed")));
    }
    let mut shape = [1; 4];
    for ne in &mut shape[..n_dims as usize] {
        *ne = c.u64()?;
    }
    let number = c.u32()?;
    let ty = DType::from_ggml(number).ok_or_else(|| Error::invalid(format!("invalid ggml type {number}")))?;
    let bytes = tensor_bytes(ty, shape)?;
    Ok(TensorInfo { name: name.into(), ty, shape, n_dims, file, offset: c.u64()?, bytes })
}

/// Bytes of a tensor; rows must be whole blocks, and every product must fit an `i64`.
pub fn tensor_bytes(ty: DType, shape: [u64; 4]) -> Result<u64> {
    let fits = |n: &u64| i64::try_from(*n).is_ok();
    let overflow = || Error::invalid(format!("shape {shape:?} is too large"));
    // A zero must not hide an overflow among the others, as the original's running product would let it.
    let n = shape.iter().try_fold(1u64, |n, ne| n.checked_mul((*ne).max(1)).filter(fits)).ok_or_else(overflow)?;
    let block = ty.block_len() as u64;
    if !shape[0].is_multiple_of(block) {
        return Err(Error::invalid(format!("{} elements per row, not a multiple of {}'s block size {block}", shape[0], ty.name())));
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    (n / block).checked_mul(ty.block_bytes() as u64).filter(fits).ok_or_else(overflow)
}

/// Makes offsets absolute. Tensors must stand in order, each at the first aligned place after the one before, as the original
/// demands: then none is misaligned, none overlaps another, and a damaged type or shape shows.
fn place(tensors: &mut [TensorInfo], start: u64, data: u64, alignment: u64) -> Result<()> {
    let mut expected = 0u64;
    for t in tensors {
        if t.offset != expected {
            return Err(Error::invalid(format!("tensor {}: offset {}, expected {expected}", t.name, t.offset)));
        }
        let next = expected.checked_add(t.bytes).and_then(|end| end.checked_next_multiple_of(alignment));
        // Below 2^63, so that the sums that follow do not overflow: `start` and `data` are inside a file.
        let next =
            next.filter(|n| *n <= i64::MAX as u64).ok_or_else(|| Error::invalid(format!("tensor {}: the data is too large", t.name)))?;
        t.offset = start + data + expected;
        expected = next;
    }
    Ok(())
}

/// A value by itself, as it stands in a file: number of its type, then its bytes, all of them.
pub fn parse_value(mut bytes: &[u8]) -> Result<Value> {
    let len = bytes.len() as u64;
    let mut c = Cursor { stream: &mut bytes, at: 0, len };
    let value = value(&mut c)?;
    match c.left() {
        0 => Ok(value),
        n => Err(Error::invalid(format!("{n} bytes behind a value"))),
    }
}
