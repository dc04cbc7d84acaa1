//! Values in a text that its channel reads as formatted: what stands in them for bold, a list or a link stays a sign.
//!
//! Where a backslash makes a sign plain, it gets one. WhatsApp and Slack know no such thing, and would show the
//! backslash; there a sign gives way to one that looks like it, and what makes a list of a line is kept from its
//! beginning by a character that nobody sees. The addresses of pages stay what they are: in them a sign is written as
//! its code, which means the same. That holds for an address within a value as for a value within an address.

use std::fmt::Write;

use plugin_api::Formatting;

/// Has no width, joins words, and belongs to no formatting.
const JOINER: char = '\u{2060}';

/// What ends an address although nothing parts it from what follows: `[x](https://…)`, `<https://…|x>`.
const AROUND: &str = "<>\"`|)]";

/// Of a longer word only so much is looked at.
const LONGEST_ADDRESS: usize = 4096;

/// What a value is in a text of a channel. `in_address`: it goes on with the address of a page.
pub(super) fn plain(value: &str, formatting: Option<Formatting>, in_address: bool) -> String {
    let formatting = formatting.filter(|_| {
        // Words and numbers are nothing but text.
        value.starts_with(' ') || value.bytes().any(|b| !b.is_ascii_alphanumeric() && b != b' ')
    });
    match formatting {
        Some(formatting) => Writer { out: String::with_capacity(value.len() + 8), formatting }.write(value, in_address),
        None => value.to_owned(),
    }
}

struct Writer {
    out: String,
    formatting: Formatting,
}

impl Writer {
    fn write(mut self, value: &str, in_address: bool) -> String {
        // They would be taken out later, and bring together what they part.
        let value = value.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "");
        let (mut rest, mut before) = (value.as_str(), None);
        if in_address {
            let part = rest.split(char::is_whitespace).next().unwrap_or_default();
            self.url(part);
            (before, rest) = (part.chars().last().or(Some('/')), &rest[part.len()..]);
        }
        while let Some(c) = rest.chars().next() {
            if matches!(before, None | Some('\n'))
                && let Some(length) = marker(rest, self.formatting)
            {
                self.begin_line(&rest[..length]);
                (before, rest) = (rest[..length].chars().last(), &rest[length..]);
                continue;
            }
            let url = url(rest, before);
            if url > 0 {
                self.url(&rest[..url]);
                (before, rest) = (rest[..url].chars().last(), &rest[url..]);
                continue;
            }
            rest = &rest[c.len_utf8()..];
            self.sign(c, before, rest.chars().next());
            before = Some(c);
        }
        self.out
    }

    /// A line's beginning that would make it a heading, a quotation, an item, a rule or code.
    fn begin_line(&mut self, marker: &str) {
        let sign = marker.chars().last().filter(char::is_ascii_punctuation);
        if let (Formatting::Markdown, Some(sign)) = (self.formatting, sign) {
            self.out.push_str(&marker[..marker.len() - 1]);
            self.out.extend(['\\', sign]);
        } else {
            self.out.push(JOINER);
            self.out.push_str(marker);
        }
    }

    fn sign(&mut self, c: char, before: Option<char>, after: Option<char>) {
        let inside = before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric);
        let either = self.formatting == Formatting::Either;
        let alike = match c {
            '*' => '\u{2217}',
            // Between letters it formats nowhere.
            '_' if !inside => '\u{2cd}',
            '~' => '\u{223c}',
            '`' => '\u{2cb}',
            // A link, an element, a reference to a character, a sign made plain.
            ']' if either && matches!(after, None | Some('(' | '[' | ':')) => return self.out.extend([c, JOINER]),
            '<' | '&' if either && after.is_none_or(|a| !a.is_whitespace()) => return self.out.extend([c, JOINER]),
            '\\' if either => return self.out.extend([c, JOINER]),
            // Also the functions of a card: `{{DATE(…)}}`.
            '\\' | '|' | '[' | ']' | '<' | '>' | '&' | '{' => c,
            _ => return self.out.push(c),
        };
        match self.formatting {
            Formatting::Markdown => self.out.extend(['\\', c]),
            Formatting::Signs | Formatting::Either => self.out.push(alike),
        }
    }

    fn url(&mut self, url: &str) {
        let mut before = None;
        for (at, c) in url.char_indices() {
            let after = url[at + c.len_utf8()..].chars().next();
            let inside = before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric);
            if "*~`|[]<>{}()\\\"".contains(c) || (c == '_' && !inside) {
                let _ = write!(self.out, "%{:02X}", u32::from(c));
            } else {
                self.out.push(c);
            }
            before = Some(c);
        }
    }
}

/// How far a line's beginning goes that is more than text, with the sign that makes it so at its end.
fn marker(line: &str, formatting: Formatting) -> Option<usize> {
    let text = line.trim_start_matches([' ', '\t']);
    let indent = line.len() - text.len();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let sign = text[digits..].chars().next();
    let ends = |at: usize| text[at..].chars().next().is_none_or(|c| !c.is_alphanumeric());
    match sign {
        Some('.' | ')') if digits > 0 && ends(digits + 1) => Some(indent + digits + 1),
        Some('-' | '+' | '=' | '#') if digits == 0 && ends(1) => Some(indent + 1),
        Some('>') if digits == 0 => Some(indent + 1),
        Some('[' | '|') if digits == 0 && formatting != Formatting::Signs => Some(indent + 1),
        Some(':') if digits == 0 && text.starts_with(":-") => Some(indent + 1),
        _ if indent >= 4 || line[..indent].contains('\t') => Some(indent),
        _ => None,
    }
}

