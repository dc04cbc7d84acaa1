#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use toml::Table;

use super::*;

const LONG: &str = "0123456789012345678901234567890123456789";

fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_text(Some((Path::new("config.toml"), file)), env)
}

fn faults(file: &str, env: &[(&str, &str)]) -> Vec<String> {
    load(file, env).unwrap_err().to_string().lines().map(str::to_owned).collect()
}

#[test]
fn the_shipped_file_is_valid_and_changes_nothing() {
    let shipped = load(DEFAULTS, &[]).unwrap();
    let bare = Config::from_text(None, []).unwrap();
    assert_eq!(reloadable(&shipped, &bare), Vec::<String>::new());
    assert_eq!(bare.server.listen.to_string(), "127.0.0.1:8080");
    assert!(bare.store.url.is_sqlite());
    assert!(bare.auth.operator_key.is_none() && bare.auth.jwt_public_key_file.is_none());
    assert_eq!(bare.delivery.call_timeout, Duration::from_secs(30));
    assert_eq!(bare.delivery.max_in_memory, 2048);
    assert_eq!(bare.defaults.timezone, "America/Mexico_City");
    assert_eq!(bare.channels.len(), 5);
}

/// No field has a default in code but those of a channel, so reading the file alone proves the rest complete.
#[test]
fn every_setting_is_in_the_shipped_file_with_a_comment() {
    for channel in DEFAULTS.parse::<Table>().unwrap()["channels"].as_table().unwrap().values() {
        let keys: Vec<&String> = channel.as_table().unwrap().keys().collect();
        assert_eq!(keys, ["enabled", "max_concurrency", "rate_per_minute"]);
    }
    let lines: Vec<&str> = DEFAULTS.lines().collect();
    let documented = DEFAULTS.find("[channels.email]").unwrap();
    for (before, line) in
        lines.iter().zip(&lines[1..]).filter(|(_, line)| line.contains(" = ") && !line.starts_with('#'))
    {
        let place = line.as_ptr() as usize - DEFAULTS.as_ptr() as usize;
        assert!(before.starts_with('#') || place > documented, "no comment above: {line}");
    }
}

#[test]
fn later_layers_win_and_say_so() {
    let file = "[server]\nlisten = \"0.0.0.0:9000\"\n[log]\nlevel = \"debug\"\n";
    let config =
        load(file, &[("RECADO_SERVER__LISTEN", "[::1]:7000"), ("PATH", "/bin"), ("RECADO_HOME", "x")]).unwrap();
    assert_eq!(config.server.listen.to_string(), "[::1]:7000");
    assert_eq!(config.log.level, "debug");
    let said = config.describe();
    for line in ["listen = \"[::1]:7000\"", "# RECADO_SERVER__LISTEN", "# config.toml:4", "# default", "[channels.sms]"]
    {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(said.parse::<Table>().is_ok());
}

#[test]
fn a_variable_becomes_what_its_key_holds() {
    let config = load(
        "",
        &[
            ("RECADO_AUTH__OPERATOR_KEY", "1234567890123456"),
            ("RECADO_AUTH__JWT_ISSUER", "true"),
            ("RECADO_OUTBOUND__ALLOW", r#"["127.0.0.0/8", "10.1.2.3"]"#),
            ("RECADO_OUTBOUND__ALLOW_HTTP", "true"),
            ("RECADO_DELIVERY__MAX_IN_MEMORY", "10"),
            ("RECADO_DELIVERY__LEASE", "5m"),
            ("RECADO_CHANNELS__SMS__ENABLED", "false"),
            ("RECADO_CHANNELS__TELEGRAM__RATE_PER_MINUTE", "7"),
        ],
    )
    .unwrap();
    assert_eq!(config.auth.operator_key.as_ref().unwrap().expose_secret(), "1234567890123456");
    assert_eq!(config.auth.jwt_issuer.as_deref(), Some("true"));
    assert_eq!(config.outbound.allow.len(), 2);
    assert_eq!(config.outbound.allow[1].to_string(), "10.1.2.3/32");
    assert!(config.outbound.allow_http);
    assert_eq!(config.delivery.max_in_memory, 10);
    assert_eq!(config.delivery.lease, Duration::from_mins(5));
    assert!(!config.channel("sms").enabled);
    assert_eq!(config.channel("telegram").rate_per_minute.map(NonZeroU32::get), Some(7));
    assert_eq!(config.channel("nobody-said"), ChannelSwitch::default());

    let plain = load("", &[("RECADO_OUTBOUND__ALLOW", "127.0.0.0/8, fd00::/8")]).unwrap();
    assert_eq!(plain.outbound.allow.len(), 2);
    assert!(load("", &[("RECADO_OUTBOUND__ALLOW", "")]).unwrap().outbound.allow.is_empty());
}

#[test]
fn a_secret_can_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, format!("{LONG}\n")).unwrap();
    let named = path.to_str().unwrap();
    let config = load("", &[("RECADO_AUTH__OPERATOR_KEY_FILE", named)]).unwrap();
    assert_eq!(config.auth.operator_key.as_ref().unwrap().expose_secret(), LONG);
    // A key whose own name ends so stays a path.
    let config =
        load("", &[("RECADO_AUTH__JWT_PUBLIC_KEY_FILE", "k.pem"), ("RECADO_SECRETS__KEY_FILE", "m.key")]).unwrap();
    assert_eq!(config.auth.jwt_public_key_file, Some(PathBuf::from("k.pem")));
    assert_eq!(config.secrets.key_file, PathBuf::from("m.key"));

    let both = faults("", &[("RECADO_AUTH__OPERATOR_KEY_FILE", named), ("RECADO_AUTH__OPERATOR_KEY", LONG)]);
    assert!(both[0].contains("also set"), "{both:?}");
    let gone = faults("", &[("RECADO_AUTH__CRON_SECRET_FILE", "/nowhere/key")]);
    assert!(
        gone[0].starts_with("RECADO_AUTH__CRON_SECRET_FILE: auth.cron_secret: /nowhere/key cannot be read"),
        "{gone:?}"
    );
    let not_secret = faults("", &[("RECADO_SERVER__LISTEN_FILE", named)]);
    assert!(not_secret[0].contains("unknown key"), "{not_secret:?}");
}

