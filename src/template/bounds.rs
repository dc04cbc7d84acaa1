//! Reads a template's text before the parser does, which goes down one call for each block within a block and takes
//! time by the square of the length. Anything that the two of them could read differently is refused, so that what is
//! counted here is what the parser will find.

use super::needs::Flaw;

/// Bytes of one part.
pub const LONGEST: usize = 64 * 1024;
/// Blocks within blocks, links of an `else if` chain, brackets within brackets.
pub(super) const DEEPEST: usize = 16;

/// Bytes that may be read in all: for the place of each tag, the parser reads the text from its beginning. As much is a
/// tenth of a second, and hundreds of tags in tens of kilobytes.
pub(super) const READING: usize = 16 * 1024 * 1024;

/// What was seen on the way.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// It includes partials.
    pub includes: bool,
    /// Bytes that the parser will read, see [`READING`].
    pub reading: usize,
}

/// The same of a text that was made ready, and is no longer its author's.
pub(super) fn reading(ready: &str) -> usize {
    ready.match_indices("{{").map(|(at, _)| at).sum()
}

/// Refuses what is too long or nested too deep, and tags that do not end.
pub(super) fn check(source: &str) -> Result<Seen, Flaw> {
    let mut reader = Reader { source, at: 0, open: Vec::new(), seen: Seen::default() };
    if source.len() > LONGEST {
        return Err(reader.flaw("too_long", format!("longer than {LONGEST} bytes"), 0));
    }
    while let Some(found) = source[reader.at..].find("{{") {
        let begin = reader.at + found;
        reader.seen.reading += begin;
        if reader.seen.reading > READING {
            return Err(reader.flaw(
                "too_long",
                "has too many tags for its length: shorten it, or loop with #each",
                begin,
            ));
        }
        reader.tag(begin)?;
    }
    match reader.open.first() {
        None => Ok(reader.seen),
        Some(block) => Err(reader.flaw("syntax", format!("{{{{#{}}}}} is never closed", block.name), block.at)),
    }
}

struct Block<'a> {
    name: &'a str,
    at: usize,
    /// Itself, and what `else if` added.
    links: usize,
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    open: Vec<Block<'a>>,
    seen: Seen,
}

impl<'a> Reader<'a> {
    fn flaw(&self, code: &'static str, detail: impl Into<String>, at: usize) -> Flaw {
        let before = &self.source[..at];
        let line = 1 + before.matches('\n').count();
        let column = 1 + before[before.rfind('\n').map_or(0, |n| n + 1)..].chars().count();
        Flaw { code, detail: detail.into(), line, column }
    }

