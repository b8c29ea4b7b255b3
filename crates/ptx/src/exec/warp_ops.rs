//! What the lanes of a warp do together: shuffles, votes, reductions, matrices from shared memory.
use super::block::Machine;
use super::mem::{Where, locate};
use super::warp::{Flow, Warp};
use super::{FULL, Fault, Kind, atom, fault, lanes, mma, put};
use crate::isa::{Op, Place, Shuffle, Vote, mask};

impl Warp {
    pub(super) fn collective(&mut self, m: &mut Machine, op: &Op, mut at: u32) -> Result<Flow, Fault> {
        let members = match op {
            Op::Shfl { members, .. }
            | Op::Vote { members, .. }
            | Op::Match { members, .. }
            | Op::Redux { members, .. }
            | Op::Elect { members, .. }
            | Op::WarpSync { members } => self.regs[*members as usize][super::fpu::first_lane(at) as usize] as u32,
            Op::Mma(_) | Op::LdMatrix { .. } => FULL,
            _ => at,
        };
        if !self.gathered(&mut at, members)? {
            return Ok(Flow::Moved);
        }
        match op {
            Op::Shfl { mode, d, p, a, b, c, .. } => self.shuffle(at, *mode, (*d, *p), [*a, *b, *c])?,
            Op::Vote { mode, d, p, a, not, .. } => self.vote(at, *mode, (*d, *p), self.preds[*a as usize] ^ if *not { FULL } else { 0 }),
            Op::Match { all, bits, d, p, a, .. } => self.match_lanes(at, *all, *bits, (*d, *p), *a),
            Op::Redux { op, ty, d, a, .. } => {
                let a = self.regs[*a as usize];
                let all = lanes(at).map(|l| a[l] & ty.mask()).reduce(|x, y| atom::apply(*op, *ty, x, y, 0)).unwrap_or(0);
                put(&mut self.regs[*d as usize], at, |_| all);
            }
            Op::Elect { d, p, .. } => {
                let first = super::fpu::first_lane(at);
                put(&mut self.regs[*d as usize], at, |_| u64::from(first));
                self.set_pred(*p, at, 1 << first);
            }
            Op::Activemask { d } => put(&mut self.regs[*d as usize], at, |_| u64::from(at)),
            Op::WarpSync { .. } => {}
            Op::Mma(p) => {
                whole(self, at, "mma")?;
                mma::run(&mut self.regs, p);
            }
            Op::LdMatrix { at: place, d, trans } => {
                whole(self, at, "ldmatrix")?;
                m.ldmatrix(self, *place, d, *trans)?;
            }
            _ => return fault(0, Kind::Launch, "an instruction that nobody runs"),
        }
        Ok(Flow::Next)
    }

    fn shuffle(&mut self, at: u32, mode: Shuffle, (d, p): (u32, Option<u32>), [a, b, c]: [u32; 3]) -> Result<(), Fault> {
        let (a, b, c) = (self.regs[a as usize], self.regs[b as usize], self.regs[c as usize]);
        let mut inside = 0;
        let mut out = [0; 32];
        for l in lanes(at) {
            let (i, by, segments, clamp) = (l as i64, (b[l] & 31) as i64, (c[l] >> 8 & 31) as i64, (c[l] & 31) as i64);
            let last = i & segments | clamp & !segments;
            let (j, ok) = match mode {
                Shuffle::Up => (i - by, i - by >= last),
                Shuffle::Down => (i + by, i + by <= last),
                Shuffle::Bfly => (i ^ by, i ^ by <= last),
                Shuffle::Idx => {
                    let j = i & segments | by & !segments;
                    (j, j <= last)
                }
            };
            let j = if ok { j as usize } else { l };
            if at >> j & 1 == 0 {
                return fault(l as u32, Kind::Launch, format!("a shuffle reads lane {j}, which does not take part"));
            }
            inside |= u32::from(ok) << l;
            out[l] = a[j] & 0xffff_ffff;
        }
        put(&mut self.regs[d as usize], at, |l| out[l]);
        if let Some(p) = p {
            self.set_pred(p, at, inside);
        }
        Ok(())
    }

    fn vote(&mut self, at: u32, mode: Vote, (d, p): (u32, u32), yes: u32) {
        let yes = yes & at;
        let truth = match mode {
            Vote::All => yes == at,
            Vote::Any => yes != 0,
            Vote::Uni => yes == at || yes == 0,
            Vote::Ballot => return put(&mut self.regs[d as usize], at, |_| u64::from(yes)),
        };
        self.set_pred(p, at, if truth { FULL } else { 0 });
    }

    fn match_lanes(&mut self, at: u32, all: bool, bits: u32, (d, p): (u32, Option<u32>), a: u32) {
        let a = self.regs[a as usize].map(|v| v & mask(bits));
        let same = |l: usize| lanes(at).filter(|i| a[*i] == a[l]).fold(0u32, |m, i| m | 1 << i);
        if !all {
            return put(&mut self.regs[d as usize], at, |l| u64::from(same(l)));
        }
        let everybody = same(super::fpu::first_lane(at) as usize) == at;
        put(&mut self.regs[d as usize], at, |_| if everybody { u64::from(at) } else { 0 });
        if let Some(p) = p {
            self.set_pred(p, at, if everybody { FULL } else { 0 });
        }
    }
}

/// Products of tiles need every lane there is.
fn whole(warp: &Warp, at: u32, name: &str) -> Result<(), Fault> {
    if at == FULL { Ok(()) } else { fault(super::fpu::first_lane(warp.alive), Kind::Launch, format!("{name} with lanes {at:#x} only")) }
}

impl Machine<'_> {
    /// 8 by 8 of 16 bits: lane 8 i + r says where row r of matrix i is; lane l gets two neighbours of row l / 4, of column l / 4 where transposed.
    fn ldmatrix(&mut self, warp: &mut Warp, place: Place, d: &[u32], trans: bool) -> Result<(), Fault> {
        for (i, d) in d.iter().enumerate() {
            let mut rows = [[0u64; 8]; 8];
            for (r, row) in rows.iter_mut().enumerate() {
                let lane = 8 * i + r;
                let start = warp.regs[place.base as usize][lane].wrapping_add(place.offset as u64);
                let Where::Shared(at) = locate(place.space, start) else {
                    return fault(lane as u32, Kind::Address, format!("ldmatrix at {start:#x}: not in shared memory"));
                };
                self.shared.check(lane as u32, at, 16)?;
                for (c, value) in row.iter_mut().enumerate() {
                    *value = self.shared.load(lane as u32, warp.index, at + 2 * c as u64, 2, false)?;
                }
            }
            let get = |l: usize, e: usize| if trans { rows[2 * (l % 4) + e][l / 4] } else { rows[l / 4][2 * (l % 4) + e] };
            put(&mut warp.regs[*d as usize], FULL, |l| get(l, 0) | get(l, 1) << 16);
        }
        Ok(())
    }
}
