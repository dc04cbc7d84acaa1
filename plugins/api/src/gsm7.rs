//! The alphabet of text messages: what fits into it goes out in septets, anything else doubles the price.

/// The 3GPP TS 23.038 default alphabet, beyond ASCII.
const BASIC: &str = "£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà";
/// Behind the escape character: two septets each.
const EXTENDED: &str = "€\u{c}";

/// How many septets a character takes; `None` if it needs UCS-2.
pub fn septets(c: char) -> Option<usize> {
    match c {
        '^' | '{' | '}' | '\\' | '[' | '~' | ']' | '|' => Some(2),
        '`' => None,
        '\n' | '\r' | ' '..='~' => Some(1),
        c if BASIC.contains(c) => Some(1),
        c if EXTENDED.contains(c) => Some(2),
        _ => None,
    }
}

/// Whether a whole text can go out in septets.
pub fn fits(text: &str) -> bool {
    text.chars().all(|c| septets(c).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_spanish_letters_four_do_not_fit() {
        assert!(fits("¿Mañana? ¡Es el café de la cigüeña! [€]"));
        for letter in ["á", "í", "ó", "ú", "ç", "`", "🙂"] {
            assert!(!fits(letter), "{letter}");
        }
    }
}
