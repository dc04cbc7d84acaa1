//! A mail server on a loopback port that answers as the test says and remembers what it was told.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// What to do instead of the usual, once, when a command comes. The stages are the verbs, and `greeting`, `content`
/// (the first line of a message) and `.` (its end); `reset` makes the next connection end in one.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Say(&'static str),
    Close,
    Hang,
    /// Says it and closes.
    Last(&'static str),
}

#[derive(Default, Clone)]
pub(crate) enum Encryption {
    #[default]
    None,
    Implicit(Arc<ServerConfig>),
    StartTls(Arc<ServerConfig>),
}

#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) address: Option<SocketAddr>,
    extensions: Vec<&'static str>,
    encryption: Encryption,
    script: Mutex<Vec<(&'static str, Act)>>,
    /// Every command line, and whether it came encrypted.
    pub(crate) commands: Mutex<Vec<(bool, String)>>,
    /// Every message whose final dot was read, dots not yet undone.
    pub(crate) mails: Mutex<Vec<String>>,
    pub(crate) connections: AtomicUsize,
    /// Told when the sink has fallen silent.
    pub(crate) hanging: Notify,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Sink {
    pub(crate) async fn start(
        encryption: Encryption,
        extensions: &[&'static str],
        script: &[(&'static str, Act)],
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Arc::new(Self {
            address: Some(listener.local_addr().unwrap()),
            extensions: extensions.to_vec(),
            encryption,
            script: Mutex::new(script.to_vec()),
            ..Self::default()
        });
        let serving = Arc::clone(&sink);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let sink = Arc::clone(&serving);
                sink.connections.fetch_add(1, SeqCst);
                tokio::spawn(async move { sink.serve(tcp).await });
            }
        });
        sink
    }

    /// Without encryption, with PIPELINING.
    pub(crate) async fn plain(script: &[(&'static str, Act)]) -> Arc<Self> {
        Self::start(Encryption::None, &["PIPELINING", "SIZE 100000", "ENHANCEDSTATUSCODES"], script).await
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.unwrap().port()
    }

    pub(crate) fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// How often a command came.
    pub(crate) fn count(&self, verb: &str) -> usize {
        self.commands.lock().unwrap().iter().filter(|(_, line)| line.starts_with(verb)).count()
    }

    pub(crate) fn add(&self, stage: &'static str, act: Act) {
        self.script.lock().unwrap().push((stage, act));
    }

    /// From now on only this.
    pub(crate) fn replace(&self, script: Vec<(&'static str, Act)>) {
        *self.script.lock().unwrap() = script;
    }

    fn act(&self, stage: &str) -> Option<Act> {
        let mut script = self.script.lock().unwrap();
        let at = script.iter().position(|(s, _)| *s == stage)?;
        Some(script.remove(at).1)
    }

    async fn serve(&self, tcp: TcpStream) -> Option<()> {
        tcp.set_nodelay(true).unwrap();
        if self.act("reset").is_some() {
            // Without lingering every close is a reset.
            socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
        }
        // Answers to commands that came together go out together.
        let tcp = BufWriter::new(tcp);
        match &self.encryption {
            Encryption::Implicit(config) => {
                let tls = TlsAcceptor::from(Arc::clone(config)).accept(tcp).await.ok()?;
                self.talk(BufReader::new(Box::new(tls)), true).await.ok();
            }
            Encryption::StartTls(config) => {
                let plain = self.talk(BufReader::new(Box::new(tcp)), false).await.ok()??;
                let tls = TlsAcceptor::from(Arc::clone(config)).accept(plain).await.ok()?;
                self.talk(BufReader::new(Box::new(tls)), true).await.ok();
            }
            Encryption::None => {
                self.talk(BufReader::new(Box::new(tcp)), false).await.ok();
            }
        }
        None
    }

    /// One session; gives the stream back when the client wants TLS.
    async fn talk(&self, mut s: BufReader<Box<dyn Duplex>>, encrypted: bool) -> io::Result<Option<Box<dyn Duplex>>> {
        let starttls = matches!(self.encryption, Encryption::StartTls(_));
        let greeted = starttls && encrypted;
        if !greeted && !self.answer(&mut s, "greeting", "220 sink.example.test ESMTP").await? {
            return Ok(None);
        }
        let mut refused = false;
        loop {
            let mut line = String::new();
            if s.read_line(&mut line).await? == 0 {
                return Ok(None);
            }
            let line = line.trim_end().to_owned();
            self.commands.lock().unwrap().push((encrypted, line.clone()));
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
            let usual = match verb.as_str() {
                "EHLO" => self.capabilities(starttls && !encrypted),
                "AUTH" if line == "AUTH LOGIN" => "334 VXNlcm5hbWU6".into(),
                "AUTH" => "235 2.7.0 ok".into(),
                "STARTTLS" => "220 2.0.0 go".into(),
                "DATA" if refused => "503 5.5.1 no recipients".into(),
                "DATA" => "354 go on".into(),
                "QUIT" => "221 2.0.0 bye".into(),
                // The second and third line of AUTH LOGIN.
                _ if line.ends_with('=') && self.count("AUTH LOGIN") > 0 => {
                    if self.commands.lock().unwrap().iter().rev().nth(1).unwrap().1 == "AUTH LOGIN" {
                        "334 UGFzc3dvcmQ6".into()
                    } else {
                        "235 2.7.0 ok".into()
                    }
                }
                _ => "250 2.0.0 ok".into(),
            };
            let said = self.reply(&mut s, &verb, &usual).await?;
            let Some(said) = said else { return Ok(None) };
            match verb.as_str() {
                "RCPT" => refused |= !said.starts_with('2'),
                "MAIL" | "RSET" => refused = !said.starts_with('2'),
                "QUIT" => return Ok(None),
                "STARTTLS" if said.starts_with("220") => return Ok(Some(s.into_inner())),
                "DATA" if said.starts_with("354") && !self.take(&mut s).await? => return Ok(None),
                _ => {}
            }
        }
    }

    async fn take(&self, s: &mut BufReader<Box<dyn Duplex>>) -> io::Result<bool> {
        let mut mail = String::new();
        loop {
            let mut line = String::new();
            if s.read_line(&mut line).await? == 0 {
                return Ok(false);
            }
            if mail.is_empty() && self.act("content").is_some() {
                return Ok(false);
            }
            if line == ".\r\n" {
                break;
            }
            mail.push_str(&line);
        }
        self.mails.lock().unwrap().push(mail);
        self.answer(s, ".", "250 2.0.0 queued").await
    }

    fn capabilities(&self, starttls: bool) -> String {
        let mut lines = vec!["sink.example.test"];
        lines.extend(&self.extensions);
        lines.extend(starttls.then_some("STARTTLS"));
        let last = lines.len() - 1;
        let line = |(n, l): (usize, &&str)| format!("250{}{l}", if n == last { ' ' } else { '-' });
        lines.iter().enumerate().map(line).collect::<Vec<_>>().join("\r\n")
    }

    async fn answer(&self, s: &mut BufReader<Box<dyn Duplex>>, stage: &str, usual: &str) -> io::Result<bool> {
        Ok(self.reply(s, stage, usual).await?.is_some())
    }

    /// `None` when the session is over.
    async fn reply(&self, s: &mut BufReader<Box<dyn Duplex>>, stage: &str, usual: &str) -> io::Result<Option<String>> {
        let (text, last) = match self.act(stage) {
            None => (usual.to_owned(), false),
            Some(Act::Say(text)) => (text.to_owned(), false),
            Some(Act::Last(text)) => (text.to_owned(), true),
            Some(Act::Close) => return s.flush().await.map(|()| None),
            Some(Act::Hang) => {
                s.flush().await?;
                self.hanging.notify_one();
                std::future::pending().await
            }
        };
        s.write_all(format!("{text}\r\n").as_bytes()).await?;
        if last || s.buffer().is_empty() {
            s.flush().await?;
        }
        Ok((!last).then_some(text))
    }
}
