//! The rows of the fault matrix that every channel over HTTP must stand, each between the channel and its provider's
//! double: connections that break, servers that are not who they should be, answers without end or sense. Whatever
//! happens, it is one call, it has its right name, the connection is let go, and the next message goes well.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::proxy::{Cut, Fault, Proxy, Then};
use super::suite::{IMPATIENT, PATIENT, Suite, ensure};
use super::tls::{Authority, front};
use super::{Behaviour, HttpDouble, Seen, loopback_host};
use crate::http::Http;
use crate::net::{Guard, Names};
use crate::{Channel, Failure, Host, Message, Settings};

/// A name that means nothing. A manifest that names its hosts must name it, to be tried with it.
pub const NOBODY: &str = "nobody.example";

/// The most that an endless answer may get rid of before the caller hangs up. What was not taken needs no memory.
const ENDLESS_LIMIT: usize = 16 << 20;

/// Something that happens to one request.
struct Row {
    what: String,
    fault: Fault,
    /// What the channel must make of it: the same as of this.
    like: Behaviour,
    timeout: Duration,
    /// Over a connection that was used before.
    reused: bool,
    /// How much of an endless answer may be taken. Not of interim heads: each is forgotten when the next one comes, so only
    /// the time bounds them.
    most: usize,
}

impl Row {
    fn new(what: impl Into<String>, fault: Fault, like: Behaviour) -> Self {
        Self { what: what.into(), fault, like, timeout: PATIENT, reused: false, most: usize::MAX }
    }

    fn impatient(self) -> Self {
        Self { timeout: IMPATIENT, ..self }
    }

    fn reused(self) -> Self {
        Self { what: format!("{}, on a reused connection", self.what), reused: true, ..self }
    }
}

