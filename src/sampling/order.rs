//! Sorting whose order among equals is that of the C++ standard library the original was built with; knows nothing of tokens.
//!
//! Which of two tokens with the same logit survives `top_k` depends on the sort. The original calls `std::sort` and `std::partial_sort`,
//! so both algorithms (introsort with median of three, heap selection) are followed step for step. Every scan is bounded: an order
//! that is none, as a NaN makes it, gives some permutation and never a read outside.

/// Runs up to this length are left to the final insertion sort.
const SHORT: usize = 16;

/// Sorts as `std::sort(v, less)`.
pub fn sort<T: Copy>(v: &mut [T], less: impl Fn(&T, &T) -> bool + Copy) {
    if v.len() < 2 {
        return;
    }
    introsort(v, 2 * v.len().ilog2(), less);
    let head = v.len().min(SHORT);
    for i in 1..head {
        insert(v, i, less);
    }
    for i in head..v.len() {
        sift_left(v, i, less);
    }
}

/// As `std::partial_sort`: the `n` first elements in order at the front, the rest behind them in no useful order.
pub fn partial_sort<T: Copy>(v: &mut [T], n: usize, less: impl Fn(&T, &T) -> bool + Copy) {
    let n = n.min(v.len());
    if n == 0 {
        return;
    }
    let (heap, rest) = v.split_at_mut(n);
    make_heap(heap, less);
    // Almost none of a long list comes before the last of the best: blocks without one are passed over at a glance.
    for block in rest.chunks_mut(BLOCK) {
        let last = heap[0];
        if !block.iter().fold(false, |any, x| any | less(x, &last)) {
            continue;
        }
        for x in block {
            if less(x, &heap[0]) {
                let value = std::mem::replace(x, heap[0]);
                replace_top(heap, value, less);
            }
        }
    }
    sort_heap(heap, less);
}

/// Long enough that the glance pays, short enough that a hit costs little.
const BLOCK: usize = 32;

/// Puts `value` in the place of the last of the best.
pub fn replace_top<T: Copy>(heap: &mut [T], value: T, less: impl Fn(&T, &T) -> bool + Copy) {
    settle(heap, 0, value, less);
}

/// A heap in order.
pub fn sort_heap<T: Copy>(heap: &mut [T], less: impl Fn(&T, &T) -> bool + Copy) {
    for end in (1..heap.len()).rev() {
        let value = heap[end];
        heap[end] = heap[0];
        settle(&mut heap[..end], 0, value, less);
    }
}

fn introsort<T: Copy>(mut v: &mut [T], mut depth: u32, less: impl Fn(&T, &T) -> bool + Copy) {
    while v.len() > SHORT {
        if depth == 0 {
            partial_sort(v, v.len(), less);
            return;
        }
        depth -= 1;
        let cut = partition(v, less);
        let (left, right) = v.split_at_mut(cut);
        introsort(right, depth, less);
        v = left;
    }
}

/// `sort`, as far as it is asked for: parts that begin behind what is wanted are never looked into. For keys that have an order.
pub struct Lazily<'a, T, F> {
    v: &'a mut [T],
    less: F,
    done: usize,
    /// Where parts that are not sorted yet end, and how often each may still be split; the next one is the last.
    parts: Vec<(usize, u32)>,
}

impl<'a, T: Copy, F: Fn(&T, &T) -> bool + Copy> Lazily<'a, T, F> {
    pub fn new(v: &'a mut [T], less: F) -> Self {
        let parts = v.len().checked_ilog2().map(|log| (v.len(), 2 * log)).into_iter().collect();
        Lazily { v, less, done: 0, parts }
    }

    /// The next few, and how many stand before them; `None` behind the last.
    pub fn more(&mut self) -> Option<(usize, &[T])> {
        let (mut end, mut depth) = self.parts.pop()?;
        let start = self.done;
        while end - start > SHORT && depth > 0 {
            depth -= 1;
            self.parts.push((end, depth));
            end = start + partition(&mut self.v[start..end], self.less);
        }
        let run = &mut self.v[start..end];
        if run.len() > SHORT {
            partial_sort(run, run.len(), self.less);
        }
        for i in 1..run.len() {
            sift_left(run, i, self.less);
        }
        self.done = end;
        Some((start, run))
    }
}

