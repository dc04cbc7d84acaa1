//! Reads HTML or MJML just far enough to say where one is in it and how deep. Parsers go down one call for each element
//! within an element, so this has to see at least as many as they do: what it is not sure of counts as open.

/// Elements within elements, in a source.
const DEEPEST: usize = 64;
/// The same in what was made of it: MJML wraps each of its elements in several.
const DEEPEST_RESULT: usize = 250;
/// Elements in all.
const MOST_ELEMENTS: usize = 2000;
/// Bytes of style sheets, and of what a MJML head sets for many elements.
const LONGEST_STYLE: usize = 16 * 1024;
/// Bytes of an attribute's value.
const LONGEST_VALUE: usize = 4 * 1024;
/// Brackets within brackets in a style sheet.
const DEEPEST_STYLE: usize = 16;

/// Where a piece of text stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Between elements.
    Between,
    /// Where only text may stand: in an attribute's value, a comment, a style sheet, a button.
    Word,
    /// In an element's tag, outside of any value.
    Attributes,
    /// In a style sheet or among MJML's attributes for many elements: it will stand in each of them, whatever block they
    /// are in.
    Shared,
    /// Directly in a table, where HTML makes a `tbody` of its own somewhere between a block's beginning and its end.
    Table,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Text,
    /// In a tag, before or after an attribute.
    Tag,
    /// Behind the equals sign.
    Value,
    Quoted(u8),
    Unquoted,
    Comment,
    /// A declaration or the like: ends with the next `>`, whatever is quoted.
    Bogus,
    /// What this element holds is text, not markup.
    Raw,
}

pub(super) struct Scan {
    strict: bool,
    state: State,
    open: Vec<String>,
    /// The tag being read, and whether it closes.
    name: String,
    closing: bool,
    elements: usize,
    style: usize,
    brackets: usize,
}

/// Has no content in HTML.
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// May be left open in HTML.
const OPTIONAL: [&str; 12] = ["p", "li", "td", "th", "tr", "tbody", "thead", "tfoot", "dt", "dd", "option", "colgroup"];
const RAW: [&str; 7] = ["style", "script", "title", "textarea", "mj-style", "mj-title", "mj-preview"];
/// MJML's elements, `mj-` left out. `mj-include` is none here: there is nothing to include.
const MJML: [&str; 32] = [
    "accordion",
    "accordion-element",
    "accordion-text",
    "accordion-title",
    "all",
    "attributes",
    "body",
    "breakpoint",
    "button",
    "carousel",
    "carousel-image",
    "class",
    "column",
    "divider",
    "font",
    "group",
    "head",
    "hero",
    "image",
    "navbar",
    "navbar-link",
    "preview",
    "raw",
    "section",
    "social",
    "social-element",
    "spacer",
    "style",
    "table",
    "text",
    "title",
    "wrapper",
];
/// Elements of MJML that hold text.
const LEAVES: [&str; 6] =
    ["mj-text", "mj-button", "mj-navbar-link", "mj-accordion-title", "mj-accordion-text", "mj-social-element"];

/// Is HTML shallow enough for what walks it by calling itself?
pub(super) fn is_shallow(html: &str) -> bool {
    let mut scan = Scan { strict: false, ..Scan::strict() };
    scan.read(html).is_ok()
}

impl Scan {
    /// For sources: every element is closed where it was opened.
    pub(super) fn strict() -> Self {
        Self {
            strict: true,
            state: State::Text,
            open: Vec::new(),
            name: String::new(),
            closing: false,
            elements: 0,
            style: 0,
            brackets: 0,
        }
    }

    pub(super) fn place(&mut self) -> Place {
        match self.state {
            State::Value | State::Quoted(_) | State::Unquoted | State::Raw if self.is_shared() => Place::Shared,
            State::Text => match self.open.last().map(String::as_str) {
                Some(name) if LEAVES.contains(&name) => Place::Word,
                Some("table" | "mj-table") => Place::Table,
                _ => Place::Between,
            },
            State::Tag => Place::Attributes,
            State::Value => {
                self.state = State::Unquoted;
                Place::Word
            }
            _ => Place::Word,
        }
    }

    /// Does what stands here go to other places as well?
    fn is_shared(&self) -> bool {
        let sheet = self.state == State::Raw && self.open.last().is_some_and(|name| name.ends_with("style"));
        sheet || self.open.iter().any(|name| name == "mj-attributes")
    }

    /// Goes on where the last text ended. A complaint comes with its place in the text.
    pub(super) fn read(&mut self, text: &str) -> Result<(), (String, usize)> {
        let mut rest = text;
        self.go_through(&mut rest).map_err(|detail| (detail, text.len() - rest.len()))
    }

    fn go_through(&mut self, rest: &mut &str) -> Result<(), String> {
        while let Some(c) = rest.chars().next() {
            let width = c.len_utf8();
            let used = match self.state {
                State::Text => self.text(rest)?,
                State::Tag | State::Value | State::Unquoted if c == '>' => self.end_tag(false)?,
                State::Tag if rest.starts_with("/>") => self.end_tag(true)? + 1,
                State::Tag => self.step(width, (c == '=').then_some(State::Value)),
                State::Value if c.is_ascii_whitespace() => width,
                State::Value => self
                    .step(width, Some(if matches!(c, '"' | '\'') { State::Quoted(c as u8) } else { State::Unquoted })),
                State::Quoted(quote) => {
                    let end = rest.find(quote as char);
                    self.value(end.unwrap_or(rest.len()))?;
                    self.step(end.map_or(rest.len(), |end| end + 1), end.map(|_| State::Tag))
                }
                State::Unquoted => self.step(width, c.is_ascii_whitespace().then_some(State::Tag)),
                State::Comment => {
                    let ends = ["-->", "--!>"].iter().filter_map(|e| rest.find(e).map(|at| at + e.len()));
                    let end = ends.min();
                    self.step(end.unwrap_or(rest.len()), end.map(|_| State::Text))
                }
                State::Bogus => {
                    let end = rest.find('>');
                    self.step(end.map_or(rest.len(), |end| end + 1), end.map(|_| State::Text))
                }
                State::Raw => self.raw(rest)?,
            };
            *rest = &rest[used..];
        }
        Ok(())
    }

