//! Objects of libstdc++ that C++ functions of the original give or take by value: its std::string read, a std::vector and a std::map made, in
//! the layouts that its ABI has kept since GCC 5. Their memory comes from the program's own `operator new`, whose `delete` it is given to. Knows
//! no llama type.
use super::host;
use std::ffi::{CStr, c_void};
use std::ptr::{NonNull, null_mut};

/// std::string.
#[repr(C)]
pub struct Text {
    at: *const u8,
    len: usize,
    /// its capacity, or the text itself where it is short
    inside: [u8; 16],
}

impl Text {
    /// # Safety
    /// A std::string of libstdc++.
    pub unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: the caller's promise: so many bytes are there, also of a text that lies inside.
        if self.at.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(self.at, self.len) } }
    }

    /// A short text at `out`, inside the object; cut to what finds room there.
    ///
    /// # Safety
    /// NULL, or room for a string that the caller will look at as one.
    pub unsafe fn put(out: *mut Text, text: &[u8]) {
        let mut inside = [0; 16];
        let len = text.len().min(inside.len() - 1);
        inside[..len].copy_from_slice(&text[..len]);
        if !out.is_null() {
            // SAFETY: the caller's promise.
            unsafe { out.write(Text { at: (&raw const (*out).inside).cast(), len, inside }) }
        }
    }
}

/// std::vector<T>.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Vector<T> {
    begin: *mut T,
    end: *mut T,
    room: *mut T,
}

impl<T: Copy> Vector<T> {
    pub const EMPTY: Vector<T> = Vector { begin: null_mut(), end: null_mut(), room: null_mut() };

    /// A vector that the program will delete; empty where there is no memory.
    pub fn of(list: &[T]) -> Vector<T> {
        let Some(begin) = new::<T>(list.len()).filter(|_| !list.is_empty()) else { return Self::EMPTY };
        // SAFETY: room for so many was just taken.
        unsafe { std::ptr::copy_nonoverlapping(list.as_ptr(), begin.as_ptr(), list.len()) };
        Self::over(begin.as_ptr(), list.len())
    }

    /// # Safety
    /// A vector of the program, whose elements are T's.
    pub unsafe fn elements(&self) -> &[T] {
        let n = (self.end as usize).saturating_sub(self.begin as usize) / size_of::<T>();
        // SAFETY: the caller's promise.
        if self.begin.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(self.begin, n) } }
    }

    /// One that shows memory of ours, and that nobody deletes or adds to.
    pub fn over(begin: *mut T, n: usize) -> Vector<T> {
        let end = begin.wrapping_add(n);
        Vector { begin, end, room: end }
    }
}

/// What a tree's nodes and its head begin with.
#[repr(C)]
struct Links {
    /// 0: red, 1: black
    color: u32,
    parent: *mut Links,
    left: *mut Links,
    right: *mut Links,
}

/// std::map of pointers. Its head is linked to from the nodes, so it is made where the caller wants it and cannot be moved.
#[repr(C)]
pub struct Map {
    /// std::less has no state, but a place.
    compare: u64,
    head: Links,
    n: usize,
}

#[repr(C)]
struct Node<V> {
    links: Links,
    key: *mut c_void,
    value: V,
}

impl Map {
    /// A map at `out`; without memory for its nodes an empty one. Of entries with one key the last counts.
    ///
    /// # Safety
    /// NULL, or room for a map that the caller will look at as one, of values like `V`.
    pub unsafe fn put<V>(out: *mut Map, mut entries: Vec<(NonNull<c_void>, V)>) {
        entries.reverse();
        entries.sort_by_key(|e| e.0);
        entries.dedup_by_key(|e| e.0);
        let nodes: Option<Vec<_>> = entries.iter().map(|_| new::<Node<V>>(1)).collect();
        let Some(nodes) = nodes.filter(|n| !n.is_empty() && !out.is_null()) else {
            // SAFETY: the caller's promise.
            return unsafe { Self::put_empty(out) };
        };
        let (first, last, n) = (nodes[0].as_ptr().cast(), nodes[nodes.len() - 1].as_ptr().cast(), nodes.len());
        for (node, (key, value)) in nodes.iter().zip(entries) {
            let links = Links { color: 1, parent: null_mut(), left: null_mut(), right: null_mut() };
            // SAFETY: room for a node that was just taken.
            unsafe { node.write(Node { links, key: key.as_ptr(), value }) };
        }
        let links: Vec<*mut Links> = nodes.iter().map(|n| n.as_ptr().cast()).collect();
        // SAFETY: room for a map by the caller's promise, and nodes that were just made.
        unsafe {
            let head = &raw mut (*out).head;
            let root = tree(&links, head, (links.len() + 1).ilog2());
            out.write(Map { compare: 0, head: Links { color: 0, parent: root, left: first, right: last }, n });
        }
    }

    /// # Safety
    /// NULL, or room for a map.
    unsafe fn put_empty(out: *mut Map) {
        if !out.is_null() {
            // SAFETY: the caller's promise.
            unsafe {
                let head = &raw mut (*out).head;
                out.write(Map { compare: 0, head: Links { color: 0, parent: null_mut(), left: head, right: head }, n: 0 });
            }
        }
    }
}

