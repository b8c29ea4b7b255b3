//! ggml.h: tensor types, and rows of them from and to floats. libllama has the table and the formats; here are its answers under ggml's names.
use crate::abi::TYPE_COUNT;
use crate::ask::{failed, table};
use crate::table::camelid_ggml_type;
use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

const F32: c_int = 0;
const F16: c_int = 1;
const BF16: c_int = 30;

/// What libllama says of a type; `None` for a number that is none.
pub fn info(kind: c_int) -> Option<camelid_ggml_type> {
    let mut info = std::mem::MaybeUninit::uninit();
    let table = table()?;
    // SAFETY: room for one, written where the answer is true.
    unsafe { (table.type_info)(kind, info.as_mut_ptr()).then(|| info.assume_init()) }
}

/// "q4_K" and the like; "none" for a number that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_type_name(kind: c_int) -> *const c_char {
    info(kind).map_or(c"none".as_ptr(), |i| i.name)
}

/// Elements per block; 0 for a number that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_blck_size(kind: c_int) -> i64 {
    info(kind).map_or(0, |i| i.block_len as i64)
}

/// Bytes per block; 0 for a number that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_type_size(kind: c_int) -> usize {
    info(kind).map_or(0, |i| i.block_bytes)
}

/// Bytes of a row of `ne` elements; 0 where they are no whole blocks.
pub fn row_size(kind: c_int, ne: i64) -> usize {
    let size = |i: camelid_ggml_type| {
        let n = usize::try_from(ne).ok()?;
        if n.is_multiple_of(i.block_len.max(1)) { (n / i.block_len.max(1)).checked_mul(i.block_bytes) } else { None }
    };
    info(kind).and_then(size).unwrap_or(0)
}

/// Bytes of a row of `ne` elements; 0 where they are no whole blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_row_size(kind: c_int, ne: i64) -> usize {
    row_size(kind, ne)
}

/// Bytes per element; 0 for a number that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_type_sizef(kind: c_int) -> f64 {
    info(kind).map_or(0.0, |i| i.block_bytes as f64 / i.block_len as f64)
}

/// Whether elements come in blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_quantized(kind: c_int) -> bool {
    info(kind).is_some_and(|i| i.is_quantized)
}

/// (`ggml_ftype`, the type of most of its tensors)
const FTYPES: [(c_int, c_int); 26] = [
    (0, F32),
    (1, F16),
    (2, 2),
    (3, 3),
    (7, 8),
    (8, 6),
    (9, 7),
    (10, 10),
    (11, 11),
    (12, 12),
    (13, 13),
    (14, 14),
    (15, 16),
    (16, 17),
    (17, 18),
    (18, 19),
    (19, 20),
    (20, 21),
    (21, 22),
    (22, 23),
    (23, 29),
    (24, BF16),
    (25, 39),
    (26, 40),
    (27, 41),
    (28, 42),
];

/// The type of most tensors of such a file; `GGML_TYPE_COUNT` for an unknown one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_ftype_to_ggml_type(ftype: c_int) -> c_int {
    FTYPES.iter().find(|(f, _)| *f == ftype).map_or(TYPE_COUNT, |(_, t)| *t)
}

// ---- floats

/// `n` elements of a type as floats; false, and a line in the log, where that cannot be.
///
/// # Safety
/// NULL, or as many elements.
pub unsafe fn to_floats(name: &str, kind: c_int, from: *const c_void, to: *mut f32, n: i64) -> bool {
    // SAFETY: the caller's promise.
    let done = table().is_some_and(|t| unsafe { (t.to_float)(kind, from, to, n) });
    if !done {
        failed(name);
    }
    done
}

/// # Safety
/// NULL, or as many elements.
unsafe fn to_rows(name: &str, kind: c_int, from: *const f32, to: *mut c_void, n_rows: i64, n: i64, importance: *const f32) -> bool {
    // SAFETY: the caller's promise.
    let done = table().is_some_and(|t| unsafe { (t.from_float)(kind, from, to, n_rows, n, importance) });
    if !done {
        failed(name);
    }
    done
}

