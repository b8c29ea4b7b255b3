//! Places beside the CPU that could compute: what they are called, what memory they have, how they become backends. Knows neither layers nor weights.
use super::far;
use super::{Backend, DeviceId};
use platform::Result;
use std::sync::{Arc, OnceLock};

/// Bytes; 0 and 0: the device does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceMemory {
    pub free: u64,
    pub total: u64,
}

/// Of ggml's kinds those that layers can be kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    Gpu,
    /// Its memory is the host's.
    Integrated,
}

/// A GPU, or what stands for one.
pub trait Device: Send + Sync {
    /// Of its backend and of every buffer there; no other device of the process has it.
    fn id(&self) -> DeviceId;
    /// "CUDA0": what the program's libggml calls it too.
    fn name(&self) -> &str;
    /// "CUDA": what speaks for all of its family.
    fn family(&self) -> &str;
    /// What its maker calls it.
    fn description(&self) -> &str;
    fn kind(&self) -> DeviceKind {
        DeviceKind::Gpu
    }
    /// Where it sits on the bus ("0000:01:00.0"), if that is known.
    fn bus_id(&self) -> Option<&str> {
        None
    }
    /// As it is now.
    fn memory(&self) -> DeviceMemory;
    /// What computes there: one for all models, or one each, as the device likes.
    fn open(&self) -> Result<Arc<dyn Backend>>;
}

/// The GPUs of this process, found once. Without any the list is empty, and nobody is told.
pub fn gpus() -> &'static [Arc<dyn Device>] {
    static ALL: OnceLock<Vec<Arc<dyn Device>>> = OnceLock::new();
    ALL.get_or_init(far::of_environment)
}
