//! The driver's C functions, in processes of their own: each test runs itself again with the environment that it wants, through `libmockcuda`'s symbols.
use mockcuda as _;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

type P = *mut c_void;

unsafe extern "C" {
    fn cuInit(flags: u32) -> u32;
    fn cuDriverGetVersion(v: *mut i32) -> u32;
    fn cuGetErrorName(code: u32, out: *mut *const c_char) -> u32;
    fn cuDeviceGetCount(n: *mut i32) -> u32;
    fn cuDeviceGet(d: *mut i32, i: i32) -> u32;
    fn cuDeviceGetName(name: *mut c_char, len: i32, d: i32) -> u32;
    fn cuDeviceTotalMem_v2(n: *mut usize, d: i32) -> u32;
    fn cuDeviceGetAttribute(v: *mut i32, a: i32, d: i32) -> u32;
    fn cuDevicePrimaryCtxRetain(c: *mut P, d: i32) -> u32;
    fn cuDevicePrimaryCtxRelease_v2(d: i32) -> u32;
    fn cuCtxSetCurrent(c: P) -> u32;
    fn cuCtxGetCurrent(c: *mut P) -> u32;
    fn cuCtxSynchronize() -> u32;
    fn cuCtxEnablePeerAccess(peer: P, flags: u32) -> u32;
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32;
    fn cuMemAlloc_v2(at: *mut u64, n: usize) -> u32;
    fn cuMemFree_v2(at: u64) -> u32;
    fn cuMemHostAlloc(at: *mut P, n: usize, flags: u32) -> u32;
    fn cuMemFreeHost(at: P) -> u32;
    fn cuMemHostRegister_v2(at: P, n: usize, flags: u32) -> u32;
    fn cuMemHostUnregister(at: P) -> u32;
    fn cuMemHostGetDevicePointer_v2(out: *mut u64, at: P, flags: u32) -> u32;
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, n: usize) -> u32;
    fn cuMemcpyDtoH_v2(to: P, from: u64, n: usize) -> u32;
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, n: usize, s: P) -> u32;
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, n: usize, s: P) -> u32;
    fn cuMemcpy2DAsync_v2(what: *const [u64; 16], s: P) -> u32;
    fn cuMemcpyBatchAsync(
        to: *mut u64,
        from: *mut u64,
        n: *mut usize,
        count: usize,
        a: *mut [u32; 6],
        of: *mut usize,
        na: usize,
        bad: *mut usize,
        s: P,
    ) -> u32;
    fn cuMemsetD32Async(to: u64, v: u32, n: usize, s: P) -> u32;
    fn cuStreamCreate(s: *mut P, flags: u32) -> u32;
    fn cuStreamDestroy_v2(s: P) -> u32;
    fn cuStreamSynchronize(s: P) -> u32;
    fn cuStreamBeginCapture_v2(s: P, mode: u32) -> u32;
    fn cuStreamEndCapture(s: P, g: *mut P) -> u32;
    fn cuStreamIsCapturing(s: P, status: *mut u32) -> u32;
    fn cuStreamWaitEvent(s: P, e: P, flags: u32) -> u32;
    fn cuEventCreate(e: *mut P, flags: u32) -> u32;
    fn cuEventRecord(e: P, s: P) -> u32;
    fn cuEventElapsedTime(ms: *mut f32, a: P, b: P) -> u32;
    fn cuGraphInstantiateWithFlags(x: *mut P, g: P, flags: u64) -> u32;
    fn cuGraphLaunch(x: P, s: P) -> u32;
    fn cuGraphExecUpdate_v2(x: P, g: P, info: *mut [usize; 3]) -> u32;
    fn cuGraphDestroy(g: P) -> u32;
    fn cuGraphExecDestroy(x: P) -> u32;
    fn cuModuleLoadData(m: *mut P, text: *const c_char) -> u32;
    fn cuModuleUnload(m: P) -> u32;
    fn cuModuleGetFunction(f: *mut P, m: P, name: *const c_char) -> u32;
    fn cuModuleGetGlobal_v2(at: *mut u64, n: *mut usize, m: P, name: *const c_char) -> u32;
    fn cuFuncSetAttribute(f: P, a: i32, v: i32) -> u32;
    fn cuLaunchKernel(f: P, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32, s: P, params: *mut P, extra: *mut P) -> u32;
    fn cuMemAddressReserve(at: *mut u64, n: usize, align: usize, hint: u64, flags: u64) -> u32;
    fn cuMemAddressFree(at: u64, n: usize) -> u32;
    fn cuMemCreate(h: *mut u64, n: usize, p: *const [u32; 8], flags: u64) -> u32;
    fn cuMemRelease(h: u64) -> u32;
    fn cuMemMap(at: u64, n: usize, offset: usize, h: u64, flags: u64) -> u32;
    fn cuMemUnmap(at: u64, n: usize) -> u32;
    fn cuMemSetAccess(at: u64, n: usize, a: *const [u32; 3], count: usize) -> u32;
    fn cuPointerGetAttribute(data: *mut c_void, a: i32, at: u64) -> u32;
    fn camelid_mock_calls(name: *const c_char) -> u64;
    fn camelid_mock_bytes(kind: *const c_char) -> u64;
    fn camelid_mock_reset();
}