#[test]
fn b78_every_fault_is_told_at_once_with_file_line_key_and_nearest_key() {
    let file = "[server]\nliste = \"x\"\nlisten = \"127.0.0.1:99999\"\n\n[auth]\noperator_key = \"short\"\n\
                [store]\nurl = \"mysql://root:pw@db/x\"\n[sever]\nlisten = 1\n[channels.sms]\nenabld = true\nenabled = \"yes\"\n";
    let env = [("RECADO_DELIVERY__LEESE", "1s"), ("RECADO_DELIVERY__LEASE", "1 hour"), ("RECADO_LOG__LEVEL", "inof")];
    let said = faults(file, &env);
    let expected = [
        "config.toml:2: server.liste: unknown key (did you mean \"listen\"?)",
        "config.toml:3: server.listen: port 99999 is above 65535",
        "config.toml:6: auth.operator_key: shorter than 16 characters: make one with `openssl rand -hex 32`",
        "config.toml:8: store.url: unknown store scheme \"mysql\": use sqlite://PATH or postgres://USER@HOST/DATABASE",
        "config.toml:9: sever: unknown key (did you mean \"server\"?)",
        "config.toml:12: channels.sms.enabld: unknown key (did you mean \"enabled\"?)",
        "config.toml:13: channels.sms.enabled: is string \"yes\", must be true or false",
        "RECADO_DELIVERY__LEESE: delivery.leese: unknown key (did you mean \"lease\"?)",
        "RECADO_DELIVERY__LEASE: delivery.lease: \"1 hour\" is not a duration such as",
        "RECADO_LOG__LEVEL: log.level: \"inof\" is not a level (did you mean \"info\"?)",
    ];
    for line in expected {
        assert!(said.iter().any(|fault| fault.starts_with(line)), "{line} is not in\n{}", said.join("\n"));
    }
    assert_eq!(said.len(), expected.len(), "{}", said.join("\n"));
}

#[test]
fn b78_bad_toml_is_told_with_its_line() {
    for (file, place) in [
        ("[server]\nlisten = 127.0.0.1\n", "config.toml:2: not TOML: "),
        ("[server\nlisten = 1", "config.toml:1: not TOML: "),
        ("[log]\nlevel = \"info\"\nlevel = \"warn\"\n", "config.toml:3: not TOML: "),
        ("[log]\n[server]\n[log]\n", "config.toml:3: not TOML: "),
    ] {
        let said = faults(file, &[]);
        assert!(said[0].starts_with(place), "{said:?}");
    }
}

#[test]
fn a_key_in_the_wrong_place_names_the_right_one() {
    let nearest = |file: &str, line: &str| {
        let said = faults(file, &[]);
        assert!(said[0].starts_with(line), "{said:?}");
    };
    nearest("listen = \"x\"", "config.toml:1: listen: unknown key (did you mean \"server.listen\"?)");
    nearest(
        "[server]\njwt_secret = \"x\"",
        "config.toml:2: server.jwt_secret: unknown key (did you mean \"auth.jwt_secret\"?)",
    );
    nearest("[store]\nzzzzzz = 1", "config.toml:2: store.zzzzzz: unknown key (there are: keep_free_mib, url)");
    nearest("server = 5", "config.toml:1: server: is a section: write [server]");
    nearest("[server.listen]\nport = 1", "config.toml:1: server.listen: ");
    nearest("[channels.\"Mi canal\"]\nenabled = true", "config.toml:1: channels.Mi canal: a channel's name");
}

