//! Many texts to be found at the start of another: a tree of bytes in three arrays. Knows numbers, not tokens.
use platform::{Error, Result};

const NONE: u32 = u32::MAX;

/// Nodes are numbered level by level, so that the children of one are neighbours, ordered by their byte. Node 0 is the root.
#[derive(Default)]
pub struct Trie {
    /// The children of node `i` are the nodes `first[i]..first[i + 1]`. // [n_nodes + 1]
    first: Vec<u32>,
    /// The byte that leads to a node. // [n_nodes]
    label: Vec<u8>,
    /// The number of the text that ends at a node, or `NONE`. // [n_nodes]
    value: Vec<u32>,
    /// The children of the root, which every search asks first: by byte, or `NONE`. // [256], empty without nodes
    roots: Vec<u32>,
}

impl Trie {
    /// Of equal texts the last one counts; empty ones are never found.
    pub fn new<'a>(texts: impl Iterator<Item = (&'a [u8], u32)>) -> Result<Trie> {
        let mut sorted: Vec<(&[u8], u32)> = texts.collect();
        sorted.sort_by_key(|(text, _)| *text);
        let n_nodes = count_nodes(&sorted)?;
        let (mut trie, mut ranges) = (Trie::default(), Vec::new());
        let room = trie.first.try_reserve_exact(n_nodes + 1).and(trie.label.try_reserve_exact(n_nodes));
        let room = room.and(trie.value.try_reserve_exact(n_nodes)).and(ranges.try_reserve_exact(n_nodes));
        room.map_err(|_| Error::no_memory(format!("no memory for a tree of {n_nodes} nodes")))?;
        trie.label.push(0);
        ranges.push((0, sorted.len() as u32, 0_u32));
        let mut node = 0;
        while let Some(&(from, to, depth)) = ranges.get(node) {
            trie.add_node(&sorted[from as usize..to as usize], depth as usize, |len, byte, start| {
                ranges.push((from + start, from + start + len, depth + 1));
                byte
            });
            node += 1;
        }
        trie.first.push(trie.label.len() as u32);
        let mut roots = vec![NONE; 256];
        trie.children(0).for_each(|(byte, child)| roots[usize::from(byte)] = child);
        Ok(Trie { roots, ..trie })
    }

    /// Appends a node for `texts`, which agree in their first `depth` bytes, and a label for each child that `child` is told of.
    fn add_node(&mut self, texts: &[(&[u8], u32)], depth: usize, mut child: impl FnMut(u32, u8, u32) -> u8) {
        let n_here = texts.partition_point(|(t, _)| t.len() == depth);
        self.first.push(self.label.len() as u32);
        self.value.push(texts[..n_here].last().map_or(NONE, |(_, id)| *id));
        let (mut start, mut rest) = (n_here as u32, &texts[n_here..]);
        while let Some(byte) = rest.first().and_then(|(t, _)| t.get(depth)).copied() {
            let len = rest.partition_point(|(t, _)| t.get(depth) == Some(&byte));
            self.label.push(child(len as u32, byte, start));
            (start, rest) = (start + len as u32, &rest[len..]);
        }
    }

    /// The node that `byte` leads to.
    pub fn child(&self, node: u32, byte: u8) -> Option<u32> {
        if node == 0 {
            return self.roots.get(usize::from(byte)).copied().filter(|child| *child != NONE);
        }
        let (from, to) = (*self.first.get(node as usize)?, *self.first.get(node as usize + 1)?);
        let labels = self.label.get(from as usize..to as usize)?;
        // Most have one or two.
        let at = if labels.len() > 8 { labels.binary_search(&byte).ok()? } else { labels.iter().position(|l| *l == byte)? };
        Some(from + at as u32)
    }

    /// The children of a node with their bytes.
    pub fn children(&self, node: u32) -> impl DoubleEndedIterator<Item = (u8, u32)> {
        let (from, to) = (self.first[node as usize], self.first[node as usize + 1]);
        (from..to).map(|child| (self.label[child as usize], child))
    }

    /// The number of the text that ends at a node.
    pub fn value(&self, node: u32) -> Option<u32> {
        self.value.get(node as usize).copied().filter(|v| *v != NONE)
    }

    /// Every text that `text` starts with: its length and its number, the shortest first.
    pub fn prefixes(&self, text: &[u8]) -> impl Iterator<Item = (usize, u32)> {
        self.path(text).filter_map(|(len, node)| Some((len, self.value(node)?)))
    }

    pub fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        self.prefixes(text).last()
    }

    /// How many bytes of `text` some text begins with.
    pub fn agreement(&self, text: &[u8]) -> usize {
        self.path(text).last().map_or(0, |(len, _)| len)
    }

    fn path(&self, text: &[u8]) -> impl Iterator<Item = (usize, u32)> {
        let mut node = 0;
        text.iter().zip(1..).map_while(move |(byte, len)| {
            node = self.child(node, *byte)?;
            Some((len, node))
        })
    }
}

/// One for the root, and one for every byte that a text does not share with the one before it.
fn count_nodes(sorted: &[(&[u8], u32)]) -> Result<usize> {
    let (mut n, mut before): (usize, &[u8]) = (1, &[]);
    for (text, _) in sorted {
        let shared = before.iter().zip(*text).take_while(|(a, b)| a == b).count();
        n += text.len() - shared;
        before = text;
    }
    // Numbers of nodes are u32.
    u32::try_from(n).map(|_| n).map_err(|_| Error::invalid(format!("texts that need {n} tree nodes are too long")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trie(texts: &[&str]) -> Trie {
        Trie::new(texts.iter().map(|t| t.as_bytes()).zip(0..)).unwrap()
    }

    #[test]
    fn prefixes_by_example() {
        let t = trie(&["a", "abc", "ab", "b", "a"]);
        assert_eq!(t.prefixes(b"abd").collect::<Vec<_>>(), [(1, 4), (2, 2)]);
        assert_eq!((t.longest(b"abcd"), t.longest(b"c"), t.longest(b"")), (Some((3, 1)), None, None));
        assert_eq!((t.agreement(b"abx"), t.agreement(b"xab")), (2, 0));
        assert_eq!(t.children(0).map(|(b, _)| b).collect::<Vec<_>>(), [b'a', b'b']);
        assert_eq!(trie(&[]).longest(b"a"), None);
        assert_eq!(trie(&[""]).longest(b"a"), None);
    }

    proptest! {
        #[test]
        fn finds_what_a_search_finds(texts in prop::collection::hash_set("[abc]{1,5}", 0..30), text in "[abcd]{0,8}") {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut want: Vec<(usize, u32)> = texts.iter().zip(0..).filter(|(t, _)| text.starts_with(**t)).map(|(t, i)| (t.len(), i)).collect();
            want.sort();
            prop_assert_eq!(trie(&texts).prefixes(text.as_bytes()).collect::<Vec<_>>(), want);
        }
    }
}
