//! Marked secrets in every credential, and then a search for the marks in everything that comes out.

use std::time::Duration;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plugin_api::conformance::{Behaviour, HttpDouble};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::support::{JWT_SECRET, Log, OPERATOR_KEY, Shop, TestApp, TestStore, dump, hello, on_one_thread};

const MARKS: [&str; 6] = [
    "canary-chatwoot-token",
    "canary-chatwoot-hook",
    "canary-smtp-password",
    "canary-webhook-key-0123456789",
    "canary-mail-hook-secret",
    // Of the key below.
    "IMU628w+1Xlsw+D+WMdHm3N1swU0TuLE",
];

/// Signs mail in tests and nowhere else.
const DKIM_KEY: &str = include_str!("../../plugins/email/tests/it/keys/ed25519.pem");

/// What came out, and where.
#[derive(Default)]
struct Output(Vec<(String, String)>);

impl Output {
    fn search(&self, marks: &[String]) {
        for (place, text) in &self.0 {
            for mark in marks {
                let at = text.find(mark.as_str());
                assert!(at.is_none(), "{place} shows a secret ({}...)", &mark[..mark.len().min(12)]);
            }
        }
    }
}

/// A mail server that lets nobody in: the password is used, and refused.
async fn mail_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = BufReader::new(reader).lines();
                writer.write_all(b"220 mail.example\r\n").await?;
                while let Some(line) = lines.next_line().await? {
                    let reply = match line.split(' ').next().unwrap_or_default() {
                        "EHLO" => "250-mail.example\r\n250 AUTH PLAIN\r\n",
                        "AUTH" => "535 5.7.8 not you\r\n",
                        _ => "221 bye\r\n",
                    };
                    writer.write_all(reply.as_bytes()).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    port
}

#[test]
fn p35_marked_secrets_come_out_nowhere_on_sqlite() {
    on_one_thread(async { search(TestStore::sqlite()).await });
}

#[test]
fn p35_marked_secrets_come_out_nowhere_on_postgres() {
    on_one_thread(async {
        if let Some(store) = TestStore::postgres().await {
            search(store).await;
        }
    });
}

