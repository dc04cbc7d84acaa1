//! CSV as the programs people have write it: with or without a byte order mark, any line end, commas, semicolons (Excel
//! in Spain) or tabs, quotes where they are needed.

use csv_core::{ReadRecordResult, Reader as Core, ReaderBuilder};
use memchr::memchr_iter;

use super::columns::{Columns, Known};
use super::{Broken, ColumnItem, LONGEST_ROW, Raw, Read};
use crate::error::Fault;

/// The most columns looked at.
const MOST_COLUMNS: usize = 512;

type CheckColumns<'a> = Box<dyn Fn(&dyn Fn(&str) -> bool) -> Result<(), (&'static str, &'static str)> + Send + 'a>;

pub struct Csv<'a> {
    known: &'static [Known],
    check: CheckColumns<'a>,
    /// The beginning, until the header line is whole and tells the delimiter.
    beginning: Option<Vec<u8>>,
    core: Core,
    columns: Option<Columns>,
    cells: Vec<u8>,
    cells_length: usize,
    ends: Vec<usize>,
    ends_length: usize,
    /// Of the next byte.
    line: i64,
    row: Row,
}

/// The row that is being read.
#[derive(Default)]
struct Row {
    begun: bool,
    line: i64,
    too_long: bool,
    /// So far an odd number of quotes: one is open.
    open_quote: bool,
}

impl<'a> Csv<'a> {
    pub fn new(
        known: &'static [Known],
        check: impl Fn(&dyn Fn(&str) -> bool) -> Result<(), (&'static str, &'static str)> + Send + 'a,
    ) -> Self {
        Self {
            known,
            check: Box::new(check),
            beginning: Some(Vec::new()),
            core: Core::new(),
            columns: None,
            cells: vec![0; 1024],
            cells_length: 0,
            ends: vec![0; 64],
            ends_length: 0,
            line: 1,
            row: Row::default(),
        }
    }

    pub fn columns(&self) -> Vec<ColumnItem> {
        self.columns.as_ref().map(Columns::items).unwrap_or_default()
    }

    pub fn push(&mut self, piece: &[u8], out: &mut Vec<Read>) -> Result<(), Broken> {
        let Some(beginning) = &mut self.beginning else { return self.read(piece, out) };
        beginning.extend_from_slice(piece);
        // Empty lines before the header line, whatever is before them, say nothing of the delimiter.
        if without_mark(beginning).trim_ascii_start().contains(&b'\n') || beginning.len() > LONGEST_ROW {
            return self.begin(out);
        }
        Ok(())
    }

    pub fn finish(&mut self, out: &mut Vec<Read>) -> Result<(), Broken> {
        self.begin(out)?;
        if self.row.begun {
            if self.row.open_quote {
                let detail = "the row that begins here has a quote that is never closed";
                return Err(Broken::new(self.row.line, "unclosed_quote", detail));
            }
            self.read_more(&[], out)?;
        }
        if self.columns.is_none() {
            return Err(Broken::new(1, "no_header", "the file is empty; its first line must name the columns"));
        }
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<Read>) -> Result<(), Broken> {
        let Some(beginning) = self.beginning.take() else { return Ok(()) };
        if beginning.starts_with(&[0xff, 0xfe]) || beginning.starts_with(&[0xfe, 0xff]) {
            return Err(Broken::new(1, "not_utf8", "this is UTF-16; save the file as \"CSV UTF-8\""));
        }
        let text = without_mark(&beginning);
        self.core = ReaderBuilder::new().delimiter(delimiter(text)).build();
        self.read(text, out)
    }

    fn read(&mut self, piece: &[u8], out: &mut Vec<Read>) -> Result<(), Broken> {
        let mut rest = piece;
        loop {
            if !self.row.begun {
                // Line ends between rows, also the second half of a Windows one.
                let skipped = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
                self.line += line_ends(&rest[..skipped]);
                rest = &rest[skipped..];
                self.row = Row { begun: !rest.is_empty(), line: self.line, ..Row::default() };
                (self.cells_length, self.ends_length) = (0, 0);
            }
            if rest.is_empty() {
                return Ok(());
            }
            rest = self.read_more(rest, out)?;
        }
    }

