//! Operands: names and numbers to registers, predicates and places; suffixes of opcodes.
use super::{Decoder, Name};
use crate::isa::{ALWAYS, Class, Manner, NEVER, Op, P, Place, R, Round, Space, Special, Ty, mask};
use crate::lex::{Refusal, refuse};
use crate::parse::{Arg, Words};

/// The suffixes of an opcode; what nobody takes is not known here.
pub struct Suffixes<'a> {
    words: Vec<&'a str>,
    line: u32,
    opcode: &'a str,
}

impl<'a> Suffixes<'a> {
    pub fn of(w: &Words<'a>) -> (&'a str, Self) {
        let mut parts = w.opcode.split('.');
        let name = parts.next().unwrap_or_default();
        (name, Suffixes { words: parts.collect(), line: w.line, opcode: w.opcode })
    }

    pub fn take(&mut self, word: &str) -> bool {
        let at = self.words.iter().position(|w| *w == word);
        at.map(|i| self.words.remove(i)).is_some()
    }

    pub fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub fn take_all(&mut self, words: &[&str]) {
        self.words.retain(|w| !words.contains(w));
    }

    /// The value of the first word that is in the table.
    pub fn choose<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        let (i, value) = self.words.iter().enumerate().find_map(|(i, w)| table.iter().find(|t| t.0 == *w).map(|t| (i, t.1)))?;
        self.words.remove(i);
        Some(value)
    }

    pub fn must_choose<T: Copy>(&mut self, table: &[(&str, T)]) -> Result<T, Refusal> {
        match self.choose(table) {
            Some(t) => Ok(t),
            None => self.unknown(),
        }
    }

    pub fn ty(&mut self) -> Result<Ty, Refusal> {
        match self.words.iter().enumerate().find_map(|(i, w)| Ty::named(w).map(|t| (i, t))) {
            Some((i, ty)) => {
                self.words.remove(i);
                Ok(ty)
            }
            None => self.unknown(),
        }
    }

    pub fn space(&mut self) -> Space {
        let found = self.choose(&[
            ("global", Space::Global),
            ("const", Space::Const),
            ("shared", Space::Shared),
            ("local", Space::Local),
            ("param", Space::Param),
        ]);
        self.take_all(&["cta", "entry", "func"]);
        found.unwrap_or(Space::Generic)
    }

    pub fn round(&mut self) -> Option<Round> {
        let round = [("rn", Round::Near), ("rz", Round::Zero), ("rm", Round::Down), ("rp", Round::Up), ("rna", Round::Away)];
        self.choose(&round)
    }

    /// What arithmetic on floats may say.
    pub fn manner(&mut self) -> Result<Manner, Refusal> {
        let round = self.round().unwrap_or(Round::Near);
        let (ftz, sat, relu) = (self.take("ftz"), self.take("sat"), self.take("relu"));
        let ty = self.ty()?;
        if !ty.is_float() || (round != Round::Near && ty != Ty::F32) || (ty.bits == 64 && (ftz || sat)) {
            return self.unknown();
        }
        Ok(Manner { ty, round, ftz: ftz && ty == Ty::F32, sat, relu })
    }

    pub fn unknown<T>(&self) -> Result<T, Refusal> {
        refuse(self.line, format!("{} is not known here", self.opcode))
    }

    /// Nothing may be left.
    pub fn done(&self) -> Result<(), Refusal> {
        if self.words.is_empty() { Ok(()) } else { self.unknown() }
    }
}

