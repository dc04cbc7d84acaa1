//! A way to PostgreSQL that breaks where it is told to.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// When to break: once, on the connection on which the client says `text`.
#[derive(Debug, Clone)]
pub enum Rule {
    /// What holds `text` is forwarded; instead of the server's answer comes the end.
    CutAnswerTo(&'static str),
    /// What holds `text` is not forwarded; the end comes at once.
    CutBefore(&'static str),
    /// After `text` was seen and passed, the answer to the next COMMIT is cut.
    CutCommitAfter(&'static str),
    /// What holds `text` is forwarded, and no answer ever comes; the connection stays open.
    SwallowAnswerTo(&'static str),
}

#[derive(Clone)]
pub struct PgProxy {
    rule: Arc<Mutex<Option<Rule>>>,
}

impl PgProxy {
    /// In front of the server of this URL; the second is the URL through the proxy.
    pub async fn start(url: &str) -> (Self, String) {
        let mut through = url::Url::parse(url).unwrap();
        let upstream = (through.host_str().unwrap().to_owned(), through.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        through.set_host(Some("127.0.0.1")).unwrap();
        through.set_port(Some(address.port())).unwrap();
        // What is said must be readable here.
        through.query_pairs_mut().append_pair("sslmode", "disable");
        let proxy = Self { rule: Arc::default() };
        let rule = Arc::clone(&proxy.rule);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((upstream.0.as_str(), upstream.1)).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&rule)));
            }
        });
        (proxy, through.into())
    }

    pub fn set(&self, rule: Rule) {
        *self.rule.lock().unwrap() = Some(rule);
    }

    /// The rule has done its work.
    pub fn is_done(&self) -> bool {
        self.rule.lock().unwrap().is_none()
    }
}

/// What became of one piece of what the client says.
enum Verdict {
    Pass,
    CutNow,
    /// Pass it on, then end instead of answering.
    CutAnswer,
    SwallowAnswer,
}

async fn forward(mut client: TcpStream, mut server: TcpStream, rule: Arc<Mutex<Option<Rule>>>) -> Option<()> {
    client.set_nodelay(true).ok()?;
    server.set_nodelay(true).ok()?;
    let (mut said, mut answered) = (vec![0; 1 << 20], vec![0; 1 << 16]);
    let mut awaits_commit = false;
    loop {
        tokio::select! {
            read = client.read(&mut said) => {
                let piece = &said[..read.ok().filter(|n| *n > 0)?];
                match judge(piece, &rule, &mut awaits_commit) {
                    Verdict::Pass => server.write_all(piece).await.ok()?,
                    Verdict::CutNow => return None,
                    Verdict::CutAnswer => {
                        server.write_all(piece).await.ok()?;
                        // The answer's beginning means that the work is done, commit included.
                        while client.try_read(&mut said).is_ok_and(|n| n > 0) {}
                        let _ = server.read(&mut answered).await.ok()?;
                        return None;
                    }
                    Verdict::SwallowAnswer => {
                        server.write_all(piece).await.ok()?;
                        let _ = server.read(&mut answered).await.ok()?;
                        // Until the client has had enough.
                        while client.read(&mut said).await.ok()? > 0 {}
                        return None;
                    }
                }
            }
            read = server.read(&mut answered) => {
                client.write_all(&answered[..read.ok().filter(|n| *n > 0)?]).await.ok()?;
            }
        }
    }
}

fn judge(piece: &[u8], rule: &Mutex<Option<Rule>>, awaits_commit: &mut bool) -> Verdict {
    let mut rule = rule.lock().unwrap();
    let says = |text: &str| piece.windows(text.len()).any(|w| w.eq_ignore_ascii_case(text.as_bytes()));
    match rule.clone() {
        Some(Rule::CutAnswerTo(text)) if says(text) => {
            *rule = None;
            Verdict::CutAnswer
        }
        Some(Rule::CutBefore(text)) if says(text) => {
            *rule = None;
            Verdict::CutNow
        }
        Some(Rule::SwallowAnswerTo(text)) if says(text) => {
            *rule = None;
            Verdict::SwallowAnswer
        }
        Some(Rule::CutCommitAfter(text)) => {
            *awaits_commit |= says(text);
            if *awaits_commit && says("commit") {
                *rule = None;
                return Verdict::CutAnswer;
            }
            Verdict::Pass
        }
        _ => Verdict::Pass,
    }
}