/// y[i] += 1 for i < n, one thread each; a table in constant memory.
const TEXT: &std::ffi::CStr = c".version 8.0
.target sm_75
.address_size 64
.const .align 4 .u32 table[2] = {5, 6};
.visible .entry add_one(.param .u64 add_one_0, .param .u32 add_one_1)
{
.reg .pred %p<2>;
.reg .b32 %r<4>;
.reg .b64 %rd<4>;
mov.u32 %r1, %tid.x;
ld.param.u32 %r2, [add_one_1];
setp.ge.u32 %p1, %r1, %r2;
@%p1 ret;
ld.param.u64 %rd1, [add_one_0];
mul.wide.u32 %rd2, %r1, 4;
add.s64 %rd3, %rd1, %rd2;
ld.global.u32 %r3, [%rd3];
add.u32 %r3, %r3, 1;
st.global.u32 [%rd3], %r3;
ret;
}
";

/// Runs the test `name` of this file in a child with an environment; true in the child, where the test has to do its work.
fn child(name: &str, env: &[(&str, &str)]) -> bool {
    if std::env::var_os("CAMELID_MOCK_CHILD").is_some() {
        return true;
    }
    let exe = std::env::current_exe().expect("a path");
    let out = std::process::Command::new(exe)
        .args(["--exact", name, "--nocapture"])
        .env("CAMELID_MOCK_CHILD", "1")
        .envs(env.iter().map(|(n, v)| (format!("CAMELID_MOCK_CUDA_{n}"), v)))
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{name}: {said}{}", String::from_utf8_lossy(&out.stderr));
    false
}

/// The driver, and device 0 current.
fn start() {
    // SAFETY: the mock's functions with room for their results.
    unsafe {
        assert_eq!(cuInit(0), 0);
        let mut ctx = null_mut();
        assert_eq!(cuDevicePrimaryCtxRetain(&mut ctx, 0), 0);
        assert_eq!(cuCtxSetCurrent(ctx), 0);
    }
}

fn device_memory(values: &[u32]) -> u64 {
    let mut at = 0;
    // SAFETY: as above; the source has as many bytes as are copied.
    unsafe {
        assert_eq!(cuMemAlloc_v2(&mut at, 4 * values.len()), 0);
        assert_eq!(cuMemcpyHtoD_v2(at, values.as_ptr().cast(), 4 * values.len()), 0);
    }
    at
}

fn read(at: u64, n: usize) -> Vec<u32> {
    let mut out = vec![0u32; n];
    // SAFETY: there is room for n.
    assert_eq!(unsafe { cuMemcpyDtoH_v2(out.as_mut_ptr().cast(), at, 4 * n) }, 0);
    out
}

