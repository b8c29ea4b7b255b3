//! GPUs through the CUDA driver, which is looked for at run time: without one there are no devices.
//!
//! Knows kernels (PTX, `crates/cuda`), streams and addresses; does not know which model is running or what a layer is.
//! `driver` is the one door to libcuda; `gpu` a device at work, `buffer` its memory, `transfer` how runs of bytes get there; `exec` goes through a
//! plan, `products`, `rows`, `attend` start its kernels.
mod attend;
mod buffer;
mod driver;
mod exec;
mod gpu;
mod products;
mod rows;
mod transfer;
mod views;

pub use driver::{Info, devices};

use super::device::{Device, DeviceKind, DeviceMemory};
use super::{Backend, Bound, Buffer, DType, DeviceId, Exec, HostBytes, Limits, Plan};
use platform::{Backing, Result};
use std::ops::Range;
use std::sync::Arc;

/// Numbers of devices begin here: behind the host, before those that stand for some.
const FIRST: u16 = 1;

/// A device that is not used yet.
struct Listed {
    i: usize,
    name: String,
    info: &'static Info,
}

/// The devices of this process.
pub fn list() -> Vec<Arc<dyn Device>> {
    let listed = |(i, info)| Arc::new(Listed { i, name: format!("CUDA{i}"), info }) as Arc<dyn Device>;
    devices().iter().enumerate().map(listed).collect()
}

impl Device for Listed {
    fn id(&self) -> DeviceId {
        DeviceId(FIRST + self.i as u16)
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn family(&self) -> &str {
        "CUDA"
    }
    fn description(&self) -> &str {
        &self.info.name
    }
    fn kind(&self) -> DeviceKind {
        if self.info.integrated { DeviceKind::Integrated } else { DeviceKind::Gpu }
    }
    fn bus_id(&self) -> Option<&str> {
        Some(&self.info.bus_id)
    }
    fn memory(&self) -> DeviceMemory {
        // A device that cannot be opened has no memory to give.
        let asked = gpu::Gpu::open(self.i).and_then(|g| g.ctx.memory());
        asked.map_or(DeviceMemory { free: 0, total: self.info.bytes }, |(free, total)| DeviceMemory { free, total })
    }
    fn open(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Cuda::new(self.id(), self.i)?))
    }
}

pub struct Cuda {
    device: DeviceId,
    name: String,
    gpu: Arc<gpu::Gpu>,
}

impl Cuda {
    /// Device `i` of those that `devices` tells.
    pub fn new(device: DeviceId, i: usize) -> Result<Cuda> {
        Ok(Cuda { device, name: format!("CUDA{i}"), gpu: gpu::Gpu::open(i)? })
    }
}

impl Backend for Cuda {
    fn name(&self) -> &str {
        &self.name
    }
    fn identity(&self) -> String {
        // One order of sums for all devices; what they make of it is a matter of their architecture.
        format!("CUDA {}", self.gpu.info.capability)
    }
    fn device(&self) -> DeviceId {
        self.device
    }
    fn supports(&self, ty: DType) -> bool {
        cuda_kernels::products(ty.name()).is_some()
    }
    fn stores(&self, ty: DType) -> bool {
        kernels::attn::supports(ty)
    }
    fn alloc(&self, bytes: usize, what: &str) -> Result<Arc<dyn Buffer>> {
        Ok(Arc::new(buffer::CudaBuffer::new(self.device, &self.gpu, bytes, what)?))
    }
    fn alloc_in(&self, bytes: usize, what: &str, _: &Backing) -> Result<Arc<dyn Buffer>> {
        Ok(Arc::new(buffer::CudaBuffer::lazy(self.device, &self.gpu, bytes, what)?))
    }
    fn adopt(&self, _: Arc<dyn HostBytes>) -> Option<Arc<dyn Buffer>> {
        None
    }
    fn lower(&self, plan: &Plan, range: Range<usize>, bound: &Bound, limits: Limits) -> Result<Box<dyn Exec>> {
        Ok(Box::new(exec::CudaExec::lower(&self.gpu, plan, range, bound, limits)?))
    }
}
