//! A device at work: its kernels, loaded when first wanted, and the staging memory that everything goes through.
use super::driver::{Context, Function, Info, Memory, Module, Pinned, devices};
use super::transfer::{self, Batch};
use crate::backend::Copy2d;
use platform::{Error, Result};
use std::collections::HashMap;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// Bytes on either side of the link: a copy of that size takes a millisecond, and there are two.
const STAGING: usize = 16 << 20;
/// Shared memory that a launch may ask for: a block of compute capability 7.5 has 64 KiB, and kernels declare some themselves.
pub const SHARED: u32 = 56 << 10;
/// Bytes that are gathered by one thread.
const GATHER: usize = 4 << 20;

pub struct Gpu {
    pub info: Info,
    pub ctx: Arc<Context>,
    modules: Mutex<HashMap<&'static str, Module>>,
    functions: Mutex<HashMap<(&'static str, &'static str), Function>>,
    staging: Mutex<Option<Staging>>,
    books: OnceLock<(Memory, Books)>,
}

/// Memory that copies go through.
struct Staging {
    host: Pinned,
    device: Memory,
}

/// Where code books are on the device, in the order of the kernels' `Books`.
pub type Books = [u64; 6];

/// An argument of a kernel, by its address.
pub struct Arg<'a>(*mut c_void, PhantomData<&'a ()>);
/// What a kernel takes is copied from here when it is started.
pub fn arg<T: Copy>(v: &T) -> Arg<'_> {
    Arg(std::ptr::from_ref(v).cast_mut().cast(), PhantomData)
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic left behind is still what it was.
    m.lock().unwrap_or_else(|p| p.into_inner())
}

impl Gpu {
    /// Device `i` of the process: opened once, and kept.
    pub fn open(i: usize) -> Result<Arc<Gpu>> {
        static OPEN: Mutex<Vec<Option<Arc<Gpu>>>> = Mutex::new(Vec::new());
        let info = devices().get(i).ok_or_else(|| Error::invalid(format!("there is no CUDA device {i}")))?;
        let mut open = lock(&OPEN);
        if open.len() <= i {
            open.resize(i + 1, None);
        }
        if let Some(gpu) = &open[i] {
            return Ok(gpu.clone());
        }
        let ctx = Arc::new(Context::new(info.ordinal).map_err(|e| e.within(&info.name))?);
        let gpu = Arc::new(Gpu {
            info: info.clone(),
            ctx,
            modules: Mutex::default(),
            functions: Mutex::default(),
            staging: Mutex::default(),
            books: OnceLock::new(),
        });
        open[i] = Some(gpu.clone());
        Ok(gpu)
    }

    /// A kernel of a module.
    pub fn function(&self, module: &'static cuda_kernels::Module, name: &'static str) -> Result<Function> {
        let mut functions = lock(&self.functions);
        if let Some(f) = functions.get(&(module.0, name)) {
            return Ok(*f);
        }
        let mut modules = lock(&self.modules);
        if !modules.contains_key(module.0) {
            let loaded = Module::new(&self.ctx, module.1).map_err(|e| e.within(format!("kernels {}", module.0)))?;
            modules.insert(module.0, loaded);
        }
        let f = modules[module.0].function(&self.ctx, name, SHARED)?;
        functions.insert((module.0, name), f);
        Ok(f)
    }

