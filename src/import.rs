//! Files of contacts and appointments, taken in as they stream by: a 200 MB file costs what a batch of it costs.
//!
//! Reading and judging the next batch goes on while the last one is written. A batch is one transaction that also says
//! how far the import is and which lines were refused, so the report is true whatever happens.

mod columns;
mod csv;
mod lines;
mod subject;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::AnyConnection;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::app::App;
use crate::contact::Import;
use crate::error::{Error, Fault, Result};
use crate::ids::ImportId;
use crate::store::imports::{self, ImportRow};
use crate::store::{StoreResult, begin_alone, commit_alone, to_json};
use crate::tenant::Tenant;

pub use subject::{Appointments, Contacts};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With a header line; commas, semicolons or tabs.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// What a column of a CSV was taken for.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize, ToSchema)]
pub struct ColumnItem {
    /// As the header line has it.
    pub column: String,
    /// The field it fills; null: nothing is read from it.
    pub field: Option<String>,
}

/// A row as it stands in the file.
#[derive(Debug)]
enum Raw {
    Json(Vec<u8>),
    Fields(Map<String, Value>),
}

/// A row and its line, or why it is none.
type Read = (i64, Result<Raw, Fault>);

/// Nothing more can be read of this file.
#[derive(Debug, Clone, PartialEq)]
struct Broken {
    line: i64,
    code: &'static str,
    detail: String,
}

impl Broken {
    fn new(line: i64, code: &'static str, detail: impl Into<String>) -> Self {
        Self { line, code, detail: detail.into() }
    }
}

/// The longest row. What people know of a person is far shorter.
const LONGEST_ROW: usize = 64 * 1024;
/// Rows a transaction: large enough that statements and commits cost little, small enough that nobody else's write
/// waits long and three of them are held easily.
const ROWS: usize = 2000;
const BYTES: usize = 1024 * 1024;
/// So much of a file is read between two looks at whether a batch is full.
const PIECE: usize = 16 * 1024;
/// A file of which so many rows are refused is the wrong file.
const MOST_REFUSED: i64 = 100_000;

/// What a file is about.
trait Subject: Clone + Send + Sync + 'static {
    const KIND: &'static str;
    type Row: Send + 'static;

    fn columns(&self) -> &'static [columns::Known];
    /// Whether a file with these columns can be understood at all.
    fn check_columns(&self, has: &dyn Fn(&str) -> bool) -> Result<(), (&'static str, &'static str)>;
    fn check(&self, raw: Raw, line: i64) -> Result<Self::Row, Fault>;
    /// Whether each was new.
    fn write(
        &self,
        conn: &mut AnyConnection,
        import: &mut Import,
        rows: Vec<Self::Row>,
    ) -> impl Future<Output = StoreResult<Vec<Result<bool, Fault>>>> + Send;
}

enum Reader<'a> {
    Csv(Box<csv::Csv<'a>>),
    Lines(lines::Lines),
}

/// Everything that is read of a file which arrives in pieces of this length, and why it ends early if it does.
pub(crate) fn read_in_pieces(format: Format, file: &[u8], length: usize) -> String {
    let mut reader = match format {
        Format::Csv => Reader::Csv(Box::new(csv::Csv::new(subject::CONTACT, |_| Ok(())))),
        Format::Ndjson => Reader::Lines(lines::Lines::default()),
    };
    let mut out = Vec::new();
    let mut pieces = file.chunks(length);
    let read = pieces.try_for_each(|piece| reader.push(piece, &mut out)).and_then(|()| reader.finish(&mut out));
    format!("{out:?} {read:?}")
}

