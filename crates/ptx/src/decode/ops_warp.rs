//! Instructions of whole warps and blocks, by opcode: shuffles, votes, barriers, products of tiles.
use super::Decoder;
use super::operands::Suffixes;
use crate::isa::*;
use crate::lex::{Refusal, refuse};
use crate::parse::{Arg, Words};

impl<'m, 'a: 'm> Decoder<'m, 'a> {
    pub(super) fn warp(&mut self, name: &str, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        match name {
            "shfl" => self.shfl(w, s),
            "vote" => self.vote(w, s),
            "match" => self.match_sync(w, s),
            "redux" => self.redux(w, s),
            "activemask" => {
                s.ty()?;
                Ok(Op::Activemask { d: self.target(w, 0)?.0 })
            }
            "elect" => {
                s.take("sync");
                let (d, p) = self.target_and_pred(w, 0)?;
                let p = p.unwrap_or_else(|| self.fresh_pred());
                Ok(Op::Elect { d, p, members: self.source(w, 1, 32)? })
            }
            "bar" | "barrier" => self.bar(w, s),
            "mma" => self.mma(w, s),
            "ldmatrix" => self.ldmatrix(w, s),
            "nanosleep" => {
                s.ty()?;
                Ok(Op::Nop)
            }
            "griddepcontrol" => {
                s.take_all(&["wait", "launch_dependents"]);
                Ok(Op::Nop)
            }
            _ => s.unknown(),
        }
    }

    fn shfl(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        if !s.take("sync") {
            return s.unknown();
        }
        let mode = s.must_choose(&[("up", Shuffle::Up), ("down", Shuffle::Down), ("bfly", Shuffle::Bfly), ("idx", Shuffle::Idx)])?;
        s.ty()?;
        self.expect_args(w, 5)?;
        let (d, p) = self.target_and_pred(w, 0)?;
        let (a, b, c) = (self.source(w, 1, 32)?, self.source(w, 2, 32)?, self.source(w, 3, 32)?);
        Ok(Op::Shfl { mode, d, p, a, b, c, members: self.source(w, 4, 32)? })
    }

    fn vote(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        if !s.take("sync") {
            return s.unknown();
        }
        let mode = s.must_choose(&[("all", Vote::All), ("any", Vote::Any), ("uni", Vote::Uni), ("ballot", Vote::Ballot)])?;
        s.ty()?;
        self.expect_args(w, 3)?;
        let (a, not) = self.pred(w, 1)?;
        let members = self.source(w, 2, 32)?;
        if mode == Vote::Ballot {
            return Ok(Op::Vote { mode, d: self.target(w, 0)?.0, p: self.fresh_pred(), a, not, members });
        }
        let Some(Arg::Name(p)) = w.args.first() else { return s.unknown() };
        Ok(Op::Vote { mode, d: self.fresh(), p: self.pred_named(p, w.line)?, a, not, members })
    }

    fn match_sync(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let all = s.must_choose(&[("all", true), ("any", false)])?;
        s.take("sync");
        let bits = s.ty()?.bits;
        let (d, p) = self.target_and_pred(w, 0)?;
        Ok(Op::Match { all, bits, d, p, a: self.source(w, 1, bits)?, members: self.source(w, 2, 32)? })
    }

    fn redux(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        s.take("sync");
        let ops = [
            ("add", AtomOp::Add),
            ("min", AtomOp::Min),
            ("max", AtomOp::Max),
            ("and", AtomOp::And),
            ("or", AtomOp::Or),
            ("xor", AtomOp::Xor),
        ];
        let op = s.must_choose(&ops)?;
        let ty = s.ty()?;
        if ty.is_float() {
            return s.unknown();
        }
        Ok(Op::Redux { op, ty, d: self.target(w, 0)?.0, a: self.source(w, 1, 32)?, members: self.source(w, 2, 32)? })
    }

    /// `bar.sync`, `bar.arrive`, `bar.red` and `bar.warp.sync`, also under the name `barrier`.
    fn bar(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        if s.take("warp") {
            s.take("sync");
            return Ok(Op::WarpSync { members: self.source(w, 0, 32)? });
        }
        s.take_all(&["cta", "aligned"]);
        if s.take("red") {
            return self.bar_red(w, s);
        }
        let waits = s.must_choose(&[("sync", true), ("arrive", false)])?;
        let id = self.source(w, 0, 32)?;
        let threads = if w.args.len() > 1 { Some(self.source(w, 1, 32)?) } else { None };
        Ok(Op::Bar { kind: if waits { Barrier::Sync } else { Barrier::Arrive }, id, threads })
    }

    fn bar_red(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let op = s.must_choose(&[("popc", 0), ("and", 1), ("or", 2)])?;
        s.ty()?;
        let with_count = w.args.len() == 4;
        let (a, not) = self.pred(w, w.args.len().saturating_sub(1))?;
        let id = self.source(w, 1, 32)?;
        let threads = if with_count { Some(self.source(w, 2, 32)?) } else { None };
        let kind = if op == 0 {
            Barrier::Popc(self.target(w, 0)?.0, a, not)
        } else {
            let Some(Arg::Name(p)) = w.args.first() else { return s.unknown() };
            let p = self.pred_named(p, w.line)?;
            if op == 1 { Barrier::All(p, a, not) } else { Barrier::Any(p, a, not) }
        };
        Ok(Op::Bar { kind, id, threads })
    }

    fn mma(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        s.take_all(&["sync", "aligned", "row", "col"]);
        let k = s.must_choose(&[("m16n8k4", 4), ("m16n8k8", 8), ("m16n8k16", 16), ("m16n8k32", 32)])?;
        let sat = s.take("satfinite");
        let (d, a, b, c) = (s.ty()?, s.ty()?, s.ty()?, s.ty()?);
        let whole = |t: Ty| t.bits == 8 && matches!(t.class, Class::Signed | Class::Unsigned);
        let kind = match (a.class, k) {
            (Class::Float, 8 | 16) if a == Ty::F16 && a == b && d == Ty::F32 && c == d => MmaKind::Half,
            (Class::Float, 8 | 16) if a == Ty::F16 && a == b && d == Ty::F16 && c == d => MmaKind::HalfInHalf,
            (Class::Brain, 8 | 16) if a == b && d == Ty::F32 && c == d => MmaKind::Brain,
            (Class::Tf32, 4 | 8) if a == b && d == Ty::F32 && c == d => MmaKind::Tf32,
            _ if whole(a) && whole(b) && (k == 16 || k == 32) && d.bits == 32 => MmaKind::Int8(a.is_signed(), b.is_signed(), sat),
            _ => return s.unknown(),
        };
        self.expect_args(w, 4)?;
        let mma = Mma {
            kind,
            k,
            d: self.targets_of(w, 0)?.0,
            a: self.sources_of(w, 1, 32)?,
            b: self.sources_of(w, 2, 32)?,
            c: self.sources_of(w, 3, 32)?,
        };
        if [mma.d.len(), mma.a.len(), mma.b.len(), mma.c.len()] != mma.fragments() {
            return refuse(w.line, format!("{}: registers of a wrong number", w.opcode));
        }
        Ok(Op::Mma(Box::new(mma)))
    }

    fn ldmatrix(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        s.take_all(&["sync", "aligned", "m8n8", "b16"]);
        let n = s.must_choose(&[("x1", 1), ("x2", 2), ("x4", 4)])?;
        let trans = s.take("trans");
        let space = s.space();
        let d = self.targets_of(w, 0)?.0;
        if d.len() != n {
            return s.unknown();
        }
        Ok(Op::LdMatrix { at: self.place(w, 1, space)?, d, trans })
    }
}
