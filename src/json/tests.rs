#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{BodyError, OneOrMany, custom, from_value, optional_object, parse};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape is of interest")]
struct Request {
    r#type: String,
    to: OneOrMany<Person>,
    channel: Option<String>,
    category: Option<Category>,
    send_at: Option<Instant>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    data: Map<String, Value>,
    limit: Option<u8>,
    #[serde(default, deserialize_with = "optional_object")]
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape is of interest")]
struct Person {
    phone: String,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Category {
    Transactional,
    Marketing,
}

#[derive(Debug)]
struct Instant;

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match String::deserialize(d)?.as_str() {
            "now" => Ok(Self),
            other => Err(custom("timestamp", format!("{other} has no offset, e.g. 2026-01-31T10:00:00Z"))),
        }
    }
}

fn malformed(body: impl AsRef<[u8]>) -> (String, usize, usize) {
    match parse::<Request>(body.as_ref()).unwrap_err() {
        BodyError::Malformed { detail, line, column } => (detail, line, column),
        other @ BodyError::Fault { .. } => panic!("{other:?}"),
    }
}

fn fault(body: &str) -> (String, &'static str, String) {
    match parse::<Request>(body.as_bytes()).unwrap_err() {
        BodyError::Fault { pointer, code, detail } => (pointer, code, detail),
        other @ BodyError::Malformed { .. } => panic!("{other:?}"),
    }
}

