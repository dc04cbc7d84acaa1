//! Whether the disk below a SQLite store has room. The system is asked once a second at most; PostgreSQL knows for itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

use super::StoreResult;
use crate::error::StoreError;

const FRESH_FOR: Duration = Duration::from_secs(1);

pub struct Room {
    file: PathBuf,
    /// So many bytes are left for what was accepted: calls, and their outcomes.
    reserve: u64,
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Room {
    pub fn new(file: PathBuf, reserve: u64) -> Self {
        Self { file, reserve, seen: Mutex::default() }
    }

    /// Refuses what is new when only the reserve is left.
    pub fn check(&self) -> StoreResult<()> {
        let free = self.free();
        if free >= self.reserve {
            return Ok(());
        }
        let detail = format!("{} MiB are left, fewer than store.keep_free_mib", free >> 20);
        Err(StoreError::Full(detail))
    }

    /// The outcome of a call that begins now will find room, too.
    pub fn for_calls(&self) -> bool {
        self.free() >= self.reserve / 4
    }

    pub fn free(&self) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, free)) = *seen
            && at.elapsed() < FRESH_FOR
        {
            return free;
        }
        let free = measure(&self.file);
        *seen = Some((Instant::now(), free));
        free
    }
}

/// What can't be measured is no reason to refuse anybody.
fn measure(file: &Path) -> u64 {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let disk = statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    // A file may also not be allowed to grow (`ulimit -f`).
    let Some(longest) = getrlimit(Resource::Fsize).current else { return disk };
    let length = |path: &Path| path.metadata().map_or(0, |file| file.len());
    let mut log = OsString::from(file);
    log.push("-wal");
    disk.min(longest.saturating_sub(length(file).max(length(Path::new(&log)))))
}