    /// Reads on in the present row, at most to its end; nothing to read means the end of the file. Returns the rest.
    fn read_more<'b>(&mut self, mut rest: &'b [u8], out: &mut Vec<Read>) -> Result<&'b [u8], Broken> {
        loop {
            let (result, read, cells, ends) =
                self.core.read_record(rest, &mut self.cells[self.cells_length..], &mut self.ends[self.ends_length..]);
            let quotes = memchr_iter(b'"', &rest[..read]).count();
            self.row.open_quote ^= quotes % 2 == 1;
            self.line += line_ends(&rest[..read]);
            let at_end = rest.is_empty();
            rest = &rest[read..];
            self.cells_length += cells;
            self.ends_length += ends;
            match result {
                ReadRecordResult::InputEmpty => return Ok(rest),
                ReadRecordResult::OutputFull if self.cells.len() < LONGEST_ROW => {
                    self.cells.resize(self.cells.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MOST_COLUMNS => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                // The rest of the row is read over.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    self.row.too_long = true;
                    (self.cells_length, self.ends_length) = (0, 0);
                }
                ReadRecordResult::Record | ReadRecordResult::End => {
                    self.end_row(out)?;
                    return Ok(rest);
                }
            }
            if rest.is_empty() && !at_end {
                return Ok(rest);
            }
        }
    }

    fn end_row(&mut self, out: &mut Vec<Read>) -> Result<(), Broken> {
        self.row.begun = false;
        let line = self.row.line;
        if self.row.too_long {
            let detail = format!("the row has more than {} KiB or {MOST_COLUMNS} fields", LONGEST_ROW / 1024);
            if self.columns.is_none() {
                return Err(Broken::new(line, "too_long", detail));
            }
            out.push((line, Err(Fault::new("", "too_long", detail))));
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(&self.cells[..self.cells_length]) else {
            let detail = "this line is not UTF-8; save the file as \"CSV UTF-8\"";
            return Err(Broken::new(line, "not_utf8", detail));
        };
        let ends = &self.ends[..self.ends_length];
        let starts = std::iter::once(0).chain(ends.iter().copied());
        // Cells are whole characters: the delimiter and quotes between them are ASCII.
        let cells = starts.zip(ends).map(|(start, end)| text.get(start..*end).unwrap_or_default());
        let Some(columns) = &self.columns else {
            self.columns = Some(header(cells, line, self.known, &self.check)?);
            return Ok(());
        };
        if cells.clone().all(|cell| cell.trim().is_empty()) {
            return Ok(());
        }
        if cells.clone().skip(columns.len()).any(|cell| !cell.trim().is_empty()) {
            let detail =
                format!("has {} fields, the header line {}; quote what holds a comma", ends.len(), columns.len());
            out.push((line, Err(Fault::new("", "too_many_fields", detail))));
            return Ok(());
        }
        let object = columns.object(cells).map_err(|(pointer, detail)| Fault::new(pointer, "wrong_type", detail));
        out.push((line, object.map(Raw::Fields)));
        Ok(())
    }
}

/// Without the byte order mark.
fn without_mark(beginning: &[u8]) -> &[u8] {
    beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning)
}

fn header<'c>(
    cells: impl Iterator<Item = &'c str>,
    line: i64,
    known: &[Known],
    check: &CheckColumns<'_>,
) -> Result<Columns, Broken> {
    let columns = Columns::read(cells, known)
        .map_err(|doubled| Broken::new(line, "duplicate_column", format!("two columns mean the same: {doubled:?}")))?;
    check(&|field| columns.has(field)).map_err(|(code, detail)| Broken::new(line, code, detail))?;
    Ok(columns)
}

