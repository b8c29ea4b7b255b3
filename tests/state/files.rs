//! Session and sequence files: both come back with their tokens; a save that fails leaves the old file, a load that fails the old memory.
use super::*;
use std::fs;
use std::path::PathBuf;

pub struct Dir(PathBuf);
impl Dir {
    pub fn new(name: &str) -> Dir {
        let d = std::env::temp_dir().join(format!("camelid-state-{}-{name}", std::process::id()));
        fs::create_dir_all(&d).expect("a folder");
        Dir(d)
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    pub fn names(&self) -> Vec<String> {
        let mut v: Vec<String> =
            fs::read_dir(&self.0).expect("a folder").map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        v.sort();
        v
    }
}
impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn both_kinds_come_back_with_their_tokens() {
    let d = Dir::new("both");
    for name in [LLAMA, GEMMA] {
        let (past, next) = (tokens(1, 100), tokens(2, 9));
        let mut a = context(name, params());
        decode(&mut a, 0, &past);
        let whole = state::save_session(&mut a, &d.path("s"), &past).expect("saves");
        let one = state::save_seq(&mut a, &d.path("q"), 0, &past).expect("saves");
        assert_eq!(fs::metadata(d.path("s")).expect("there").len(), whole);
        assert_eq!(fs::metadata(d.path("q")).expect("there").len(), one);
        assert_eq!(d.names(), ["q", "s"]);
        let expected = decode(&mut a, 0, &next);
        let mut b = context(name, ContextParams { n_seq_max: 2, n_ctx: 1024, ..params() });
        let got = state::load_session(&mut b, &d.path("s"), 100).expect("loads");
        assert_eq!((got.tokens, got.n_read), (past.clone(), whole));
        assert!(decode(&mut b, 0, &next) == expected);
        // Into a sequence that has something: what is displaced is not read over.
        decode(&mut b, 1, &tokens(7, 50));
        let got = state::load_seq(&mut b, &d.path("q"), 1, 1000).expect("loads");
        assert_eq!((got.tokens, got.n_read), (past, one));
        assert!(decode(&mut b, 1, &next) == expected);
        assert_eq!(state::count_tokens(&d.path("q")).expect("a header"), (100, 12));
    }
}

#[test]
fn versions_nine_to_eleven_are_read() {
    let d = Dir::new("versions");
    let mut c = context(LLAMA, params());
    decode(&mut c, 0, &tokens(1, 10));
    state::save_session(&mut c, &d.path("s"), &[]).expect("saves");
    let v10 = fs::read(d.path("s")).expect("there");
    let with = |v: u32, words: bool| {
        let mut b = v10.clone();
        b[4..8].copy_from_slice(&v.to_le_bytes());
        if words {
            // header, name, streams, count, ten cells, v_trans, n_layer
            let at = 12 + 4 + 5 + 4 + 4 + 120 + 8;
            drop(b.splice(at..at, [0; 8]));
        }
        fs::write(d.path("t"), b).expect("writes");
    };
    for (v, words, good) in
        [(10, false, true), (9, false, true), (11, true, true), (11, false, false), (10, true, false), (12, true, false), (8, false, false)]
    {
        with(v, words);
        c.memory_clear();
        assert_eq!(state::load_session(&mut c, &d.path("t"), 0).is_ok(), good, "version {v}");
        assert_eq!(c.memory().pos_max(0), good.then_some(9));
    }
    // In memory nothing says which it is.
    with(11, true);
    let blob = fs::read(d.path("t")).expect("there")[12..].to_vec();
    assert_eq!(state::load(&mut c, What::Everything, &blob).expect("loads"), blob.len());
}

#[test]
fn bad_files_change_nothing() {
    let d = Dir::new("bad");
    let mut c = context(GEMMA, params());
    decode(&mut c, 0, &tokens(1, 10));
    state::save_session(&mut c, &d.path("s"), &[1, 2, 3]).expect("saves");
    state::save_seq(&mut c, &d.path("q"), 0, &[1, 2, 3]).expect("saves");
    decode(&mut c, 0, &tokens(2, 10));
    let before = save(&mut c, What::Everything);
    let (s, q) = (fs::read(d.path("s")).expect("there"), fs::read(d.path("q")).expect("there"));
    let mut bad: Vec<Vec<u8>> = (0..s.len()).step_by(17).map(|n| s[..n].to_vec()).collect();
    bad.push([s.clone(), vec![0]].concat());
    bad.push(q.clone());
    for b in &bad {
        fs::write(d.path("t"), b).expect("writes");
        assert!(state::load_session(&mut c, &d.path("t"), 100).is_err(), "{} bytes", b.len());
        assert!(save(&mut c, What::Everything) == before, "{} bytes", b.len());
    }
    for n in (0..q.len()).step_by(17) {
        fs::write(d.path("t"), &q[..n]).expect("writes");
        assert!(state::load_seq(&mut c, &d.path("t"), 0, 100).is_err(), "{n} bytes");
        assert!(save(&mut c, What::Everything) == before, "{n} bytes");
    }
    assert!(state::load_session(&mut c, &d.path("s"), 2).is_err(), "three tokens do not fit");
    assert!(state::load_seq(&mut c, &d.path("q"), 0, 2).is_err());
    assert!(state::load_session(&mut c, &d.path("none"), 9).is_err() && state::load_session(&mut c, &d.0, 9).is_err());
    assert!(save(&mut c, What::Everything) == before);
    // As the original: what follows the state of a sequence is somebody else's.
    fs::write(d.path("t"), [q.clone(), vec![7; 5]].concat()).expect("writes");
    assert_eq!(state::load_seq(&mut c, &d.path("t"), 0, 3).expect("loads").n_read, q.len() as u64);
}

#[test]
fn a_save_that_fails_leaves_the_old_file() {
    let d = Dir::new("fail");
    let mut c = context(LLAMA, params());
    decode(&mut c, 0, &tokens(1, 10));
    fs::write(d.path("s"), b"old").expect("writes");
    // A sequence that does not exist: nothing is begun.
    assert!(state::save_seq(&mut c, &d.path("s"), 5, &[]).is_err());
    assert!(state::save_session(&mut c, &d.path("no/such"), &[]).is_err());
    assert!(state::save_session(&mut c, &d.0, &[]).is_err(), "a folder is no file");
    assert_eq!((fs::read(d.path("s")).expect("there"), d.names()), (b"old".to_vec(), vec!["s".to_owned()]));
    // A link stays one, and rights stay what they were.
    use std::os::unix::fs::{PermissionsExt, symlink};
    fs::set_permissions(d.path("s"), fs::Permissions::from_mode(0o600)).expect("ours");
    symlink(d.path("s"), d.path("l")).expect("a link");
    state::save_session(&mut c, &d.path("l"), &[]).expect("saves");
    assert!(fs::symlink_metadata(d.path("l")).expect("there").is_symlink());
    assert_eq!(fs::metadata(d.path("s")).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(state::load_session(&mut c, &d.path("s"), 0).is_ok());
}

// ---- the page cache

#[test]
#[ignore = "a child of the test below"]
fn pages_after_a_save_and_a_load() {
    let d = PathBuf::from(std::env::var_os(super::crash::FOLDER).expect("started by a test"));
    let kept = platform::env::flag("CAMELID_KV_KEEP_PAGES");
    let mut c = context(LLAMA, ContextParams { n_ctx: 2304, ..params() });
    let past = tokens(1, 2100);
    decode(&mut c, 0, &past);
    let n = state::save_session(&mut c, &d.join("s"), &past).expect("saves");
    assert!(n >= 4 << 20, "{n} bytes");
    let f = fs::File::open(d.join("s")).expect("there");
    let share = |n: u64| platform::pages::cached_pages(&f, 0..n).map(|pages| pages * 100 / n.div_ceil(4096));
    let settled = || {
        let mut now = share(n);
        for _ in 0..20 {
            if kept || now.is_none_or(|s| s <= 1) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            now = share(n);
        }
        now
    };
    let Some(saved) = settled() else { return eprintln!("skipped: this kernel has no cachestat") };
    state::load_session(&mut c, &d.join("s"), 3000).expect("loads");
    let loaded = settled().expect("it was there before");
    println!("kept: {kept}; {saved} % of the file cached after the save, {loaded} % after the load");
    assert!(if kept { saved.min(loaded) >= 99 } else { saved.max(loaded) <= 1 }, "kept {kept}: {saved} % and {loaded} %");
    // Who only asks what is in a file leaves it where the next one finds it.
    let q = d.join("q");
    state::save_seq(&mut c, &q, 0, &past).expect("saves");
    assert_eq!(state::count_tokens(&q).expect("a header").0, 2100);
    let q = fs::File::open(q).expect("there");
    assert!(platform::pages::cached_pages(&q, 0..4096).is_none_or(|n| n > 0));
}

#[test]
fn states_pass_through_the_page_cache_unless_they_are_to_stay() {
    for keep in ["0", "1"] {
        // Beside the test's program: what is usually there for temporary files may be memory.
        let d = Dir(std::env::current_exe().expect("a test").with_file_name(format!("camelid-state-{}-pages-{keep}", std::process::id())));
        fs::create_dir_all(d.path("")).expect("a folder");
        super::crash::run("files::pages_after_a_save_and_a_load", &d, &format!("export CAMELID_KV_KEEP_PAGES={keep};"));
    }
}
