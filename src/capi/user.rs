//! Models that are in no file: key/values in a gguf_context of the program's libggml, tensors filled by its callback. They are written down as
//! a file in memory first, which is then loaded like any other.
use super::convert::UserData;
use super::tensor::{HostBuffer, four};
use super::types::*;
use super::{host, ptr};
use crate::gguf::{Array, DType, Layout, LoadMode, Meta, NewTensor, Source, TensorInfo, Value};
use crate::model::Model;
use platform::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io::BufWriter;
use std::os::fd::FromRawFd;

type Context = *const gguf_context;

type Count = unsafe extern "C" fn(Context) -> i64;
type Number = unsafe extern "C" fn(Context, i64) -> c_int;
type Size = unsafe extern "C" fn(Context, i64) -> usize;
type Text = unsafe extern "C" fn(Context, i64) -> *const c_char;
type Data = unsafe extern "C" fn(Context, i64) -> *const c_void;
type Element = unsafe extern "C" fn(Context, i64, usize) -> *const c_char;
type Find = unsafe extern "C" fn(Context, *const c_char) -> i64;

/// A function of the program's libggml.
fn function(name: &CStr) -> Result<*mut c_void> {
    let found = host::symbol(name).map(|p| p.as_ptr());
    found.ok_or_else(|| Error::unsupported(format!("this program has no {}: metadata comes from a libggml", name.to_string_lossy())))
}

/// The functions by which a gguf_context is read.
struct Reader {
    n_kv: Count,
    key: Text,
    kv_type: Number,
    val_data: Data,
    val_str: Text,
    arr_type: Number,
    arr_n: Size,
    arr_data: Data,
    arr_str: Element,
    find_tensor: Find,
    tensor_type: Number,
}

impl Reader {
    fn new() -> Result<Reader> {
        use std::mem::transmute as typed;
        // SAFETY: ggml's functions of these names have these types (gguf.h).
        unsafe {
            Ok(Reader {
                n_kv: typed::<*mut c_void, Count>(function(c"gguf_get_n_kv")?),
                key: typed::<*mut c_void, Text>(function(c"gguf_get_key")?),
                kv_type: typed::<*mut c_void, Number>(function(c"gguf_get_kv_type")?),
                val_data: typed::<*mut c_void, Data>(function(c"gguf_get_val_data")?),
                val_str: typed::<*mut c_void, Text>(function(c"gguf_get_val_str")?),
                arr_type: typed::<*mut c_void, Number>(function(c"gguf_get_arr_type")?),
                arr_n: typed::<*mut c_void, Size>(function(c"gguf_get_arr_n")?),
                arr_data: typed::<*mut c_void, Data>(function(c"gguf_get_arr_data")?),
                arr_str: typed::<*mut c_void, Element>(function(c"gguf_get_arr_str")?),
                find_tensor: typed::<*mut c_void, Find>(function(c"gguf_find_tensor")?),
                tensor_type: typed::<*mut c_void, Number>(function(c"gguf_get_tensor_type")?),
            })
        }
    }

    /// # Safety
    /// A context of the library that the functions are of; likewise below.
    unsafe fn meta(&self, ctx: Context) -> Result<Meta> {
        // SAFETY: the caller's promise; indices below the count.
        let one = |i| unsafe {
            let key = text((self.key)(ctx, i));
            let value = self.value(ctx, i).map_err(|e| e.within(String::from_utf8_lossy(&key)))?;
            Ok((String::from_utf8_lossy(&key).into_owned(), value))
        };
        // SAFETY: the caller's promise.
        let n = unsafe { (self.n_kv)(ctx) };
        (0..n).map(one).collect::<Result<Vec<_>>>().map(Meta::new)
    }

    /// # Safety
    /// As for `meta`, and `i` is the index of a key.
    unsafe fn value(&self, ctx: Context, i: i64) -> Result<Value> {
        // SAFETY: the caller's promise; what is asked for is what the type says is there.
        unsafe {
            let at = |_| (self.val_data)(ctx, i);
            Ok(match (self.kv_type)(ctx, i) {
                0 => Value::U8(one(at(()))),
                1 => Value::I8(one(at(()))),
                2 => Value::U16(one(at(()))),
                3 => Value::I16(one(at(()))),
                4 => Value::U32(one(at(()))),
                5 => Value::I32(one(at(()))),
                6 => Value::F32(one(at(()))),
                7 => Value::Bool(one::<u8>(at(())) != 0),
                8 => Value::Str(text((self.val_str)(ctx, i))),
                9 => Value::Array(self.array(ctx, i)?),
                10 => Value::U64(one(at(()))),
                11 => Value::I64(one(at(()))),
                12 => Value::F64(one(at(()))),
                ty => return Err(Error::invalid(format!("a value of type {ty}"))),
            })
        }
    }

