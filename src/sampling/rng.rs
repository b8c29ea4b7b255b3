//! The random numbers of the original: `std::mt19937` and the distributions of libstdc++, so that a seed gives the same tokens.
//! Written from the C++ standard's definition (rand.eng.mers, rand.util.canonical); must not know what is drawn for.
use std::hash::{BuildHasher, RandomState};

/// `LLAMA_DEFAULT_SEED`: take a random one.
pub const DEFAULT_SEED: u32 = 0xFFFF_FFFF;

/// State size, shift size, and the constants of the 32-bit Mersenne twister, as the standard lists them.
const N: usize = 624;
const M: usize = 397;
const TWIST: u32 = 0x9908_B0DF;
const INIT: u32 = 1_812_433_253;

#[derive(Clone)]
pub struct Mt19937 {
    state: [u32; N],
    at: usize,
}

impl Mt19937 {
    pub fn new(seed: u32) -> Mt19937 {
        let mut state = [seed; N];
        for i in 1..N {
            let last = state[i - 1];
            state[i] = INIT.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        Mt19937 { state, at: N }
    }

    pub fn next_u32(&mut self) -> u32 {
        if self.at >= N {
            self.twist();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C_5680;
        y ^= (y << 15) & 0xEFC6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7FFF_FFFF);
            let odd = if y & 1 == 1 { TWIST } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.at = 0;
    }

    /// `uniform_real_distribution<double>(0, 1)`: two words, the low one first.
    pub fn unit_f64(&mut self) -> f64 {
        const WORD: f64 = 4_294_967_296.0; // 2^32
        let low = f64::from(self.next_u32());
        let sum = low + f64::from(self.next_u32()) * WORD;
        (sum / (WORD * WORD)).min(1.0_f64.next_down())
    }

    /// `uniform_real_distribution<float>(0, 1)`: one word, rounded to float before it is scaled.
    pub fn unit_f32(&mut self) -> f32 {
        (self.next_u32() as f32 / 4_294_967_296.0).min(1.0_f32.next_down())
    }

    /// `discrete_distribution<int>`: an index with probability proportional to its weight. Fewer than two weights draw nothing.
    pub fn pick(&mut self, weights: impl Iterator<Item = f32> + Clone) -> usize {
        let n = weights.clone().count();
        if n < 2 {
            return 0;
        }
        let sum = weights.clone().fold(0.0, |s, w| s + f64::from(w));
        let target = self.unit_f64();
        // The standard fixes the last cumulative value at 1, so a draw beyond all sums ends there.
        let mut cumulative = 0.0;
        let mut weights = weights.take(n - 1);
        let reaches = |w: f32| {
            cumulative += f64::from(w) / sum;
            // Sums that are NaN count as reached, as they do in the library's binary search.
            cumulative >= target || cumulative.is_nan()
        };
        weights.position(reaches).unwrap_or(n - 1)
    }
}

/// The seed to use for the seed that was asked for: `DEFAULT_SEED` becomes a random one.
pub fn actual_seed(seed: u32) -> u32 {
    if seed != DEFAULT_SEED {
        return seed;
    }
    // The hasher's keys come from the system; time and process keep a forked child from repeating its parent.
    RandomState::new().hash_one((std::time::SystemTime::now(), std::process::id())) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_ten_thousandth_number() {
        // [rand.predef]: the 10000th call of a default-seeded mt19937 gives 4123659995.
        let mut r = Mt19937::new(5489);
        assert_eq!((0..10_000).map(|_| r.next_u32()).last(), Some(4_123_659_995));
    }

    /// Seed, two draws of `uniform_real_distribution<double>` and two of `<float>` after them (bits), six of `discrete_distribution`.
    /// Printed by a C++ program, GCC 12, libstdc++.
    type Draws = (u32, [u64; 2], [u32; 2], [usize; 6]);
    const DRAWS: &[Draws] = &[
        (0u32, [0x3fe2f89545f18fe1_u64, 0x3feb04399816e2d5], [0x3f1a4eb3_u32, 0x3f5ba253], [4, 3, 3, 1, 0, 1]),
        (1u32, [0x3fefe8f01d6d583f_u64, 0x3fedd78289170ce6], [0x38efdfe0_u32, 0x3e03330e], [4, 1, 3, 3, 3, 4]),
        (42u32, [0x3fe97d47b66bfc3c_u64, 0x3fc77aca8779b102], [0x3f3b63f4_u32, 0x3f4799d4], [3, 3, 0, 3, 2, 1]),
        (4294967294u32, [0x3fba12c688854a6e_u64, 0x3fee552d2a10b6f0], [0x3f0d71ae_u32, 0x3f5434fb], [3, 3, 1, 4, 4, 3]),
    ];

    #[test]
    fn draws_are_those_of_libstdcxx() {
        for &(seed, doubles, floats, picks) in DRAWS {
            let mut r = Mt19937::new(seed);
            assert_eq!(doubles, [r.unit_f64().to_bits(), r.unit_f64().to_bits()]);
            assert_eq!(floats, [r.unit_f32().to_bits(), r.unit_f32().to_bits()]);
            let weights = [0.1_f32, 0.2, 0.05, 0.4, 0.25];
            assert_eq!(picks, picks.map(|_| r.pick(weights.iter().copied())));
        }
    }

    #[test]
    fn odd_weights_pick_something_and_few_draw_nothing() {
        let mut r = Mt19937::new(7);
        for w in [[f32::NAN, 1.0], [0.0, 0.0], [f32::INFINITY, 1.0], [-1.0, 1.0]] {
            assert!(r.pick(w.into_iter()) < 2);
        }
        let mut same = r.clone();
        assert_eq!((r.pick([].into_iter()), r.pick([5.0].into_iter())), (0, 0));
        assert_eq!(r.next_u32(), same.next_u32());
    }

    #[test]
    fn the_default_seed_is_random() {
        assert_eq!(actual_seed(3), 3);
        assert_ne!([actual_seed(DEFAULT_SEED), actual_seed(DEFAULT_SEED)], [actual_seed(DEFAULT_SEED), actual_seed(DEFAULT_SEED)]);
    }
}
