//! One JSON object a line.

use memchr::memchr;

use super::{Broken, LONGEST_ROW, Raw, Read};
use crate::error::Fault;

#[derive(Default)]
pub struct Lines {
    /// How many line ends were seen.
    ended: i64,
    held: Vec<u8>,
    /// The present line is too long and is not held.
    skipping: bool,
    begun: bool,
}

impl Lines {
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<Read>) -> Result<(), Broken> {
        let mut rest = piece;
        while let Some(end) = memchr(b'\n', rest) {
            self.hold(&rest[..end]);
            self.end(out)?;
            rest = &rest[end + 1..];
        }
        self.hold(rest);
        Ok(())
    }

    pub fn finish(&mut self, out: &mut Vec<Read>) -> Result<(), Broken> {
        self.end(out)
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.skipping || self.held.len() + bytes.len() > LONGEST_ROW {
            self.held.clear();
            self.skipping = true;
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, out: &mut Vec<Read>) -> Result<(), Broken> {
        self.ended += 1;
        let line = std::mem::take(&mut self.held);
        let first = !std::mem::replace(&mut self.begun, true);
        if std::mem::take(&mut self.skipping) {
            let detail = format!("the line has more than {} KiB", LONGEST_ROW / 1024);
            out.push((self.ended, Err(Fault::new("", "too_long", detail))));
            return Ok(());
        }
        let mut text = line.as_slice();
        if first {
            if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
                return Err(Broken::new(1, "not_utf8", "this is UTF-16; save the file as UTF-8"));
            }
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        let text = text.trim_ascii();
        if text.is_empty() {
            return Ok(());
        }
        out.push((
            self.ended,
            match std::str::from_utf8(text) {
                Ok(_) => Ok(Raw::Json(text.to_vec())),
                Err(_) => Err(Fault::new("", "not_utf8", "the line is not UTF-8")),
            },
        ));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<(i64, Result<String, String>)> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, &mut out).unwrap();
        }
        lines.finish(&mut out).unwrap();
        let plain = |read| match read {
            Ok(Raw::Json(bytes)) => Ok(String::from_utf8(bytes).unwrap()),
            Ok(Raw::Fields(_)) => unreachable!("these are lines"),
            Err(Fault { code, .. }) => Err(code.into_owned()),
        };
        out.into_iter().map(|(line, read)| (line, plain(read))).collect()
    }

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let file = b"\xef\xbb\xbf{\"a\":1}\r\n\n  {\"b\":2}\n{\"c\":\"\xff\"}\n{\"d\":4}";
        let expected = [
            (1, Ok("{\"a\":1}".to_owned())),
            (3, Ok("{\"b\":2}".to_owned())),
            (4, Err("not_utf8".to_owned())),
            (5, Ok("{\"d\":4}".to_owned())),
        ];
        for size in 1..file.len() {
            let pieces: Vec<&[u8]> = file.chunks(size).collect();
            assert_eq!(read(&pieces), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let piece = vec![b'x'; LONGEST_ROW / 2];
        let pieces = [piece.as_slice(), &piece, &piece, b"\n{}\n"];
        assert_eq!(read(&pieces), [(1, Err("too_long".to_owned())), (2, Ok("{}".to_owned()))]);
    }
}
