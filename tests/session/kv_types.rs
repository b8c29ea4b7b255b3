//! Quantised K and V, which are kept transformed: the same bits however tokens come, and positions that move.
use super::*;

const TYPES: [(DType, DType); 3] = [(DType::Q8_0, DType::Q8_0), (DType::Q4_0, DType::Q5_1), (DType::F16, DType::IQ4_NL)];

fn typed(m: &Arc<Model>, (k, v): (DType, DType), change: impl Fn(&mut ContextParams)) -> Context {
    context(m, |p| {
        (p.type_k, p.type_v) = (k, v);
        change(p);
    })
}

/// Logits of the last token.
fn fed(c: &mut Context, t: &[i32], at_once: usize) -> Vec<f32> {
    t.chunks(at_once).for_each(|t| assert_eq!(c.decode(&view(t)), 0));
    last(c)
}

#[test]
fn the_same_bits_however_tokens_come() {
    for name in [LLAMA, GEMMA] {
        let m = model(name, LoadMode::Auto);
        let t: Vec<i32> = tokens(&m, TEXT).into_iter().cycle().take(130).collect();
        for types in TYPES {
            let want = fed(&mut typed(&m, types, |_| {}), &t, 130);
            for (at_once, n_ubatch, n_threads) in [(1, 512, 1), (7, 5, 3), (130, 64, 2)] {
                let mut c = typed(&m, types, |p| (p.n_ubatch, p.n_threads, p.n_threads_batch) = (n_ubatch, n_threads, n_threads));
                assert_eq!(fed(&mut c, &t, at_once), want, "{name} {types:?}, {at_once} at once, ubatches of {n_ubatch}");
            }
        }
    }
}

#[test]
fn positions_move_as_those_of_exact_rows_do() {
    for name in [LLAMA, GEMMA] {
        let m = model(name, LoadMode::Auto);
        let t: Vec<i32> = tokens(&m, TEXT).into_iter().cycle().take(60).collect();
        let shifted = |types| {
            let mut c = typed(&m, types, |_| {});
            fed(&mut c, &t, 60);
            c.seq_rm(Some(0), 5, 25).expect("goes");
            c.seq_add(0, 25, -1, -20).expect("moves");
            fed(&mut c, &t[7..8], 1)
        };
        let exact = shifted((DType::F32, DType::F32));
        for (types, limit) in [(TYPES[0], 2e-3), ((DType::Q4_0, DType::Q4_0), 5e-2), ((DType::Q8_0, DType::F32), 2e-3)] {
            let off: f32 = shifted(types).iter().zip(&exact).map(|(a, b)| (a - b) * (a - b)).sum();
            let nmse = off / exact.iter().map(|v| v * v).sum::<f32>();
            assert!(nmse < limit, "{name} {types:?}: {nmse}");
        }
    }
}
