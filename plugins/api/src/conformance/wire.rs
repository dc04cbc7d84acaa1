//! Just enough HTTP/1.1 to read requests off a socket, byte for byte.

use std::io;
use std::ops::Range;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// All of it.
    pub raw: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as JSON, or null.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The request whose head stands at the front of `buffer`, without its body, and where that lies.
    fn peek(buffer: &[u8]) -> Option<(Self, Range<usize>)> {
        let head_end = buffer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ').map(str::to_owned);
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let end = head_end + length.and_then(|(_, value)| value.parse::<usize>().ok()).unwrap_or(0);
        let seen = Self { method: first.next()?, path: first.next()?, headers, body: vec![], raw: vec![] };
        Some((seen, head_end..end))
    }

    /// Takes one whole request from the front of `buffer`.
    fn take(buffer: &mut BytesMut) -> Option<Self> {
        let (seen, body) = Self::peek(buffer)?;
        if buffer.len() < body.end {
            return None;
        }
        let raw = buffer.split_to(body.end).to_vec();
        Some(Self { body: raw[body].to_vec(), raw, ..seen })
    }
}

/// The next request, or `None` at the end of the stream. What was read ahead stays in `buffer`, so the call may be
/// given up and repeated.
pub(super) async fn read_request<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut BytesMut,
) -> io::Result<Option<Seen>> {
    read_until(stream, buffer, Seen::take).await
}

/// The next request as soon as its head is there, left in `buffer`, and how long it will be in all.
pub(super) async fn read_head<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut BytesMut,
) -> io::Result<Option<(Seen, usize)>> {
    read_until(stream, buffer, |buffer| Seen::peek(buffer).map(|(seen, body)| (seen, body.end))).await
}

async fn read_until<R: AsyncRead + Unpin, T>(
    stream: &mut R,
    buffer: &mut BytesMut,
    found: impl Fn(&mut BytesMut) -> Option<T>,
) -> io::Result<Option<T>> {
    loop {
        if let Some(found) = found(buffer) {
            return Ok(Some(found));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
