//! Grids on the CPU: blocks one after the other, the warps of a block in turn, the 32 lanes of a warp in lockstep.
//! Lanes that part keep their own place; those at the smallest place run first, so that structured code comes together again.
mod alu;
mod atom;
mod block;
mod fpu;
mod mem;
mod mma;
mod shared;
mod warp;
mod warp_ops;

pub use block::{Launch, run};
use std::fmt;

/// The lanes of a register.
pub type Lanes = [u64; 32];
pub const FULL: u32 = u32::MAX;

/// What a kernel did that it must not, and where.
#[derive(Debug, Clone)]
pub struct Violation {
    pub kernel: String,
    pub what: String,
    pub line: u32,
    pub block: [u32; 3],
    pub thread: [u32; 3],
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Address,
    Misaligned,
    Assert,
    Timeout,
    Launch,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Violation { kernel, what, line, block, thread, .. } = self;
        write!(f, "{kernel}, block {block:?}, thread {thread:?}, PTX line {line}: {what}")
    }
}

/// A fault before it is known where it happened: which lane, what.
pub struct Fault {
    lane: u32,
    what: String,
    kind: Kind,
}

fn fault<T>(lane: u32, kind: Kind, what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { lane, what: what.into(), kind })
}

/// The lanes of a mask.
fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |l| mask >> l & 1 == 1)
}

/// One source, one result per lane.
#[inline(always)]
fn map1(regs: &mut [Lanes], mask: u32, d: u32, a: u32, f: impl Fn(u64) -> u64) {
    let a = regs[a as usize];
    put(&mut regs[d as usize], mask, |l| f(a[l]));
}

#[inline(always)]
fn map2(regs: &mut [Lanes], mask: u32, d: u32, a: u32, b: u32, f: impl Fn(u64, u64) -> u64) {
    let (a, b) = (regs[a as usize], regs[b as usize]);
    put(&mut regs[d as usize], mask, |l| f(a[l], b[l]));
}

#[inline(always)]
fn map3(regs: &mut [Lanes], mask: u32, [d, a, b, c]: [u32; 4], f: impl Fn(u64, u64, u64) -> u64) {
    let (a, b, c) = (regs[a as usize], regs[b as usize], regs[c as usize]);
    put(&mut regs[d as usize], mask, |l| f(a[l], b[l], c[l]));
}

/// Fills the lanes of a mask; all of them at once where that is the mask, which the compiler makes vectors of.
#[inline(always)]
fn put(d: &mut Lanes, mask: u32, f: impl Fn(usize) -> u64) {
    if mask == FULL {
        for (l, d) in d.iter_mut().enumerate() {
            *d = f(l);
        }
    } else {
        for (l, d) in d.iter_mut().enumerate() {
            if mask >> l & 1 == 1 {
                *d = f(l);
            }
        }
    }
}

/// The lanes where `f` holds.
#[inline(always)]
fn mask_of(f: impl Fn(usize) -> bool) -> u32 {
    let mut m = 0;
    for l in 0..32 {
        m |= u32::from(f(l)) << l;
    }
    m
}
