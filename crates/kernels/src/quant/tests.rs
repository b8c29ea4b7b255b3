//! Every format and every level this CPU has, against the oracle, bit for bit; dequantisers against the original's own Python reader.
use super::*;

/// A linear congruential generator's upper bytes: the same few lines stand in any language.
struct Lcg(u64);
impl Lcg {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 56) as u8
    }
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.byte()).collect()
    }
    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (i16::from_le_bytes([self.byte(), self.byte()]) as f32) / 1024.0).collect()
    }
}

fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf29ce484222325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100000001b3))
}

/// Where the f16 scales stand in a block.
fn scale_offsets(ty: DType) -> &'static [usize] {
    match ty {
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS | DType::Q1_0 | DType::Q2_0 => &[0],
        DType::IQ1_S | DType::IQ2_XXS | DType::IQ2_XS | DType::IQ2_S | DType::IQ3_XXS | DType::IQ3_S => &[0],
        DType::IQ1_M => &[54],
        DType::TQ1_0 => &[52],
        DType::TQ2_0 => &[64],
        _ => &[],
    }
}

fn levels() -> impl Iterator<Item = Isa> {
    Isa::all_here()
}

/// `n_rows` rows of `ty` with finite scales; `fill`: random bytes or one byte everywhere (the extremes).
fn weights(rng: &mut Lcg, ty: DType, k: usize, n_rows: usize, fill: Option<u8>) -> Vec<u8> {
    let row = ty.row_bytes(k).unwrap();
    let mut w = fill.map_or_else(|| rng.bytes(row * n_rows), |b| vec![b; row * n_rows]);
    for block in w.chunks_exact_mut(ty.block_bytes()) {
        for &at in scale_offsets(ty) {
            block[at..at + 2].copy_from_slice(&half::f16::from_f32(f32::from(rng.byte()) / 997.0 - 0.1).to_le_bytes());
        }
        match ty {
            DType::F32 => block.copy_from_slice(&rng.floats(1)[0].to_le_bytes()),
            DType::F16 | DType::BF16 => assert!(from_f32(ty, &rng.floats(1), block)),
            // An exponent: far from those whose products overflow.
            DType::MXFP4 => block[0] = 100 + rng.byte() % 56,
            _ => {}
        }
    }
    w
}

fn inputs(table: &Table, ty: DType, k: usize, x: &[f32]) -> Vec<u8> {
    let a = table.act_of(ty).unwrap();
    let mut out = vec![0; a.row_bytes(k) * (x.len() / k)];
    for (x, out) in x.chunks_exact(k).zip(out.chunks_exact_mut(a.row_bytes(k))) {
        // SAFETY: `k` floats, a row's bytes.
        unsafe { table.quantize_act(a)(x.as_ptr(), k, 0..k, out.as_mut_ptr()) };
    }
    out
}

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code, reason = "only its address is used")] [u8; 64]);

/// What `table` says, or its oracle. `[n_tokens][n_rows]`
fn product(table: &Table, oracle: bool, ty: DType, k: usize, w: &[u8], x: &[u8]) -> Vec<f32> {
    let f = if oracle { table.oracle(ty) } else { table.mat_mul(ty) }.unwrap();
    product_by(f, table, ty, k, w, x)
}

fn product_by(f: MatMul, table: &Table, ty: DType, k: usize, w: &[u8], x: &[u8]) -> Vec<f32> {
    let (w_stride, x_stride) = (ty.row_bytes(k).unwrap(), table.act_of(ty).unwrap().row_bytes(k));
    let (n_rows, n_tokens) = (w.len() / w_stride, x.len() / x_stride);
    let mut y = vec![f32::NAN; n_rows * n_tokens];
    let mut scratch = vec![Line([0xa5; 64]); scratch_bytes(ty, k, n_tokens).div_ceil(64)];
    let args = MatArgs {
        w: w.as_ptr(),
        w_stride,
        k,
        n_rows,
        x: x.as_ptr(),
        x_stride,
        n_tokens,
        y: y.as_mut_ptr(),
        y_stride: n_rows,
        scratch: scratch.as_mut_ptr().cast(),
    };
    // SAFETY: the buffers above have the sizes they say, and the CPU the level of `f`.
    unsafe { f(&args) };
    y
}

