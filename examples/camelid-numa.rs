//! Where a model's weights, KV and threads are on the memory nodes of this machine, and what its decodes read where: as text, as SVG, as JSON.
//!
//!     CAMELID_NUMA=shard CAMELID_NUMA_AUDIT=1 cargo run --release --example camelid-numa -- MODEL.gguf [--threads N] [--tokens N] [--svg FILE] [--json]
//!
//! Without the audit (it makes decodes slow) it prints tokens per second: the check of `docs/numa.md`.
use llama::gguf::{LoadMode, Source};
use llama::model::{LoadParams, Model, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams, numa as placed};
use platform::numa::{self, Nodes};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

struct Asked {
    model: String,
    threads: i32,
    tokens: usize,
    prompt: usize,
    svg: Option<String>,
    json: bool,
}

fn asked() -> Result<Asked, String> {
    let mut a = Asked { model: String::new(), threads: 0, tokens: 16, prompt: 64, svg: None, json: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse::<u32>().ok()).ok_or(format!("{arg} wants a number"));
        match arg.as_str() {
            "--threads" => a.threads = number()? as i32,
            "--tokens" => a.tokens = number()? as usize,
            "--prompt" => a.prompt = number()?.max(1) as usize,
            "--svg" => a.svg = Some(args.next().ok_or("--svg wants a file")?),
            "--json" => a.json = true,
            _ if a.model.is_empty() => a.model = arg,
            _ => return Err(format!("{arg}: what is it?")),
        }
    }
    if a.model.is_empty() { Err("which model?".into()) } else { Ok(a) }
}

/// What was computed, in a number, and tokens per second of prompt and generation.
fn run(c: &mut Context, a: &Asked) -> Result<(u64, f64, f64), String> {
    let n_vocab = c.model.vocab.n_tokens() as usize;
    let prompt: Vec<i32> = (0..a.prompt).map(|i| ((11 + i * 37) % n_vocab) as i32).collect();
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    let mut step = |c: &mut Context, t: &[i32]| {
        let v = BatchView { n_tokens: t.len(), tokens: Some(t), embd: None, pos: None, seqs: None, logits: None };
        match c.decode(&v) {
            0 => {
                let logits = c.outputs.logits_ith(-1).ok_or("no logits")?;
                logits.iter().for_each(|x| sum = (sum ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01b3));
                Ok(())
            }
            code => Err(format!("a decode of {} tokens: {code}", t.len())),
        }
    };
    let start = Instant::now();
    step(c, &prompt)?;
    let (read, start) = (start.elapsed(), Instant::now());
    for i in 0..a.tokens {
        step(c, &[((3 + i * 101) % n_vocab) as i32])?;
    }
    Ok((sum, a.prompt as f64 / read.as_secs_f64(), a.tokens as f64 / start.elapsed().as_secs_f64()))
}

/// A node as the picture shows it.
struct Shown {
    name: String,
    cores: String,
    workers: [usize; 2],
    mib: f64,
}

fn shown(nodes: &Nodes, c: &Context) -> Vec<Shown> {
    let ([one, batch], bytes) = (c.seats(), c.weight_bytes());
    let node = |(i, h): (usize, &numa::Home)| Shown {
        name: h.os.map_or_else(|| if nodes.len() > 1 { format!("home {i}") } else { "all nodes".into() }, |n| format!("node {n}")),
        cores: numa::cpus::list(h.cpus.iter().copied()),
        workers: [one[i], batch[i]],
        mib: bytes[i] as f64 / f64::from(1 << 20),
    };
    nodes.homes.iter().enumerate().map(node).collect()
}

/// Rows of matrices by node, matrices of the same name in all layers once.
fn rows(m: &Model) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for w in m.weights.iter().filter(|w| w.shape[1] * w.shape[2] > 1) {
        let name: Vec<&str> = w.name.split('.').map(|p| if p.parse::<u32>().is_ok() { "*" } else { p }).collect();
        let part = |s: &llama::backend::Shard| format!("{}: {}..{}", s.node, s.rows.start, s.rows.end);
        let cut: Vec<String> = w.shards.iter().map(part).collect();
        let shape = if w.shape[2] > 1 { format!("{} x ", w.shape[2]) } else { String::new() };
        out.insert(format!("{} ({}, {shape}{} rows of {})", name.join("."), w.ty.name(), w.shape[1], w.shape[0]), cut.join("  "));
    }
    out
}

/// Runs of layers whose KV heads are cut alike.
fn heads(c: &Context) -> Vec<(std::ops::RangeInclusive<usize>, String)> {
    let mut out: Vec<(std::ops::RangeInclusive<usize>, String)> = Vec::new();
    for placed::HeadsOf { layer: il, by_node } in placed::heads(c) {
        let parts: Vec<String> = by_node.iter().map(|(node, h)| format!("{node}: {}..{}", h.start, h.end)).collect();
        match out.last_mut() {
            Some((layers, text)) if *layers.end() + 1 == il && *text == parts.join("  ") => *layers = *layers.start()..=il,
            _ => out.push((il..=il, parts.join("  "))),
        }
    }
    out
}

fn audit_lines(c: &Context) -> Vec<String> {
    let mut by: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for t in c.traffic() {
        let sum = by.entry(t.class.name()).or_default();
        [t.bytes, t.local, t.unknown].iter().zip(sum).for_each(|(n, s)| *s += n);
    }
    let line = |(class, [bytes, local, unknown]): (&&str, &[u64; 3])| {
        let rest = if *unknown > 0 { format!(", {unknown} bytes on pages that the kernel does not tell of") } else { String::new() };
        format!("{class:<12} {:>12} bytes, {:>6.2} % local{rest}", bytes, 100.0 * *local as f64 / (*bytes).max(1) as f64)
    };
    by.iter().map(line).collect()
}

