//! Which device keeps which part of a model, by the original's rules: how many layers, over which devices, what is kept elsewhere by its name.
//! Places are numbers: 0 is the CPU, `i + 1` the i-th device. Knows neither files nor buffers.
use crate::backend::far;
pub use crate::backend::{Device, DeviceKind, DeviceMemory, MAX_DEVICES, gpus};
use crate::grammar::Pattern;
use platform::{Error, Result, log, pressure};
use std::path::Path;
use std::sync::Arc;

/// How layers are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// All on the main one.
    None,
    /// Runs of layers, over all devices.
    Layer,
}

/// Tensors whose name matches are kept on a device, whatever their layer says.
pub struct Override {
    pub pattern: Pattern,
    /// "CPU", "CUDA0", "CUDA_Host": a type of buffers of the program's libggml.
    pub to: String,
}

/// What a caller may say about devices.
pub struct Offload {
    /// `None`: all GPUs of the process.
    pub devices: Option<Vec<Arc<dyn Device>>>,
    /// Of the last layers, the output counted as one; negative: all.
    pub n_gpu_layers: i32,
    pub split: Split,
    /// The one of `Split::None`; negative: none.
    pub main_gpu: i32,
    /// Shares of the devices; without any they go by the memory that is free.
    pub tensor_split: Vec<f32>,
    /// The first that matches counts.
    pub overrides: Vec<Override>,
}

impl Default for Offload {
    fn default() -> Offload {
        Offload { devices: None, n_gpu_layers: -1, split: Split::Layer, main_gpu: 0, tensor_split: Vec::new(), overrides: Vec::new() }
    }
}

impl Offload {
    /// Everything on the CPU.
    pub fn none() -> Offload {
        Offload { devices: Some(Vec::new()), ..Offload::default() }
    }

    /// So many layers on these devices.
    pub fn on(devices: Vec<Arc<dyn Device>>, n_gpu_layers: i32) -> Offload {
        Offload { devices: Some(devices), n_gpu_layers, ..Offload::default() }
    }

    /// So many of the last layers, and the output, in memory that the host cannot address.
    pub fn far(n_layers: u32) -> Offload {
        let n = if n_layers == 0 { 0 } else { i32::try_from(n_layers).unwrap_or(i32::MAX).saturating_add(1) };
        Offload::on(far::devices(1, &[]), n)
    }

    /// The devices of a model.
    pub fn devices(&self) -> Result<Vec<Arc<dyn Device>>> {
        let list = match &self.devices {
            Some(list) => list.clone(),
            None => by_default(gpus()),
        };
        if let Some(d) = list.iter().enumerate().find_map(|(i, d)| list[..i].iter().find(|o| o.id() == d.id())) {
            return Err(Error::invalid(format!("devices: {} is named twice", d.name())));
        }
        if list.len() > usize::from(MAX_DEVICES) {
            return Err(Error::invalid(format!("{} devices, at most {} are possible", list.len(), MAX_DEVICES)));
        }
        main_only(self.split, self.main_gpu, list)
    }
}

/// Integrated ones only where there are no others.
fn by_default(all: &[Arc<dyn Device>]) -> Vec<Arc<dyn Device>> {
    let of = |kind| all.iter().filter(|d| d.kind() == kind).cloned().collect::<Vec<_>>();
    let gpus = of(DeviceKind::Gpu);
    if gpus.is_empty() { of(DeviceKind::Integrated) } else { gpus }
}

/// What `split_mode` and `main_gpu` leave of a list.
fn main_only<D: Clone>(split: Split, main_gpu: i32, list: Vec<D>) -> Result<Vec<D>> {
    if split == Split::Layer || list.is_empty() {
        return Ok(list);
    }
    match usize::try_from(main_gpu) {
        Err(_) => Ok(Vec::new()),
        Ok(i) => match list.get(i) {
            Some(d) => Ok(vec![d.clone()]),
            None => Err(Error::invalid(format!("invalid value for main_gpu: {main_gpu} (available devices: {})", list.len()))),
        },
    }
}

/// The share of each device: what the caller says, or what memory is free; the host's for devices that do not tell.
fn shares(asked: &[f32], free: &[DeviceMemory], host: u64) -> Vec<f32> {
    let n = free.len().min(asked.len());
    if asked[..n].iter().any(|s| *s != 0.0) {
        return (0..free.len()).map(|i| asked.get(i).copied().unwrap_or(0.0)).collect();
    }
    free.iter().map(|m| if *m == DeviceMemory::default() { host } else { m.free } as f32).collect()
}