/// The rows of `w` in groups.
fn grouped(isa: Isa, ty: DType, k: usize, w: &[u8]) -> Vec<u8> {
    let (mut out, row_bytes) = (vec![0; w.len()], ty.row_bytes(k).unwrap());
    // SAFETY: as many bytes on both sides.
    unsafe { table(isa).to_groups()(ty, w.as_ptr(), row_bytes, w.len() / row_bytes / ROW_GRANULE, out.as_mut_ptr()) };
    out
}

fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn every_level_gives_the_oracles_bits() {
    let mut rng = Lcg(3);
    for f in FORMATS {
        let block = if f.act == Act::F32 { 19 } else { f.ty.block_len() };
        for (n_blocks, n_rows, n_tokens) in [
            (1, 1, 1),
            (1, 8, 1),
            (2, 17, 1),
            (3, 19, 2),
            (4, 9, 5),
            (9, 33, 13),
            (17, 16, 8),
            (3, 16, 1),
            (9, 32, 2),
            (2, 16, 3),
            (1, 80, 15),
            (10, 96, 9),
        ] {
            for fill in [None, Some(0), Some(0xff), Some(0x7f), Some(0x80)] {
                let k = n_blocks * block;
                let w = weights(&mut rng, f.ty, k, n_rows, fill);
                let mut x = rng.floats(k * n_tokens);
                if fill.is_some() {
                    x.iter_mut().for_each(|x| *x = 5.0f32.copysign(*x)); // every value at the end of its range
                }
                for isa in levels() {
                    let x = inputs(table(isa), f.ty, k, &x);
                    let want = product(table(isa), true, f.ty, k, &w, &x);
                    let got = product(table(isa), false, f.ty, k, &w, &x);
                    assert_eq!(bits(&got), bits(&want), "{:?} on {isa:?}: {n_rows} rows of {k}, {n_tokens} tokens, fill {fill:?}", f.ty);
                    if let Some(mul) = table(isa).group_mul(f.ty).filter(|_| n_rows % ROW_GRANULE == 0) {
                        let got = product_by(mul, table(isa), f.ty, k, &grouped(isa, f.ty, k, &w), &x);
                        assert_eq!(
                            bits(&got),
                            bits(&want),
                            "{:?} in groups on {isa:?}: {n_rows} rows of {k}, {n_tokens} tokens, fill {fill:?}",
                            f.ty
                        );
                    }
                }
            }
        }
    }
}

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

#[test]
fn blocks_of_float_products_give_the_oracles_bits() {
    // Ragged steps of 16 and 32, tiles of all widths, more rows than a block, k that is cut, more tokens than wait for the rest of k.
    let mut rng = Lcg(19);
    let rows = (1..21).map(|n| (47, n, 7));
    let tokens = (1..10).chain([24, 64]).flat_map(|t| [(16, 9, t), (33, 3, t), (95, 13, t)]);
    for (k, n_rows, n_tokens) in rows.chain(tokens).chain([(3109, 66, 2), (3109, 70, 13), (6200, 9, 25), (1600, 67, 101)]) {
        for ty in FLOATS {
            let w = weights(&mut rng, ty, k, n_rows, None);
            let x = rng.floats(k * n_tokens);
            for isa in levels().filter(|&i| i != Isa::Scalar && i != Isa::Avx512Vnni) {
                let x = inputs(table(isa), ty, k, &x);
                let [got, want] = [false, true].map(|oracle| bits(&product(table(isa), oracle, ty, k, &w, &x)));
                assert!(got == want, "{ty:?} on {isa:?}: {n_rows} rows of {k}, {n_tokens} tokens");
            }
        }
    }
}

