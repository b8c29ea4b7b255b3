//! Lanes that part and meet, shuffles, votes, barriers, atomics, matrices; and what the sanitizer must find.
mod common;
use common::Arg::{I, P};
use common::Bench;
use mockcuda::exec::{Kind, Violation};

const HEAD: &str = ".version 8.2\n.target sm_90\n.address_size 64\n";

/// A kernel with one result per thread, %r0, and the block and thread in %r20, %r21. `before` stands in front of the kernel.
fn bench(before: &str, text: &str) -> Bench {
    Bench::try_new(&format!(
        "{HEAD}{before}\n.visible .entry k(.param .u64 k_0, .param .u64 k_1)\n{{\n.reg .pred %p<8>;\n.reg .b16 %h<4>;\n.reg .b32 %r<32>;\n.reg .f32 %f<16>;
        .reg .b64 %rd<32>;\nmov.u32 %r20, %ctaid.x;\nmov.u32 %r21, %tid.x;\nmov.u32 %r22, %ntid.x;\nmov.u32 %r0, 0;
        mad.lo.s32 %r23, %r20, %r22, %r21;\nld.param.u64 %rd1, [k_1];\n{text}\nld.param.u64 %rd22, [k_0];
        mul.wide.u32 %rd23, %r23, 4;\nadd.s64 %rd22, %rd22, %rd23;\nst.global.u32 [%rd22], %r0;\nret;\n}}\n"
    ))
    .unwrap_or_else(|r| panic!("{text}: {}", r.what))
}

fn try_run(before: &str, text: &str, blocks: u32, threads: u32, shared: u64) -> Result<Vec<u32>, Box<Violation>> {
    let mut b = bench(before, text);
    let n = (blocks * threads) as usize;
    let (y, x) = (b.room(4 * n), b.u32s(&[0; 64]));
    b.try_run("k", [blocks, 1, 1], [threads, 1, 1], shared, &[P(y), P(x)])?;
    Ok(b.get_u32(y, n))
}

fn check(text: &str, threads: u32, want: impl Fn(u32) -> u32) {
    check_with("", text, threads, want);
}

fn check_with(before: &str, text: &str, threads: u32, want: impl Fn(u32) -> u32) {
    let got = try_run(before, text, 1, threads, 1024).unwrap_or_else(|v| panic!("{v}"));
    for (t, got) in got.iter().enumerate() {
        assert_eq!(*got, want(t as u32), "{text}: thread {t}");
    }
}

/// What the sanitizer says; it must say something.
fn violation(before: &str, text: &str, threads: u32) -> Violation {
    *try_run(before, text, 1, threads, 1024).expect_err(text)
}

#[test]
fn shuffles() {
    check("shfl.sync.bfly.b32 %r0, %r21, 5, 31, -1;", 64, |t| t ^ 5);
    check("shfl.sync.up.b32 %r0|%p1, %r21, 3, 0, -1;\n@!%p1 mov.u32 %r0, 99;", 32, |t| if t < 3 { 99 } else { t - 3 });
    check("shfl.sync.down.b32 %r0, %r21, 4, 31, -1;", 32, |t| if t > 27 { t } else { t + 4 });
    check("shfl.sync.idx.b32 %r0, %r21, 9, 31, -1;", 64, |t| t / 32 * 32 + 9);
    // Segments of 8: (32 - 8) << 8.
    check("shfl.sync.down.b32 %r0, %r21, 1, 0x1807, -1;", 32, |t| if t % 8 == 7 { t } else { t + 1 });
    check("shfl.sync.idx.b32 %r0, %r21, 2, 0x181f, -1;", 32, |t| t / 8 * 8 + 2);
    check("shfl.sync.bfly.b32 %r0, %r21, 12, 0x181f, -1;", 32, |t| if t & 8 == 0 { t } else { t ^ 12 });
}

