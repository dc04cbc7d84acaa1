//! What the client says about calls that go wrong, each through a proxy that breaks them in its own way.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use plugin_api::conformance::{Behaviour, Cut, Fault, HttpDouble, Proxy, Reply, Then, loopback_host};
use plugin_api::http::{Answer, Http, Url};
use plugin_api::{Failure, SendError};

/// Never reached.
const LONG: Duration = Duration::from_secs(20);
/// Reached in the tests about time-outs.
const SHORT: Duration = Duration::from_millis(500);

struct Stage {
    double: HttpDouble,
    proxy: Proxy,
    http: Http,
}

impl Stage {
    async fn with(fault: Fault, timeout: Duration) -> Self {
        let double = HttpDouble::start().await;
        let proxy = Proxy::start(double.address()).await;
        proxy.set(fault);
        Self { double, proxy, http: loopback_host(timeout).http }
    }

    async fn post(&self) -> Result<Answer, SendError> {
        self.post_body(b"{}".to_vec()).await
    }

    async fn post_body(&self, body: Vec<u8>) -> Result<Answer, SendError> {
        self.http.post(&self.url("/messages?token=url-canary")).body(body).send().await
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&self.proxy.url(path)).unwrap()
    }
}

fn failed(result: Result<Answer, SendError>) -> (Failure, String) {
    let error = result.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    (error.failure, error.reason.into_owned())
}

fn unknown(reason: &str) -> (Failure, String) {
    (Failure::Unknown, reason.to_owned())
}

#[tokio::test]
async fn a_cut_after_the_whole_request_is_one_call_and_unknown() {
    for how in [Cut::Reset, Cut::Close] {
        let stage = Stage::with(Fault::CutAfterRequest(how), LONG).await;
        assert_eq!(failed(stage.post().await), unknown("connection_lost"));
        assert_eq!(stage.double.calls(), 1, "{how:?}");
    }
}

#[tokio::test]
async fn a_cut_on_a_reused_connection_is_one_call_and_unknown() {
    for how in [Cut::Reset, Cut::Close] {
        let stage = Stage::with(Fault::Pass, LONG).await;
        stage.post().await.unwrap();
        stage.proxy.set(Fault::CutAfterRequest(how));
        assert_eq!(failed(stage.post().await), unknown("connection_lost"));
        assert_eq!((stage.double.calls(), stage.double.connections()), (2, 1), "{how:?}");
    }
}

#[tokio::test]
async fn a_cut_inside_the_request_is_unknown() {
    for how in [Cut::Reset, Cut::Close] {
        let stage = Stage::with(Fault::CutInside(how), LONG).await;
        assert_eq!(failed(stage.post_body(vec![b'x'; 4 << 20]).await), unknown("connection_lost"));
        assert_eq!(stage.double.calls(), 0, "{how:?}");
    }
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let http = loopback_host(LONG).http;
    let to = async |url: String| failed(http.post(&Url::parse(&url).unwrap()).send().await);
    assert_eq!(to(format!("http://{closed}/")).await, (Failure::NotSent, "connect_failed".into()));
    assert_eq!(to(format!("https://{closed}/")).await, (Failure::NotSent, "connect_failed".into()));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_was_not_sent() {
    use plugin_api::net::{Guard, Names};
    let guard = Guard { names: Names::from_fn(|_| vec![]), ..Guard::default() };
    let http = Http::new(Arc::new(guard), LONG);
    let result = http.post(&Url::parse("https://nobody.example/").unwrap()).send().await;
    assert_eq!(failed(result), (Failure::NotSent, "name_not_resolved".into()));
}

/// A listener whose queue is full does not answer the handshake, like an address behind a silent firewall.
#[tokio::test]
async fn a_blackholed_address_was_not_sent() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut crowd = vec![];
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
        crowd.push(stream);
    }
    let http = loopback_host(SHORT).http;
    let result = http.post(&Url::parse(&format!("http://{address}/")).unwrap()).send().await;
    assert_eq!(failed(result), (Failure::NotSent, "connect_failed".into()));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_gets_nothing() {
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://{}/", plain.local_addr().unwrap())).unwrap();
    let http = loopback_host(LONG).http;
    let rubbish = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let mut read = vec![];
        let _ = stream.read_to_end(&mut read).await;
        read
    };
    let (result, read) = tokio::join!(http.post(&url).body(b"body-canary".to_vec()).send(), rubbish);
    assert_eq!(failed(result), (Failure::NotSent, "tls_failed".into()));
    assert!(!String::from_utf8_lossy(&read).contains("canary"));
}

