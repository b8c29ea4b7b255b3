//! Modules, functions, launches.
use super::graph::Work;
use super::{
    ASSERT, Done, ILLEGAL_ADDRESS, INVALID_HANDLE, INVALID_IMAGE, INVALID_PTX, INVALID_VALUE, In, LAUNCH_FAILED, LAUNCH_TIMEOUT,
    MISALIGNED_ADDRESS, NO_BINARY_FOR_GPU, NOT_FOUND, Out, State, UNSUPPORTED_PTX_VERSION, in_context,
};
use crate::exec::{Kind, Launch};
use crate::isa::Kernel;
use crate::lex::Refusal;
use crate::program::{self, Program};
use crate::{exec, parse};
use std::collections::HashMap;
use std::ffi::c_char;
use std::sync::Arc;

pub struct Loaded {
    pub device: usize,
    program: Program,
    /// Functions that were asked for already, by kernel.
    handles: HashMap<String, usize>,
}

pub struct Function {
    pub device: usize,
    module: usize,
    kernel: Arc<Kernel>,
    /// Dynamic shared memory that `cuFuncSetAttribute` allowed.
    max_dynamic: u64,
}

#[derive(Clone)]
pub struct KernelCall {
    kernel: Arc<Kernel>,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic: u64,
    params: Vec<u8>,
}

/// Shared memory that a block has without asking.
const SHARED: u64 = 48 << 10;

/// The version of PTX that a driver reads at most: 8.2 came with 12.2.
fn newest_ptx(driver: i32) -> u32 {
    let (major, minor) = (driver as u32 / 1000, driver as u32 % 1000 / 10);
    match (major, minor) {
        (..=10, _) => 65,
        (11, m) => 70 + m.min(8),
        (12, m @ 0..6) => 80 + m,
        (12, m) => 79 + m,
        (m, n) => 10 * (m - 4) + n,
    }
}

fn load(s: &mut State, device: usize, text: &str) -> Result<Loaded, u32> {
    let said = |r: Refusal| {
        eprintln!("mock libcuda: PTX line {}: {}", r.line, r.what);
        INVALID_PTX
    };
    let module = parse::parse(text).map_err(said)?;
    if module.version > newest_ptx(s.config.driver) {
        return Err(UNSUPPORTED_PTX_VERSION);
    }
    if module.target > s.config.cc {
        return Err(NO_BINARY_FOR_GPU);
    }
    let State { config, devices, memory, .. } = s;
    let used = &mut devices[device].used;
    let program = program::load(&module, memory, |memory, len| {
        *used += len.next_multiple_of(512);
        if *used > config.memory { None } else { memory.allocate(device, len) }
    });
    Ok(Loaded { device, program: program.map_err(said)?, handles: HashMap::new() })
}

