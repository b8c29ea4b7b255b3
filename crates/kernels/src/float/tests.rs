//! Every float kernel on every ISA of this CPU against its oracle, with buffers that end at a guard page.

use super::*;

/// A copy of a slice that ends where a page begins that nobody may touch.
pub(crate) struct Guarded<T: Copy> {
    map: *mut libc::c_void,
    len: usize,
    data: *mut [T],
}

/// Bytes of a page.
const PAGE: usize = 4096;

pub(crate) fn guarded<T: Copy>(data: &[T]) -> Guarded<T> {
    let bytes = size_of_val(data);
    let body = bytes.next_multiple_of(PAGE);
    let len = body + PAGE;
    // SAFETY: a fresh private mapping; its last page becomes the guard, the data end where that starts.
    unsafe {
        let map = libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        assert_ne!(map, libc::MAP_FAILED);
        assert_eq!(libc::mprotect(map.add(body), PAGE, libc::PROT_NONE), 0);
        let at = map.add(body - bytes).cast::<T>();
        std::ptr::copy_nonoverlapping(data.as_ptr(), at, data.len());
        Guarded { map, len, data: std::ptr::slice_from_raw_parts_mut(at, data.len()) }
    }
}

impl<T: Copy> std::ops::Deref for Guarded<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the data lie in our mapping.
        unsafe { &*self.data }
    }
}

impl<T: Copy> std::ops::DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and we are borrowed for writing.
        unsafe { &mut *self.data }
    }
}

impl<T: Copy> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows from it any more.
        unsafe { libc::munmap(self.map, self.len) };
    }
}

/// A small random generator (splitmix64), so that a failure can be repeated.
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Uniform in [-1, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    pub(crate) fn row(&mut self, n: usize, size: f32) -> Vec<f32> {
        (0..n).map(|_| self.unit() * size).collect()
    }
}

/// The levels above the oracle that this CPU has.
pub(crate) fn levels() -> Vec<Isa> {
    Isa::all_here().filter(|i| *i > Isa::Scalar).collect()
}

#[track_caller]
fn close(got: &[f32], want: &[f32], rel: f32, abs: f32, what: &str) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= rel * w.abs() + abs;
        assert!(same, "{what}: at {i} of {}: got {g:e}, want {w:e}", got.len());
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// Runs `f` on guarded copies for every level and length; checks it against the oracle and the levels against each other, bit by bit.
fn check(what: &str, rel: f32, abs: f32, size: f32, f: impl Fn(&Table, &[f32], &[f32], &mut [f32])) {
    let mut rng = Rng(7);
    for n in (1..200).chain([256, 1000, 4096]) {
        let (x, y) = (rng.row(n, size), rng.row(n, size));
        let run = |isa| {
            let mut out = guarded(&x);
            f(table(isa), &guarded(&x), &guarded(&y), &mut out);
            out
        };
        let want = run(Isa::Scalar);
        let got: Vec<_> = levels().into_iter().map(run).collect();
        for g in &got {
            close(g, &want, rel, abs, what);
            assert_eq!(bits(g), bits(&got[0]), "{what}: levels differ at length {n}");
        }
    }
}

#[test]
fn norms_follow_their_oracles() {
    for size in [1e-4, 1.0, 1e4] {
        check("rms", 1e-6, 0.0, size, |t, x, y, o| t.rms_norm(x, Some(y), 1e-6, o));
        check("rms bare", 1e-6, 0.0, size, |t, x, _, o| t.rms_norm(x, None, 1e-6, o));
        check("l2", 1e-6, 0.0, size, |t, x, _, o| t.l2_norm(x, 1e-6, o));
        check("layer", 1e-5, 2e-6 * size, size, |t, x, y, o| t.layer_norm(x, Some(y), Some(y), 1e-5, o));
    }
}

#[test]
fn elementwise_kernels_are_the_oracle_bit_by_bit() {
    check("add", 0.0, 0.0, 9.0, |t, x, y, o| t.add(x, y, o));
    check("add_to", 0.0, 0.0, 9.0, |t, _, y, o| t.add_to(o, y));
    check("add_scaled", 0.0, 0.0, 9.0, |t, _, y, o| t.add_scaled(o, y, 0.3));
    check("mul", 0.0, 0.0, 9.0, |t, x, y, o| t.mul(x, y, o));
    check("scale", 0.0, 0.0, 9.0, |t, _, _, o| t.scale(o, 0.3));
    check("rope norm", 0.0, 0.0, 2.0, |t, _, y, o| t.rope_rows(RopeKind::Norm, o, y.len() & !1, y));
    check("rope neox", 0.0, 0.0, 2.0, |t, _, y, o| t.rope_rows(RopeKind::Neox, o, y.len() & !1, y));
}