/// Whether what follows this text belongs to the address of a page.
pub(super) fn ends_in_address(text: &str) -> bool {
    let text = &text[text.ceil_char_boundary(text.len().saturating_sub(LONGEST_ADDRESS))..];
    let word = text.rsplit(|c: char| c.is_whitespace() || AROUND.contains(c)).next().unwrap_or_default();
    word.match_indices("://").any(|(at, _)| {
        let scheme = word[..at].trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
        begins_url(&word[scheme..], word[..scheme].chars().last())
    })
}

fn begins_url(text: &str, before: Option<char>) -> bool {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    !before.is_some_and(char::is_alphanumeric) && (begins("http://") || begins("https://"))
}

/// How long the address of a page is that begins here; 0 where none does.
fn url(text: &str, before: Option<char>) -> usize {
    if !begins_url(text, before) {
        return 0;
    }
    let url = text.split(char::is_whitespace).next().unwrap_or_default();
    // What stands around it is not a part of it.
    url.trim_end_matches(|c| "*_~`|[]<>{}()\\.,:;!?\"'".contains(c)).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_made_plain_as_their_channel_allows() {
        for (value, markdown, signs, either) in [
            ("Ana López", "Ana López", "Ana López", "Ana López"),
            ("*Ana* ~x~ `y`", "\\*Ana\\* \\~x\\~ \\`y\\`", "∗Ana∗ ∼x∼ ˋyˋ", "∗Ana∗ ∼x∼ ˋyˋ"),
            ("ana_lopez _x_", "ana_lopez \\_x\\_", "ana_lopez ˍxˍ", "ana_lopez ˍxˍ"),
            ("a [b](c) <d>", "a \\[b\\](c) \\<d\\>", "a [b](c) <d>", "a [b]\u{2060}(c) <\u{2060}d>"),
            (
                "- a\n1. b\n> c",
                "\\- a\n1\\. b\n\\> c",
                "\u{2060}- a\n\u{2060}1. b\n\u{2060}> c",
                "\u{2060}- a\n\u{2060}1. b\n\u{2060}> c",
            ),
            ("+52 33 1234 5678", "+52 33 1234 5678", "+52 33 1234 5678", "+52 33 1234 5678"),
            ("-5 #7 1.5", "-5 #7 1.5", "-5 #7 1.5", "-5 #7 1.5"),
            ("\0- \u{1}_", "\\- \\_", "\u{2060}- ˍ", "\u{2060}- ˍ"),
            ("    x", "\u{2060}    x", "\u{2060}    x", "\u{2060}    x"),
            ("{{DATE(x)}}", "\\{\\{DATE(x)}}", "{{DATE(x)}}", "{{DATE(x)}}"),
            ("a\\*b", "a\\\\\\*b", "a\\∗b", "a\\\u{2060}∗b"),
        ] {
            assert_eq!(plain(value, Some(Formatting::Markdown), false), markdown);
            assert_eq!(plain(value, Some(Formatting::Signs), false), signs);
            assert_eq!(plain(value, Some(Formatting::Either), false), either);
            assert_eq!(plain(value, None, false), value);
            assert_eq!(plain(value, None, true), value);
        }
    }

    #[test]
    fn the_address_of_a_page_still_leads_there() {
        for formatting in [Formatting::Markdown, Formatting::Signs, Formatting::Either] {
            let plain = |value| plain(value, Some(formatting), false);
            let usual = "https://salon.example/c/a_b-c?x=1&y=%20#z";
            assert_eq!(plain(usual), usual);
            assert_eq!(plain("https://x.example/_a_/~b?q=*(1)z"), "https://x.example/%5Fa%5F/%7Eb?q=%2A%281%29z");
            assert!(plain("*https://x.example/a*").contains("https://x.example/a"));
            assert!(!plain("*https://x.example/a*").contains("%2A"));
        }
    }

    #[test]
    fn a_value_in_an_address_leads_there_too() {
        for formatting in [Formatting::Markdown, Formatting::Signs, Formatting::Either] {
            for (value, part) in [
                ("Zk3_-a", "Zk3%5F-a"),
                ("abc_", "abc%5F"),
                ("_a_b~", "%5Fa_b%7E"),
                ("-a.b/c?d=e&f=%20#g", "-a.b/c?d=e&f=%20#g"),
                ("a*(b)\"", "a%2A%28b%29%22"),
                ("a\u{1}_", "a%5F"),
            ] {
                assert_eq!(plain(value, Some(formatting), true), part);
            }
            // Behind a space it is text again, and behind a line break a line.
            assert_eq!(plain("a_ - b", Some(formatting), true), "a%5F - b");
            assert_ne!(plain("a\n- b", Some(formatting), true), "a\n- b");
        }
    }

    #[test]
    fn an_address_is_unfinished_until_something_parts_it() {
        for text in [
            "https://x.example/c/",
            "Mira: HTTP://x.example?a=b&c=",
            "*https://x.example/",
            "[aquí](https://x.example/",
            "<https://x.example/",
            "¿https://x.example/é_~*,",
            "https://x.example/?to=https%3A//y",
        ] {
            assert!(ends_in_address(text), "{text}");
        }
        for text in [
            "",
            "x.example/",
            "https:/",
            "xhttps://x.example/",
            "ftp://x.example/",
            "https://x.example/ ",
            "https://x.example/\n",
            "[aquí](https://x.example/)",
            "<https://x.example/|",
        ] {
            assert!(!ends_in_address(text), "{text}");
        }
        assert!(!ends_in_address(&"é".repeat(LONGEST_ADDRESS)));
    }
}
