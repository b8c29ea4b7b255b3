//! CUDA without a GPU: what happens where the driver is absent, too old or broken, and everything that devices are asked for on a libcuda that runs
//! PTX on the CPU (`crates/ptx`). Each case is a process of its own: the driver is looked for once.
use llama::backend::Copy2d;
use llama::backend::device::gpus;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a child does, and says on stdout.
const CHILD: &str = "CAMELID_TEST_CHILD";

fn mock() -> PathBuf {
    let here = std::env::current_exe().expect("a path");
    let lib = here.ancestors().map(|d| d.join("libmockcuda.so")).find(|p| p.exists());
    lib.expect("libmockcuda.so: `cargo test --workspace` builds it, or `cargo build -p ptx`")
}

/// A folder with a libcuda.so.1 that is `lib`.
fn folder(name: &str, lib: Option<&Path>) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder");
    if let Some(lib) = lib {
        std::os::unix::fs::symlink(lib, dir.join("libcuda.so.1")).expect("a link");
    }
    dir
}

fn child(what: &str, libs: &Path, env: &[(&str, &str)]) -> Output {
    let mut c = Command::new(std::env::current_exe().expect("a path"));
    c.args(["--exact", "as_a_child", "--nocapture", "--test-threads=1"]).env(CHILD, what).env("LD_LIBRARY_PATH", libs);
    c.envs(env.iter().copied()).output().expect("runs")
}

/// The lines that the child wrote, and its log.
fn said(o: &Output) -> (Vec<String>, String) {
    let (out, err) = (String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr));
    assert!(o.status.success(), "{out}\n{err}");
    (out.lines().filter_map(|l| l.split_once("said: ").map(|l| l.1.to_owned())).collect(), err.into_owned())
}

fn listed(libs: &Path, env: &[(&str, &str)]) -> (Vec<String>, String) {
    said(&child("list", libs, env))
}

#[test]
fn as_a_child() {
    match std::env::var(CHILD).as_deref() {
        Ok("list") => gpus().iter().for_each(|g| println!("said: {} {} {}", g.name(), g.description(), g.memory().total >> 20)),
        Ok("memory") => memory(),
        Ok("copies") => copies(),
        _ => {}
    }
}

#[test]
fn without_a_driver_there_are_no_devices_and_nobody_is_told() {
    assert_eq!(listed(&folder("absent", None), &[]), (vec![], String::new()));
}

#[test]
fn devices_are_listed() {
    let (lines, _) = listed(&folder("two", Some(&mock())), &[("CAMELID_MOCK_CUDA_DEVICES", "2"), ("CAMELID_MOCK_CUDA_MEMORY", "67108864")]);
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("CUDA0 ") && lines[1].starts_with("CUDA1 ") && lines.iter().all(|l| l.ends_with(" 64")), "{lines:?}");
}

#[test]
fn no_device_is_silence_and_a_driver_of_no_use_is_a_line() {
    let libs = folder("odd", Some(&mock()));
    assert_eq!(listed(&libs, &[("CAMELID_MOCK_CUDA_DEVICES", "0")]), (vec![], String::new()));
    // CUDA_ERROR_NO_DEVICE, CUDA_ERROR_STUB_LIBRARY: containers and build machines.
    for code in ["100", "34"] {
        assert_eq!(listed(&libs, &[("CAMELID_MOCK_CUDA_INIT", code)]), (vec![], String::new()), "{code}");
    }
    for (env, line) in [
        (("CAMELID_MOCK_CUDA_INIT", "999"), "cuInit: CUDA_ERROR_UNKNOWN"),
        (("CAMELID_MOCK_CUDA_DRIVER", "11080"), "the driver is of CUDA 11.8, 12.2 is needed"),
        (("CAMELID_MOCK_CUDA_CC", "61"), "compute capability 6.1 is below 7.5"),
    ] {
        let (lines, log) = listed(&libs, &[env]);
        assert!(lines.is_empty() && log.contains(line), "{env:?}: {log}");
    }
}

#[test]
fn a_driver_that_lacks_a_function_is_named() {
    let dir = folder("lacking", None);
    let source = dir.join("cuda.c");
    std::fs::write(&source, "int cuInit(unsigned f) { return (int) f; }\n").expect("a file");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(dir.join("libcuda.so.1")).arg(&source).status();
    assert!(built.expect("cc").success());
    let (lines, log) = listed(&dir, &[]);
    assert!(lines.is_empty() && log.contains("CUDA: no devices: the driver has no cuDriverGetVersion"), "{log}");
    std::fs::write(dir.join("libcuda.so.1"), "no library").expect("a file");
    assert_eq!(listed(&dir, &[]).0, Vec::<String>::new());
}