fn module() -> (P, P) {
    let (mut m, mut f) = (null_mut(), null_mut());
    // SAFETY: texts end with zeros.
    unsafe {
        assert_eq!(cuModuleLoadData(&mut m, TEXT.as_ptr()), 0);
        assert_eq!(cuModuleGetFunction(&mut f, m, c"add_one".as_ptr()), 0);
    }
    (m, f)
}

fn add_one(f: P, at: u64, n: u32, threads: u32, stream: P) -> u32 {
    let (mut at, mut n) = (at, n);
    let mut params = [(&raw mut at).cast(), (&raw mut n).cast()];
    // SAFETY: one pointer per parameter, each to as many bytes.
    unsafe { cuLaunchKernel(f, 1, 1, 1, threads, 1, 1, 0, stream, params.as_mut_ptr(), null_mut()) }
}

fn stream(flags: u32) -> P {
    let mut s = null_mut();
    // SAFETY: room for a handle.
    assert_eq!(unsafe { cuStreamCreate(&mut s, flags) }, 0);
    s
}

#[test]
fn drivers_that_say_no() {
    if child("drivers_that_say_no", &[("INIT", "35")]) {
        // SAFETY: no pointers.
        assert_eq!(unsafe { cuInit(0) }, 35);
        // SAFETY: room for a number.
        assert_eq!(unsafe { cuDeviceGetCount(&mut 0) }, 3, "nothing works before cuInit");
    }
}

#[test]
fn machines_without_devices() {
    if child("machines_without_devices", &[("DEVICES", "0")]) {
        // SAFETY: no pointers.
        assert_eq!(unsafe { cuInit(0) }, 100);
    }
}

#[test]
fn devices() {
    if !child("devices", &[("DEVICES", "3"), ("MEMORY", "1000000"), ("DRIVER", "12020"), ("CC", "86")]) {
        return;
    }
    // SAFETY: room for each result.
    unsafe {
        let (mut n, mut d, mut v, mut total) = (0, 0, 0, 0);
        let mut name = [0 as c_char; 8];
        assert_eq!((cuDriverGetVersion(&mut v), v), (0, 12020));
        assert_eq!(cuInit(0), 0);
        assert_eq!((cuDeviceGetCount(&mut n), n), (0, 3));
        assert_eq!((cuDeviceGet(&mut d, 2), d), (0, 2));
        assert_eq!((cuDeviceGet(&mut d, 3), cuDeviceGet(&mut d, -1), cuDeviceGet(null_mut(), 0)), (101, 101, 1));
        assert_eq!((cuDeviceTotalMem_v2(&mut total, 1), total), (0, 1_000_000));
        assert_eq!((cuDeviceGetAttribute(&mut v, 75, 0), v), (0, 8));
        assert_eq!((cuDeviceGetAttribute(&mut v, 76, 0), v), (0, 6));
        assert_eq!((cuDeviceGetName(name.as_mut_ptr(), 8, 0), name[7]), (0, 0));
        let mut text = null();
        assert_eq!(cuGetErrorName(700, &mut text), 0);
        assert_eq!(std::ffi::CStr::from_ptr(text), c"CUDA_ERROR_ILLEGAL_ADDRESS");
        assert_eq!((cuGetErrorName(12345, &mut text), text.is_null()), (1, true));
        // Contexts: none is current at first, and none is of use before it is retained.
        let (mut ctx, mut at) = (null_mut(), 0);
        assert_eq!(cuMemAlloc_v2(&mut at, 16), 201);
        assert_eq!(cuDevicePrimaryCtxRelease_v2(0), 201);
        assert_eq!(cuDevicePrimaryCtxRetain(&mut ctx, 1), 0);
        assert_eq!(cuCtxSetCurrent(16 as P), 201);
        assert_eq!(cuCtxSetCurrent(ctx), 0);
        let mut now = null_mut();
        assert_eq!((cuCtxGetCurrent(&mut now), now), (0, ctx));
        assert_eq!(cuMemAlloc_v2(&mut at, 16), 0);
        // It takes its memory with it.
        assert_eq!(cuDevicePrimaryCtxRelease_v2(1), 0);
        assert_eq!(cuMemFree_v2(at), 201);
    }
}