/// Against the matrix: an entry is 1/sqrt(n), negative where row and column have an odd number of ones in common.
#[test]
fn low_ranks_are_added_in_order() {
    let mut rng = Rng(3);
    for (n, rank, len, beyond) in
        [(1, 1, 1, 0), (1, 16, 513, 3), (6, 16, 64, 0), (13, 5, 230, 40), (7, 33, 31, 1), (2, 1, 96, 7), (5, 0, 70, 0)]
    {
        let width = len + beyond;
        let (y, z, b) = (rng.row(n * len, 2.0), rng.row(n * rank, 1.0), rng.row(rank * width, 1.0));
        let run = |isa| {
            let mut y = guarded(&y);
            let z: Vec<&[f32]> = (0..n).map(|i| &z[i * rank..(i + 1) * rank]).collect();
            table(isa).low_rank(&mut y.chunks_exact_mut(len).collect::<Vec<_>>(), &z, &guarded(&b[beyond.min(b.len())..]), width, -0.7);
            y
        };
        let want = run(Isa::Scalar);
        for isa in levels() {
            assert_eq!(bits(&run(isa)), bits(&want), "{isa:?}: {n} rows of {len}, rank {rank}");
        }
        let exact = |i: usize, j: usize| (0..rank).map(|r| f64::from(z[i * rank + r]) * f64::from(b[beyond + r * width + j])).sum::<f64>();
        let sums: Vec<f32> = (0..n * len).map(|at| (f64::from(y[at]) - 0.7 * exact(at / len, at % len)) as f32).collect();
        close(&want, &sums, 1e-6, 1e-5, "low rank");
    }
}

#[test]
fn hadamard_is_the_matrix_and_its_own_inverse() {
    for n in (0..10).map(|i| 1usize << i) {
        check("hadamard", 0.0, 0.0, 3.0, |t, _, _, o| t.hadamard(o, n));
        let x = Rng(n as u64).row(3 * n + n / 2, 2.0);
        let mut y = x.clone();
        table(Isa::detect()).hadamard(&mut y, n);
        let entry = |i: usize, j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 } / (n as f64).sqrt();
        let product = |x: &[f32], i| x.iter().enumerate().map(|(j, v)| entry(i, j) * f64::from(*v)).sum::<f64>() as f32;
        let want: Vec<f32> = x.chunks_exact(n).flat_map(|x| (0..n).map(move |i| product(x, i))).collect();
        close(&y[..3 * n], &want, 1e-6, 4e-6, "matrix");
        close(&y[3 * n..], &x[3 * n..], 0.0, 0.0, "what fills no block");
        table(Isa::detect()).hadamard(&mut y, n);
        close(&y, &x, 1e-6, 2e-6, "twice");
    }
}

/// One ulp of f32 is 1.2e-7 relative; the bounds below are 2 to 4 of them, plus what cancellation costs near a zero.
const ACTS: [(Act, f32, f32); 10] = [
    (Act::Silu, 4e-7, 1e-37),
    (Act::GeluTanh, 3e-6, 1e-12),
    (Act::GeluErf, 5e-7, 3e-7),
    (Act::GeluQuick, 2e-6, 1e-12),
    (Act::Relu, 0.0, 0.0),
    (Act::ReluSqr, 0.0, 0.0),
    (Act::Sigmoid, 4e-7, 1e-37),
    (Act::Softplus, 0.0, 0.0),
    (Act::Tanh, 4e-7, 0.0),
    (Act::Exp, 2e-7, 1.5e-45),
];

#[test]
fn activations_follow_their_oracles() {
    for (kind, rel, abs) in ACTS {
        for size in [0.1, 4.0, 15.0] {
            check(&format!("{kind:?}"), rel, abs, size, |t, _, _, o| t.act(kind, o));
            check(&format!("glu {kind:?}"), rel + 1.2e-7, abs * size, size, |t, x, y, o| t.glu(kind, x, y, o));
        }
    }
    check("oai", 4e-6, 1e-37, 10.0, |t, x, y, o| t.glu_oai(x, y, 1.702, 7.0, o));
    check("softcap", 5e-7, 0.0, 90.0, |t, _, _, o| t.softcap(o, 30.0));
}