#[test]
fn float_products_of_the_smallest_and_largest_numbers() {
    // Exponents from one end to the other: denormal weights, inputs and sums, results that round up to the smallest normal number, inf.
    let mut rng = Lcg(23);
    let mut random =
        |mask: u32, top: u32| f32::from_bits(u32::from_le_bytes([rng.byte(), rng.byte(), rng.byte(), rng.byte()]) & mask | top);
    let (k, n_rows, n_tokens) = (70, 9, 5);
    for (mask, top) in [(u32::MAX, 0), (0x8fff_ffff, 0x1800_0000), (0x87ff_ffff, 0x1c00_0000), (0x80ff_ffff, 0x2000_0000), (0x807f_ffff, 0)]
    {
        for ty in FLOATS {
            let mut floats = |n| (0..n).map(|_| random(mask, top)).map(|v| if v.is_nan() { 1.0 } else { v }).collect::<Vec<f32>>();
            let (values, x) = (floats(k * n_rows), floats(k * n_tokens));
            let mut w = vec![0; ty.row_bytes(k).unwrap() * n_rows];
            if ty == DType::F32 {
                w = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            } else {
                assert!(from_f32(ty, &values, &mut w));
            }
            for isa in levels() {
                let x = inputs(table(isa), ty, k, &x);
                let [got, want] = [false, true].map(|oracle| product(table(isa), oracle, ty, k, &w, &x));
                let same = got.iter().zip(&want).all(|(g, w)| g.to_bits() == w.to_bits() || g.is_nan() && w.is_nan());
                assert!(same, "{ty:?} on {isa:?}, {mask:x} {top:x}: {got:?} {want:?}");
            }
        }
    }
}

#[test]
fn bf16_inputs_are_rounded_half_to_even() {
    let cases: [(u32, u16); 10] = [
        (0x3f80_0000, 0x3f80),
        (0x3f80_8000, 0x3f80),
        (0x3f81_8000, 0x3f82),
        (0x3f80_8001, 0x3f81),
        (0xbf80_7fff, 0xbf80),
        (0x7f7f_ffff, 0x7f80),
        (0xff80_0000, 0xff80),
        (0x7f80_0001, 0x7fc0),
        (0x8000_0000, 0x8000),
        (0x0000_8001, 0x0001),
    ];
    let x = cases.map(|c| f32::from_bits(c.0));
    for isa in levels() {
        let (mut row, mut lost) = ([0u8; 64], [0.0f32; 10]);
        // SAFETY: ten floats, a row's bytes, ten floats.
        unsafe {
            table(isa).quantize_act(Act::Bf16)(x.as_ptr(), x.len(), 0..x.len(), row.as_mut_ptr());
            Act::Bf16.lost(x.as_ptr(), x.len(), row.as_ptr(), lost.as_mut_ptr());
        }
        let got: Vec<u16> = row[..20].chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(got, cases.map(|c| c.1), "{isa:?}");
        for i in [0, 1, 2, 3, 4, 8, 9] {
            assert_eq!(f32::from_bits(u32::from(got[i]) << 16) + lost[i], x[i], "{isa:?} {i}");
        }
    }
}