impl Suite<'_> {
    /// Where nobody can be reached: what every channel tells by itself.
    pub(super) async fn no_way(&mut self) {
        let name = self.unsent(self.nobody_by_name()).await;
        self.record("F12 a name that does not resolve is not_sent", name);
        let blackhole = Blackhole::dig().await;
        let host = loopback_host(IMPATIENT);
        let silent = self.unsent(self.open_with(self.harness.settings(blackhole.address), &host)).await;
        self.record("F12 an address that swallows everything is not_sent", silent);
    }

    fn nobody_by_name(&self) -> Result<Arc<dyn Channel>, String> {
        let settings = self.settings_with(self.harness.address(), "127.0.0.1", NOBODY);
        let Host { guard, .. } = loopback_host(PATIENT);
        let guard = Guard {
            allow: guard.allow.clone(),
            allow_http: true,
            names: Names::from_fn(|_| vec![]),
            ..Default::default()
        };
        let guard = Arc::new(guard);
        let http = Http::new(Arc::clone(&guard), PATIENT);
        self.open_with(settings, &Host { http, guard, ..loopback_host(PATIENT) })
    }

    pub(super) async fn breaks(&mut self, double: &HttpDouble) {
        let (proxy, message) = match self.proxy(double).await {
            Ok(ready) => ready,
            Err(fault) => return self.record("a message through the proxy", Err(fault)),
        };
        for row in rows(&proxy) {
            let result = self.broken(&proxy, &row, &message).await;
            self.record(&row.what, result);
        }
        for (value, least, most) in patience() {
            let result = self.asked_for_patience(&proxy, value.as_deref(), &message).await;
            let result = result.and_then(|after| {
                ensure((least..=most).contains(&after.unwrap_or_default()), || format!("retry_after is {after:?}"))
            });
            self.record(&format!("F15 Retry-After {value:?} is throttled"), result);
        }
        self.certificates(double).await;
    }

    /// A proxy that breaks only what makes the message, and a message that goes through it: what is remembered of an
    /// account at one address means nothing at another.
    async fn proxy(&self, double: &HttpDouble) -> Result<(Proxy, Message), String> {
        // Known by its path: where a request is cut, its body has not come yet.
        let maker: Arc<OnceLock<(String, String)>> = Arc::default();
        let known = Arc::clone(&maker);
        let is_it = move |seen: &Seen| known.get().is_some_and(|(m, p)| (m, p) == (&seen.method, &seen.path));
        let proxy = Proxy::concerning(double.address(), is_it).await;
        let mut message = self.harness.message();
        self.harness.behave(Behaviour::Accept);
        let channel = self.open(proxy.address(), PATIENT)?;
        let learnt = channel.send(&message).await.map_err(|e| e.to_string())?.remember;
        message.memory = message.memory.and(learnt);
        let before = double.seen().len();
        channel.send(&message).await.map_err(|e| e.to_string())?;
        let made = double.seen().split_off(before).into_iter().find(|seen| double.counts(seen));
        let Seen { method, path, .. } = made.ok_or("no request made the message")?;
        maker.get_or_init(|| (method, path));
        Ok((proxy, message))
    }

    /// One message through the proxy, and then one that must go well.
    async fn broken(&self, proxy: &Proxy, row: &Row, message: &Message) -> Result<(), String> {
        let Row { fault, like, timeout: patience, reused, most, .. } = row;
        let channel = self.open(proxy.address(), *patience)?;
        self.harness.behave(Behaviour::Accept);
        proxy.set(Fault::Pass);
        if *reused {
            channel.send(message).await.map_err(|e| format!("the message before failed: {e}"))?;
        }
        let (hits, said, calls) = (proxy.hits(), proxy.said(), self.harness.calls());
        proxy.set(fault.clone());
        let outcome = channel.send(message).await;
        let (made, reached) = (proxy.hits() - hits, self.harness.calls() - calls);
        ensure(made == 1, || format!("made {made} calls instead of one"))?;
        let whole = usize::from(!matches!(fault, Fault::CutInside(_) | Fault::Say { .. }));
        ensure(reached == whole, || format!("{reached} calls reached the provider instead of {whole}"))?;
        self.judge(*like, message, outcome)?;
        let let_go = timeout(PATIENT, proxy.let_go()).await;
        ensure(let_go.is_ok(), || "the connection is still held".to_owned())?;
        let took = proxy.said() - said;
        ensure(took <= *most, || format!("took {took} bytes of an answer without end"))?;
        proxy.set(Fault::Pass);
        channel.send(message).await.map(drop).map_err(|e| format!("the next message failed: {e}"))
    }

    async fn asked_for_patience(
        &self,
        proxy: &Proxy,
        value: Option<&str>,
        message: &Message,
    ) -> Result<Option<Duration>, String> {
        let header = value.map(|v| format!("retry-after: {v}\r\n")).unwrap_or_default();
        proxy.set(said("429 Too Many Requests", &header, "{}"));
        let error = self.open(proxy.address(), PATIENT)?.send(message).await.err().ok_or("was accepted")?;
        ensure(error.failure == Failure::Throttled, || format!("must be Throttled, was {:?}", error.failure))?;
        Ok(error.retry_after)
    }

    /// The same double behind TLS: only a certificate in order lets a message, or a secret, through.
    async fn certificates(&mut self, double: &HttpDouble) {
        let authority = Authority::new();
        let tried = [
            ("F13 an expired certificate is not_sent", authority.leaf_until("127.0.0.1", 2020)),
            ("F13 a certificate of another name is not_sent", authority.leaf("other.example")),
            ("F13 a certificate that nobody vouches for is not_sent", Authority::new().leaf("127.0.0.1")),
        ];
        let host = |timeout| {
            let host = loopback_host(timeout);
            Host { http: Http::trusting(authority.roots.clone(), host.guard.clone(), timeout), ..host }
        };
        self.harness.behave(Behaviour::Accept);
        for (what, leaf) in &tried {
            let before = (double.connections(), double.seen().len());
            let opened = self.open_with(self.over_tls(front(leaf, double.address()).await), &host(PATIENT));
            let mut result = self.unsent(opened).await;
            if before != (double.connections(), double.seen().len()) {
                result = Err("something was said to a server that may be anybody".to_owned());
            }
            self.record(what, result);
        }
        let good = front(&authority.leaf("127.0.0.1"), double.address()).await;
        let message = self.harness.message();
        let sent = match self.open_with(self.over_tls(good), &host(PATIENT)) {
            Ok(channel) => channel.send(&message).await.map(drop).map_err(|e| e.to_string()),
            Err(e) => Err(e),
        };
        self.record("F13 a certificate in order is trusted", sent);
        self.harness.behave(Behaviour::Redirect(302));
        let calls = self.harness.calls();
        let downgraded = match self.open_with(self.over_tls(good), &host(PATIENT)) {
            Ok(channel) => self.judge(Behaviour::Redirect(302), &message, channel.send(&message).await),
            Err(e) => Err(e),
        };
        let made = self.harness.calls() - calls;
        let downgraded = downgraded.and(ensure(made == 1, || format!("made {made} calls instead of one")));
        self.record("F22 a redirect from https to http is not followed", downgraded);
        self.harness.behave(Behaviour::Accept);
    }

    fn over_tls(&self, at: SocketAddr) -> Settings {
        self.settings_with(at, "http://", "https://")
    }

    /// A message that must not leave the house.
    async fn unsent(&self, channel: Result<Arc<dyn Channel>, String>) -> Result<(), String> {
        let message = self.harness.message();
        let error = channel?.send(&message).await.err().ok_or("was accepted by nobody")?;
        ensure(error.failure == Failure::NotSent, || format!("must be NotSent, was {:?} ({error})", error.failure))?;
        self.is_discreet(&message, &format!("{error} {error:?}"))
    }
}