#[test]
fn activations_take_extreme_input() {
    let e = [0.0, -0.0, 1e-45, -1e-45, 1e-30, 87.0, 88.7, 88.73, 89.1, -87.4, -103.9, -104.1, -1e9, 1e9, f32::MAX, f32::MIN];
    let all: Vec<f32> = e.into_iter().chain([f32::INFINITY, f32::NEG_INFINITY, f32::NAN]).collect();
    for (kind, rel, _) in ACTS {
        let mut want = all.clone();
        table(Isa::Scalar).act(kind, &mut want);
        for isa in levels() {
            let mut got = all.clone();
            table(isa).act(kind, &mut got);
            close(&got, &want, rel.max(2e-7), 1e-37, &format!("{kind:?} {isa:?}"));
        }
    }
}

#[test]
fn exp_keeps_its_bound_over_its_whole_range() {
    for isa in levels() {
        let mut x: Vec<f32> = (0..400_000).map(|i| -104.5 + i as f32 * 4.85e-4).collect();
        let want: Vec<f64> = x.iter().map(|v| f64::from(*v).exp()).collect();
        table(isa).act(Act::Exp, &mut x);
        for (g, w) in x.iter().zip(&want) {
            // Half a step of the subnormal grid where that is the larger bound.
            let bound = (1.5 * 1.2e-7 * w).max(1.5e-45);
            assert!(f64::from(*g) == *w || (f64::from(*g) - w).abs() <= bound || *w > f64::from(f32::MAX), "{isa:?}: {g:e} for {w:e}");
        }
    }
}

#[test]
fn a_value_has_the_same_bits_wherever_it_stands() {
    let x = Rng(3).row(100, 8.0);
    for isa in levels() {
        for (kind, ..) in ACTS {
            let mut whole = x.clone();
            table(isa).act(kind, &mut whole);
            for from in 0..40 {
                let mut part = x[from..from + 1 + from].to_vec();
                table(isa).act(kind, &mut part);
                assert_eq!(bits(&part), bits(&whole[from..from + 1 + from]), "{kind:?} from {from}");
            }
        }
    }
}

#[test]
fn softmax_and_dot_follow_their_oracles() {
    for size in [0.5, 20.0] {
        check("softmax", 4e-6, 1e-37, size, |t, _, _, o| t.softmax(o));
    }
    check("dot", 0.0, 3e-5, 1.0, |t, x, y, o| o[0] = t.dot(x, y));
}

#[test]
fn argmax_finds_the_first_of_the_largest() {
    let mut rng = Rng(11);
    for n in 1..200 {
        let mut x: Vec<f32> = (0..n).map(|_| (rng.below(9) as f32) - 4.0).collect();
        x[rng.below(n)] = f32::NAN;
        let want = table(Isa::Scalar).argmax(&x);
        for isa in levels() {
            assert_eq!(table(isa).argmax(&guarded(&x)), want);
        }
    }
    for isa in Isa::ALL {
        assert_eq!(table(isa).argmax(&[]), 0);
        assert_eq!(table(isa).argmax(&[f32::NAN; 20]), 0);
        assert_eq!(table(isa).argmax(&[f32::NAN, f32::NEG_INFINITY, f32::NEG_INFINITY]), 1);
    }
}

#[test]
fn the_largest_of_the_middles() {
    let mut rng = Rng(12);
    for n in 0..400 {
        let lists = [0; STREAMS].map(|_| {
            // Neighbours may be anything.
            let one = |i: usize| if i % 3 == 1 { rng.below(2000) as f32 - 1000.0 } else { [f32::NAN, f32::INFINITY, 5000.0][i % 5 % 3] };
            let mut x: Vec<f32> = (0..n).map(one).collect();
            x.iter_mut().skip(1).step_by(3).filter(|v| **v as i32 % 9 == 0).for_each(|v| *v = f32::NAN);
            x
        });
        let want =
            lists.each_ref().map(|x| x.as_chunks::<3>().0.iter().map(|t| t[1]).filter(|v| !v.is_nan()).fold(f32::NEG_INFINITY, f32::max));
        for isa in levels().into_iter().chain([Isa::Scalar]) {
            let (guarded, mut out) = (lists.each_ref().map(|x| guarded(x)), [0.0; STREAMS]);
            table(isa).max_of_middles(&guarded.each_ref().map(|x| &x[..]), &mut out);
            assert_eq!(out, want, "{n}");
        }
    }
}

