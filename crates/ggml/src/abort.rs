//! ggml.h: the two functions with arguments in the manner of printf. Rust cannot define such functions yet, so a few instructions make the list of
//! arguments that `vsnprintf` takes. On other processors than x86-64 the format is printed as it stands.
use crate::abi::{MAX_NAME, ggml_tensor};
use crate::ptr;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Mutex;

pub type ggml_abort_callback_t = Option<unsafe extern "C" fn(error_message: *const c_char)>;

static CALLBACK: Mutex<ggml_abort_callback_t> = Mutex::new(None);

unsafe extern "C" {
    fn vsnprintf(s: *mut c_char, n: usize, format: *const c_char, arguments: *mut c_void) -> c_int;
}

/// What is told before `ggml_abort` ends the process; NULL: the message goes to stderr. Returns the one before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_set_abort_callback(callback: ggml_abort_callback_t) -> ggml_abort_callback_t {
    std::mem::replace(&mut *CALLBACK.lock().unwrap_or_else(|p| p.into_inner()), callback)
}

/// `format` and its arguments into `out`, cut to its size; `arguments` NULL: the format as it stands.
///
/// # Safety
/// A terminated format and, where they are not NULL, the arguments that it names.
unsafe fn print(out: &mut [c_char], format: *const c_char, arguments: *mut c_void) {
    let Some(last) = out.len().checked_sub(1) else { return };
    // SAFETY: the caller's promise.
    let plain = unsafe { ptr::text(format) }.unwrap_or(c"").to_bytes();
    if arguments.is_null() || format.is_null() {
        out.iter_mut().zip(plain).take(last).for_each(|(o, b)| *o = *b as c_char);
        out[plain.len().min(last)] = 0;
    } else {
        // SAFETY: as many bytes as the slice has, and the caller's promise.
        unsafe { vsnprintf(out.as_mut_ptr(), out.len(), format, arguments) };
    }
}

unsafe extern "C" fn abort_with(file: *const c_char, line: c_int, format: *const c_char, arguments: *mut c_void) -> ! {
    let mut message = [0; 2048];
    // SAFETY: the caller's promise.
    let file = unsafe {
        print(&mut message, format, arguments);
        ptr::text(file).unwrap_or(c"?")
    };
    // SAFETY: terminated by `print`.
    let what = unsafe { CStr::from_ptr(message.as_ptr()) };
    let text = format!("{}:{line}: {}", file.to_string_lossy(), what.to_string_lossy());
    let callback = *CALLBACK.lock().unwrap_or_else(|p| p.into_inner());
    match callback {
        // SAFETY: a function of this type, as was promised; a terminated string.
        Some(call) => unsafe { call(CString::new(text).unwrap_or_default().as_ptr()) },
        None => eprintln!("{text}"),
    }
    // SAFETY: NULL: every stream.
    unsafe { libc::fflush(std::ptr::null_mut()) };
    std::process::abort()
}

unsafe extern "C" fn name_with(tensor: *mut ggml_tensor, format: *const c_char, arguments: *mut c_void) -> *mut ggml_tensor {
    let mut name = [0; MAX_NAME];
    // SAFETY: the caller's promise; NULL or a tensor.
    unsafe {
        print(&mut name, format, arguments);
        if let Some(t) = tensor.as_mut() {
            t.name = name;
        }
    }
    tensor
}

/// The list of arguments beyond the first `$named`, as System V has it on x86-64, in the register of the next argument: registers are put where the
/// list says that they are, then the function is called that takes a list.
#[cfg(target_arch = "x86_64")]
macro_rules! variadic {
    ($named:literal, $list:literal, $with:path) => {
        core::arch::naked_asm!(
            "sub rsp, 216",
            "mov [rsp + 32], rdi",
            "mov [rsp + 40], rsi",
            "mov [rsp + 48], rdx",
            "mov [rsp + 56], rcx",
            "mov [rsp + 64], r8",
            "mov [rsp + 72], r9",
            "test al, al",
            "je 2f",
            "movaps [rsp + 80], xmm0",
            "movaps [rsp + 96], xmm1",
            "movaps [rsp + 112], xmm2",
            "movaps [rsp + 128], xmm3",
            "movaps [rsp + 144], xmm4",
            "movaps [rsp + 160], xmm5",
            "movaps [rsp + 176], xmm6",
            "movaps [rsp + 192], xmm7",
            "2:",
            concat!("mov dword ptr [rsp], ", $named, " * 8"),
            "mov dword ptr [rsp + 4], 48",
            "lea rax, [rsp + 224]",
            "mov [rsp + 8], rax",
            "lea rax, [rsp + 32]",
            "mov [rsp + 16], rax",
            concat!("mov ", $list, ", rsp"),
            "call {with}",
            "add rsp, 216",
            "ret",
            with = sym $with
        )
    };
}

/// Ends the process with a message in the manner of printf. The only function here that does.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_abort(file: *const c_char, line: c_int, fmt: *const c_char) -> ! {
    variadic!(3, "rcx", abort_with)
}

/// A tensor's name in the manner of printf, cut to 63 bytes. Returns the tensor.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_format_name(tensor: *mut ggml_tensor, fmt: *const c_char) -> *mut ggml_tensor {
    variadic!(2, "rdx", name_with)
}

#[cfg(not(target_arch = "x86_64"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_abort(file: *const c_char, line: c_int, fmt: *const c_char) -> ! {
    // SAFETY: the caller's promise.
    unsafe { abort_with(file, line, fmt, std::ptr::null_mut()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_format_name(tensor: *mut ggml_tensor, fmt: *const c_char) -> *mut ggml_tensor {
    // SAFETY: the caller's promise.
    unsafe { name_with(tensor, fmt, std::ptr::null_mut()) }
}
