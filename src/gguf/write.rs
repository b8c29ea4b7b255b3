//! Writing a GGUF file, version 3: the header is laid out first, then every tensor's bytes stream through. Does not quantise.
use super::{Array, DType, Gguf, Meta, TensorInfo, Value, parse, tensor_bytes};
use platform::{Error, Result};
use std::io::Write;

/// A tensor that is to be written.
#[derive(Clone, Debug)]
pub struct NewTensor {
    pub name: String,
    pub ty: DType,
    /// `ne[0]` first, 4 at most.
    pub shape: Vec<u64>,
}

/// A file that is decided but not written.
pub struct Layout {
    header: Vec<u8>,
    gguf: Gguf,
}

impl Layout {
    /// Places tensors one after the other as the original demands. What the reader would refuse is refused here, by the reader.
    pub fn new(meta: &Meta, tensors: &[NewTensor]) -> Result<Layout> {
        let alignment = match meta.get("general.alignment") {
            Some(Value::U32(a)) if a.is_power_of_two() => u64::from(*a),
            _ => 32,
        };
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((tensors.len() as u64).to_le_bytes());
        out.extend((meta.kv.len() as u64).to_le_bytes());
        for (key, v) in &meta.kv {
            put_str(&mut out, key.as_bytes());
            put_value(&mut out, v);
        }
        let mut data = 0;
        for t in tensors {
            data = put_info(&mut out, t, data, alignment).map_err(|e| e.within(format_args!("tensor {}", t.name)))?;
        }
        let len = (out.len() as u64).next_multiple_of(alignment).checked_add(data);
        let gguf = parse(&mut &out[..], 0, len.ok_or_else(|| Error::invalid("the file would be too large"))?, 0)?;
        Ok(Layout { header: out, gguf })
    }
    /// What comes before the data, without the zeroes that align it.
    pub fn header(&self) -> &[u8] {
        &self.header
    }
    /// What a reader of the file will see.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }
    /// Writes everything; `data` is called once per tensor, in order, and writes its bytes.
    pub fn write(&self, out: &mut dyn Write, data: &mut dyn FnMut(&TensorInfo, &mut dyn Write) -> Result<()>) -> Result<()> {
        put(out, &self.header)?;
        pad(out, self.header.len() as u64, self.gguf.alignment)?;
        for t in &self.gguf.tensors {
            let mut counted = Counted { out, n: 0 };
            data(t, &mut counted)?;
            let n = counted.n;
            if n != t.bytes {
                return Err(Error::invalid(format!("tensor {}: {n} bytes written, it has {}", t.name, t.bytes)));
            }
            pad(out, n, self.gguf.alignment)?;
        }
        out.flush().map_err(|e| Error::io("cannot write a GGUF file", e))
    }
}

fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|e| Error::io("cannot write a GGUF file", e))
}

/// Zeroes from `n` to the next multiple; in pieces, because a file may ask for any power of two.
fn pad(out: &mut dyn Write, n: u64, alignment: u64) -> Result<()> {
    let mut left = n.next_multiple_of(alignment) - n;
    while left > 0 {
        let piece = left.min(4096);
        put(out, &[0; 4096][..piece as usize])?;
        left -= piece;
    }
    Ok(())
}

struct Counted<'a> {
    out: &'a mut dyn Write,
    n: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.n += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Writes the entry of a tensor whose data starts at `at`; gives where the next one's starts.
fn put_info(out: &mut Vec<u8>, t: &NewTensor, at: u64, alignment: u64) -> Result<u64> {
    let mut shape = [1; 4];
    shape.get_mut(..t.shape.len()).ok_or_else(|| Error::invalid("more than 4 dimensions"))?.copy_from_slice(&t.shape);
    let bytes = tensor_bytes(t.ty, shape)?;
    put_str(out, t.name.as_bytes());
    out.extend((t.shape.len() as u32).to_le_bytes());
    t.shape.iter().for_each(|ne| out.extend(ne.to_le_bytes()));
    out.extend((t.ty as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    let next = bytes.checked_next_multiple_of(alignment).and_then(|n| at.checked_add(n));
    next.ok_or_else(|| Error::invalid("the file would be too large"))
}

fn put_str(out: &mut Vec<u8>, s: &[u8]) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s);
}

fn put_value(out: &mut Vec<u8>, v: &Value) {
    out.extend(type_number(v.type_name()).to_le_bytes());
    match v {
        Value::U8(v) => out.extend(v.to_le_bytes()),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push((*v).into()),
        Value::Str(s) => put_str(out, s),
        Value::Array(a) => put_array(out, a),
    }
}

fn put_array(out: &mut Vec<u8>, a: &Array) {
    out.extend(type_number(a.type_name()).to_le_bytes());
    out.extend((a.len() as u64).to_le_bytes());
    match a {
        Array::U8(v) => out.extend(v),
        Array::I8(v) => out.extend(v.iter().map(|x| *x as u8)),
        Array::U16(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Array::I16(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Array::U32(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Array::I32(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Array::U64(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Array::I64(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Array::F32(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Array::F64(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Array::Bool(v) => out.extend(v.iter().map(|x| u8::from(*x))),
        Array::Str(v) => v.iter().for_each(|s| put_str(out, s)),
    }
}

/// GGUF's number of a type, by its name: its place here.
pub fn type_number(name: &str) -> u32 {
    const NAMES: [&str; 13] = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "arr", "u64", "i64", "f64"];
    NAMES.iter().position(|n| *n == name).map_or(u32::MAX, |i| i as u32)
}
