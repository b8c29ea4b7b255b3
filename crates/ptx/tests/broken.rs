//! Texts that were damaged: they are refused, or run to an end or a report. Nothing panics.
mod common;
use common::Arg::P;
use common::Bench;

const TEXTS: [&str; 4] = [
    include_str!("fixtures/matvec.sm75.ptx"),
    include_str!("fixtures/matmul.sm80.ptx"),
    include_str!("fixtures/rows.sm80.ptx"),
    "\n.version 8.2\n.target sm_75\n.address_size 64\n.global .align 8 .u64 p[2] = {generic(q), q+4};\n.global .u32 q = 7;\n.func (.param .b32 r) f(.param .b32 f_0)\n{\n.reg .b32 %r<3>;
    ld.param.u32 %r1, [f_0];\nst.param.b32 [r], %r1;\nret;\n}\n.entry k(.param .u64 k_0, .param .u64 k_1)\n{\n.reg .pred %p<3>;\n.reg .b32 %r<9>;\n.reg .b64 %rd<9>;\n.reg .f32 %f<5>;
    .shared .align 16 .b8 s[64];\n.local .align 8 .b8 l[24];\nld.param.u64 %rd1, [k_0];\nmov.u32 %r1, %tid.x;\nand.b32 %r2, %r1, 3;\nT:\n.branchtargets A, B, C;\nbrx.idx %r2, T;\nA:
    st.shared.u32 [s+4], %r1;\nbra C;\nB:\nst.local.v2.u32 [l+8], {%r1, %r2};\natom.shared.add.u32 %r3, [s], %r1;\nC:\nbar.sync 0;\nshfl.sync.bfly.b32 %r4, %r1, 3, 31, -1;\n{\n.param .b32 a;
    st.param.b32 [a], %r4;\n.param .b32 b;\ncall (b), f, (a);\nld.param.b32 %r5, [b];\n}\nbfe.s32 %r6, %r5, %r1, %r2;\nbfi.b32 %r6, %r5, %r6, %r1, %r2;\ndiv.s32 %r6, %r6, %r2;\nshl.b32 %r7, %r6, %r1;
    setp.lt.and.s32 %p1|%p2, %r6, %r5, !%p1;\nselp.b32 %r8, %r6, %r7, %p2;\ncvt.rn.f32.s32 %f1, %r8;\ncvt.rzi.s32.f32 %r8, %f1;\nst.global.u32 [%rd1], %r8;\nret;\n}\n",
];

struct Dice(u64);

impl Dice {
    fn up_to(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// A line of the text is dropped, moved, or gets a word or a number of another.
fn damaged(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + dice.up_to(3) {
        let (i, j) = (dice.up_to(lines.len()), dice.up_to(lines.len()));
        let words: Vec<&str> = lines[j].split([' ', ',', '\t', ';']).filter(|w| !w.is_empty()).collect();
        let word = words.get(dice.up_to(words.len())).map_or("-1", |w| *w).to_owned();
        let places: Vec<usize> = lines[i].char_indices().filter(|c| c.1.is_ascii_alphanumeric()).map(|c| c.0).collect();
        match dice.up_to(6) {
            0 => drop(lines.remove(i)),
            1 => lines.swap(i, j),
            2 if !places.is_empty() => {
                let at = places[dice.up_to(places.len())];
                lines[i].replace_range(at..=at, ["0", "9", "64", "%", ".", ""][dice.up_to(6)]);
            }
            3 => {
                let old: Vec<String> = lines[i].split(' ').map(str::to_owned).collect();
                let at = dice.up_to(old.len());
                lines[i] =
                    old.iter().enumerate().map(|(k, w)| if k == at { word.clone() + "," } else { w.clone() }).collect::<Vec<_>>().join(" ");
            }
            4 => lines[i] = lines[j].clone(),
            _ => lines[i].truncate(places.get(dice.up_to(places.len())).copied().unwrap_or(0)),
        }
    }
    lines.join("\n")
}

#[test]
fn damaged_texts_end() {
    let mut dice = Dice(1);
    let (mut refused, mut ran, mut reported) = (0, 0, 0);
    for round in 0..4000 {
        let text = damaged(TEXTS[round % TEXTS.len()], &mut dice);
        let Ok(mut b) = Bench::try_new(&text) else {
            refused += 1;
            continue;
        };
        b.limit = 30_000;
        let data = b.f32s(&[1.5; 600]);
        let mut names: Vec<String> = b.program.kernels.keys().cloned().collect();
        names.sort();
        for name in names {
            let kernel = b.program.kernels[&name].clone();
            // A count where a pointer is expected, and the other way round, is part of it.
            let args: Vec<_> = kernel.params.iter().map(|p| if p.1 == 8 { P(data) } else { P(3 + dice.up_to(60) as u64) }).collect();
            match b.try_run(&name, [2, 1, 1], [1 + dice.up_to(70) as u32, 1, 1], 256, &args) {
                Ok(_) => ran += 1,
                Err(_) => reported += 1,
            }
        }
    }
    assert!(refused > 500 && ran > 500 && reported > 500, "{refused} refused, {ran} ran, {reported} reported");
}

#[test]
fn endless_loops_end() {
    let mut b = Bench::new(".version 8.2\n.target sm_75\n.address_size 64\n.entry k()\n{\nL:\nbra L;\n}\n");
    b.limit = 100_000;
    let v = b.try_run("k", [1, 1, 1], [32, 1, 1], 0, &[]).expect_err("no end");
    assert_eq!(v.kind, mockcuda::exec::Kind::Timeout);
}
