//! Counts what the current thread has allocated, so that a test can say how much an input may cost.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// `asked` counts whether it was granted or not, `grown` only if it was.
fn count(grown: isize, asked: usize, p: *mut u8) -> *mut u8 {
    // `try_with`: a thread that is ending may still free.
    let _ = LIVE.try_with(|live| {
        LARGEST.set(LARGEST.get().max(asked));
        live.set(live.get() + if p.is_null() { 0 } else { grown });
        PEAK.set(PEAK.get().max(live.get()));
    });
    p
}

// SAFETY: every call goes to the system allocator unchanged; the counters are plain cells that allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, l: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the system allocator's.
        count(l.size() as isize, l.size(), unsafe { System.alloc(l) })
    }
    unsafe fn alloc_zeroed(&self, l: Layout) -> *mut u8 {
        // SAFETY: as above.
        count(l.size() as isize, l.size(), unsafe { System.alloc_zeroed(l) })
    }
    unsafe fn dealloc(&self, p: *mut u8, l: Layout) {
        count(-(l.size() as isize), 0, p);
        // SAFETY: as above.
        unsafe { System.dealloc(p, l) }
    }
    unsafe fn realloc(&self, p: *mut u8, l: Layout, n: usize) -> *mut u8 {
        // SAFETY: as above.
        count(n as isize - l.size() as isize, n, unsafe { System.realloc(p, l, n) })
    }
}

/// What `f` did to this thread's heap.
pub struct Cost {
    /// Most bytes alive at once, beyond those alive before.
    pub peak: usize,
    /// The largest single request, granted or not.
    pub largest: usize,
}

pub fn cost<T>(f: impl FnOnce() -> T) -> (T, Cost) {
    let before = LIVE.get();
    PEAK.set(before);
    LARGEST.set(0);
    let result = f();
    (result, Cost { peak: (PEAK.get() - before) as usize, largest: LARGEST.get() })
}

#[test]
fn the_count_sees_requests_that_are_refused() {
    let (refused, cost) = cost(|| {
        drop(vec![1u8; 1000]);
        Vec::<u8>::new().try_reserve_exact(isize::MAX as usize).is_err()
    });
    assert!(refused && cost.largest == isize::MAX as usize && cost.peak >= 1000);
}
