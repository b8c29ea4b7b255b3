//! What placement a context got, and what came of it, as JSON for whoever asks.
use super::Context;
use crate::backend::{Class, KvLayer, Traffic};
use platform::numa::{self, Nodes};
use std::ops::Range;

/// A machine, a decision and, where there is a context, how its threads stand to it.
pub fn report(context: Option<&Context>) -> String {
    let nodes = context.map_or_else(numa::nodes, |c| c.model.nodes());
    let (topology, ladder) = (numa::topology(), numa::ladder());
    let found: Vec<String> = topology.report().iter().map(|l| text(l)).collect();
    let threads = context.map(|c| c.seats());
    let (bytes, cores) = (context.map(Context::weight_bytes), nodes.homes.iter().map(|h| h.n_cores).sum::<usize>().max(1));
    let home = |(i, h): (usize, &numa::Home)| {
        let mut s = format!("{{\"node\":{},\"cores\":{},\"cpus\":{:?}", h.os.map_or("null".into(), |n| n.to_string()), h.n_cores, h.cpus);
        s += &format!(",\"share\":{:.4}", h.n_cores as f64 / cores as f64);
        if let (Some([one, batch]), Some(bytes)) = (&threads, &bytes) {
            s += &format!(",\"threads\":{},\"threads_batch\":{},\"weight_bytes\":{}", one[i], batch[i], bytes.get(i).unwrap_or(&0));
        }
        s + "}"
    };
    let homes: Vec<String> = nodes.homes.iter().enumerate().map(home).collect();
    let mut s =
        format!("{{\"strategy\":{},\"rung\":{},\"why\":{}", text(nodes.strategy.name()), text(ladder.rung.word()), text(&ladder.why));
    s += &format!(",\"found\":[{}],\"nodes\":[{}]", found.join(","), homes.join(","));
    if let Some([one, batch]) = &threads {
        s += &format!(",\"read_remotely\":{:.4},\"read_remotely_batch\":{:.4}", remote(&nodes, one), remote(&nodes, batch));
    }
    s + "}"
}

/// The share of cut weights that threads of other nodes read, as a plan: what is beyond a node's share of the threads.
fn remote(nodes: &Nodes, seats: &[usize]) -> f64 {
    let (cores, all) = (nodes.homes.iter().map(|h| h.n_cores).sum::<usize>().max(1) as f64, seats.iter().sum::<usize>().max(1) as f64);
    nodes.homes.iter().zip(seats).map(|(h, n)| (h.n_cores as f64 / cores - *n as f64 / all).max(0.0)).sum()
}

/// The KV heads of a layer by node, or all of them on each of several nodes that have blocks in turn.
pub struct HeadsOf {
    pub layer: usize,
    pub by_node: Vec<(u32, Range<u32>)>,
}

/// By layer.
pub fn heads(c: &Context) -> Vec<HeadsOf> {
    let of = |(layer, l): (usize, &KvLayer)| HeadsOf {
        layer,
        by_node: match l.cuts() {
            Some(cuts) => cuts.collect(),
            None => l.regions.iter().map(|r| (r.node, 0..l.planes[0].heads)).collect(),
        },
    };
    let groups = c.kv.groups();
    let layers = groups.iter().flat_map(|g| g.layers.iter().enumerate().filter_map(|(i, l)| Some((i, l.as_ref()?))));
    let mut out: Vec<HeadsOf> = layers.map(of).collect();
    out.sort_by_key(|l| l.layer);
    out
}

/// What was read where.
pub fn audit(c: &Context) -> String {
    let rows = c.traffic();
    let class = |class: Class| {
        let of: Vec<&Traffic> = rows.iter().filter(|t| t.class == class).collect();
        let sum = |f: fn(&Traffic) -> u64| of.iter().map(|t| f(t)).sum::<u64>();
        let (bytes, local) = (sum(|t| t.bytes), sum(|t| t.local));
        let share = if bytes == 0 { "null".into() } else { format!("{:.6}", local as f64 / bytes as f64) };
        let by: Vec<String> = of
            .iter()
            .map(|t| format!("{{\"node\":{},\"bytes\":{},\"local\":{},\"pages\":{}}}", t.node, t.bytes, t.local, t.pages))
            .collect();
        let unknown = sum(|t| t.unknown);
        format!(
            "{{\"class\":\"{}\",\"bytes\":{bytes},\"local\":{local},\"unknown\":{unknown},\"local_share\":{share},\"readers\":[{}]}}",
            class.name(),
            by.join(",")
        )
    };
    let classes: Vec<String> = Class::ALL.into_iter().map(class).collect();
    format!("{{\"audited\":{},\"classes\":[{}]}}", !rows.is_empty(), classes.join(","))
}

/// A JSON string.
fn text(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 32 => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}
