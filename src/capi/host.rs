//! The libggml that the program brought along, if it brought one: the original's, or ours. Its devices, buffer types, tensors' buffers and gguf
//! contexts are its own things; whoever needs one asks the library it came from, by the names of its C functions, and looks into none of them.
use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

/// Where the original keeps its functions, in the order in which they are looked for.
const LIBRARIES: [&CStr; 6] =
    [c"libggml-base.so.0", c"libggml-base.so", c"libggml.so.0", c"libggml.so", c"libggml-cpu.so.0", c"libggml-cpu.so"];

/// The address of `name` in the program, or in a libggml that it loaded for itself; `None` where there is none. Nothing is ever loaded for it.
/// A library may come later, so absence is not remembered.
pub fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: a terminated string; the default handle needs no library.
    let global = NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) });
    global.or_else(|| LIBRARIES.iter().find_map(|library| within(library, name)))
}

/// The same in one library, by its name.
pub fn within(library: &CStr, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: a terminated string; a library that is not loaded is not loaded by this either.
    let handle = NonNull::new(unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) })?;
    // SAFETY: a handle that was just given; the program keeps the library open for itself, so the address outlives this handle.
    unsafe {
        let found = NonNull::new(libc::dlsym(handle.as_ptr(), name.as_ptr()));
        libc::dlclose(handle.as_ptr());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_has_is_found_and_nothing_else() {
        assert!(symbol(c"malloc").is_some());
        assert!(symbol(c"ggml_of_nobody").is_none());
    }
}
