//! Where libllama is, and its table. Looked for when it is needed: in the program, among what it has loaded, then beside this library.
use crate::log;
use crate::table::camelid_ggml_table as Table;
use std::ffi::{CStr, CString, c_void};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

const FUNCTION: &CStr = c"camelid_ggml_table";
const LIBRARIES: [&CStr; 2] = [c"libllama.so.0", c"libllama.so"];
/// Of the table that this library was written for.
const VERSION: u32 = 1;

/// libllama's functions; `None`, and a line in the log once, where there is no libllama of Camelid.
pub fn table() -> Option<&'static Table> {
    static FOUND: AtomicPtr<Table> = AtomicPtr::new(std::ptr::null_mut());
    static TOLD: Once = Once::new();
    // SAFETY: a table lives as long as its library, which is never unloaded.
    if let Some(t) = unsafe { FOUND.load(Ordering::Acquire).as_ref() } {
        return Some(t);
    }
    let found = find();
    match found {
        Some(t) => FOUND.store(std::ptr::from_ref(t).cast_mut(), Ordering::Release),
        None => TOLD
            .call_once(|| log::error("libggml: there is no libllama of Camelid; types, devices and GGUF files cannot be had without it")),
    }
    found
}

/// Why a function of the table failed, into the log.
pub fn failed(name: &str) {
    if let Some(t) = table() {
        // SAFETY: a terminated string, good until this thread asks again.
        let why = unsafe { CStr::from_ptr((t.last_error)()) };
        log::error(&format!("{name}: {}", why.to_string_lossy()));
    }
}

fn find() -> Option<&'static Table> {
    in_library(libc::RTLD_DEFAULT).or_else(|| LIBRARIES.iter().find_map(|l| open(l, libc::RTLD_NOLOAD))).or_else(beside)
}

fn open(path: &CStr, how: i32) -> Option<&'static Table> {
    // SAFETY: a terminated string. The handle is kept: whoever was found is used from now on.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | how) };
    if handle.is_null() { None } else { in_library(handle) }
}

fn in_library(handle: *mut c_void) -> Option<&'static Table> {
    // SAFETY: a handle of the loader and a terminated string.
    let function = unsafe { libc::dlsym(handle, FUNCTION.as_ptr()) };
    if function.is_null() {
        return None;
    }
    // SAFETY: only libllama of Camelid has this name, and it is such a function.
    let table = unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *const Table>(function)().as_ref() }?;
    (table.version == VERSION && table.size >= size_of::<Table>()).then_some(table)
}

/// In the folder of this library, also where that is a link.
fn beside() -> Option<&'static Table> {
    // SAFETY: zeroes are a valid Dl_info, and the address is one of this library's.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    if unsafe { libc::dladdr(open as *const c_void, &mut info) } == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own string.
    let me = unsafe { CStr::from_ptr(info.dli_fname) }.to_string_lossy().into_owned();
    let real = std::fs::canonicalize(&me).unwrap_or_default();
    let folders = [Path::new(&me).parent(), real.parent()];
    let files = folders.into_iter().flatten().flat_map(|dir| LIBRARIES.iter().map(move |l| dir.join(l.to_string_lossy().as_ref())));
    files.filter_map(|f| CString::new(f.into_os_string().into_encoded_bytes()).ok()).find_map(|f| open(&f, 0))
}
