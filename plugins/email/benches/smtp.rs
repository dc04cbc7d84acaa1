//! Messages a second over kept connections, beside the raw exchange in the same run:
//!
//!     cargo bench -p plugin-email -- 127.0.0.1:2525 20000 16
//!
//! The address is that of a mail server without encryption that takes everything. Prints one JSON line; `ratio` is
//! the median over rounds taken in turns, as only that means anything on a shared machine.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use plugin_api::http::Http;
use plugin_api::net::Guard;
use plugin_api::{Channel, Host, Message, Recipient, Settings};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const TEXT: &str =
    "Hi Ana, this is a reminder of your physiotherapy appointment with Dr. Vega on Tuesday 3 March at 10:30, room 4.\n";
const ROUNDS: usize = 5;

fn main() {
    // Cargo adds a `--bench` of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let Some(address) = args.first() else {
        println!("{{\"skipped\":\"give an address: cargo bench -p plugin-email -- 127.0.0.1:2525 20000 16\"}}");
        return;
    };
    let address: SocketAddr = address.parse().unwrap();
    let number = |n: usize, default| args.get(n).map_or(default, |a| a.parse().unwrap());
    let (count, concurrency) = (number(1, 20_000), number(2, 16));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(compare(address, count, concurrency));
}

async fn compare(address: SocketAddr, count: usize, concurrency: usize) {
    let (mut plugin, mut raw, mut ratios) = (vec![], vec![], vec![]);
    let channel = open(address);
    for round in 0..=ROUNDS {
        let (p, r) = (through_the_plugin(&channel, count, concurrency).await, bare(address, count, concurrency).await);
        // The first round warms up.
        if round > 0 {
            plugin.push(p);
            raw.push(r);
            ratios.push(p / r);
        }
    }
    println!(
        "{}",
        json!({"what": "email_plugin", "messages": count, "concurrency": concurrency, "per_s": median(plugin).round(),
            "raw_per_s": median(raw).round(), "ratio": (median(ratios) * 1000.0).round() / 1000.0})
    );
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn open(address: SocketAddr) -> Arc<dyn Channel> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let guard = Arc::new(Guard { allow: vec![address.ip().into()], ..Guard::default() });
    let timeout = Duration::from_secs(30);
    let host = Host {
        http: Http::new(Arc::clone(&guard), timeout),
        guard,
        timeout,
        hostname: "bench.example.test".into(),
        hook_url: None,
    };
    let settings: Settings = [
        ("host", json!(address.ip().to_string())),
        ("port", json!(address.port())),
        ("security", json!("none")),
        ("from", json!("no-reply@north.example")),
        ("fromName", json!("Clinic")),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    plugin_email::plugin().open("smtp", &settings, &host).unwrap()
}

fn message(n: usize) -> Message {
    Message {
        id: format!("0198c0de-{n}"),
        kind: "reminder".into(),
        channel: "email".into(),
        recipient: Recipient { email: Some(format!("c{n}@example.test")), ..Recipient::default() },
        subject: Some("Your appointment".into()),
        text: TEXT.into(),
        html: None,
        headers: vec![],
        actions: vec![],
        attachments: vec![],
        data: Arc::new(Value::Null),
        attempt: 1,
        memory: None,
        window_open: true,
        form: None,
        unsubscribe_url: None,
        began_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_250_800),
    }
}

async fn through_the_plugin(channel: &Arc<dyn Channel>, count: usize, concurrency: usize) -> f64 {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..concurrency)
        .map(|_| {
            let (channel, next) = (Arc::clone(channel), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Relaxed);
                    if n >= count {
                        return;
                    }
                    channel.send(&message(n)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    count as f64 / start.elapsed().as_secs_f64()
}

/// The least that can be done: a connection a task, three commands in one packet, a message made by lettre.
async fn bare(address: SocketAddr, count: usize, concurrency: usize) -> f64 {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..concurrency).map(|_| tokio::spawn(bare_task(address, Arc::clone(&next), count))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    count as f64 / start.elapsed().as_secs_f64()
}

async fn bare_task(address: SocketAddr, next: Arc<AtomicUsize>, count: usize) {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let (read, mut write) = tcp.into_split();
    let mut read = BufReader::new(read);
    let mut line = String::new();
    read.read_line(&mut line).await.unwrap();
    write.write_all(b"EHLO bench\r\n").await.unwrap();
    while !line.starts_with("250 ") {
        line.clear();
        read.read_line(&mut line).await.unwrap();
    }
    loop {
        let n = next.fetch_add(1, Relaxed);
        if n >= count {
            return;
        }
        let mut mail = lettre::Message::builder()
            .from("Clinic <no-reply@north.example>".parse().unwrap())
            .to(format!("c{n}@example.test").parse().unwrap())
            .subject("Your appointment")
            .body(TEXT.to_owned())
            .unwrap()
            .formatted();
        mail.extend_from_slice(b"\r\n.\r\n");
        let commands = format!("MAIL FROM:<no-reply@north.example>\r\nRCPT TO:<c{n}@example.test>\r\nDATA\r\n");
        write.write_all(commands.as_bytes()).await.unwrap();
        for _ in 0..3 {
            line.clear();
            read.read_line(&mut line).await.unwrap();
        }
        write.write_all(&mail).await.unwrap();
        line.clear();
        read.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("250"), "{line}");
    }
}
