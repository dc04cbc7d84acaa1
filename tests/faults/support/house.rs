//! The program on a store: started, killed, started again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Api, TestStore, pause};

const PROGRAM: &str = env!("CARGO_BIN_EXE_recado");
const OPERATOR_KEY: &str = "operator-key-of-the-faults-00001";

/// A store, a configuration file, and what the processes on them are told.
pub struct House {
    pub store: TestStore,
    settings: Vec<(String, String)>,
}

/// A running process. It is killed when nobody holds it any more.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// How long it took until it listened.
    pub started_in: Duration,
    log: Arc<Mutex<Vec<String>>>,
}

impl House {
    /// Calls may last 2 s, leases 5 s.
    pub fn new(store: TestStore, settings: &[(&str, &str)]) -> Self {
        let usual = [
            ("RECADO_STORE__URL", store.url.clone()),
            ("RECADO_STORE__KEEP_FREE_MIB", "0".to_owned()),
            ("RECADO_SECRETS__KEY_FILE", store.folder.path().join("recado.key").display().to_string()),
            ("RECADO_SERVER__LISTEN", "127.0.0.1:0".to_owned()),
            ("RECADO_AUTH__OPERATOR_KEY", OPERATOR_KEY.to_owned()),
            ("RECADO_OUTBOUND__ALLOW", "127.0.0.0/8".to_owned()),
            ("RECADO_OUTBOUND__ALLOW_HTTP", "true".to_owned()),
            ("RECADO_DELIVERY__CALL_TIMEOUT", "2s".to_owned()),
            ("RECADO_DELIVERY__LEASE", "5s".to_owned()),
            ("RECADO_LOG__FORMAT", "json".to_owned()),
            ("RECADO_LOG__LEVEL", "warn,recado::cli=info,recado::app=info".to_owned()),
        ];
        let mut all: Vec<(String, String)> = usual.map(|(name, value)| (name.to_owned(), value)).into();
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let house = Self { store, settings: all };
        house.write_config("");
        house
    }

    /// The file that is read beside the variables.
    pub fn write_config(&self, text: &str) {
        // Renamed into place, as editors do, so that nobody reads half of it.
        let fresh = self.store.folder.path().join("config.new");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.config_file()).unwrap();
    }

    pub fn config_file(&self) -> PathBuf {
        self.store.folder.path().join("config.toml")
    }

    /// The program with this house's settings.
    pub fn command(&self) -> Command {
        self.settle(Command::new(PROGRAM))
    }

    /// Another program with them, which is told these words and then the way to ours.
    pub fn command_through(&self, other: &str, words: &[&str]) -> Command {
        let mut command = Command::new(other);
        command.args(words).arg(PROGRAM);
        self.settle(command)
    }

    fn settle(&self, mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RECADO_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.envs(self.settings.iter().map(|(n, v)| (n, v))).current_dir(self.store.folder.path());
        command.stdin(Stdio::null());
        command
    }

    pub async fn start(&self) -> Server {
        self.start_with(&[]).await
    }

    pub async fn start_with(&self, settings: &[(&str, &str)]) -> Server {
        let mut command = self.command();
        command.arg("serve").envs(settings.iter().copied());
        Server::spawn(command).await
    }

    pub async fn remove(mut self) {
        self.store.remove().await;
    }
}

impl Server {
    pub async fn spawn(mut command: Command) -> Self {
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn({
            let log = Arc::clone(&log);
            move || stdout.lines().map_while(Result::ok).for_each(|line| log.lock().unwrap().push(line))
        });
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into(), started_in: Duration::ZERO, log };
        while server.address.port() == 0 {
            if let Some(address) = server.said("listening").and_then(|line| line["address"].as_str()?.parse().ok()) {
                server.address = address;
            }
            let gone = server.child.try_wait().unwrap();
            assert!(gone.is_none(), "it ended at its start: {gone:?} {:?}", server.log());
            assert!(began.elapsed() < Duration::from_secs(20), "it does not listen: {:?}", server.log());
            pause(Duration::from_millis(5)).await;
        }
        server.started_in = began.elapsed();
        server
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The last line with this message.
    pub fn said(&self, message: &str) -> Option<Value> {
        let log = self.log.lock().unwrap();
        let lines = log.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["message"] == message)
    }

    pub fn times_said(&self, message: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(message)).count()
    }

    pub fn operator(&self) -> Api {
        Api::new(self.address, OPERATOR_KEY)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The most memory that was ever resident, in bytes.
    pub fn largest_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// `kill -9`, and it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9), "it had ended before: {:?}", self.log());
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it has not ended after {patience:?}: {:?}", self.log());
            pause(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a fail point has killed it.
    pub async fn died(mut self) {
        let status = self.ended(Duration::from_secs(30)).await;
        assert_eq!(status.signal(), Some(6), "it ended otherwise: {status:?} {:?}", self.log());
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended(Duration::from_secs(35)).await;
        assert_eq!(status.code(), Some(0), "{status:?} {:?}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