    fn tag(&mut self, begin: usize) -> Result<(), Flaw> {
        let source = self.source;
        let rest = &source[begin..];
        if source[..begin].ends_with('\\') {
            return Err(self.flaw("syntax", "a backslash before {{ is not supported", begin));
        }
        if rest.starts_with("{{{{") {
            return Err(self.flaw("syntax", "raw blocks ({{{{ }}}}) are not supported", begin));
        }
        if let Some(comment) = rest.strip_prefix("{{!") {
            // The parser's own order: the long form where it ends, else the short one.
            let long = comment.strip_prefix("--").and_then(|inner| inner.find("--}}")).map(|n| n + "{{!----}}".len());
            let length = long.or_else(|| comment.find("}}").map(|n| n + "{{!}}".len()));
            self.at = begin + length.ok_or_else(|| self.flaw("syntax", "this comment does not end", begin))?;
            return Ok(());
        }
        let inside = self.inside(begin)?;
        let inside = inside.trim_start_matches(['~', ' ', '\t', '\r', '\n']);
        let word = |text: &'a str| {
            let text = text.trim_start_matches(['>', '*', ' ', '\t', '\r', '\n']);
            text.split([' ', '\t', '\r', '\n', '~', '(']).next().unwrap_or_default()
        };
        let is_else = |text: &str| text.is_empty() || text.starts_with([' ', '\t', '\r', '\n', '~']);
        let chained = |text: &str| !text.trim_matches(['~', ' ', '\t', '\r', '\n']).is_empty();
        if let Some(name) = inside.strip_prefix('#') {
            self.seen.includes |= name.trim_start().starts_with('>');
            if name.trim_start().starts_with('>') && word(name).is_empty() {
                let detail = "a partial's name must stand there as it is, not be computed";
                return Err(self.flaw("unknown_partial", detail, begin));
            }
            self.open.push(Block { name: word(name), at: begin, links: 1 });
        } else if let Some(name) = inside.strip_prefix('/') {
            let closes = word(name);
            match self.open.pop() {
                None => return Err(self.flaw("syntax", format!("{{{{/{closes}}}}} closes nothing"), begin)),
                Some(block) if block.name != closes => {
                    let detail = format!("{{{{/{closes}}}}} stands where {{{{#{}}}}} should be closed", block.name);
                    return Err(self.flaw("syntax", detail, begin));
                }
                Some(_) => {}
            }
        } else if let Some(after) = inside.strip_prefix("else").filter(|a| is_else(a)).or(inside.strip_prefix('^')) {
            let Some(block) = self.open.last_mut() else {
                return Err(self.flaw("syntax", "an else outside of any block", begin));
            };
            block.links += usize::from(chained(after));
        } else if inside.starts_with('>') {
            self.seen.includes = true;
        }
        if self.open.iter().map(|block| block.links).sum::<usize>() > DEEPEST {
            return Err(self.flaw("too_deep", format!("nested deeper than {DEEPEST} blocks"), begin));
        }
        Ok(())
    }

    /// What stands between a tag's braces; moves behind its end.
    fn inside(&mut self, begin: usize) -> Result<&'a str, Flaw> {
        let source = self.source;
        let triple = source[begin..].starts_with("{{{") || source[begin..].starts_with("{{~{");
        let start = begin + if source[begin..].starts_with("{{~{") { 4 } else { 2 + usize::from(triple) };
        let (mut quote, mut round, mut square) = (None, 0_usize, false);
        let mut chars = source[start..].char_indices().map(|(n, c)| (start + n, c)).peekable();
        while let Some((at, c)) = chars.next() {
            let pair = chars.peek().is_some_and(|(_, next)| *next == c);
            match (quote, c) {
                (Some(_), '{' | '}') if pair => {
                    return Err(self.flaw("syntax", "a text in quotes must not hold {{ or }}", at));
                }
                (Some(_), '\\') => match chars.next() {
                    Some((_, '"' | 'n' | 'r' | 't' | 'u' | '/' | 'b' | 'f')) => {}
                    _ => return Err(self.flaw("syntax", "only \\n, \\t, \\\" and the like are supported here", at)),
                },
                (Some(open), c) if c == open => quote = None,
                (None, ']') if square => square = false,
                (None, '"' | '\'' | '[' | '{' | '\\') if square => {
                    return Err(self.flaw("syntax", format!("{c} is not supported between [ and ]"), at));
                }
                (None, '[') => square = true,
                (None, '"' | '\'') => quote = Some(c),
                (None, '(') => {
                    round += 1;
                    if round > DEEPEST {
                        return Err(self.flaw("too_deep", format!("nested deeper than {DEEPEST} expressions"), at));
                    }
                }
                (None, ')') => round = round.saturating_sub(1),
                (None, '}') if !square => {
                    let end = &source[at..];
                    let length = match (triple, end) {
                        (false, e) if e.starts_with("}}") => Some(2),
                        (true, e) if e.starts_with("}}}") => Some(3),
                        (true, e) if e.starts_with("}~}}") => Some(4),
                        _ => None,
                    };
                    let length =
                        length.ok_or_else(|| self.flaw("syntax", "the braces of this tag do not match", at))?;
                    self.at = at + length;
                    return Ok(&source[start..at]);
                }
                (None, '{' | '}' | '\\') => {
                    return Err(self.flaw("syntax", format!("{c} is not supported within a tag"), at));
                }
                // Whatever else a text in quotes or a tag may hold.
                _ => {}
            }
        }
        Err(self.flaw("syntax", "this tag does not end", begin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> (&'static str, usize, usize) {
        let flaw = check(source).expect_err(source);
        (flaw.code, flaw.line, flaw.column)
    }

    #[test]
    fn what_is_usual_passes() {
        for source in [
            "Hola",
            "Hola {{name}}{{#if a}} x {{else if b}} y {{else}} z {{/if}}",
            "{{!-- {{#if}} is not open --}}{{! nor is this }}",
            "{{~{x}~}}{{{x}}}{{&x}}{{~#if a~}}b{{~/if~}}",
            "{{join items \"\\n\"}} {{default name 'señor \"x\"'}} {{items.[0].name}}",
            "{{date at \"d 'de' MMMM\"}}",
            "{{#each items as |item|}}{{item}}{{^}}nada{{/each}}",
            "{ solo } }} sueltas",
        ] {
            assert!(check(source).is_ok(), "{source}");
        }
        assert!(check("{{> pie}}").is_ok_and(|seen| seen.includes));
        assert!(check("{{~#> layout a=1}}x{{/layout}}").is_ok_and(|seen| seen.includes));
        assert!(check("{{a}} > b").is_ok_and(|seen| !seen.includes));
    }

    #[test]
    fn what_does_not_end_is_named_with_its_place() {
        assert_eq!(refused("a\n  {{#if a}}"), ("syntax", 2, 3));
        assert_eq!(refused("{{foo bar"), ("syntax", 1, 1));
        assert_eq!(refused("áé {{/if}}"), ("syntax", 1, 4));
        assert_eq!(refused("{{!-- x"), ("syntax", 1, 1));
        assert_eq!(refused("{{a \"}}\"}}"), ("syntax", 1, 6));
        assert_eq!(refused("{{#each a}}{{#if b}}x{{/each}}{{/if}}"), ("syntax", 1, 22));
        assert_eq!(refused("{{#> (lookup a b)}}x{{/x}}"), ("unknown_partial", 1, 1));
    }

    #[test]
    fn many_tags_are_for_short_texts() {
        assert!(check(&"{{a}}".repeat(2_500)).is_ok_and(|seen| seen.reading > 10_000_000));
        assert_eq!(refused(&"{{a}}".repeat(4_000)).0, "too_long");
        let late = |tags: usize| " ".repeat(60_000) + &"{{a}}".repeat(tags);
        assert!(check(&late(250)).is_ok());
        assert_eq!(refused(&late(300)).0, "too_long");
    }

    #[test]
    fn depth_is_counted_before_the_parser_goes_down() {
        let nested = |n: usize| "{{#if a}}".repeat(n) + &"{{/if}}".repeat(n);
        assert!(check(&nested(16)).is_ok());
        assert_eq!(refused(&nested(17)).0, "too_deep");
        assert_eq!(refused(&"{{#if a}}".repeat(2000)).0, "too_deep");
        assert_eq!(refused(&format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if b}}".repeat(2000))).0, "too_deep");
        assert_eq!(refused(&format!("{{{{a {}}}}}", "(".repeat(17))).0, "too_deep");
        assert_eq!(refused(&"x".repeat(LONGEST + 1)).0, "too_long");
    }

    #[test]
    fn nothing_hides_blocks_from_the_count() {
        let many = "{{#if a}}".repeat(2000);
        for opening in ["{{!-- }}", "{{[ }} ", "{{a \" }}", "{{a '\\\\' }}", "\\{{/if}}", "{{{{x}}}}", "{{a [\"]\"] }}"]
        {
            let flaw = check(&format!("{opening}{many}"));
            assert!(flaw.is_err(), "{opening}");
        }
        // Closed within comments, but not for the parser.
        assert_eq!(refused(&"{{#if a}}{{!-- {{/if}} --}}".repeat(20)).0, "too_deep");
    }
}