    fn step(&mut self, used: usize, next: Option<State>) -> usize {
        self.state = next.unwrap_or(self.state);
        used
    }

    /// MJML may write one value into every element.
    fn value(&self, length: usize) -> Result<(), String> {
        if self.strict && length > LONGEST_VALUE {
            return Err(format!("has an attribute of more than {LONGEST_VALUE} bytes"));
        }
        Ok(())
    }

    fn text(&mut self, rest: &str) -> Result<usize, String> {
        let Some(at) = rest.find('<') else { return Ok(rest.len()) };
        let markup = &rest[at + 1..];
        if let Some(comment) = markup.strip_prefix("!--") {
            // `<!-->` is a whole comment in HTML.
            let empty = if comment.starts_with('>') { 1 } else { 2 * usize::from(comment.starts_with("->")) };
            return Ok(self.step(at + 4 + empty, (empty == 0).then_some(State::Comment)));
        }
        let (closing, tag) = markup.strip_prefix('/').map_or((false, markup), |tag| (true, tag));
        if !tag.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let bogus = closing || tag.starts_with(['!', '?']);
            return Ok(self.step(at + 1, bogus.then_some(State::Bogus)));
        }
        let name: &str =
            tag.split(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/').next().unwrap_or_default();
        self.name = name.to_ascii_lowercase();
        self.closing = closing;
        if matches!(self.name.as_str(), "svg" | "math") {
            return Err(format!("<{}> has no place in an e-mail", self.name));
        }
        self.state = State::Tag;
        Ok(at + 1 + usize::from(closing) + name.len())
    }

    /// At the `>` of a tag; always one byte.
    fn end_tag(&mut self, empty: bool) -> Result<usize, String> {
        self.state = State::Text;
        let name = std::mem::take(&mut self.name);
        if self.closing {
            self.close(&name)?;
            return Ok(1);
        }
        if self.strict && name.strip_prefix("mj-").is_some_and(|name| !MJML.contains(&name)) {
            return Err(format!("there is no <{name}>"));
        }
        self.elements += 1;
        if self.strict && self.elements > MOST_ELEMENTS {
            return Err(format!("has more than {MOST_ELEMENTS} elements"));
        }
        // HTML knows no empty elements but its own: `<div/>` is open.
        if VOID.contains(&name.as_str()) || (empty && name.starts_with("mj")) {
            return Ok(1);
        }
        if RAW.contains(&name.as_str()) {
            self.state = State::Raw;
        }
        self.open.push(name);
        let deepest = if self.strict { DEEPEST } else { DEEPEST_RESULT };
        if self.open.len() > deepest {
            return Err(format!("has elements nested deeper than {deepest}, or not closed"));
        }
        Ok(1)
    }

    fn close(&mut self, name: &str) -> Result<(), String> {
        let optional = |open: &String| OPTIONAL.contains(&open.as_str()) && open != name;
        let left_open = self.open.iter().rev().take_while(|open| optional(open)).count();
        let at = self.open.len().checked_sub(left_open + 1);
        match at {
            Some(at) if self.open[at] == name => self.open.truncate(at),
            _ if !self.strict || VOID.contains(&name) => {}
            _ => return Err(format!("</{name}> closes what is not open, or not in the same branch")),
        }
        Ok(())
    }

    fn raw(&mut self, rest: &str) -> Result<usize, String> {
        let name = self.open.last().cloned().unwrap_or_default();
        let end = rest.match_indices('<').map(|(at, _)| at).find(|at| {
            let closes = rest[at + 1..].strip_prefix('/').and_then(|tag| tag.get(..name.len()));
            closes.is_some_and(|tag| tag.eq_ignore_ascii_case(&name))
        });
        let held = &rest[..end.unwrap_or(rest.len())];
        if name.ends_with("style") {
            self.style_sheet(held)?;
        }
        // To MJML's reader it would be an element.
        if self.strict && held.contains('<') {
            return Err(format!("<{name}> must hold text only"));
        }
        if end.is_some() {
            self.state = State::Text;
        }
        Ok(held.len())
    }

    fn style_sheet(&mut self, css: &str) -> Result<(), String> {
        self.style += css.len();
        if self.style > LONGEST_STYLE {
            return Err(format!("has more than {LONGEST_STYLE} bytes of style sheets"));
        }
        for c in css.chars() {
            match c {
                '(' | '[' | '{' => self.brackets += 1,
                ')' | ']' | '}' => self.brackets = self.brackets.saturating_sub(1),
                _ => {}
            }
            if self.brackets > DEEPEST_STYLE {
                return Err(format!("has a style sheet with brackets nested deeper than {DEEPEST_STYLE}"));
            }
        }
        Ok(())
    }
}
