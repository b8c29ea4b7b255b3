//! Fewer registers. PTX names a new one for every value; a warp's registers should stay in the cache. Those of an entry share room where the spans of
//! the text in which they live do not touch. A lane's registers are its own, so lanes that are elsewhere do not matter.
use crate::isa::{Barrier, Inst, Kernel, Op, R};

/// Calls `f` for each register of an instruction, with whether it is written.
fn each(op: &mut Op, mut f: impl FnMut(&mut R, bool)) {
    match op {
        Op::Nop | Op::Pred { .. } | Op::Bra { .. } | Op::Call(_) | Op::Exit | Op::Trap | Op::CpCommit | Op::CpWait { .. } => {}
        Op::Ret { back } => f(back, false),
        Op::Mov { d, a } | Op::Int1 { d, a, .. } | Op::Float1 { d, a, .. } | Op::Cvta { d, a, .. } => all(&mut f, [a], [d]),
        Op::Pack { d, parts, .. } => all(&mut f, parts, [d]),
        Op::Unpack { d, a, .. } => all(&mut f, [a], d.iter_mut().flatten()),
        Op::Int2 { d, a, b, .. }
        | Op::Carry { d, a, b, .. }
        | Op::AddF32 { d, a, b }
        | Op::MulF32 { d, a, b }
        | Op::Float2 { d, a, b, .. }
        | Op::Selp { d, a, b, .. } => all(&mut f, [a, b], [d]),
        Op::Int3 { d, a, b, c, .. } | Op::FmaF32 { d, a, b, c } | Op::Fma { d, a, b, c, .. } => all(&mut f, [a, b, c], [d]),
        Op::Bfi { d, a, b, pos, len, .. } => all(&mut f, [a, b, pos, len], [d]),
        Op::Testp { a, .. } | Op::IsSpace { a, .. } => f(a, false),
        Op::Setp(s) => all(&mut f, [&mut s.a, &mut s.b], []),
        Op::Set { cmp, d, .. } => all(&mut f, [&mut cmp.a, &mut cmp.b], [d]),
        Op::Cvt(c) => all(&mut f, [&mut c.a, &mut c.b], [&mut c.d]),
        Op::Ld(a) => all(&mut f, [&mut a.at.base], &mut a.regs),
        Op::St(a) => all(&mut f, std::iter::once(&mut a.at.base).chain(&mut a.regs), []),
        Op::Atom(a) => all(&mut f, [&mut a.at.base, &mut a.b, &mut a.c], a.d.as_mut()),
        Op::Brx { index, .. } => f(index, false),
        Op::Shfl { d, a, b, c, members, .. } => all(&mut f, [a, b, c, members], [d]),
        Op::Vote { d, members, .. } | Op::Elect { d, members, .. } => all(&mut f, [members], [d]),
        Op::Match { d, a, members, .. } | Op::Redux { d, a, members, .. } => all(&mut f, [a, members], [d]),
        Op::Activemask { d } => f(d, true),
        Op::WarpSync { members } => f(members, false),
        Op::Bar { kind, id, threads } => {
            let count = if let Barrier::Popc(d, ..) = kind { Some(d) } else { None };
            all(&mut f, std::iter::once(id).chain(threads), count);
        }
        Op::Mma(m) => all(&mut f, m.a.iter_mut().chain(&mut m.b).chain(&mut m.c), &mut m.d),
        Op::LdMatrix { at, d, .. } => all(&mut f, [&mut at.base], d),
        Op::CpAsync { to, from, source, .. } => all(&mut f, [&mut to.base, &mut from.base].into_iter().chain(source), []),
    }
}

fn all<'a>(f: &mut impl FnMut(&mut R, bool), reads: impl IntoIterator<Item = &'a mut R>, writes: impl IntoIterator<Item = &'a mut R>) {
    reads.into_iter().for_each(|r| f(r, false));
    writes.into_iter().for_each(|r| f(r, true));
}