/// Splits around the median of the second, the middle and the last element; returns where the right part begins, 1 at least.
fn partition<T: Copy>(v: &mut [T], less: impl Fn(&T, &T) -> bool) -> usize {
    let n = v.len();
    let median = median_of(v, 1, n / 2, n - 1, &less);
    v.swap(0, median);
    let pivot = v[0];
    let (mut lo, mut hi) = (1, n);
    loop {
        while lo < n && less(&v[lo], &pivot) {
            lo += 1;
        }
        hi -= 1;
        while hi > 0 && less(&pivot, &v[hi]) {
            hi -= 1;
        }
        if lo >= hi {
            return lo;
        }
        v.swap(lo, hi);
        lo += 1;
    }
}

fn median_of<T>(v: &[T], a: usize, b: usize, c: usize, less: impl Fn(&T, &T) -> bool) -> usize {
    let lt = |x: usize, y: usize| less(&v[x], &v[y]);
    if lt(a, b) {
        if lt(b, c) {
            b
        } else if lt(a, c) {
            c
        } else {
            a
        }
    } else if lt(a, c) {
        a
    } else if lt(b, c) {
        c
    } else {
        b
    }
}

/// Moves `v[i]` into the sorted part before it, to the front at once when it belongs there.
fn insert<T: Copy>(v: &mut [T], i: usize, less: impl Fn(&T, &T) -> bool) {
    if less(&v[i], &v[0]) {
        v[..=i].rotate_right(1);
    } else {
        sift_left(v, i, less);
    }
}

fn sift_left<T: Copy>(v: &mut [T], mut i: usize, less: impl Fn(&T, &T) -> bool) {
    let value = v[i];
    while i > 0 && less(&value, &v[i - 1]) {
        v[i] = v[i - 1];
        i -= 1;
    }
    v[i] = value;
}

pub fn make_heap<T: Copy>(v: &mut [T], less: impl Fn(&T, &T) -> bool + Copy) {
    for parent in (0..v.len() / 2).rev() {
        settle(v, parent, v[parent], less);
    }
}