#[tokio::test]
async fn a_server_with_an_untrusted_certificate_gets_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://localhost:{}/", listener.local_addr().unwrap().port())).unwrap();
    let http = loopback_host(LONG).http;
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        self_signed().accept(stream).await.is_err()
    };
    let (result, refused) = tokio::join!(http.post(&url).body(b"body-canary".to_vec()).send(), server);
    assert_eq!(failed(result), (Failure::NotSent, "tls_failed".into()));
    assert!(refused);
}

/// For `localhost`, valid for a hundred years, signed by nobody.
fn self_signed() -> tokio_rustls::TlsAcceptor {
    let certificate = include_bytes!("tls/self-signed.der").as_slice().into();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(include_bytes!("tls/key.der").as_slice()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    Arc::new(config).into()
}

#[tokio::test]
async fn any_other_server_error_is_unknown() {
    for status in [500, 501, 502, 503, 504, 599] {
        let stage = Stage::with(Fault::Pass, LONG).await;
        stage.double.behave(Behaviour::ServerError(status));
        let error = stage.post().await.unwrap().outcome().unwrap_err();
        assert_eq!((error.failure, error.http_status), (Failure::Unknown, Some(status)));
    }
}

#[tokio::test]
async fn retry_after_is_understood_or_ignored() {
    let in_an_hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(1));
    let day = 24 * 3600;
    let cases: [(Option<&str>, Option<u64>); 11] = [
        (Some("120"), Some(120)),
        (Some(" 7 "), Some(7)),
        (Some("0"), Some(0)),
        (Some("-5"), None),
        (Some("1e9"), None),
        (Some("soon"), None),
        (Some(""), None),
        (None, None),
        (Some("1000000"), Some(day)),
        (Some("99999999999999999999999"), Some(day)),
        (Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0)),
    ];
    for (header, expected) in cases {
        let error = answered(429, header).await.outcome().unwrap_err();
        assert_eq!(error.failure, Failure::Throttled, "{header:?}");
        assert_eq!(error.retry_after, expected.map(Duration::from_secs), "{header:?}");
    }
    let after = answered(429, Some(&in_an_hour)).await.retry_after().unwrap();
    assert!((3590..=3600).contains(&after.as_secs()), "{after:?}");
    assert_eq!(answered(503, Some("9")).await.outcome().unwrap_err().failure, Failure::Throttled);
    assert_eq!(answered(503, Some("soon")).await.outcome().unwrap_err().failure, Failure::Unknown);
    assert_eq!(answered(503, None).await.outcome().unwrap_err().failure, Failure::Unknown);
}

async fn answered(status: u16, retry_after: Option<&str>) -> Answer {
    let mut reply = Reply::new(status, "");
    if let Some(value) = retry_after {
        reply = reply.header("retry-after", value);
    }
    let double = HttpDouble::with(|_| true, move |_, _| Some(reply.clone())).await;
    loopback_host(LONG).http.post(&Url::parse(&double.url("/")).unwrap()).send().await.unwrap()
}

#[tokio::test]
async fn silence_is_unknown_when_the_time_is_up() {
    let stage = Stage::with(Fault::Swallow, SHORT).await;
    assert_eq!(failed(stage.post().await), unknown("timeout"));
    assert_eq!(stage.double.calls(), 1);
    stage.proxy.let_go().await;
}

