//! HTML parts of e-mail are made ready when a template is loaded, not for each message: MJML becomes HTML, and styles go
//! into the elements they mean, because some mailboxes drop style sheets. The template's own tags cannot be seen by
//! the tools that do it. Each is set aside and a mark left in its place: a comment between elements, where any text
//! would be moved out of a table, and a word where only text may stand.
//!
//! What the tools do in calls within calls, or for every pair of rule and element, is bounded before they begin.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::LazyLock;

use css_inline::{CSSInliner, InlineOptions};
use mrml::prelude::parser::ParserOptions;
use mrml::prelude::render::RenderOptions;

use super::scan::{Place, Scan};

/// Bytes of what comes out: as much as may be sent.
const LONGEST_RESULT: usize = 256 * 1024;

/// What is wrong, and the line where it begins to be.
#[derive(Debug, PartialEq)]
pub(super) struct Flaw {
    pub detail: String,
    pub line: Option<usize>,
}

impl Flaw {
    fn new(detail: impl Into<String>, line: Option<usize>) -> Self {
        Self { detail: detail.into(), line }
    }
}

/// MJML with Handlebars in it to HTML with Handlebars in it.
pub(super) fn from_mjml(source: &str) -> Result<String, Flaw> {
    let marked = Marked::new(source)?;
    let parsed = mrml::parse_with_options(&marked.text, &ParserOptions::default())
        .map_err(|error| Flaw::new(format!("not valid MJML: {error}"), marked.line_of(&error)))?;
    // No fonts from elsewhere: a mail that loads something tells where and when it was read.
    let options = RenderOptions { fonts: std::collections::HashMap::new(), ..RenderOptions::default() };
    let html = parsed.element.render(&options).map_err(|error| Flaw::new(format!("not valid MJML: {error}"), None))?;
    if html.len() > LONGEST_RESULT {
        return Err(too_long());
    }
    let html = if html.contains("<style") { inline(|inliner| inliner.inline(&html))? } else { html };
    marked.restore(&html)
}

fn too_long() -> Flaw {
    Flaw::new(format!("becomes longer than {LONGEST_RESULT} bytes of HTML"), None)
}

/// HTML with its styles in its elements. A page has them in its `<style>`; a piece of a page is given those of the page
/// around it. `None`: there is nothing to do.
pub(super) fn inlined(source: &str, around: Option<&str>) -> Result<Option<String>, Flaw> {
    let lower = source.to_ascii_lowercase();
    let page = lower.contains("<html");
    if page != lower.contains("<style") || (!page && around.is_none()) {
        // A piece with a style sheet of its own keeps it.
        return Ok(None);
    }
    let marked = Marked::new(source)?;
    let html = match around {
        Some(css) if !page => inline(|inliner| inliner.inline_fragment(&marked.text, css))?,
        _ => inline(|inliner| inliner.inline(&marked.text))?,
    };
    marked.restore(&html).map(Some)
}

/// The style sheets of a page.
pub(super) fn styles(page: &str) -> String {
    let pieces = page.split("<style>").skip(1);
    pieces.filter_map(|piece| piece.split("</style>").next()).collect()
}

