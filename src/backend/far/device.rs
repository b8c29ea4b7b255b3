//! `far` as devices: some of them, each with so much memory, so that what GPUs do to layers can be tried without one.
use super::*;
use platform::{env, log};

/// Memory of a device, shared by all that is opened on it.
#[derive(Debug, Default)]
pub struct Room {
    /// Bytes; `None`: without end.
    total: Option<u64>,
    used: AtomicU64,
}

/// Some of it; given back when it is dropped.
pub struct Held {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    fn memory(&self) -> DeviceMemory {
        let total = self.total.unwrap_or(0);
        DeviceMemory { free: total.saturating_sub(self.used.load(Ordering::Relaxed)), total }
    }

    pub fn take(self: &Arc<Self>, bytes: usize, what: &str) -> Result<Held> {
        let n = bytes as u64;
        let total = self.total.unwrap_or(u64::MAX);
        let fits = |used: u64| used.checked_add(n).filter(|sum| *sum <= total);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Held { room: self.clone(), bytes: n }),
            Err(used) => Err(Error::no_memory(format!("{what}: {n} bytes needed, {} free", total.saturating_sub(used)))),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct FarDevice {
    id: DeviceId,
    name: String,
    room: Arc<Room>,
}

impl Device for FarDevice {
    fn id(&self) -> DeviceId {
        self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn family(&self) -> &str {
        "FAR"
    }
    fn description(&self) -> &str {
        "memory that the host cannot address"
    }
    fn memory(&self) -> DeviceMemory {
        self.room.memory()
    }
    fn open(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Far::within(self.id, self.room.clone())))
    }
}

/// `FAR0`, `FAR1` and so on, each with its share of `memory` in bytes: the last number is for all that follow; none, and they have memory without end.
pub fn devices(n: u16, memory: &[u64]) -> Vec<Arc<dyn Device>> {
    let one = |i: u16| -> Arc<dyn Device> {
        let total = memory.get(usize::from(i)).or(memory.last()).copied();
        let room = Arc::new(Room { total, used: AtomicU64::new(0) });
        Arc::new(FarDevice { id: DeviceId(i + 1), name: format!("FAR{i}"), room })
    };
    (0..n).map(one).collect()
}

/// Those of `CAMELID_FAR`; none where it is not set, and a line where it cannot be read.
pub fn of_environment() -> Vec<Arc<dyn Device>> {
    let Some(text) = env::get("CAMELID_FAR") else { return Vec::new() };
    match parse(&text) {
        Some((n, memory)) => devices(n, &memory),
        None => {
            log::warn(format!("CAMELID_FAR={text} is not N or N:BYTES+BYTES..: no such devices"));
            Vec::new()
        }
    }
}

/// "2", "2:64M", "2:64M+32M"; at most as many as a model can be divided over.
fn parse(text: &str) -> Option<(u16, Vec<u64>)> {
    let (n, memory) = text.split_once(':').map_or((text, None), |(n, m)| (n, Some(m)));
    let n: u16 = n.parse().ok().filter(|n| *n <= MAX_DEVICES)?;
    let memory = memory.into_iter().flat_map(|m| m.split('+')).map(env::bytes);
    Some((n, memory.collect::<Option<Vec<_>>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_names_devices_and_their_memory() {
        assert_eq!(parse("2"), Some((2, vec![])));
        assert_eq!(parse("2:64M"), Some((2, vec![64 << 20])));
        assert_eq!(parse("3:1K+7"), Some((3, vec![1024, 7])));
        assert!(["", "x", "17", "2:", "2:1M+", "-1"].iter().all(|t| parse(t).is_none()));
        let list = devices(3, &[100, 50]);
        let all: Vec<_> = list.iter().map(|d| (d.name().to_owned(), d.memory().total)).collect();
        assert_eq!(all, [("FAR0".into(), 100), ("FAR1".into(), 50), ("FAR2".into(), 50)]);
    }

    #[test]
    fn memory_is_taken_and_given_back_and_runs_out() {
        let list = devices(1, &[100]);
        let [a, b] = [list[0].open().expect("opens"), list[0].open().expect("opens")];
        let held = a.alloc(60, "a").expect("room");
        assert_eq!(list[0].memory(), DeviceMemory { free: 40, total: 100 });
        let said = b.alloc(41, "rows").err().expect("the other has some of it").to_string();
        assert!(said.contains("rows: 41 bytes needed, 40 free"), "{said}");
        drop(held);
        assert!(b.alloc(100, "b").is_ok());
        assert_eq!(list[0].memory().free, 100);
    }
}