    /// # Safety
    /// As for `value`, of an array.
    unsafe fn array(&self, ctx: Context, i: i64) -> Result<Array> {
        // SAFETY: as for `value`.
        unsafe {
            let (ty, n) = ((self.arr_type)(ctx, i), (self.arr_n)(ctx, i));
            if ty == 8 {
                return Ok(Array::Str((0..n).map(|j| text((self.arr_str)(ctx, i, j))).collect()));
            }
            let at = (self.arr_data)(ctx, i);
            Ok(match ty {
                0 => Array::U8(many(at, n)),
                1 => Array::I8(many(at, n)),
                2 => Array::U16(many(at, n)),
                3 => Array::I16(many(at, n)),
                4 => Array::U32(many(at, n)),
                5 => Array::I32(many(at, n)),
                6 => Array::F32(many(at, n)),
                7 => Array::Bool(many::<u8>(at, n).into_iter().map(|b| b != 0).collect()),
                10 => Array::U64(many(at, n)),
                11 => Array::I64(many(at, n)),
                12 => Array::F64(many(at, n)),
                ty => return Err(Error::invalid(format!("an array of type {ty}"))),
            })
        }
    }

    /// The type that the context gives a tensor of that name, else F32.
    ///
    /// # Safety
    /// As for `meta`.
    unsafe fn type_of(&self, ctx: Context, name: &str) -> Result<DType> {
        let c = CString::new(name).unwrap_or_default();
        // SAFETY: the caller's promise; an index that was just given.
        let ty = unsafe {
            match (self.find_tensor)(ctx, c.as_ptr()) {
                i if i >= 0 => (self.tensor_type)(ctx, i),
                _ => DType::F32 as c_int,
            }
        };
        let known = u32::try_from(ty).ok().and_then(DType::from_ggml);
        known.ok_or_else(|| Error::invalid(format!("tensor '{name}' is of type {ty}")))
    }
}

/// # Safety
/// NULL or a terminated string.
unsafe fn text(p: *const c_char) -> Vec<u8> {
    // SAFETY: the caller's promise.
    unsafe { ptr::text(p) }.unwrap_or_default().to_vec()
}

/// # Safety
/// There is a T, at any address.
unsafe fn one<T: Copy>(p: *const c_void) -> T {
    // SAFETY: the caller's promise.
    unsafe { p.cast::<T>().read_unaligned() }
}

/// # Safety
/// There are `n` of T, at any address; NULL where there are none.
unsafe fn many<T: Copy>(p: *const c_void, n: usize) -> Vec<T> {
    // SAFETY: the caller's promise.
    (0..n).map(|i| unsafe { p.cast::<T>().add(i).read_unaligned() }).collect()
}

/// The model's file, in memory: the architecture's tensors as `fill` leaves them.
///
/// # Safety
/// `metadata` is NULL or a context of the program's libggml; `fill` is as llama.h says.
pub unsafe fn source(metadata: Context, fill: llama_model_set_tensor_data_t, data: *mut c_void) -> Result<Source> {
    let fill = fill.ok_or_else(|| Error::invalid("set_tensor_data is NULL"))?;
    if metadata.is_null() {
        return Err(Error::invalid("the metadata is NULL"));
    }
    let reader = Reader::new()?;
    // SAFETY: the caller's promise.
    let meta = unsafe { reader.meta(metadata) }?;
    let new = |w: crate::model::Wanted| {
        let shape = w.shape.map(u64::from).to_vec();
        // SAFETY: the caller's promise.
        Ok(NewTensor { ty: unsafe { reader.type_of(metadata, &w.name) }?, name: w.name, shape })
    };
    let tensors = Model::wanted(&meta)?.into_iter().map(new).collect::<Result<Vec<_>>>()?;
    let layout = Layout::new(&meta, &tensors)?;
    let file = memory()?;
    let mut out = BufWriter::new(&file);
    let (buffer, data) = (HostBuffer::new(), UserData(data));
    layout.write(&mut out, &mut |info, out| {
        let mut bytes = platform::error::try_zeroed::<u64>((info.bytes as usize).div_ceil(8), &info.name)?;
        let mut t = tensor(info);
        (t.buffer, t.data) = (buffer.get(), bytes.as_mut_ptr().cast());
        // SAFETY: a function of this type, with a tensor whose bytes are there until it returns; it is the only one to write them.
        let filled = unsafe {
            fill(&raw mut t, data.get());
            std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), info.bytes as usize)
        };
        out.write_all(filled).map_err(|e| Error::io(&info.name, e))
    })?;
    drop(out);
    Source::from_file(file, 0, LoadMode::Auto)
}

/// What the callback sees: as many dimensions as ggml would count.
fn tensor(info: &TensorInfo) -> ggml_tensor {
    let ne = [info.shape[0] as usize, info.shape[1] as usize, info.shape[2] as usize];
    ggml_tensor { ne: four(ne), ..ggml_tensor::weight(&info.name, info.ty, ne) }
}

/// A file without a name or a disk.
fn memory() -> Result<File> {
    // SAFETY: a terminated string; the descriptor is checked and owned by the file from then on.
    unsafe {
        match libc::memfd_create(c"camelid-model".as_ptr(), libc::MFD_CLOEXEC) {
            -1 => Err(Error::io("memory for a model", std::io::Error::last_os_error())),
            fd => Ok(File::from_raw_fd(fd)),
        }
    }
}
