//! Sets of CPU and node numbers as the kernel writes them (`0-3,8`), and the CPUs this process may run on, however many there are.
use std::collections::BTreeSet;
use std::io;

/// Numbers in order; may have gaps.
pub type Set = BTreeSet<u32>;

/// No kernel is built for more CPUs or nodes: what a broken text claims beyond is not believed.
const MOST: u32 = 1 << 16;

/// `0-3,8` as numbers. `None`: not such a list. Empty text is an empty list.
pub fn parse_list(text: &str) -> Option<Set> {
    let mut found = Set::new();
    for part in text.trim().split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

/// Numbers as `0-3,8`.
pub fn list(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for n in numbers.into_iter().collect::<Set>() {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => runs.push((n, n)),
        }
    }
    let texts: Vec<String> = runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    texts.join(",")
}

/// CPUs that the process (its first thread) may run on: affinity and cgroup, online ones only. Empty where the system does not tell.
pub fn allowed_cpus() -> Set {
    // SAFETY: no arguments, cannot fail.
    let process = unsafe { libc::getpid() };
    affinity(process).or_else(|_| affinity(0)).unwrap_or_default()
}

/// The affinity of a thread by its id; 0: the calling one.
pub fn affinity(thread: libc::pid_t) -> io::Result<Set> {
    // The kernel refuses (EINVAL) a mask shorter than its own; how long that is, it tells by what it accepts.
    let mut mask = vec![0u64; 16];
    loop {
        // SAFETY: the mask is writable for the bytes given. The system call, not libc's function, which knows 1024 CPUs and zero-fills.
        let n = unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread, size_of_val(&mask[..]), mask.as_mut_ptr()) };
        match n {
            0.. => return Ok(numbers(&mask[..(n as usize).div_ceil(8).min(mask.len())])),
            _ => {
                let e = io::Error::last_os_error();
                if e.raw_os_error() != Some(libc::EINVAL) || mask.len() * 64 >= MOST as usize {
                    return Err(e);
                }
            }
        }
        mask = vec![0; mask.len() * 2];
    }
}

/// Lets the calling thread run on these CPUs only.
pub fn pin(cpus: &Set) -> io::Result<()> {
    let mask = mask(cpus.iter().copied());
    // SAFETY: the mask is readable for the bytes given; thread 0 is the calling one.
    match unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&mask[..]), mask.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Bits of these numbers, as many words as the largest needs (at least one).
pub(super) fn mask(numbers: impl IntoIterator<Item = u32>) -> Vec<u64> {
    let mut words = vec![0u64];
    for n in numbers {
        let word = n as usize / 64;
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        words[word] |= 1 << (n % 64);
    }
    words
}

/// The numbers of set bits.
fn numbers(mask: &[u64]) -> Set {
    let bits = mask.iter().enumerate().flat_map(|(i, w)| (0..64).filter(move |b| w >> b & 1 == 1).map(move |b| i as u32 * 64 + b));
    bits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_the_kernels() {
        let set = |t: &str| parse_list(t).map(|s| s.into_iter().collect::<Vec<_>>());
        assert_eq!(set("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(set(" 5 "), Some(vec![5]));
        assert_eq!(set("\n"), Some(vec![]));
        for bad in ["3-1", "a", "1-", "-1", "0-4294967295", "0-99999999"] {
            assert_eq!(set(bad), None, "{bad}");
        }
        assert_eq!(list([8, 0, 2, 1, 3, 3]), "0-3,8");
        assert_eq!(list([]), "");
        assert_eq!(list([1500]), "1500");
    }

    #[test]
    fn masks_hold_any_number() {
        let some = Set::from([0, 63, 64, 1023, 1500]);
        let words = mask(some.iter().copied());
        assert_eq!(words.len(), 24);
        assert_eq!(numbers(&words), some);
        assert_eq!(mask([]), [0]);
    }

    #[test]
    fn this_thread_is_pinned_and_others_are_not() {
        let before = allowed_cpus();
        assert!(!before.is_empty());
        let one = Set::from([*before.last().expect("not empty")]);
        let inside = {
            let one = one.clone();
            std::thread::spawn(move || pin(&one).and_then(|()| affinity(0))).join().expect("no panic")
        };
        assert_eq!(inside.expect("allowed"), one);
        assert_eq!(allowed_cpus(), before);
        assert!(pin(&Set::new()).is_err(), "a set without CPUs is refused");
    }
}
