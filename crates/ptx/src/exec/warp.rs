//! One warp: its registers, where its lanes are, and the loop that runs its instructions.
use super::block::Machine;
use super::{FULL, Fault, Kind, Lanes, alu, fault, fpu, lanes};
use crate::isa::{ALWAYS, Barrier, Call, Inst, Kernel, Logic, Op, SetP};
use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW};
use crate::parse::Space;

pub struct Warp {
    pub index: u32,
    pub regs: Vec<Lanes>,
    pub preds: Vec<u32>,
    /// 32 times a thread's own memory.
    pub local: Vec<u8>,
    /// Where each lane goes on, except for those of `active`, which are at `pc`.
    pub pcs: [u32; 32],
    pub alive: u32,
    /// Lanes that wait for others of their warp, and at a barrier of the block.
    at_sync: u32,
    pub at_bar: u32,
    pub active: u32,
    pub pc: u32,
    /// The smallest place of lanes that could run and do not: here the two come together.
    other: u32,
}

/// Why a warp stopped.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pause {
    Done,
    /// All of it waits at the barrier instruction at this place.
    Barrier(u32),
    /// It used up its turn.
    Turn,
}

/// What an instruction does to the flow.
pub(super) enum Flow {
    Next,
    /// `pc` is the next place already.
    There,
    /// Lanes were moved: look again who runs.
    Moved,
}

impl Warp {
    pub fn new(index: u32, kernel: &Kernel) -> Warp {
        let mut preds = vec![0; kernel.n_preds as usize];
        preds[ALWAYS as usize] = FULL;
        let mut regs = vec![[0; 32]; kernel.n_regs as usize];
        for (r, v) in &kernel.consts {
            regs[*r as usize] = [*v; 32];
        }
        let local = vec![0xff; 32 * kernel.local_bytes.next_multiple_of(16) as usize];
        Warp { index, regs, preds, local, pcs: [0; 32], alive: 0, at_sync: 0, at_bar: 0, active: 0, pc: 0, other: 0 }
    }

    /// To the start of a block, with the lanes that have threads.
    pub fn start(&mut self, entry: u32, alive: u32) {
        (self.pcs, self.alive) = ([entry; 32], alive);
        (self.at_sync, self.at_bar, self.active, self.other) = (0, 0, 0, 0);
    }

    /// Runs until all lanes have ended or wait, or `turn` instructions are done.
    pub fn run(&mut self, m: &mut Machine, turn: &mut u64) -> Result<Pause, Fault> {
        let kernel = m.kernel;
        if !self.pick() {
            return self.settle();
        }
        loop {
            if self.pc >= self.other {
                self.park();
                self.pick();
            }
            if *turn == 0 {
                self.park();
                return Ok(Pause::Turn);
            }
            *turn -= 1;
            let inst = &kernel.code[self.pc as usize];
            let guard = self.preds[inst.guard as usize];
            let mask = self.active & if inst.unless { !guard } else { guard };
            if mask == 0 {
                self.pc += 1;
                continue;
            }
            if alu::run(&mut self.regs, mask, &inst.op) || fpu::run(&mut self.regs, mask, &inst.op) {
                self.pc += 1;
                continue;
            }
            match self.step(m, inst, mask)? {
                Flow::Next => self.pc += 1,
                Flow::There => {}
                Flow::Moved if self.pick() => {}
                Flow::Moved => return self.settle(),
            }
        }
    }

    /// Writes down where the active lanes are.
    pub fn park(&mut self) {
        for l in lanes(self.active) {
            self.pcs[l] = self.pc;
        }
        self.active = 0;
    }

    /// The lanes at the smallest place become active; false where nobody can run.
    fn pick(&mut self) -> bool {
        let ready = self.alive & !self.at_bar & !self.at_sync;
        let Some(pc) = lanes(ready).map(|l| self.pcs[l]).min() else { return false };
        self.activate(pc, ready);
        true
    }

    fn activate(&mut self, pc: u32, ready: u32) {
        self.pc = pc;
        self.active = lanes(ready).filter(|l| self.pcs[*l] == pc).fold(0, |m, l| m | 1 << l);
        self.other = lanes(ready & !self.active).map(|l| self.pcs[l]).min().unwrap_or(u32::MAX);
    }

