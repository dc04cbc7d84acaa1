//! A mail server that takes every mail and counts them by recipient.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone)]
pub struct MailSink {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// The Message-IDs of what each recipient got.
    taken: Mutex<HashMap<String, Vec<String>>>,
    /// Below this many mails none is confirmed.
    confirms_from: Mutex<usize>,
    total: watch::Sender<usize>,
}

impl MailSink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let total = watch::Sender::new(0);
        let shared = Arc::new(Shared { taken: Mutex::default(), confirms_from: Mutex::default(), total });
        let sink = Self { port, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who hangs up is not waited for.
                tokio::spawn(serve(Arc::clone(&shared), stream));
            }
        });
        sink
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Confirms none before so many are here.
    pub fn confirm_from(&self, mails: usize) {
        *self.shared.confirms_from.lock().unwrap() = mails;
    }

    pub fn taken(&self, address: &str) -> Vec<String> {
        self.shared.taken.lock().unwrap().get(address).cloned().unwrap_or_default()
    }

    pub fn total(&self) -> usize {
        *self.shared.total.borrow()
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let (mut recipient, mut message_id, mut in_mail) = (String::new(), String::new(), false);
    writer.write_all(b"220 sink.example\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        if in_mail {
            if let Some(id) = line.strip_prefix("Message-ID: ") {
                id.clone_into(&mut message_id);
            }
            if line == "." {
                in_mail = false;
                shared.take(&recipient, &message_id).await;
                writer.write_all(b"250 ok\r\n").await?;
            }
            continue;
        }
        if let Some(path) = line.strip_prefix("RCPT TO:<") {
            path.split('>').next().unwrap_or_default().clone_into(&mut recipient);
        }
        in_mail = line == "DATA";
        writer.write_all(if in_mail { b"354 go on\r\n" } else { b"250 ok\r\n" }).await?;
    }
    Ok(())
}

impl Shared {
    async fn take(&self, recipient: &str, message_id: &str) {
        self.taken.lock().unwrap().entry(recipient.to_owned()).or_default().push(message_id.to_owned());
        self.total.send_modify(|total| *total += 1);
        let from = *self.confirms_from.lock().unwrap();
        // The sender lives as long as this does.
        let _ = self.total.subscribe().wait_for(|total| *total >= from).await;
    }
}
