//! The texts of all tokens as one tree: for who asks which tokens may follow, and would not look at each by itself.
use super::Vocab;
use super::trie::Trie;
use platform::{Error, Result};

pub struct Pieces {
    tree: Trie,
    /// The next token with the same text; `NONE` ends the chain. // [n_tokens]
    same: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Pieces {
    /// The text of token `i` is `texts[i]`; what follows a NUL is not seen, and tokens without text are nowhere.
    pub fn new(texts: &[Vec<u8>]) -> Result<Pieces> {
        let seen = |text: &'_ Vec<u8>| text.iter().position(|b| *b == 0).unwrap_or(text.len());
        let keys = || texts.iter().zip(0_u32..).map(|(t, id)| (&t[..seen(t)], id)).filter(|(t, _)| !t.is_empty());
        let tree = Trie::new(keys())?;
        let mut same = Vec::new();
        same.try_reserve_exact(texts.len()).map_err(|_| Error::no_memory(format!("no memory for {} token texts", texts.len())))?;
        same.resize(texts.len(), NONE);
        for (text, id) in keys() {
            // The tree holds the last of equals: the others hang on it.
            if let Some((_, last)) = tree.longest(text).filter(|(_, last)| *last != id) {
                same[id as usize] = std::mem::replace(&mut same[last as usize], id);
            }
        }
        Ok(Pieces { tree, same })
    }

    pub fn n_tokens(&self) -> usize {
        self.same.len()
    }

    /// The nodes one byte further; node 0 is the start.
    pub fn children(&self, node: u32) -> impl Iterator<Item = (u8, u32)> {
        self.tree.children(node)
    }

    /// The tokens whose text ends at a node.
    pub fn tokens(&self, node: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(self.tree.value(node), |id| self.same.get(*id as usize).copied().filter(|id| *id != NONE))
    }
}

impl Vocab {
    /// The texts of all tokens, control tokens too; made when first asked for.
    pub fn pieces(&self) -> Result<&Pieces> {
        if let Some(pieces) = self.pieces.get() {
            return Ok(pieces);
        }
        let texts: Vec<Vec<u8>> =
            (0..self.n_tokens as i32).map(|id| self.token_to_piece(id, 0, true).unwrap_or_default().into_owned()).collect();
        let made = Pieces::new(&texts)?;
        Ok(self.pieces.get_or_init(|| made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_all_found() {
        let texts = ["a", "ab", "a", "", "a\0b", "\0"].map(|t| t.as_bytes().to_vec());
        let p = Pieces::new(&texts).unwrap();
        let a = p.children(0).next().unwrap();
        assert_eq!((p.n_tokens(), a.0, p.children(0).count()), (6, b'a', 1));
        let mut tokens: Vec<u32> = p.tokens(a.1).collect();
        tokens.sort_unstable();
        assert_eq!(tokens, [0, 2, 4]);
        assert_eq!(p.children(a.1).map(|(b, n)| (b, p.tokens(n).collect())).collect::<Vec<_>>(), [(b'b', vec![1])]);
        assert_eq!(p.tokens(0).count(), 0);
    }
}