impl Reader<'_> {
    fn push(&mut self, piece: &[u8], out: &mut Vec<Read>) -> Result<(), Broken> {
        match self {
            Self::Csv(csv) => csv.push(piece, out),
            Self::Lines(lines) => lines.push(piece, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<Read>) -> Result<(), Broken> {
        match self {
            Self::Csv(csv) => csv.finish(out),
            Self::Lines(lines) => lines.finish(out),
        }
    }

    fn columns(&self) -> Vec<ColumnItem> {
        match self {
            Self::Csv(csv) => csv.columns(),
            Self::Lines(_) => Vec::new(),
        }
    }
}

/// Takes a file of contacts in; answers how it went.
pub async fn contacts(app: &Arc<App>, tenant: &Arc<Tenant>, format: Format, body: Body) -> Result<ImportRow> {
    run(app, tenant, Contacts { app: Arc::clone(app), tenant: Arc::clone(tenant) }, format, body).await
}

/// Takes a file of appointments in; answers how it went.
pub async fn appointments(app: &Arc<App>, tenant: &Arc<Tenant>, format: Format, body: Body) -> Result<ImportRow> {
    run(app, tenant, Appointments { app: Arc::clone(app), tenant: Arc::clone(tenant) }, format, body).await
}

async fn run<S: Subject>(app: &App, tenant: &Tenant, subject: S, format: Format, body: Body) -> Result<ImportRow> {
    let _turn = app.imports.try_acquire().map_err(|_| {
        Error::refused("overloaded", "too many imports are under way; send the file again when one has ended")
    })?;
    let mut conn = app.db.connect_for_growing().await?;
    let now = app.now();
    let mut import = ImportRow {
        id: ImportId::fresh(),
        kind: S::KIND.to_owned(),
        columns: "[]".into(),
        line: 0,
        created: 0,
        updated: 0,
        refused: 0,
        problem: None,
        started_at: now,
        updated_at: now,
        finished_at: None,
    };
    imports::insert(&mut conn, &tenant.id, &import.id, S::KIND, now).await?;
    imports::forget_old(&mut conn, &tenant.id).await?;
    let (send, batches) = mpsc::channel(1);
    let patience = app.config.load().server.request_timeout;
    // On its own, so that reading, checking and writing share the processors.
    let reading = tokio::spawn(read(subject.clone(), format, body, patience, send));
    let written = Import::new(rand::random::<i64>() >> 1);
    let mut writing = Writing { app, tenant, subject: &subject, conn, import: &mut import, written };
    let written = writing.all(batches).await;
    let read = if let Ok(None) = written {
        reading.await.unwrap_or(Err(Stop::Unwanted))
    } else {
        reading.abort();
        Err(Stop::Unwanted)
    };
    let mut conn = writing.conn;
    import.updated_at = app.now();
    import.finished_at = Some(import.updated_at);
    let stop = match (written, read) {
        (Err(e), _) => {
            import.problem = Some(to_json(&Fault::new("", "store", "the store failed; what was written is counted")));
            // The store may be as unable to hear this.
            let _ = imports::update(&mut conn, &tenant.id, &import).await;
            return Err(e.into());
        }
        (Ok(Some(too_many)), _) => Some(Stop::Broken(too_many)),
        (Ok(None), Err(stop)) => Some(stop),
        (Ok(None), Ok(())) => None,
    };
    let Some(stop) = stop else {
        imports::update(&mut conn, &tenant.id, &import).await?;
        return Ok(import);
    };
    let error = stop.into_error(format, &import);
    if let Error::Invalid { faults, .. } = &error {
        import.problem = faults.first().map(to_json);
    } else {
        import.problem = Some(to_json(&Fault::new("", "ended_early", "the file did not come whole")));
    }
    imports::update(&mut conn, &tenant.id, &import).await?;
    Err(error)
}

/// Why reading ended before the file did.
enum Stop {
    Broken(Broken),
    Slow(Duration),
    /// Nobody takes the batches any more; the writer says why.
    Unwanted,
}

impl Stop {
    fn into_error(self, format: Format, import: &ImportRow) -> Error {
        match self {
            Self::Slow(patience) => Error::refused(
                "request-timeout",
                format!("nothing came for {} s; see /v1/imports/{}", patience.as_secs(), import.id),
            ),
            Self::Unwanted => Error::Internal("an import's writer went away without a word".into()),
            Self::Broken(broken) => {
                let slug = if format == Format::Csv { "csv-invalid" } else { "import-stopped" };
                let taken = import.created + import.updated;
                let done = match taken {
                    0 => "nothing was taken".to_owned(),
                    taken => format!("{taken} rows before it were taken, see /v1/imports/{}", import.id),
                };
                let detail = format!("line {}: {}; {done}", broken.line, broken.detail);
                let fault = Fault::new(format!("/lines/{}", broken.line), broken.code, detail);
                Error::Invalid { slug, faults: vec![fault] }
            }
        }
    }
}

/// Rows that are written together, with what was refused among them.
struct Batch<R> {
    rows: Vec<(i64, R)>,
    refused: Vec<(i64, Fault)>,
    line: i64,
    columns: Option<Vec<ColumnItem>>,
}

impl<R> Batch<R> {
    fn new() -> Self {
        Self { rows: Vec::with_capacity(ROWS), refused: Vec::new(), line: 0, columns: None }
    }

    fn len(&self) -> usize {
        self.rows.len() + self.refused.len()
    }
}

async fn read<S: Subject>(
    subject: S,
    format: Format,
    body: Body,
    patience: Duration,
    send: mpsc::Sender<Batch<S::Row>>,
) -> Result<(), Stop> {
    let subject = &subject;
    let mut reader = match format {
        Format::Csv => Reader::Csv(Box::new(csv::Csv::new(subject.columns(), |has| subject.check_columns(has)))),
        Format::Ndjson => Reader::Lines(lines::Lines::default()),
    };
    let mut chunks = body.into_data_stream();
    let (mut batch, mut bytes, mut found) = (Batch::new(), 0, Vec::new());
    let mut told = false;
    let mut take = |batch: &mut Batch<S::Row>, found: &mut Vec<Read>, reader: &Reader<'_>| {
        for (line, read) in found.drain(..) {
            batch.line = line;
            match read.and_then(|raw| subject.check(raw, line)) {
                Ok(row) => batch.rows.push((line, row)),
                Err(fault) => batch.refused.push((line, fault)),
            }
        }
        if !told && batch.len() > 0 {
            batch.columns = Some(reader.columns());
            told = true;
        }
    };
    loop {
        let chunk = tokio::time::timeout(patience, chunks.next()).await.map_err(|_| Stop::Slow(patience))?;
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| {
            Stop::Broken(Broken::new(batch.line, "ended_early", "the connection broke before the file ended"))
        })?;
        for piece in chunk.chunks(PIECE) {
            reader.push(piece, &mut found).map_err(Stop::Broken)?;
            take(&mut batch, &mut found, &reader);
            bytes += piece.len();
            if batch.len() >= ROWS || (bytes >= BYTES && batch.len() > 0) {
                bytes = 0;
                let next = Batch { line: batch.line, ..Batch::new() };
                let full = std::mem::replace(&mut batch, next);
                send.send(full).await.map_err(|_| Stop::Unwanted)?;
            }
        }
    }
    reader.finish(&mut found).map_err(Stop::Broken)?;
    take(&mut batch, &mut found, &reader);
    if batch.columns.is_none() && batch.len() == 0 {
        batch.columns = Some(reader.columns());
    }
    send.send(batch).await.map_err(|_| Stop::Unwanted)
}