/// The one that stands most often in the first line.
fn delimiter(text: &[u8]) -> u8 {
    let line = text.trim_ascii_start().split(|b| *b == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| {
        let mut quoted = false;
        line.iter()
            .filter(|b| {
                quoted ^= **b == b'"';
                !quoted && **b == delimiter
            })
            .count()
    };
    [b';', b'\t'].into_iter().filter(|d| count(*d) > count(b',')).max_by_key(|d| count(*d)).unwrap_or(b',')
}

fn line_ends(bytes: &[u8]) -> i64 {
    memchr_iter(b'\n', bytes).count() as i64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::columns::known;
    use super::*;

    const KNOWN: &[Known] = &[known("name", &["nombre"]), known("phone", &["telefono"])];

    fn read(pieces: &[&[u8]]) -> Result<Vec<(i64, Value)>, Broken> {
        let (mut csv, mut out) = (Csv::new(KNOWN, |_| Ok(())), Vec::new());
        for piece in pieces {
            csv.push(piece, &mut out)?;
        }
        csv.finish(&mut out)?;
        let plain = |read| match read {
            Ok(Raw::Fields(fields)) => Value::Object(fields),
            Ok(Raw::Json(_)) => unreachable!("this is CSV"),
            Err(Fault { code, .. }) => code.into_owned().into(),
        };
        Ok(out.into_iter().map(|(line, read)| (line, plain(read))).collect())
    }

    #[test]
    fn rows_are_found_however_they_are_cut() {
        let file = "\u{feff}Nombre;Teléfono;Puntos\r\n\"López; \"\"Ana\"\"\";33 1;7\r\n\r\nBeto\n;;\n\"dos\nlíneas\";;\nx;y;z;w\n\nfin;9";
        let expected = [
            (2, json!({"name": "López; \"Ana\"", "phone": "33 1", "attributes": {"Puntos": "7"}})),
            (4, json!({"name": "Beto"})),
            (6, json!({"name": "dos\nlíneas"})),
            (8, json!("too_many_fields")),
            (10, json!({"name": "fin", "phone": "9"})),
        ];
        for size in 1..file.len() {
            let pieces: Vec<&[u8]> = file.as_bytes().chunks(size).collect();
            assert_eq!(read(&pieces).unwrap(), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_breaks_a_file_is_told_with_its_line() {
        for (file, line, code) in [
            (&b"nombre,telefono\nAna,1\n\"Beto,2\nCeci,3\n"[..], 3, "unclosed_quote"),
            (b"nombre,telefono\nAna,1\nJos\xe9,2\n", 3, "not_utf8"),
            (b"\xff\xfen\0o\0", 1, "not_utf8"),
            (b"nombre,name\n", 1, "duplicate_column"),
            (b"\n\n", 1, "no_header"),
            (b"", 1, "no_header"),
        ] {
            let broken = read(&[file]).unwrap_err();
            assert_eq!((broken.line, broken.code), (line, code), "{}", String::from_utf8_lossy(file));
        }
    }

    #[test]
    fn a_huge_field_costs_one_row() {
        let file = format!("nombre,telefono\nAna,1\n\"{}\",2\nCeci,3\n", "x".repeat(10 * 1024 * 1024));
        let pieces: Vec<&[u8]> = file.as_bytes().chunks(16 * 1024).collect();
        let rows = read(&pieces).unwrap();
        assert_eq!(rows.iter().map(|r| r.0).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(rows[1].1, "too_long");
    }

    #[test]
    fn the_delimiter_is_the_one_of_the_header_line() {
        for (header, expected) in
            [("a,b;c,d", b','), ("a;b;c", b';'), ("a\tb", b'\t'), ("\"a;b;c\",d", b','), ("a", b',')]
        {
            assert_eq!(delimiter(header.as_bytes()), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_answered_and_cutting_it_changes_nothing(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'a'), Just(b';'), Just(0xc3), Just(0xa9), any::<u8>()
            ], 0..200),
            size in 1_usize..20,
        ) {
            let file = [b"nombre,telefono\n".as_slice(), &bytes].concat();
            let whole = read(&[&file]);
            let pieces: Vec<&[u8]> = file.chunks(size).collect();
            prop_assert_eq!(read(&pieces), whole);
        }
    }
}