#[test]
fn codecs_are_the_oracle_bit_by_bit() {
    let mut rng = Rng(5);
    let special = [0.0, -0.0, 65504.0, 65520.0, -1e6, 6e-8, 3e-8, 1e-40, 0.5, 2.5, f32::INFINITY];
    for t in [DType::F16, DType::BF16, DType::Q8_0, DType::F32] {
        for n in (1..200).map(|n| n * t.block_len()).chain([4096]) {
            let size = [1e-6, 1.0, 300.0][n % 3];
            let mut x = rng.row(n, size);
            if t != DType::Q8_0 {
                x.iter_mut().zip(special).step_by(2).for_each(|(x, s)| *x = s);
            }
            let bytes = t.row_bytes(n).unwrap();
            let run = |isa| {
                let (mut out, mut back) = (guarded(&vec![0u8; bytes]), guarded(&x));
                assert!(table(isa).encode_row(t, &guarded(&x), &mut out));
                assert!(table(isa).decode_row(t, &out, &mut back));
                (out.to_vec(), bits(&back))
            };
            for isa in levels() {
                assert_eq!(run(isa), run(Isa::Scalar), "{t:?} {isa:?} {n}");
            }
        }
    }
    assert!(!table(Isa::Scalar).encode_row(DType::Q4_K, &[], &mut []));
}

#[test]
fn q8_0_rounds_halves_away_from_zero() {
    // d = 1: the values are their own quanta.
    let mut x = [0.0f32; 32];
    x[..6].copy_from_slice(&[127.0, 0.5, -0.5, 2.5, -2.5, 1.49]);
    for isa in Isa::ALL {
        let mut out = [0u8; 34];
        table(isa).f32_to_q8_0(&x, &mut out);
        assert_eq!(out[..8], [0x00, 0x3c, 127, 1, 255, 3, 253, 1]);
    }
}

fn plain(n_rot: usize) -> RopeFreq<'static> {
    RopeFreq {
        n_rot,
        freq_base: 1e4,
        freq_scale: 1.0,
        ext_factor: 0.0,
        attn_factor: 1.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        n_ctx_orig: 4096,
        factors: None,
    }
}

#[test]
fn rope_angles_are_those_of_the_formula() {
    for pos in [0, 1, 77, 4000] {
        let mut cs = [0.0; 128];
        rope_cache(pos, &plain(128), &mut cs);
        for i in 0..64 {
            let theta = f64::from(pos) * 1e4f64.powf(-2.0 * i as f64 / 128.0);
            // Repeated multiplication drifts by about i ulp of theta.
            let bound = 1e-6 + theta * 64.0 * 6e-8;
            assert!((f64::from(cs[2 * i]) - theta.cos()).abs() < bound, "cos {pos} {i}");
            assert!((f64::from(cs[2 * i + 1]) - theta.sin()).abs() < bound, "sin {pos} {i}");
        }
    }
}

#[test]
fn yarn_keeps_fast_pairs_and_interpolates_slow_ones() {
    let (mut own, mut slow, mut mixed) = ([0.0; 128], [0.0; 128], [0.0; 128]);
    let scaled = RopeFreq { freq_scale: 0.25, ..plain(128) };
    rope_cache(100, &plain(128), &mut own);
    rope_cache(100, &scaled, &mut slow);
    rope_cache(100, &RopeFreq { ext_factor: 1.0, ..scaled }, &mut mixed);
    let magnitude = 1.0 + 0.1 * 4.0f32.ln();
    close(&[mixed[0], mixed[1]], &[own[0] * magnitude, own[1] * magnitude], 1e-6, 0.0, "fast");
    close(&[mixed[126], mixed[127]], &[slow[126] * magnitude, slow[127] * magnitude], 1e-6, 0.0, "slow");
}