struct Writing<'a, S> {
    app: &'a App,
    tenant: &'a Tenant,
    subject: &'a S,
    conn: AnyConnection,
    import: &'a mut ImportRow,
    written: Import,
}

impl<S: Subject> Writing<'_, S> {
    /// Answers why it wants no more, if so.
    async fn all(&mut self, mut batches: mpsc::Receiver<Batch<S::Row>>) -> StoreResult<Option<Broken>> {
        while let Some(batch) = batches.recv().await {
            self.write(batch).await?;
            if self.import.refused > MOST_REFUSED {
                let detail = format!("more than {MOST_REFUSED} rows were refused: this can't be the right file");
                return Ok(Some(Broken::new(self.import.line, "too_many_refused", detail)));
            }
        }
        Ok(None)
    }

    async fn write(&mut self, batch: Batch<S::Row>) -> StoreResult<()> {
        self.app.db.check_room()?;
        let engine = self.app.db.engine;
        let Batch { rows, mut refused, line, columns } = batch;
        let (lines, rows): (Vec<i64>, Vec<S::Row>) = rows.into_iter().unzip();
        let mut done = self.import.clone();
        let mut transaction = begin_alone(&mut self.conn, engine, &self.tenant.id).await?;
        for (line, saved) in lines.into_iter().zip(self.subject.write(&mut transaction, &mut self.written, rows).await?)
        {
            match saved {
                Ok(true) => done.created += 1,
                Ok(false) => done.updated += 1,
                Err(fault) => refused.push((line, fault)),
            }
        }
        imports::refuse(&mut *transaction, engine, &self.tenant.id, &done.id, &refused).await?;
        done.refused += refused.len() as i64;
        done.line = done.line.max(line);
        if let Some(columns) = columns {
            done.columns = to_json(&columns);
        }
        done.updated_at = self.app.now();
        imports::update(&mut *transaction, &self.tenant.id, &done).await?;
        commit_alone(transaction).await?;
        if !self.tenant.has_contacts {
            self.app.tenants.refresh(&self.tenant.id);
        }
        *self.import = done;
        Ok(())
    }
}
