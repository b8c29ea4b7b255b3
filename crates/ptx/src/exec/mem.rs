//! Loads and stores of a warp: each lane's address is looked up, in the space that the instruction says or that a generic address is in.
use super::block::Machine;
use super::warp::Warp;
use super::{FULL, Fault, Kind, fault, lanes};
use crate::isa::{Access, Place, Space, mask};
use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW};

/// A space that has bytes, and the address in it.
#[derive(Clone, Copy, PartialEq)]
pub enum Where {
    Global(u64),
    Shared(u64),
    Local(u64),
    Param(u64),
}

/// Windows are this wide.
const WINDOW: u64 = 1 << 40;

pub fn locate(space: Space, at: u64) -> Where {
    match space {
        Space::Shared => Where::Shared(at & 0xffff_ffff),
        Space::Local => Where::Local(at),
        Space::Param => Where::Param(at),
        Space::Generic if at.wrapping_sub(SHARED_WINDOW) < WINDOW => Where::Shared(at - SHARED_WINDOW),
        Space::Generic if at.wrapping_sub(LOCAL_WINDOW) < WINDOW => Where::Local(at - LOCAL_WINDOW),
        _ => Where::Global(at),
    }
}

impl Machine<'_> {
    /// The global range of an access, or why there is none.
    #[inline]
    pub fn global(&mut self, lane: u32, at: u64, len: u64) -> Result<(usize, usize), Fault> {
        let near = self.last_region;
        if near < self.n_regions {
            let r = self.memory.region(near);
            let offset = at.wrapping_sub(r.base);
            if self.last_is_open && offset < r.len && len <= r.len - offset && at & (len - 1) == 0 {
                return Ok((near, offset as usize));
            }
        }
        self.global_slowly(lane, at, len)
    }

    fn global_slowly(&mut self, lane: u32, at: u64, len: u64) -> Result<(usize, usize), Fault> {
        let Some(i) = self.memory.find(at, len) else {
            return fault(lane, Kind::Address, format!("{len} bytes at {at:#x}: {}", self.memory.describe(at)));
        };
        if at & (len - 1) != 0 {
            return fault(lane, Kind::Misaligned, format!("{len} bytes at {at:#x}: not aligned"));
        }
        self.last_region = i;
        self.last_is_open = true;
        Ok((i, (at - self.memory.region(i).base) as usize))
    }

    /// Up to 8 bytes; a vector's parts come one by one, its alignment is checked before.
    pub fn load(&mut self, warp: &Warp, lane: u32, at: Where, len: u64) -> Result<u64, Fault> {
        match at {
            Where::Global(at) => {
                let (i, offset) = self.global(lane, at, len)?;
                Ok(little(&self.memory.bytes(i)[offset..], len))
            }
            Where::Shared(at) => self.shared.load(lane, warp.index, at, len, false),
            Where::Local(at) => Ok(little(&warp.local[local(warp, lane, at, len)?..], len)),
            Where::Param(at) => match self.params.get(at as usize..(at + len) as usize) {
                Some(bytes) => Ok(little(bytes, len)),
                None => fault(lane, Kind::Address, format!("{len} bytes at {at:#x} of {} bytes of parameters", self.params.len())),
            },
        }
    }

    pub fn store(&mut self, warp: &mut Warp, lane: u32, at: Where, len: u64, value: u64) -> Result<(), Fault> {
        let n = len as usize;
        match at {
            Where::Global(at) => {
                let (i, offset) = self.global(lane, at, len)?;
                self.memory.bytes_mut(i)[offset..offset + n].copy_from_slice(&value.to_le_bytes()[..n]);
                Ok(())
            }
            Where::Shared(at) => self.shared.store(lane, warp.index, at, len, value, false),
            Where::Local(at) => {
                let i = local(warp, lane, at, len)?;
                warp.local[i..i + n].copy_from_slice(&value.to_le_bytes()[..n]);
                Ok(())
            }
            Where::Param(_) => fault(lane, Kind::Address, "stores to a parameter"),
        }
    }

    pub fn ld(&mut self, warp: &mut Warp, mask: u32, a: &Access) -> Result<(), Fault> {
        let size = u64::from(a.ty.bits / 8);
        if mask == FULL
            && a.regs.len() == 1
            && matches!(a.at.space, Space::Global | Space::Const)
            && !a.ty.is_signed()
            && self.ld_quickly(warp, a, size)
        {
            return Ok(());
        }
        let bases = warp.regs[a.at.base as usize];
        for l in lanes(mask) {
            let at = bases[l].wrapping_add(a.at.offset as u64);
            self.vector_aligned(l, at, size * a.regs.len() as u64)?;
            for (i, r) in a.regs.iter().enumerate() {
                let v = self.load(warp, l as u32, locate(a.at.space, at.wrapping_add(i as u64 * size)), size)?;
                warp.regs[*r as usize][l] = extended(a, v);
            }
        }
        Ok(())
    }

    /// All lanes from one range, which is almost every load; false where it is not so, and nothing was done.
    #[inline]
    fn ld_quickly(&mut self, warp: &mut Warp, a: &Access, size: u64) -> bool {
        let bases = warp.regs[a.at.base as usize];
        let first = bases[0].wrapping_add(a.at.offset as u64);
        let Ok((i, _)) = self.global(0, first, size) else { return false };
        let (base, bytes) = (self.memory.region(i).base, self.memory.bytes(i));
        let Some(last) = (bytes.len() as u64).checked_sub(size) else { return false };
        let mut offsets = [0u64; 32];
        let mut wrong = false;
        for (o, b) in offsets.iter_mut().zip(&bases) {
            *o = b.wrapping_add(a.at.offset as u64).wrapping_sub(base);
            wrong |= *o > last || b.wrapping_add(a.at.offset as u64) & (size - 1) != 0;
        }
        if wrong {
            return false;
        }
        let d = &mut warp.regs[a.regs[0] as usize];
        for (d, o) in d.iter_mut().zip(&offsets) {
            *d = little(&bytes[*o as usize..], size);
        }
        true
    }

    fn vector_aligned(&self, lane: usize, at: u64, len: u64) -> Result<(), Fault> {
        if at & (len - 1) == 0 { Ok(()) } else { fault(lane as u32, Kind::Misaligned, format!("{len} bytes at {at:#x}: not aligned")) }
    }

    pub fn st(&mut self, warp: &mut Warp, m: u32, a: &Access) -> Result<(), Fault> {
        let size = u64::from(a.ty.bits / 8);
        for l in lanes(m) {
            let at = warp.regs[a.at.base as usize][l].wrapping_add(a.at.offset as u64);
            self.vector_aligned(l, at, size * a.regs.len() as u64)?;
            for (i, r) in a.regs.iter().enumerate() {
                let v = warp.regs[*r as usize][l];
                self.store(warp, l as u32, locate(a.at.space, at.wrapping_add(i as u64 * size)), size, v)?;
            }
        }
        Ok(())
    }

    /// `cp.async`: done at once, which is one of the orders that it may have.
    pub fn cp_async(&mut self, warp: &mut Warp, m: u32, (to, from): (Place, Place), bytes: u32, source: Option<u32>) -> Result<(), Fault> {
        for l in lanes(m) {
            let (d, s) = (
                warp.regs[to.base as usize][l].wrapping_add(to.offset as u64),
                warp.regs[from.base as usize][l].wrapping_add(from.offset as u64),
            );
            self.vector_aligned(l, d & 0xffff_ffff | s, u64::from(bytes))?;
            let have = source.map_or(bytes, |r| (warp.regs[r as usize][l] as u32).min(bytes));
            for i in (0..bytes).step_by(4) {
                let mut v = 0;
                for b in i..(i + 4).min(have) {
                    v |= self.load(warp, l as u32, Where::Global(s + u64::from(b)), 1)? << (8 * (b - i));
                }
                self.store(warp, l as u32, Where::Shared((d & 0xffff_ffff) + u64::from(i)), 4, v)?;
            }
        }
        Ok(())
    }
}