fn rows(proxy: &Proxy) -> Vec<Row> {
    let mut rows = vec![];
    for (how, cut) in [("a reset", Cut::Reset), ("an orderly end", Cut::Close)] {
        let after =
            || Row::new(format!("F10 {how} after the request"), Fault::CutAfterRequest(cut), Behaviour::CutHead);
        rows.extend([after(), after().reused()]);
        rows.push(Row::new(format!("F11 {how} inside the request"), Fault::CutInside(cut), Behaviour::CutHead));
    }
    rows.push(Row::new("F17 an answer that is swallowed", Fault::Swallow, Behaviour::Silence).impatient());
    let drip = |head| Fault::Drip { every: IMPATIENT, head };
    rows.push(Row::new("F18 a head that drips", drip(true), Behaviour::Silence).impatient());
    rows.push(Row::new("F18 a body that drips", drip(false), Behaviour::CutBody).impatient());
    let endless = Row::new("F19 a body without end", Fault::endless(), Behaviour::CutBody);
    rows.push(Row { most: ENDLESS_LIMIT, ..endless });
    for body in RUBBISH {
        rows.push(Row::new(format!("F20 200 and {body:?}"), said("200 OK", "", body), Behaviour::Rubbish));
    }
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"id\": \"1".to_vec();
    rows.push(Row::new("F21 a body cut short", Fault::Say { first: cut, then: Then::Close }, Behaviour::CutBody));
    for (what, target) in [
        ("in a circle", proxy.url("/elsewhere")),
        ("to a private address", "http://10.0.0.1/".to_owned()),
        ("to the cloud's own address", "http://169.254.169.254/latest/meta-data/".to_owned()),
    ] {
        let redirect = said("307 Temporary Redirect", &format!("location: {target}\r\n"), "");
        rows.push(Row::new(format!("F22 a redirect {what}"), redirect, Behaviour::Redirect(307)));
    }
    let huge = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x-again: 1\r\n".repeat(10_000));
    for (what, head) in [
        ("a header of 1 MiB", &*huge),
        ("10,000 headers", &*many),
        ("a status that is no number", "HTTP/1.1 abc OK\r\n\r\n"),
        ("another protocol", "ICY 200 OK\r\n\r\n"),
        ("a header without a colon", "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"),
        ("bytes", "\0\u{1}\u{2}\u{3}\r\n\r\n"),
    ] {
        rows.push(Row::new(format!("F23 {what} for a head"), Fault::say(head), Behaviour::CutHead));
    }
    let hints = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
    let for_ever = Fault::Say { first: b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), then: Then::Repeat(hints) };
    rows.push(Row::new("F23 1xx for ever", for_ever, Behaviour::Silence).impatient());
    rows
}

/// What comes with a 200 and says nothing about a message. The fields are those that vendors name ids by.
const RUBBISH: [&str; 10] = [
    "<html><body>Welcome</body></html>",
    "{}",
    "",
    "null",
    "[]",
    "5",
    "\"ok\"",
    "{\"id\": \"1",
    "{\"id\": {}, \"sid\": 5, \"messages\": 5, \"result\": \"x\"}",
    "{\"messages\": [{}]}",
];

/// Each form of `Retry-After`, and between what the wait must be.
fn patience() -> Vec<(Option<String>, Duration, Duration)> {
    let day = Duration::from_hours(24);
    let exactly = |value: &str, after| (Some(value.to_owned()), after, after);
    // What can't be read leaves the wait to the channel.
    let unread = |value: &str| (Some(value.to_owned()), Duration::ZERO, Duration::from_mins(5));
    #[expect(clippy::disallowed_methods, reason = "a date in an answer is compared with the real time")]
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(2));
    vec![
        exactly("120", Duration::from_mins(2)),
        (Some(date), Duration::from_hours(1), Duration::from_hours(2)),
        exactly("0", Duration::ZERO),
        unread("-5"),
        unread("1e9"),
        unread("soon"),
        exactly("1000000000", day),
        (None, Duration::ZERO, Duration::from_mins(5)),
    ]
}

/// A whole answer, after which the connection is closed.
fn said(status: &str, headers: &str, body: &str) -> Fault {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}");
    let first = format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes();
    Fault::Say { first, then: Then::Close }
}

/// A listener whose queue is full does not answer the handshake, like an address behind a silent firewall.
struct Blackhole {
    address: SocketAddr,
    _crowd: Vec<TcpStream>,
    _listener: tokio::net::TcpListener,
}

impl Blackhole {
    async fn dig() -> Self {
        let socket = TcpSocket::new_v4().expect("the machine has IPv4");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback has a free port");
        let listener = socket.listen(0).expect("a bound socket listens");
        let address = listener.local_addr().expect("a bound listener has an address");
        let mut crowd = vec![];
        while let Ok(Ok(stream)) = timeout(IMPATIENT / 4, TcpStream::connect(address)).await {
            crowd.push(stream);
        }
        Self { address, _crowd: crowd, _listener: listener }
    }
}
