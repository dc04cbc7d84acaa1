//! `cases.json` and `recado plugin check`.

use std::path::Path;
use std::process::{Command, Output};

use recado::plugins::{read_folder, run_cases};

use super::{SHIPPED, folder, text};

#[tokio::test]
async fn every_case_of_every_shipped_channel_holds() {
    for name in SHIPPED {
        let plugin = read_folder(&folder(name)).unwrap();
        let cases =
            run_cases(&plugin, &text(&folder(name).join("cases.json"))).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let faults: Vec<_> = cases.iter().filter(|c| !c.faults.is_empty()).collect();
        assert!(faults.is_empty(), "{name}: {faults:#?}");
        assert!(cases.len() >= 5, "{name} has {} cases", cases.len());
        assert!(folder(name).join("README.md").is_file(), "{name} has no README.md");
    }
}

/// The README's step-by-step, followed literally.
#[test]
fn the_readme_makes_a_channel_from_an_empty_folder() {
    let readme = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let (_, section) = readme.split_once("### Add a channel\n").unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    let block = |language: &str| {
        let (_, rest) = section.split_once(&format!("   ```{language}\n")).unwrap();
        rest.split_once("   ```")
            .unwrap()
            .0
            .lines()
            .map(|line| line.strip_prefix("   ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let scratch = tempfile::tempdir().unwrap();
    let pager = scratch.path().join("pager");
    std::fs::create_dir(&pager).unwrap();
    for (file, language) in [("plugin.toml", "toml"), ("plugin.rhai", "rust"), ("cases.json", "json")] {
        std::fs::write(pager.join(file), block(language)).unwrap();
    }
    let (code, stdout, stderr) = check(&pager);
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    assert!(stdout.ends_with("the channel pager is in order\n"), "{stdout}");
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recado")).args(arguments).output().unwrap()
}

fn check(dir: &Path) -> (Option<i32>, String, String) {
    let output = run(&["plugin", "check", &dir.display().to_string()]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A copy of a shipped folder with a change in one file.
fn changed(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("gotify");
    std::fs::create_dir(&copy).unwrap();
    for name in ["plugin.toml", "plugin.rhai", "cases.json"] {
        let mut content = text(&folder("gotify").join(name));
        if name == file {
            assert!(content.contains(from), "{file} does not hold {from}");
            content = content.replacen(from, to, 1);
        }
        std::fs::write(copy.join(name), content).unwrap();
    }
    scratch
}

#[test]
fn a_good_folder_passes() {
    let (code, stdout, stderr) = check(&folder("gotify"));
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("ok  a wrong token") && stdout.ends_with("the channel gotify is in order\n"), "{stdout}");
    let json = run(&["--json", "plugin", "check", &folder("gotify").display().to_string()]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json["ok"].as_bool(), json["channel"].as_str()), (Some(true), Some("gotify")));
}

#[test]
fn b79_what_is_not_there_is_64_or_66() {
    assert_eq!(run(&["plugin", "check"]).status.code(), Some(64));
    assert_eq!(run(&["plugin", "chek", "."]).status.code(), Some(64));
    let (code, _, stderr) = check(Path::new("/nowhere/at/all"));
    assert_eq!(code, Some(66));
    assert_eq!(stderr.lines().count(), 1);
    assert!(stderr.contains("there is no folder /nowhere/at/all"), "{stderr}");
}

/// File, case and difference are named, and the exit code is the one of a bad configuration.
#[test]
fn b78_what_is_wrong_is_78_with_its_place() {
    let cases = [
        ("plugin.toml", "kind = \"url\"", "kind = \"ulr\"", vec!["plugin.toml", "ulr"]),
        ("plugin.toml", "address =", "adress =", vec!["plugin.toml", "adress"]),
        (
            "plugin.toml",
            "subject = true",
            "attachments = true",
            vec!["plugin.toml: attachments = true: a script can't"],
        ),
        ("plugin.toml", "kind = \"url\"", "kind = \"text\"", vec!["plugin.toml: missing \"hosts\""]),
        (
            "plugin.toml",
            "kind = \"secret\"",
            "kind = \"text\"",
            vec!["plugin.toml: gotify: setting \"token\" sounds secret"],
        ),
        ("plugin.toml", "channel = \"gotify\"", "channel = \"gotfy\"", vec!["folder is called \"gotify\""]),
        (
            "plugin.toml",
            "address = \"none\"",
            "address = \"none\"\nhosts = [\"https://x.example\"]",
            vec!["hosts: \"https://x.example\" must be"],
        ),
        (
            "plugin.toml",
            "address = \"none\"",
            "address = \"none\"\nhosts = [\"*.com\"]",
            vec!["hosts: \"*.com\" must be"],
        ),
        (
            "plugin.rhai",
            "fn request(message, settings)",
            "fn reqest(message, settings)",
            vec!["plugin.rhai: there is no fn request(message, settings) (is it `reqest`?)"],
        ),
        (
            "plugin.rhai",
            "fn outcome(response, message)",
            "fn outcome(response)",
            vec!["plugin.rhai: `outcome` must take 2 parameters"],
        ),
        (
            "plugin.rhai",
            "body.title = message.subject;",
            "body.title = mesage.subject;",
            vec!["plugin.rhai: line 10 column 22", "did you mean `message`?"],
        ),
        (
            "plugin.rhai",
            "+ \"/message\"",
            "+ \"/messages\"",
            vec![
                "cases.json: \"a text\": request.url: expected \"https://gotify.example.com/message\", got \"https://gotify.example.com/messages\"",
                "cases.json: \"in a folder of a server, with a subject\": request.url",
            ],
        ),
        (
            "plugin.rhai",
            "pick(response.json, \"id\")",
            "pik(response.json, \"id\")",
            vec!["\"taken\": plugin.rhai: line 18 column 28", "did you mean `pick`?"],
        ),
        (
            "plugin.rhai",
            "#{rejected: \"refused\"",
            "#{rejected: \"odd\"",
            vec!["\"an empty text\": outcome.rejected: expected \"refused\", got \"odd\""],
        ),
        (
            "cases.json",
            "\"priority\": 5}}",
            "\"priority\": 5, \"more\": 1}}",
            vec!["\"a text\": request.json.more: expected 1, got nothing"],
        ),
        (
            "cases.json",
            "\"outcome\": {\"accepted\": \"25\"}",
            "\"outcom\": {}",
            vec!["cases.json: unknown field `outcom`"],
        ),
        (
            "cases.json",
            "\"token\": \"AbcDEF123456789\"",
            "\"tken\": \"A\"",
            vec!["\"a text\": settings.tken: unknown setting"],
        ),
        ("cases.json", "{\n", "{,\n", vec!["cases.json: ", "line 1"]),
    ];
    for (file, from, to, wanted) in cases {
        let scratch = changed(file, from, to);
        let (code, stdout, stderr) = check(&scratch.path().join("gotify"));
        assert_eq!(code, Some(78), "{to}: {stdout}{stderr}");
        for wanted in wanted {
            assert!(stderr.contains(wanted), "{to}: {wanted:?} is not in {stderr}");
        }
    }
    let scratch = changed("plugin.rhai", "", "");
    std::fs::remove_file(scratch.path().join("gotify/cases.json")).unwrap();
    let (code, _, stderr) = check(&scratch.path().join("gotify"));
    assert!(code == Some(78) && stderr.contains("cases.json: "), "{stderr}");
    std::fs::remove_file(scratch.path().join("gotify/plugin.rhai")).unwrap();
    let (code, _, stderr) = check(&scratch.path().join("gotify"));
    assert!(code == Some(78) && stderr.contains("plugin.rhai: "), "{stderr}");
}

#[test]
fn what_a_script_prints_is_shown() {
    let scratch = changed("plugin.rhai", "let body =", "print(\"the token is \" + settings.token); let body =");
    let (code, stdout, _) = check(&scratch.path().join("gotify"));
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("printed: the token is {{secret:token:"), "{stdout}");
}

/// Callbacks in all their forms, through a script that reads them.
#[tokio::test]
async fn callbacks_become_events() {
    let manifest = super::SMALL.replace("name = \"small\"\n", "name = \"small\"\ncallbacks = true\ninbound = true\n");
    let source = r#"
        fn request(message, settings) { #{url: settings.url} }
        fn receive(callback, settings) {
            if callback.headers.get("x-token") != settings.token {
                return #{unverified: "the header X-Token is missing or wrong"};
            }
            if callback.query.get("challenge") != () {
                return #{answer: callback.query.challenge};
            }
            if callback.json == () { return #{malformed: "not JSON"}; }
            let events = [];
            for event in callback.json {
                events.push(switch event.kind {
                    "in" => #{inbound: event.id, from: event.from, text: event.text, at: callback.receivedAt},
                    "stop" => #{optOut: event.from, reason: "complaint", marketingOnly: true},
                    "bad" => #{failed: event.id, reason: "no_such_user", hint: "suppress_address"},
                    _ => { let e = #{reference: event.ref}; e[event.kind] = event.id; e }
                });
            }
            events
        }"#;
    let plugin = super::plugin(&manifest, source);
    let cases = r#"{"settings": {"url": "https://x.example/", "token": "0123456789"}, "cases": [
        {"name": "all", "callback": {"headers": {"X-Token": "0123456789"}, "receivedAt": 1764000000, "json": [
            {"kind": "delivered", "id": 7, "ref": "r-7"}, {"kind": "read", "id": "8", "ref": null},
            {"kind": "bad", "id": "9"}, {"kind": "in", "id": "a", "from": "+525512345678", "text": "Sí\nvoy"},
            {"kind": "stop", "from": "a@x.example"}]},
         "events": [{"delivered": "7", "reference": "r-7"}, {"read": "8"},
            {"failed": "9", "reason": "no_such_user", "hint": "suppress_address"},
            {"inbound": "a", "from": "+525512345678", "text": "Sí\nvoy", "at": 1764000000},
            {"optOut": "a@x.example", "reason": "complaint", "marketingOnly": true}]},
        {"name": "a challenge", "callback": {"headers": {"X-Token": "0123456789"}, "query": {"challenge": "42"}},
         "answer": "42", "events": []},
        {"name": "no header", "callback": {"json": []}, "refused": "unverified"},
        {"name": "a wrong one", "callback": {"headers": {"X-Token": "012345678"}, "json": []}, "refused": "unverified"},
        {"name": "no JSON", "callback": {"headers": {"X-Token": "0123456789"}, "body": "x"}, "refused": "malformed"}]}"#;
    for case in run_cases(&plugin, cases).await.unwrap() {
        assert!(case.faults.is_empty(), "{case:#?}");
    }
    let bad = cases
        .replace("\"delivered\": \"7\"", "\"sent\": \"7\"")
        .replace("\"refused\": \"malformed\"", "\"events\": []");
    let faults: Vec<_> = run_cases(&plugin, &bad).await.unwrap().into_iter().flat_map(|c| c.faults).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].contains("events[0]") && faults[2].contains("refused as malformed: not JSON"), "{faults:?}");
}
