//! The sums at the end: what was accepted against what arrived and what the log says about it.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Row};

use super::{Ledger, Server, Sink, eventually};

#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Counts {
    pub accepted: usize,
    pub sent: usize,
    /// Neither taken nor explained.
    pub lost: usize,
    /// Taken more than once, and allowed to be.
    pub dup: usize,
    /// Taken more often than unknown attempts explain.
    pub unexplained: usize,
    /// Attempts nobody knows the outcome of.
    pub unknown: usize,
    /// Messages taken without an attempt in the journal.
    pub unexpected: usize,
    /// `sent` and not taken, or `failed` and taken.
    pub lied: usize,
    /// Taken, but nobody was told that it was accepted.
    pub strangers: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, sent, lost, dup, unexplained, unknown, unexpected, lied, strangers } = self;
        write!(
            f,
            "accepted {accepted}, sent {sent}, lost {lost}, dup {dup} (unexplained {unexplained}), unknown {unknown}, \
             unexpected {unexpected}, lied {lied}, strangers {strangers}"
        )
    }
}

impl Counts {
    /// Nothing is lost, nothing happened that the log does not explain.
    #[track_caller]
    pub fn are_honest(&self) {
        let Self { lost, unexplained, unexpected, lied, strangers, .. } = self;
        assert_eq!([lost, unexplained, unexpected, lied, strangers], [&0; 5], "{self}");
    }

    fn add(&mut self, found: &Value, taken: usize) {
        let attempts = found["attempts"].as_array().unwrap();
        let unknown = attempts.iter().filter(|a| a["outcome"] == "unknown").count();
        let status = found["status"].as_str().unwrap();
        let waits = !found["dueAt"].is_null() || status == "unknown";
        let ended = ["failed", "expired", "suppressed", "cancelled"].contains(&status);
        let mut problems = vec![];
        let mut count = |counter: &mut usize, problem: bool, word: &'static str| {
            *counter += usize::from(problem);
            if problem {
                problems.push(word);
            }
        };
        count(&mut self.lost, taken == 0 && status != "sent" && !waits && !ended, "lost");
        count(&mut self.unexplained, taken > 1 + unknown, "unexplained");
        count(&mut self.unexpected, taken > attempts.len(), "unexpected");
        let lied = (status == "sent" && taken == 0) || (status == "failed" && taken > 0 && unknown == 0);
        count(&mut self.lied, lied, "lied");
        if !problems.is_empty() {
            eprintln!("{problems:?}: taken {taken} times: {found}");
        }
        self.accepted += 1;
        self.sent += usize::from(status == "sent");
        self.dup += taken.saturating_sub(1);
        self.unknown += unknown;
    }
}

/// Asks the server about everything that was accepted.
pub async fn audit(server: &Server, ledger: &Ledger, sink: &Sink) -> Counts {
    let entries = ledger.entries();
    let known: HashSet<&str> = entries.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(known.len(), entries.len(), "two requests were answered with one notification");
    let mut counts = Counts::default();
    let mut found = futures_util::stream::iter(&entries)
        .map(|(shop, id)| async move { (id, shop.at(server).api.find(id).await) })
        .buffer_unordered(8);
    while let Some((id, found)) = found.next().await {
        counts.add(&found, sink.taken(id));
    }
    counts.strangers = sink.ids().iter().filter(|id| !known.contains(id.as_str())).count();
    counts
}

/// One number from the store, asked on a connection of its own.
pub async fn number(url: &str, sql: &str) -> i64 {
    sqlx::any::install_default_drivers();
    let mut conn = sqlx::AnyConnection::connect(url).await.unwrap();
    let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    row.get(0)
}

/// As if so much time had passed since everything in the store was written; no server must run on it.
pub async fn time_passes(url: &str, by: Duration) {
    let by = by.as_millis();
    sqlx::any::install_default_drivers();
    let mut conn = sqlx::AnyConnection::connect(url).await.unwrap();
    for sql in [
        format!(
            "update notifications set due_at = due_at - {by}, created_at = created_at - {by}, \
             step_began_at = step_began_at - {by}, attempt_began_at = attempt_began_at - {by}"
        ),
        format!("update lanes set wake_at = wake_at - {by}, lease_until = lease_until - {by}"),
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
}

/// Waits until nothing is due in the store, now or later.
pub async fn drained(url: &str, patience: Duration) {
    let url = url.to_owned();
    eventually("nothing waits any more", patience, || async {
        let waiting = number(&url, "select count(*) from notifications where due_at is not null").await;
        if waiting > 0 {
            super::pause(Duration::from_millis(200)).await;
        }
        waiting == 0
    })
    .await;
}
