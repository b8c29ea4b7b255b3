//! The alternatives that pre-tokenizer patterns are made of. Each is one branch of a regular expression, named by what it takes;
//! the expression stands above it. All are linear: none looks further than the match it returns, or a run that is then consumed.
use super::{Ch, Text};
use crate::vocab::unicode::{LETTER, MARK, NUMBER, PUNCT, SPACE, SYMBOL};

const HAN: &[(u32, u32)] = &[
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2CEB0, 0x2EBEF),
    (0x2F800, 0x2FA1F),
];

/// `c` lies in one of `ranges`, which are ascending. Where the original matches literal ranges it reads white space beyond ASCII as a
/// vertical tab, so that such a range never holds any.
pub fn in_ranges(c: Ch, ranges: &[(u32, u32)]) -> bool {
    let at = ranges.partition_point(|r| r.1 < c.cp);
    ranges.get(at).is_some_and(|r| r.0 <= c.cp) && (c.cp < 0x80 || !c.is(SPACE))
}

/// `lead?body+`
pub fn lead_and_run(t: &Text<'_>, pos: usize, lead: impl Fn(Ch) -> bool, body: impl Fn(Ch) -> bool) -> usize {
    let from = if lead(t.at(pos)) && body(t.at(pos + 1)) { pos + 1 } else { pos };
    let end = t.run(from, body);
    if end > from { end } else { pos }
}

fn is_space_char(c: Ch) -> bool {
    c.cp == 0x20
}

/// Neither a newline nor one of `classes`.
fn lead_except(classes: u8) -> impl Fn(Ch) -> bool {
    move |c| c.is_not(classes) && !c.is_newline()
}

// ---- contractions