/// KV memory on a device: addresses cost nothing, cells cost granules, what goes comes back, and a full device says what it lacks.
fn memory() {
    let gpu = gpus()[0].open().expect("opens");
    let free = || gpus()[0].memory().free >> 20;
    let full = gpu.alloc(1 << 40, "weights").err().expect("more than there is").to_string();
    println!("said: {}", full.split(':').next().unwrap_or_default());
    assert!(full.contains("1048576.0 MiB are needed on the device"), "{full}");
    let (all, far) = (free(), 1usize << 38);
    let kv = gpu.alloc_in(far, "kv", &platform::Backing::Mmap).expect("addresses alone");
    assert_eq!((free(), kv.resident(0..far)), (all, 0));
    assert!(kv.write(&[Copy2d::flat(5, 0, 4)], &[1; 4]).is_err(), "nothing is there yet");
    let (a, b) = (far - (1 << 20)..far, far - (3 << 20)..far - (1 << 20));
    kv.secure(a.clone()).expect("room");
    kv.secure(b.clone()).expect("room");
    assert_eq!(all - free(), 4, "two granules of 2 MiB");
    kv.release(a.clone());
    assert_eq!(all - free(), 4, "both are still in use");
    kv.release(b);
    assert_eq!((free(), kv.resident(0..far)), (all, 0));
    // Sixteen MiB: a refusal leaves nothing behind.
    assert!(kv.secure(0..1 << 34).is_err());
    assert_eq!(free(), all);
    let whole = gpu.alloc(100, "small").expect("small");
    assert!(whole.host().is_none() && whole.read(&[Copy2d::flat(0, 90, 11)], &mut [0; 11]).is_err());
    println!("said: done");
}

#[test]
fn memory_on_a_device_costs_what_is_used() {
    let (lines, log) = said(&child("memory", &folder("memory", Some(&mock())), &[("CAMELID_MOCK_CUDA_MEMORY", "1073741824")]));
    assert_eq!(lines, ["weights", "done"], "{log}");
}

/// Rows in runs of one between host and device: what comes back is what was sent, in a few calls.
fn copies() {
    let gpu = gpus()[0].open().expect("opens");
    let (n, width) = (4096, 72);
    let src: Vec<u8> = (0..n * width).map(|i| (i * 31 + i / 251) as u8).collect();
    let buf = gpu.alloc(4 * n * width, "rows").expect("room");
    let list: Vec<Copy2d> = (0..n).map(|i| Copy2d::flat(4 * width * ((i * 2731) % n), width * i, width)).collect();
    buf.write(&list, &src).expect("fits");
    let back: Vec<Copy2d> = list.iter().map(|c| Copy2d { at: c.from, from: c.at, ..*c }).collect();
    let mut dst = vec![0; src.len()];
    buf.read(&back, &mut dst).expect("fits");
    assert!(src == dst);
    let large: Vec<u8> = (0..40 << 20).map(|i: usize| (i / 3) as u8).collect();
    let buf = gpu.alloc(large.len(), "large").expect("room");
    buf.write(&[Copy2d::flat(0, 0, large.len())], &large).expect("fits");
    let mut dst = vec![0; large.len()];
    buf.read(&[Copy2d::flat(0, 0, large.len())], &mut dst).expect("fits");
    assert!(large == dst);
    println!("said: done");
}

/// (name, calls)
fn counted(file: &Path) -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(file).expect("counts");
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .filter_map(|(name, n)| Some((name.to_owned(), n.trim().split(' ').next()?.parse().ok()?)))
        .collect()
}

#[test]
fn fragments_cross_in_a_few_calls() {
    let libs = folder("copies", Some(&mock()));
    let counts = libs.join("counts");
    let (lines, log) = said(&child("copies", &libs, &[("CAMELID_MOCK_CUDA_COUNT", counts.to_str().expect("a path"))]));
    assert_eq!(lines, ["done"], "{log}");
    let of = |name: &str| counted(&counts).iter().filter(|c| c.0.starts_with(name)).map(|c| c.1).sum::<u64>();
    // 4096 runs: a copy of the list, one of the rows, a kernel, each way; 40 MiB: three copies each way.
    assert_eq!(of("cuLaunchKernel"), 2);
    assert!(of("cuMemcpyHtoDAsync") <= 7 && of("cuMemcpyDtoHAsync") <= 4, "{:?}", counted(&counts));
}

/// Each PTX file was made of the sources beside it: it begins with their hash, as `ptx.py` takes it.
#[test]
fn ptx_is_fresh() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/cuda/ptx.py");
    let o = Command::new("python3").arg(script).arg("--hashes").output().expect("python3");
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
}