/// The value as its register has it: signed ones are filled up to the register's width.
#[inline]
fn extended(a: &Access, v: u64) -> u64 {
    if a.ty.is_signed() { super::alu::signed(v, a.ty.bits) as u64 & mask(a.reg_bits) } else { v }
}

#[inline(always)]
fn little(bytes: &[u8], len: u64) -> u64 {
    match (len, bytes) {
        (1, [a, ..]) => u64::from(*a),
        (2, [a, b, ..]) => u64::from(u16::from_le_bytes([*a, *b])),
        (4, [a, b, c, d, ..]) => u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
        (8, [a, b, c, d, e, f, g, h, ..]) => u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
        _ => 0,
    }
}

/// Where a lane's own bytes are in the warp's.
pub fn local(warp: &Warp, lane: u32, at: u64, len: u64) -> Result<usize, Fault> {
    let each = warp.local.len() as u64 / 32;
    if at.checked_add(len).is_none_or(|end| end > each) {
        return fault(lane, Kind::Address, format!("{len} bytes at {at:#x} of {each} bytes of local memory"));
    }
    if at & (len - 1) != 0 {
        return fault(lane, Kind::Misaligned, format!("{len} bytes at {at:#x} of local memory: not aligned"));
    }
    Ok((u64::from(lane) * each + at) as usize)
}