#[test]
fn factors_divide_and_sections_choose_positions() {
    let (mut a, mut b) = ([0.0; 64], [0.0; 64]);
    let twos = [2.0; 32];
    rope_cache(40, &RopeFreq { factors: Some(&twos), ..plain(64) }, &mut a);
    rope_cache(20, &plain(64), &mut b);
    close(&a, &b, 0.0, 0.0, "factors");

    let sections = RopeSections { sections: [8, 12, 12, 0], interleaved: false };
    rope_cache_multi([5, 6, 7, 8], &sections, &plain(64), &mut a);
    for (from, to, pos) in [(0, 8, 5), (8, 20, 6), (20, 32, 7)] {
        rope_cache(pos, &plain(64), &mut b);
        close(&a[2 * from..2 * to], &b[2 * from..2 * to], 0.0, 0.0, "section");
    }
    let sections = RopeSections { sections: [11, 11, 10, 0], interleaved: true };
    rope_cache_multi([5, 6, 7, 8], &sections, &plain(64), &mut a);
    for i in 0..32 {
        // 3 * 10 is the end of the third kind; none of 30, 31 is of it.
        rope_cache([5, 6, 7][i % 3], &plain(64), &mut b);
        close(&a[2 * i..2 * i + 2], &b[2 * i..2 * i + 2], 0.0, 0.0, "interleaved");
    }
}

const SPEC: RouteSpec = RouteSpec { gate: Gate::Softmax, by_logit: false, norm: true, scale: 1.0, n_group: 1, n_group_used: 1 };

fn routed(spec: &RouteSpec, logits: &[f32], bias: Option<&[f32]>, k: usize) -> (Vec<u32>, Vec<f32>) {
    let (mut ids, mut w) = (vec![0; k], vec![0.0; k]);
    route(table(Isa::detect()), &mut logits.to_vec(), bias, spec, &mut ids, &mut w);
    (ids, w)
}

#[test]
fn routing_picks_the_best_and_ties_go_to_the_lower_index() {
    let logits = [1.0, 3.0, 3.0, -2.0, 3.0, 2.0];
    let (ids, w) = routed(&SPEC, &logits, None, 4);
    assert_eq!(ids, [1, 2, 4, 5]);
    assert!((w.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    let e = (-1.0f32).exp();
    close(&w, &[1.0 / (3.0 + e), 1.0 / (3.0 + e), 1.0 / (3.0 + e), e / (3.0 + e)], 1e-6, 0.0, "weights");
    let same = routed(&RouteSpec { gate: Gate::SoftmaxWeight, norm: false, ..SPEC }, &logits, None, 4);
    assert_eq!(same.0, ids);
    close(&same.1, &w, 1e-6, 0.0, "softmax of the chosen");
    let scaled = routed(&RouteSpec { scale: 2.5, ..SPEC }, &logits, None, 4).1;
    close(&scaled, &w.iter().map(|w| w * 2.5).collect::<Vec<_>>(), 0.0, 0.0, "scale");
}

#[test]
fn routing_bias_moves_the_choice_only() {
    let spec = RouteSpec { gate: Gate::Sigmoid, norm: false, ..SPEC };
    let (ids, w) = routed(&spec, &[0.0, 2.0, 1.0], Some(&[5.0, 0.0, 0.0]), 2);
    assert_eq!(ids, [0, 1]);
    close(&w, &[0.5, 1.0 / (1.0 + (-2.0f32).exp())], 1e-6, 0.0, "weights");
}

#[test]
fn routing_sums_are_held_above_the_smallest_f16() {
    let spec = RouteSpec { gate: Gate::Sigmoid, ..SPEC };
    let (_, w) = routed(&spec, &[-30.0, -31.0], None, 1);
    close(&w, &[(-30.0f32).exp() / 6.103_515_6e-5], 1e-6, 0.0, "clamped");
}

#[test]
fn routing_groups_admit_only_the_best_groups() {
    // Group sums of the best two: 9, 10, 3: the single best expert is in a group that loses.
    let logits = [8.5, 0.5, 0.0, 5.0, 5.0, 0.0, 2.0, 1.0, 0.0];
    let spec = RouteSpec { gate: Gate::SoftmaxWeight, n_group: 3, n_group_used: 1, ..SPEC };
    assert_eq!(routed(&spec, &logits, None, 3).0, [3, 4, 5]);
    assert_eq!(routed(&RouteSpec { n_group_used: 2, ..spec }, &logits, None, 3).0, [0, 3, 4]);
}

#[test]
fn top_k_orders_even_what_is_not_a_number() {
    let mut ids = [9; 4];
    top_k(&[f32::NEG_INFINITY, 1.0, f32::NAN, -0.0, 0.0], &mut ids);
    assert_eq!(ids, [2, 1, 3, 4]);
    let mut ids = [9; 3];
    top_k(&[1.0], &mut ids);
    assert_eq!(ids, [0, 0, 0]);
}
