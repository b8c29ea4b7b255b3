//! GGUF files for a libggml: handles over what `gguf` reads and writes. Every function here stands in the table of `ggml_table`.
use super::convert;
use super::ggml_table::{attempt, invalid};
use super::ggml_types::*;
use super::ptr;
use crate::gguf::{self, Array, DType, Gguf, Layout, Meta, NewTensor, Value, type_number};
use platform::file::File;
use platform::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::{BufReader, Read, Write};
use std::sync::OnceLock;

/// Of a file without `general.alignment`.
const ALIGNMENT: u64 = 32;
/// Headers are many small fields.
const BUFFER: usize = 1 << 18;
const STRING: c_int = 8;
const ARRAY: c_int = 9;

/// What a `camelid_gguf` points to.
#[derive(Default)]
struct Handle {
    version: u32,
    data_offset: u64,
    pairs: Vec<Pair>,
    tensors: Vec<Tensor>,
}

struct Pair {
    key: CString,
    value: Value,
    /// Strings as C wants them; made when somebody asks.
    texts: OnceLock<Vec<Vec<u8>>>,
}

struct Tensor {
    name: CString,
    ty: DType,
    ne: [i64; 4],
    n_dims: usize,
    data: *const c_void,
}

impl Pair {
    fn new(key: &str, value: Value) -> Result<Pair> {
        let key = CString::new(key).map_err(|_| invalid(format!("the key {key:?} holds a NUL")))?;
        Ok(Pair { key, value, texts: OnceLock::new() })
    }
    fn text(&self, j: usize) -> Option<*const c_char> {
        let texts = self.texts.get_or_init(|| {
            let ended = |s: &Vec<u8>| [s.as_slice(), &[0]].concat();
            match &self.value {
                Value::Str(s) => vec![ended(s)],
                Value::Array(Array::Str(v)) => v.iter().map(ended).collect(),
                _ => Vec::new(),
            }
        });
        texts.get(j).map(|t| t.as_ptr().cast())
    }
    fn key(&self) -> String {
        self.key.to_string_lossy().into_owned()
    }
}

impl Tensor {
    fn bytes(&self) -> Result<u64> {
        gguf::tensor_bytes(self.ty, self.ne.map(|n| n as u64))
    }
    fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }
}

impl Handle {
    fn of(g: Gguf) -> Result<Handle> {
        let tensor = |t: gguf::TensorInfo| {
            let name = CString::new(t.name).map_err(|_| invalid("a tensor's name holds a NUL"))?;
            Ok(Tensor { name, ty: t.ty, ne: t.shape.map(|n| n as i64), n_dims: t.n_dims as usize, data: std::ptr::null() })
        };
        Ok(Handle {
            version: g.version,
            data_offset: g.data_offset,
            pairs: g.meta.kv.into_iter().map(|(k, v)| Pair::new(&k, v)).collect::<Result<_>>()?,
            tensors: g.tensors.into_iter().map(tensor).collect::<Result<_>>()?,
        })
    }
    fn key(&self, key: &CStr) -> Option<usize> {
        self.pairs.iter().position(|p| *p.key == *key)
    }
    fn pair(&self, i: i64) -> Option<&Pair> {
        self.pairs.get(usize::try_from(i).ok()?)
    }
    fn tensor(&self, name: &CStr) -> Option<usize> {
        self.tensors.iter().position(|t| *t.name == *name)
    }
    fn named(&mut self, name: &CStr) -> Result<&mut Tensor> {
        let i = self.tensor(name).ok_or_else(|| invalid(format!("tensor {} is not there", name.to_string_lossy())))?;
        Ok(&mut self.tensors[i])
    }
    fn alignment(&self) -> u64 {
        match self.key(c"general.alignment").map(|i| &self.pairs[i].value) {
            Some(Value::U32(a)) if a.is_power_of_two() => u64::from(*a),
            _ => ALIGNMENT,
        }
    }
    fn set(&mut self, pair: Pair) {
        self.pairs.retain(|p| p.key != pair.key);
        self.pairs.push(pair);
    }
    fn meta(&self) -> Meta {
        Meta::new(self.pairs.iter().map(|p| (p.key(), p.value.clone())).collect())
    }
    fn layout(&self) -> Result<Layout> {
        let tensor = |t: &Tensor| NewTensor { name: t.name(), ty: t.ty, shape: t.ne[..t.n_dims].iter().map(|n| *n as u64).collect() };
        Layout::new(&self.meta(), &self.tensors.iter().map(tensor).collect::<Vec<_>>())
    }
    /// Where the data of tensor `i` starts in the data section.
    fn offset(&self, i: usize) -> Result<u64> {
        let alignment = self.alignment();
        let too_large = || invalid("the file would be too large");
        self.tensors[..i].iter().try_fold(0u64, |at, t| {
            let padded = t.bytes()?.checked_next_multiple_of(alignment);
            padded.and_then(|n| at.checked_add(n)).ok_or_else(too_large)
        })
    }
    /// The header and the zeroes up to the data.
    fn header(&self) -> Result<Vec<u8>> {
        let layout = self.layout()?;
        let len = (layout.header().len() as u64).next_multiple_of(self.alignment());
        let mut all = platform::error::try_zeroed(usize::try_from(len).map_err(|_| invalid("the alignment is too large"))?, "a header")?;
        all[..layout.header().len()].copy_from_slice(layout.header());
        Ok(all)
    }
}