fn text(nodes: &Nodes, c: &Context) -> String {
    let mut s = format!("{nodes}\n");
    for n in shown(nodes, c) {
        let [one, batch] = n.workers;
        _ = writeln!(s, "{:<10} CPUs {:<12} workers {one} (batches {batch})   weights {:.1} MiB", n.name, n.cores, n.mib);
    }
    s += "\nrows by node\n";
    rows(&c.model).iter().for_each(|(name, cut)| _ = writeln!(s, "  {name:<56} {cut}"));
    s += "\nKV heads by node\n";
    heads(c).iter().for_each(|(l, cut)| _ = writeln!(s, "  layers {:>3}..={:<3} {cut}", l.start(), l.end()));
    let audit = audit_lines(c);
    if !audit.is_empty() {
        s += "\nread and written, by class\n";
        audit.iter().for_each(|l| _ = writeln!(s, "  {l}"));
    }
    s
}

/// One column a node: its cores as boxes (those of workers filled), bars for its rows of each matrix and its heads; the audit below.
fn svg(nodes: &Nodes, c: &Context) -> String {
    const COLUMN: usize = 300;
    const COLORS: [&str; 8] = ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#9d755d"];
    let (shown, rows, heads, audit) = (shown(nodes, c), rows(&c.model), heads(c), audit_lines(c));
    let list = 180 + 18 * (rows.len() + heads.len());
    let (width, height) = (40 + (COLUMN + 20) * shown.len().max(2), list + 18 * audit.len() + 40);
    let mut s = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    s += "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
    let mut line = |x: usize, y: usize, color: &str, text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        _ = writeln!(s, "<text x=\"{x}\" y=\"{y}\" fill=\"{color}\">{text}</text>");
    };
    line(20, 24, "#000", &nodes.to_string());
    for (i, n) in shown.iter().enumerate() {
        let (x, color) = (20 + i * (COLUMN + 20), COLORS[i % COLORS.len()]);
        line(x + 10, 60, color, &format!("{} - {:.1} MiB of weights", n.name, n.mib));
        line(x + 10, 128, "#555", &format!("CPUs {}, workers {} (batches {})", n.cores, n.workers[0], n.workers[1]));
    }
    for (k, (name, cut)) in rows.iter().enumerate() {
        line(20, 170 + 18 * k, "#000", &format!("{name}   {cut}"));
    }
    for (k, (l, cut)) in heads.iter().enumerate() {
        line(20, 174 + 18 * (rows.len() + k), "#333", &format!("KV heads of layers {} to {}: {cut}", l.start(), l.end()));
    }
    audit.iter().enumerate().for_each(|(k, a)| line(20, list + 18 * k, "#000", a));
    for (i, n) in shown.iter().enumerate() {
        let (x, color) = (20 + i * (COLUMN + 20), COLORS[i % COLORS.len()]);
        _ = writeln!(
            s,
            "<rect x=\"{x}\" y=\"40\" width=\"{COLUMN}\" height=\"100\" rx=\"8\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"
        );
        let (cores, most) = (nodes.homes[i].cpus.len(), (COLUMN - 20) / 14);
        for k in 0..cores.min(2 * most) {
            let fill = if k < n.workers[0].max(n.workers[1]) { color } else { "none" };
            let (cx, cy) = (x + 10 + k % most * 14, 72 + k / most * 16);
            _ = writeln!(s, "<rect x=\"{cx}\" y=\"{cy}\" width=\"11\" height=\"12\" fill=\"{fill}\" stroke=\"{color}\"/>");
        }
    }
    s + "</svg>\n"
}

fn main_or() -> Result<(), String> {
    let a = asked()?;
    let p = LoadParams {
        vocab_only: false,
        check_tensors: false,
        extra_bufts: true,
        offload: Offload::default(),
        nodes: None,
        progress: &mut |_| true,
    };
    let start = Instant::now();
    let source = Source::open(Path::new(&a.model), LoadMode::Auto).map_err(|e| e.to_string())?;
    let model = Arc::new(Model::load(&source, p).map_err(|e| e.to_string())?);
    let (nodes, load) = (model.nodes(), start.elapsed().as_secs_f64());
    let threads = if a.threads > 0 { a.threads } else { nodes.homes.iter().map(|h| h.n_cores).sum::<usize>() as i32 };
    let params = ContextParams { n_ctx: 1024, n_threads: threads, n_threads_batch: threads, ..ContextParams::default() };
    let mut c = Context::new(model, params).map_err(|e| e.to_string())?;
    let (sum, prompt, single) = run(&mut c, &a)?;
    if a.json {
        println!("{{\"logits\":\"{sum:016x}\",\"report\":{},\"audit\":{}}}", placed::report(Some(&c)), placed::audit(&c));
    } else {
        println!(
            "{}\nlogits {sum:016x}; loaded in {load:.2} s; {prompt:.1} tokens/s of prompt, {single:.2} tokens/s one by one",
            text(&nodes, &c)
        );
    }
    if let Some(path) = &a.svg {
        std::fs::write(path, svg(&nodes, &c)).map_err(|e| format!("{path}: {e}"))?;
    }
    Ok(())
}

fn main() {
    if let Err(e) = main_or() {
        eprintln!("camelid-numa: {e}");
        std::process::exit(1);
    }
}
