//! Under which transform quantised rows are kept: each part of a head is its Walsh-Hadamard transform, so that no channel is much larger than its
//! neighbours in a block of the type and less is lost. The original's rule, so that its states are ours. Knows heads, not what is in them.
use super::store::LayerRows;
use platform::{env, log};

/// Heads are multiples of this or kept as they are; V always in parts of this length, K in the largest that fits.
const PART: u32 = 64;

/// The original's switch.
pub fn disabled() -> bool {
    env::number("LLAMA_ATTN_ROT_DISABLE") != 0
}

/// Sets the transform of the layers of one group. `first` are the heads of K and V in the model's first layer, which the original asks too.
pub fn set(layers: &mut [LayerRows], first: [u32; 2]) {
    let disabled = disabled();
    // Latent rows are kept as they are.
    if layers.iter().any(|l| l.planes.len() != first.len()) {
        return;
    }
    for (plane, first) in first.into_iter().enumerate() {
        let n = part(layers.iter().map(|l| l.planes[plane].head_len), first, plane);
        if disabled && n > 0 && layers.iter().any(|l| l.planes[plane].ty.is_quantized()) {
            log::warn(format_args!("quantised {} are not rotated (LLAMA_ATTN_ROT_DISABLE)", ["K", "V"][plane]));
        }
        layers.iter_mut().for_each(|l| l.planes[plane].hadamard = if disabled { 0 } else { n });
    }
}

fn part(mut heads: impl Iterator<Item = u32>, first: u32, plane: usize) -> u32 {
    match heads.next() {
        Some(head) if heads.all(|h| h == head) && [head, first].iter().all(|h| *h > 0 && h.is_multiple_of(PART)) => {
            if plane == 0 {
                1 << head.trailing_zeros()
            } else {
                PART
            }
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_heads_of_a_group_or_none() {
        let k = |heads: &[u32], first| part(heads.iter().copied(), first, 0);
        assert_eq!([64, 128, 192, 256, 576].map(|h| k(&[h, h], h)), [64, 128, 64, 256, 64]);
        assert_eq!([32, 80, 96].map(|h| k(&[h, h], h)), [0; 3]);
        assert_eq!((k(&[], 64), k(&[64, 128], 64), k(&[64, 64], 96), k(&[512], 256)), (0, 0, 0, 512));
        assert_eq!(part([256, 256].into_iter(), 256, 1), 64);
    }
}
