//! A device of which only sizes are wanted (`no_alloc`): it takes no memory, and computes nothing.
use super::*;
use platform::Error;

struct Dry(Arc<dyn Backend>);

/// Says what `b` says, and has as much memory as is asked for.
pub fn dry(b: Arc<dyn Backend>) -> Arc<dyn Backend> {
    Arc::new(Dry(b))
}

struct DryBuffer {
    device: DeviceId,
    len: usize,
}

impl Buffer for DryBuffer {
    fn device(&self) -> DeviceId {
        self.device
    }
    fn len(&self) -> usize {
        self.len
    }
    fn host(&self) -> Option<HostMem> {
        None
    }
    fn write(&self, _: &[Copy2d], _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn read(&self, _: &[Copy2d], dst: &mut [u8]) -> Result<()> {
        dst.fill(0);
        Ok(())
    }
    fn secure(&self, _: Range<usize>) -> Result<()> {
        Ok(())
    }
    fn release(&self, _: Range<usize>) {}
    fn resident(&self, _: Range<usize>) -> usize {
        0
    }
}

impl Backend for Dry {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn device(&self) -> DeviceId {
        self.0.device()
    }
    fn supports(&self, ty: DType) -> bool {
        self.0.supports(ty)
    }
    fn stores(&self, ty: DType) -> bool {
        self.0.stores(ty)
    }
    fn is_dry(&self) -> bool {
        true
    }
    fn alloc(&self, bytes: usize, _: &str) -> Result<Arc<dyn Buffer>> {
        Ok(Arc::new(DryBuffer { device: self.device(), len: bytes }))
    }
    fn alloc_in(&self, bytes: usize, what: &str, _: &Backing) -> Result<Arc<dyn Buffer>> {
        self.alloc(bytes, what)
    }
    fn adopt(&self, _: Arc<dyn HostBytes>) -> Option<Arc<dyn Buffer>> {
        None
    }
    fn lower(&self, plan: &Plan, range: Range<usize>, _: &Bound, limits: Limits) -> Result<Box<dyn Exec>> {
        let made = plan.steps[range].iter().flat_map(|s| s.op.outputs());
        let rows = |t: T| if plan.value(t).rows == Dim::Tokens { limits.tokens } else { limits.outputs };
        Ok(Box::new(DryExec { bytes: made.map(|t| plan.value(t).width as usize * 4 * rows(t)).sum() }))
    }
}

struct DryExec {
    /// As if every value had room of its own.
    bytes: usize,
}

const NOTHING: &str = "the model was loaded without memory (no_alloc)";

impl Exec for DryExec {
    fn run(&mut self, _: &Io<'_>) -> std::result::Result<(), Stop> {
        Err(Stop::Failed(NOTHING.into()))
    }
    fn run_steps(&mut self, io: &Io<'_>, _: usize, _: usize) -> std::result::Result<(), Stop> {
        self.run(io)
    }
    fn read(&self, _: T, _: Range<usize>, _: &mut [f32]) -> Result<()> {
        Err(Error::unsupported(NOTHING))
    }
    fn write(&mut self, _: T, _: &[f32]) -> Result<()> {
        Ok(())
    }
    fn trace(&self) -> Vec<TraceRow> {
        Vec::new()
    }
    fn bytes(&self) -> usize {
        self.bytes
    }
}
