//! Names of prefixes: a chain of hashes over blocks of tokens that begins with what decides the bits. Knows no files.
use platform::hash;

/// Tokens per link of the chain: a common beginning is found if it is at least this long. A few tokens are computed faster than looked up.
pub const BLOCK: usize = 32;

/// What entries must agree on besides tokens.
pub struct Key {
    pub identity: String,
    seed: u128,
}

impl Key {
    pub fn new(identity: String) -> Key {
        let seed = hash::name(identity.as_bytes());
        Key { identity, seed }
    }

    /// Names of the first block, the first two, and so on; what is left over has none.
    pub fn blocks(&self, tokens: &[i32]) -> Vec<u128> {
        let mut name = self.seed;
        let one = |block: &[i32]| {
            name = step(name, block);
            name
        };
        tokens.chunks_exact(BLOCK).map(one).collect()
    }

    /// Name of exactly these tokens.
    pub fn whole(&self, tokens: &[i32]) -> u128 {
        let rest = tokens.chunks_exact(BLOCK).remainder();
        step(self.blocks(tokens).last().copied().unwrap_or(self.seed), rest)
    }
}

fn step(name: u128, tokens: &[i32]) -> u128 {
    let mut bytes = name.to_le_bytes().to_vec();
    tokens.iter().for_each(|t| bytes.extend(t.to_le_bytes()));
    hash::name(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_tokens_before_them() {
        let (a, other) = (Key::new("a".into()), Key::new("b".into()));
        let t: Vec<i32> = (0..100).collect();
        let mut u = t.clone();
        u[40] += 1;
        let (x, y) = (a.blocks(&t), a.blocks(&u));
        assert_eq!(x.len(), 3);
        assert_eq!(x[0], y[0]);
        assert!(x[1] != y[1] && x[2] != y[2] && x[0] != other.blocks(&t)[0]);
        assert_eq!(x[..2], a.blocks(&t[..95])[..]);
        let names = [a.whole(&t), a.whole(&t[..99]), a.whole(&u), other.whole(&t), a.whole(&t[..96])];
        assert!((0..5).all(|i| (0..i).all(|j| names[i] != names[j])));
    }
}