/// The place of each of `n_layer` layers, and behind them the output's: the last `n_gpu_layers` of all of these, in runs as long as the shares say.
fn places(n_layer: u32, n_gpu_layers: i32, shares: &[f32]) -> Vec<usize> {
    let all = n_layer as usize + 1;
    let n = usize::try_from(n_gpu_layers).unwrap_or(all).min(all);
    if n == 0 || shares.is_empty() {
        return vec![0; all];
    }
    let running = |sum: &mut f32, s: &f32| {
        *sum += s;
        Some(*sum)
    };
    let ends: Vec<f32> = shares.iter().scan(0.0, running).collect();
    let all_shares = ends.last().copied().unwrap_or(0.0);
    let device = |i: usize| ends.iter().take_while(|end| **end / all_shares <= i as f32 / n as f32).count().min(shares.len() - 1);
    (0..all).map(|il| (il + n).checked_sub(all).map_or(0, |i| 1 + device(i))).collect()
}

/// Where everything of a model goes.
pub struct Places {
    /// Of the file's layers, then the output's.
    layers: Vec<usize>,
    overrides: Vec<(Pattern, usize)>,
}

impl Places {
    pub fn new(o: Offload, n_layer: u32, devices: &[Arc<dyn Device>]) -> Result<Places> {
        let free: Vec<DeviceMemory> = devices.iter().map(|d| d.memory()).collect();
        let layers = places(n_layer, o.n_gpu_layers, &shares(&o.tensor_split, &free, pressure::available(Path::new("/"))));
        let names: Vec<&str> = devices.iter().map(|d| d.name()).collect();
        let overrides = o.overrides.into_iter().map(|o| Ok((o.pattern, named(&o.to, &names)?))).collect::<Result<_>>()?;
        Ok(Places { layers, overrides })
    }

    /// Of a layer of the file. A stack that has more of them than the other goes on where the shorter one ends.
    pub fn layer(&self, il: u32) -> usize {
        let last = self.layers.len().saturating_sub(2);
        self.layers.get(last.min(il as usize)).copied().unwrap_or(0)
    }
    pub fn output(&self) -> usize {
        self.layers.last().copied().unwrap_or(0)
    }
    /// Of a tensor that is a part of something at `place`.
    pub fn tensor(&self, name: &str, place: usize) -> usize {
        self.overrides.iter().find(|(p, _)| step_of(name).iter().any(|n| p.find(n.as_bytes()).is_some())).map_or(place, |o| o.1)
    }
    /// Whether anything is anywhere but on the CPU.
    pub fn any(&self) -> bool {
        self.layers.iter().chain(self.overrides.iter().map(|o| &o.1)).any(|p| *p > 0)
    }

    /// Told as front ends read it: the output counts as a layer.
    pub fn report(&self) {
        let n = self.layers.iter().filter(|p| **p > 0).count();
        if self.output() > 0 {
            log::info("load_tensors: offloading output layer to GPU");
        }
        log::info(format!("load_tensors: offloading {} repeating layers to GPU", n - usize::from(self.output() > 0)));
        log::info(format!("load_tensors: offloaded {n}/{} layers to GPU", self.layers.len()));
    }
}

/// The names that decide about a tensor: its own; of the matrices of a layer's experts those of all of them, since they are one step.
fn step_of(name: &str) -> Vec<String> {
    const STACKS: [&str; 4] = ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_up_exps"];
    let mut all = vec![name.to_owned()];
    if let Some(stack) = STACKS.iter().find(|s| name.contains(&format!(".{s}."))) {
        all.extend(STACKS.iter().filter(|s| *s != stack).map(|s| name.replace(stack, s)));
    }
    all
}

