//! The command line from outside: exit codes, what is said where, and commands beside a running server.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, House, Shop, Sink, TestStore, note};

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
        crate::support::eventually("it is sent", Duration::from_secs(20), || async { sink.taken(&id) == 1 }).await;
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
    crate::support::eventually("the key is dead", Duration::from_secs(5), || async {
        caller.get("/v1/channels").await.status == 401
    })
    .await;
    server.stop().await;
    let output =
        beside(&["send", "--tenant", &shop.id, "--to", "33 1234 5678", "--channel", "webhook", "--message", "Hola"]);
    fails(&output, 70, &["no server answers"]);
    house.remove().await;
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_says_first_where_it_listens_and_its_key_works() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recado"));
    let mut demo = command.args(["demo", "--json", "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let text = |name: &str| first[name].as_str().unwrap_or_else(|| panic!("no {name} in {first}")).to_owned();
    let address = text("url").trim_start_matches("http://").parse().unwrap();
    let api = Api::new(address, &text("key"));
    api.get(&format!("/v1/tenants/{}", text("tenantId"))).await.expect(200);
    let mut body = note("Hola");
    body["to"]["phone"] = json!("33 1234 5678");
    for channel in ["webhook", "whatsapp"] {
        body["channel"] = json!(channel);
        let answer = api.post("/v1/notify", &body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        crate::support::eventually("it is sent", Duration::from_secs(20), || {
            let (api, id) = (api.clone(), answer.id());
            async move { api.find(&id).await["status"] == "sent" }
        })
        .await;
    }
    // Among those that the demo sends by itself.
    let captured = api.get("/v1/sandbox/messages?limit=100").await.expect(200);
    let ours = |m: &&Value| m["text"] == "Hola";
    assert_eq!(captured["items"].as_array().unwrap().iter().filter(ours).count(), 2, "{captured}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&demo), rustix::process::Signal::TERM).unwrap();
    assert!(demo.wait().unwrap().success());
}
