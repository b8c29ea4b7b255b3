//! The only place that asks the CPU what it can do. Everybody else gets a level, or a filled table.

/// Instruction-set levels, each containing those before it. Chosen once; a test or `CAMELID_ISA` may lower it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust: the oracles. Every CPU.
    Scalar,
    /// x86-64 with AVX2, FMA, F16C.
    Avx2,
    /// AVX-512 F/BW/VL/DQ.
    Avx512,
    /// AVX-512 with VNNI (int8 dot products).
    Avx512Vnni,
    /// The same with bf16 dot products.
    Avx512Bf16,
}

impl Isa {
    pub const ALL: [Isa; 5] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni, Isa::Avx512Bf16];

    /// The best level this CPU has.
    pub fn detect() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("f16c") && has!("bmi2");
            let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
            if avx512 && has!("avx512vnni") && has!("avx512bf16") {
                return Isa::Avx512Bf16;
            }
            if avx512 && has!("avx512vnni") {
                return Isa::Avx512Vnni;
            }
            if avx512 {
                return Isa::Avx512;
            }
            if avx2 {
                return Isa::Avx2;
            }
        }
        Isa::Scalar
    }
    /// The name `CAMELID_ISA` uses.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
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
