//! A launch: every block of the grid, one after the other; in a block its warps in turn, from barrier to barrier.
use super::shared::Shared;
use super::warp::{Pause, Warp};
use super::{FULL, Fault, Kind, Violation};
use crate::isa::{Barrier, Kernel, Op, Special};
use crate::memory::Memory;

/// Instructions that a warp may run before others have their turn: who waits for another warp in a loop must not wait for ever.
const TURN: u64 = 1 << 20;
/// Instructions of all warps after which a launch is said to hang.
const ENOUGH: u64 = 1 << 36;

pub struct Launch<'a> {
    pub kernel: &'a Kernel,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u64,
    /// As the kernel's layout of parameters has them.
    pub params: &'a [u8],
}

/// What the warps of a block share.
pub struct Machine<'a> {
    pub kernel: &'a Kernel,
    pub memory: &'a mut Memory,
    pub params: &'a [u8],
    pub shared: Shared,
    pub last_region: usize,
    pub last_is_open: bool,
    pub n_regions: usize,
    /// Threads that passed by a barrier without waiting, by its number.
    arrived: [u32; 16],
}

/// Runs the grid. `memory` is as the kernel left it, also where it failed.
pub fn run(launch: &Launch, memory: &mut Memory) -> Result<u64, Box<Violation>> {
    let n_regions = memory.regions_mut().len();
    let Launch { kernel, params, .. } = launch;
    let mut machine = Machine {
        kernel,
        memory,
        params,
        shared: Shared::default(),
        last_region: usize::MAX,
        last_is_open: false,
        n_regions,
        arrived: [0; 16],
    };
    let threads = launch.block.iter().product::<u32>();
    let mut warps: Vec<Warp> = (0..threads.div_ceil(32)).map(|i| Warp::new(i, kernel)).collect();
    for w in &mut warps {
        specials(launch, w);
    }
    let mut left = ENOUGH;
    for z in 0..launch.grid[2] {
        for y in 0..launch.grid[1] {
            for x in 0..launch.grid[0] {
                block(launch, &mut machine, &mut warps, [x, y, z], &mut left)?;
            }
        }
    }
    Ok(ENOUGH - left)
}

/// Where dynamic shared memory begins.
fn dynamic_base(kernel: &Kernel) -> u64 {
    kernel.shared_bytes.next_multiple_of(kernel.dynamic_align.max(1))
}

fn specials(launch: &Launch, w: &mut Warp) {
    let [bx, by, _] = launch.block.map(u64::from);
    let total = dynamic_base(launch.kernel) + launch.dynamic_shared;
    for (r, s) in &launch.kernel.specials {
        let index = u64::from(w.index);
        for (l, value) in w.regs[*r as usize].iter_mut().enumerate() {
            let t = 32 * index + l as u64;
            *value = match s {
                Special::Tid(0) => t % bx,
                Special::Tid(1) => t / bx % by,
                Special::Tid(_) => t / (bx * by),
                Special::Ntid(i) => launch.block[*i as usize].into(),
                Special::Nctaid(i) => launch.grid[*i as usize].into(),
                Special::Laneid => l as u64,
                Special::Warpid => index,
                Special::Nwarpid => launch.block.map(u64::from).iter().product::<u64>().div_ceil(32),
                Special::LanemaskEq => 1 << l,
                Special::LanemaskLt => (1 << l) - 1,
                Special::LanemaskLe => (2 << l) - 1,
                Special::LanemaskGt => u64::from(FULL) & !((2 << l) - 1),
                Special::LanemaskGe => u64::from(FULL) & !((1 << l) - 1),
                Special::Nsmid => 1,
                Special::DynamicShared => launch.dynamic_shared,
                Special::DynamicBase => dynamic_base(launch.kernel),
                Special::TotalShared => total,
                Special::Smid | Special::Clock | Special::Ctaid(_) => 0,
            };
        }
    }
}

