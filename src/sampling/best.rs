//! The best of a long list, in order, where no two of them are equal: then every correct way gives the one list that the original's heap
//! gives, and the fastest may be taken. Whether equals are near is seen on the way, and then nothing is done.
use super::TokenData;
use kernels::Isa;
use kernels::float::{self, STREAMS};
use std::ops::Range;
use zerocopy::{FromBytes, IntoBytes};

/// So many candidates are known by their largest logit; few blocks hold one of the best.
const BLOCK: usize = 256;
/// So many blocks are one when the least logit worth a look is chosen: that list is short.
const GROUP: usize = 2;

/// Lists of less than this for each of the best have too few groups.
const SHORT: usize = 2 * BLOCK * GROUP;

/// Moves the `n` best of `data` to its front and changes places with what was there. False, and nothing done: the list is too short for this,
/// some of the best may be equal, or there is no memory.
pub fn take(data: &mut [TokenData], n: usize) -> bool {
    if n == 0 || data.len() < SHORT * n || data[..n].iter().any(|t| t.logit.is_nan()) {
        return false;
    }
    let Some(mut found) = at_least_nth(data, n) else { return false };
    found.sort_unstable_by(|a, b| data[*b].logit.total_cmp(&data[*a].logit));
    if found.windows(2).take(n).any(|w| data[w[0]].logit == data[w[1]].logit) {
        return false;
    }
    put_in_front(data, &found[..n])
}

/// Where all candidates are that reach the `n`-th largest of the groups' maxima: the `n` best and few more.
fn at_least_nth(data: &[TokenData], n: usize) -> Option<Vec<usize>> {
    let (maxima, mut sorted, mut found) = (maxima(data)?, Vec::new(), Vec::new());
    sorted.try_reserve(maxima.len().div_ceil(GROUP)).ok()?;
    sorted.extend(maxima.chunks(GROUP).map(|g| g.iter().fold(f32::NEG_INFINITY, |m, (of_block, _)| max(m, *of_block))));
    let (_, least, _) = sorted.select_nth_unstable_by(n - 1, |a, b| b.total_cmp(a));
    let least = *least;
    found.try_reserve(4 * n).ok()?;
    for part in maxima.iter().filter(|(max, _)| *max >= least).flat_map(|(_, start)| parts(data, *start, least)) {
        for (t, at) in data[part.clone()].iter().zip(part) {
            if t.logit >= least && found.len() < found.capacity() {
                found.push(at);
            }
        }
    }
    // A full list: nobody knows how many more. The least of all: no block stands for a candidate.
    (found.len() < found.capacity() && least > f32::NEG_INFINITY).then_some(found)
}

/// The parts of the block at `start` in which one reaches `least`: looking at each candidate of a block takes as long as finding its largest in 16.
fn parts(data: &[TokenData], start: usize, least: f32) -> impl Iterator<Item = Range<usize>> {
    const PART: usize = BLOCK / STREAMS;
    let (mut largest, end) = ([f32::INFINITY; STREAMS], data.len().min(start + BLOCK));
    if let (BLOCK, Ok(floats)) = (end - start, <[f32]>::ref_from_bytes(data[start..end].as_bytes())) {
        kernels().max_of_middles(&std::array::from_fn(|s| &floats[3 * s * PART..3 * (s + 1) * PART]), &mut largest);
    }
    let of = move |s: usize| start + s * PART..end.min(start + (s + 1) * PART);
    (0..STREAMS).filter(move |s| largest[*s] >= least).map(of).filter(|r| !r.is_empty())
}

fn kernels() -> &'static float::Table {
    float::table(Isa::detect())
}