fn contraction_by(t: &Text<'_>, pos: usize, fold: fn(u32) -> u32) -> usize {
    let next = |i: usize| fold(t.at(pos + i).cp);
    if t.at(pos).cp != u32::from(b'\'') {
        return pos;
    }
    match (char::from_u32(next(1)), char::from_u32(next(2))) {
        (Some('s' | 't' | 'm' | 'd'), _) => pos + 2,
        (Some('r' | 'v'), Some('e')) | (Some('l'), Some('l')) => pos + 3,
        _ => pos,
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d`
pub fn contraction(t: &Text<'_>, pos: usize) -> usize {
    contraction_by(t, pos, |cp| cp)
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
pub fn contraction_any_case(t: &Text<'_>, pos: usize) -> usize {
    contraction_by(t, pos, |cp| if cp < 0x80 { u32::from((cp as u8).to_ascii_lowercase()) } else { cp })
}

// ---- words

/// ` ?\p{L}+`
pub fn space_letters(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, is_space_char, |c| c.is(LETTER))
}

/// `\s?\p{L}+`
pub fn any_space_letters(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, |c| c.is(SPACE), |c| c.is(LETTER))
}

/// `[^\r\n\p{L}\p{N}]?\p{L}+`
pub fn word(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, lead_except(LETTER | NUMBER), |c| c.is(LETTER))
}

/// `[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+`
pub fn word_with_marks(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, lead_except(LETTER | NUMBER), |c| c.is(LETTER | MARK))
}

/// The same, then a contraction.
pub fn word_with_marks_contracted(t: &Text<'_>, pos: usize) -> usize {
    contracted(t, pos, word_with_marks(t, pos))
}

/// `[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+`
pub fn word_not_after_punct(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, lead_except(LETTER | PUNCT | SYMBOL), |c| c.is(LETTER | MARK))
}

/// `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+`
pub fn ascii_punct_letters(t: &Text<'_>, pos: usize) -> usize {
    if !t.at(pos).is_ascii(u8::is_ascii_punctuation) {
        return pos;
    }
    let end = t.run(pos + 1, |c| c.is_ascii(u8::is_ascii_alphabetic));
    if end > pos + 1 { end } else { pos }
}

/// `[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`: words with single spaces between them.
pub fn phrase(t: &Text<'_>, pos: usize) -> usize {
    let lead = usize::from(lead_except(LETTER | NUMBER)(t.at(pos)) && t.at(pos + 1).is(LETTER));
    let mut at = pos + lead;
    if !t.at(at).is(LETTER) {
        return pos;
    }
    loop {
        at = t.run(at, |c| c.is(LETTER | MARK));
        if !is_space_char(t.at(at)) || !t.at(at + 1).is(LETTER) {
            return at;
        }
        at += 1;
    }
}

/// `[\p{Han}]+`
pub fn han(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| in_ranges(c, HAN))
}

/// `[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+`, then a contraction.
pub fn word_not_han(t: &Text<'_>, pos: usize) -> usize {
    contracted(t, pos, lead_and_run(t, pos, lead_except(LETTER | NUMBER), |c| c.is(LETTER) && !in_ranges(c, HAN)))
}

fn contracted(t: &Text<'_>, pos: usize, end: usize) -> usize {
    if end > pos { contraction_any_case(t, end) } else { pos }
}

/// `lead?U*W+ | lead?U+W*` where U is `body` without `a-z` and W is `body` without `A-Z`: what stands in for upper and lower case.
/// A letter beyond ASCII is in both, so the greedy U run is given back up to the last of those when no lower-case letter follows.
fn cased_word(t: &Text<'_>, pos: usize, body: u8) -> usize {
    let (lower, upper) = (u8::is_ascii_lowercase, u8::is_ascii_uppercase);
    let runs = |from: usize| {
        let upper_end = t.run(from, |c| c.is(body) && !c.is_ascii(lower));
        (upper_end, t.run(upper_end, |c| c.is(body) && !c.is_ascii(upper)))
    };
    let ends_low = |from: usize| {
        let (upper_end, end) = runs(from);
        let given_back = || (from..upper_end).rev().find(|i| t.at(*i).cp >= 0x80).map(|i| i + 1);
        if end > upper_end { Some(end) } else { given_back() }
    };
    let ends_high = |from: usize| Some(runs(from).1).filter(|end| *end > from);
    let lead = lead_except(LETTER | NUMBER)(t.at(pos));
    let after_lead = || Some(pos + 1).filter(|_| lead);
    (after_lead().and_then(ends_low))
        .or_else(|| ends_low(pos))
        .or_else(|| after_lead().and_then(ends_high))
        .or_else(|| ends_high(pos))
        .unwrap_or(pos)
}

pub fn cased_letters(t: &Text<'_>, pos: usize) -> usize {
    cased_word(t, pos, LETTER)
}
pub fn cased_letters_contracted(t: &Text<'_>, pos: usize) -> usize {
    contracted(t, pos, cased_word(t, pos, LETTER))
}
pub fn cased_marks_contracted(t: &Text<'_>, pos: usize) -> usize {
    contracted(t, pos, cased_word(t, pos, LETTER | MARK))
}

// ---- numbers

/// `\p{N}`
pub fn number(t: &Text<'_>, pos: usize) -> usize {
    pos + usize::from(t.at(pos).is(NUMBER))
}

/// `\p{N}{1,3}`
pub fn numbers_up_to_3(t: &Text<'_>, pos: usize) -> usize {
    (pos..pos + 3).find(|i| !t.at(*i).is(NUMBER)).unwrap_or(pos + 3)
}

/// `\p{N}+`
pub fn numbers(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| c.is(NUMBER))
}

/// ` ?\p{N}+`
pub fn space_numbers(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, is_space_char, |c| c.is(NUMBER))
}

/// `[0-9][0-9][0-9]`
pub fn three_digits(t: &Text<'_>, pos: usize) -> usize {
    if (pos..pos + 3).all(|i| t.at(i).is_ascii(u8::is_ascii_digit)) { pos + 3 } else { pos }
}

// ---- punctuation

/// ` ?[^\s\p{L}\p{N}]+`
pub fn space_marks(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, is_space_char, |c| c.is_not(SPACE | LETTER | NUMBER))
}

fn with_tail(t: &Text<'_>, pos: usize, end: usize, tail: impl Fn(Ch) -> bool) -> usize {
    if end > pos { t.run(end, tail) } else { pos }
}

/// ` ?[^\s\p{L}\p{N}]+[\r\n]*`
pub fn marks_newlines(t: &Text<'_>, pos: usize) -> usize {
    with_tail(t, pos, space_marks(t, pos), Ch::is_newline)
}

/// ` ?[^\s\p{L}\p{N}]+[\r\n/]*`
pub fn marks_newlines_slashes(t: &Text<'_>, pos: usize) -> usize {
    with_tail(t, pos, space_marks(t, pos), |c| c.is_newline() || c.cp == u32::from(b'/'))
}

/// ` ?[^\s\p{L}\p{N}]+[\r\n/]?`
pub fn marks_one_newline(t: &Text<'_>, pos: usize) -> usize {
    let end = space_marks(t, pos);
    end + usize::from(end > pos && (t.at(end).is_newline() || t.at(end).cp == u32::from(b'/')))
}

/// ` ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*`
pub fn marks_newlines_no_accents(t: &Text<'_>, pos: usize) -> usize {
    let end = lead_and_run(t, pos, is_space_char, |c| c.is_not(SPACE | LETTER | MARK | NUMBER));
    with_tail(t, pos, end, Ch::is_newline)
}

/// ` ?[\p{P}\p{S}]+`
pub fn space_punct(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, is_space_char, |c| c.is(PUNCT | SYMBOL))
}

/// ` ?[\p{P}\p{S}]+[\r\n]*`
pub fn punct_newlines(t: &Text<'_>, pos: usize) -> usize {
    with_tail(t, pos, space_punct(t, pos), Ch::is_newline)
}

/// `\s?\p{P}+`
pub fn any_space_punct(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, |c| c.is(SPACE), |c| c.is(PUNCT))
}

/// `[\p{P}\$\+<=>\^~\|]+`
pub fn falcon_punct(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| c.is(PUNCT) || c.is_ascii(|b| b"$+<=>^~|".contains(b)))
}

/// The same with the back-tick.
pub fn falcon_punct_tick(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| c.is(PUNCT) || c.is_ascii(|b| b"$+<=>^~|`".contains(b)))
}

/// `[\p{P}!-/:-@\[-`{-~]`
pub fn one_punct(t: &Text<'_>, pos: usize) -> usize {
    let c = t.at(pos);
    pos + usize::from(c.is(PUNCT) || c.is_ascii(u8::is_ascii_punctuation))
}

/// ` ?[^(\s|.,!?…。，、।۔،)]+`
pub fn bloom_word(t: &Text<'_>, pos: usize) -> usize {
    let is_stop = |c: Ch| char::from_u32(c.cp).is_some_and(|c| "(|.,!?…。，、।۔،)".contains(c));
    lead_and_run(t, pos, is_space_char, |c| c.is_not(SPACE) && !is_stop(c))
}

// ---- white space

/// `[\r\n]`
pub fn newline(t: &Text<'_>, pos: usize) -> usize {
    pos + usize::from(t.at(pos).is_newline())
}

/// `\s*[\r\n]+`, and `\s*[\r\n]` too: both end after the last newline of a run of white space.
pub fn newlines(t: &Text<'_>, pos: usize) -> usize {
    if pos < t.no_newline_before.get() {
        return pos;
    }
    let run_end = t.run(pos, |c| c.is(SPACE));
    let end = (pos..run_end).rev().find(|i| t.at(*i).is_newline()).map_or(pos, |i| i + 1);
    t.no_newline_before.set(run_end);
    // The newlines that this match takes are behind every later position, so what is noted stays true.
    end
}

/// `\s+(?!\S)`: all white space but the one that belongs to the next word.
pub fn spaces_before_word(t: &Text<'_>, pos: usize) -> usize {
    let end = spaces(t, pos);
    if t.is_end(end) || end == pos { end } else { end - 1 }
}

/// `\s+`
pub fn spaces(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| c.is(SPACE))
}

/// `\S+`
pub fn not_spaces(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| c.is_not(SPACE))
}

/// `\s{512}(?!\S)|\s{256}(?!\S)| .. |\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`
pub fn spaces_by_powers(t: &Text<'_>, pos: usize) -> usize {
    let n = (pos..pos + 513).take_while(|i| t.at(*i).is(SPACE)).count();
    let free = if t.is_end(pos + n) || n == 513 { n } else { n.saturating_sub(1) };
    let taken = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1].into_iter().find(|size| *size <= free);
    pos + taken.unwrap_or(n.min(1))
}

/// `[^\n]+|[\n]+`
pub fn lines(t: &Text<'_>, pos: usize) -> usize {
    let newline = t.at(pos).cp == 0x0A;
    t.run(pos, |c| c.class != 0 && (c.cp == 0x0A) == newline)
}

// ---- scripts

/// `[一-龥぀-ゟ゠-ヿ]+`
pub fn chinese_kana(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| in_ranges(c, &[(0x3040, 0x309F), (0x30A0, 0x30FF), (0x4E00, 0x9FA5)]))
}

/// `[一-龥ࠀ-一가-퟿]+`
pub fn deepseek_script(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| in_ranges(c, &[(0x800, 0x9FA5), (0xAC00, 0xD7FF)]))
}

