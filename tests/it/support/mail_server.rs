//! A mail server that takes everything, and hangs up instead of confirming the first so many.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

#[derive(Clone)]
pub struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    pub async fn start(lost: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), mails: Arc::default() };
        let mails = Arc::clone(&server.mails);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mails = Arc::clone(&mails);
                tokio::spawn(async move {
                    let (reader, mut writer) = stream.into_split();
                    let mut lines = BufReader::new(reader).lines();
                    let mut mail: Option<String> = None;
                    writer.write_all(b"220 mail.example\r\n").await?;
                    while let Some(line) = lines.next_line().await? {
                        match &mut mail {
                            Some(_) if line == "." => {
                                let count = {
                                    let mut mails = mails.lock().unwrap();
                                    mails.extend(mail.take());
                                    mails.len()
                                };
                                if count <= lost {
                                    break;
                                }
                                writer.write_all(b"250 ok\r\n").await?;
                            }
                            Some(mail) => {
                                mail.push_str(&line);
                                mail.push('\n');
                            }
                            None if line == "DATA" => {
                                mail = Some(String::new());
                                writer.write_all(b"354 go on\r\n").await?;
                            }
                            None => writer.write_all(b"250 ok\r\n").await?,
                        }
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        server
    }

    pub fn settings(&self, from: &str) -> Value {
        json!({"provider": "smtp", "settings": {"host": "127.0.0.1", "port": self.port, "security": "none", "from": from}})
    }

    pub fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}
