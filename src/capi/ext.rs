//! camelid.h: what the original does not have.
#![allow(non_camel_case_types, reason = "the names of a C header")]
use super::boundary::{attempt, guard};
use super::context::init;
use super::convert;
use super::handles::with_context;
use super::types::*;
use camelid_kv::*;
use platform::{Backing, Error, Result, log};
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};

thread_local! { static LAST: RefCell<CString> = RefCell::default(); }

/// The newest error of this thread, in words; "" where there was none. Good until this thread asks again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_last_error() -> *const c_char {
    guard(c"".as_ptr(), || {
        let text = CString::new(log::last_error().replace('\0', "\u{fffd}")).unwrap_or_default();
        LAST.with_borrow_mut(|l| {
            *l = text;
            l.as_ptr()
        })
    })
}

/// The version of this library; `llama_version` is the one of the API.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

// ---- contexts

/// What the KV store of a context lies in.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum camelid_kv {
    /// what the environment says (`CAMELID_KV`), else `CAMELID_KV_MMAP`
    CAMELID_KV_DEFAULT = 0,
    /// pages that come with use and go when cells are removed
    CAMELID_KV_MMAP = 1,
    /// one allocation, touched when the context is made
    CAMELID_KV_HEAP = 2,
    /// a nameless file in `kv_dir`: what does not fit into memory goes to the disk
    CAMELID_KV_FILE = 3,
}

/// cbindgen:ignore
pub type camelid_kv_int = c_int;

/// What can be said of a context beyond `llama_context_params`. Start from `camelid_context_default_params`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct camelid_context_params {
    /// of this struct, as the caller knows it: fields are only ever added at the end
    pub size: usize,
    pub kv: camelid_kv_int,
    /// folder of the file of `CAMELID_KV_FILE`
    pub kv_dir: *const c_char,
    /// For models with sliding windows and swa_full off: every how many tokens a window is kept, so that any position can be gone back to
    /// (`llama_memory_seq_rm` succeeds) and at most as many tokens are computed again; 0: never, 1: every 512, -1: what `CAMELID_SWA_SNAPSHOTS` says
    pub swa_snapshots: i32,
}

impl camelid_context_params {
    const DEFAULT: camelid_context_params = camelid_context_params {
        size: size_of::<camelid_context_params>(),
        kv: CAMELID_KV_DEFAULT as c_int,
        kv_dir: std::ptr::null(),
        swa_snapshots: -1,
    };

    /// As many fields as the caller knows; defaults for the others.
    ///
    /// # Safety
    /// NULL, or as many bytes as its first field says.
    unsafe fn read(p: *const camelid_context_params) -> Result<camelid_context_params> {
        let mut all = Self::DEFAULT;
        if p.is_null() {
            return Ok(all);
        }
        // SAFETY: the caller's promise: there is a first field.
        let size = unsafe { (&raw const (*p).size).read() };
        if !(size_of::<usize>()..=4096).contains(&size) {
            return Err(Error::invalid(format!("camelid_context_params.size is {size}: start from camelid_context_default_params")));
        }
        // SAFETY: no more bytes than there are, and than `all` has; every field is an integer or a pointer, which any bytes are.
        unsafe { std::ptr::copy_nonoverlapping(p.cast::<u8>(), (&raw mut all).cast::<u8>(), size.min(size_of_val(&all))) };
        Ok(all)
    }

    /// # Safety
    /// `kv_dir` is NULL or a terminated string.
    unsafe fn backing(&self) -> Result<Option<Backing>> {
        Ok(match self.kv {
            k if k == CAMELID_KV_DEFAULT as c_int => None,
            k if k == CAMELID_KV_MMAP as c_int => Some(Backing::Mmap),
            k if k == CAMELID_KV_HEAP as c_int => Some(Backing::Heap),
            k if k == CAMELID_KV_FILE as c_int => {
                // SAFETY: the caller's promise.
                let dir = unsafe { convert::path(self.kv_dir) };
                Some(Backing::File(dir.map_err(|e| e.within("kv_dir"))?))
            }
            k => return Err(Error::invalid(format!("kv is {k}, allowed are 0 to 3"))),
        })
    }
}

/// The parameters to start from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_context_default_params() -> camelid_context_params {
    camelid_context_params::DEFAULT
}

/// `llama_init_from_model` with more to say; `more` may be NULL. What is said here wins over the environment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_init_from_model(
    model: ModelPtr<'_>,
    params: llama_context_params,
    more: *const camelid_context_params,
) -> *mut llama_context {
    attempt(std::ptr::null_mut(), || {
        // SAFETY: the caller's promise: NULL, or a struct as its first field says, with a string or NULL in it.
        let (more, kv) = unsafe {
            let more = camelid_context_params::read(more)?;
            (more, more.backing()?)
        };
        init(model, &params, |p| (p.kv, p.swa_snapshots) = (kv, u32::try_from(more.swa_snapshots).ok()))
    })
}

/// Whether a decode of `seq_id` could go on at position `p` once what is there and behind it is removed: what its windows show of the positions
/// before is there or can be brought back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_can_continue(ctx: Option<&llama_context>, seq_id: llama_seq_id, p: llama_pos) -> bool {
    let Ok(seq) = u32::try_from(seq_id) else { return false };
    with_context("camelid_can_continue", ctx.map(|c| &c.0.ctx), false, |c| c.can_continue(seq, p))
}

/// Bytes of the context's KV store that are in memory now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_kv_resident(ctx: Option<&llama_context>) -> u64 {
    with_context("camelid_kv_resident", ctx.map(|c| &c.0.ctx), 0, |c| c.kv_resident() as u64)
}
