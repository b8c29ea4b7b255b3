//! Atomic operations: lanes in order, nobody else in between.
use super::alu::signed;
use super::block::Machine;
use super::mem::{Where, locate};
use super::warp::Warp;
use super::{Fault, fpu, lanes};
use crate::isa::{Atom, AtomOp, Ty};

impl Machine<'_> {
    pub fn atom(&mut self, warp: &mut Warp, mask: u32, a: &Atom) -> Result<(), Fault> {
        let size = u64::from(a.ty.bits / 8);
        for l in lanes(mask) {
            let at = locate(a.at.space, warp.regs[a.at.base as usize][l].wrapping_add(a.at.offset as u64));
            let (b, c) = (warp.regs[a.b as usize][l] & a.ty.mask(), warp.regs[a.c as usize][l] & a.ty.mask());
            let lane = l as u32;
            let old = match at {
                Where::Shared(at) => self.shared.load(lane, warp.index, at, size, true)?,
                _ => self.load(warp, lane, at, size)?,
            };
            let new = apply(a.op, a.ty, old, b, c);
            match at {
                Where::Shared(at) => self.shared.store(lane, warp.index, at, size, new, true)?,
                _ => self.store(warp, lane, at, size, new)?,
            }
            if let Some(d) = a.d {
                warp.regs[d as usize][l] = old;
            }
        }
        Ok(())
    }
}

pub fn apply(op: AtomOp, ty: Ty, old: u64, b: u64, c: u64) -> u64 {
    let less = if ty.is_signed() { signed(old, ty.bits) < signed(b, ty.bits) } else { old < b };
    match op {
        AtomOp::Add if ty.is_float() => fpu::add(ty, old, b),
        AtomOp::Add => old.wrapping_add(b) & ty.mask(),
        AtomOp::Min => {
            if less {
                old
            } else {
                b
            }
        }
        AtomOp::Max => {
            if less {
                b
            } else {
                old
            }
        }
        AtomOp::And => old & b,
        AtomOp::Or => old | b,
        AtomOp::Xor => old ^ b,
        AtomOp::Exch => b,
        AtomOp::Cas => {
            if old == b {
                c
            } else {
                old
            }
        }
        AtomOp::Inc => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        AtomOp::Dec => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}
