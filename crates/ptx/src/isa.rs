//! What a kernel is once it is decoded: instructions over numbered registers. A register is 32 lanes of 64 bits; what is narrower stands in the low
//! bits, the rest is zero. A predicate is one bit per lane. Constants, special registers and addresses of variables are registers that are filled
//! before a block starts, so that an operand is always the number of a register.
pub use crate::parse::Space;

/// The number of a register, and of a predicate.
pub type R = u32;
pub type P = u32;

/// The predicates that are always false and always true.
pub const NEVER: P = 0;
pub const ALWAYS: P = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Bits,
    Unsigned,
    Signed,
    /// f16, f32, f64
    Float,
    /// Two f16.
    Float2,
    /// bf16
    Brain,
    /// Two bf16.
    Brain2,
    Tf32,
    Pred,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ty {
    pub class: Class,
    pub bits: u32,
}

impl Ty {
    pub const U32: Ty = Ty { class: Class::Unsigned, bits: 32 };
    pub const F16: Ty = Ty { class: Class::Float, bits: 16 };
    pub const F32: Ty = Ty { class: Class::Float, bits: 32 };

    pub fn named(name: &str) -> Option<Ty> {
        let ty = |class, bits| Some(Ty { class, bits });
        match name {
            "f16x2" => return ty(Class::Float2, 32),
            "bf16x2" => return ty(Class::Brain2, 32),
            "bf16" => return ty(Class::Brain, 16),
            "tf32" => return ty(Class::Tf32, 32),
            "pred" => return ty(Class::Pred, 1),
            _ => {}
        }
        let bits = name.get(1..)?.parse().ok().filter(|b| [8, 16, 32, 64].contains(b))?;
        match name.as_bytes()[0] {
            b'b' => ty(Class::Bits, bits),
            b'u' => ty(Class::Unsigned, bits),
            b's' => ty(Class::Signed, bits),
            b'f' if bits > 8 => ty(Class::Float, bits),
            _ => None,
        }
    }

    pub fn is_float(self) -> bool {
        !matches!(self.class, Class::Bits | Class::Unsigned | Class::Signed | Class::Pred)
    }

    pub fn is_signed(self) -> bool {
        self.class == Class::Signed
    }

    /// The bits that a value of this type has.
    pub fn mask(self) -> u64 {
        mask(self.bits)
    }
}

