//! How large the caches of a core are, for those who cut work to fit them. Knows no work.
use std::sync::OnceLock;

/// What is assumed where the system does not say: most cores of the last ten years have at least this much.
const USUAL: usize = 256 << 10;

/// Bytes of the second-level cache of the first core; a core of another kind may have less, and is slower for it.
pub fn second_level() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| (0..8).find_map(second_level_of).unwrap_or(USUAL))
}

/// Cache `index` of core 0, if it is of the second level.
fn second_level_of(index: u32) -> Option<usize> {
    let read = |what: &str| std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}")).ok();
    if read("level")?.trim() != "2" { None } else { size(read("size")?.trim()) }
}

/// `512K`, `2M` or a plain number.
fn size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << unit).filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!([size("512K"), size("2M"), size("4096")], [Some(512 << 10), Some(2 << 20), Some(4096)]);
        assert_eq!([size(""), size("K"), size("0K"), size("x"), size("99999999999999999999M")], [None; 5]);
        assert!(second_level() >= 4096);
    }
}