    /// Starts a kernel of a module.
    ///
    /// # Safety
    /// `args` are the parameters of the kernel, by value; what they point to on the device is there until `ctx.wait`.
    pub unsafe fn launch(&self, f: Function, grid: [u32; 3], threads: u32, shared: u32, args: &[Arg<'_>]) -> Result<()> {
        if grid.contains(&0) {
            return Ok(());
        }
        let mut args: Vec<*mut c_void> = args.iter().map(|a| a.0).collect();
        // SAFETY: the caller's contract.
        unsafe { self.ctx.launch(f, grid, threads, shared, &mut args) }
    }

    pub fn books(&self) -> Result<Books> {
        if let Some(b) = self.books.get() {
            return Ok(b.1);
        }
        let all = kernels::quant::code_books();
        let memory = Memory::new(&self.ctx, all.iter().map(Vec::len).sum(), "code books")?;
        let (mut at, mut books) = (memory.at, [0; 6]);
        for (place, bytes) in books.iter_mut().zip(&all) {
            *place = at;
            // SAFETY: inside of what was allocated for all; waited for below.
            unsafe { self.ctx.write(at, bytes.as_ptr(), bytes.len()) }?;
            at += bytes.len() as u64;
        }
        self.ctx.wait()?;
        Ok(self.books.get_or_init(|| (memory, books)).1)
    }

    /// Runs of host memory to `base` on the device, or from it.
    ///
    /// # Safety
    /// Every run of `list` is inside the device memory at `base`; the host's side is checked.
    pub unsafe fn copy(&self, base: u64, list: &[Copy2d], host: Host<'_>) -> Result<()> {
        let mut staging = lock(&self.staging);
        if staging.is_none() {
            let (host, device) = (Pinned::new(&self.ctx, STAGING)?, Memory::new(&self.ctx, 2 * STAGING, "staging")?);
            *staging = Some(Staging { host, device });
        }
        let Some(s) = staging.as_mut() else { return Ok(()) };
        let reads = matches!(host, Host::To(_));
        let mut host = host;
        for b in transfer::plan(list, STAGING, reads) {
            match &mut host {
                // SAFETY: the caller's contract.
                Host::From(src) => unsafe { self.send(s, base, &b, src) }?,
                // SAFETY: as above.
                Host::To(dst) => unsafe { self.fetch(s, base, &b, dst) }?,
            }
        }
        Ok(())
    }

    /// # Safety
    /// The pieces are inside the device memory at `base`.
    unsafe fn send(&self, s: &mut Staging, base: u64, b: &Batch, src: &[u8]) -> Result<()> {
        gather(s.host.bytes(), b, src)?;
        let (from, d) = (s.host.bytes().as_ptr(), s.device.at);
        // SAFETY: pinned memory that stays until the wait below; the caller's word for the places.
        unsafe {
            if b.direct {
                for p in &b.pieces {
                    self.ctx.write(base + p.place as u64, from.add(p.at), p.len)?;
                }
            } else {
                self.ctx.write(d, from, b.bytes)?;
                self.scatter(s, base, b, false)?;
            }
        }
        self.ctx.wait()
    }

    /// # Safety
    /// As `send`.
    unsafe fn fetch(&self, s: &mut Staging, base: u64, b: &Batch, dst: &mut [u8]) -> Result<()> {
        let to = s.host.bytes().as_mut_ptr();
        // SAFETY: as in `send`.
        unsafe {
            if b.direct {
                for p in &b.pieces {
                    self.ctx.read(to.add(p.at), base + p.place as u64, p.len)?;
                }
            } else {
                self.scatter(s, base, b, true)?;
                self.ctx.read(to, s.device.at, b.bytes)?;
            }
        }
        self.ctx.wait()?;
        let from = s.host.bytes();
        for p in &b.pieces {
            let to = dst.get_mut(p.from..p.from + p.len).ok_or_else(outside)?;
            to.copy_from_slice(&from[p.at..p.at + p.len]);
        }
        Ok(())
    }

    /// Between the packed list in the staging memory and its places.
    ///
    /// # Safety
    /// As `send`.
    unsafe fn scatter(&self, s: &Staging, base: u64, b: &Batch, back: bool) -> Result<()> {
        let runs: Vec<(u64, [u32; 2])> = b.pieces.iter().map(|p| (p.place as u64, [p.at as u32, p.len as u32])).collect();
        let list = s.device.at + STAGING as u64;
        let f = self.function(cuda_kernels::module("attend").ok_or_else(outside)?, "scatter")?;
        // SAFETY: `runs` is copied before this returns (not pinned), as many as fit behind the list; the caller's word for the places.
        unsafe {
            self.ctx.write(list, runs.as_ptr().cast(), runs.len() * size_of::<(u64, [u32; 2])>())?;
            self.launch(f, [runs.len() as u32, 1, 1], 256, 0, &[arg(&base), arg(&s.device.at), arg(&list), arg(&u32::from(back))])?;
        }
        self.ctx.wait()
    }
}

/// The host's side of copies.
pub enum Host<'a> {
    From(&'a [u8]),
    To(&'a mut [u8]),
}

fn outside() -> Error {
    Error::invalid("copy outside a buffer")
}

/// The pieces of a batch, packed; large ones by several threads.
fn gather(to: &mut [u8], b: &Batch, src: &[u8]) -> Result<()> {
    for p in &b.pieces {
        let from = src.get(p.from..p.from + p.len).ok_or_else(outside)?;
        let to = to.get_mut(p.at..p.at + p.len).ok_or_else(outside)?;
        if p.len <= GATHER {
            to.copy_from_slice(from);
            continue;
        }
        std::thread::scope(|s| to.chunks_mut(GATHER).zip(from.chunks(GATHER)).for_each(|(t, f)| drop(s.spawn(|| t.copy_from_slice(f)))));
    }
    Ok(())
}
