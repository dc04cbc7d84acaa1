//! A TCP proxy for HTTP/1.1 that breaks connections where it is told to.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::wire::{Seen, read_head, read_request};

/// What happens to the next requests.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// The whole request is forwarded and answered; the answer is thrown away and the connection cut.
    CutAfterRequest(Cut),
    /// Only the first half of the request is forwarded, then both connections are cut.
    CutInside(Cut),
    /// The request is forwarded, the answer never is.
    Swallow,
    /// The answer comes one byte at a time: all of it, or only its body.
    Drip { every: Duration, head: bool },
    /// The upstream is not asked; these bytes are the answer.
    Say { first: Vec<u8>, then: Then },
}

#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// The peer sees a reset.
    Reset,
    /// The peer sees an orderly end.
    Close,
}

#[derive(Debug, Clone)]
pub enum Then {
    Close,
    /// Say no more, and leave the connection open.
    Hold,
    /// Say this again and again until the caller hangs up.
    Repeat(Vec<u8>),
}

impl Fault {
    /// A 200 whose body has no length and no end.
    pub fn endless() -> Self {
        let first = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n".to_vec();
        Self::Say { first, then: Then::Repeat(vec![b'x'; 16 * 1024]) }
    }

    /// An answer in these bytes, after which the connection stays open.
    pub fn say(answer: impl Into<Vec<u8>>) -> Self {
        Self::Say { first: answer.into(), then: Then::Hold }
    }
}

/// Listens on loopback and forwards to one upstream. Cheap to clone.
#[derive(Clone)]
pub struct Proxy(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    upstream: SocketAddr,
    concerns: Box<dyn Fn(&Seen) -> bool + Send + Sync>,
    fault: Mutex<Fault>,
    hits: AtomicUsize,
    said: AtomicUsize,
    open: watch::Sender<usize>,
}

impl Proxy {
    pub async fn start(upstream: SocketAddr) -> Self {
        Self::concerning(upstream, |_| true).await
    }

    /// Only these requests are broken; the others pass.
    pub async fn concerning(upstream: SocketAddr, concerns: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let proxy = Self(Arc::new(Shared {
            address: listener.local_addr().expect("a bound listener has an address"),
            upstream,
            concerns: Box::new(concerns),
            fault: Mutex::new(Fault::Pass),
            hits: AtomicUsize::new(0),
            said: AtomicUsize::new(0),
            open: watch::Sender::new(0),
        }));
        tokio::spawn(proxy.clone().listen(listener));
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// `path` starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.address)
    }

    /// Takes effect at the next request, also on connections that are open.
    pub fn set(&self, fault: Fault) {
        *self.0.fault.lock().expect("no holder panics") = fault;
    }

    /// Waits until callers have let go of every connection.
    pub async fn let_go(&self) {
        // The sender lives in `self`, so the wait can only end well.
        let _ = self.0.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// How many requests were broken.
    pub fn hits(&self) -> usize {
        self.0.hits.load(SeqCst)
    }

    /// How many bytes of answers of its own it could get rid of.
    pub fn said(&self) -> usize {
        self.0.said.load(SeqCst)
    }

    fn fault_of(&self, request: &Seen) -> Fault {
        if !(self.0.concerns)(request) {
            return Fault::Pass;
        }
        let fault = self.0.fault.lock().expect("no holder panics").clone();
        self.0.hits.fetch_add(usize::from(!matches!(fault, Fault::Pass)), SeqCst);
        fault
    }

    async fn listen(self, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            let proxy = self.clone();
            proxy.0.open.send_modify(|open| *open += 1);
            tokio::spawn(async move {
                // Broken connections are what it is for.
                drop(proxy.serve(client).await);
                proxy.0.open.send_modify(|open| *open -= 1);
            });
        }
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.0.upstream).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut request, mut answer) = (BytesMut::new(), BytesMut::new());
        // What happens to the request under way, and to its answer.
        let mut fault = Fault::Pass;
        loop {
            let head = tokio::select! {
                head = read_head(&mut client, &mut request) => head?,
                read = server.read_buf(&mut answer) => {
                    if read? == 0 || !hand_on(&mut fault, &mut client, &mut answer).await? {
                        return Ok(());
                    }
                    continue;
                }
            };
            let Some((head, whole)) = head else { return Ok(()) };
            fault = self.fault_of(&head);
            if let Fault::CutInside(how) = fault {
                while request.len() < whole / 2 && client.read_buf(&mut request).await? > 0 {}
                server.write_all(&request[..request.len().min(whole / 2)]).await?;
                return cut(client, how);
            }
            let Some(seen) = read_request(&mut client, &mut request).await? else { return Ok(()) };
            if let Fault::Say { first, then } = fault {
                return self.say(client, &first, then).await;
            }
            server.write_all(&seen.raw).await?;
            if let Fault::CutAfterRequest(how) = fault {
                server.read_buf(&mut answer).await?;
                return cut(client, how);
            }
        }
    }

    async fn say(&self, mut client: TcpStream, first: &[u8], then: Then) -> io::Result<()> {
        let (mut from, mut to) = client.split();
        let talk = async {
            to.write_all(first).await?;
            match then {
                Then::Close => Ok(()),
                Then::Hold => pending().await,
                Then::Repeat(again) => loop {
                    to.write_all(&again).await?;
                    self.0.said.fetch_add(again.len(), SeqCst);
                },
            }
        };
        tokio::select! {
            result = talk => result,
            _ = from.read_u8() => Ok(()),
        }
    }
}

/// Hands on what the upstream said; false once the connection is of no more use.
async fn hand_on(fault: &mut Fault, client: &mut TcpStream, answer: &mut BytesMut) -> io::Result<bool> {
    match *fault {
        Fault::Swallow => answer.clear(),
        Fault::Drip { every, head } => {
            if !head {
                let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(true) };
                client.write_all(&answer.split_to(end + 4)).await?;
                *fault = Fault::Drip { every, head: true };
            }
            for byte in answer.split() {
                client.write_all(&[byte]).await?;
                tokio::select! {
                    () = tokio::time::sleep(every) => {}
                    // Only the end can come here: the caller waits for its answer.
                    ready = client.readable() => { ready?; return Ok(false) }
                }
            }
        }
        _ => client.write_all_buf(answer).await?,
    }
    Ok(true)
}

fn cut(client: TcpStream, how: Cut) -> io::Result<()> {
    match how {
        Cut::Reset => client.set_zero_linger(),
        // Unread bytes would turn the end into a reset; there are none once the request was read.
        Cut::Close => Ok(()),
    }
}