    /// Nobody can run: the warp has ended, or is at a barrier, or lanes wait for others that ended.
    fn settle(&mut self) -> Result<Pause, Fault> {
        if self.alive == 0 {
            return Ok(Pause::Done);
        }
        if self.at_sync != 0 {
            let first = fpu::first_lane(self.at_sync);
            self.pc = self.pcs[first as usize];
            let what = format!("lanes {:#x} wait for lanes of their warp that never come (at a barrier: {:#x})", self.at_sync, self.at_bar);
            return fault(first, Kind::Launch, what);
        }
        let at: Vec<u32> = lanes(self.at_bar).map(|l| self.pcs[l]).collect();
        if at.iter().any(|p| *p != at[0]) {
            let first = fpu::first_lane(self.at_bar);
            return fault(first, Kind::Launch, "lanes of one warp wait at different barriers");
        }
        Ok(Pause::Barrier(at[0]))
    }

    /// The barrier is open: all lanes go on behind it.
    pub fn release(&mut self) {
        for l in lanes(self.at_bar) {
            self.pcs[l] += 1;
        }
        self.at_bar = 0;
    }

    /// Whether all of `members` that live are here. If not, the lanes of `mask` wait, the others go on.
    pub(super) fn gathered(&mut self, mask: &mut u32, members: u32) -> Result<bool, Fault> {
        let waiting = lanes(self.at_sync).filter(|l| self.pcs[*l] == self.pc).fold(0, |m, l| m | 1 << l);
        let here = *mask | waiting;
        if *mask & !members != 0 {
            return fault(
                fpu::first_lane(*mask & !members),
                Kind::Launch,
                format!("a lane outside of the mask {members:#x} that it names"),
            );
        }
        let missing = members & self.alive & !here;
        if missing == 0 {
            self.at_sync &= !waiting;
            self.active |= waiting;
            *mask = here & members;
            return Ok(true);
        }
        let goes = self.active & !*mask;
        let mine = *mask;
        self.park();
        self.at_sync |= mine;
        for l in lanes(goes) {
            self.pcs[l] += 1;
        }
        Ok(false)
    }

    fn step(&mut self, m: &mut Machine, inst: &Inst, mask: u32) -> Result<Flow, Fault> {
        match &inst.op {
            Op::Bra { target } => return Ok(self.branch(mask, *target)),
            Op::Setp(s) => self.setp(s, mask),
            Op::Selp { d, a, b, p } => {
                let (a, b, p) = (self.regs[*a as usize], self.regs[*b as usize], self.preds[*p as usize]);
                super::put(&mut self.regs[*d as usize], mask, |l| if p >> l & 1 == 1 { a[l] } else { b[l] });
            }
            Op::Ld(a) => m.ld(self, mask, a)?,
            Op::St(a) => m.st(self, mask, a)?,
            Op::Pred { op, d, a, not_a, b } => {
                let a = self.preds[*a as usize] ^ if *not_a { FULL } else { 0 };
                let v = combine(*op, a, self.preds[*b as usize]);
                self.set_pred(*d, mask, v);
            }
            Op::Cvta { space, to, d, a } => self.cvta(mask, *space, *to, *d, *a),
            Op::Set { cmp, as_float, d } => {
                let truth = self.truth(cmp);
                fpu::fill(&mut self.regs, mask, *d, truth, *as_float);
            }
            Op::Testp { kind, ty, d, a } => {
                let v = fpu::testp(&self.regs, *kind, *ty, *a);
                self.set_pred(*d, mask, v);
            }
            Op::Carry { ty, subtract, carry_in, carry_out, flag, d, a, b } => {
                let old = if *carry_in { self.preds[*flag as usize] } else { 0 };
                let new = alu::carry(&mut self.regs, mask, *ty, *subtract, old, [*d, *a, *b]);
                if *carry_out {
                    self.set_pred(*flag, mask, new);
                }
            }
            Op::IsSpace { space, d, a } => {
                let a = self.regs[*a as usize];
                let v = super::mask_of(|l| is_in(*space, a[l]));
                self.set_pred(*d, mask, v);
            }
            Op::Brx { .. } | Op::Call(_) | Op::Ret { .. } | Op::Exit | Op::Trap | Op::Bar { .. } => return self.control(m, &inst.op, mask),
            Op::Nop | Op::CpCommit | Op::CpWait => {}
            Op::Atom(a) => m.atom(self, mask, a)?,
            Op::CpAsync { to, from, bytes, source } => m.cp_async(self, mask, (*to, *from), *bytes, *source)?,
            _ => return self.collective(m, &inst.op, mask),
        }
        Ok(Flow::Next)
    }

