//! `cuGetProcAddress`: functions by the names without versions, under which programs ask for them.
use super::{In, NOT_FOUND, Out, call};
use std::ffi::c_char;

unsafe extern "C" {
    fn dlsym(handle: *mut u8, name: *const c_char) -> usize;
    fn dladdr(address: *const u8, info: *mut [usize; 4]) -> i32;
    fn dlopen(file: *const c_char, flags: i32) -> *mut u8;
}

const RTLD_NOW: i32 = 2;
const RTLD_NOLOAD: i32 = 4;

/// A function of this library. It is asked for in the library itself: it may not be among the names that everybody sees.
fn exported(name: &str) -> Option<usize> {
    let name = std::ffi::CString::new(name).ok()?;
    let mut info = [0; 4];
    // SAFETY: the address is one of this library, `info` has the four words of a Dl_info, whose first is a path or NULL; names end with zeros.
    let found = unsafe {
        if dladdr(exported as *const u8, &mut info) == 0 {
            return None;
        }
        dlsym(dlopen(info[0] as *const c_char, RTLD_NOW | RTLD_NOLOAD), name.as_ptr())
    };
    (found != 0).then_some(found)
}

#[unsafe(no_mangle)]
extern "C" fn cuGetProcAddress_v2(name: In<c_char>, out: Out<usize>, _version: i32, _flags: u64, status: Out<u32>) -> u32 {
    call("cuGetProcAddress_v2", |_| {
        let name = name.text()?;
        let found = exported(&format!("{name}_v2")).or_else(|| exported(name));
        out.put(found.unwrap_or(0))?;
        // CU_GET_PROC_ADDRESS_SUCCESS, _SYMBOL_NOT_FOUND
        status.put_if_wanted(u32::from(found.is_none()));
        if found.is_some() { Ok(()) } else { Err(NOT_FOUND) }
    })
}
