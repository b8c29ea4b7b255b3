//! Arithmetic, comparisons, conversions and jumps, by opcode. A suffix that is not known makes the whole text refused.
use super::operands::Suffixes;
use super::{Callee, Decoder, Jump, PROVIDED};
use crate::isa::*;
use crate::lex::{Refusal, refuse};
use crate::parse::{Arg, Words};

impl<'m, 'a: 'm> Decoder<'m, 'a> {
    pub(super) fn decode(&mut self, w: &Words<'a>) -> Result<Op, Refusal> {
        let (name, mut s) = Suffixes::of(w);
        let op = match name {
            "mov" => {
                let ty = s.ty()?;
                self.expect_args(w, 2)?;
                self.mov_or_pred(w, ty)?
            }
            "add" | "sub" | "mul" | "mad" | "fma" | "div" | "rem" | "min" | "max" | "neg" | "abs" | "copysign" => {
                self.arithmetic(name, w, &mut s)?
            }
            "addc" | "subc" => self.carry(name == "subc", true, w, &mut s)?,
            "and" | "or" | "xor" | "not" => self.logic(name, w, &mut s)?,
            "shl" | "shr" => self.int2(if name == "shl" { Int2::Shl } else { Int2::Shr }, w, &mut s)?,
            "shf" => self.shf(w, &mut s)?,
            "popc" | "clz" | "brev" | "bfind" | "cnot" => self.bits(name, w, &mut s)?,
            "bfe" => self.int3(Int3::Bfe, w, &mut s)?,
            "sad" => self.int3(Int3::Sad, w, &mut s)?,
            "bfi" => self.bfi(w, &mut s)?,
            "bmsk" => {
                s.take("clamp");
                self.int2(Int2::Bmsk, w, &mut s)?
            }
            "lop3" => self.lop3(w, &mut s)?,
            "prmt" => self.prmt(w, &mut s)?,
            "dp4a" | "dp2a" => self.dot(name, w, &mut s)?,
            "setp" => self.setp(w, &mut s)?,
            "set" => self.set(w, &mut s)?,
            "selp" => self.selp(w, &mut s)?,
            "slct" => self.slct(w, &mut s)?,
            "testp" => self.testp(w, &mut s)?,
            "cvt" => self.cvt(w, &mut s)?,
            "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => self.function_of_one(name, w, &mut s)?,
            "bra" | "brx" => self.branch(name, w, &mut s)?,
            "call" => self.call(w, &mut s)?,
            "ret" => {
                s.take("uni");
                self.back.map_or(Op::Exit, |back| Op::Ret { back })
            }
            "exit" => Op::Exit,
            "trap" | "brkpt" => Op::Trap,
            _ => match self.memory(name, w, &mut s)? {
                Some(op) => op,
                None => self.warp(name, w, &mut s)?,
            },
        };
        s.done()?;
        Ok(op)
    }

    fn arithmetic(&mut self, name: &str, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let is_float = ["f16", "f16x2", "bf16", "bf16x2", "f32", "f64"].iter().any(|t| s.has(t));
        if is_float {
            return self.float_arithmetic(name, w, s);
        }
        if s.take("cc") {
            return self.carry(name == "sub", false, w, s);
        }
        let size = s.choose(&[("lo", 0), ("hi", 1), ("wide", 2)]);
        let sat = s.take("sat");
        match (name, size) {
            ("add", None) => self.int2(if sat { Int2::AddSat } else { Int2::Add }, w, s),
            ("sub", None) => self.int2(if sat { Int2::SubSat } else { Int2::Sub }, w, s),
            ("mul", Some(0)) => self.int2(Int2::MulLo, w, s),
            ("mul", Some(1)) => self.int2(Int2::MulHi, w, s),
            ("mul", Some(2)) => self.int2(Int2::MulWide, w, s),
            ("mad", Some(0)) => self.int3(Int3::MadLo, w, s),
            ("mad", Some(1)) if !sat => self.int3(Int3::MadHi, w, s),
            ("mad", Some(2)) => self.int3(Int3::MadWide, w, s),
            ("div", None) => self.int2(Int2::Div, w, s),
            ("rem", None) => self.int2(Int2::Rem, w, s),
            ("min", None) => self.int2(Int2::Min, w, s),
            ("max", None) => self.int2(Int2::Max, w, s),
            ("neg", None) => self.int1(Int1::Neg, w, s),
            ("abs", None) => self.int1(Int1::Abs, w, s),
            _ => s.unknown(),
        }
    }

    fn int1(&mut self, op: Int1, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let ty = s.ty()?;
        self.expect_args(w, 2)?;
        Ok(Op::Int1 { op, ty, d: self.target(w, 0)?.0, a: self.source(w, 1, ty.bits)? })
    }

    fn int2(&mut self, op: Int2, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let ty = s.ty()?;
        self.expect_args(w, 3)?;
        if ty.is_float() || ty.bits == 8 || (ty.bits == 64 && op == Int2::MulWide) {
            return s.unknown();
        }
        let b_bits = if matches!(op, Int2::Shl | Int2::Shr) { 32 } else { ty.bits };
        Ok(Op::Int2 { op, ty, d: self.target(w, 0)?.0, a: self.source(w, 1, ty.bits)?, b: self.source(w, 2, b_bits)? })
    }

    fn int3(&mut self, op: Int3, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let ty = s.ty()?;
        self.int3_of(op, ty, w)
    }

    fn int3_of(&mut self, op: Int3, ty: Ty, w: &Words<'a>) -> Result<Op, Refusal> {
        self.expect_args(w, 4)?;
        let wide = if op == Int3::MadWide { 2 * ty.bits } else { ty.bits };
        let (d, a) = (self.target(w, 0)?.0, self.source(w, 1, ty.bits)?);
        Ok(Op::Int3 { op, ty, d, a, b: self.source(w, 2, ty.bits)?, c: self.source(w, 3, wide)? })
    }

    fn carry(&mut self, subtract: bool, carry_in: bool, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let carry_out = s.take("cc") || !carry_in;
        let ty = s.ty()?;
        self.expect_args(w, 3)?;
        let flag = match self.carry {
            Some(p) => p,
            None => self.fresh_pred(),
        };
        self.carry = Some(flag);
        let (d, a, b) = (self.target(w, 0)?.0, self.source(w, 1, ty.bits)?, self.source(w, 2, ty.bits)?);
        Ok(Op::Carry { ty, subtract, carry_in, carry_out, flag, d, a, b })
    }

    fn logic(&mut self, name: &str, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let ty = s.ty()?;
        if ty.class != Class::Pred {
            let (d, a) = (self.target(w, 0)?.0, self.source(w, 1, ty.bits)?);
            let op = match name {
                "not" => return Ok(Op::Int1 { op: Int1::Not, ty, d, a }),
                "and" => Int2::And,
                "or" => Int2::Or,
                _ => Int2::Xor,
            };
            return Ok(Op::Int2 { op, ty, d, a, b: self.source(w, 2, ty.bits)? });
        }
        let Some(Arg::Name(d)) = w.args.first() else { return s.unknown() };
        let d = self.pred_named(d, w.line)?;
        let (a, not_a) = self.pred(w, 1)?;
        if name == "not" {
            return Ok(Op::Pred { op: Logic::Or, d, a, not_a: !not_a, b: NEVER });
        }
        let (b, not_b) = self.pred(w, 2)?;
        if not_b {
            return s.unknown();
        }
        let op = if name == "and" {
            Logic::And
        } else if name == "or" {
            Logic::Or
        } else {
            Logic::Xor
        };
        Ok(Op::Pred { op, d, a, not_a, b })
    }

    fn shf(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let left = s.must_choose(&[("l", true), ("r", false)])?;
        let wrap = s.must_choose(&[("wrap", true), ("clamp", false)])?;
        self.int3(Int3::Shf(left, wrap), w, s)
    }

    fn bits(&mut self, name: &str, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let op = match name {
            "popc" => Int1::Popc,
            "clz" => Int1::Clz,
            "brev" => Int1::Brev,
            "cnot" => Int1::Cnot,
            _ if s.take("shiftamt") => Int1::BfindShift,
            _ => Int1::Bfind,
        };
        self.int1(op, w, s)
    }

    fn bfi(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let bits = s.ty()?.bits;
        self.expect_args(w, 5)?;
        let (d, a, b) = (self.target(w, 0)?.0, self.source(w, 1, bits)?, self.source(w, 2, bits)?);
        Ok(Op::Bfi { bits, d, a, b, pos: self.source(w, 3, 32)?, len: self.source(w, 4, 32)? })
    }

    fn lop3(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let ty = s.ty()?;
        self.expect_args(w, 5)?;
        let Some(Arg::Int(table)) = w.args.get(4) else { return s.unknown() };
        let (d, a, b) = (self.target(w, 0)?.0, self.source(w, 1, 32)?, self.source(w, 2, 32)?);
        Ok(Op::Int3 { op: Int3::Lop3(*table as u8), ty, d, a, b, c: self.source(w, 3, 32)? })
    }

    fn prmt(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let modes =
            [("f4e", Prmt::F4e), ("b4e", Prmt::B4e), ("rc8", Prmt::Rc8), ("ecl", Prmt::Ecl), ("ecr", Prmt::Ecr), ("rc16", Prmt::Rc16)];
        let ty = s.ty()?;
        let mode = s.choose(&modes).unwrap_or(Prmt::Index);
        self.int3_of(Int3::Prmt(mode), ty, w)
    }

    fn dot(&mut self, name: &str, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let hi = name == "dp2a" && !s.must_choose(&[("lo", true), ("hi", false)])?;
        let (a, b) = (s.ty()?.is_signed(), s.ty()?.is_signed());
        let op = if name == "dp4a" { Int3::Dp4a(a, b) } else { Int3::Dp2a(a, b, hi) };
        self.int3_of(op, Ty::U32, w)
    }

    fn float_arithmetic(&mut self, name: &str, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let (approx, nan) = (s.take("approx") || s.take("full"), s.take("NaN"));
        let how = s.manner()?;
        let bits = how.ty.bits;
        let (d, a) = (self.target(w, 0)?.0, self.source(w, 1, bits)?);
        let op = match name {
            "neg" => return Ok(Op::Float1 { op: Float1::Neg, how, d, a }),
            "abs" => return Ok(Op::Float1 { op: Float1::Abs, how, d, a }),
            _ => self.source(w, 2, bits)?,
        };
        let b = op;
        let two = |op| Ok(Op::Float2 { op, how, d, a, b });
        match name {
            "add" if how.is_plain_f32() => Ok(Op::AddF32 { d, a, b }),
            "mul" if how.is_plain_f32() => Ok(Op::MulF32 { d, a, b }),
            "add" => two(Float2::Add),
            "sub" => two(Float2::Sub),
            "mul" => two(Float2::Mul),
            "div" if approx || how.round == Round::Near => two(Float2::Div),
            "min" => two(if nan { Float2::MinNan } else { Float2::Min }),
            "max" => two(if nan { Float2::MaxNan } else { Float2::Max }),
            "copysign" => two(Float2::Copysign),
            "fma" | "mad" => {
                let c = self.source(w, 3, bits)?;
                Ok(if how.is_plain_f32() { Op::FmaF32 { d, a, b, c } } else { Op::Fma { how, d, a, b, c } })
            }
            _ => s.unknown(),
        }
    }

    fn function_of_one(&mut self, name: &str, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        s.take("approx");
        let how = s.manner()?;
        let op = match name {
            "rcp" => Float1::Rcp,
            "sqrt" => Float1::Sqrt,
            "rsqrt" => Float1::Rsqrt,
            "ex2" => Float1::Ex2,
            "lg2" => Float1::Lg2,
            "sin" => Float1::Sin,
            "cos" => Float1::Cos,
            _ => Float1::Tanh,
        };
        if how.round != Round::Near {
            return s.unknown();
        }
        self.expect_args(w, 2)?;
        Ok(Op::Float1 { op, how, d: self.target(w, 0)?.0, a: self.source(w, 1, how.ty.bits)? })
    }

    /// The comparison, type and boolean of setp and set, in the order in which they are written.
    fn comparison(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<SetP, Refusal> {
        let cmp = s.must_choose(&[
            ("eq", Cmp::Eq),
            ("ne", Cmp::Ne),
            ("lt", Cmp::Lt),
            ("lo", Cmp::Lt),
            ("le", Cmp::Le),
            ("ls", Cmp::Le),
            ("gt", Cmp::Gt),
            ("hi", Cmp::Gt),
            ("ge", Cmp::Ge),
            ("hs", Cmp::Ge),
            ("equ", Cmp::Equ),
            ("neu", Cmp::Neu),
            ("ltu", Cmp::Ltu),
            ("leu", Cmp::Leu),
            ("gtu", Cmp::Gtu),
            ("geu", Cmp::Geu),
            ("num", Cmp::Num),
            ("nan", Cmp::Nan),
        ])?;
        let logic = s.choose(&[("and", Logic::And), ("or", Logic::Or), ("xor", Logic::Xor)]);
        let ftz = s.take("ftz");
        let ty = s.ty()?;
        if matches!(ty.class, Class::Float2 | Class::Brain2) {
            return s.unknown();
        }
        let with = match logic {
            Some(op) => {
                let (p, not) = self.pred(w, 3)?;
                Some((op, p, not))
            }
            None => None,
        };
        self.expect_args(w, if with.is_some() { 4 } else { 3 })?;
        let (a, b) = (self.source(w, 1, ty.bits)?, self.source(w, 2, ty.bits)?);
        Ok(SetP { cmp, ty, ftz: ftz && ty == Ty::F32, with, d: NEVER, q: None, a, b })
    }

    fn setp(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let mut set = self.comparison(w, s)?;
        match w.args.first() {
            Some(Arg::Name(d)) => set.d = self.pred_named(d, w.line)?,
            Some(Arg::Pair(d, q)) => {
                set.d = self.pred_named(d, w.line)?;
                set.q = Some(self.pred_named(q, w.line)?);
            }
            other => return refuse(w.line, format!("{other:?} is no predicate")),
        }
        Ok(Op::Setp(Box::new(set)))
    }

    fn set(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        // The type of the result stands before that of the operands.
        let to = s.ty()?;
        let mut cmp = self.comparison(w, s)?;
        if to.bits != 32 || matches!(to.class, Class::Float2 | Class::Brain2) {
            return s.unknown();
        }
        cmp.d = self.fresh_pred();
        Ok(Op::Set { cmp: Box::new(cmp), as_float: to.is_float(), d: self.target(w, 0)?.0 })
    }

    fn selp(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let ty = s.ty()?;
        self.expect_args(w, 4)?;
        let (d, mut a, mut b) = (self.target(w, 0)?.0, self.source(w, 1, ty.bits)?, self.source(w, 2, ty.bits)?);
        let (p, not) = self.pred(w, 3)?;
        if not {
            std::mem::swap(&mut a, &mut b);
        }
        Ok(Op::Selp { d, a, b, p })
    }

    fn slct(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        s.take("ftz");
        let (ty, by) = (s.ty()?, s.ty()?);
        self.expect_args(w, 4)?;
        let (d, a, b) = (self.target(w, 0)?.0, self.source(w, 1, ty.bits)?, self.source(w, 2, ty.bits)?);
        if by == (Ty { class: Class::Signed, bits: 32 }) {
            return Ok(Op::Int3 { op: Int3::Slct, ty, d, a, b, c: self.source(w, 3, 32)? });
        }
        s.unknown()
    }

    fn testp(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let kind = s.must_choose(&[("finite", 0), ("infinite", 1), ("number", 2), ("notanumber", 3), ("normal", 4), ("subnormal", 5)])?;
        let ty = s.ty()?;
        let Some(Arg::Name(d)) = w.args.first() else { return s.unknown() };
        Ok(Op::Testp { kind, ty, d: self.pred_named(d, w.line)?, a: self.source(w, 1, ty.bits)? })
    }

    fn cvt(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        let whole = s.choose(&[("rni", Round::Near), ("rzi", Round::Zero), ("rmi", Round::Down), ("rpi", Round::Up)]);
        let round = whole.or_else(|| s.round()).unwrap_or(Round::Near);
        let (ftz, sat, relu) = (s.take("ftz"), s.take("sat"), s.take("relu"));
        let (to, from) = (s.ty()?, s.ty()?);
        let pair = matches!(to.class, Class::Float2 | Class::Brain2);
        self.expect_args(w, if pair { 3 } else { 2 })?;
        let how = match (to.is_float(), from.is_float()) {
            _ if pair && from == Ty::F32 => Convert::Pair,
            _ if pair || matches!(from.class, Class::Float2 | Class::Brain2 | Class::Tf32) => return s.unknown(),
            (false, false) => Convert::IntToInt,
            (true, false) => Convert::IntToFloat,
            (false, true) => Convert::FloatToInt,
            (true, true) => Convert::FloatToFloat,
        };
        let (d, a) = (self.target(w, 0)?, self.source(w, 1, from.bits)?);
        let b = if pair { self.source(w, 2, from.bits)? } else { a };
        // A register may be wider than what is put there: it is filled up by the sign of the value.
        let widened = if how == Convert::IntToInt && !sat && d.1 > to.bits { d.1 } else { to.bits };
        let to = Ty { bits: if to.is_signed() { widened } else { to.bits }, ..to };
        Ok(Op::Cvt(Box::new(Cvt { how, to, from, round, whole: whole.is_some(), ftz, sat, relu, d: d.0, a, b })))
    }

    fn branch(&mut self, name: &str, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        s.take("uni");
        let inst = self.kernel.code.len();
        if name == "bra" {
            let Some(Arg::Name(label)) = w.args.first() else { return s.unknown() };
            self.jumps.push(Jump { inst, labels: vec![label], line: w.line });
            return Ok(Op::Bra { target: 0 });
        }
        s.take("idx");
        let Some(Arg::Name(table)) = w.args.get(1) else { return s.unknown() };
        let Some(labels) = self.tables.get(table).cloned() else { return refuse(w.line, format!("no targets under {table}")) };
        self.jumps.push(Jump { inst, labels, line: w.line });
        Ok(Op::Brx { targets: Vec::new(), index: self.source(w, 0, 32)? })
    }

    fn call(&mut self, w: &Words<'a>, s: &mut Suffixes<'a>) -> Result<Op, Refusal> {
        s.take("uni");
        let lists: Vec<&Vec<&str>> = w.args.iter().filter_map(|a| if let Arg::Names(n) = a { Some(n) } else { None }).collect();
        let Some(at) = w.args.iter().position(|a| matches!(a, Arg::Name(_))) else { return s.unknown() };
        let Arg::Name(name) = &w.args[at] else { return s.unknown() };
        let (returns, params) = if at == 1 { (Some(lists[0]), lists.get(1)) } else { (None, lists.first()) };
        if PROVIDED.contains(name) {
            return Ok(if *name == "__assertfail" { Op::Trap } else { Op::Nop });
        }
        let Some(callee) = self.callees.get(name).cloned() else { return refuse(w.line, format!("{name} cannot be called: no function")) };
        let given = params.map_or(&[][..], |p| p.as_slice());
        let mut copies = self.copies(given, &callee.params, w.line)?;
        let call = Call { target: callee.pc, back: callee.back, copies: std::mem::take(&mut copies) };
        let Some(returns) = returns else { return Ok(Op::Call(Box::new(call))) };
        let back = self.copies(returns, &callee.returns, w.line)?;
        self.emit(Op::Call(Box::new(call)), w.line);
        self.results(&callee, back)
    }

    /// Copies between a call's variables and the callee's.
    fn copies(&mut self, mine: &[&str], theirs: &[(u64, u64)], line: u32) -> Result<Vec<(u64, u64, u64)>, Refusal> {
        if mine.len() != theirs.len() {
            return refuse(line, "a call with another number of parameters than the function has");
        }
        let place = |d: &mut Self, name: &str| d.local_place(name, line);
        mine.iter().zip(theirs).map(|(name, (at, size))| Ok((place(self, name)?, *at, *size))).collect()
    }

    /// After the call: what the function left goes to the caller's variables. A call of nothing, with copies.
    fn results(&mut self, callee: &Callee, back: Vec<(u64, u64, u64)>) -> Result<Op, Refusal> {
        let copies = back.into_iter().map(|(mine, theirs, size)| (theirs, mine, size)).collect();
        Ok(Op::Call(Box::new(Call { target: u32::MAX, back: callee.back, copies })))
    }
}
