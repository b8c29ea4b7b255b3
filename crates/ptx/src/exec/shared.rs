//! The shared memory of a block: who wrote what, so that reads of what nobody wrote are found, and accesses of two warps without a barrier between.
use super::{Fault, Kind, fault};

/// What is known of four bytes: who wrote and who read them last, and after how many barriers.
#[derive(Clone, Copy, Default)]
struct Word {
    written: u32,
    wrote: Touch,
    read: Touch,
}

/// A warp (plus one; 0 is nobody) and the barriers that its block had passed.
#[derive(Clone, Copy, Default, PartialEq)]
struct Touch {
    warp: u16,
    epoch: u32,
}

const MANY: u16 = u16::MAX;

#[derive(Default)]
pub struct Shared {
    bytes: Vec<u8>,
    words: Vec<Word>,
    /// Barriers of the whole block so far.
    pub epoch: u32,
    /// Whether barriers of parts of the block were used: then nothing is known about order.
    pub is_partial: bool,
}

impl Shared {
    pub fn reset(&mut self, len: u64) {
        self.bytes.clear();
        self.bytes.resize(len as usize, 0xff);
        self.words.clear();
        self.words.resize(len.div_ceil(4) as usize, Word::default());
        self.epoch = 1;
        self.is_partial = false;
    }

    /// The range, if it is inside and aligned.
    pub fn check(&self, lane: u32, at: u64, len: u64) -> Result<usize, Fault> {
        if at.checked_add(len).is_none_or(|end| end > self.bytes.len() as u64) {
            return fault(lane, Kind::Address, format!("{len} bytes at {at:#x} of {} bytes of shared memory", self.bytes.len()));
        }
        if !at.is_multiple_of(len) {
            return fault(lane, Kind::Misaligned, format!("{len} bytes at {at:#x} of shared memory: not aligned"));
        }
        Ok(at as usize)
    }

    pub fn load(&mut self, lane: u32, warp: u32, at: u64, len: u64, atomic: bool) -> Result<u64, Fault> {
        let i = self.check(lane, at, len)?;
        if !atomic {
            self.reads(lane, warp, i, len as usize)?;
        }
        let mut out = [0; 8];
        out[..len as usize].copy_from_slice(&self.bytes[i..i + len as usize]);
        Ok(u64::from_le_bytes(out))
    }

    pub fn store(&mut self, lane: u32, warp: u32, at: u64, len: u64, value: u64, atomic: bool) -> Result<(), Fault> {
        let i = self.check(lane, at, len)?;
        self.writes(lane, warp, i, len as usize, atomic)?;
        self.bytes[i..i + len as usize].copy_from_slice(&value.to_le_bytes()[..len as usize]);
        Ok(())
    }

    fn reads(&mut self, lane: u32, warp: u32, at: usize, len: usize) -> Result<(), Fault> {
        for (word, bytes) in words(at, len) {
            let w = &mut self.words[word];
            if w.written & bytes != bytes {
                return fault(lane, Kind::Address, format!("reads {len} bytes at {at:#x} of shared memory that nobody wrote"));
            }
            let me = Touch { warp: warp as u16 + 1, epoch: self.epoch };
            if !self.is_partial && w.wrote.epoch == self.epoch && w.wrote.warp != me.warp && w.wrote.warp != MANY {
                let who = w.wrote.warp - 1;
                return fault(
                    lane,
                    Kind::Address,
                    format!("race: reads shared memory at {at:#x} that warp {who} wrote, no barrier between"),
                );
            }
            let others = w.read.epoch == self.epoch && w.read.warp != me.warp;
            w.read = if others { Touch { warp: MANY, ..me } } else { me };
        }
        Ok(())
    }

    fn writes(&mut self, lane: u32, warp: u32, at: usize, len: usize, atomic: bool) -> Result<(), Fault> {
        for (word, bytes) in words(at, len) {
            let w = &mut self.words[word];
            let me = warp as u16 + 1;
            let before = |t: Touch| t.epoch == self.epoch && t.warp != me && t.warp != 0;
            // Bytes of one word may belong to several warps: whole words alone say who was there.
            let exact = bytes == 0xf && !self.is_partial && !atomic;
            if exact && (before(w.wrote) && w.wrote.warp != MANY || before(w.read)) {
                let what = if before(w.read) { "read" } else { "wrote" };
                return fault(
                    lane,
                    Kind::Address,
                    format!("race: writes shared memory at {at:#x} that another warp {what}, no barrier between"),
                );
            }
            w.written |= bytes;
            // What several may write in any order is nobody's.
            w.wrote = Touch { warp: if exact { me } else { MANY }, epoch: self.epoch };
        }
        Ok(())
    }
}

/// The words of a range, each with the mask of its bytes.
fn words(at: usize, len: usize) -> impl Iterator<Item = (usize, u32)> {
    let (first, last) = (at / 4, (at + len - 1) / 4);
    (first..=last).map(move |w| {
        let (from, to) = (at.max(4 * w) - 4 * w, (at + len).min(4 * w + 4) - 4 * w);
        (w, ((1u32 << to) - 1) & !((1u32 << from) - 1))
    })
}