fn block(launch: &Launch, m: &mut Machine, warps: &mut [Warp], at: [u32; 3], left: &mut u64) -> Result<(), Box<Violation>> {
    m.shared.reset(dynamic_base(launch.kernel) + launch.dynamic_shared);
    m.arrived = [0; 16];
    let threads = launch.block.iter().product::<u32>();
    for w in warps.iter_mut() {
        let have = (threads - 32 * w.index).min(32);
        w.start(launch.kernel.entry, if have == 32 { FULL } else { (1 << have) - 1 });
        for (r, s) in &launch.kernel.specials {
            if let Special::Ctaid(i) = s {
                w.regs[*r as usize] = [at[*i as usize].into(); 32];
            }
        }
    }
    let mut pauses: Vec<Pause> = vec![Pause::Turn; warps.len()];
    loop {
        for (w, pause) in warps.iter_mut().zip(&mut pauses) {
            if *pause == Pause::Turn {
                let mut turn = TURN;
                let ran = w.run(m, &mut turn);
                *left = left.saturating_sub(TURN - turn);
                *pause = ran.map_err(|f| violation(launch, w, at, f))?;
            }
        }
        if pauses.iter().all(|p| *p == Pause::Done) {
            return Ok(());
        }
        if *left == 0 {
            let hangs = Fault { lane: 0, what: format!("no end after {ENOUGH} instructions"), kind: Kind::Timeout };
            return Err(violation(launch, &warps[0], at, hangs));
        }
        if !pauses.contains(&Pause::Turn) && !m.open_barrier(warps, &mut pauses).map_err(|(i, f)| violation(launch, &warps[i], at, f))? {
            let i = pauses.iter().position(|p| *p != Pause::Done).unwrap_or(0);
            let stuck = Fault {
                lane: super::fpu::first_lane(warps[i].at_bar),
                what: "waits at a barrier that not all reach".into(),
                kind: Kind::Launch,
            };
            return Err(violation(launch, &warps[i], at, stuck));
        }
    }
}

fn violation(launch: &Launch, w: &Warp, block: [u32; 3], f: Fault) -> Box<Violation> {
    let t = 32 * w.index + f.lane;
    let [x, y, _] = launch.block;
    let pc = if w.active == 0 { w.pcs[f.lane as usize] } else { w.pc };
    let line = launch.kernel.code.get(pc as usize).map_or(0, |i| i.line);
    let kernel = launch.kernel.name.clone();
    Box::new(Violation { kernel, what: f.what, line, block, thread: [t % x, t / x % y, t / (x * y)], kind: f.kind })
}

impl Machine<'_> {
    /// Threads of a warp that pass by barrier `id`.
    pub fn arrive(&mut self, id: u32, _threads: Option<u32>) {
        self.arrived[id as usize % 16] += 32;
        self.shared.is_partial = true;
    }

    /// Lets those go on whose barrier has everybody; false where there is none.
    fn open_barrier(&mut self, warps: &mut [Warp], pauses: &mut [Pause]) -> Result<bool, (usize, Fault)> {
        let mut opened = false;
        for id in 0..16 {
            let mut here = Vec::new();
            for (i, (w, pause)) in warps.iter().zip(&*pauses).enumerate() {
                let Pause::Barrier(pc) = pause else { continue };
                let Op::Bar { kind, id: of, threads } = &self.kernel.code[*pc as usize].op else { continue };
                let lane = super::fpu::first_lane(w.at_bar) as usize;
                if w.regs[*of as usize][lane] == id {
                    here.push((i, *pc, kind, threads.map(|t| w.regs[t as usize][lane] as u32)));
                }
            }
            let Some((_, first, _, count)) = here.first() else { continue };
            let alive = pauses.iter().filter(|p| **p != Pause::Done).count();
            let full = match count {
                None => here.len() == alive,
                Some(n) => 32 * here.len() as u32 + self.arrived[id as usize] >= *n,
            };
            if !full {
                continue;
            }
            if let Some((i, ..)) = here.iter().find(|h| h.1 != *first && count.is_none()) {
                let fault = Fault { lane: 0, what: "a barrier that other warps pass elsewhere in the code".into(), kind: Kind::Launch };
                return Err((*i, fault));
            }
            self.reduce(warps, &here.iter().map(|h| (h.0, h.2)).collect::<Vec<_>>());
            self.arrived[id as usize] = 0;
            self.shared.is_partial |= here.len() < alive;
            self.shared.epoch += 1;
            for (i, ..) in here {
                warps[i].release();
                pauses[i] = Pause::Turn;
            }
            opened = true;
        }
        Ok(opened)
    }

    /// `bar.red`: what all threads at the barrier say together.
    fn reduce(&self, warps: &mut [Warp], here: &[(usize, &Barrier)]) {
        let (mut yes, mut all) = (0, 0);
        for (i, kind) in here {
            let w = &warps[*i];
            all += w.at_bar.count_ones();
            if let Barrier::Popc(_, p, not) | Barrier::All(_, p, not) | Barrier::Any(_, p, not) = kind {
                let said = w.preds[*p as usize] ^ if *not { FULL } else { 0 };
                yes += (said & w.at_bar).count_ones();
            }
        }
        for (i, kind) in here {
            let w = &mut warps[*i];
            let at = w.at_bar;
            match kind {
                Barrier::Popc(d, ..) => super::put(&mut w.regs[*d as usize], at, |_| u64::from(yes)),
                Barrier::All(d, ..) => w.set_pred(*d, at, if yes == all { FULL } else { 0 }),
                Barrier::Any(d, ..) => w.set_pred(*d, at, if yes > 0 { FULL } else { 0 }),
                Barrier::Sync | Barrier::Arrive => {}
            }
        }
    }
}
