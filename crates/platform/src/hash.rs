//! Hashes that mean the same in every build and on every machine (XXH3): checksums of files, names of things on disk. Not against forgers.
use twox_hash::{XxHash3_64, XxHash3_128};

/// A checksum.
pub fn of(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// Wide enough that two things by accident never share a name.
pub fn name(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

#[cfg(test)]
mod tests {
    /// Vectors of the reference implementation: what is on disk must stay readable.
    #[test]
    fn the_values_are_xxh3s() {
        assert_eq!(super::of(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(super::name(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }
}
