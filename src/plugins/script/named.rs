//! Which fields of what it is given a function names: the others need not be made for it.

use crate::script::Script;

/// `None`: any might be read.
pub(super) struct Named(Option<Vec<String>>);

impl Named {
    /// As far as the text tells: wherever the parameter stands without a field behind it, all of it is meant. What stands
    /// before the function's head can't read its parameter.
    pub(super) fn by(script: &Script, source: &str, function: &str, parameter: usize) -> Self {
        let parameter = script.parameters(function).and_then(|all| all.get(parameter));
        let head = source.split_once(&format!("fn {function}(")).and_then(|(_, rest)| rest.split_once(')'));
        Self(parameter.zip(head).and_then(|(parameter, (_, body))| fields(body, parameter)))
    }

    pub(super) fn all() -> Self {
        Self(None)
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.0.as_ref().is_none_or(|named| named.iter().any(|n| n == field))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_some_and(Vec::is_empty)
    }
}

fn fields(body: &str, parameter: &str) -> Option<Vec<String>> {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut named = Vec::new();
    for (at, _) in body.match_indices(parameter) {
        let (before, behind) = (&body[..at], &body[at + parameter.len()..]);
        if before.ends_with(of_word) || behind.starts_with(of_word) {
            continue;
        }
        let behind = behind.trim_start().strip_prefix('.')?.trim_start();
        let end = behind.find(|c| !of_word(c)).unwrap_or(behind.len());
        let (field, behind) = behind.split_at(end);
        // A function called on it.
        if field.is_empty() || behind.trim_start().starts_with('(') {
            return None;
        }
        named.push(field.to_owned());
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_or_all_of_them_are_meant() {
        let all = None;
        for (body, named) in [
            ("m.text + m . id + other.m.x", Some(vec!["text", "id", "x"])),
            ("mm.text + im + m_1 + ñm.a", Some(vec![])),
            ("`${m.text}` // of m, this is", all.clone()),
            ("helper(m)", all.clone()),
            ("m.keys()", all.clone()),
            ("m.text.len()", Some(vec!["text"])),
            ("m[\"text\"]", all.clone()),
            ("for f in m { }", all.clone()),
            ("let n = m; n.keys()", all.clone()),
            ("m..5", all.clone()),
            ("#{m: 1}", all.clone()),
            ("", Some(vec![])),
        ] {
            assert_eq!(fields(body, "m"), named.map(|n| n.into_iter().map(str::to_owned).collect()), "{body}");
        }
    }
}