impl<'m, 'a: 'm> Decoder<'m, 'a> {
    fn name(&self, name: &str) -> Option<Name> {
        self.scopes.iter().rev().find_map(|s| s.get(name)).copied()
    }

    pub(super) fn special(&mut self, s: Special) -> R {
        if let Some(r) = self.specials.get(&s) {
            return *r;
        }
        let r = self.fresh();
        self.specials.insert(s, r);
        r
    }

    /// A source: register, special register, number, or the address of a variable.
    pub(super) fn source(&mut self, w: &Words<'a>, i: usize, bits: u32) -> Result<R, Refusal> {
        match w.args.get(i) {
            Some(Arg::Int(v)) => Ok(self.constant(*v as u64 & mask(bits))),
            Some(Arg::Name(name)) => self.source_named(name, w.line),
            Some(Arg::Mem(Some(name), offset)) => match self.name(name) {
                Some(Name::Address(at, _)) => Ok(self.constant(at.wrapping_add(*offset as u64))),
                _ => refuse(w.line, format!("{name} is no variable")),
            },
            other => refuse(w.line, format!("{}: {other:?} is no source", w.opcode)),
        }
    }

    pub(super) fn source_named(&mut self, name: &str, line: u32) -> Result<R, Refusal> {
        match self.name(name) {
            Some(Name::Reg(r, _)) => return Ok(r),
            Some(Name::Address(at, _)) => return Ok(self.constant(at)),
            Some(Name::Dynamic) => return Ok(self.special(Special::DynamicBase)),
            _ => {}
        }
        if name == "WARP_SZ" {
            return Ok(self.constant(32));
        }
        match special_named(name) {
            Some(s) => Ok(self.special(s)),
            None => refuse(line, format!("{name} is not declared")),
        }
    }

    /// A destination register with its bits. `_` is one that nobody reads.
    pub(super) fn target(&mut self, w: &Words<'a>, i: usize) -> Result<(R, u32), Refusal> {
        match w.args.get(i) {
            Some(Arg::Name(name)) => self.target_named(name, w.line),
            other => refuse(w.line, format!("{}: {other:?} is no register", w.opcode)),
        }
    }

    pub(super) fn target_named(&mut self, name: &str, line: u32) -> Result<(R, u32), Refusal> {
        match self.name(name) {
            Some(Name::Reg(r, bits)) => Ok((r, bits)),
            None if name == "_" => Ok((self.fresh(), 64)),
            _ => refuse(line, format!("{name} is no register")),
        }
    }

    pub(super) fn pred_named(&mut self, name: &str, line: u32) -> Result<P, Refusal> {
        match self.name(name) {
            Some(Name::Pred(p)) => Ok(p),
            None if name == "_" => Ok(self.fresh_pred()),
            _ => refuse(line, format!("{name} is no predicate")),
        }
    }

    /// A predicate that is read, and whether its opposite is meant.
    pub(super) fn pred(&mut self, w: &Words<'a>, i: usize) -> Result<(P, bool), Refusal> {
        match w.args.get(i) {
            Some(Arg::Name(name)) => Ok((self.pred_named(name, w.line)?, false)),
            Some(Arg::Not(name)) => Ok((self.pred_named(name, w.line)?, true)),
            Some(Arg::Int(v)) => Ok((if *v == 0 { NEVER } else { ALWAYS }, false)),
            other => refuse(w.line, format!("{}: {other:?} is no predicate", w.opcode)),
        }
    }

    /// `d` or `d|p` where d is a register.
    pub(super) fn target_and_pred(&mut self, w: &Words<'a>, i: usize) -> Result<(R, Option<P>), Refusal> {
        match w.args.get(i) {
            Some(Arg::Pair(d, p)) => {
                let d = self.target_named(d, w.line)?.0;
                Ok((d, Some(self.pred_named(p, w.line)?)))
            }
            _ => Ok((self.target(w, i)?.0, None)),
        }
    }

    pub(super) fn sources_of(&mut self, w: &Words<'a>, i: usize, bits: u32) -> Result<Vec<R>, Refusal> {
        let Some(Arg::List(list)) = w.args.get(i) else { return Ok(vec![self.source(w, i, bits)?]) };
        list.iter()
            .map(|a| match a {
                Arg::Name(n) => self.source_named(n, w.line),
                Arg::Int(v) => Ok(self.constant(*v as u64 & mask(bits))),
                other => refuse(w.line, format!("{other:?} in a list")),
            })
            .collect()
    }

    /// Registers of a list, or the one there is, with the bits of the first.
    pub(super) fn targets_of(&mut self, w: &Words<'a>, i: usize) -> Result<(Vec<R>, u32), Refusal> {
        let Some(Arg::List(list)) = w.args.get(i) else {
            let (r, bits) = self.target(w, i)?;
            return Ok((vec![r], bits));
        };
        let (mut found, mut bits) = (Vec::new(), 64);
        for a in list {
            let Arg::Name(n) = a else { return refuse(w.line, format!("{a:?} is no register")) };
            let (r, b) = self.target_named(n, w.line)?;
            if *n != "_" {
                bits = b;
            }
            found.push(r);
        }
        Ok((found, bits))
    }

    /// `[base + offset]`. A variable's own space stands for `.param` that is a call's, which each lane has for itself.
    pub(super) fn place(&mut self, w: &Words<'a>, i: usize, space: Space) -> Result<Place, Refusal> {
        let (base, offset) = match w.args.get(i) {
            Some(Arg::Mem(base, offset)) => (*base, *offset),
            other => return refuse(w.line, format!("{}: {other:?} is no address", w.opcode)),
        };
        let Some(name) = base else { return Ok(Place { space, base: self.constant(0), offset }) };
        match self.name(name) {
            Some(Name::Address(at, of)) => {
                let space = if space == Space::Param { of } else { space };
                Ok(Place { space, base: self.constant(at), offset })
            }
            Some(Name::Reg(..)) if space == Space::Param && self.back.is_some() => {
                refuse(w.line, format!("{}: a parameter's address in a function", w.opcode))
            }
            _ => Ok(Place { space, base: self.source_named(name, w.line)?, offset }),
        }
    }

    /// Where a variable of a call is in each lane's memory.
    pub(super) fn local_place(&self, name: &str, line: u32) -> Result<u64, Refusal> {
        match self.name(name) {
            Some(Name::Address(at, Space::Local)) => Ok(at),
            _ => refuse(line, format!("{name} is no parameter of a call")),
        }
    }

    pub(super) fn expect_args(&self, w: &Words<'a>, n: usize) -> Result<(), Refusal> {
        if w.args.len() == n { Ok(()) } else { refuse(w.line, format!("{} has {} operands", w.opcode, w.args.len())) }
    }

    pub(super) fn mov_or_pred(&mut self, w: &Words<'a>, ty: Ty) -> Result<Op, Refusal> {
        if ty.class == Class::Pred {
            let d = match w.args.first() {
                Some(Arg::Name(n)) => self.pred_named(n, w.line)?,
                other => return refuse(w.line, format!("{other:?} is no predicate")),
            };
            let (a, not_a) = self.pred(w, 1)?;
            return Ok(Op::Pred { op: crate::isa::Logic::Or, d, a, not_a, b: NEVER });
        }
        if let Some(Arg::List(list)) = w.args.first() {
            let parts = ty.bits / list.len().max(1) as u32;
            let mut d = Vec::new();
            for a in list {
                let Arg::Name(n) = a else { return refuse(w.line, "a register expected") };
                d.push(if *n == "_" { None } else { Some(self.target_named(n, w.line)?.0) });
            }
            return Ok(Op::Unpack { d, a: self.source(w, 1, ty.bits)?, bits: parts });
        }
        let d = self.target(w, 0)?.0;
        if let Some(Arg::List(list)) = w.args.get(1) {
            let bits = ty.bits / list.len().max(1) as u32;
            return Ok(Op::Pack { d, parts: self.sources_of(w, 1, bits)?, bits });
        }
        Ok(Op::Mov { d, a: self.source(w, 1, ty.bits)? })
    }
}