#[test]
fn every_kind_of_bad_value_is_refused() {
    for (section, line) in [
        ("server", "listen = \"8080\""),
        ("server", "listen = \"host:80\""),
        ("server", "public_url = \"ftp://x\""),
        ("server", "public_url = \"https://u:p@x\""),
        ("server", "request_timeout = \"0s\""),
        ("server", "request_timeout = 30"),
        ("store", "url = \"\""),
        ("store", "url = \"sqlite://\""),
        ("store", "url = \"postgres:///nohost\""),
        ("store", "url = \"data/recado.db\""),
        ("auth", "jwt_secret = 12345678901234567890"),
        ("auth", "cron_secret = 1234"),
        ("secrets", "key_file = \"\""),
        ("outbound", "allow = [\"everything\"]"),
        ("outbound", "allow = \"10.0.0.0/8\""),
        ("delivery", "concurrency = 0"),
        ("delivery", "max_in_memory = -1"),
        ("log", "format = \"xml\""),
        ("log", "level = \"recado=loud\""),
        ("defaults", "country = \"Mexico\""),
        ("defaults", "locale = \"Spanish\""),
        ("defaults", "timezone = \"America/Cd_Mexico\""),
        ("channels.sms", "rate_per_minute = -1"),
        ("channels.sms", "max_concurrency = 1.5"),
    ] {
        let said = faults(&format!("[{section}]\n{line}\n"), &[]);
        let key = line.split(' ').next().unwrap();
        // The key is looked for apart from the place: TOML's own refusal of a number has no key.
        assert!(said.len() == 1 && said[0].starts_with("config.toml:2: "), "{line}: {said:?}");
        assert!(said[0].contains(&format!("{section}.{key}: ")) || said[0].contains("not TOML"), "{line}: {said:?}");
    }
}

#[test]
fn the_lease_outlives_the_call() {
    let said = faults("[delivery]\nlease = \"20s\"\n", &[]);
    assert!(
        said[0].starts_with("config.toml:2: delivery.lease: must be longer than delivery.call_timeout"),
        "{said:?}"
    );
    assert!(load("[delivery]\nlease = \"20s\"\ncall_timeout = \"10s\"\n", &[]).is_ok());
}

#[test]
fn no_secret_is_shown_by_anything() {
    let file = format!(
        "[auth]\noperator_key = \"{LONG}\"\n[store]\nurl = \"postgres://u:{LONG}@db/x?password={LONG}&sslmode=require\"\n"
    );
    let config = load(&file, &[]).unwrap();
    let json = serde_json::to_string(&config.settings().collect::<Vec<_>>()).unwrap();
    for shown in [config.describe(), format!("{config:?}"), config.store.url.to_string(), json] {
        assert!(!shown.contains(LONG), "{shown}");
        assert!(shown.contains("db/x") && shown.contains("sslmode=require"), "{shown}");
    }
    assert!(config.store.url.expose().contains(LONG));

    let short = "hunter2secret";
    let wrong = format!(
        "[auth]\noperator_key = \"{short}\"\njwt_secret = [\"{short}\"]\n[store]\nurl = \"{short}:{short}@x\"\n"
    );
    let env = [("RECADO_AUTH__CRON_SECRET", short)];
    let said = load(&wrong, &env).unwrap_err();
    assert_eq!(said.0.len(), 4);
    assert!(!said.to_string().contains(short) && !format!("{said:?}").contains(short), "{said}");
}

#[test]
fn only_channels_and_log_level_change_without_a_restart() {
    let old = load("[channels.sms]\nenabled = true\n", &[]).unwrap();
    let new =
        load("[channels.sms]\nenabled = false\n[channels.telegram]\nenabled = false\n[log]\nlevel = \"debug\"\n", &[]);
    assert_eq!(reloadable(&old, &new.unwrap()), Vec::<String>::new());
    let file = format!("[server]\nlisten = \"127.0.0.1:1\"\n[auth]\noperator_key = \"{LONG}\"\n");
    assert_eq!(reloadable(&old, &load(&file, &[]).unwrap()), ["auth.operator_key", "server.listen"]);
    // Two secrets look the same when covered, and still differ.
    let other = load(&file.replace(LONG, &format!("{LONG}x")), &[]).unwrap();
    assert_eq!(reloadable(&load(&file, &[]).unwrap(), &other), ["auth.operator_key"]);
}

#[test]
fn a_named_file_must_be_there() {
    let said = Config::load(Some(Path::new("/nowhere/r.toml")), []).unwrap_err().to_string();
    assert!(said.starts_with("/nowhere/r.toml: cannot be read: "), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    fs::write(&path, "[log]\nformat = \"json\"\n").unwrap();
    let config = Config::load(Some(&path), []).unwrap();
    assert_eq!((config.log.format, config.file), (LogFormat::Json, Some(path)));
}