/// The place of a type of buffers.
fn named(buffers: &str, devices: &[&str]) -> Result<usize> {
    if buffers.starts_with("CPU") || buffers.ends_with("_Host") {
        return Ok(0);
    }
    let i = devices.iter().position(|d| *d == buffers);
    i.map(|i| i + 1).ok_or_else(|| Error::invalid(format!("tensors are to be kept in {buffers}, the model's devices are {devices:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As load_tensors of the original computes it, in C's order: starts, ends, then the first end above each layer's part.
    fn original(n_layer: i32, n_gpu_layers: i32, splits: &[f32]) -> Vec<usize> {
        let n_gpu_layers = if n_gpu_layers >= 0 { n_gpu_layers } else { n_layer + 1 };
        let mut ends = splits.to_vec();
        let mut sum = 0.0f32;
        for e in &mut ends {
            sum += *e;
            *e = sum;
        }
        ends.iter_mut().for_each(|e| *e /= sum);
        let (start, n) = ((n_layer + 1 - n_gpu_layers).max(0), if splits.is_empty() { 0 } else { n_gpu_layers.min(n_layer + 1) });
        let one = |il: i32| match il < start || il - start >= n {
            true => 0,
            false => 1 + ends.partition_point(|e| *e <= (il - start) as f32 / n as f32),
        };
        (0..=n_layer).map(one).collect()
    }

    #[test]
    fn layers_are_where_the_original_puts_them() {
        for n_layer in [1, 2, 8, 28, 61] {
            for n_gpu in -1..=n_layer + 3 {
                for splits in [&[][..], &[1.0], &[1.0, 1.0], &[3.0, 1.0], &[0.0, 2.0], &[0.3, 0.3, 0.4], &[24e9, 8e9, 11e9, 1.0]] {
                    assert_eq!(places(n_layer as u32, n_gpu, splits), original(n_layer, n_gpu, splits), "{n_layer} {n_gpu} {splits:?}");
                }
            }
        }
    }

    #[test]
    fn the_output_counts_as_one_and_the_first_layers_stay() {
        assert_eq!(places(4, 0, &[1.0]), [0, 0, 0, 0, 0]);
        assert_eq!(places(4, 1, &[1.0]), [0, 0, 0, 0, 1]);
        assert_eq!(places(4, 3, &[1.0]), [0, 0, 1, 1, 1]);
        assert_eq!(places(4, -1, &[1.0]), [1; 5]);
        assert_eq!(places(4, 99, &[1.0, 1.0]), [1, 1, 1, 2, 2]);
        assert_eq!(places(4, 4, &[]), [0; 5]);
        assert_eq!(places(2, -1, &[0.0, 0.0]), [1, 1, 1], "nothing free anywhere: the first will say so");
    }

    #[test]
    fn shares_are_what_is_asked_or_what_is_free() {
        let [a, b] = [DeviceMemory { free: 3, total: 9 }, DeviceMemory::default()];
        assert_eq!(shares(&[], &[a, b], 7), [3.0, 7.0]);
        assert_eq!(shares(&[0.0, 0.0], &[a, b], 7), [3.0, 7.0]);
        assert_eq!(shares(&[0.0, 0.5, 4.0], &[a, b], 7), [0.0, 0.5]);
        assert_eq!(shares(&[1.0], &[a, b], 7), [1.0, 0.0]);
    }

    #[test]
    fn one_device_is_main() {
        let of = |split, main| main_only(split, main, vec!['a', 'b']);
        assert_eq!(of(Split::Layer, 7).expect("not asked"), ['a', 'b']);
        assert_eq!(of(Split::None, 1).expect("there"), ['b']);
        assert_eq!(of(Split::None, -1).expect("the CPU alone"), []);
        assert!(of(Split::None, 2).expect_err("too large").to_string().contains("main_gpu: 2 (available devices: 2)"));
        assert_eq!(main_only::<char>(Split::None, 3, vec![]).expect("no GPU, no error"), []);
    }

    #[test]
    fn tensors_go_where_the_first_pattern_says() {
        let over = |p: &str, to: usize| (Pattern::new(p.as_bytes()).expect("a pattern"), to);
        let p = Places { layers: vec![1, 1, 2], overrides: vec![over(r"blk\.(1|2)\.ffn", 0), over("exps", 2), over("^output", 0)] };
        assert_eq!([p.tensor("blk.0.attn_q.weight", 1), p.tensor("blk.1.ffn_up.weight", 1), p.tensor("output.weight", 2)], [1, 0, 0]);
        assert_eq!([p.tensor("blk.1.ffn_up_exps.weight", 1), p.tensor("blk.0.ffn_up_exps.weight", 1)], [0, 2], "the first counts");
        let p = Places { layers: vec![1, 1], overrides: vec![over("ffn_up_exps", 0)] };
        assert!(["gate", "up", "down"].iter().all(|m| p.tensor(&format!("blk.0.ffn_{m}_exps.weight"), 1) == 0), "experts stand together");
        assert_eq!(p.tensor("blk.0.ffn_up_shexp.weight", 1), 1);
    }

    #[test]
    fn buffers_have_places() {
        let of = |n| named(n, &["CUDA0", "CUDA1"]);
        assert_eq!([of("CPU").ok(), of("CPU_REPACK").ok(), of("CUDA_Host").ok(), of("CUDA1").ok()], [Some(0), Some(0), Some(0), Some(2)]);
        assert!(of("Vulkan0").expect_err("not there").to_string().contains("Vulkan0"));
    }

    #[test]
    fn devices_are_chosen() {
        let two = far::devices(2, &[]);
        assert_eq!(Offload::on(two.clone(), 3).devices().expect("two").len(), 2);
        let twice = Offload::on(vec![two[0].clone(), two[0].clone()], 3).devices().err().expect("refused").to_string();
        assert!(twice.contains("FAR0 is named twice"), "{twice}");
        assert!(Offload::none().devices().expect("none").is_empty());
    }
}
