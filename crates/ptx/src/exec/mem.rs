//! Loads and stores of a warp: each lane's address is looked up, in the space that the instruction says or that a generic address is in.
use super::block::Machine;
use super::warp::Warp;
use super::{FULL, Fault, Kind, fault, lanes};
use crate::isa::{Access, Place, Space, mask};
use crate::memory::{self, LOCAL_WINDOW, SHARED_WINDOW};

/// A space that has bytes, and the address in it.
#[derive(Clone, Copy, PartialEq)]
pub enum Where {
    Global(u64),
    Shared(u64),
    Local(u64),
    Param(u64),
}

/// Copies that a warp has asked for and not waited for: groups, and what is in none yet.
#[derive(Default)]
pub struct Copies {
    groups: Vec<Vec<Pending>>,
    open: Vec<Pending>,
}

struct Pending {
    lane: u32,
    to: u64,
    from: u64,
    bytes: u32,
    /// Bytes that are there; zeros follow.
    have: u32,
}

impl Copies {
    pub fn commit(&mut self) {
        self.groups.push(std::mem::take(&mut self.open));
    }
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
        let r = self.memory.region(i);
        let own = self.devices.first().copied().unwrap_or(0);
        let is_reached = match r.kind {
            memory::Kind::Device => self.devices.contains(&r.device),
            memory::Kind::Mapped { devices, .. } => devices >> own & 1 == 1,
            memory::Kind::Pinned | memory::Kind::Registered => true,
        };
        if !is_reached {
            return fault(
                lane,
                Kind::Address,
                format!("{len} bytes at {at:#x}: memory of device {}, which device {own} may not reach", r.device),
            );
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
            Where::Param(at) => match self.params.get(at as usize..at.saturating_add(len) as usize) {
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
            && matches!(a.at.space, Space::Global | Space::Const | Space::Param)
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
        if a.at.space == Space::Param {
            let params = self.params.get(first as usize..).filter(|p| p.len() as u64 >= size);
            let (Some(bytes), true) = (params, bases.iter().all(|b| *b == bases[0])) else { return false };
            warp.regs[a.regs[0] as usize] = [little(bytes, size); 32];
            return true;
        }
        let Ok((i, _)) = self.global(0, first, size) else { return false };
        let start = self.memory.region(i).base.wrapping_sub(a.at.offset as u64);
        let (bytes, d) = (self.memory.bytes(i), &mut warp.regs[a.regs[0] as usize]);
        // Device memory begins at a multiple of what any access is aligned to; host memory may not.
        if start.wrapping_add(a.at.offset as u64) & 15 != 0 {
            return false;
        }
        let offsets = bases.map(|b| b.wrapping_sub(start));
        match size {
            1 => gather::<1>(bytes, &offsets, d),
            2 => gather::<2>(bytes, &offsets, d),
            4 => gather::<4>(bytes, &offsets, d),
            _ => gather::<8>(bytes, &offsets, d),
        }
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

    /// `cp.async`: it is checked now, and done when somebody waits for it, so that nobody can live without waiting.
    pub fn cp_async(&mut self, warp: &mut Warp, m: u32, (to, from): (Place, Place), bytes: u32, source: Option<u32>) -> Result<(), Fault> {
        for l in lanes(m) {
            let at = |p: Place| warp.regs[p.base as usize][l].wrapping_add(p.offset as u64);
            let (to, from) = (at(to) & 0xffff_ffff, at(from));
            self.vector_aligned(l, to | from, bytes.into())?;
            let have = source.map_or(bytes, |r| (warp.regs[r as usize][l] as u32).min(bytes));
            self.shared.check(l as u32, to, bytes.into())?;
            if have > 0 {
                self.load(warp, l as u32, Where::Global(from), 1)?;
            }
            warp.copies.open.push(Pending { lane: l as u32, to, from, bytes, have });
        }
        Ok(())
    }

    pub fn cp_wait(&mut self, warp: &mut Warp, but: Option<u32>) -> Result<(), Fault> {
        if but.is_none() {
            warp.copies.commit();
        }
        let done = warp.copies.groups.len().saturating_sub(but.unwrap_or(0) as usize);
        for c in warp.copies.groups.drain(..done).flatten().collect::<Vec<_>>() {
            self.copy_now(warp, &c)?;
        }
        Ok(())
    }

    fn copy_now(&mut self, warp: &mut Warp, c: &Pending) -> Result<(), Fault> {
        for i in (0..c.bytes).step_by(4) {
            let mut v = 0;
            for b in i..(i + 4).min(c.have) {
                v |= self.load(warp, c.lane, Where::Global(c.from.wrapping_add(b.into())), 1)? << (8 * (b - i));
            }
            self.store(warp, c.lane, Where::Shared(c.to + u64::from(i)), 4, v)?;
        }
        Ok(())
    }
}

/// `N` bytes of each place; false, and nothing done, where one is not inside or not aligned.
#[inline]
fn gather<const N: usize>(bytes: &[u8], at: &[u64; 32], d: &mut [u64; 32]) -> bool {
    let Some(last) = bytes.len().checked_sub(N) else { return false };
    if at.iter().fold(false, |wrong, o| wrong | (*o > last as u64) | (*o % N as u64 != 0)) {
        return false;
    }
    for (d, o) in d.iter_mut().zip(at) {
        let Some(from) = bytes.get(*o as usize..).and_then(|b| b.first_chunk::<N>()) else { return false };
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(from);
        *d = u64::from_le_bytes(wide);
    }
    true
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
