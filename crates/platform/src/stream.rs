//! Copies of more than a cache holds: written past it. A plain store first reads the line it will overwrite, which for gigabytes is a third of
//! the traffic. Knows bytes only.

/// Copies `src` to `dst`, which are equally long. Other threads may look after `fence`.
pub fn copy(dst: &mut [u8], src: &[u8]) {
    debug_assert_eq!(dst.len(), src.len());
    let head = dst.as_ptr().align_offset(LINE).min(dst.len());
    let n = (dst.len() - head) / LINE * LINE;
    if n == 0 || !cfg!(target_arch = "x86_64") {
        return dst.copy_from_slice(src);
    }
    dst[..head].copy_from_slice(&src[..head]);
    lines(&mut dst[head..head + n], &src[head..head + n]);
    dst[head + n..].copy_from_slice(&src[head + n..]);
}

/// What a core combines before it writes: half a line past the cache costs as much as a whole one.
const LINE: usize = 64;

/// Whole lines, at the start of one.
#[cfg(target_arch = "x86_64")]
fn lines(dst: &mut [u8], src: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    assert!(dst.len() == src.len() && dst.len().is_multiple_of(LINE) && dst.as_ptr().addr().is_multiple_of(LINE));
    let (to, from) = (dst.as_mut_ptr(), src.as_ptr());
    for at in (0..dst.len()).step_by(LINE) {
        // SAFETY: SSE2 is part of x86-64. Both slices have LINE bytes from `at` on, and `to + at` is a multiple of LINE (asserted).
        unsafe {
            let (from, to) = (from.add(at).cast::<__m128i>(), to.add(at).cast::<__m128i>());
            let line = [_mm_loadu_si128(from), _mm_loadu_si128(from.add(1)), _mm_loadu_si128(from.add(2)), _mm_loadu_si128(from.add(3))];
            _mm_stream_si128(to, line[0]);
            _mm_stream_si128(to.add(1), line[1]);
            _mm_stream_si128(to.add(2), line[2]);
            _mm_stream_si128(to.add(3), line[3]);
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn lines(dst: &mut [u8], src: &[u8]) {
    dst.copy_from_slice(src);
}

/// What `copy` has written is there for whoever synchronises with this thread from now on: such stores are not ordered by themselves.
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64; the instruction touches no memory of its own.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_copy_at_any_alignment() {
        let src: Vec<u8> = (0..1000).map(|i| (i * 7 + i / 256) as u8).collect();
        for at in 0..66 {
            for n in [0, 1, 63, 64, 65, 128, 500, 900] {
                let mut dst = vec![0; 1000];
                copy(&mut dst[at..at + n], &src[3..3 + n]);
                fence();
                assert!(dst[at..at + n] == src[3..3 + n], "{n} at {at}");
                assert!(dst[..at].iter().chain(&dst[at + n..]).all(|b| *b == 0), "{n} at {at}: beyond");
            }
        }
    }
}