#[test]
fn memory_has_an_end() {
    if !child("memory_has_an_end", &[("MEMORY", "1048576")]) {
        return;
    }
    start();
    // SAFETY: room for each result; freed addresses are numbers here.
    unsafe {
        let (mut a, mut b, mut free, mut total) = (0, 0, 0, 0);
        assert_eq!(cuMemAlloc_v2(&mut a, 1 << 19), 0);
        assert_eq!((cuMemGetInfo_v2(&mut free, &mut total), free, total), (0, 1 << 19, 1 << 20));
        assert_eq!((cuMemAlloc_v2(&mut b, (1 << 19) + 1), cuMemAlloc_v2(&mut b, 0), cuMemAlloc_v2(null_mut(), 8)), (2, 1, 1));
        assert_eq!(cuMemAlloc_v2(&mut b, 1 << 19), 0);
        assert_eq!((cuMemFree_v2(a), cuMemFree_v2(a), cuMemFree_v2(b + 256), cuMemFree_v2(0)), (0, 1, 1, 0));
        assert_eq!(cuMemcpyHtoD_v2(a, [0u8; 4].as_ptr().cast(), 4), 1, "freed");
        assert_eq!(cuMemcpyHtoD_v2(b + (1 << 19) - 2, [0u8; 4].as_ptr().cast(), 4), 1, "over the end");
        assert_eq!(cuMemcpyHtoD_v2(b, null(), 4), 1);
        assert_eq!((cuMemGetInfo_v2(&mut free, &mut total), free), (0, 1 << 19));
        let (mut kind, mut base) = (0u32, 0u64);
        assert_eq!((cuPointerGetAttribute((&raw mut kind).cast(), 2, b + 7), kind), (0, 2));
        assert_eq!((cuPointerGetAttribute((&raw mut base).cast(), 11, b + 7), base), (0, b));
    }
}

#[test]
fn kernels_run() {
    if !child("kernels_run", &[]) {
        return;
    }
    start();
    let (m, f) = module();
    let at = device_memory(&[1, 2, 3, 4]);
    assert_eq!(add_one(f, at, 3, 32, null_mut()), 0);
    assert_eq!(read(at, 4), [2, 3, 4, 4]);
    // SAFETY: room for each result, texts end with zeros; handles that are wrong are looked up.
    unsafe {
        let (mut table, mut n) = (0, 0);
        assert_eq!((cuModuleGetGlobal_v2(&mut table, &mut n, m, c"table".as_ptr()), n), (0, 8));
        assert_eq!(read(table, 2), [5, 6]);
        let mut other = null_mut();
        assert_eq!(cuModuleGetFunction(&mut other, m, c"nothing".as_ptr()), 500);
        assert_eq!(
            (cuModuleGetFunction(&mut other, null_mut(), c"add_one".as_ptr()), cuModuleGetFunction(&mut other, f, c"add_one".as_ptr())),
            (400, 400)
        );
        assert_eq!((cuModuleLoadData(&mut other, null()), cuModuleLoadData(&mut other, c"\x7fELF".as_ptr())), (1, 200));
        assert_eq!(cuModuleLoadData(&mut other, c"no PTX at all".as_ptr()), 218);
        let later = TEXT.to_str().expect("a text").replace("8.0", "8.8").replace("sm_75", "sm_75 // later") + "\0";
        assert_eq!(cuModuleLoadData(&mut other, later.as_ptr().cast()), 222);
        let newer = TEXT.to_str().expect("a text").replace("sm_75", "sm_120") + "\0";
        assert_eq!(cuModuleLoadData(&mut other, newer.as_ptr().cast()), 209);
        // Shapes: no threads, too many, more shared memory than was asked for.
        assert_eq!(
            (add_one(f, at, 4, 0, null_mut()), add_one(f, at, 4, 1025, null_mut()), add_one(null_mut(), at, 4, 1, null_mut())),
            (1, 1, 400)
        );
        let mut extra = [0 as P; 1];
        assert_eq!(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, null_mut(), null_mut(), extra.as_mut_ptr()), 1);
        let (mut to, mut n) = (at, 4u32);
        let mut params = [(&raw mut to).cast(), (&raw mut n).cast()];
        let mut shared = |bytes| cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, bytes, null_mut(), params.as_mut_ptr(), null_mut());
        assert_eq!(shared(64 << 10), 1);
        assert_eq!((cuFuncSetAttribute(f, 8, 64 << 10), cuFuncSetAttribute(f, 8, 1 << 20), shared(64 << 10)), (0, 1, 0));
        assert_eq!(add_one(f, at, 4, 4, 99 as P), 400);
        assert_eq!((cuModuleUnload(m), add_one(f, at, 4, 4, null_mut()), cuModuleUnload(m)), (0, 400, 400));
    }
}