#[test]
fn votes_and_reductions() {
    check("setp.gt.u32 %p1, %r21, 4;\nvote.sync.ballot.b32 %r0, %p1, -1;", 32, |_| !31);
    check("setp.gt.u32 %p1, %r21, 4;\nvote.sync.any.pred %p2, !%p1, -1;\nselp.u32 %r0, 1, 0, %p2;", 64, |t| (t < 32).into());
    check("setp.ge.u32 %p1, %r21, 32;\nvote.sync.all.pred %p2, %p1, -1;\nselp.u32 %r0, 1, 0, %p2;", 64, |t| (t >= 32).into());
    check("redux.sync.add.s32 %r0, %r21, -1;", 32, |_| 31 * 16);
    check("neg.s32 %r1, %r21;\nredux.sync.min.s32 %r0, %r1, -1;", 32, |_| -31i32 as u32);
    check("shr.u32 %r1, %r21, 3;\nmatch.any.sync.b32 %r0, %r1, -1;", 32, |t| 0xff << (t / 8 * 8));
    check("activemask.b32 %r0;", 40, |t| if t < 32 { u32::MAX } else { 255 });
    check("mov.u32 %r0, %lanemask_lt;", 32, |t| (1 << t) - 1);
}

/// Lanes leave a loop one after the other, take two ways in it, and shuffle together behind it.
#[test]
fn lanes_part_and_meet() {
    let text = "mov.u32 %r1, 0;\nLOOP:\nsetp.ge.u32 %p1, %r1, %r21;\n@%p1 bra DONE;\nand.b32 %r2, %r1, 1;\nsetp.eq.u32 %p2, %r2, 0;\n@%p2 bra EVEN;
        add.u32 %r0, %r0, 100;\nbra NEXT;\nEVEN:\nadd.u32 %r0, %r0, 1;\nNEXT:\nadd.u32 %r1, %r1, 1;\nbra LOOP;\nDONE:
        shfl.sync.bfly.b32 %r3, %r0, 1, 31, -1;\nadd.u32 %r0, %r0, %r3;";
    let one = |t: u32| t / 2 * 100 + t.div_ceil(2);
    check(text, 96, |t| one(t) + one(t ^ 1));
}

/// Lanes that come to the same shuffle by ways of different lengths wait for each other.
#[test]
fn shuffles_wait() {
    let text = "setp.lt.u32 %p1, %r21, 16;\n@%p1 bra LATE;\nBACK:\nshfl.sync.bfly.b32 %r0, %r21, 16, 31, -1;\nbra END;\nLATE:\nadd.u32 %r5, %r21, 0;\nbra BACK;\nEND:";
    check(text, 32, |t| t ^ 16);
}

#[test]
fn tables_of_jumps() {
    let text = "rem.u32 %r1, %r21, 3;\nT:\n.branchtargets A, B, C;\nbrx.idx %r1, T;\nA:\nmov.u32 %r0, 10;\nbra END;\nB:\nmov.u32 %r0, 11;\nbra END;\nC:\nmov.u32 %r0, 12;\nEND:";
    check(text, 32, |t| 10 + t % 3);
}

#[test]
fn calls_from_two_places() {
    let function = ".func (.param .b32 back) twice(.param .b32 twice_0)\n{\n.reg .b32 %r<3>;\nld.param.u32 %r1, [twice_0];\nshl.b32 %r2, %r1, 1;\nst.param.b32 [back], %r2;\nret;\n}";
    let call = |from: &str, to: &str| {
        format!(
            "{{\n.param .b32 a;\nst.param.b32 [a+0], {from};\n.param .b32 b;\ncall.uni (b), twice, (a);\nld.param.b32 {to}, [b+0];\n}}\n"
        )
    };
    let text = format!(
        "setp.lt.u32 %p1, %r21, 7;\n@%p1 bra FIRST;\n{}bra END;\nFIRST:\n{}{}END:",
        call("%r21", "%r0"),
        call("%r21", "%r1"),
        call("%r1", "%r0")
    );
    check_with(function, &text, 32, |t| if t < 7 { 4 * t } else { 2 * t });
    let itself = ".func f()\n{\ncall f;\nret;\n}";
    let refused = Bench::try_new(&format!("{HEAD}{itself}\n.entry k()\n{{\ncall f;\nret;\n}}")).err().expect("recursion is refused");
    assert!(refused.what.contains("calls itself"), "{}", refused.what);
}

#[test]
fn local_memory_and_windows() {
    let text = ".local .align 4 .b8 own[64];\n.shared .align 4 .b8 all[256];\nmov.u64 %rd2, own;\ncvta.local.u64 %rd3, %rd2;\nand.b32 %r1, %r21, 15;\nmul.wide.u32 %rd4, %r1, 4;
        add.s64 %rd5, %rd3, %rd4;\nst.u32 [%rd5], %r21;\nadd.s64 %rd6, %rd2, %rd4;\nld.local.u32 %r2, [%rd6];\nmov.u64 %rd7, all;\ncvta.shared.u64 %rd8, %rd7;
        mul.wide.u32 %rd9, %r21, 4;\nadd.s64 %rd10, %rd8, %rd9;\nst.u32 [%rd10], %r2;\nbar.sync 0;\nxor.b32 %r3, %r21, 33;\nmul.wide.u32 %rd11, %r3, 4;
        add.s64 %rd12, %rd7, %rd11;\nld.shared.u32 %r0, [%rd12];";
    check(text, 64, |t| t ^ 33);
}