fn max(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// The largest logit of each block, and where the block begins. NaNs are passed over.
fn maxima(data: &[TokenData]) -> Option<Vec<(f32, usize)>> {
    let mut out = Vec::new();
    out.try_reserve(data.len() / BLOCK + STREAMS).ok()?;
    let floats = <[f32]>::ref_from_bytes(data.as_bytes()).ok()?;
    let (kernels, part) = (kernels(), data.len() / STREAMS / BLOCK * BLOCK);
    for at in (0..part).step_by(BLOCK) {
        let (starts, mut largest): ([usize; STREAMS], _) = (std::array::from_fn(|s| s * part + at), [0.0; STREAMS]);
        // A logit is the middle one of three.
        kernels.max_of_middles(&starts.map(|s| &floats[3 * s..3 * (s + BLOCK)]), &mut largest);
        out.extend(largest.into_iter().zip(starts));
    }
    for (rest, start) in data[STREAMS * part..].chunks(BLOCK).zip((STREAMS * part..).step_by(BLOCK)) {
        out.push((rest.iter().fold(f32::NEG_INFINITY, |m, t| max(m, t.logit)), start));
    }
    Some(out)
}

/// Puts the candidates at `places` to the front, in this order, and those that were there where they come from.
fn put_in_front(data: &mut [TokenData], places: &[usize]) -> bool {
    let (n, mut best, mut stays) = (places.len(), Vec::new(), Vec::new());
    if best.try_reserve(n).is_err() || stays.try_reserve(n).is_err() {
        return false;
    }
    best.extend(places.iter().map(|at| data[*at]));
    stays.resize(n, false);
    places.iter().filter(|at| **at < n).for_each(|at| stays[*at] = true);
    let left = places.iter().filter(|at| **at >= n);
    for (from, to) in (0..n).filter(|at| !stays[*at]).zip(left) {
        data[*to] = data[from];
    }
    data[..n].copy_from_slice(&best);
    true
}

#[cfg(test)]
mod tests {
    use super::super::order;
    use super::*;
    use proptest::prelude::*;

    fn list(n: usize, logit: impl Fn(usize) -> f32) -> Vec<TokenData> {
        (0..n).map(|i| TokenData { id: i as i32, logit: logit(i), p: 0.5 }).collect()
    }

    /// A number for each place that repeats only after 2^32.
    fn mixed(i: usize, seed: u32) -> u32 {
        (i as u32 ^ seed).wrapping_mul(2_654_435_761).rotate_left(15).wrapping_mul(2_246_822_519)
    }

    fn check(data: &[TokenData], n: usize) -> bool {
        let (mut ours, mut heap) = (data.to_vec(), data.to_vec());
        order::partial_sort(&mut heap, n, |a, b| a.logit > b.logit);
        let taken = take(&mut ours, n);
        if taken {
            assert_eq!(ours[..n], heap[..n]);
            ours.sort_by_key(|t| t.id);
        }
        assert!(ours.iter().zip(data).all(|(a, b)| a.id == b.id && a.logit.to_bits() == b.logit.to_bits()), "nobody is lost");
        taken
    }

    /// Every number below a prime once, well spread.
    fn spread(i: usize) -> f32 {
        (i * 7919 % 150_011) as f32
    }

    #[test]
    fn lists_without_equals_are_taken() {
        for (len, n) in [(SHORT, 1), (SHORT * 39 + 3, 39), (SHORT * 40 + 63, 40), (150_000, 128)] {
            assert!(check(&list(len, spread), n) && check(&list(len, |i| -spread(i)), n), "{len} {n}");
        }
        // The best side by side: each of their blocks is full of candidates, which are too many.
        assert!(!check(&list(150_000, |i| i as f32), 40));
    }

    #[test]
    fn short_lists_equals_and_nonsense_are_left_to_the_heap() {
        let with = |at: usize, logit: f32| list(150_000, |i| if i == at { logit } else { spread(i) });
        let mut falling: Vec<f32> = (0..150_000).map(spread).collect();
        falling.sort_by(|a, b| b.total_cmp(a));
        assert!(!check(&list(40 * SHORT - 1, spread), 40) && check(&list(40 * SHORT, spread), 40));
        assert!(!check(&list(150_000, |_| 1.0), 40) && !check(&list(150_000, |_| f32::NEG_INFINITY), 40));
        assert!(!check(&list(150_000, |i| if i % 4000 == 0 { spread(i) } else { f32::NEG_INFINITY }), 40));
        // Two of the best; the last of them and the next; two that are both out.
        assert!(!check(&with(5, falling[7]), 40) && !check(&with(5, falling[39]), 40) && check(&with(5, falling[40]), 40));
        assert!(!check(&with(5, f32::NAN), 40) && check(&with(77_777, f32::NAN), 40) && check(&with(77_777, f32::INFINITY), 40));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn equals_the_heap(seed: u32, n in 1..20usize, extra in 0..3000usize, values in prop::sample::select(vec![50u32, 10_000, 1 << 24])) {
            check(&list(SHORT * n + extra, |i| (mixed(i, seed) % values) as f32 - 100.0), n);
        }
    }
}
