//! The directory: which entry has which beginning, who was used last, what must go. Everything is a name that appears or disappears at once, so
//! no process waits for another; what vanishes under a reader was not there. Knows nothing of rows.
use super::entry::Entry;
use super::key::BLOCK;
use platform::{Error, Result, log};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A temporary that nobody wrote to for so long was left by somebody who is gone.
const STALE: Duration = Duration::from_secs(600);

/// Two ways in which an entry belongs to a beginning.
#[derive(Clone, Copy)]
pub enum Link {
    /// It has these blocks.
    Through,
    /// It has these blocks and less than one more.
    Ending,
}

pub struct Index {
    entries: PathBuf,
    prefixes: PathBuf,
    max_bytes: u64,
}

struct Stored {
    name: String,
    bytes: u64,
    used: SystemTime,
}

impl Index {
    /// Makes what is missing. A directory that cannot be written to can be read from.
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Index> {
        let index = Index { entries: dir.join("entries"), prefixes: dir.join("prefixes"), max_bytes };
        for d in [&index.entries, &index.prefixes] {
            // What somebody asked is nobody else's business.
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(d);
            made.or_else(|e| if d.is_dir() { Ok(()) } else { Err(Error::io(format_args!("prefix cache {}", d.display()), e)) })?;
            sweep(d);
        }
        Ok(index)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.entries.join(name)
    }
    pub fn name(of: u128) -> String {
        format!("{of:032x}.seq")
    }
    fn link(&self, how: Link, block: u128) -> PathBuf {
        let kind = match how {
            Link::Through => "in",
            Link::Ending => "end",
        };
        self.prefixes.join(format!("{block:032x}.{kind}"))
    }

    /// The entry that a beginning leads to.
    pub fn entry_of(&self, how: Link, block: u128) -> Option<String> {
        let target = fs::read_link(self.link(how, block)).ok()?;
        let name = target.file_name()?.to_str()?;
        // Only ever a name beside the others, wherever the link says that it is.
        name.ends_with(".seq").then(|| name.to_owned())
    }

    /// An entry by name. One that is gone is nobody's; one that is damaged goes.
    pub fn get(&self, name: &str) -> Option<Entry> {
        let path = self.path(name);
        match Entry::open(&path) {
            Ok(e) => Some(e),
            Err(e) => {
                if path.exists() {
                    self.discard(name, &e);
                }
                None
            }
        }
    }

    /// Removes a damaged entry.
    pub fn discard(&self, name: &str, why: &Error) {
        log::warn(format!("prefix cache: an entry is removed: {why}"));
        let _ = fs::remove_file(self.path(name));
    }

    /// Says that `name` was used now, and leads all its beginnings to it. As the least recently used go first, a beginning then leads to the one
    /// that stays longest of all that have it.
    pub fn used(&self, name: &str, blocks: &[u128], n_tokens: usize) {
        let _ = fs::File::open(self.path(name)).and_then(|f| f.set_modified(SystemTime::now()));
        let all = blocks.iter().take(n_tokens / BLOCK);
        all.clone().for_each(|b| self.lead(Link::Through, *b, name));
        all.clone().next_back().into_iter().for_each(|b| self.lead(Link::Ending, *b, name));
    }

    fn lead(&self, how: Link, block: u128, name: &str) {
        static N: AtomicU64 = AtomicU64::new(0);
        if self.entry_of(how, block).as_deref() == Some(name) {
            return;
        }
        let temporary = self.prefixes.join(format!(".{}-{}.tmp", std::process::id(), N.fetch_add(1, Ordering::Relaxed)));
        let target = Path::new("../entries").join(name);
        let made = symlink(target, &temporary).and_then(|()| fs::rename(&temporary, self.link(how, block)));
        if let Err(e) = made {
            let _ = fs::remove_file(&temporary);
            log::debug(format!("prefix cache: {}: {e}", self.prefixes.display()));
        }
    }

    /// Removes an entry and the beginnings that lead to it.
    pub fn remove(&self, name: &str, blocks: &[u128]) {
        let _ = fs::remove_file(self.path(name));
        for (how, block) in blocks.iter().flat_map(|b| [(Link::Through, b), (Link::Ending, b)]) {
            if self.entry_of(how, *block).as_deref() == Some(name) {
                let _ = fs::remove_file(self.link(how, *block));
            }
        }
    }

    /// Lets the least recently used go until `bytes` more are within the budget.
    pub fn make_room(&self, bytes: u64) -> Result<()> {
        if bytes > self.max_bytes {
            return Err(Error::invalid(format!("an entry of {bytes} bytes, the cache may have {}", self.max_bytes)));
        }
        let mut list = self.scan()?;
        list.sort_by_key(|s| std::cmp::Reverse(s.used));
        let mut total: u64 = list.iter().map(|s| s.bytes).sum();
        while total > self.max_bytes - bytes {
            let Some(oldest) = list.pop() else { break };
            total -= oldest.bytes;
            self.evict(&oldest.name);
        }
        Ok(())
    }

    fn evict(&self, name: &str) {
        // Its own words say where it can be found.
        let blocks = Entry::open(&self.path(name)).map(|e| super::key::Key::new(e.identity).blocks(&e.tokens)).unwrap_or_default();
        self.remove(name, &blocks);
        log::debug(format!("prefix cache: {name} made room"));
    }

    /// What is there, temporaries of others included.
    fn scan(&self) -> Result<Vec<Stored>> {
        let list = fs::read_dir(&self.entries).map_err(|e| Error::io(format_args!("prefix cache {}", self.entries.display()), e))?;
        let one = |f: fs::DirEntry| {
            let meta = f.metadata().ok()?;
            Some(Stored { name: f.file_name().into_string().ok()?, bytes: meta.len(), used: meta.modified().ok()? })
        };
        Ok(list.flatten().filter_map(one).collect())
    }
}

/// Removes what crashed writers left.
fn sweep(dir: &Path) {
    for f in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = f.file_name();
        let ours = name.to_str().is_some_and(|n| n.starts_with('.') && n.ends_with(".tmp"));
        let age = f.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if ours && age.is_some_and(|a| a > STALE) {
            match fs::remove_file(f.path()) {
                Err(e) if e.kind() != ErrorKind::NotFound => log::debug(format!("prefix cache: {}: {e}", f.path().display())),
                _ => {}
            }
        }
    }
}