#[test]
fn dynamic_shared_memory_lies_behind() {
    let before = ".extern .shared .align 16 .b8 open[];";
    let text = ".shared .align 4 .b8 fixed[20];\nmov.u32 %r1, open;\nmov.u32 %r2, fixed;\nsub.u32 %r0, %r1, %r2;";
    check_with(before, text, 1, |_| 32);
    check_with(before, "mov.u32 %r0, %dynamic_smem_size;", 1, |_| 1024);
}

#[test]
fn barriers_that_count() {
    check("setp.lt.u32 %p1, %r21, 70;\nbar.red.popc.u32 %r0, 0, %p1;", 96, |_| 70);
    check("setp.lt.u32 %p1, %r21, 70;\nbar.red.and.pred %p2, 0, %p1;\nselp.u32 %r0, 1, 2, %p2;", 96, |_| 2);
    check("setp.eq.u32 %p1, %r21, 70;\nbar.red.or.pred %p2, 0, %p1;\nselp.u32 %r0, 1, 2, %p2;", 96, |_| 1);
    // Two of three warps meet at a barrier of their own.
    check("setp.ge.u32 %p1, %r21, 64;\n@%p1 bra END;\nbarrier.sync 3, 64;\nmov.u32 %r0, 1;\nEND:", 96, |t| (t < 64).into());
    // Who has ended is not waited for.
    check("setp.ge.u32 %p1, %r21, 32;\n@!%p1 bra GO;\nmov.u32 %r0, 5;\nbra END;\nGO:\nmov.u32 %r0, 6;\nEND:", 96, |t| {
        if t < 32 { 6 } else { 5 }
    });
}

#[test]
fn atomics() {
    let mut b = bench(
        "",
        "atom.global.add.u32 %r0, [%rd1], 3;\nred.global.max.s32 [%rd1+4], %r21;\natom.global.cas.b32 %r1, [%rd1+8], 0, %r21;\nred.global.or.b32 [%rd1+12], 6;",
    );
    let (y, x) = (b.room(4 * 64), b.u32s(&[0, 0xffff_fff0, 0, 1]));
    b.run("k", [2, 1, 1], [32, 1, 1], 0, &[P(y), P(x)]);
    let mut old = b.get_u32(y, 64);
    old.sort_unstable();
    assert_eq!(old, (0..64).map(|i| 3 * i).collect::<Vec<_>>());
    assert_eq!(b.get_u32(x, 4), [192, 31, 1, 7]);
}

#[test]
fn floats_add_up_in_shared_memory() {
    let text = ".shared .align 4 .f32 sum;\nsetp.ne.u32 %p1, %r21, 0;\nmov.f32 %f1, 0f00000000;\n@!%p1 st.shared.f32 [sum], %f1;\nbar.sync 0;\ncvt.rn.f32.u32 %f2, %r21;
        atom.shared.add.f32 %f3, [sum], %f2;\nbar.sync 0;\nld.shared.f32 %f4, [sum];\ncvt.rzi.u32.f32 %r0, %f4;";
    check(text, 96, |_| 95 * 48);
}

/// Rows of 8 halves: row r has r * 8 + c in column c.
#[test]
fn matrices_from_shared_memory() {
    let fill = ".shared .align 16 .b8 tile[512];\nmov.u32 %r1, tile;\nmad.lo.u32 %r2, %r21, 16, %r1;\nshl.b32 %r3, %r21, 3;\nshl.b32 %r4, %r3, 16;\nor.b32 %r5, %r3, %r4;
        add.u32 %r6, %r5, 0x10000;\nadd.u32 %r7, %r5, 0x30002;\nadd.u32 %r8, %r5, 0x50004;\nadd.u32 %r9, %r5, 0x70006;\nst.shared.v4.b32 [%r2], {%r6, %r7, %r8, %r9};\nbar.sync 0;\n";
    let load = |opcode: &str| format!("{fill}ldmatrix.sync.aligned.m8n8.x4{opcode}.shared.b16 {{%r10, %r11, %r12, %r0}}, [%r2];");
    // The fourth matrix has rows 24 to 31.
    check(&load(""), 32, |t| {
        let v = (24 + t / 4) * 8 + 2 * (t % 4);
        v | (v + 1) << 16
    });
    check(&load(".trans"), 32, |t| {
        let v = |e| (24 + 2 * (t % 4) + e) * 8 + t / 4;
        v(0) | v(1) << 16
    });
}