/// After a kernel that went wrong nothing works any more in its context, and other devices go on.
#[test]
fn failures_stay() {
    if !child("failures_stay", &[("DEVICES", "2")]) {
        return;
    }
    start();
    let (_, f) = module();
    let at = device_memory(&[0; 4]);
    assert_eq!(add_one(f, at, 5, 32, null_mut()), 700);
    // SAFETY: room for each result.
    unsafe {
        let (mut other, mut ctx) = (0, null_mut());
        assert_eq!((cuCtxSynchronize(), cuMemAlloc_v2(&mut other, 16), cuMemcpyHtoD_v2(at, [0u8; 4].as_ptr().cast(), 4)), (700, 700, 700));
        assert_eq!((cuDevicePrimaryCtxRetain(&mut ctx, 1), cuCtxSetCurrent(ctx), cuMemAlloc_v2(&mut other, 16)), (0, 0, 0));
    }
}

/// A kernel reaches its own device's memory, and another's once that was asked for; copies go everywhere.
#[test]
fn devices_keep_to_themselves() {
    if !child("devices_keep_to_themselves", &[("DEVICES", "2")]) {
        return;
    }
    start();
    let here = device_memory(&[5, 6]);
    // SAFETY: room for each result.
    unsafe {
        let (mut first, mut second) = (null_mut(), null_mut());
        assert_eq!((cuCtxGetCurrent(&mut first), cuDevicePrimaryCtxRetain(&mut second, 1), cuCtxSetCurrent(second)), (0, 0, 0));
        let there = device_memory(&[1, 2]);
        let (_, f) = module();
        assert_eq!((cuMemcpyDtoDAsync_v2(there, here, 4, null_mut()), read(there, 2)), (0, vec![5, 2]));
        assert_eq!((cuCtxEnablePeerAccess(second, 0), cuCtxEnablePeerAccess(first, 0), cuCtxEnablePeerAccess(first, 0)), (1, 0, 704));
        assert_eq!((add_one(f, here, 2, 32, null_mut()), read(here, 2)), (0, vec![6, 7]));
        assert_eq!(cuCtxSetCurrent(first), 0);
        let (_, g) = module();
        assert_eq!((add_one(g, here, 2, 32, null_mut()), add_one(g, there, 2, 32, null_mut())), (0, 700));
    }
}

/// As a device does it: the launch is taken, who waits for it is told.
#[test]
fn failures_come_late_if_asked() {
    if !child("failures_come_late_if_asked", &[("LATE", "1")]) {
        return;
    }
    start();
    let (_, f) = module();
    let at = device_memory(&[0; 4]);
    assert_eq!(add_one(f, at, 5, 32, null_mut()), 0);
    // SAFETY: no pointers.
    assert_eq!((unsafe { cuCtxSynchronize() }, add_one(f, at, 1, 1, null_mut())), (700, 700));
}