/// Puts `value` into the heap `v` at `top`: the hole first goes down to a leaf, then `value` climbs from there.
fn settle<T: Copy>(v: &mut [T], top: usize, value: T, less: impl Fn(&T, &T) -> bool) {
    let mut hole = top;
    while 2 * hole + 2 < v.len() {
        let right = 2 * hole + 2;
        let child = if less(&v[right], &v[right - 1]) { right - 1 } else { right };
        v[hole] = v[child];
        hole = child;
    }
    if 2 * hole + 2 == v.len() {
        v[hole] = v[2 * hole + 1];
        hole = 2 * hole + 1;
    }
    while hole > top && less(&v[(hole - 1) / 2], &value) {
        v[hole] = v[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    v[hole] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (pattern, length, hash of the order after `std::sort`, and of the first third after `std::partial_sort`), by falling key.
    /// Printed by a C++ program, GCC 12, libstdc++.
    const ORDERS: &[(i64, i64, u64, u64)] = &[
        (0, 2, 0x082f2207b4e88cc4, 0xaf63bc4c8601b62c),
        (0, 16, 0xd6fde52091af25ef, 0x6518a070a2f4c528),
        (0, 17, 0xc48e83b439e8496d, 0x6518a070a2f4c528),
        (0, 100, 0x3f421271fb776277, 0x5a3ed0f631b1a8f3),
        (0, 3000, 0x35fe13ecadbe3983, 0x35ebfd6454da11e9),
        (1, 2, 0x08328707b4eb6e3a, 0xaf63bd4c8601b7df),
        (1, 16, 0x7c84dc9477851775, 0x872ad0df62fcdc5a),
        (1, 17, 0x93354466f7a37cef, 0x872ad0df62fcdc5a),
        (1, 100, 0x8c9d94ab4e40269d, 0x7c21f5500094ecd6),
        (1, 3000, 0x5dcf628b3b9d871d, 0xe9f5ff98ff303271),
        (2, 2, 0x082f2207b4e88cc4, 0xaf63bc4c8601b62c),
        (2, 16, 0xa961d790f19d96a5, 0xb7c3ba126972f86c),
        (2, 17, 0x11597f9b8d624b3f, 0x88d27520595666e0),
        (2, 100, 0x644931484736d1d9, 0xc3dd083baaf0f1b0),
        (2, 3000, 0x888cfb739d354275, 0x2ab79276bdf67b75),
        (3, 2, 0x08328707b4eb6e3a, 0xaf63bd4c8601b7df),
        (3, 16, 0x7c84dc9477851775, 0xa54ac5bf0ea60dde),
        (3, 17, 0x1ada35471726c09f, 0xa54ac5bf0ea60dde),
        (3, 100, 0xfb5c8cec60d83ab1, 0xc95e59797a3d825a),
        (3, 3000, 0x1adf8641d47b5fed, 0x988cc5afd8cb65dd),
        (4, 2, 0x082f2207b4e88cc4, 0xaf63bc4c8601b62c),
        (4, 16, 0x0b924f41220d5d7d, 0xc16bddd3eb9a217a),
        (4, 17, 0x29c4e809451321bf, 0x12569167cab02494),
        (4, 100, 0xda6d0ae6c4f3d473, 0xe8e438ce7f8bccc8),
        (4, 3000, 0xc138ea473aadda05, 0xf1e724fd1a5aad81),
        (5, 2, 0x082f2207b4e88cc4, 0xaf63bc4c8601b62c),
        (5, 16, 0x87839869ea77b3c5, 0x654c55e8685aefac),
        (5, 17, 0x90f139e0f952609f, 0xce4dc2f23cc879cb),
        (5, 100, 0x286f4b422d148d79, 0xa962dc716572f2fc),
        (5, 3000, 0x8fd2bb3692614577, 0x3f03485cade60904),
        (6, 2, 0x08328707b4eb6e3a, 0xaf63bd4c8601b7df),
        (6, 16, 0x6bf10af61603e399, 0xeef80ab70dda124e),
        (6, 17, 0xd0f4e15092b2051b, 0x903ab7e64d502fda),
        (6, 100, 0x482a1c9f87439f7b, 0x7f0f668e048c10a7),
        (6, 3000, 0x8947740ffbb8bcd9, 0x92c6084329478ee1),
    ];

    /// Keys by pattern, each with its place; pattern 6 drives a median of three into its worst case, where the heap takes over.
    fn elements(pattern: i64, n: i64) -> Vec<(i64, i64)> {
        if pattern == 6 {
            return killer(n);
        }
        let key = |i: i64| match pattern {
            0 => i % 7,
            1 => 0,
            2 => i,
            3 => -i,
            4 => i.min(n - i),
            _ => i64::from((i as u32).wrapping_mul(2_654_435_761) >> 24),
        };
        (0..n).map(|i| (key(i), i)).collect()
    }

    fn killer(n: i64) -> Vec<(i64, i64)> {
        let (m, mut keys) = (n / 2, vec![0; n as usize]);
        for i in 1..=m {
            if i % 2 == 1 {
                keys[i as usize - 1] = i;
                keys[i as usize] = m + i;
            }
            keys[(m + i) as usize - 1] = 2 * i;
        }
        keys.iter().map(|k| -k).zip(0..).collect()
    }

    fn hash(v: &[(i64, i64)]) -> u64 {
        v.iter().fold(0xcbf2_9ce4_8422_2325, |h, (_, i)| (h ^ *i as u64).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn equals_keep_the_order_of_libstdcxx() {
        for &(pattern, n, sorted, head) in ORDERS {
            let falling = |a: &(i64, i64), b: &(i64, i64)| a.0 > b.0;
            let mut v = elements(pattern, n);
            sort(&mut v, falling);
            assert_eq!(hash(&v), sorted, "sort, pattern {pattern}, {n}");
            let mut some = elements(pattern, n);
            let mut lazily = Lazily::new(&mut some, falling);
            while let Some((before, run)) = lazily.more() {
                assert_eq!(v[before..before + run.len()], *run, "lazily, pattern {pattern}, {n}, from {before}");
            }
            assert_eq!(some, v, "lazily, pattern {pattern}, {n}");
            let third = (n as usize).div_ceil(3);
            let mut v = elements(pattern, n);
            partial_sort(&mut v, third, falling);
            assert_eq!(hash(&v[..third]), head, "partial_sort, pattern {pattern}, {n}");
        }
    }

    #[test]
    fn an_order_that_is_none_gives_a_permutation() {
        for less in [|_: &f32, _: &f32| true, |a: &f32, b: &f32| a > b] {
            let mut v: Vec<f32> = (0..500).map(|i| if i % 3 == 0 { f32::NAN } else { i as f32 }).collect();
            sort(&mut v, less);
            partial_sort(&mut v, 300, less);
            assert_eq!(v.iter().filter(|x| x.is_nan()).count(), 167);
        }
    }
}
