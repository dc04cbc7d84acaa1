//! What can go wrong for a caller. Knows no HTTP; `http/error.rs` turns it into an answer.

use std::borrow::Cow;

use crate::script::ScriptError;

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// JSON pointer to the field, e.g. `/to/3/phone`; empty for the whole body.
    pub pointer: String,
    /// A stable word, e.g. `required`.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub detail: String,
    /// Where in a text that somebody wrote, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.into(), detail: detail.into(), line: None, column: None }
    }

    #[must_use]
    pub fn at(self, line: Option<usize>, column: Option<usize>) -> Self {
        Self { line, column, ..self }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something was refused; `slug` is the problem's stable name.
    #[error("{slug}: {detail}")]
    Refused { slug: &'static str, detail: String },
    /// Fields are wrong; `slug` is `validation` unless a row of the contract says otherwise.
    #[error("{slug}: {faults:?}")]
    Invalid { slug: &'static str, faults: Vec<Fault> },
    #[error("not found")]
    NotFound,
    /// The store did not do it, certainly.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// A bug or a broken row: nothing a caller can cure.
    #[error("internal: {0}")]
    Internal(String),
}

/// Why the store failed, as far as it changes what to do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, or no connection free: nothing was written.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// No room left: nothing was written.
    #[error("full: {0}")]
    Full(String),
    /// COMMIT was sent and its answer lost: it may be written.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(String),
    /// The statement itself is at fault.
    #[error("{0}")]
    Statement(String),
    /// A row could not be read.
    #[error("unreadable row: {0}")]
    Unreadable(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn refused(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused { slug, detail: detail.into() }
    }

    pub fn fault(pointer: impl Into<String>, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::Invalid { slug: "validation", faults: vec![Fault::new(pointer, code, detail)] }
    }
}

impl ScriptError {
    /// As a fault of the field that held the script, or whatever it was run on.
    pub fn fault(&self, pointer: impl Into<String>) -> Fault {
        Fault::new(pointer, self.code, self.to_string()).at(self.line, self.column)
    }
}

impl Error {
    /// A script that can't be used, or that did not end well.
    pub fn script(e: &ScriptError, pointer: impl Into<String>) -> Self {
        let slug = match e.code {
            "script_invalid" => "script-invalid",
            "script_limit" => "script-limit",
            "script_result" => "script-result",
            _ => "script-failed",
        };
        Self::Invalid { slug, faults: vec![e.fault(pointer)] }
    }
}

impl StoreError {
    /// By the code of SQLite (extended, a number) or PostgreSQL (five characters).
    fn of_code(code: &str, text: String) -> Self {
        match code {
            // SQLite: SQLITE_FULL, and a write refused otherwise (the file or its owner has had its share); PostgreSQL:
            // disk_full.
            "13" | "778" | "53100" => Self::Full(text),
            // SQLite: busy, I/O, can't open, read-only; PostgreSQL: shutting down, too many clients, cut off.
            "5" | "517" | "10" | "14" | "8" | "57P01" | "57P02" | "57P03" | "53300" | "08006" | "08003" => {
                Self::Unavailable(text)
            }
            // SQLite's many kinds of I/O errors.
            _ if code.len() < 5 && code.parse::<u32>().is_ok_and(|n| n & 0xff == 10) => Self::Unavailable(text),
            _ => Self::Statement(text),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        match e.sqlite_error() {
            Some(failure) => Self::of_code(&failure.extended_code.to_string(), e.to_string()),
            None => Self::Statement(e.to_string()),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &e {
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => {
                Self::Unavailable(e.to_string())
            }
            E::Database(db) => Self::of_code(db.code().as_deref().unwrap_or_default(), e.to_string()),
            E::ColumnDecode { .. } | E::Decode(_) => Self::Unreadable(e.to_string()),
            _ => Self::Statement(e.to_string()),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(e: sqlx::Error) -> Self {
        Self::Store(e.into())
    }
}
