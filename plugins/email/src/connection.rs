//! One open connection to a mail server: bytes in, replies out.
//!
//! lettre makes the mail here but does not carry it. Its connections give one error for a whole exchange, so the
//! question this channel lives by (was the message begun when the connection broke?) could not be answered; they take
//! four round trips a message where PIPELINING takes two; and over a stream of our own they cannot turn on TLS.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::reply::Reply;

pub(crate) struct Connection {
    stream: Stream,
    /// Read, not yet parsed.
    buffer: Vec<u8>,
    pub(crate) extensions: Extensions,
    /// Both sides agree on where they are; set only at the end of an exchange that was read to its end.
    pub(crate) in_step: bool,
    /// The last exchange ended with a refusal: the next begins with RSET.
    pub(crate) needs_reset: bool,
    /// Messages carried so far.
    pub(crate) carried: u32,
    pub(crate) idle_since: Instant,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What EHLO offered and this client uses.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Extensions {
    pub(crate) pipelining: bool,
    pub(crate) starttls: bool,
    /// The limit named by `SIZE`; 0 is none (RFC 1870).
    pub(crate) size: Option<u64>,
    pub(crate) auth_plain: bool,
    pub(crate) auth_login: bool,
}

/// The connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Closed, reset or otherwise gone.
    Lost,
    /// What came was no SMTP.
    Garbage,
}

impl Connection {
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Self::over(Stream::Plain(tcp))
    }

    pub(crate) async fn tls(tcp: TcpStream, name: ServerName<'static>, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?;
        Ok(Self::over(Stream::Tls(Box::new(stream))))
    }

    fn over(stream: Stream) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(1024),
            extensions: Extensions::default(),
            in_step: false,
            needs_reset: false,
            carried: 0,
            idle_since: Instant::now(),
        }
    }

    /// After STARTTLS was agreed to. What was read so far came in clear, so anything beyond the agreed reply may be an
    /// attacker's and is dropped here, as are the extensions named before.
    pub(crate) async fn upgrade(self, name: ServerName<'static>, config: &Arc<ClientConfig>) -> io::Result<Self> {
        match self.stream {
            Stream::Plain(tcp) => Self::tls(tcp, name, config).await,
            Stream::Tls(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// For sentences: what protects this connection.
    pub(crate) fn security(&self) -> &'static str {
        match &self.stream {
            Stream::Plain(_) => "not encrypted",
            Stream::Tls(tls) => match tls.get_ref().1.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3, certificate verified",
                _ => "TLS 1.2, certificate verified",
            },
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let written = match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(bytes).await,
            Stream::Tls(tls) => match tls.write_all(bytes).await {
                Ok(()) => tls.flush().await,
                failed => failed,
            },
        };
        written.map_err(|_| Broken::Lost)
    }

    pub(crate) async fn read(&mut self) -> Result<Reply, Broken> {
        loop {
            if let Some((reply, used)) = Reply::parse(&self.buffer).map_err(|_| Broken::Garbage)? {
                self.buffer.drain(..used);
                return Ok(reply);
            }
            let read = match &mut self.stream {
                Stream::Plain(tcp) => tcp.read_buf(&mut self.buffer).await,
                Stream::Tls(tls) => tls.read_buf(&mut self.buffer).await,
            };
            if !matches!(read, Ok(1..)) {
                return Err(Broken::Lost);
            }
        }
    }

    pub(crate) async fn command(&mut self, line: &str) -> Result<Reply, Broken> {
        self.write(line.as_bytes()).await?;
        self.read().await
    }

    /// Says goodbye, without waiting for the echo.
    pub(crate) async fn quit(mut self) {
        let _ = self.write(b"QUIT\r\n").await;
        let _ = match self.stream {
            Stream::Plain(mut tcp) => tcp.shutdown().await,
            Stream::Tls(mut tls) => tls.shutdown().await,
        };
    }

    /// An idle server has nothing to say, so anything readable is a farewell or the end. The kernel is asked itself:
    /// the runtime's notion of readiness may lag behind, and a NOOP would cost a round trip a message.
    pub(crate) fn is_quiet(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        };
        match socket2::SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => true,
            // Bytes under TLS may be a session ticket; only TLS itself can tell.
            Ok(1..) => match &mut self.stream {
                Stream::Plain(_) => false,
                Stream::Tls(tls) => {
                    let (mut byte, mut cx) = ([0; 1], Context::from_waker(Waker::noop()));
                    Pin::new(tls.as_mut()).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
                }
            },
            _ => false,
        }
    }
}

impl Extensions {
    /// Reads the answer to EHLO; its first line is only a greeting.
    pub(crate) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines().skip(1) {
            // "AUTH=PLAIN" is how some servers said it before the standard.
            let mut words = line.split([' ', '=']).map(str::to_ascii_uppercase);
            match words.next().as_deref() {
                Some("PIPELINING") => found.pipelining = true,
                Some("STARTTLS") => found.starttls = true,
                Some("SIZE") => found.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
                Some("AUTH") => {
                    for mechanism in words {
                        found.auth_plain |= mechanism == "PLAIN";
                        found.auth_login |= mechanism == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_read_whatever_their_case() {
        let found = Extensions::parse("mx greets you\nsize 1000\nPipelining\nAUTH PLAIN LOGIN XOAUTH2\nSTARTTLS");
        let all = Extensions { pipelining: true, starttls: true, size: Some(1000), auth_plain: true, auth_login: true };
        assert_eq!(found, all);
        assert_eq!(Extensions::parse("PIPELINING"), Extensions::default(), "the first line is a greeting");
        assert_eq!(
            Extensions::parse("mx\nSIZE\nAUTH=LOGIN"),
            Extensions { size: Some(0), auth_login: true, ..Extensions::default() }
        );
    }
}