/// # Safety
/// NULL, or a handle that is not freed.
unsafe fn handle<'a>(p: *const camelid_gguf) -> Result<&'a Handle> {
    // SAFETY: the caller's promise.
    unsafe { p.cast::<Handle>().as_ref() }.ok_or_else(|| invalid("the gguf_context is NULL"))
}

/// # Safety
/// As above, and nobody else uses it.
unsafe fn handle_mut<'a>(p: *mut camelid_gguf) -> Result<&'a mut Handle> {
    // SAFETY: the caller's promise.
    unsafe { p.cast::<Handle>().as_mut() }.ok_or_else(|| invalid("the gguf_context is NULL"))
}

fn given(h: Handle) -> *mut camelid_gguf {
    Box::into_raw(Box::new(h)).cast()
}

/// # Safety
/// NULL or a terminated string.
unsafe fn text<'a>(p: *const c_char, what: &str) -> Result<&'a CStr> {
    // SAFETY: the caller's promise; not NULL.
    if p.is_null() { Err(invalid(format!("{what} is NULL"))) } else { Ok(unsafe { CStr::from_ptr(p) }) }
}

fn dtype(kind: c_int) -> Result<DType> {
    let ty = u32::try_from(kind).ok().and_then(DType::from_ggml);
    ty.ok_or_else(|| invalid(format!("{kind} is no tensor type")))
}

pub unsafe extern "C" fn new() -> *mut camelid_gguf {
    attempt(std::ptr::null_mut(), || Ok(given(Handle { version: 3, ..Handle::default() })))
}

pub unsafe extern "C" fn read_file(path: *const c_char) -> *mut camelid_gguf {
    attempt(std::ptr::null_mut(), || {
        // SAFETY: NULL or a terminated string.
        let file = File::open(&unsafe { convert::path(path) }?)?;
        let mut stream = BufReader::with_capacity(BUFFER, file.stream(0));
        let g = gguf::parse_header(&mut stream, 0, file.size(), 0).map_err(|e| e.within(file.name()))?;
        Handle::of(g).map(given)
    })
}

/// A file that the caller reads for us.
struct Foreign {
    call: camelid_read,
    userdata: *mut c_void,
    at: u64,
    max_chunk: usize,
}

impl Read for Foreign {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = if self.max_chunk == 0 { out.len() } else { out.len().min(self.max_chunk) };
        // SAFETY: `out` has room for `n` bytes; whoever gave the function promises its type.
        let got = unsafe { (self.call)(self.userdata, out.as_mut_ptr().cast(), self.at, n) }.min(n);
        self.at += got as u64;
        Ok(got)
    }
}

pub unsafe extern "C" fn read(read: Option<camelid_read>, userdata: *mut c_void, max_chunk: usize, size: u64) -> *mut camelid_gguf {
    attempt(std::ptr::null_mut(), || {
        let call = read.ok_or_else(|| invalid("the reader is NULL"))?;
        let foreign = Foreign { call, userdata, at: 0, max_chunk };
        // Larger than any file, and below what sums of sizes could overflow.
        let g = gguf::parse_header(&mut BufReader::with_capacity(BUFFER, foreign), 0, size.min(i64::MAX as u64), 0)?;
        Handle::of(g).map(given)
    })
}