pub fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// Thread in the block, block's threads, block in the grid, grid's blocks: each of x, y, z.
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    Laneid,
    Warpid,
    Nwarpid,
    LanemaskEq,
    LanemaskLt,
    LanemaskLe,
    LanemaskGt,
    LanemaskGe,
    Smid,
    Nsmid,
    /// Bytes of shared memory: what the launch asked for, and all.
    DynamicShared,
    /// Where memory of that size begins.
    DynamicBase,
    TotalShared,
    /// Clocks stand still here.
    Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int1 {
    Neg,
    Abs,
    Not,
    Cnot,
    Popc,
    Clz,
    Brev,
    Bfind,
    /// How far the highest bit has to be shifted to the top.
    BfindShift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int2 {
    Add,
    Sub,
    MulLo,
    MulHi,
    MulWide,
    Div,
    Rem,
    Min,
    Max,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    AddSat,
    SubSat,
    Bmsk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int3 {
    MadLo,
    MadHi,
    MadWide,
    Bfe,
    Sad,
    Lop3(u8),
    Prmt(Prmt),
    /// Whether a's and b's bytes are signed.
    Dp4a(bool, bool),
    /// Signed a, signed b, the upper half of b.
    Dp2a(bool, bool, bool),
    /// Left or right; the amount wraps or is clamped.
    Shf(bool, bool),
    /// c >= 0 or not c < 0: a, else b.
    Slct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prmt {
    Index,
    F4e,
    B4e,
    Rc8,
    Ecl,
    Ecr,
    Rc16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float1 {
    Neg,
    Abs,
    Sqrt,
    Rsqrt,
    Rcp,
    Ex2,
    Lg2,
    Sin,
    Cos,
    Tanh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float2 {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    /// These say NaN where one of the two is.
    MinNan,
    MaxNan,
    /// The sign of a, the size of b.
    Copysign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    Near,
    Zero,
    Down,
    Up,
    /// To nearest, ties away from zero: tf32 alone.
    Away,
}

/// What a float instruction says beside its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    pub ty: Ty,
    pub round: Round,
    /// Subnormal f32 are zero, going in and coming out.
    pub ftz: bool,
    /// Into 0..1, NaN being 0.
    pub sat: bool,
    pub relu: bool,
}

impl Manner {
    /// f32 to nearest and nothing else: what almost all arithmetic is.
    pub fn is_plain_f32(self) -> bool {
        self == Manner { ty: Ty::F32, round: Round::Near, ftz: false, sat: false, relu: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// The same, true where one of the two is NaN.
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logic {
    And,
    Or,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convert {
    IntToInt,
    IntToFloat,
    FloatToInt,
    FloatToFloat,
    /// Two f32 to one register of two halves.
    Pair,
}

#[derive(Clone, Debug)]
pub struct Cvt {
    pub how: Convert,
    pub to: Ty,
    pub from: Ty,
    pub round: Round,
    /// Round to a whole number, the result being a float.
    pub whole: bool,
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
    pub d: R,
    pub a: R,
    pub b: R,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    Up,
    Down,
    Bfly,
    Idx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    All,
    Any,
    Uni,
    Ballot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Inc,
    Dec,
}

/// Where a load or a store goes: `base + offset` in a space.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub space: Space,
    pub base: R,
    pub offset: i64,
}

#[derive(Clone, Debug)]
pub struct Access {
    pub at: Place,
    pub ty: Ty,
    /// Bits of the registers, which may be wider than what memory has.
    pub reg_bits: u32,
    pub regs: Vec<R>,
}

#[derive(Clone, Debug)]
pub struct Atom {
    pub op: AtomOp,
    pub ty: Ty,
    pub at: Place,
    pub d: Option<R>,
    pub b: R,
    pub c: R,
}

#[derive(Clone, Debug)]
pub struct SetP {
    pub cmp: Cmp,
    pub ty: Ty,
    pub ftz: bool,
    /// Combined with this predicate, or its opposite.
    pub with: Option<(Logic, P, bool)>,
    pub d: P,
    /// The other result: not the comparison, combined as well.
    pub q: Option<P>,
    pub a: R,
    pub b: R,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub target: u32,
    /// Where the callee keeps what it returns to.
    pub back: R,
    /// (from, to, bytes) in each lane's memory.
    pub copies: Vec<(u64, u64, u64)>,
}

#[derive(Clone, Debug)]
pub enum Barrier {
    Sync,
    Arrive,
    /// How many are true; whether all, any are.
    Popc(R, P, bool),
    All(P, P, bool),
    Any(P, P, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmaKind {
    /// f16 or bf16 in, f32 added up: k16 and k8.
    Half,
    Brain,
    /// f16 added up in f16.
    HalfInHalf,
    Tf32,
    /// 8-bit: whether a, b are signed; whether sums stop at the ends of i32.
    Int8(bool, bool, bool),
}

/// m16n8 products: d[4] = a[..] b[..] + c[4], registers as PTX lays them out.
#[derive(Clone, Debug)]
pub struct Mma {
    pub kind: MmaKind,
    pub k: u32,
    pub d: Vec<R>,
    pub a: Vec<R>,
    pub b: Vec<R>,
    pub c: Vec<R>,
}

impl Mma {
    /// How many registers d, a, b and c have.
    pub fn fragments(&self) -> [usize; 4] {
        let k = self.k as usize;
        let (a, b) = match self.kind {
            MmaKind::Half | MmaKind::Brain | MmaKind::HalfInHalf => (k / 4, k / 8),
            MmaKind::Tf32 => (k / 2, k / 4),
            MmaKind::Int8(..) => (k / 8, k / 16),
        };
        let d = if self.kind == MmaKind::HalfInHalf { 2 } else { 4 };
        [d, a, b, d]
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    Nop,
    Mov {
        d: R,
        a: R,
    },
    /// d = (a ^ not_a) op (b ^ not_b)
    Pred {
        op: Logic,
        d: P,
        a: P,
        not_a: bool,
        b: P,
    },
    Pack {
        d: R,
        parts: Vec<R>,
        bits: u32,
    },
    Unpack {
        d: Vec<Option<R>>,
        a: R,
        bits: u32,
    },
    Int1 {
        op: Int1,
        ty: Ty,
        d: R,
        a: R,
    },
    Int2 {
        op: Int2,
        ty: Ty,
        d: R,
        a: R,
        b: R,
    },
    Int3 {
        op: Int3,
        ty: Ty,
        d: R,
        a: R,
        b: R,
        c: R,
    },
    Bfi {
        bits: u32,
        d: R,
        a: R,
        b: R,
        pos: R,
        len: R,
    },
    /// Add or subtract with carry: in, out are lanes' bits.
    Carry {
        ty: Ty,
        subtract: bool,
        carry_in: bool,
        carry_out: bool,
        flag: P,
        d: R,
        a: R,
        b: R,
    },
    /// f32, rounded to nearest: the arithmetic that has to be quick.
    AddF32 {
        d: R,
        a: R,
        b: R,
    },
    MulF32 {
        d: R,
        a: R,
        b: R,
    },
    FmaF32 {
        d: R,
        a: R,
        b: R,
        c: R,
    },
    Float1 {
        op: Float1,
        how: Manner,
        d: R,
        a: R,
    },
    Float2 {
        op: Float2,
        how: Manner,
        d: R,
        a: R,
        b: R,
    },
    Fma {
        how: Manner,
        d: R,
        a: R,
        b: R,
        c: R,
    },
    /// finite, infinite, number, nan, normal, subnormal
    Testp {
        kind: u8,
        ty: Ty,
        d: P,
        a: R,
    },
    Setp(Box<SetP>),
    /// The comparison as all ones or 1.0; its predicate is one that nobody else uses.
    Set {
        cmp: Box<SetP>,
        as_float: bool,
        d: R,
    },
    Selp {
        d: R,
        a: R,
        b: R,
        p: P,
    },
    Cvt(Box<Cvt>),
    Ld(Box<Access>),
    St(Box<Access>),
    Atom(Box<Atom>),
    /// From generic addresses to those of a space (or back).
    Cvta {
        space: Space,
        to: bool,
        d: R,
        a: R,
    },
    IsSpace {
        space: Space,
        d: P,
        a: R,
    },
    Bra {
        target: u32,
    },
    Brx {
        targets: Vec<u32>,
        index: R,
    },
    Call(Box<Call>),
    Ret {
        back: R,
    },
    Exit,
    Trap,
    Shfl {
        mode: Shuffle,
        d: R,
        p: Option<P>,
        a: R,
        b: R,
        c: R,
        members: R,
    },
    Vote {
        mode: Vote,
        d: R,
        p: P,
        a: P,
        not: bool,
        members: R,
    },
    Match {
        all: bool,
        bits: u32,
        d: R,
        p: Option<P>,
        a: R,
        members: R,
    },
    Redux {
        op: AtomOp,
        ty: Ty,
        d: R,
        a: R,
        members: R,
    },
    Activemask {
        d: R,
    },
    Elect {
        d: R,
        p: P,
        members: R,
    },
    WarpSync {
        members: R,
    },
    Bar {
        kind: Barrier,
        id: R,
        threads: Option<R>,
    },
    Mma(Box<Mma>),
    LdMatrix {
        at: Place,
        d: Vec<R>,
        trans: bool,
    },
    CpAsync {
        to: Place,
        from: Place,
        bytes: u32,
        source: Option<R>,
    },
    CpCommit,
    CpWait,
}

#[derive(Clone, Debug)]
pub struct Inst {
    pub op: Op,
    /// Lanes where this predicate is not `unless` run it; `ALWAYS` for all.
    pub guard: P,
    pub unless: bool,
    pub line: u32,
}

/// One entry with all functions it calls.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    pub name: String,
    pub code: Vec<Inst>,
    pub entry: u32,
    pub n_regs: u32,
    pub n_preds: u32,
    pub consts: Vec<(R, u64)>,
    pub specials: Vec<(R, Special)>,
    /// Offset and bytes of each parameter.
    pub params: Vec<(u64, u64)>,
    pub param_bytes: u64,
    pub shared_bytes: u64,
    /// Where memory asked for at launch begins: after `shared_bytes`, at this multiple.
    pub dynamic_align: u64,
    pub local_bytes: u64,
    pub max_threads: u32,
}
