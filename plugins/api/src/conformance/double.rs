//! A provider double for channels that speak HTTP.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::wire::{Seen, read_request};
use super::{Behaviour, Expected, Harness, sample_message};
use crate::{Message, Plugin, Settings};

/// A server on loopback that counts what it reads and behaves as it is told. Cheap to clone.
#[derive(Clone)]
pub struct HttpDouble(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    makes_message: Box<dyn Fn(&Seen) -> bool + Send + Sync>,
    reply: Box<Answering>,
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    calls: AtomicUsize,
    taken: AtomicUsize,
}

type Answering = dyn Fn(Behaviour, &Seen) -> Option<Reply> + Send + Sync;

/// An answer of the double.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![], body: body.into() }
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, body.to_string()).header("content-type", "application/json")
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn write(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Reason\r\ncontent-length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

impl HttpDouble {
    /// Every POST makes a message and is answered `200 {}`.
    pub async fn start() -> Self {
        Self::with(|seen| seen.method == "POST", |_, _| None).await
    }

    /// `makes_message` tells the requests that count from look-ups. `reply` answers as the provider would; where it
    /// says `None`, a plain status stands in. It is not asked what to say when the connection is to break.
    pub async fn with(
        makes_message: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        reply: impl Fn(Behaviour, &Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let double = Self(Arc::new(Shared {
            address: listener.local_addr().expect("a bound listener has an address"),
            makes_message: Box::new(makes_message),
            reply: Box::new(reply),
            behaviour: Mutex::new(Behaviour::Accept),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
        }));
        tokio::spawn(double.clone().listen(listener));
        double
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// `path` starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.address)
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.0.behaviour.lock().expect("no holder panics") = behaviour;
    }

    /// All requests so far, look-ups too.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().expect("no holder panics").clone()
    }

    pub fn connections(&self) -> usize {
        self.0.connections.load(SeqCst)
    }

    /// Requests that would make a message, and any that followed a redirect.
    pub fn calls(&self) -> usize {
        self.0.calls.load(SeqCst)
    }

    pub fn taken(&self) -> usize {
        self.0.taken.load(SeqCst)
    }

    /// Whether a request is one that would make a message, or follows a redirect.
    pub(super) fn counts(&self, seen: &Seen) -> bool {
        (self.0.makes_message)(seen) || seen.path == "/elsewhere"
    }

    async fn listen(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            self.0.connections.fetch_add(1, SeqCst);
            let double = self.clone();
            // A client that goes away is its own affair.
            tokio::spawn(async move { drop(double.serve(stream).await) });
        }
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = BytesMut::new();
        while let Some(seen) = read_request(&mut stream, &mut buffer).await? {
            let behaviour = *self.0.behaviour.lock().expect("no holder panics");
            let counts = self.counts(&seen);
            self.count(counts, behaviour);
            let reply = (self.0.reply)(behaviour, &seen).unwrap_or_else(|| self.usual(behaviour, counts)).write();
            self.0.seen.lock().expect("no holder panics").push(seen);
            match behaviour {
                Behaviour::CutHead if counts => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await,
                Behaviour::CutBody if counts => {
                    return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\": \"").await;
                }
                Behaviour::Silence if counts => pending().await,
                _ => stream.write_all(&reply).await?,
            }
        }
        Ok(())
    }

    fn count(&self, counts: bool, behaviour: Behaviour) {
        self.0.calls.fetch_add(usize::from(counts), SeqCst);
        self.0.taken.fetch_add(usize::from(counts && behaviour.takes()), SeqCst);
    }

    /// The plainest answer. Look-ups go well whatever happens to messages, but not with the wrong key.
    fn usual(&self, behaviour: Behaviour, counts: bool) -> Reply {
        match behaviour {
            Behaviour::Unauthorized => Reply::new(401, "{}"),
            _ if !counts => Reply::new(200, "{}"),
            Behaviour::Refuse => Reply::new(422, "{}"),
            Behaviour::Throttle(None) => Reply::new(429, "{}"),
            Behaviour::Throttle(Some(seconds)) => Reply::new(429, "{}").header("retry-after", seconds.to_string()),
            Behaviour::ServerError(status) => Reply::new(status, "{}"),
            Behaviour::Rubbish => Reply::new(200, "<html>\u{0}[[").header("content-type", "text/html"),
            Behaviour::Redirect(status) => Reply::new(status, "").header("location", self.url("/elsewhere")),
            _ => Reply::new(200, "{}"),
        }
    }
}

/// A [`Harness`] for channels that speak HTTP.
pub struct HttpHarness {
    pub plugin: Box<dyn Plugin>,
    pub provider: &'static str,
    pub double: HttpDouble,
    pub settings: fn(SocketAddr) -> Settings,
    pub message: Message,
    /// Where this channel departs from [`Behaviour::usual`].
    pub unusual: Vec<(Behaviour, Expected)>,
    pub check_proves_credentials: bool,
}

impl HttpHarness {
    /// The usual channel, with the usual message.
    pub fn new(
        plugin: Box<dyn Plugin>,
        provider: &'static str,
        double: HttpDouble,
        settings: fn(SocketAddr) -> Settings,
    ) -> Self {
        let message = sample_message(&plugin.manifest().channel);
        Self { plugin, provider, double, settings, message, unusual: vec![], check_proves_credentials: true }
    }
}

impl Harness for HttpHarness {
    fn plugin(&self) -> &dyn Plugin {
        &*self.plugin
    }

    fn provider(&self) -> &str {
        self.provider
    }

    fn settings(&self, at: SocketAddr) -> Settings {
        (self.settings)(at)
    }

    fn address(&self) -> SocketAddr {
        self.double.address()
    }

    fn http(&self) -> Option<&HttpDouble> {
        Some(&self.double)
    }

    fn behave(&self, behaviour: Behaviour) {
        self.double.behave(behaviour);
    }

    fn calls(&self) -> usize {
        self.double.calls()
    }

    fn taken(&self) -> usize {
        self.double.taken()
    }

    fn message(&self) -> Message {
        self.message.clone()
    }

    fn expects(&self, behaviour: Behaviour) -> Expected {
        self.unusual.iter().find(|(b, _)| *b == behaviour).map_or_else(|| behaviour.usual(), |(_, expected)| *expected)
    }

    fn check_proves_credentials(&self) -> bool {
        self.check_proves_credentials
    }
}