pub unsafe extern "C" fn free(gguf: *mut camelid_gguf) {
    attempt((), || {
        if !gguf.is_null() {
            // SAFETY: made by `given`, and freed once.
            drop(unsafe { Box::from_raw(gguf.cast::<Handle>()) });
        }
        Ok(())
    })
}

pub unsafe extern "C" fn head(gguf: *const camelid_gguf, head: *mut camelid_gguf_head) -> bool {
    attempt(false, || {
        // SAFETY: the caller's promise.
        let h = unsafe { handle(gguf) }?;
        let said = camelid_gguf_head {
            version: h.version,
            alignment: h.alignment() as usize,
            data_offset: usize::try_from(h.data_offset).unwrap_or(usize::MAX),
            n_kv: h.pairs.len(),
            n_tensors: h.tensors.len(),
        };
        // SAFETY: NULL or room for one.
        unsafe { ptr::put(head, said) };
        Ok(true)
    })
}

pub unsafe extern "C" fn find_key(gguf: *const camelid_gguf, key: *const c_char) -> i64 {
    // SAFETY: the caller's promise.
    attempt(-1, || Ok(unsafe { handle(gguf)?.key(text(key, "the key")?) }.map_or(-1, |i| i as i64)))
}

/// (where the elements are, how many; NULL for strings)
fn elements(a: &Array) -> *const c_void {
    match a {
        Array::U8(v) => v.as_ptr().cast(),
        Array::I8(v) => v.as_ptr().cast(),
        Array::U16(v) => v.as_ptr().cast(),
        Array::I16(v) => v.as_ptr().cast(),
        Array::U32(v) => v.as_ptr().cast(),
        Array::I32(v) => v.as_ptr().cast(),
        Array::U64(v) => v.as_ptr().cast(),
        Array::I64(v) => v.as_ptr().cast(),
        Array::F32(v) => v.as_ptr().cast(),
        Array::F64(v) => v.as_ptr().cast(),
        Array::Bool(v) => v.as_ptr().cast(),
        Array::Str(_) => std::ptr::null(),
    }
}

fn number(v: &Value) -> *const c_void {
    match v {
        Value::U8(v) => (&raw const *v).cast(),
        Value::I8(v) => (&raw const *v).cast(),
        Value::U16(v) => (&raw const *v).cast(),
        Value::I16(v) => (&raw const *v).cast(),
        Value::U32(v) => (&raw const *v).cast(),
        Value::I32(v) => (&raw const *v).cast(),
        Value::U64(v) => (&raw const *v).cast(),
        Value::I64(v) => (&raw const *v).cast(),
        Value::F32(v) => (&raw const *v).cast(),
        Value::F64(v) => (&raw const *v).cast(),
        Value::Bool(v) => (&raw const *v).cast(),
        Value::Array(a) => elements(a),
        Value::Str(_) => std::ptr::null(),
    }
}

pub unsafe extern "C" fn kv(gguf: *const camelid_gguf, i: i64, kv: *mut camelid_gguf_kv) -> bool {
    attempt(false, || {
        // SAFETY: the caller's promise.
        let pair = unsafe { handle(gguf) }?.pair(i).ok_or_else(|| invalid(format!("there is no key/value {i}")))?;
        let (element, n) = match &pair.value {
            Value::Array(a) => (type_number(a.type_name()) as c_int, a.len()),
            _ => (-1, 1),
        };
        let kind = type_number(pair.value.type_name()) as c_int;
        // SAFETY: NULL or room for one.
        unsafe { ptr::put(kv, camelid_gguf_kv { key: pair.key.as_ptr(), kind, element, n, data: number(&pair.value) }) };
        Ok(true)
    })
}

pub unsafe extern "C" fn text_at(gguf: *const camelid_gguf, i: i64, j: usize) -> *const c_char {
    attempt(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        let found = unsafe { handle(gguf) }?.pair(i).and_then(|p| p.text(j));
        found.ok_or_else(|| invalid(format!("key/value {i} has no string {j}")))
    })
}

