//! The command line from outside: exit codes, what is said where, and commands beside a running server.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, Api, House, Shop, Sink, TestStore, eventually, note};

fn run(house: &House, arguments: &[&str]) -> Output {
    house.command().args(arguments).output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// It ends with this code, says nothing on stdout and on stderr what it should.
#[track_caller]
fn fails(output: &Output, code: i32, what: &[&str]) -> String {
    let stderr = said(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for text in what {
        assert!(stderr.contains(text), "{text:?} is not in {stderr}");
    }
    stderr
}

#[test]
fn b78_a_bad_configuration_stops_the_start_with_file_line_key_and_nearest_key() {
    let house = House::new(TestStore::sqlite(), &[]);
    for (text, wanted) in [
        ("[log]\nlevle = \"info\"\n", vec!["config.toml:2", "log.levle", "did you mean \"level\""]),
        ("[log]\nlevel = \"info\"\n[log]\n", vec!["config.toml:3", "not TOML"]),
        ("[server]\npublic_url = \"ftp://x\"\n", vec!["config.toml:2", "server.public_url"]),
        ("[auth]\njwt_secret = \"short\"\n", vec!["config.toml:2", "auth.jwt_secret", "16 characters"]),
        ("[channels.webhok]\nenabled = true\n", vec!["channels.webhok", "did you mean \"webhook\""]),
    ] {
        house.write_config(text);
        for arguments in [&["serve"][..], &["config", "check"], &["tenant", "list"]] {
            let output = run(&house, arguments);
            let stderr = fails(&output, 78, &wanted);
            assert!(!stderr.contains("short\""), "the secret itself is not shown: {stderr}");
            assert!(!said(&output.stdout).contains("listening"));
        }
    }
    house.write_config("");
    for (name, value, wanted) in [
        ("RECADO_SERVER__LISTEN", "127.0.0.1:99999", "server.listen: port 99999"),
        ("RECADO_STORE__URL", "mysql://root@db/x", "store.url: unknown store scheme"),
        ("RECADO_DELIVERY__LEESE", "5s", "did you mean \"lease\""),
    ] {
        let output = house.command().arg("serve").env(name, value).output().unwrap();
        fails(&output, 78, &[name, wanted]);
    }
    let output = house.command().args(["--config", "nowhere.toml", "serve"]).output().unwrap();
    fails(&output, 78, &["nowhere.toml"]);
    let good = run(&house, &["config", "check"]);
    assert!(good.status.success(), "{}", said(&good.stderr));
}

#[test]
fn b79_wrong_arguments_and_unknown_things_are_one_line_each() {
    let house = House::new(TestStore::sqlite(), &[]);
    let made = run(&house, &["--json", "tenant", "create", "--name", "Salón Uno"]);
    let tenant: Value = serde_json::from_slice(&made.stdout).unwrap();
    let tenant = tenant["id"].as_str().unwrap();
    for (arguments, code, wanted) in [
        (vec!["tenant", "create"], 64, "--name"),
        (vec!["key", "create"], 64, "--tenant <TENANT>|--operator"),
        (vec!["send", "--tenant", tenant], 64, "--to"),
        (vec!["send", "--tenant", tenant, "--to", "3312345678"], 64, "--template <TEMPLATE>|--message <MESSAGE>"),
        (vec!["frobnicate"], 64, "frobnicate"),
        (vec!["serve", "--prot", "1"], 64, "--prot"),
        (vec!["demo", "--port", "abc"], 64, "abc"),
        (vec!["key", "create", "--tenant", tenant, "--scopes", "sned"], 64, "sned"),
        (vec!["channels", "test", "--tenant", tenant, "pigeon"], 64, "pigeon"),
        (vec!["send", "--tenant", tenant, "--to", "3312345678", "--template", "welcome", "--data", "{"], 64, "--data"),
        (vec!["key", "create", "--tenant", "nobody"], 66, "nobody"),
        (vec!["key", "list", "--tenant", "nobody"], 66, "nobody"),
        (vec!["key", "revoke", "nothing"], 66, "nothing"),
        (vec!["channels", "list", "--tenant", "nobody"], 66, "nobody"),
        (vec!["send", "--tenant", "nobody", "--to", "3312345678", "--message", "Hola"], 66, "nobody"),
    ] {
        let output = run(&house, &arguments);
        let stderr = fails(&output, code, &[wanted]);
        assert_eq!(stderr.trim_end().lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("recado: "), "{arguments:?}: {stderr}");
        assert_eq!(said(&output.stdout), "", "{arguments:?}");
    }
    assert_eq!(run(&house, &[]).status.code(), Some(64));
    assert!(run(&house, &["--help"]).status.success());
}

#[test]
fn the_list_of_channels_says_what_each_can_do_whether_native_or_a_script() {
    let house = House::new(TestStore::sqlite(), &[("RECADO_CHANNELS__SMS__ENABLED", "false")]);
    let made = run(&house, &["--json", "tenant", "create", "--name", "Salón Uno"]);
    let tenant: Value = serde_json::from_slice(&made.stdout).unwrap();
    let arguments = ["channels", "list", "--tenant", tenant["id"].as_str().unwrap()];
    let listed = run(&house, &arguments);
    assert!(listed.status.success(), "{}", said(&listed.stderr));
    let lines = said(&listed.stdout);
    for name in [
        "chatwoot", "email", "sms", "whatsapp", "webhook", "telegram", "slack", "discord", "teams", "ntfy", "gotify",
        "pushover",
    ] {
        assert_eq!(
            lines.lines().filter(|line| line.split_whitespace().next() == Some(name)).count(),
            1,
            "{name}: {lines}"
        );
    }
    let line = |name: &str| lines.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("sms").contains("off (operator)") && line("telegram").contains("not configured"), "{lines}");
    let json = run(&house, &[&["--json"], arguments.as_slice()].concat());
    let states: Value = serde_json::from_slice(&json.stdout).unwrap();
    let can =
        |name: &str| states["items"].as_array().unwrap().iter().find(|s| s["channel"] == name).unwrap()["can"].clone();
    // A script's manifest is read as a native channel's is.
    assert_eq!((&can("email")["attachments"], &can("gotify")["attachments"]), (&json!(true), &json!(false)));
    assert_eq!((&can("whatsapp")["buttons"], &can("whatsapp")["inbound"]), (&json!(true), &json!(true)));
    assert_eq!((&can("gotify")["subject"], &can("gotify")["status"]), (&json!(true), &json!(false)));
    assert_eq!(can("discord")["maxLength"], 1800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_one_sqlite_file_is_refused_and_the_first_goes_on() {
    let house = House::new(TestStore::sqlite(), &[]);
    let first = house.start().await;
    let output = run(&house, &["serve"]);
    let stderr = fails(&output, 70, &["store.url", "another recado"]);
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    first.operator().get("/readyz").await.expect(200);
    // A killed one leaves no lock behind.
    first.kill();
    let second = house.start().await;
    second.operator().get("/readyz").await.expect(200);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_a_port_that_is_taken_says_which() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let house = House::new(TestStore::sqlite(), &[]);
    let address = taken.local_addr().unwrap().to_string();
    let output = house.command().arg("serve").env("RECADO_SERVER__LISTEN", &address).output().unwrap();
    fails(&output, 70, &["server.listen", &address]);
}

on_each_store!(commands_work_beside_a_running_server, async |store: TestStore| {
    let sink = Sink::start().await;
    let house = House::new(store, &[]);
    let server = house.start().await;
    let shop = Shop::open(&server, &sink.url()).await;
    let listen = server.address.to_string();
    let beside =
        |arguments: &[&str]| house.command().args(arguments).env("RECADO_SERVER__LISTEN", &listen).output().unwrap();

    // With the operator's key from the configuration, and with one made for the occasion.
    for operator_key in [None, Some("")] {
        let mut command = house.command();
        command.args([
            "--json",
            "send",
            "--tenant",
            &shop.id,
            "--to",
            "33 1234 5678",
            "--channel",
            "webhook",
            "--message",
            "Hola",
        ]);
        command.env("RECADO_SERVER__LISTEN", &listen);
        if let Some(key) = operator_key {
            command.env("RECADO_AUTH__OPERATOR_KEY", key);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{operator_key:?}: {} {:?}", said(&output.stderr), server.log());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let id = answer["notifications"][0]["id"].as_str().unwrap().to_owned();
        eventually("it is sent", Duration::from_secs(20), || async { sink.taken(&id) == 1 }).await;
        shop.api.find(&id).await;
    }
    let output = beside(&["send", "--tenant", &shop.id, "--to", "12", "--channel", "webhook", "--message", "Hola"]);
    assert_eq!(fails(&output, 64, &["phone"]).trim_end().lines().count(), 1);

    let output = beside(&["channels", "test", "--tenant", &shop.id, "webhook"]);
    assert!(output.status.success() && said(&output.stdout).contains("ok"), "{}", said(&output.stdout));
    let output = beside(&["--json", "channels", "test"]);
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results["details"]["webhook"]["ok"], true, "{results}");
    assert_eq!(sink.total(), 2, "a test sends nothing");
    shop.deliver_to("http://127.0.0.1:9/in").await;
    let output = beside(&["channels", "test", "--tenant", &shop.id, "webhook"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output.stdout));

    // A key made on the command line works at once, and not after it was revoked.
    let output = beside(&["key", "create", "--tenant", &shop.id]);
    let key = said(&output.stdout).trim().to_owned();
    let caller = Api::new(server.address, &key);
    caller.get("/v1/channels").await.expect(200);
    assert!(beside(&["key", "revoke", &key]).status.success());
    // Wherever it is revoked, every process knows within five seconds (B24).
    eventually("the key is dead", Duration::from_secs(5), || async { caller.get("/v1/channels").await.status == 401 })
        .await;
    server.stop().await;
    let output =
        beside(&["send", "--tenant", &shop.id, "--to", "33 1234 5678", "--channel", "webhook", "--message", "Hola"]);
    fails(&output, 70, &["no server answers"]);
    house.remove().await;
});

/// A running `recado demo`, with a folder for what it leaves behind. It is killed when nobody holds it any more.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    temporary: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_recado"));
        command
            .arg("demo")
            .args(arguments)
            .args(["--port", "0"])
            .env("TMPDIR", temporary.path())
            .env_remove("RUST_LOG");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, temporary }
    }

    /// What `--json` says first: who may call, and the tenant's id.
    fn says_first(&mut self) -> (Api, String) {
        let first: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        let text = |name: &str| first[name].as_str().unwrap_or_else(|| panic!("no {name} in {first}")).to_owned();
        let api = Api::new(text("url").strip_prefix("http://").unwrap().parse().unwrap(), &text("key"));
        (api, text("tenantId"))
    }

    /// What it prints for people, to its last line.
    fn prints(&mut self) -> String {
        let mut printed = String::new();
        while !printed.contains("Ctrl-C") {
            printed.extend([&*self.lines.next().unwrap().unwrap(), "\n"]);
        }
        printed
    }

    fn stop(mut self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM)
            .unwrap();
        assert!(self.child.wait().unwrap().success());
        let left: Vec<_> = std::fs::read_dir(self.temporary.path()).unwrap().collect();
        assert!(left.is_empty(), "it leaves behind {left:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the demonstration captured on its own and what was sent since, newest first.
async fn captured(api: &Api, limit: usize) -> Vec<Value> {
    let page = api.get(&format!("/v1/sandbox/messages?limit={limit}")).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

async fn arrives(api: &Api, id: &str) {
    eventually("it is sent", Duration::from_secs(20), || async { api.find(id).await["status"] == "sent" }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_says_first_where_it_listens_and_its_key_works() {
    let mut demo = Demo::start(&["--json"]);
    let (api, tenant) = demo.says_first();
    api.get(&format!("/v1/tenants/{tenant}")).await.expect(200);
    let mut body = note("Hola");
    body["to"]["phone"] = json!("33 1234 5678");
    for channel in ["webhook", "whatsapp"] {
        body["channel"] = json!(channel);
        let answer = api.post("/v1/notify", &body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        arrives(&api, &answer.id()).await;
    }
    // Among those that the demo sends by itself.
    let captured = captured(&api, 100).await;
    assert_eq!(captured.iter().filter(|m| m["text"] == "Hola").count(), 2, "{captured:?}");
    demo.stop();
}

/// The words of a command as a shell would take them.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('\'').enumerate();
    parts
        .flat_map(|(n, part)| match n % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_people_each_phone_and_lines_that_work_as_they_are() {
    let mut demo = Demo::start(&[]);
    let printed = demo.prints();
    let after = |label: &str| {
        let rest = printed.split_once(label).unwrap_or_else(|| panic!("no {label:?} in {printed}")).1;
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let (url, key) = (after("Recado listens on "), after("\n  key "));
    let address: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
    assert!(address.ip().is_loopback() && address.port() != 0, "{url}");
    let api = Api::new(address, &key);
    api.get(&format!("/v1/tenants/{}", after("\n  tenant "))).await.expect(200);

    let shown = captured(&api, 100).await;
    let channels = api.get("/v1/channels").await.expect(200)["items"].as_array().unwrap().len();
    assert_eq!(shown.len(), 2 * channels, "two on every channel");
    assert!(printed.contains(&format!("{} messages were captured, none was sent", shown.len())), "{printed}");
    for message in &shown {
        let text = message["text"].as_str().unwrap();
        let mut lines: Vec<String> = message["subject"].as_str().map(|s| format!("│ [{s}]")).into_iter().collect();
        lines.extend(text.lines().map(|line| format!("│ {line}")));
        let phone = lines.join("\n") + "\n╰─";
        let channel = message["channel"].as_str().unwrap();
        let frames = printed.split("╭─ ").filter_map(|frame| frame.strip_prefix(&format!("{channel} → ")));
        let fits = frames.filter_map(|frame| frame.split_once('\n')).any(|(_, below)| below.starts_with(&phone));
        assert!(fits, "nothing in {printed} shows on {channel}:\n{phone}");
    }
    for (title, whose) in [
        ("sms → +523312345678", ["Cita confirmada", "Corte de Cabello Premium"]),
        ("whatsapp → +523312345679", ["Ana López", "Manicure y Pedicure"]),
        ("email → maria@example.com", ["María González", "15 de Noviembre, 2025"]),
        ("email → ana@example.com", ["Ana López", "mañana"]),
    ] {
        let frame = printed.split("╭─ ").find(|frame| frame.starts_with(title));
        let frame = frame.unwrap_or_else(|| panic!("no {title} in {printed}"));
        assert!(whose.iter().all(|words| frame.contains(words)), "{frame}");
    }

    let joined = printed.replace("\\\n", " ");
    let lines: Vec<_> = joined.lines().map(words).filter(|line| line.first().is_some_and(|w| w == "curl")).collect();
    let mut asked = Vec::new();
    for line in lines {
        let following = |option: &str| line.iter().position(|word| word == option).map(|at| line[at + 1].as_str());
        let path = line.iter().find_map(|word| word.strip_prefix(&url)).unwrap_or_else(|| panic!("{line:?}"));
        assert!(line.contains(&format!("Authorization: Bearer {key}")), "{line:?}");
        let body: Option<Value> = following("-d").map(|json| serde_json::from_str(json).unwrap());
        assert!(body.is_none() || line.contains(&"Content-Type: application/json".to_owned()), "{line:?}");
        let method = following("-X").unwrap_or(if body.is_some() { "POST" } else { "GET" });
        let answer = api.try_call(method.parse().unwrap(), path, &[], body.as_ref()).await.unwrap();
        assert!(matches!(answer.status, 200 | 202), "{line:?}: {}", answer.body);
        let newest = |answer: &Answer| answer.body["items"][0].clone();
        match path.split('?').next().unwrap() {
            "/v1/notify" => arrives(&api, &answer.id()).await,
            "/v1/sandbox/messages" => {
                let message = newest(&answer);
                assert!(message["text"].as_str().unwrap().contains("Manicure y Pedicure"), "{message}");
                assert_eq!(message["channel"], "whatsapp");
            }
            "/v1/notifications" => assert_eq!(newest(&answer)["status"], "sent"),
            _ => {}
        }
        asked.push(format!("{method} {}", path.split('?').next().unwrap()));
    }
    let wanted = ["POST /v1/notify", "GET /v1/sandbox/messages", "GET /v1/notifications", "POST /v1/channels/test"];
    assert_eq!(asked, wanted, "{printed}");
    assert_eq!(captured(&api, 100).await.len(), shown.len() + 1);
    demo.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_in_the_same_folder_goes_on_with_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo").display().to_string();
    let mut demo = Demo::start(&["--json", "--data", &data]);
    let (first, tenant) = demo.says_first();
    let mut body = note("Hola otra vez");
    (body["channel"], body["to"]["phone"]) = (json!("sms"), json!("33 1234 5678"));
    let id = first.post("/v1/notify", &body).await.id();
    arrives(&first, &id).await;
    demo.stop();

    let mut demo = Demo::start(&["--json", "--data", &data]);
    let (second, same) = demo.says_first();
    assert_eq!(same, tenant);
    assert_ne!(second.key, first.key);
    for api in [&second, &first.at(second.address)] {
        assert_eq!(api.find(&id).await["status"], "sent");
        assert!(captured(api, 100).await.iter().any(|m| m["text"] == "Hola otra vez"));
        let branches = api.get(&format!("/v1/tenants/{tenant}/branches")).await.expect(200);
        assert_eq!(branches["items"].as_array().unwrap().len(), 2, "{branches}");
    }
    // Its settings can still be read: the key that seals them is kept as well.
    assert_eq!(second.get("/v1/channels/sms").await.expect(200)["provider"], "sandbox");
    demo.stop();
    assert!(Path::new(&data).is_dir());
}

#[test]
fn a_demo_on_a_port_that_is_taken_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let house = House::new(TestStore::sqlite(), &[]);
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&house, &["demo", "--port", &port]);
    fails(&output, 69, &[&port, "--port"]);
}