/// Each A row is its number in column 0 and 1 in the last column, B is the column's number plus one in the first row and 100 in the last.
#[test]
fn products_of_tiles_of_every_kind() {
    // tf32: A registers are (row g, k t), (g + 8, t), (g, t + 4), (g + 8, t + 4); B (k t, column g), (t + 4, g).
    let text = "shr.u32 %r1, %r21, 2;\nand.b32 %r2, %r21, 3;\ncvt.rn.f32.u32 %f1, %r1;\nadd.f32 %f2, %f1, 0f41000000;\nadd.f32 %f3, %f1, 0f3F800000;
        setp.ne.u32 %p1, %r2, 0;\nsetp.ne.u32 %p2, %r2, 3;\n@%p1 mov.f32 %f1, 0f00000000;\n@%p1 mov.f32 %f2, 0f00000000;\n@%p1 mov.f32 %f3, 0f00000000;
        mov.f32 %f4, 0f3F800000;\nmov.f32 %f5, 0f42C80000;\n@%p2 mov.f32 %f4, 0f00000000;\n@%p2 mov.f32 %f5, 0f00000000;
        mov.b32 %r3, %f1;\nmov.b32 %r4, %f2;\nmov.b32 %r5, %f4;\nmov.b32 %r6, %f3;\nmov.b32 %r7, %f5;\nmov.f32 %f6, 0f3F000000;
        mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f7, %f8, %f9, %f10}, {%r3, %r4, %r5, %r5}, {%r6, %r7}, {%f6, %f6, %f6, %f6};
        add.f32 %f11, %f8, %f10;\nadd.f32 %f11, %f11, %f11;\ncvt.rzi.u32.f32 %r0, %f11;";
    let value = |row: u32, column: u32| 2 * row * (column + 1) + 201;
    check(text, 32, |t| value(t / 4, 2 * (t % 4) + 1) + value(t / 4 + 8, 2 * (t % 4) + 1));
    // f16 in f16, and bf16: all ones of 16, by the number of terms. 1.0 is 0x3c00 and 0x3f80.
    let text = "mov.u32 %r1, 0x3c003c00;\nmov.u32 %r2, 0;\nmma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%r3, %r0}, {%r1, %r1, %r1, %r1}, {%r1, %r1}, {%r2, %r2};";
    check(text, 32, |_| 0x4c00_4c00);
    let text = "mov.u32 %r1, 0x3f803f80;\nmov.f32 %f1, 0f00000000;\nmma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, {%r1, %r1}, {%r1}, {%f1, %f1, %f1, %f1};\nmov.b32 %r0, %f5;";
    check(text, 32, |_| 8f32.to_bits());
}

#[test]
fn accesses_out_of_bounds_are_found() {
    let v = violation("", "mul.wide.u32 %rd2, %r21, 4;\nadd.s64 %rd3, %rd1, %rd2;\nld.global.u32 %r0, [%rd3+4];", 64);
    assert_eq!((v.kind, v.thread, v.block), (Kind::Address, [63, 0, 0], [0, 0, 0]));
    assert!(v.what.contains("256 bytes past the start of 256 bytes"), "{v}");
    let v = violation("", "mul.wide.u32 %rd2, %r21, 2;\nadd.s64 %rd3, %rd1, %rd2;\nld.global.u32 %r0, [%rd3];", 32);
    assert_eq!((v.kind, v.thread), (Kind::Misaligned, [1, 0, 0]));
    assert_eq!(violation("", "ld.global.v2.u32 {%r1, %r2}, [%rd1+4];", 1).kind, Kind::Misaligned);
    assert_eq!(violation("", "mov.u64 %rd2, 0;\nst.global.u32 [%rd2], %r21;", 1).kind, Kind::Address);
    let text = ".shared .align 4 .b8 tile[16];\nmov.u64 %rd2, 1040;\nst.shared.u32 [%rd2], %r21;";
    assert!(violation("", text, 1).what.contains("1040 bytes of shared memory"));
    let text = ".local .align 4 .b8 own[16];\nld.local.u32 %r0, [own+16];";
    assert!(violation("", text, 1).what.contains("16 bytes of local memory"));
    // What a line says is where the load stands in the text.
    let v = violation("", "add.u32 %r1, %r1, 1;\nld.global.u32 %r0, [%rd1+1024];", 1);
    assert_eq!(v.line, 19, "{v}");
}