#[test]
fn calls_fail_on_demand() {
    if !child("calls_fail_on_demand", &[("FAIL", "cuMemAlloc_v2:2:2,cuStreamSynchronize:1:719")]) {
        return;
    }
    start();
    let at = device_memory(&[1]);
    // SAFETY: room for each result.
    unsafe {
        let mut other = 0;
        assert_eq!((cuMemAlloc_v2(&mut other, 16), other, cuMemAlloc_v2(&mut other, 16)), (2, 0, 0));
        assert_eq!((cuStreamSynchronize(null_mut()), cuStreamSynchronize(null_mut())), (719, 0));
    }
    assert_eq!(read(at, 1), [1]);
}

#[test]
fn pinned_memory_has_one_address() {
    if !child("pinned_memory_has_one_address", &[]) {
        return;
    }
    start();
    let (_, f) = module();
    // SAFETY: room for each result; memory is read and written within what was asked for.
    unsafe {
        let (mut at, mut device) = (null_mut(), 0);
        assert_eq!(cuMemHostAlloc(&mut at, 64, 2), 0);
        let values = std::slice::from_raw_parts_mut(at.cast::<u32>(), 16);
        values.fill(7);
        assert_eq!((cuMemHostGetDevicePointer_v2(&mut device, at, 0), device), (0, at as u64));
        assert_eq!(add_one(f, device, 16, 32, null_mut()), 0);
        assert_eq!(std::slice::from_raw_parts(at.cast::<u32>(), 16), [8; 16]);
        assert_eq!((cuMemFreeHost(at), cuMemFreeHost(at)), (0, 1));
        let mut own = vec![1u32; 1024];
        let p: P = own.as_mut_ptr().cast();
        assert_eq!(
            (cuMemHostRegister_v2(p, 4096, 0), cuMemHostRegister_v2(p, 4096, 0), cuMemHostRegister_v2(null_mut(), 8, 0)),
            (0, 712, 1)
        );
        assert_eq!(add_one(f, p as u64, 10, 32, null_mut()), 0);
        assert_eq!((own[9], own[10]), (2, 1));
        assert_eq!((cuMemHostUnregister(p), cuMemHostUnregister(p)), (0, 713));
        assert_eq!(add_one(f, p as u64, 10, 32, null_mut()), 700, "the device cannot reach what is not registered");
    }
}

#[test]
fn copies_of_many_kinds() {
    if !child("copies_of_many_kinds", &[]) {
        return;
    }
    start();
    let s = stream(1);
    let at = device_memory(&(0..64).collect::<Vec<_>>());
    // SAFETY: ranges are within what was allocated, or refused.
    unsafe {
        camelid_mock_reset();
        assert_eq!(cuMemcpyDtoDAsync_v2(at + 128, at, 16, s), 0);
        assert_eq!(read(at + 128, 5), [0, 1, 2, 3, 36]);
        assert_eq!(cuMemsetD32Async(at, 9, 3, s), 0);
        assert_eq!(read(at, 4), [9, 9, 9, 3]);
        assert_eq!(cuMemsetD32Async(at + 2, 9, 3, s), 1, "not aligned");
        // Two rows of 8 bytes, 16 apart, to rows 12 apart.
        let (device, host) = (2, 1);
        let from = [1u32, 2, 0, 0, 3, 4];
        let rows = [0, 0, host, from.as_ptr() as u64, 0, 0, 16, 0, 0, device, 0, at, 0, 12, 8, 2];
        assert_eq!(cuMemcpy2DAsync_v2(&rows, s), 0);
        assert_eq!(read(at, 6), [1, 2, 9, 3, 4, 5]);
        let (mut to, mut from, mut n) = ([at, at + 40], [at + 200, at + 208], [8usize, 4]);
        let (mut attributes, mut of, mut bad) = ([[1u32, 0, 0, 0, 0, 0]], [0usize], 0);
        let mut batch = |n: &mut [usize; 2], s| {
            cuMemcpyBatchAsync(
                to.as_mut_ptr(),
                from.as_mut_ptr(),
                n.as_mut_ptr(),
                2,
                attributes.as_mut_ptr(),
                of.as_mut_ptr(),
                1,
                &mut bad,
                s,
            )
        };
        assert_eq!(batch(&mut n, s), 0);
        assert_eq!((read(at, 2), read(at + 40, 1)), (vec![50, 51], vec![52]));
        assert_eq!((batch(&mut n, null_mut()), batch(&mut [8, 4096], s), bad), (1, 1, 1));
        assert_eq!((camelid_mock_calls(c"cuMemcpyBatchAsync".as_ptr()), camelid_mock_bytes(c"DtoD".as_ptr())), (3, 16 + 12 + 8));
        assert_eq!((cuStreamDestroy_v2(s), cuStreamDestroy_v2(s), cuStreamSynchronize(s)), (0, 400, 400));
    }
}

