//! What some samplers ask of a vocabulary. Whoever holds one implements it; this room knows no tokenizer.
use crate::vocab::Pieces;
use platform::Result;

pub trait Words: Send + Sync {
    fn n_tokens(&self) -> i32;
    fn is_eog(&self, token: i32) -> bool;
    /// End of turn, or else end of text, if the vocabulary has either.
    fn end(&self) -> Option<i32>;
    /// `token_to_piece(token, lstrip 0, special false)`; empty for an id out of range.
    fn piece(&self, token: i32) -> Vec<u8>;
    /// `token_to_piece(token, lstrip 0, special true)`; empty for an id out of range.
    fn whole_piece(&self, token: i32) -> Vec<u8>;
    /// The texts of all tokens, those of `whole_piece`.
    fn pieces(&self) -> Result<&Pieces>;
    /// All tokens that end a generation.
    fn ends(&self) -> Vec<i32>;
    /// The one token that `text` is, special or not.
    fn special(&self, text: &[u8]) -> Option<i32>;
    /// `detokenize([token], special true)`.
    fn text(&self, token: i32) -> Vec<u8>;
    /// `tokenize(text, add_special false, parse_special false)`.
    fn tokenize(&self, text: &[u8]) -> Vec<i32>;
}