#[test]
fn shared_memory_nobody_wrote_is_found() {
    let text = ".shared .align 4 .b8 tile[256];\nmov.u64 %rd2, tile;\nmul.wide.u32 %rd3, %r21, 4;\nadd.s64 %rd4, %rd2, %rd3;\nsetp.eq.u32 %p1, %r21, 5;
        @!%p1 st.shared.u32 [%rd4], %r21;\nld.shared.u32 %r0, [%rd4];";
    let v = violation("", text, 32);
    assert!(v.what.contains("nobody wrote") && v.thread == [5, 0, 0], "{v}");
}

#[test]
fn races_in_shared_memory_are_found() {
    let text = |between: &str| {
        format!(
            ".shared .align 4 .b8 tile[256];\nmov.u64 %rd2, tile;\nmul.wide.u32 %rd3, %r21, 4;\nadd.s64 %rd4, %rd2, %rd3;\nst.shared.u32 [%rd4], %r21;\n{between}
            xor.b32 %r1, %r21, 32;\nmul.wide.u32 %rd5, %r1, 4;\nadd.s64 %rd6, %rd2, %rd5;\nld.shared.u32 %r0, [%rd6];\n"
        )
    };
    check(&text("bar.sync 0;"), 64, |t| t ^ 32);
    assert!(violation("", &text(""), 64).what.contains("nobody wrote"));
    let again = format!("{}st.shared.u32 [%rd4], %r0;\n", text("bar.sync 0;"));
    let v = violation("", &again, 64);
    assert!(v.what.contains("race: reads") && v.what.contains("warp 0 wrote"), "{v}");
    let late = format!("{}setp.ge.u32 %p1, %r21, 32;\n@%p1 st.shared.u32 [%rd4], %r0;\n", text("bar.sync 0;"));
    let v = violation("", &late, 64);
    assert!(v.what.contains("race: writes") && v.what.contains("another warp read"), "{v}");
    // Lanes of one warp have an order.
    check(&text("").replace("xor.b32 %r1, %r21, 32", "xor.b32 %r1, %r21, 31"), 64, |t| t ^ 31);
}

#[test]
fn barriers_that_part_are_found() {
    let v = violation("", "setp.lt.u32 %p1, %r21, 8;\n@%p1 bra A;\nbar.sync 0;\nbra END;\nA:\nbar.sync 0;\nEND:", 32);
    assert!(v.what.contains("different barriers"), "{v}");
    let v = violation("", "setp.lt.u32 %p1, %r21, 32;\n@%p1 bra A;\nbar.sync 0;\nbra END;\nA:\nbar.sync 0;\nEND:", 64);
    assert!(v.what.contains("elsewhere"), "{v}");
    let v = violation("", "setp.lt.u32 %p1, %r21, 32;\n@%p1 bra A;\nbar.sync 1;\nA:\nbar.sync 2;", 64);
    assert!(v.what.contains("not all reach"), "{v}");
}

#[test]
fn shuffles_without_partners_are_found() {
    let v = violation("", "setp.lt.u32 %p1, %r21, 8;\n@%p1 shfl.sync.bfly.b32 %r0, %r21, 16, 31, 0xff;", 32);
    assert!(v.what.contains("does not take part"), "{v}");
    let v = violation(
        "",
        "setp.lt.u32 %p1, %r21, 8;\n@%p1 bra A;\nbar.sync 0;\nbra END;\nA:\nshfl.sync.bfly.b32 %r0, %r21, 1, 31, -1;\nEND:",
        32,
    );
    assert!(v.what.contains("never come"), "{v}");
}