/// `[가-힣ㄱ-ㆎ]+`
pub fn youtu_hangul(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| in_ranges(c, &[(0x3131, 0x318E), (0xAC00, 0xD7A3)]))
}

/// `[！…“”‘’—：；，、-〿︰-﹏]+`
pub fn youtu_punct(t: &Text<'_>, pos: usize) -> usize {
    const PUNCT: &[(u32, u32)] = &[
        (0x2014, 0x2014),
        (0x2018, 0x2019),
        (0x201C, 0x201D),
        (0x2026, 0x2026),
        (0x3001, 0x303F),
        (0xFE30, 0xFE4F),
        (0xFF01, 0xFF01),
        (0xFF0C, 0xFF0C),
        (0xFF1A, 0xFF1B),
    ];
    t.run(pos, |c| in_ranges(c, PUNCT))
}

/// `[ㄅ-ㄯ]+`
pub fn youtu_bopomofo(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| in_ranges(c, &[(0x3105, 0x312F)]))
}

/// Scripts that are written without spaces: Chinese, kana, Thai, Lao, Khmer, Myanmar, Hangul.
pub fn afmoe_scripts(t: &Text<'_>, pos: usize) -> usize {
    t.run(pos, |c| in_ranges(c, AFMOE))
}

/// `\s?[!-/:-~！-／：-～‘-‟　-。]+`
pub fn deepseek_punct(t: &Text<'_>, pos: usize) -> usize {
    const PUNCT: &[(u32, u32)] = &[(0x21, 0x2F), (0x3A, 0x7E), (0x2018, 0x201F), (0x3000, 0x3002), (0xFF01, 0xFF0F), (0xFF1A, 0xFF5E)];
    lead_and_run(t, pos, |c| c.is(SPACE), |c| in_ranges(c, PUNCT))
}