/// Bytes of a number of GGUF's type `kind`; `None` for anything else.
fn width(kind: c_int) -> Option<usize> {
    Some(match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

/// `n` elements of type `kind` as a file has them.
///
/// # Safety
/// `data` is NULL or has them.
unsafe fn spelled(kind: c_int, data: *const c_void, n: usize, out: &mut Vec<u8>) -> Result<()> {
    let missing = || invalid("the value is NULL");
    if kind == STRING {
        // SAFETY: the caller's promise.
        for &s in unsafe { ptr::slice(data.cast::<*const c_char>(), n) }.ok_or_else(missing)? {
            // SAFETY: the caller's promise.
            let s = unsafe { text(s, "a string") }?.to_bytes();
            out.extend((s.len() as u64).to_le_bytes());
            out.extend(s);
        }
        return Ok(());
    }
    let bytes = width(kind).and_then(|w| w.checked_mul(n)).ok_or_else(|| invalid(format!("{kind} is no type of a value")))?;
    // SAFETY: the caller's promise.
    out.extend(unsafe { ptr::slice(data.cast::<u8>(), bytes) }.ok_or_else(missing)?);
    Ok(())
}

pub unsafe extern "C" fn set(
    gguf: *mut camelid_gguf,
    key: *const c_char,
    kind: c_int,
    element: c_int,
    data: *const c_void,
    n: usize,
) -> bool {
    attempt(false, || {
        // SAFETY: the caller's promise.
        let (h, key) = unsafe { (handle_mut(gguf)?, text(key, "the key")?) };
        let name = gguf::parse_key(key.to_bytes()).map_err(|e| e.within("a key"))?;
        let mut bytes = kind.to_le_bytes().to_vec();
        let kind = match kind {
            ARRAY => {
                bytes.extend(element.to_le_bytes());
                bytes.extend((n as u64).to_le_bytes());
                element
            }
            _ => kind,
        };
        // An empty array may come without elements.
        if n > 0 {
            // SAFETY: the caller's promise.
            unsafe { spelled(kind, data, n, &mut bytes) }.map_err(|e| e.within(format_args!("key {name}")))?;
        }
        let value = gguf::parse_value(&bytes).map_err(|e| e.within(format_args!("key {name}")))?;
        if name == "general.alignment" && !matches!(value, Value::U32(a) if a.is_power_of_two()) {
            return Err(invalid("general.alignment must be a u32, and a power of 2"));
        }
        h.set(Pair::new(&name, value)?);
        Ok(true)
    })
}

pub unsafe extern "C" fn remove_key(gguf: *mut camelid_gguf, key: *const c_char) -> i64 {
    attempt(-1, || {
        // SAFETY: the caller's promise.
        let (h, key) = unsafe { (handle_mut(gguf)?, text(key, "the key")?) };
        let Some(i) = h.key(key) else { return Ok(-1) };
        h.pairs.remove(i);
        Ok(i as i64)
    })
}

pub unsafe extern "C" fn set_all(gguf: *mut camelid_gguf, from: *const camelid_gguf) -> bool {
    attempt(false, || {
        if std::ptr::eq(gguf, from) {
            return Ok(!gguf.is_null());
        }
        // SAFETY: the caller's promise, and they are two.
        let (to, from) = unsafe { (handle_mut(gguf)?, handle(from)?) };
        from.pairs.iter().try_for_each(|p| Pair::new(&p.key(), p.value.clone()).map(|p| to.set(p)))?;
        Ok(true)
    })
}

pub unsafe extern "C" fn find_tensor(gguf: *const camelid_gguf, name: *const c_char) -> i64 {
    // SAFETY: the caller's promise.
    attempt(-1, || Ok(unsafe { handle(gguf)?.tensor(text(name, "the name")?) }.map_or(-1, |i| i as i64)))
}

pub unsafe extern "C" fn tensor(gguf: *const camelid_gguf, i: i64, tensor: *mut camelid_gguf_tensor) -> bool {
    attempt(false, || {
        // SAFETY: the caller's promise.
        let h = unsafe { handle(gguf) }?;
        let at = usize::try_from(i).ok().filter(|i| *i < h.tensors.len()).ok_or_else(|| invalid(format!("there is no tensor {i}")))?;
        let t = &h.tensors[at];
        let said = camelid_gguf_tensor {
            name: t.name.as_ptr(),
            kind: t.ty as c_int,
            ne: t.ne.as_ptr(),
            offset: usize::try_from(h.offset(at)?).unwrap_or(usize::MAX),
            size: usize::try_from(t.bytes()?).unwrap_or(usize::MAX),
            data: t.data,
        };
        // SAFETY: NULL or room for one.
        unsafe { ptr::put(tensor, said) };
        Ok(true)
    })
}

pub unsafe extern "C" fn add_tensor(
    gguf: *mut camelid_gguf,
    name: *const c_char,
    kind: c_int,
    n_dims: usize,
    ne: *const i64,
    data: *const c_void,
) -> bool {
    attempt(false, || {
        // SAFETY: the caller's promise.
        let (h, name) = unsafe { (handle_mut(gguf)?, text(name, "the name")?) };
        // SAFETY: the caller's promise.
        let given = unsafe { ptr::slice(ne, n_dims) }.filter(|ne| ne.len() <= 4 && ne.iter().all(|n| *n >= 0));
        let given = given.ok_or_else(|| invalid(format!("tensor {}: not a shape", name.to_string_lossy())))?;
        if h.tensor(name).is_some() {
            return Err(invalid(format!("tensor {} is there already", name.to_string_lossy())));
        }
        let mut ne = [1; 4];
        ne[..given.len()].copy_from_slice(given);
        let t = Tensor { name: name.to_owned(), ty: dtype(kind)?, ne, n_dims, data };
        t.bytes().map_err(|e| e.within(format_args!("tensor {}", t.name())))?;
        h.tensors.push(t);
        Ok(true)
    })
}

pub unsafe extern "C" fn set_tensor_type(gguf: *mut camelid_gguf, name: *const c_char, kind: c_int) -> bool {
    attempt(false, || {
        // SAFETY: the caller's promise.
        let t = unsafe { handle_mut(gguf)?.named(text(name, "the name")?) }?;
        let ty = dtype(kind)?;
        gguf::tensor_bytes(ty, t.ne.map(|n| n as u64)).map_err(|e| e.within(format_args!("tensor {}", t.name())))?;
        t.ty = ty;
        Ok(true)
    })
}

pub unsafe extern "C" fn set_tensor_data(gguf: *mut camelid_gguf, name: *const c_char, data: *const c_void) -> bool {
    attempt(false, || {
        // SAFETY: the caller's promise.
        unsafe { handle_mut(gguf)?.named(text(name, "the name")?) }?.data = data;
        Ok(true)
    })
}

pub unsafe extern "C" fn meta(gguf: *const camelid_gguf, bytes: *mut c_void, size: usize) -> usize {
    attempt(0, || {
        // SAFETY: the caller's promise.
        let all = unsafe { handle(gguf) }?.header()?;
        // SAFETY: NULL or room for `size` bytes.
        if let Some(out) = unsafe { ptr::slice_mut(bytes.cast::<u8>(), size) } {
            let n = all.len().min(out.len());
            out[..n].copy_from_slice(&all[..n]);
        }
        Ok(all.len())
    })
}

/// A file that the caller writes for us.
struct Target {
    call: camelid_write,
    userdata: *mut c_void,
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // SAFETY: whoever gave the function promises its type.
        match unsafe { (self.call)(self.userdata, bytes.as_ptr().cast(), bytes.len()) } {
            true => Ok(bytes.len()),
            false => Err(std::io::Error::other("refused")),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub unsafe extern "C" fn write(gguf: *const camelid_gguf, only_meta: bool, write: Option<camelid_write>, userdata: *mut c_void) -> bool {
    attempt(false, || {
        // SAFETY: the caller's promise.
        let h = unsafe { handle(gguf) }?;
        let mut out = Target { call: write.ok_or_else(|| invalid("the writer is NULL"))?, userdata };
        if only_meta {
            out.write_all(&h.header()?).map_err(|e| Error::io("cannot write a GGUF file", e))?;
            return Ok(true);
        }
        let mut data = h.tensors.iter();
        h.layout()?.write(&mut out, &mut |t, out| {
            let from = data.next().map_or(std::ptr::null(), |t| t.data);
            // SAFETY: whoever gave the data promises a whole tensor.
            let bytes = unsafe { ptr::slice(from.cast::<u8>(), t.bytes) };
            let bytes = bytes.ok_or_else(|| invalid(format!("tensor {} has no data", t.name)))?;
            out.write_all(bytes).map_err(|e| Error::io("cannot write a GGUF file", e))
        })?;
        Ok(true)
    })
}