#[test]
fn graphs_are_recorded_and_run_again() {
    if !child("graphs_are_recorded_and_run_again", &[]) {
        return;
    }
    start();
    let (_, f) = module();
    let (s, other) = (stream(1), stream(1));
    let at = device_memory(&[0; 8]);
    // SAFETY: room for each result; handles that are wrong are looked up.
    unsafe {
        let (mut graph, mut exec, mut event, mut status) = (null_mut(), null_mut(), null_mut(), 9);
        assert_eq!((cuEventCreate(&mut event, 2), cuStreamBeginCapture_v2(s, 0), cuStreamBeginCapture_v2(s, 0)), (0, 0, 401));
        assert_eq!((add_one(f, at, 4, 32, s), cuEventRecord(event, s), cuStreamWaitEvent(other, event, 0)), (0, 0, 0));
        assert_eq!((add_one(f, at + 16, 2, 32, other), cuStreamIsCapturing(s, &mut status), status), (0, 0, 1));
        assert_eq!(cuStreamEndCapture(s, &mut graph), 0);
        assert_eq!(read(at, 8), [0; 8], "written down, not done");
        assert_eq!(cuGraphInstantiateWithFlags(&mut exec, graph, 0), 0);
        assert_eq!((cuGraphLaunch(exec, s), cuGraphLaunch(exec, s), cuStreamSynchronize(s)), (0, 0, 0));
        assert_eq!(read(at, 8), [2, 2, 2, 2, 2, 2, 0, 0]);
        // The same shape with other numbers goes into the same instance; another shape does not.
        let (mut second, mut third, mut info) = (null_mut(), null_mut(), [0; 3]);
        assert_eq!(
            (cuStreamBeginCapture_v2(s, 2), add_one(f, at, 1, 1, s), add_one(f, at, 1, 1, s), cuStreamEndCapture(s, &mut second)),
            (0, 0, 0, 0)
        );
        assert_eq!((cuStreamBeginCapture_v2(s, 2), add_one(f, at, 1, 1, s), cuStreamEndCapture(s, &mut third)), (0, 0, 0));
        assert_eq!((cuGraphExecUpdate_v2(exec, second, &mut info), cuGraphLaunch(exec, s)), (0, 0));
        assert_eq!(read(at, 2), [4, 2]);
        assert_eq!((cuGraphExecUpdate_v2(exec, third, &mut info), info[0] as u32), (910, 2));
        assert_eq!((cuGraphDestroy(graph), cuGraphDestroy(graph), cuGraphExecDestroy(exec), cuGraphLaunch(exec, s)), (0, 400, 0, 400));
        // What a capture forbids breaks it.
        let mut more = 0;
        assert_eq!((cuStreamBeginCapture_v2(s, 0), cuMemAlloc_v2(&mut more, 16)), (0, 900));
        assert_eq!((cuStreamIsCapturing(s, &mut status), status, add_one(f, at, 1, 1, s)), (0, 2, 901));
        assert_eq!((cuStreamEndCapture(s, &mut graph), graph, cuStreamEndCapture(s, &mut graph)), (901, null_mut(), 903));
        assert_eq!((cuStreamBeginCapture_v2(s, 0), cuStreamSynchronize(s), cuStreamEndCapture(s, &mut graph)), (0, 900, 901));
        assert_eq!((cuStreamBeginCapture_v2(null_mut(), 0), cuStreamEndCapture(null_mut(), &mut graph)), (900, 400));
        let mut ms = 0.0;
        assert_eq!(cuEventElapsedTime(&mut ms, event, event), 400, "events without times");
    }
}

