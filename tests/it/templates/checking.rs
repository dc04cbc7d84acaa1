//! `recado template check`, as its author calls it.

use std::path::Path;
use std::process::{Command, Output};

fn check(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recado")).args(["template", "check"]).arg(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn what_ships_is_in_order_with_its_samples() {
    for folder in ["templates", "templates/default", "templates/default/welcome"] {
        let output = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        assert_eq!(output.status.code(), Some(0), "{folder}: {}", said(&output));
        assert!(
            said(&output).contains("in order") && !said(&output).contains("is not in the data"),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("promo/text.hbs", "Hola\n  {{shout a}}");
    write("promo/sms.en.hbs", "{{#if a}}");
    write("promo/sample.json", "{\"a\": ");
    write("good/text.hbs", "{{a}}");
    let output = check(folder.path());
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    for part in ["promo/text.hbs:2:3: there is no helper", "promo/sms.en.hbs:1:1: ", "promo/sample.json:1:"] {
        assert!(said(&output).contains(part), "no {part} in {}", said(&output));
    }
    assert!(said(&output).contains("a is not in the data"), "{}", said(&output));
    assert_eq!(check(&folder.path().join("nowhere")).status.code(), Some(66));
    let alone = Command::new(env!("CARGO_BIN_EXE_recado")).args(["template", "check"]).output().unwrap();
    assert_eq!(alone.status.code(), Some(64));
}