async fn search(store: TestStore) {
    let log = Log::default();
    let _capture = log.capture("trace");
    let folder = store.folder.path().to_owned();
    let app = TestApp::with(store, &[]).await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    let mut out = Output::default();

    let key = shop.make_key(&["send", "read", "admin"]).await["key"].as_str().unwrap().to_owned();
    let caller = app.nobody().with_key(&key);
    let webhook_secret = format!("whsec_{}", STANDARD.encode(MARKS[3]));
    let sink = HttpDouble::start().await;
    let settings = [
        (
            "chatwoot",
            "chatwoot",
            json!({"baseUrl": sink.url(""), "accountId": 1, "inboxId": 9, "apiAccessToken": MARKS[0], "webhookSecret": MARKS[1]}),
        ),
        (
            "email",
            "smtp",
            json!({"host": "127.0.0.1", "port": mail_server().await, "security": "none", "username": "u", "password": MARKS[2], "from": "a@x.example",
                "hookSecret": MARKS[4], "dkim": {"domain": "x.example", "selector": "s", "privateKey": DKIM_KEY}}),
        ),
        ("webhook", "webhook", json!({"url": sink.url("/in"), "secret": webhook_secret})),
    ];
    let mut say = async |method: &str, path: &str, body: Option<Value>| {
        let call = caller.call(Method::from_bytes(method.as_bytes()).unwrap(), path);
        let answer = if let Some(body) = body { call.json(&body).await } else { call.await };
        let text = format!("{:?}\n{}", answer.headers, answer.text());
        out.0.push((answer.what.clone(), text));
        answer
    };
    for (channel, provider, settings) in &settings {
        let path = format!("/v1/channels/{channel}");
        say("PUT", &path, Some(json!({"provider": provider, "settings": settings}))).await.expect(200);
        // Wrong in one place: the complaint must not repeat the rest.
        let mut wrong = settings.clone();
        wrong["colour"] = json!("red");
        assert_eq!(say("PUT", &path, Some(json!({"provider": provider, "settings": wrong}))).await.status, 422);
        say("PUT", &path, Some(json!({"provider": provider, "settings": {"url": settings, "apiAccessToken": [MARKS[0]], "secret": MARKS[3], "password": {"x": MARKS[2]}, "hookSecret": [MARKS[4]], "dkim": {"privateKey": [DKIM_KEY]}}}))).await;
        say("GET", &path, None).await.expect(200);
        say("POST", &format!("{path}/test"), None).await.expect(200);
        if *channel != "chatwoot" {
            // There the outcome would be unknown, and the answer wait for a better one.
            say(
                "POST",
                &format!("{path}/test"),
                Some(json!({"to": {"phone": "3312345678", "email": "ana@x.example"}})),
            )
            .await;
        }
    }
    say("GET", "/v1/channels", None).await.expect(200);
    say("POST", "/v1/channels/test", None).await.expect(200);
    for behaviour in [
        Behaviour::Accept,
        Behaviour::Unauthorized,
        Behaviour::ServerError(500),
        Behaviour::CutHead,
        Behaviour::Redirect(302),
        Behaviour::Silence,
    ] {
        sink.behave(behaviour);
        for channel in ["webhook", "chatwoot", "email"] {
            let mut body = hello();
            (body["channel"], body["to"]["email"]) = (json!(channel), json!("ana@x.example"));
            let dry = {
                let mut dry = body.clone();
                dry["dryRun"] = json!(true);
                dry
            };
            say("POST", "/v1/notify", Some(dry)).await.expect(200);
            let id = say("POST", "/v1/notify", Some(body)).await.expect(202)["logId"].as_str().unwrap().to_owned();
            app.deliver_due().await;
            say("GET", &format!("/v1/notifications/{id}"), None).await.expect(200);
        }
        // Long enough for a circuit that opened to let the next ones through.
        app.advance(Duration::from_mins(10)).await;
    }
    for path in
        ["/v1/notifications", "/v1/sandbox/messages", "/v1/suppressions", "/metrics", "/openapi.json", "/readyz"]
    {
        say("GET", path, None).await;
    }
    say("GET", &format!("/v1/tenants/{}", shop.id), None).await.expect(200);
    for (bearer, path) in [
        (OPERATOR_KEY, "/v1/tenants"),
        (OPERATOR_KEY, "/v1/nothing"),
        (&key[..key.len() - 1], "/v1/notifications"),
        (JWT_SECRET, "/v1/notifications"),
    ] {
        let answer = app.nobody().with_key(bearer).get(path).await;
        out.0.push((path.to_owned(), format!("{:?}\n{}", answer.headers, answer.text())));
    }
    let keys = app.operator().get(&format!("/v1/tenants/{}/keys", shop.id)).await;
    out.0.push((keys.what.clone(), keys.text()));
    let sent: Vec<String> = sink.seen().iter().map(|s| String::from_utf8_lossy(&s.raw).into_owned()).collect();
    for used in [MARKS[0], "webhook-signature: v1,"] {
        assert!(sent.iter().any(|s| s.contains(used)), "what is to stay secret was in use");
    }

    let dumped = dump(&app.app.db).await;
    let address = sink.address().to_string();
    assert!(dumped.iter().any(|(table, row)| table == "integrations" && row.contains(&address)), "the dump is whole");
    out.0.extend(dumped.into_iter().map(|(table, row)| (format!("table {table}"), row)));
    out.0.push(("Debug of the configuration".into(), format!("{:?}", app.app.config.load())));
    app.may_leave_work();
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    let master = std::fs::read_to_string(folder.join("recado.key")).unwrap();
    for file in files.iter().filter(|f| !f.ends_with("recado.key")) {
        let bytes = std::fs::read(file).unwrap();
        out.0.push((file.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    app.close().await;
    let log = log.text();
    assert!(log.contains("attempt") && log.contains("TRACE"), "the log was captured");
    out.0.push(("the log".into(), log));

    let secret_part = key.splitn(3, '_').nth(2).unwrap().to_owned();
    let mut marks: Vec<String> = MARKS.iter().map(|m| (*m).to_owned()).collect();
    marks.extend(MARKS.iter().map(|m| STANDARD.encode(m).trim_end_matches('=').to_owned()));
    marks.extend([secret_part, OPERATOR_KEY.into(), JWT_SECRET.into(), webhook_secret]);
    marks.extend(master.lines().map(str::to_owned).filter(|l| l.len() > 16));
    out.search(&marks);
}
