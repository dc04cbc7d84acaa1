//! How many SMS a text becomes: GSM-7 with its extension table, else UCS-2, and the accent folding that avoids the latter.

use plugin_api::gsm7;
use serde::Serialize;

/// What a text costs as SMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Segments {
    pub encoding: &'static str,
    /// Septets (GSM-7) or 16-bit units (UCS-2).
    pub units: usize,
    pub segments: usize,
}

/// An empty text is one (empty) segment.
pub fn segments(text: &str) -> Segments {
    if let Some(units) = text.chars().map(gsm7::septets).sum() {
        Segments { encoding: "GSM-7", units, segments: pack(text, |c| gsm7::septets(c).unwrap_or(1), 160, 153) }
    } else {
        let units = text.encode_utf16().count();
        Segments { encoding: "UCS-2", units, segments: pack(text, char::len_utf16, 70, 67) }
    }
}

/// Writes what GSM-7 lacks with what it has (á as a, “ as "), so that one accent does not halve the room. What has no
/// plain form (emoji, other scripts) stays.
pub fn fold_accents(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match (gsm7::septets(c), plain(c)) {
            (None, Some(plain)) => folded.push_str(plain),
            _ => folded.push(c),
        }
    }
    folded
}

/// Whether a text costs less without its accents.
pub fn folding_saves(text: &str) -> bool {
    segments(&fold_accents(text)).segments < segments(text).segments
}

/// Segments needed when a character is never split between two (an escape pair, a surrogate pair).
fn pack(text: &str, units: impl Fn(char) -> usize, alone: usize, joined: usize) -> usize {
    if text.chars().map(&units).sum::<usize>() <= alone {
        return 1;
    }
    let (mut segments, mut used) = (1, 0);
    for c in text.chars() {
        let size = units(c);
        if used + size > joined {
            segments += 1;
            used = 0;
        }
        used += size;
    }
    segments
}

fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'á' | 'â' | 'ã' | 'ā' | 'ă' | 'ą' | 'ª' => "a",
        'Á' | 'À' | 'Â' | 'Ã' | 'Ā' | 'Ă' | 'Ą' => "A",
        'ç' | 'ć' | 'č' => "c",
        'Ć' | 'Č' => "C",
        'ê' | 'ë' | 'ē' | 'ě' | 'ę' => "e",
        'È' | 'Ê' | 'Ë' | 'Ē' | 'Ě' | 'Ę' => "E",
        'í' | 'î' | 'ï' | 'ī' => "i",
        'Í' | 'Ì' | 'Î' | 'Ï' | 'Ī' => "I",
        'ń' | 'ň' => "n",
        'Ń' | 'Ň' => "N",
        'ó' | 'ô' | 'õ' | 'ō' | 'ő' | 'º' | '°' => "o",
        'Ó' | 'Ò' | 'Ô' | 'Õ' | 'Ō' | 'Ő' => "O",
        'ś' | 'š' => "s",
        'Ś' | 'Š' => "S",
        'ú' | 'û' | 'ū' | 'ů' | 'ű' => "u",
        'Ú' | 'Ù' | 'Û' | 'Ū' | 'Ů' | 'Ű' => "U",
        'ý' | 'ÿ' => "y",
        'Ý' => "Y",
        'ł' => "l",
        'Ł' => "L",
        'ź' | 'ż' | 'ž' => "z",
        'Ź' | 'Ż' | 'Ž' => "Z",
        '‘' | '’' | '‚' | '´' | '`' => "'",
        '“' | '”' | '„' | '«' | '»' => "\"",
        '–' | '—' | '‐' | '‑' | '−' | '•' | '·' => "-",
        '…' => "...",
        '\u{a0}' | '\u{2009}' | '\u{202f}' | '\t' => " ",
        '×' => "x",
        '\u{301}' | '\u{300}' | '\u{302}' | '\u{303}' | '\u{308}' | '\u{200b}' | '\u{feff}' => "",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (&'static str, usize, usize) {
        let s = segments(text);
        (s.encoding, s.units, s.segments)
    }

    #[test]
    fn a_plain_text_has_160_then_153_characters_a_segment() {
        assert_eq!(of(""), ("GSM-7", 0, 1));
        assert_eq!(of(&"a".repeat(160)), ("GSM-7", 160, 1));
        assert_eq!(of(&"a".repeat(161)), ("GSM-7", 161, 2));
        assert_eq!(of(&"a".repeat(306)), ("GSM-7", 306, 2));
        assert_eq!(of(&"a".repeat(307)), ("GSM-7", 307, 3));
    }

    #[test]
    fn spanish_letters_differ_in_what_they_cost() {
        assert_eq!(of("¿Mañana? ¡Sí es Ñandú é ü!").0, "UCS-2");
        assert_eq!(of("¿Mañana? ¡Es el café de la cigüeña!").0, "GSM-7");
        assert_eq!(of("día").0, "UCS-2");
    }

    #[test]
    fn one_accent_leaves_70_then_67_characters_a_segment() {
        assert_eq!(of(&"á".repeat(70)), ("UCS-2", 70, 1));
        assert_eq!(of(&"á".repeat(71)), ("UCS-2", 71, 2));
        assert_eq!(of(&"á".repeat(134)), ("UCS-2", 134, 2));
        assert_eq!(of(&"á".repeat(135)), ("UCS-2", 135, 3));
    }

    #[test]
    fn extended_characters_take_two_septets_that_stay_together() {
        assert_eq!(of("€[]"), ("GSM-7", 6, 1));
        assert_eq!(of(&"€".repeat(80)), ("GSM-7", 160, 1));
        // 152 + an escape pair does not fit into 153.
        assert_eq!(of(&format!("{}€{}", "a".repeat(152), "b".repeat(152))), ("GSM-7", 306, 3));
        assert_eq!(of(&"a".repeat(306)).2, 2);
    }

    #[test]
    fn a_surrogate_pair_is_not_split() {
        assert_eq!(of(&"😀".repeat(35)), ("UCS-2", 70, 1));
        assert_eq!(of(&"😀".repeat(66)), ("UCS-2", 132, 2));
        assert_eq!(of(&"😀".repeat(67)), ("UCS-2", 134, 3));
    }

    #[test]
    fn folding_leaves_what_gsm7_has_and_replaces_what_it_lacks() {
        assert_eq!(fold_accents("¡Adiós, señor Muñoz! Vía “Río” — 1ª…"), "¡Adios, señor Muñoz! Via \"Rio\" - 1a...");
        assert_eq!(segments(&fold_accents("Tu cita es el día 3 a las 10:00, ¿vendrás?")).encoding, "GSM-7");
        assert_eq!(fold_accents("é à Ç 😀 日"), "é à Ç 😀 日");
    }
}
