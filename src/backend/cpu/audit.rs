//! Who read which pages, for `CAMELID_NUMA_AUDIT`: ranges are recorded by the steps that ran, with the node that the reading thread was on at that
//! moment; where pages lie the kernel is asked. Nothing is taken from the plan.
use crate::backend::{Class, Traffic};
use platform::mmap::page_size;
use platform::numa::{self, pages};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Bytes by class, node of the thread, and page.
#[derive(Default)]
pub struct Audit(Mutex<BTreeMap<(Class, u32, usize), u64>>);

impl Audit {
    pub fn note(&self, class: Class, start: *const u8, len: usize) {
        let node = pages::current_cpu_and_node().map_or(u32::MAX, |(_, node)| node);
        let (page, mut at, end) = (page_size(), start as usize, start as usize + len);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while at < end {
            let next = (at / page + 1) * page;
            *seen.entry((class, node, at / page * page)).or_default() += (next.min(end) - at) as u64;
            at = next;
        }
    }

    pub fn traffic(&self) -> Vec<Traffic> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out: Vec<Traffic> = Vec::new();
        let mut list = seen.iter().peekable();
        while let Some((&(class, node, first), n)) = list.next() {
            // Pages that follow each other are asked for together.
            let mut bytes = vec![*n];
            while let Some((_, n)) = list.next_if(|(k, _)| **k == (class, node, first + bytes.len() * page_size())) {
                bytes.push(*n);
            }
            let lie = pages::nodes_of(first as *const u8, bytes.len() * page_size(), page_size()).unwrap_or_default();
            if out.last().is_none_or(|t| (t.class, t.node) != (class, node)) {
                out.push(Traffic { class, node, pages: 0, bytes: 0, local: 0, unknown: 0 });
            }
            let Some(t) = out.last_mut() else { continue };
            let home = memory_of(node);
            for (i, n) in bytes.iter().enumerate() {
                t.pages += 1;
                t.bytes += n;
                match lie.get(i) {
                    Some(at) if *at == home.cast_signed() => t.local += n,
                    Some(0..) => {}
                    _ => t.unknown += n,
                }
            }
        }
        out
    }
}

/// The node whose memory serves a node: itself, where it has some.
fn memory_of(node: u32) -> u32 {
    let t = numa::topology();
    t.nodes.iter().position(|n| n.os == node).map_or(node, |i| t.nodes[t.home(i)].os)
}
