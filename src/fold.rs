//! Words without case and accents: how people search, and how they name the columns of a file.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// `LÓPEZ` and `lopez` are one word; `ñ` is an n.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            folded.push(c.to_ascii_lowercase());
        } else {
            // Marks go, so their order, which only the whole text could tell, does not matter.
            let letters = std::iter::once(c).nfd().filter(|c| !is_combining_mark(*c));
            folded.extend(letters.flat_map(char::to_lowercase));
        }
    }
    folded
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
