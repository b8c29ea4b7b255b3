//! What a token sees of its own sequence, by position alone. Knows no cells.

/// Visibility of earlier positions; the original's swa types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    All,
    /// A token at p sees p-n+1..=p.
    Sliding(u32),
    /// A token at p sees its chunk of n positions up to itself.
    Chunked(u32),
    /// A token at p sees positions at most n/2 away.
    Symmetric(u32),
}

impl Window {
    /// Number of the window, 0 for `All`.
    pub fn n_swa(self) -> u32 {
        match self {
            Window::All => 0,
            Window::Sliding(n) | Window::Chunked(n) | Window::Symmetric(n) => n,
        }
    }

    /// The smallest position that a token at `p` sees.
    pub fn lo(self, p: i32) -> i32 {
        let (p, n) = (i64::from(p), i64::from(self.n_swa()).max(1));
        let lo = match self {
            Window::All => 0,
            Window::Sliding(_) => p - n + 1,
            Window::Chunked(_) => p / n * n,
            Window::Symmetric(m) => p - i64::from(m / 2),
        };
        i32::try_from(lo.max(0)).unwrap_or(i32::MAX)
    }

    /// The position of the token behind which nobody sees `p` any more: the smallest m for which `lo(m + 1)` is past `p`.
    pub fn last_to_leave(self, p: i32) -> i64 {
        let (p, n) = (i64::from(p), i64::from(self.n_swa()).max(1));
        match self {
            Window::All => i64::MAX,
            Window::Sliding(_) => p + n - 1,
            Window::Chunked(_) => (p / n + 1) * n - 1,
            Window::Symmetric(m) => p + i64::from(m / 2),
        }
    }

    /// The largest position that a token at `p` sees.
    pub fn hi(self, p: i32, causal: bool) -> i32 {
        match self {
            _ if causal => p,
            Window::Symmetric(n) => i32::try_from(i64::from(p) + i64::from(n / 2)).unwrap_or(i32::MAX),
            _ => i32::MAX,
        }
    }
}

fn pad(n: u64, to: u64) -> u64 {
    n.div_ceil(to) * to
}

/// Cells per stream of a windowed group: the original's rule. `n_ctx_seq` is the base group's size. The window of every sequence that
/// shares the stream plus one ubatch in flight, in steps of 256 (the original pads for speed; capacity is part of the interface).
pub fn ring_size(n_ctx_seq: u32, n_swa: u32, unified: bool, n_seq_max: u32, n_ubatch: u32, swa_full: bool) -> u32 {
    if swa_full {
        return n_ctx_seq;
    }
    let n_seq = u64::from(if unified { n_seq_max } else { 1 });
    let cells = (u64::from(n_swa) * n_seq + u64::from(n_ubatch)).min(u64::from(n_ctx_seq));
    u32::try_from(pad(cells, 256)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_the_masking_table() {
        for p1 in 0..200 {
            for p0 in 0..=p1 {
                assert_eq!(p0 < Window::Sliding(32).lo(p1), p1 - p0 >= 32);
                assert_eq!(p0 < Window::Chunked(48).lo(p1), p0 < p1 / 48 * 48);
                assert_eq!(p0 < Window::Symmetric(33).lo(p1), (p1 - p0).abs() > 16);
                assert!(p0 >= Window::All.lo(p1));
            }
        }
        for w in [Window::Sliding(32), Window::Sliding(1), Window::Chunked(48), Window::Symmetric(33)] {
            for p in 0..200 {
                let hidden_behind = |m: i64| w.lo(m as i32 + 1) > p;
                let m = w.last_to_leave(p);
                assert!(hidden_behind(m) && !hidden_behind(m - 1), "{w:?} {p}");
            }
        }
        assert_eq!(Window::Symmetric(9).hi(10, false), 14);
        assert_eq!(Window::Sliding(9).hi(10, false), i32::MAX);
        assert_eq!(Window::Sliding(9).hi(10, true), 10);
    }

    #[test]
    fn ring_sizes() {
        assert_eq!(ring_size(1024, 32, true, 1, 32, false), 256);
        assert_eq!(ring_size(1024, 32, true, 8, 32, false), 512);
        assert_eq!(ring_size(1024, 32, false, 8, 32, false), 256);
        assert_eq!(ring_size(256, 1024, true, 1, 512, false), 256);
        assert_eq!(ring_size(4096, 1024, true, 1, 512, false), 1536);
        assert_eq!(ring_size(1000, 32, true, 1, 32, true), 1000);
        assert_eq!(ring_size(u32::MAX, u32::MAX, true, 256, 1, false), u32::MAX);
    }
}