fn load_data(name: &'static str, module: Out<usize>, image: In<c_char>) -> u32 {
    in_context(name, |s, device| {
        s.not_capturing(device)?;
        if module.is_null() || image.is_null() {
            return Err(INVALID_VALUE);
        }
        // A cubin or a fat binary has other first bytes than a text.
        let first = image.get(0)? as u8;
        if !first.is_ascii_whitespace() && !first.is_ascii_graphic() {
            return Err(INVALID_IMAGE);
        }
        let loaded = load(s, device, image.text().map_err(|_| INVALID_IMAGE)?)?;
        module.put(s.modules.add(&mut s.next, loaded))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleLoadData(module: Out<usize>, image: In<c_char>) -> u32 {
    load_data("cuModuleLoadData", module, image)
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleLoadDataEx(module: Out<usize>, image: In<c_char>, _n: u32, _options: In<i32>, _values: In<usize>) -> u32 {
    load_data("cuModuleLoadDataEx", module, image)
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(module: usize) -> u32 {
    in_context("cuModuleUnload", |s, _| {
        let loaded = s.modules.remove(module)?;
        s.functions.retain(|f| f.module != module);
        loaded.program.globals.values().try_for_each(|(at, _)| s.free(*at))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleGetFunction(function: Out<usize>, module: usize, name: In<c_char>) -> u32 {
    in_context("cuModuleGetFunction", |s, _| {
        let name = name.text()?;
        let loaded = s.modules.get_mut(module)?;
        if let Some(h) = loaded.handles.get(name) {
            return function.put(*h);
        }
        let kernel = loaded.program.kernels.get(name).cloned().ok_or(NOT_FOUND)?;
        let item = Function { device: loaded.device, module, kernel, max_dynamic: SHARED };
        let handle = s.functions.add(&mut s.next, item);
        loaded.handles.insert(name.to_owned(), handle);
        function.put(handle)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleGetGlobal_v2(at: Out<u64>, len: Out<usize>, module: usize, name: In<c_char>) -> u32 {
    in_context("cuModuleGetGlobal_v2", |s, _| {
        let (address, size) = *s.modules.get(module)?.program.globals.get(name.text()?).ok_or(NOT_FOUND)?;
        at.put_if_wanted(address);
        len.put_if_wanted(size as usize);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(function: usize, attribute: i32, value: i32) -> u32 {
    in_context("cuFuncSetAttribute", |s, _| {
        let most = u64::from(super::device::shared_kib(s.config.cc).0 as u32) << 10;
        let f = s.functions.get_mut(function)?;
        match attribute {
            8 => match u64::try_from(value) {
                Ok(v) if v + f.kernel.shared_bytes <= most => f.max_dynamic = v,
                _ => return Err(INVALID_VALUE),
            },
            9 if (-1..=100).contains(&value) => {}
            _ => return Err(INVALID_VALUE),
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncGetAttribute(value: Out<i32>, attribute: i32, function: usize) -> u32 {
    in_context("cuFuncGetAttribute", |s, _| {
        let cc = s.config.cc as i32;
        let f = s.functions.get(function)?;
        value.put(match attribute {
            0 => f.kernel.max_threads as i32,
            1 => f.kernel.shared_bytes as i32,
            3 => f.kernel.local_bytes as i32,
            4 => f.kernel.n_regs.min(255) as i32,
            5 | 6 => cc,
            8 => f.max_dynamic as i32,
            _ => 0,
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetCacheConfig(function: usize, _config: u32) -> u32 {
    in_context("cuFuncSetCacheConfig", |s, _| s.functions.get(function).map(|_| ()))
}

fn occupancy(s: &State, function: usize, block: i32, dynamic: usize) -> Result<i32, u32> {
    let f = s.functions.get(function)?;
    if block <= 0 || block as u32 > f.kernel.max_threads {
        return Err(INVALID_VALUE);
    }
    let shared = f.kernel.shared_bytes + dynamic as u64 + 1024;
    let by_shared = (u64::from(super::device::shared_kib(s.config.cc).1 as u32) << 10) / shared;
    Ok((2048 / block).min(16).min(by_shared as i32))
}

#[unsafe(no_mangle)]
extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: Out<i32>, function: usize, block: i32, dynamic: usize) -> u32 {
    in_context("cuOccupancyMaxActiveBlocksPerMultiprocessor", |s, _| blocks.put(occupancy(s, function, block, dynamic)?))
}

#[unsafe(no_mangle)]
extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: Out<i32>,
    function: usize,
    block: i32,
    dynamic: usize,
    _flags: u32,
) -> u32 {
    cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, block, dynamic)
}

/// CUlaunchConfig.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LaunchConfig {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: usize,
    attributes: usize,
    n_attributes: u32,
}

/// The parameters as the kernel's layout has them: by an array of pointers, or as one packed block (`extra`).
fn params(kernel: &Kernel, by_pointer: In<usize>, extra: In<usize>) -> Result<Vec<u8>, u32> {
    let mut packed = vec![0; kernel.param_bytes as usize];
    if !by_pointer.is_null() {
        for (i, (at, len)) in kernel.params.iter().enumerate() {
            let value = In::<u8>(by_pointer.get(i)? as *const u8);
            for b in 0..*len as usize {
                packed[*at as usize + b] = value.get(b)?;
            }
        }
        return Ok(packed);
    }
    if extra.is_null() {
        return if kernel.params.is_empty() { Ok(packed) } else { Err(INVALID_VALUE) };
    }
    let (mut buffer, mut size) = (0, 0);
    for i in (0..).step_by(2) {
        // CU_LAUNCH_PARAM_END, _BUFFER_POINTER, _BUFFER_SIZE
        match extra.get(i)? {
            0 => break,
            1 => buffer = extra.get(i + 1)?,
            2 => size = In::<usize>(extra.get(i + 1)? as *const usize).get(0)?,
            _ => return Err(INVALID_VALUE),
        }
    }
    if (size as u64) < kernel.param_bytes {
        return Err(INVALID_VALUE);
    }
    for (b, p) in packed.iter_mut().enumerate() {
        *p = In::<u8>(buffer as *const u8).get(b)?;
    }
    Ok(packed)
}

fn launch(s: &mut State, device: usize, function: usize, c: &LaunchConfig, by_pointer: In<usize>, extra: In<usize>) -> Done {
    if function == 0 {
        return Err(INVALID_HANDLE);
    }
    let f = s.functions.get(function)?;
    let LaunchConfig { grid, block, shared, stream, .. } = *c;
    let threads = block.iter().try_fold(1u32, |n, b| n.checked_mul(*b)).unwrap_or(u32::MAX);
    let fits = grid[0] <= i32::MAX as u32 && grid[1] <= 65535 && grid[2] <= 65535 && block[2] <= 64;
    if grid.contains(&0) || threads == 0 || threads > f.kernel.max_threads || !fits || u64::from(shared) > f.max_dynamic {
        return Err(INVALID_VALUE);
    }
    if f.max_dynamic <= SHARED && f.kernel.shared_bytes + u64::from(shared) > SHARED {
        return Err(INVALID_VALUE);
    }
    let params = params(&f.kernel, by_pointer, extra)?;
    let call = KernelCall { kernel: f.kernel.clone(), grid, block, dynamic: shared.into(), params };
    s.submit(device, stream, Work::Launch(Box::new(call)))
}

impl State {
    pub fn run_kernel(&mut self, device: usize, call: &KernelCall) -> Done {
        let launch =
            Launch { kernel: &call.kernel, grid: call.grid, block: call.block, dynamic_shared: call.dynamic, params: &call.params };
        match exec::run(&launch, &mut self.memory) {
            Ok(_) => Ok(()),
            Err(v) => {
                eprintln!("mock libcuda: {v}");
                let code = match v.kind {
                    Kind::Address => ILLEGAL_ADDRESS,
                    Kind::Misaligned => MISALIGNED_ADDRESS,
                    Kind::Assert => ASSERT,
                    Kind::Timeout => LAUNCH_TIMEOUT,
                    Kind::Launch => LAUNCH_FAILED,
                };
                super::memory::sticky(self, device, code)
            }
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchKernel(
    function: usize,
    gx: u32,
    gy: u32,
    gz: u32,
    bx: u32,
    by: u32,
    bz: u32,
    shared: u32,
    stream: usize,
    params: In<usize>,
    extra: In<usize>,
) -> u32 {
    let config = LaunchConfig { grid: [gx, gy, gz], block: [bx, by, bz], shared, stream, attributes: 0, n_attributes: 0 };
    in_context("cuLaunchKernel", |s, device| launch(s, device, function, &config, params, extra))
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchKernelEx(config: In<LaunchConfig>, function: usize, params: In<usize>, extra: In<usize>) -> u32 {
    in_context("cuLaunchKernelEx", |s, device| launch(s, device, function, &config.get(0)?, params, extra))
}

/// Blocks of a grid that wait for each other are not known here: each runs to its end before the next.
#[unsafe(no_mangle)]
extern "C" fn cuLaunchCooperativeKernel(_function: usize) -> u32 {
    in_context("cuLaunchCooperativeKernel", |_, _| Err(super::NOT_SUPPORTED))
}
