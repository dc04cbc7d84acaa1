//! `recado script check`.

use std::path::Path;
use std::process::Command;

use super::*;

fn check(path: &Path, json: bool) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recado"));
    command.args(["script", "check"]).arg(path);
    if json {
        command.arg("--json");
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_script_that_ships_is_in_order() {
    let (code, stdout, stderr) = check(&root("scripts"), false);
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    assert!(
        stdout.contains("ok  ") && stdout.contains("vip.rhai") && stdout.contains("ok  ten appointments"),
        "{stdout}"
    );
    let (code, stdout, _) = check(&root("scripts/default/segments/vip.rhai"), true);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["ok"], &report["scripts"][0]["cases"]), (Some(0), &json!(true), &json!(4)));
}

#[test]
fn flaws_are_named_with_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("one.rhai", "fn include(contact, now) {\n    contct.name == ()\n}");
    write("two.rhai", "fn route(notification) { [] }");
    write("three.rhai", "fn include(contact, now) { print(\"hm\"); true }");
    write("three.cases.json", r#"{"cases": [{"name": "never", "contact": {}, "include": false}]}"#);
    write("four.rhai", "fn message(contact, now) { () }");
    write("four.cases.json", r#"{"cases": [{"name": "odd", "contct": {}, "message": null}]}"#);
    let (code, stdout, stderr) = check(folder.path(), false);
    assert_eq!(code, Some(78), "{stdout}{stderr}");
    for said in [
        "one.rhai:2:5: there is no variable `contct` (did you mean `contact`?)",
        "two.rhai: `route` must take 4",
        "three.cases.json: \"never\": include is expected to return false, but it returned true",
        "four.cases.json: \"odd\": there is no function `contct` in a campaign",
    ] {
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
    assert!(stdout.contains("NOT") && stdout.contains("printed: hm"), "{stdout}");
    let (code, _, stderr) = check(&folder.path().join("none.rhai"), false);
    assert_eq!((code, stderr.lines().count()), (Some(66), 1), "{stderr}");
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(check(empty.path(), false).0, Some(66));
}