/// A right body but for what `data` holds.
fn with_data(data: &str) -> String {
    format!(r#"{{"type":"a","to":{{"phone":"1"}},"data":{data}}}"#)
}

#[test]
fn a_right_body_is_read_one_or_many() {
    let one: Request = parse(with_data(r#"{"a":[1,2.5,null,true,"é"],"b":{"a":1}}"#).as_bytes()).unwrap();
    assert_eq!(one.to.as_slice().len(), 1);
    assert_eq!(one.to.pointer("/to", 0), "/to");
    let many: Request = parse(br#"{"type":"a","to":[{"phone":"1"},{"phone":"2"}],"sendAt":"now"}"#).unwrap();
    assert_eq!(many.to.pointer("/to", 1), "/to/1");
    assert_eq!(many.to.into_vec().len(), 2);
}

#[test]
fn an_absent_or_null_object_is_none() {
    assert!(parse::<Request>(br#"{"type":"a","to":{"phone":"1"},"content":null}"#).unwrap().content.is_none());
    let with: Request = parse(br#"{"type":"a","to":{"phone":"1"},"content":{"text":"x"}}"#).unwrap();
    assert_eq!(with.content.unwrap().text, "x");
}

#[test]
fn a_value_already_read_gives_the_same_faults() {
    let wrong = from_value::<Request>(serde_json::json!({"type": "a", "to": [{"phone": 1}]})).unwrap_err();
    let expected = BodyError::Fault {
        pointer: "/to/0/phone".into(),
        code: "wrong_type",
        detail: "is a number, expected a string".into(),
    };
    assert_eq!(wrong, expected);
}

#[test]
fn b1_what_is_not_json_is_refused_with_line_and_column() {
    assert_eq!((malformed(r#"{"to":"#).1, malformed(r#"{"to":"#).2), (1, 6));
    assert_eq!(malformed(""), ("EOF while parsing a value".into(), 1, 1));
    assert_eq!(malformed(with_data("{}") + "\n}"), ("trailing characters".into(), 2, 1));
    assert_eq!(malformed(b"{\"type\":\n\"\xff\"}").1, 2);
    // Half a surrogate pair is no character.
    malformed(br#"{"a":"\ud800"}"#);
}

#[test]
fn b2_deep_nesting_is_refused_before_it_costs_stack() {
    assert!(malformed("[".repeat(10_000)).0.contains("deeper than 64"));
    // `data` is the second level.
    let nested = |levels: usize| with_data(&format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels)));
    assert!(parse::<Request>(nested(62).as_bytes()).is_ok());
    assert!(malformed(nested(63)).0.contains("deeper than 64"));
}

#[test]
fn b3_what_only_looks_like_json_is_refused() {
    for wrong in ["NaN", "Infinity", "-Infinity", "1e999", "01", "'x'", "1.", ".5", "+1", "// x\n1", "/* x */ 1", "1,"]
    {
        malformed(with_data(&format!("{{\"x\":{wrong}}}")));
    }
}

#[test]
fn b4_a_key_given_twice_is_refused_everywhere() {
    assert!(malformed(r#"{"type":"a","type":"b"}"#).0.contains("duplicate key \"type\""));
    assert!(malformed(with_data(r#"{"x":[{"k":1,"k":1}]}"#)).0.contains("duplicate key \"k\""));
    assert!(malformed(with_data(r#"{"k":1,"\u006b":1}"#)).0.contains("duplicate key"));
    // The same key in two objects, and again after a nested one, is no duplicate.
    assert!(parse::<Request>(with_data(r#"{"k":{"k":{"k":1}},"l":{"k":1}}"#).as_bytes()).is_ok());
}

#[test]
fn b4_also_in_an_object_of_many_keys() {
    let keys = |n: usize| (0..n).map(|i| format!("\"k{i}\":{{\"k1\":0}}")).collect::<Vec<_>>().join(",");
    assert!(parse::<Request>(with_data(&format!("{{{}}}", keys(5_000))).as_bytes()).is_ok());
    for n in [31, 32, 33, 5_000] {
        assert!(malformed(with_data(&format!("{{{},\"k7\":1}}", keys(n)))).0.contains("duplicate key \"k7\""));
    }
}

#[test]
fn b7_an_unknown_field_names_the_nearest() {
    let (pointer, code, detail) = fault(r#"{"type":"a","to":{"phone":"1"},"chanel":"sms"}"#);
    assert_eq!((pointer.as_str(), code), ("/chanel", "unknown_field"));
    assert!(detail.contains("did you mean \"channel\"?"), "{detail}");
    for field in ["tenantId", "status", "createdAt"] {
        let (pointer, code, _) = fault(&format!(r#"{{"{field}":"x","type":"a","to":{{"phone":"1"}}}}"#));
        assert_eq!((pointer, code), (format!("/{field}"), "unknown_field"));
    }
    assert_eq!(fault(r#"{"type":"a","to":[{"phone":"1"},{"phne":"1"}]}"#).0, "/to/1/phne");
}

#[test]
fn b7_a_pointer_escapes_and_a_field_name_cannot_forge_the_sentence() {
    assert_eq!(fault(r#"{"a/b~c":1}"#).0, "/a~1b~0c");
    let (pointer, code, detail) = fault("{\"x`, expected `evil\":1}");
    assert_eq!((pointer.as_str(), code), ("/x`, expected `evil", "unknown_field"));
    assert!(!detail.contains("did you mean"), "{detail}");
}

#[test]
fn b8_a_wrong_type_says_what_was_found_and_wanted() {
    let rows = [
        (r#"{"type":"a","to":5}"#, "/to", "is a number, expected an object or an array of objects"),
        (r#"{"type":"a","to":{"phone":"1"},"sendAt":1720000000}"#, "/sendAt", "is a number, expected a string"),
        (r#"{"type":"a","to":{"phone":"1"},"channel":["sms"]}"#, "/channel", "is an array, expected a string"),
        (r#"{"type":"a","to":{"phone":"1"},"dryRun":"true"}"#, "/dryRun", "is a string, expected a boolean"),
        (r#"{"type":"a","to":{"phone":"1"},"data":[]}"#, "/data", "is an array, expected an object"),
        (r#"{"type":"a","to":[{"phone":"1"},7]}"#, "/to/1", "is a number, expected an object"),
        (r#"{"type":"a","to":[{"phone":"1"},{"phone":{}}]}"#, "/to/1/phone", "is an object, expected a string"),
        ("[]", "", "is an array, expected an object"),
        // serde would read these as the fields in order.
        (r#"["a",{"phone":"1"},null,null,null,false,{},null,null]"#, "", "is an array, expected an object"),
        (r#"{"type":"a","to":[["1","x"]]}"#, "/to/0", "is an array, expected an object"),
        (r#"{"type":"a","to":{"phone":"1"},"content":["x"]}"#, "/content", "is an array, expected an object"),
    ];
    for (body, pointer, detail) in rows {
        assert_eq!(fault(body), (pointer.into(), "wrong_type", detail.into()), "{body}");
    }
}

#[test]
fn b9_what_is_missing_or_null_is_required() {
    let rows = [
        (r#"{"to":{"phone":"1"}}"#, "/type"),
        (r#"{"type":"a"}"#, "/to"),
        (r#"{"type":null,"to":{"phone":"1"}}"#, "/type"),
        (r#"{"type":"a","to":null}"#, "/to"),
        (r#"{"type":"a","to":[{"phone":"1"},{"name":"x"}]}"#, "/to/1/phone"),
        (r#"{"type":"a","to":[null]}"#, "/to/0"),
        ("null", ""),
    ];
    for (body, pointer) in rows {
        let (found, code, _) = fault(body);
        assert_eq!((found.as_str(), code), (pointer, "required"), "{body}");
    }
}

#[test]
fn a_type_of_our_own_brings_its_code() {
    let (pointer, code, detail) = fault(r#"{"type":"a","to":{"phone":"1"},"sendAt":"tomorrow | 9"}"#);
    assert_eq!((pointer.as_str(), code), ("/sendAt", "timestamp"));
    assert!(detail.starts_with("tomorrow | 9 has no offset"), "{detail}");
}

#[test]
fn a_value_outside_its_range_or_list_is_out_of_range() {
    let (pointer, code, detail) = fault(r#"{"type":"a","to":{"phone":"1"},"category":"marketin"}"#);
    assert_eq!((pointer.as_str(), code), ("/category", "out_of_range"));
    assert!(detail.contains("did you mean \"marketing\"?"), "{detail}");
    assert_eq!(fault(r#"{"type":"a","to":{"phone":"1"},"limit":-1}"#).1, "out_of_range");
    assert_eq!(fault(r#"{"type":"a","to":{"phone":"1"},"limit":300}"#).0, "/limit");
}