fn inline(work: impl FnOnce(&CSSInliner<'static>) -> css_inline::Result<String>) -> Result<String, Flaw> {
    // Rules for narrow and dark screens stay in a sheet: they cannot stand in an element.
    static INLINER: LazyLock<CSSInliner<'static>> =
        LazyLock::new(|| InlineOptions::default().keep_at_rules(true).load_remote_stylesheets(false).build());
    work(&INLINER).map_err(|error| Flaw::new(format!("its styles can't be inlined: {error}"), None))
}

/// Unlikely in a text, fit for an attribute, a style, an address.
const MARK: &str = "recado-tag-";

/// A source whose Handlebars tags are set aside.
struct Marked<'a> {
    text: String,
    /// Each with its line.
    tags: Vec<(Cow<'a, str>, usize)>,
}

impl<'a> Marked<'a> {
    fn new(source: &'a str) -> Result<Self, Flaw> {
        if source.contains(MARK) {
            return Err(Flaw::new(format!("must not hold the word {MARK}"), None));
        }
        let (mut text, mut tags, mut scan) = (String::with_capacity(source.len()), Vec::new(), Scan::strict());
        let mut rest = source;
        while let Some(at) = rest.find("{{") {
            let (before, tag) = rest.split_at(at);
            let line_at = |left: usize| 1 + source[..source.len() - left].matches('\n').count();
            let line = line_at(tag.len());
            text.push_str(before);
            scan.read(before).map_err(|(detail, at)| Flaw::new(detail, Some(line_at(rest.len() - at))))?;
            let (tag, after) = tag.split_at(tag_length(tag));
            let (number, mut kept) = (tags.len(), Cow::Borrowed(tag));
            match scan.place() {
                Place::Between => {
                    let _ = write!(text, "<!--{MARK}{number}- -->");
                }
                Place::Word => {
                    let _ = write!(text, "{MARK}{number}-");
                }
                Place::Shared => {
                    kept = Cow::Owned(rooted(tag).ok_or_else(|| {
                        let why = "what stands here is written into many elements, inside of blocks, too";
                        Flaw::new(format!("{tag} must be a plain {{{{name}}}}: {why}"), Some(line))
                    })?);
                    let _ = write!(text, "{MARK}{number}-");
                }
                Place::Attributes => {
                    let cure = "put it into a value, or around the element";
                    let detail = format!("{tag} can't stand among an element's attributes: {cure}");
                    return Err(Flaw::new(detail, Some(line)));
                }
                Place::Table => {
                    let detail =
                        format!("{tag} stands in a table and outside of its rows: put <tbody> around the rows");
                    return Err(Flaw::new(detail, Some(line)));
                }
            }
            // So that lines can still be counted.
            text.extend(tag.matches('\n'));
            tags.push((kept, line));
            rest = after;
        }
        scan.read(rest).map_err(|(detail, at)| {
            Flaw::new(detail, Some(1 + source[..source.len() - rest.len() + at].matches('\n').count()))
        })?;
        text.push_str(rest);
        Ok(Self { text, tags })
    }

    /// Puts the tags back; each must still be there, and blocks still open before they close.
    fn restore(&self, html: &str) -> Result<String, Flaw> {
        let mut out = String::with_capacity(html.len() + self.tags.iter().map(|(tag, _)| tag.len()).sum::<usize>());
        let (mut seen, mut last_block) = (vec![false; self.tags.len()], 0);
        let mut pieces = html.split(MARK);
        out.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = piece.split_at(digits);
            let tag = number.parse::<usize>().ok().and_then(|n| Some((n, self.tags.get(n)?)));
            let (Some((n, (tag, line))), Some(after)) = (tag, after.strip_prefix('-')) else {
                return Err(Flaw::new("a tag was torn apart where it stands", None));
            };
            let after = match (out.strip_suffix("<!--").map(str::len), after.strip_prefix(" -->")) {
                (Some(length), Some(after)) => {
                    out.truncate(length);
                    after
                }
                _ => after,
            };
            if is_block(tag) {
                if n < last_block {
                    return Err(Flaw::new(format!("{tag} stands where MJML or HTML would move it"), Some(*line)));
                }
                last_block = n;
            }
            seen[n] = true;
            out.push_str(tag);
            out.push_str(after);
        }
        if let Some(lost) = seen.iter().position(|seen| !seen) {
            let (tag, line) = &self.tags[lost];
            return Err(Flaw::new(format!("{tag} stands where MJML or HTML would drop it"), Some(*line)));
        }
        if out.len() > LONGEST_RESULT {
            return Err(too_long());
        }
        Ok(out)
    }

    /// The line of a position in a parser's complaint: the first number of `… at position 12..34`.
    fn line_of(&self, error: &mrml::prelude::parser::Error) -> Option<usize> {
        let said = error.to_string();
        let position = said.rsplit_once("position ")?.1;
        let digits: String = position.chars().take_while(char::is_ascii_digit).collect();
        let before = self.text.get(..digits.parse().ok()?)?;
        Some(1 + before.matches('\n').count())
    }
}

/// A plain variable, to be found from anywhere.
fn rooted(tag: &str) -> Option<String> {
    let name = tag.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
    plain.then(|| format!("{{{{@root.{name}}}}}"))
}

/// The length of the Handlebars tag at the beginning of a text.
fn tag_length(text: &str) -> usize {
    let first = |ends: &[&str]| ends.iter().filter_map(|end| text.find(end).map(|at| at + end.len())).min();
    let inner = text.trim_start_matches(['{', '~']);
    let length = if inner.starts_with("!--") {
        first(&["--}}", "--~}}"])
    } else if inner.starts_with('!') {
        first(&["}}"])
    } else {
        tag_end(text, if text.starts_with("{{{") { "}}}" } else { "}}" })
    };
    length.unwrap_or(text.len())
}

/// Behind the first `close` that is not in quotes.
fn tag_end(text: &str, close: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') if text[at..].starts_with(close) => return Some(at + close.len()),
            _ => {}
        }
    }
    None
}

fn is_block(tag: &str) -> bool {
    let inner = tag.trim_start_matches(['{', '~']).trim_start();
    inner.starts_with(['#', '/', '^']) || inner.starts_with("else")
}
