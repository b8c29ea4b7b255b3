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
    make_heap(&mut v[..n], less);
    for i in n..v.len() {
        if less(&v[i], &v[0]) {
            let value = v[i];
            v[i] = v[0];
            settle(&mut v[..n], 0, value, less);
        }
    }
    for end in (1..n).rev() {
        let value = v[end];
        v[end] = v[0];
        settle(&mut v[..end], 0, value, less);
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

fn make_heap<T: Copy>(v: &mut [T], less: impl Fn(&T, &T) -> bool + Copy) {
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