/// `\s?[..]+` with the cased letters of Unicode, as DeepSeek-LLM lists them.
pub fn deepseek_letters(t: &Text<'_>, pos: usize) -> usize {
    lead_and_run(t, pos, |c| c.is(SPACE), |c| in_ranges(c, DEEPSEEK_LETTERS))
}

// ---- literals

fn literal(t: &Text<'_>, pos: usize, text: &str) -> usize {
    let all = text.chars().enumerate().all(|(i, c)| t.at(pos + i).cp == u32::from(c));
    if all { pos + text.len() } else { pos }
}

/// `<sentinel:[0-9]+>`
pub fn sentinel(t: &Text<'_>, pos: usize) -> usize {
    let open = literal(t, pos, "<sentinel:");
    let digits = t.run(open, |c| c.is_ascii(u8::is_ascii_digit));
    if open > pos && digits > open && t.at(digits).cp == u32::from(b'>') { digits + 1 } else { pos }
}

/// `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`
pub fn image(t: &Text<'_>, pos: usize) -> usize {
    let open = literal(t, pos, "IMGIMG");
    let letters = (open..open + 4).find(|i| !t.at(*i).is_ascii(|b| (b'A'..=b'I').contains(b))).unwrap_or(open + 4);
    if open > pos && letters > open && t.at(letters).cp == u32::from(b'Z') { letters + 1 } else { pos }
}

