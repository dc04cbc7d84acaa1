//! Words without case and accents: how people search, and how they name the columns of a file.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// `LÓPEZ` and `lopez` are one word; `ñ` is an n.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn case_and_accents_do_not_matter() {
        assert_eq!(fold("Ana LÓPEZ Nuñez"), "ana lopez nunez");
        assert_eq!(fold("Teléfono"), fold("TELEFONO"));
        assert_eq!(fold("日本 Ω"), "日本 ω");
    }
}