/// A half as a float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_fp16_to_fp32(half: u16) -> f32 {
    let mut out = 0.0;
    // SAFETY: one element each.
    unsafe { to_floats("ggml_fp16_to_fp32", F16, (&raw const half).cast(), &mut out, 1) };
    out
}

/// A float as a half, to the nearest, ties to even.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_fp32_to_fp16(float: f32) -> u16 {
    let mut out = 0u16;
    // SAFETY: one element each.
    unsafe { to_rows("ggml_fp32_to_fp16", F16, &float, (&raw mut out).cast(), 1, 1, std::ptr::null()) };
    out
}

/// A bfloat16 as a float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_bf16_to_fp32(bf16: u16) -> f32 {
    f32::from_bits(u32::from(bf16) << 16)
}

/// A float as a bfloat16, to the nearest, ties to even.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_fp32_to_bf16(float: f32) -> u16 {
    let mut out = 0u16;
    // SAFETY: one element each.
    unsafe { to_rows("ggml_fp32_to_bf16", BF16, &float, (&raw mut out).cast(), 1, 1, std::ptr::null()) };
    out
}

/// `n` halves as floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_fp16_to_fp32_row(x: *const u16, y: *mut f32, n: i64) {
    // SAFETY: the caller's promise.
    unsafe { to_floats("ggml_fp16_to_fp32_row", F16, x.cast(), y, n) };
}

/// `n` floats as halves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_fp32_to_fp16_row(x: *const f32, y: *mut u16, n: i64) {
    // SAFETY: the caller's promise.
    unsafe { to_rows("ggml_fp32_to_fp16_row", F16, x, y.cast(), 1, n, std::ptr::null()) };
}

/// `n` bfloat16 as floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_bf16_to_fp32_row(x: *const u16, y: *mut f32, n: i64) {
    // SAFETY: the caller's promise.
    unsafe { to_floats("ggml_bf16_to_fp32_row", BF16, x.cast(), y, n) };
}

/// `n` floats as bfloat16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_fp32_to_bf16_row(x: *const f32, y: *mut u16, n: i64) {
    // SAFETY: the caller's promise.
    unsafe { to_rows("ggml_fp32_to_bf16_row", BF16, x, y.cast(), 1, n, std::ptr::null()) };
}

/// The same: there is one way to round.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_fp32_to_bf16_row_ref(x: *const f32, y: *mut u16, n: i64) {
    // SAFETY: the caller's promise.
    unsafe { ggml_fp32_to_bf16_row(x, y, n) }
}

/// Whether every number in `nbytes` bytes of blocks is finite; false also for a type that files do not have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_validate_row_data(kind: c_int, data: *const c_void, nbytes: usize) -> bool {
    // SAFETY: the caller's promise.
    let valid = table().is_some_and(|t| unsafe { (t.is_valid)(kind, data, nbytes) });
    if !valid {
        failed("ggml_validate_row_data");
    }
    valid
}

// ---- quantising

/// Nothing has to be prepared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_quantize_init(_kind: c_int) {}

/// Nothing is kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_quantize_free() {}

/// Whether rows of this type are made with importance only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_quantize_requires_imatrix(kind: c_int) -> bool {
    info(kind).is_some_and(|i| i.needs_importance)
}

/// Quantises `nrows` rows of `n_per_row` floats, from float `start` of `src` into their place in `dst`; `imatrix` is NULL or has a number per column.
/// Returns the bytes that were written; 0, and a line in the log, where that cannot be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_quantize_chunk(
    kind: c_int,
    src: *const f32,
    dst: *mut c_void,
    start: i64,
    nrows: i64,
    n_per_row: i64,
    imatrix: *const f32,
) -> usize {
    let row = row_size(kind, n_per_row);
    let (Ok(n), Ok(start), Ok(rows)) = (usize::try_from(n_per_row), usize::try_from(start), usize::try_from(nrows)) else { return 0 };
    if src.is_null() || dst.is_null() || row == 0 || !start.is_multiple_of(n) {
        crate::log::error("ggml_quantize_chunk: NULL, or rows that are no whole blocks");
        return 0;
    }
    // SAFETY: the caller promises floats and room for `start` elements and the rows behind them.
    let done = unsafe { to_rows("ggml_quantize_chunk", kind, src.add(start), dst.byte_add(start / n * row), nrows, n_per_row, imatrix) };
    if done { rows * row } else { 0 }
}

