//! F25, F26: the store may grow no more.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Answer, House, Load, Server, Shop, Sink, TestStore, audit, drained, eventually, note, number};

const SECOND: Duration = Duration::from_secs(1);
const MIB: u64 = 1024 * 1024;
/// Much of so small a disk, because the system is asked once a second and a second's writing must not use it up.
const RESERVE: (&str, &str) = ("RECADO_STORE__KEEP_FREE_MIB", "10");

/// A disk of a few MiB, gone at the end.
struct Disk(TempDir);

impl Disk {
    /// `None`, loudly, for those who may not mount one.
    fn small() -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = disk.mount("size=16m");
        if !mounted {
            // Past the test runner, which keeps what a passing test prints to itself.
            let why = "nothing was tried on a full disk, only on a full file: mounting a small one takes root";
            let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
        }
        mounted.then_some(disk)
    }

    fn mount(&self, options: &str) -> bool {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0.path()).output();
        mount.is_ok_and(|done| done.status.success())
    }

    fn grow(&self) {
        assert!(self.mount("remount,size=256m"));
    }

    fn store(&self) -> TestStore {
        store_in(self.0.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).stderr(Stdio::null()).status();
    }
}

fn store_in(folder: &Path) -> TestStore {
    let mut store = TestStore::sqlite();
    store.url = format!("sqlite://{}", folder.join("recado.db").display());
    store
}

fn is_full(answer: &Answer) -> bool {
    answer.status == 503
        && answer.body["type"] == "/problems/storage-full"
        && answer.retry_after.as_deref() == Some("60")
}

/// Load until nothing more is taken, then room again; `reserve`: a part of the room was kept back. Everything accepted
/// arrives, once.
async fn fill(house: House, server: Server, sink: Sink, reserve: bool, make_room: impl FnOnce(&Server)) {
    let load = Load::start(8, Duration::from_millis(1), 4);
    let shop = Shop::open(&server, &sink.url()).await;
    let at = load.ledger.add_shop(shop.clone());
    load.call_at(&[server.address]);
    eventually("nothing more is taken", 60 * SECOND, || async {
        let answer = shop.api.post("/v1/notify", &note("Hola")).await;
        if answer.status == 202 {
            load.ledger.accepted(at, answer.id());
        }
        is_full(&answer)
    })
    .await;
    if reserve {
        // What was accepted is sent and recorded all the same.
        drained(&house.store.url, 60 * SECOND).await;
        assert_eq!(number(&house.store.url, "select count(*) from notifications where status <> 'sent'").await, 0);
        assert!(is_full(&shop.api.put("/v1/contacts/ana", &json!({"name": "Ana", "phone": "33 1234 5678"})).await));
        // Nothing is stored by it.
        let mut explained = note("Hola");
        explained["dryRun"] = json!(true);
        shop.api.post("/v1/notify", &explained).await.expect(200);
        let leaves = json!({"address": "ana@x.example", "category": "marketing"});
        shop.api.post("/v1/suppressions", &leaves).await.expect(201);
    }
    let before = load.ledger.len();
    make_room(&server);
    eventually("work goes on by itself", 60 * SECOND, || async { load.ledger.len() > before + 50 }).await;
    let (ledger, repeats, _) = load.stop().await;
    drained(&house.store.url, 60 * SECOND).await;
    let counts = audit(&server, &ledger, &sink).await;
    eprintln!("{before} until it was full: {counts}; {repeats} requests repeated");
    counts.are_honest();
    assert_eq!((counts.sent, counts.unknown), (counts.accepted, 0));
    server.stop().await;
    let intact = "select count(*) from pragma_integrity_check where integrity_check = 'ok'";
    assert_eq!(number(&house.store.url, intact).await, 1);
    house.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_before_the_disk_is_full_new_work_is_refused_and_old_work_is_done() {
    let Some(disk) = Disk::small() else { return };
    let house = House::new(disk.store(), &[RESERVE]);
    let server = house.start().await;
    fill(house, server, Sink::start().await, true, |_| disk.grow()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_a_disk_that_is_full_to_the_last_byte_loses_nothing() {
    let Some(disk) = Disk::small() else { return };
    let house = House::new(disk.store(), &[]);
    let server = house.start().await;
    fill(house, server, Sink::start().await, false, |_| disk.grow()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f26_a_file_that_may_not_grow_is_as_a_full_disk() {
    let house = House::new(TestStore::sqlite(), &[RESERVE]);
    // The signal that comes with the limit would end the program.
    let limited = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" serve", 16 * MIB / 512);
    let server = Server::spawn(house.command_through("sh", &["-c", &limited])).await;
    fill(house, server, Sink::start().await, true, |server| {
        let free = Rlimit { current: None, maximum: None };
        prlimit(Some(server.pid()), Resource::Fsize, free).unwrap();
    })
    .await;
}