#[test]
fn virtual_memory() {
    if !child("virtual_memory", &[("MEMORY", "8388608")]) {
        return;
    }
    start();
    let (_, f) = module();
    const PAGE: usize = 2 << 20;
    // SAFETY: room for each result; addresses that are wrong are looked up.
    unsafe {
        let (mut base, mut a, mut b, mut c, mut free, mut total) = (0, 0, 0, 0, 0, 0);
        let properties = [1, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!((cuMemAddressReserve(&mut base, 64 * PAGE, 0, 0, 0), cuMemAddressReserve(&mut c, 5, 0, 0, 0)), (0, 1));
        assert_eq!(
            (
                cuMemCreate(&mut a, PAGE, &properties, 0),
                cuMemCreate(&mut b, 2 * PAGE, &properties, 0),
                cuMemCreate(&mut c, 2 * PAGE, &properties, 0)
            ),
            (0, 0, 2)
        );
        assert_eq!(
            (cuMemMap(base, PAGE, 0, a, 0), cuMemMap(base, PAGE, 0, a, 0), cuMemMap(base + PAGE as u64, 2 * PAGE, 0, b, 0)),
            (0, 1, 0)
        );
        let word = base + PAGE as u64 - 8;
        assert_eq!(cuMemcpyHtoD_v2(word, [1u32, 2, 3, 4].as_ptr().cast(), 16), 1, "mapped, and nobody may reach it yet");
        assert_eq!((cuMemSetAccess(base, 3 * PAGE, &[1, 0, 3], 1), cuMemSetAccess(base, 4 * PAGE, &[1, 0, 3], 1)), (0, 1));
        assert_eq!(cuMemcpyHtoD_v2(word, [1u32, 2, 3, 4].as_ptr().cast(), 16), 0, "over the border of two pieces");
        assert_eq!((add_one(f, word, 4, 32, null_mut()), read(word, 4)), (0, vec![2, 3, 4, 5]));
        assert_eq!((cuMemRelease(a), cuMemGetInfo_v2(&mut free, &mut total), free), (0, 0, (2 << 20) - 512), "mapped memory stays");
        assert_eq!((cuMemAddressFree(base, 64 * PAGE), cuMemUnmap(base, PAGE), cuMemUnmap(base, PAGE)), (1, 0, 1));
        assert_eq!((cuMemGetInfo_v2(&mut free, &mut total), free), (0, (4 << 20) - 512));
        assert_eq!(
            (cuMemUnmap(base + PAGE as u64, 2 * PAGE), cuMemRelease(b), cuMemRelease(b), cuMemAddressFree(base, 64 * PAGE)),
            (0, 0, 1, 0)
        );
        assert_eq!(add_one(f, base, 1, 1, null_mut()), 700);
    }
}

#[test]
fn counts_go_to_a_file() {
    let file = std::env::temp_dir().join(format!("mock-counts-{}", std::process::id()));
    let path = file.to_string_lossy().into_owned();
    if child("counts_go_to_a_file", &[("COUNT", &path)]) {
        start();
        let at = device_memory(&[1, 2]);
        assert_eq!(read(at, 2), [1, 2]);
        // SAFETY: the source has 8 bytes.
        unsafe { cuMemcpyHtoDAsync_v2(at, [1u32, 2].as_ptr().cast(), 8, null_mut()) };
        return;
    }
    let text = std::fs::read_to_string(&file).expect("the counts");
    let _ = std::fs::remove_file(&file);
    for line in ["cuInit 1", "cuMemcpyHtoD_v2 1", "copies DtoH 1 8", "copies HtoD 2 16"] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
}