/// Two groups of copies: the first is there after a wait for all but one, the second after a wait for all.
#[test]
fn copies_have_to_be_waited_for() {
    let text = |wait: &str, read: u32| {
        format!(
            ".shared .align 16 .b8 tile[32];\nmov.u32 %r1, tile;\nst.global.u32 [%rd1], 7;\nst.global.u32 [%rd1+16], 8;\ncp.async.ca.shared.global [%r1], [%rd1], 16;
            cp.async.commit_group;\ncp.async.cg.shared.global [%r1+16], [%rd1+16], 16, 4;\ncp.async.commit_group;\n{wait}\nld.shared.u32 %r0, [%r1+{read}];"
        )
    };
    check(&text("cp.async.wait_group 1;", 0), 1, |_| 7);
    check(&text("cp.async.wait_all;", 16), 1, |_| 8);
    check(&text("cp.async.wait_group 0;", 20), 1, |_| 0);
    assert!(violation("", &text("cp.async.wait_group 1;", 16), 1).what.contains("nobody wrote"));
    assert!(violation("", &text("", 0), 1).what.contains("nobody wrote"));
}

#[test]
fn traps_end_the_kernel() {
    assert_eq!(violation("", "setp.eq.u32 %p1, %r21, 3;\n@%p1 trap;", 32).kind, Kind::Assert);
}

/// What nobody knows is refused when it is loaded, by its line.
#[test]
fn unknown_words_are_refused() {
    let refused = |text: &str| {
        let r = Bench::try_new(&format!("{HEAD}.entry k()\n{{\n.reg .b32 %r<4>;\n.reg .f32 %f<4>;\n{text}\nret;\n}}")).err();
        r.unwrap_or_else(|| panic!("{text} was taken"))
    };
    assert_eq!(refused("frobnicate.b32 %r1, %r2;").line, 8);
    for text in [
        "add.rn.s32 %r1, %r2, %r3;",
        "add.strange.f32 %f1, %f2, %f3;",
        "mov.b32 %r1, %r9;",
        "bra NOWHERE;",
        "ld.global.u32 %r1, [nothing];",
        "add.f32 %f1, %f2;",
        "call nobody;",
        "wgmma.fence.sync.aligned;",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1}, {%r1}, {%r2}, {%f1};",
        "mov.u32 %r1, %nothing;",
    ] {
        refused(text);
    }
    assert!(
        Bench::try_new("hello").is_err()
            && Bench::try_new("").is_err()
            && Bench::try_new(".version 8.2\n.target sm_75\n.entry k() {").is_err()
    );
}

/// Parameters lie as C lays out structures, and grids have three sides.
#[test]
fn grids_and_parameters() {
    let text = format!(
        "{HEAD}.visible .entry k(.param .u32 k_0, .param .u64 k_1, .param .align 4 .b8 k_2[12])\n{{\n.reg .b32 %r<32>;\n.reg .b64 %rd<8>;\nld.param.u64 %rd1, [k_1];
        mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ctaid.y;\nmov.u32 %r3, %ctaid.z;\nmov.u32 %r4, %nctaid.x;\nmov.u32 %r5, %nctaid.y;\nmad.lo.u32 %r6, %r3, %r5, %r2;
        mad.lo.u32 %r6, %r6, %r4, %r1;\nmov.u32 %r7, %tid.x;\nmov.u32 %r8, %tid.y;\nmov.u32 %r9, %tid.z;\nmov.u32 %r10, %ntid.x;\nmov.u32 %r11, %ntid.y;
        mad.lo.u32 %r12, %r9, %r11, %r8;\nmad.lo.u32 %r12, %r12, %r10, %r7;\nmov.u32 %r13, %ntid.z;\nmul.lo.u32 %r14, %r10, %r11;\nmul.lo.u32 %r14, %r14, %r13;
        mad.lo.u32 %r15, %r6, %r14, %r12;\nmul.wide.u32 %rd2, %r15, 4;\nadd.s64 %rd3, %rd1, %rd2;\nld.param.u32 %r16, [k_0];\nadd.u32 %r17, %r15, %r16;
        st.global.u32 [%rd3], %r17;\nret;\n}}\n"
    );
    let mut b = Bench::new(&text);
    let kernel = b.program.kernels["k"].clone();
    assert_eq!((kernel.params.clone(), kernel.param_bytes), (vec![(0, 4), (8, 8), (16, 12)], 28));
    let y = b.room(4 * 2 * 3 * 2 * 4 * 5 * 3);
    b.run("k", [2, 3, 2], [4, 5, 3], 0, &[I(7), P(y), I(0)]);
    assert_eq!(b.get_u32(y, 720), (7..727).collect::<Vec<_>>());
}