    /// Lanes of the mask go to `target`.
    fn branch(&mut self, mask: u32, target: u32) -> Flow {
        if mask == self.active && target < self.other {
            self.pc = target;
            return Flow::There;
        }
        let rest = self.active & !mask;
        self.park();
        for l in lanes(mask) {
            self.pcs[l] = target;
        }
        for l in lanes(rest) {
            self.pcs[l] += 1;
        }
        Flow::Moved
    }

    pub(super) fn set_pred(&mut self, p: u32, mask: u32, value: u32) {
        let p = &mut self.preds[p as usize];
        *p = *p & !mask | value & mask;
    }

    fn truth(&self, s: &SetP) -> u32 {
        self.combined(s, fpu::compared(&self.regs, s))
    }

    fn combined(&self, s: &SetP, truth: u32) -> u32 {
        match s.with {
            None => truth,
            Some((op, p, not)) => combine(op, truth, self.preds[p as usize] ^ if not { FULL } else { 0 }),
        }
    }

    fn setp(&mut self, s: &SetP, mask: u32) {
        let truth = fpu::compared(&self.regs, s);
        let (yes, no) = (self.combined(s, truth), self.combined(s, !truth));
        self.set_pred(s.d, mask, yes);
        if let Some(q) = s.q {
            self.set_pred(q, mask, no);
        }
    }

    fn cvta(&mut self, mask: u32, space: Space, to: bool, d: u32, a: u32) {
        let window = match space {
            Space::Shared => SHARED_WINDOW,
            Space::Local => LOCAL_WINDOW,
            _ => 0,
        };
        let window = if to { window.wrapping_neg() } else { window };
        super::map1(&mut self.regs, mask, d, a, |x| x.wrapping_add(window));
    }

    fn control(&mut self, m: &mut Machine, op: &Op, mask: u32) -> Result<Flow, Fault> {
        match op {
            Op::Call(call) if call.target == u32::MAX => {
                self.copy_params(mask, call);
                return Ok(Flow::Next);
            }
            Op::Call(call) => {
                self.copy_params(mask, call);
                let back = u64::from(self.pc + 1);
                super::put(&mut self.regs[call.back as usize], mask, |_| back);
                return Ok(self.branch(mask, call.target));
            }
            Op::Ret { back } => {
                let targets = self.regs[*back as usize];
                self.scatter(mask, |l| targets[l] as u32);
            }
            Op::Brx { targets, index } => {
                let index = self.regs[*index as usize];
                if let Some(l) = lanes(mask).find(|l| index[*l] >= targets.len() as u64) {
                    return fault(l as u32, Kind::Launch, format!("jumps to number {} of {} labels", index[l], targets.len()));
                }
                self.scatter(mask, |l| targets[index[l] as usize]);
            }
            Op::Exit => {
                self.scatter(mask, |_| u32::MAX);
                self.alive &= !mask;
            }
            Op::Bar { kind: Barrier::Arrive, id, threads } => {
                m.arrive(self.regs[*id as usize][0] as u32, threads.map(|t| self.regs[t as usize][0] as u32));
                return Ok(Flow::Next);
            }
            Op::Bar { .. } => {
                let pc = self.pc;
                self.scatter(mask, |_| pc);
                self.at_bar |= mask;
            }
            _ => return fault(fpu::first_lane(mask), Kind::Assert, "trap"),
        }
        Ok(Flow::Moved)
    }

    /// Each lane of the mask to its own place, the other active ones to the next.
    fn scatter(&mut self, mask: u32, to: impl Fn(usize) -> u32) {
        let rest = self.active & !mask;
        self.park();
        for l in lanes(rest) {
            self.pcs[l] += 1;
        }
        for l in lanes(mask) {
            self.pcs[l] = to(l);
        }
    }

    fn copy_params(&mut self, mask: u32, call: &Call) {
        let each = self.local.len() / 32;
        for l in lanes(mask) {
            for (from, to, n) in &call.copies {
                let at = l * each + *from as usize;
                self.local.copy_within(at..at + *n as usize, l * each + *to as usize);
            }
        }
    }
}

fn combine(op: Logic, a: u32, b: u32) -> u32 {
    match op {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    }
}

fn is_in(space: Space, at: u64) -> bool {
    use super::mem::{Where, locate};
    match locate(Space::Generic, at) {
        Where::Shared(_) => space == Space::Shared,
        Where::Local(_) => space == Space::Local,
        _ => matches!(space, Space::Global | Space::Const),
    }
}
