//! The only place that asks the CPU what it can do. Everybody else gets a level, or a filled table.

/// Instruction-set levels, in order of speed. Each contains those before it, but that a CPU with AVX-512 may lack `AvxVnni`: a list of kernels
/// that has one for that level has one for `Avx512` too. Chosen once; a test or `CAMELID_ISA` may lower it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust: the oracles. Every CPU.
    Scalar,
    /// x86-64 with AVX2, FMA, F16C.
    Avx2,
    /// The same with int8 dot products.
    AvxVnni,
    /// AVX-512 F/BW/VL/DQ.
    Avx512,
    /// AVX-512 with VNNI (int8 dot products).
    Avx512Vnni,
    /// The same with bf16 dot products.
    Avx512Bf16,
}

impl Isa {
    pub const ALL: [Isa; 6] = [Isa::Scalar, Isa::Avx2, Isa::AvxVnni, Isa::Avx512, Isa::Avx512Vnni, Isa::Avx512Bf16];

    /// The best level this CPU has.
    pub fn detect() -> Isa {
        Isa::Avx512Bf16.or_less()
    }
    /// The best level this CPU has that is not above this one.
    pub fn or_less(self) -> Isa {
        Isa::all_here().filter(|i| *i <= self).last().unwrap_or(Isa::Scalar)
    }
    /// The levels of this CPU, slowest first.
    pub fn all_here() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|i| i.is_here())
    }
    #[cfg(target_arch = "x86_64")]
    fn is_here(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        match self {
            Isa::Scalar => true,
            Isa::Avx2 => has!("avx2") && has!("fma") && has!("f16c") && has!("bmi2"),
            Isa::AvxVnni => Isa::Avx2.is_here() && has!("avxvnni"),
            Isa::Avx512 => Isa::Avx2.is_here() && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq"),
            Isa::Avx512Vnni => Isa::Avx512.is_here() && has!("avx512vnni"),
            Isa::Avx512Bf16 => Isa::Avx512Vnni.is_here() && has!("avx512bf16"),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    fn is_here(self) -> bool {
        self == Isa::Scalar
    }
    /// The name `CAMELID_ISA` uses.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512 => "avx512",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Avx512Bf16 => "avx512bf16",
        }
    }
    pub fn from_name(s: &str) -> Option<Isa> {
        Self::ALL.into_iter().find(|i| i.name() == s)
    }
}

/// One implementation of a kernel. A kernel's list is ordered best first and ends in `Isa::Scalar`.
#[derive(Clone, Copy, Debug)]
pub struct Impl<F> {
    pub needs: Isa,
    pub run: F,
}

/// The first row of `list` that a CPU at level `have` can run.
pub fn pick<F: Copy>(list: &[Impl<F>], have: Isa) -> F {
    match list.iter().find(|i| i.needs <= have) {
        Some(i) => i.run,
        // Lists end in a scalar row; a test walks them all.
        None => list[list.len() - 1].run,
    }
}
