//! Names of the files of a model in parts: `NAME-00002-of-00004.gguf`. Pure functions over bytes (paths need not be UTF-8).

/// The file name of part `no` (from 0) of `count`.
pub fn split_path(prefix: &[u8], no: i32, count: i32) -> Vec<u8> {
    [prefix, postfix(no, count).as_bytes()].concat()
}

/// What `split_path` was made from; `None` if `path` is not the name of part `no` of `count`, or nothing is left of it.
pub fn split_prefix(path: &[u8], no: i32, count: i32) -> Option<&[u8]> {
    path.strip_suffix(postfix(no, count).as_bytes()).filter(|p| !p.is_empty())
}

/// C's `%05d` counts the minus sign, as Rust's `{:05}` does; `no + 1` wraps instead of overflowing.
fn postfix(no: i32, count: i32) -> String {
    format!("-{:05}-of-{count:05}.gguf", no.wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_the_original_prints_them() {
        assert_eq!(split_path(b"/models/ggml-model-q4_0", 2, 4), b"/models/ggml-model-q4_0-00003-of-00004.gguf");
        assert_eq!(split_path(b"a", -9, 123456), b"a--0008-of-123456.gguf");
        assert_eq!(split_prefix(b"/models/m-00003-of-00004.gguf", 2, 4), Some(&b"/models/m"[..]));
        assert_eq!(split_prefix(b"/models/m-00003-of-00004.gguf", 1, 4), None);
        assert_eq!(split_prefix(b"-00003-of-00004.gguf", 2, 4), None);
        assert_eq!(split_prefix(b"x", i32::MAX, i32::MIN), None);
    }
}