/// Sorted nodes as a tree as flat as it can be, of which `full` levels are full and black; those below are red. Its root.
///
/// # Safety
/// Nodes that nobody else uses.
unsafe fn tree(nodes: &[*mut Links], parent: *mut Links, full: u32) -> *mut Links {
    let Some(root) = nodes.get(nodes.len() / 2).copied() else { return null_mut() };
    let (left, right) = (&nodes[..nodes.len() / 2], &nodes[nodes.len() / 2 + 1..]);
    // SAFETY: the caller's promise.
    unsafe {
        let color = u32::from(full > 0);
        let (left, right) = (tree(left, root, full.saturating_sub(1)), tree(right, root, full.saturating_sub(1)));
        root.write(Links { color, parent, left, right });
    }
    root
}

/// Room for `n` of T by the program's `operator new`; by malloc, which is what that is made of, where the program has no C++ that we can see.
fn new<T>(n: usize) -> Option<NonNull<T>> {
    const NEW: &CStr = c"_Znwm";
    let bytes = size_of::<T>().checked_mul(n)?;
    let Some(found) = host::symbol(NEW).or_else(|| host::within(c"libstdc++.so.6", NEW)) else {
        // SAFETY: any size will do.
        return NonNull::new(unsafe { libc::malloc(bytes) }.cast());
    };
    // SAFETY: the name says its type. It throws only where memory ends, which it does for no sizes that come from here.
    let operator_new: unsafe extern "C" fn(usize) -> *mut c_void = unsafe { std::mem::transmute(found.as_ptr()) };
    // SAFETY: as above.
    NonNull::new(unsafe { operator_new(bytes) }.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_can_be_read() {
        let mut text = std::mem::MaybeUninit::<Text>::uninit();
        // SAFETY: room for a string, which is read as one; the vector's memory is given back as it was taken.
        unsafe {
            Text::put(text.as_mut_ptr(), "déjà".as_bytes());
            assert_eq!(text.assume_init_ref().bytes(), "déjà".as_bytes());
            let v = Vector::of(&[3, 1, 2]);
            assert_eq!((v.elements(), Vector::<i32>::EMPTY.elements()), (&[3, 1, 2][..], &[][..]));
            libc::free(v.begin.cast());
        }
    }

    /// Keys and values from left to right; how many nodes are red.
    unsafe fn walk(node: *mut Node<[usize; 2]>, parent: *const Links, found: &mut Vec<(*mut c_void, [usize; 2])>) -> usize {
        if node.is_null() {
            return 0;
        }
        // SAFETY: a node of a tree that was just made.
        unsafe {
            let links = &(*node).links;
            assert_eq!(links.parent.cast_const(), parent);
            let left = walk(links.left.cast(), node.cast(), found);
            found.push(((*node).key, (*node).value));
            left + walk(links.right.cast(), node.cast(), found) + usize::from(links.color == 0)
        }
    }

    unsafe fn free(node: *mut Links) {
        if !node.is_null() {
            // SAFETY: as above; given back as it was taken.
            unsafe {
                free((*node).left);
                free((*node).right);
                libc::free(node.cast());
            }
        }
    }

    #[test]
    fn sizes_and_links_are_those_of_libstdcxx() {
        assert_eq!((size_of::<Text>(), size_of::<Vector<i32>>(), size_of::<Map>()), (32, 24, 48));
        assert_eq!((size_of::<Links>(), std::mem::offset_of!(Map, head), std::mem::offset_of!(Map, n)), (32, 8, 40));
        let mut map = std::mem::MaybeUninit::<Map>::uninit();
        let mut things = [0_u8; 5];
        // SAFETY: room for a map, which is read as one; the node is given back as it was taken.
        unsafe {
            let keys: Vec<NonNull<c_void>> = things.iter_mut().map(|t| NonNull::from(t).cast()).collect();
            let key = |i: usize| keys[i];
            for n in 1..=5 {
                // In the order of std::map, whatever order they come in; the last of two with one key counts.
                let list = (0..n).rev().map(|i| (key(i), [9, 9])).chain((0..n).map(|i| (key(i), [i, 10 * i]))).collect();
                Map::put(map.as_mut_ptr(), list);
                let m = map.assume_init_ref();
                let mut found = Vec::new();
                let reds = walk(m.head.parent.cast::<Node<[usize; 2]>>(), &raw const m.head, &mut found);
                assert_eq!(found, (0..n).map(|i| (key(i).as_ptr(), [i, 10 * i])).collect::<Vec<_>>());
                assert_eq!((m.n, reds), (n, [0, 0, 1, 0, 1, 2][n]));
                let ends = [m.head.left, m.head.right].map(|e| (*e.cast::<Node<[usize; 2]>>()).key);
                assert_eq!(ends, [key(0).as_ptr(), key(n - 1).as_ptr()]);
                free(m.head.parent);
            }
            Map::put::<()>(map.as_mut_ptr(), Vec::new());
            let m = map.assume_init_ref();
            assert_eq!((m.n, m.head.left.cast_const(), m.head.parent), (0, &raw const m.head, null_mut()));
        }
    }
}