// ---- what a type can do, as a table

pub type ggml_to_float_t = Option<unsafe extern "C" fn(x: *const c_void, y: *mut f32, k: i64)>;
pub type ggml_from_float_t = Option<unsafe extern "C" fn(x: *const f32, y: *mut c_void, k: i64)>;

#[repr(C)]
pub struct ggml_type_traits {
    type_name: *const c_char,
    blck_size: i64,
    blck_size_interleave: i64,
    type_size: usize,
    is_quantized: bool,
    to_float: ggml_to_float_t,
    from_float_ref: ggml_from_float_t,
}

// SAFETY: names and functions, never written.
unsafe impl Sync for ggml_type_traits {}
// SAFETY: as above.
unsafe impl Send for ggml_type_traits {}

unsafe extern "C" fn to_float_of<const KIND: c_int>(x: *const c_void, y: *mut f32, k: i64) {
    // SAFETY: the caller's promise.
    unsafe { to_floats("ggml_type_traits.to_float", KIND, x, y, k) };
}

unsafe extern "C" fn from_float_of<const KIND: c_int>(x: *const f32, y: *mut c_void, k: i64) {
    // SAFETY: the caller's promise.
    unsafe { to_rows("ggml_type_traits.from_float_ref", KIND, x, y, 1, k, std::ptr::null()) };
}

fn traits<const KIND: c_int>() -> ggml_type_traits {
    let (to, from): (ggml_to_float_t, ggml_from_float_t) = (Some(to_float_of::<KIND>), Some(from_float_of::<KIND>));
    match info(KIND) {
        Some(i) => ggml_type_traits {
            type_name: i.name,
            blck_size: i.block_len as i64,
            blck_size_interleave: 0,
            type_size: i.block_bytes,
            is_quantized: i.is_quantized,
            to_float: to.filter(|_| KIND != F32),
            from_float_ref: from.filter(|_| KIND != F32),
        },
        None => ggml_type_traits {
            type_name: c"none".as_ptr(),
            blck_size: 0,
            blck_size_interleave: 0,
            type_size: 0,
            is_quantized: false,
            to_float: None,
            from_float_ref: None,
        },
    }
}

/// Everything that is said of a type in one place; of a number that is none: "none". NULL where there is no libllama to ask. The functions write
/// nothing, and a line in the log, where a type cannot be read or made without importance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_type_traits(kind: c_int) -> *const ggml_type_traits {
    static ALL: OnceLock<[ggml_type_traits; TYPE_COUNT as usize]> = OnceLock::new();
    if table().is_none() {
        return std::ptr::null();
    }
    #[rustfmt::skip]
    let all = ALL.get_or_init(|| [
        traits::<0>(), traits::<1>(), traits::<2>(), traits::<3>(), traits::<4>(), traits::<5>(),
        traits::<6>(), traits::<7>(), traits::<8>(), traits::<9>(), traits::<10>(), traits::<11>(),
        traits::<12>(), traits::<13>(), traits::<14>(), traits::<15>(), traits::<16>(), traits::<17>(),
        traits::<18>(), traits::<19>(), traits::<20>(), traits::<21>(), traits::<22>(), traits::<23>(),
        traits::<24>(), traits::<25>(), traits::<26>(), traits::<27>(), traits::<28>(), traits::<29>(),
        traits::<30>(), traits::<31>(), traits::<32>(), traits::<33>(), traits::<34>(), traits::<35>(),
        traits::<36>(), traits::<37>(), traits::<38>(), traits::<39>(), traits::<40>(), traits::<41>(),
        traits::<42>(),
    ]);
    usize::try_from(kind).ok().and_then(|i| all.get(i)).map_or(std::ptr::null(), std::ptr::from_ref)
}
