//! Instructions that reach memory, by opcode. Hints for caches are read and forgotten: memory here has one order.
use super::Decoder;
use super::operands::Suffixes;
use crate::isa::*;
use crate::lex::{Refusal, refuse};
use crate::parse::{Arg, Words};

/// What says how a cache should treat an access, or who has to see it: everybody sees it at once.
const HINTS: &[&str] = &[
    "weak",
    "volatile",
    "relaxed",
    "acquire",
    "release",
    "acq_rel",
    "sc",
    "gpu",
    "sys",
    "cluster",
    "nc",
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "L1::evict_normal",
    "L1::evict_first",
    "L1::evict_last",
    "L1::no_allocate",
    "L1::evict_unchanged",
];

impl<'m, 'a: 'm> Decoder<'m, 'a> {
    /// None: another kind of opcode.
    pub(super) fn memory(&mut self, name: &str, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Option<Op>, Refusal> {
        s.take_all(HINTS);
        let op = match name {
            "ld" | "ldu" | "st" => self.load_or_store(name == "st", w, s)?,
            "atom" | "red" => self.atom(name == "atom", w, s)?,
            "cvta" => self.cvta(w, s)?,
            "isspacep" => {
                let space = s.space();
                let Some(Arg::Name(d)) = w.args.first() else { return s.unknown() };
                Op::IsSpace { space, d: self.pred_named(d, w.line)?, a: self.source(w, 1, 64)? }
            }
            "cp" => self.cp_async(w, s)?,
            "prefetch" | "prefetchu" | "discard" | "applypriority" => {
                s.take_all(&["global", "local", "L1", "L2", "L2::evict_last", "L2::evict_normal"]);
                Op::Nop
            }
            "membar" | "fence" => {
                s.take_all(&["gl", "cta", "proxy", "alias", "async", "global", "shared"]);
                Op::Nop
            }
            _ => return Ok(None),
        };
        Ok(Some(op))
    }

    fn load_or_store(&mut self, is_store: bool, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let space = s.space();
        s.take_all(&["L2::64B", "L2::128B", "L2::256B", "L2::cache_hint"]);
        let n = s.choose(&[("v2", 2), ("v4", 4)]).unwrap_or(1);
        let ty = s.ty()?;
        self.expect_args(w, 2)?;
        let (value, address) = if is_store { (1, 0) } else { (0, 1) };
        let at = self.place(w, address, space)?;
        let (regs, reg_bits) = if is_store { (self.sources_of(w, value, ty.bits)?, ty.bits) } else { self.targets_of(w, value)? };
        if regs.len() != n {
            return refuse(w.line, format!("{} with {} registers", w.opcode, regs.len()));
        }
        let access = Box::new(Access { at, ty, reg_bits, regs });
        Ok(if is_store { Op::St(access) } else { Op::Ld(access) })
    }

    fn atom(&mut self, answers: bool, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let space = s.space();
        s.take("noftz");
        let op = s.must_choose(&[
            ("add", AtomOp::Add),
            ("min", AtomOp::Min),
            ("max", AtomOp::Max),
            ("and", AtomOp::And),
            ("or", AtomOp::Or),
            ("xor", AtomOp::Xor),
            ("exch", AtomOp::Exch),
            ("cas", AtomOp::Cas),
            ("inc", AtomOp::Inc),
            ("dec", AtomOp::Dec),
        ])?;
        let ty = s.ty()?;
        let first = usize::from(answers);
        let d = if answers { Some(self.target(w, 0)?.0) } else { None };
        let at = self.place(w, first, space)?;
        let b = self.source(w, first + 1, ty.bits)?;
        let c = if op == AtomOp::Cas { self.source(w, first + 2, ty.bits)? } else { b };
        self.expect_args(w, first + 2 + usize::from(op == AtomOp::Cas))?;
        Ok(Op::Atom(Box::new(Atom { op, ty, at, d, b, c })))
    }

    fn cvta(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let to = s.take("to");
        let space = s.space();
        s.ty()?;
        self.expect_args(w, 2)?;
        if space == Space::Param {
            return s.unknown();
        }
        Ok(Op::Cvta { space, to, d: self.target(w, 0)?.0, a: self.source(w, 1, 64)? })
    }

    fn cp_async(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        if !s.take("async") {
            return s.unknown();
        }
        if s.take("commit_group") {
            return Ok(Op::CpCommit);
        }
        if s.take("wait_group") || s.take("wait_all") {
            return Ok(Op::CpWait);
        }
        s.take_all(&["shared", "global", "L2::64B", "L2::128B", "L2::256B"]);
        let to = self.place(w, 0, Space::Shared)?;
        let from = self.place(w, 1, Space::Global)?;
        let Some(Arg::Int(bytes)) = w.args.get(2) else { return s.unknown() };
        let source = if w.args.len() > 3 { Some(self.source(w, 3, 32)?) } else { None };
        match bytes {
            4 | 8 | 16 => Ok(Op::CpAsync { to, from, bytes: *bytes as u32, source }),
            _ => s.unknown(),
        }
    }
}
