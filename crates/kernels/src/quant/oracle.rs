//! The scalar products that every kernel is measured against. Nobody optimises this, and it shares nothing with the vector code.
use crate::quant::MatArgs;
use core::marker::PhantomData;

/// One weight row times one input row, in the format's order.
pub(crate) trait Oracle {
    /// # Safety
    /// `w` is a row of `k` elements of the format, `x` one of its input format.
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32;
}

/// A format whose blocks are 32 integers times a scale, and perhaps a number that all of them have on top.
pub(crate) trait Scaled {
    type Block: Copy;
    fn scale(b: &Self::Block) -> f32;
    fn min(_: &Self::Block) -> Option<f32> {
        None
    }
    fn values(b: &Self::Block) -> [i32; 32];
}

impl<F: Scaled> Oracle for F {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        let mut acc = 0.0f32;
        for b in 0..k / 32 {
            // SAFETY: block `b` of both rows.
            let (w, (dx, x)) = unsafe { (w.cast::<F::Block>().add(b).read_unaligned(), act_block::<32>(x, k, b)) };
            acc = (F::scale(&w) * dx).mul_add(dot(&F::values(&w), &x) as f32, acc);
            if let Some(min) = F::min(&w) {
                acc = (min * dx).mul_add(dot(&[1; 32], &x) as f32, acc);
            }
        }
        acc
    }
}

/// # Safety
/// `row` has `k` elements, `out` room for `k`.
pub(crate) unsafe fn to_f32<F: Scaled>(row: *const u8, k: usize, out: *mut f32) {
    for b in 0..k / 32 {
        // SAFETY: block `b` of the row and of `out`.
        let (w, out) = unsafe { (row.cast::<F::Block>().add(b).read_unaligned(), out.add(32 * b).cast::<[f32; 32]>()) };
        let y = F::values(&w).map(|q| F::scale(&w) * q as f32).map(|y| F::min(&w).map_or(y, |min| y + min));
        // SAFETY: as above.
        unsafe { out.write_unaligned(y) };
    }
}

/// A format whose super-blocks are 256 small integers times factors that `PER` of them share, and perhaps less a number that these share.
pub(crate) trait Factored {
    type Block: Copy;
    const PER: usize;
    /// Scale of the factors.
    fn scale(b: &Self::Block) -> f32;
    /// Scale of the mins, where there are some.
    fn min_scale(_: &Self::Block) -> Option<f32> {
        None
    }
    /// Factor and min of group `j`.
    fn factor_min(b: &Self::Block, j: usize) -> (i32, i32);
    fn value(b: &Self::Block, i: usize) -> i32;
}

/// A `Factored` format as an oracle.
pub(crate) struct Factors<F>(PhantomData<F>);

impl<F: Factored> Oracle for Factors<F> {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        let mut acc = 0.0f32;
        for b in 0..k / 256 {
            // SAFETY: block `b` of both rows.
            let (w, (dx, x)) = unsafe { (w.cast::<F::Block>().add(b).read_unaligned(), act_block::<256>(x, k, b)) };
            let (mut isum, mut msum) = (0, 0);
            for (i, &x) in x.iter().enumerate() {
                let (factor, min) = F::factor_min(&w, i / F::PER);
                isum += factor * F::value(&w, i) * i32::from(x);
                msum += min * i32::from(x);
            }
            acc = (F::scale(&w) * dx).mul_add(isum as f32, acc);
            if let Some(d) = F::min_scale(&w) {
                acc = (d * dx).mul_add(-msum as f32, acc);
            }
        }
        acc
    }
}

/// # Safety
/// `row` has `k` elements, `out` room for `k`.
pub(crate) unsafe fn factors_to_f32<F: Factored>(row: *const u8, k: usize, out: *mut f32) {
    for b in 0..k / 256 {
        // SAFETY: block `b` of the row and of `out`.
        let (w, out) = unsafe { (row.cast::<F::Block>().add(b).read_unaligned(), out.add(256 * b)) };
        for i in 0..256 {
            let (factor, min) = F::factor_min(&w, i / F::PER);
            let y = F::scale(&w) * factor as f32 * F::value(&w, i) as f32;
            // SAFETY: as above.
            unsafe { *out.add(i) = F::min_scale(&w).map_or(y, |d| y - d * min as f32) };
        }
    }
}

/// Every row with every token, one dot after the other.
///
/// # Safety
/// The contract of `MatArgs`.
pub(crate) unsafe fn mat_mul<O: Oracle>(a: &MatArgs) {
    for t in 0..a.n_tokens {
        for r in 0..a.n_rows {
            // SAFETY: row `r`, token `t` and their place in `y` are the caller's.
            unsafe { *a.y.add(t * a.y_stride + r) = O::dot(a.w.add(r * a.w_stride), a.x.add(t * a.x_stride), a.k) };
        }
    }
}

/// The scale and the values of block `b` of an int8 input row of `k` elements in blocks of `N`.
///
/// # Safety
/// The row has that block.
pub(crate) unsafe fn act_block<const N: usize>(x: *const u8, k: usize, b: usize) -> (f32, [i8; N]) {
    // SAFETY: values first, then scales, as `act` lays a row out.
    unsafe { (x.add(k).cast::<f32>().add(b).read_unaligned(), x.cast::<[i8; N]>().add(b).read()) }
}

/// The sum of products of two slices of small integers.
pub(crate) fn dot(w: &[i32], x: &[i8]) -> i32 {
    w.iter().zip(x).map(|(&w, &x)| w * i32::from(x)).sum()
}

/// The floats of an f16's bits.
pub(crate) fn f16(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}