#[test]
fn saturating_input_stays_exact() {
    // All inputs 127 or all -127 against the largest weights: where 16-bit sums of byte products would overflow.
    let mut rng = Lcg(5);
    for f in FORMATS.iter().filter(|f| f.act != Act::F32) {
        for sign in [1.0, -1.0] {
            let k = 2 * f.ty.block_len().max(f.act.block_len());
            for n_tokens in [1, 9] {
                let w = weights(&mut rng, f.ty, k, 16, Some(if f.ty == DType::Q8_0 { 0x80 } else { 0xff }));
                let x = inputs(table(Isa::Scalar), f.ty, k, &vec![sign; k * n_tokens]);
                let want = product(table(Isa::Scalar), true, f.ty, k, &w, &x);
                for isa in levels() {
                    assert_eq!(bits(&product(table(isa), false, f.ty, k, &w, &x)), bits(&want), "{:?} on {isa:?}", f.ty);
                    if let Some(mul) = table(isa).group_mul(f.ty) {
                        assert_eq!(
                            bits(&product_by(mul, table(isa), f.ty, k, &grouped(isa, f.ty, k, &w), &x)),
                            bits(&want),
                            "{:?} in groups on {isa:?}",
                            f.ty
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_result_does_not_depend_on_its_neighbours() {
    let mut rng = Lcg(7);
    for f in FORMATS {
        let (k, n_rows, n_tokens) = (512 + if f.act == Act::F32 { 5 } else { 0 }, 37, 64);
        let w = weights(&mut rng, f.ty, k, n_rows, None);
        let x = rng.floats(k * n_tokens);
        for isa in levels().filter(|&i| i != Isa::Scalar) {
            let product = |w: &[u8], x: &[u8]| product(table(isa), false, f.ty, k, w, x);
            let x = inputs(table(isa), f.ty, k, &x);
            let (row, tok) = (w.len() / n_rows, x.len() / n_tokens);
            let all = bits(&product(&w, &x));
            for step in [1, 7] {
                for (t, x) in x.chunks(tok * step).enumerate() {
                    let n = x.len() / tok * n_rows;
                    assert_eq!(bits(&product(&w, x)), all[t * step * n_rows..][..n], "{:?} {isa:?} {step} tokens", f.ty);
                }
            }
            // Rows split unevenly, and everything at an odd address.
            let (mut odd_w, mut odd_x) = (vec![0], vec![0]);
            odd_w.extend_from_slice(&w[5 * row..]);
            odd_x.extend_from_slice(&x[..9 * tok]);
            let part = bits(&product(&odd_w[1..], &odd_x[1..]));
            for t in 0..9 {
                assert_eq!(part[t * (n_rows - 5)..][..n_rows - 5], all[t * n_rows + 5..(t + 1) * n_rows], "{:?} {isa:?}", f.ty);
            }
        }
    }
}

/// A copy of `bytes` that ends where a page without access begins.
fn at_page_end(bytes: &[u8]) -> (*const u8, impl Drop + use<>) {
    struct Map(*mut libc::c_void, usize);
    impl Drop for Map {
        fn drop(&mut self) {
            // SAFETY: the mapping made below.
            unsafe { libc::munmap(self.0, self.1) };
        }
    }
    let page = 65536; // a multiple of every page size
    let len = bytes.len().next_multiple_of(page) + page;
    // SAFETY: a new private mapping; the last page is made inaccessible, the copy ends at it.
    unsafe {
        let p = libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        assert_ne!(p, libc::MAP_FAILED);
        assert_eq!(libc::mprotect(p.cast::<u8>().add(len - page).cast(), page, libc::PROT_NONE), 0);
        let at = p.cast::<u8>().add(len - page - bytes.len());
        at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        (at, Map(p, len))
    }
}

#[test]
fn nothing_is_read_past_the_end() {
    let mut rng = Lcg(11);
    for f in FORMATS {
        let block = if f.act == Act::F32 { 19 } else { f.ty.block_len() };
        for (n_blocks, n_rows, n_tokens) in [(1, 1, 1), (3, 5, 1), (3, 5, 6)] {
            let k = n_blocks * block;
            let w = weights(&mut rng, f.ty, k, n_rows, None);
            for isa in levels() {
                let x = inputs(table(isa), f.ty, k, &rng.floats(k * n_tokens));
                // The padding of a quantised row is not the kernel's to read either.
                let act = table(isa).act_of(f.ty).unwrap();
                let used = x.len() - (act.row_bytes(k) - used_bytes(act, k));
                let ((pw, _w), (px, _x)) = (at_page_end(&w), at_page_end(&x[..used]));
                let want = product(table(isa), false, f.ty, k, &w, &x);
                let mut scratch = vec![Line([0; 64]); scratch_bytes(f.ty, k, n_tokens).div_ceil(64)];
                let (y, _y) = at_page_end(&vec![0; 4 * n_rows * n_tokens]);
                let args = MatArgs {
                    w: pw,
                    w_stride: w.len() / n_rows,
                    k,
                    n_rows,
                    x: px,
                    x_stride: act.row_bytes(k),
                    n_tokens,
                    y: y.cast_mut().cast(),
                    y_stride: n_rows,
                    scratch: scratch.as_mut_ptr().cast(),
                };
                // SAFETY: the buffers hold what the arguments say and not a byte more.
                let got = unsafe {
                    table(isa).mat_mul(f.ty).unwrap()(&args);
                    std::slice::from_raw_parts(y.cast::<f32>(), n_rows * n_tokens)
                };
                assert_eq!(bits(got), bits(&want), "{:?} {isa:?}", f.ty);
            }
        }
    }
}

fn used_bytes(a: Act, k: usize) -> usize {
    match a {
        Act::F32 => 4 * k,
        Act::Bf16 => 2 * k,
        Act::B32 => k + k / 4,
        Act::B256 => k + k / 256 * 36,
    }
}

#[test]
fn input_rows_follow_the_rule_on_every_level() {
    let mut rng = Lcg(13);
    for (a, n) in [(Act::B32, 32), (Act::B256, 256)] {
        for scale in [1.0, 1e-30, 1e30, 0.0, 1e-44] {
            let k = 3 * n;
            let x: Vec<f32> = rng.floats(k).iter().map(|v| v * scale).collect();
            for isa in levels() {
                let mut out = vec![0u8; a.row_bytes(k)];
                // SAFETY: `k` floats, a row's bytes.
                unsafe { table(isa).quantize_act(a)(x.as_ptr(), k, 0..k, out.as_mut_ptr()) };
                for (b, x) in x.chunks(n).enumerate() {
                    let q: Vec<i32> = out[b * n..][..n].iter().map(|&v| i32::from(v as i8)).collect();
                    let amax = x.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
                    let id = if (127.0 / amax).is_finite() { 127.0 / amax } else { 0.0 };
                    assert!(q.iter().zip(x).all(|(&q, x)| q == (x * id).round_ties_even() as i32), "{a:?} {isa:?} x {scale}");
                    let d = f32::from_le_bytes(out[k + 4 * b..][..4].try_into().unwrap());
                    assert_eq!(d, if id == 0.0 { 0.0 } else { amax / 127.0 });
                    let sums = &out[k + k / n * 4..];
                    match a {
                        Act::B32 => assert_eq!(i32::from_le_bytes(sums[4 * b..][..4].try_into().unwrap()), q.iter().sum::<i32>()),
                        _ => q.chunks(16).enumerate().for_each(|(j, q)| {
                            let s = i16::from_le_bytes(sums[32 * b + 2 * j..][..2].try_into().unwrap());
                            assert_eq!(i32::from(s), q.iter().sum::<i32>());
                        }),
                    }
                }
            }
        }
    }
}

#[test]
fn a_nan_or_inf_in_the_input_reaches_the_output() {
    let mut rng = Lcg(17);
    for f in FORMATS {
        for bad in [f32::NAN, f32::INFINITY] {
            let k = 512;
            let mut x = rng.floats(k);
            x[300] = bad;
            let w = weights(&mut rng, f.ty, k, 3, None);
            for isa in levels() {
                let y = product(table(isa), false, f.ty, k, &w, &inputs(table(isa), f.ty, k, &x));
                assert!(y.iter().all(|v| !v.is_finite()), "{:?} {isa:?} {bad}: {y:?}", f.ty);
            }
        }
    }
}

/// Checksums of what ggml's own `to_float` makes of `Lcg(1)` bytes, 64 blocks, the scales' upper bytes masked with 0xbf so that they are finite;
/// -0 counted as 0.
#[test]
fn dequantisers_agree_with_the_original() {
    let sums = [
        (DType::Q4_0, 0x30720628060a08d5),
        (DType::Q4_1, 0x8438a355275722c5),
        (DType::Q5_0, 0xb198012f75f63314),
        (DType::Q5_1, 0x5e522df25dad052b),
        (DType::Q8_0, 0xfb8e43c09dba6540),
        (DType::Q2_K, 0x002fba8fd12ff406),
        (DType::Q3_K, 0x9b873b199e555b96),
        (DType::Q4_K, 0x70b1973137ab9862),
        (DType::Q5_K, 0xb124400431de5218),
        (DType::Q6_K, 0x387daa68dd355ac8),
        (DType::IQ2_XXS, 0x5e3a362a26105307),
        (DType::IQ2_XS, 0x1c259de7c7777d6c),
        (DType::IQ3_XXS, 0x20af4ab542817eb8),
        (DType::IQ1_S, 0x1e1e4915840d3ee6),
        (DType::IQ4_NL, 0x19f37ad79e2c1fd2),
        (DType::IQ3_S, 0xeeaaaaf948bea35a),
        (DType::IQ2_S, 0x88b2c0d7163a7929),
        (DType::IQ4_XS, 0xfaa830d6483147c6),
        (DType::IQ1_M, 0x89c288767d13f139),
        (DType::TQ1_0, 0x440e30c4ff2ff879),
        (DType::TQ2_0, 0xaba81e2c2588b33c),
        (DType::MXFP4, 0x1ceac5d24992523a),
        (DType::NVFP4, 0xad12eee69cde921c),
        (DType::Q1_0, 0xfcf20748dcd9e725),
        (DType::Q2_0, 0x678b1a260a4fed90),
    ];
    for (ty, sum) in sums {
        let mut w = Lcg(1).bytes(64 * ty.block_bytes());
        for block in w.chunks_exact_mut(ty.block_bytes()) {
            scale_offsets(ty).iter().for_each(|at| block[at + 1] &= 0xbf);
        }
        let k = 64 * ty.block_len();
        let mut y = vec![0.0f32; k];
        // SAFETY: 64 blocks, `k` floats.
        unsafe { table(Isa::Scalar).to_f32(ty).unwrap()(w.as_ptr(), k, y.as_mut_ptr()) };
        assert_eq!(fnv(y.iter().flat_map(|v| (v + 0.0).to_le_bytes())), sum, "{ty:?}: {:?}", &y[..3]);
    }
}

/// Checksums of what ggml's own reference quantisers (F16, BF16: numpy and gguf) make of numbers made of `Lcg(7)`: 256 between -0.5 and 0.5, seven times
/// their cubes, and equal ones.
#[test]
fn quantisers_agree_with_the_original() {
    let mut rng = Lcg(7);
    let x: Vec<f32> =
        rng.bytes(4 * 256).chunks(4).map(|b| (u32::from_le_bytes(b.try_into().unwrap()) >> 8) as f32 / 16777216.0 - 0.5).collect();
    let more: Vec<f32> = x.iter().copied().chain(x.iter().map(|x| x * x * x * 7.0)).chain([-3.25; 256]).collect();
    let floats = [(DType::F16, 0xa9afb87496bd454c), (DType::BF16, 0x5effd578eb6f58ae)];
    let blocks = [
        (DType::Q4_0, 0xef0c781b0b5f1eb7),
        (DType::Q4_1, 0xab6513fa84d5c268),
        (DType::Q5_0, 0x5e57b3da3105a966),
        (DType::Q5_1, 0x9003c29b0fbed8e6),
        (DType::Q8_0, 0xc0082911705de9b1),
        (DType::IQ4_NL, 0x83d9d6ad2cec8c94),
        (DType::MXFP4, 0x2e94a6073be881a3),
        (DType::NVFP4, 0xcbbfd407bc39772e),
        (DType::TQ1_0, 0x947c52b92a45c027),
        (DType::TQ2_0, 0x72a4ce08e0c9141a),
        (DType::Q1_0, 0x6d43371da1abb1a1),
        (DType::Q2_0, 0xb3db4f10c29c2344),
        (DType::Q2_K, 0x745958c7478e2064),
        (DType::Q3_K, 0xb628563601fcd2b0),
        (DType::Q4_K, 0xd643d8ef27f25c21),
        (DType::Q5_K, 0xee8b5e09c5a0df8b),
        (DType::Q6_K, 0xbb250e8d8bd2ed4c),
        (DType::IQ4_XS, 0x2bccd2f991d98345),
    ];
    for ((ty, sum), x) in floats.map(|f| (f, &x)).into_iter().chain(blocks.map(|b| (b, &more))) {
        let mut out = vec![0; ty.row_bytes(x.len()).unwrap()];
        assert!(from_f32(ty, x, &mut out));
        assert_eq!(fnv(out), sum, "{ty:?}");
    }
    // Nothing to scale.
    for (ty, _) in blocks {
        let mut out = vec![1; ty.row_bytes(256).unwrap()];
        assert!(from_f32(ty, &[0.0; 256], &mut out));
        let mut y = vec![1.0; 256];
        // SAFETY: 256 elements on both sides.
        unsafe { table(Isa::Scalar).to_f32(ty).unwrap()(out.as_ptr(), 256, y.as_mut_ptr()) };
        assert!(y.iter().all(|v| *v == 0.0), "{ty:?}");
    }
}

#[test]
fn lists_are_ordered_and_complete() {
    for f in FORMATS.iter().chain(OWN) {
        assert!(f.impls.windows(2).all(|w| w[0].needs > w[1].needs), "{:?}", f.ty);
        assert_eq!(f.impls.last().map(|i| i.needs), Some(Isa::Scalar));
        assert!((f.ty as usize) < N_TYPES);
    }
    assert!(FORMATS.iter().all(|f| act_of(f.ty) == Some(f.act) && table(Isa::Scalar).act_of(f.ty) == Some(f.act)));
    assert!(act_of(DType::I32).is_none() && table(Isa::Scalar).mat_mul(DType::I32).is_none());
}
