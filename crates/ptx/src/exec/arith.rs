//! Arithmetic by the vector instructions that the machine has: the same code, compiled twice.
use super::{Lanes, alu, fpu};
use crate::isa::Op;

/// Runs the instruction if it is arithmetic on registers alone; false: it is not.
pub type Run = fn(&mut [Lanes], u32, &Op) -> bool;

fn plain(r: &mut [Lanes], mask: u32, op: &Op) -> bool {
    alu::run(r, mask, op) || fpu::run(r, mask, op)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,fma,lzcnt,popcnt,f16c")]
fn wide(r: &mut [Lanes], mask: u32, op: &Op) -> bool {
    alu::run(r, mask, op) || fpu::run(r, mask, op)
}

/// A fused product without an instruction for it is a call per lane, so this is most of the speed.
#[cfg(target_arch = "x86_64")]
pub fn best() -> Run {
    let has = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("f16c");
    // SAFETY: the features that `wide` is compiled for were found just before.
    if has { |r, m, op| unsafe { wide(r, m, op) } } else { plain }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn best() -> Run {
    plain
}