fn special_named(name: &str) -> Option<Special> {
    let (head, axis) = match name.rsplit_once('.') {
        Some((head, "x")) => (head, 0),
        Some((head, "y")) => (head, 1),
        Some((head, "z")) => (head, 2),
        _ => (name, 3),
    };
    match (head, axis) {
        ("%tid", 0..3) => Some(Special::Tid(axis)),
        ("%ntid", 0..3) => Some(Special::Ntid(axis)),
        ("%ctaid", 0..3) => Some(Special::Ctaid(axis)),
        ("%nctaid", 0..3) => Some(Special::Nctaid(axis)),
        ("%laneid", 3) => Some(Special::Laneid),
        ("%warpid", 3) => Some(Special::Warpid),
        ("%nwarpid", 3) => Some(Special::Nwarpid),
        ("%lanemask_eq", 3) => Some(Special::LanemaskEq),
        ("%lanemask_lt", 3) => Some(Special::LanemaskLt),
        ("%lanemask_le", 3) => Some(Special::LanemaskLe),
        ("%lanemask_gt", 3) => Some(Special::LanemaskGt),
        ("%lanemask_ge", 3) => Some(Special::LanemaskGe),
        ("%smid", 3) => Some(Special::Smid),
        ("%nsmid", 3) => Some(Special::Nsmid),
        ("%dynamic_smem_size", 3) => Some(Special::DynamicShared),
        ("%total_smem_size", 3) => Some(Special::TotalShared),
        ("%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo", 3) => Some(Special::Clock),
        _ => None,
    }
}