#[tokio::test]
async fn a_dripping_head_ends_with_the_whole_time() {
    let stage = Stage::with(Fault::Drip { every: SHORT / 10, head: true }, SHORT).await;
    assert_eq!(failed(stage.post().await), unknown("timeout"));
    stage.proxy.let_go().await;
}

#[tokio::test]
async fn a_dripping_body_is_an_incomplete_answer() {
    let stage = Stage::with(Fault::Drip { every: SHORT, head: false }, SHORT).await;
    let answer = stage.post().await.unwrap();
    assert_eq!((answer.status, answer.complete), (200, false));
    assert!(answer.outcome().is_ok());
    stage.proxy.let_go().await;
}

#[tokio::test]
async fn an_endless_body_is_read_up_to_the_limit() {
    let stage = Stage::with(Fault::endless(), LONG).await;
    let answer = stage.post().await.unwrap();
    assert_eq!((answer.status, answer.complete, answer.body.len()), (200, false, plugin_api::http::BODY_LIMIT));
    assert!(answer.outcome().is_ok());
    stage.proxy.let_go().await;
}

#[tokio::test]
async fn a_cut_body_is_an_incomplete_answer() {
    let stage = Stage::with(Fault::Pass, LONG).await;
    stage.double.behave(Behaviour::CutBody);
    let answer = stage.post().await.unwrap();
    assert_eq!((answer.status, answer.complete), (200, false));
    assert_eq!(answer.json::<serde_json::Value>(), None);
}

#[tokio::test]
async fn a_body_of_many_pieces_is_put_together() {
    let text: String = (0..60_000_u32).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let body = text.clone();
    let double = HttpDouble::with(|_| true, move |_, _| Some(Reply::new(200, body.clone()))).await;
    let answer = loopback_host(LONG).http.get(&Url::parse(&double.url("/")).unwrap()).send().await.unwrap();
    assert!(answer.complete && answer.body == text.as_bytes());
}

#[tokio::test]
async fn redirects_are_refused_and_their_targets_never_called() {
    for status in [301, 302, 303, 307, 308] {
        let stage = Stage::with(Fault::Pass, LONG).await;
        stage.double.behave(Behaviour::Redirect(status));
        let error = stage.post().await.unwrap().outcome().unwrap_err();
        assert_eq!((error.failure, &*error.reason), (Failure::Rejected, "redirect_not_followed"));
        assert_eq!(stage.double.calls(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_broken_head_is_unknown() {
    let huge = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x-again: 1\r\n".repeat(10_000));
    let heads: [&[u8]; 6] = [
        huge.as_bytes(),
        many.as_bytes(),
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
    ];
    for head in heads {
        let stage = Stage::with(Fault::say(head), LONG).await;
        assert_eq!(failed(stage.post().await), unknown("connection_lost"), "{:?}", &head[..20.min(head.len())]);
        stage.proxy.let_go().await;
    }
    let cut = Fault::Say { first: b"HTTP/1.1 200 OK\r\ncontent-".to_vec(), then: Then::Close };
    assert_eq!(failed(Stage::with(cut, LONG).await.post().await), unknown("connection_lost"));
}

#[tokio::test]
async fn preliminary_answers_for_ever_are_unknown_and_let_go() {
    let first = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let again = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
    let stage = Stage::with(Fault::Say { first, then: Then::Repeat(again) }, SHORT).await;
    let started = Instant::now();
    assert_eq!(failed(stage.post().await), unknown("timeout"));
    assert!(started.elapsed() < LONG, "the call ends by itself");
    stage.proxy.let_go().await;
}

#[tokio::test]
async fn an_answer_shows_neither_headers_nor_body() {
    let double = HttpDouble::with(|_| true, |_, _| Some(Reply::new(200, "canary").header("x-key", "canary"))).await;
    let answer = loopback_host(LONG).http.get(&Url::parse(&double.url("/")).unwrap()).send().await.unwrap();
    assert!(!format!("{answer:?}").contains("canary"));
}