/// `[\t\n]|    |  `
pub fn indent(t: &Text<'_>, pos: usize) -> usize {
    if matches!(t.at(pos).cp, 0x09 | 0x0A) {
        return pos + 1;
    }
    [literal(t, pos, "    "), literal(t, pos, "  ")].into_iter().find(|end| *end > pos).unwrap_or(pos)
}

// rustfmt would give each range a line of its own.
#[rustfmt::skip]
/// Cased letters: Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee and the rest, by code point.
const DEEPSEEK_LETTERS: &[(u32, u32)] = &[
    (0x41, 0x5A), (0x61, 0x7A), (0xB5, 0xB5), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x1BA), (0x1BC, 0x1BF), (0x1C4, 0x293), (0x295, 0x2AF),
    (0x370, 0x373), (0x376, 0x377), (0x37B, 0x37D), (0x37F, 0x37F), (0x386, 0x386), (0x388, 0x38A), (0x38C, 0x38C), (0x38E, 0x3A1),
    (0x3A3, 0x3F5), (0x3F7, 0x481), (0x48A, 0x52F), (0x531, 0x556), (0x10A0, 0x10C5), (0x13A0, 0x13F5), (0x13F8, 0x13FD),
    (0x1C90, 0x1CBA), (0x1CBD, 0x1CBF), (0x1D00, 0x1D2B), (0x1D6B, 0x1D77), (0x1D79, 0x1D9A), (0x1E00, 0x1F15), (0x1F18, 0x1F1D),
    (0x1F20, 0x1F45), (0x1F48, 0x1F4D), (0x1F50, 0x1F57), (0x1F59, 0x1F59), (0x1F5B, 0x1F5B), (0x1F5D, 0x1F5D), (0x1F5F, 0x1F7D),
    (0x1F80, 0x1FB4), (0x1FB6, 0x1FBC), (0x1FBE, 0x1FBE), (0x1FC2, 0x1FC4), (0x1FC6, 0x1FCC), (0x1FD0, 0x1FD3), (0x1FD6, 0x1FDB),
    (0x1FE0, 0x1FEC), (0x1FF2, 0x1FF4), (0x1FF6, 0x1FFC), (0x2102, 0x2102), (0x2107, 0x2107), (0x210A, 0x2113), (0x2115, 0x2115),
    (0x2119, 0x211D), (0x2124, 0x2124), (0x2126, 0x2126), (0x2128, 0x2128), (0x212A, 0x212D), (0x212F, 0x2134), (0x2139, 0x2139),
    (0x213C, 0x213F), (0x2145, 0x2149), (0x214E, 0x214E), (0x2183, 0x2184), (0x2C00, 0x2C7B), (0x2C7E, 0x2CE4), (0x2CEB, 0x2CEE),
    (0x2CF2, 0x2CF3), (0xA640, 0xA66D), (0xA680, 0xA69B), (0xA722, 0xA76F), (0xA771, 0xA787), (0xA78B, 0xA78E), (0xAB70, 0xABBF),
    (0xFB00, 0xFB06), (0xFB13, 0xFB17), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A), (0x10400, 0x1044F), (0x104B0, 0x104D3), (0x104D8, 0x104FB),
    (0x10C80, 0x10CB2), (0x10CC0, 0x10CF2), (0x118A0, 0x118DF), (0x1E900, 0x1E943),
];

#[rustfmt::skip]
/// See `afmoe_scripts`.
const AFMOE: &[(u32, u32)] = &[
    (0xE40, 0xEFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x2F00, 0x2FDF), (0x3040, 0x30FF), (0x3400, 0x4DBF),
    (0x4E00, 0xFAFF), (0xFF65, 0xFF9F),
];