/// Where a register lives, by places in the code.
#[derive(Clone, Copy)]
struct Span {
    first: u32,
    last: u32,
    /// Whether its first place in the text needs a value from elsewhere: from an earlier turn of a loop, or from lanes that a guard leaves out.
    comes_from_before: bool,
    is_fixed: bool,
}

pub fn compact(kernel: &mut Kernel) {
    let mut spans = spans(kernel);
    through_loops(&mut spans, &backward(&kernel.code, kernel.entry));
    let mut order: Vec<usize> = (0..spans.len()).filter(|r| spans[*r].first != u32::MAX || spans[*r].is_fixed).collect();
    order.sort_by_key(|r| (!spans[*r].is_fixed, spans[*r].first));
    let mut rooms = Vec::<u32>::new();
    let mut moved = vec![0; spans.len()];
    let mut free = std::collections::BTreeSet::new();
    let mut busy = std::collections::BTreeSet::new();
    for r in order {
        let s = spans[r];
        // Who has ended before this one begins leaves its room.
        while let Some((end, room)) = busy.first().copied().filter(|(end, _)| *end < s.first) {
            busy.remove(&(end, room));
            free.insert(room);
        }
        let room = free.pop_first().filter(|_| !s.is_fixed).unwrap_or_else(|| {
            rooms.push(0);
            rooms.len() as u32 - 1
        });
        moved[r] = room;
        busy.insert((if s.is_fixed { u32::MAX } else { s.last }, room));
    }
    rename(kernel, &moved);
    kernel.n_regs = rooms.len() as u32;
}

fn rename(kernel: &mut Kernel, moved: &[u32]) {
    for inst in &mut kernel.code {
        each(&mut inst.op, |r, _| *r = moved[*r as usize]);
        if let Op::Call(c) = &mut inst.op {
            c.back = moved[c.back as usize];
        }
    }
    kernel.consts.iter_mut().for_each(|c| c.0 = moved[c.0 as usize]);
    kernel.specials.iter_mut().for_each(|s| s.0 = moved[s.0 as usize]);
}

fn spans(kernel: &mut Kernel) -> Vec<Span> {
    let nowhere = Span { first: u32::MAX, last: 0, comes_from_before: false, is_fixed: false };
    let mut spans = vec![nowhere; kernel.n_regs as usize];
    for r in kernel.consts.iter().map(|c| c.0).chain(kernel.specials.iter().map(|s| s.0)) {
        spans[r as usize].is_fixed = true;
    }
    for (pc, inst) in kernel.code.iter_mut().enumerate() {
        let (pc, partly) = (pc as u32, inst.guard != crate::isa::ALWAYS);
        let in_function = pc < kernel.entry;
        let mut met = |r: &mut R, is_written: bool| {
            let s = &mut spans[*r as usize];
            s.is_fixed |= in_function;
            s.comes_from_before |= s.first == u32::MAX && (partly || !is_written);
            s.first = s.first.min(pc);
            s.last = pc;
        };
        each(&mut inst.op, &mut met);
        if let Op::Call(c) = &mut inst.op {
            met(&mut c.back, true);
        }
    }
    spans
}

/// Jumps backwards in the entry: (to, from).
fn backward(code: &[Inst], entry: u32) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for (pc, inst) in code.iter().enumerate().skip(entry as usize) {
        let pc = pc as u32;
        match &inst.op {
            Op::Bra { target } if *target <= pc => found.push((*target, pc)),
            Op::Brx { targets, .. } => found.extend(targets.iter().filter(|t| **t <= pc).map(|t| (*t, pc))),
            _ => {}
        }
    }
    found
}

/// What comes into a loop lives until its end, and what its next turn needs lives in all of it.
fn through_loops(spans: &mut [Span], loops: &[(u32, u32)]) {
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for (to, from) in loops {
            for s in spans.iter_mut().filter(|s| s.first != u32::MAX) {
                let inside = s.first >= *to && s.first <= *from;
                let enters = s.first < *to && s.last >= *to || inside && s.comes_from_before;
                if enters && (s.last < *from || inside && s.first > *to) {
                    s.first = s.first.min(*to);
                    s.last = s.last.max(*from);
                    changed = true;
                }
            }
        }
    }
}
