//! The text of an e-mail whose template has only HTML.

use super::scan::is_shallow;

/// Columns, as is usual in plain mail.
const WIDTH: usize = 76;

/// Headings, lists and paragraphs as text; links as numbers, with their addresses at the end. `None` for HTML that is
/// nested so deep that no mailbox would show it either.
pub(super) fn text_of(html: &str) -> Option<String> {
    if !is_shallow(html) {
        return None;
    }
    // Tables in mail are for the looks: their cells are lines, not columns.
    let converter = html2text::config::plain().raw_mode(true).no_table_borders().link_footnotes(true);
    let text = converter.allow_width_overflow().string_from_read(html.as_bytes(), WIDTH).ok()?;
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    Some(lines.join("\n").trim().to_owned())
}
