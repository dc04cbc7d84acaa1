//! The rows: of B58 to B67, then of each table, in their order.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Expected, Try};
use crate::support::hostile::{self, script, segment};

pub type Row = (&'static str, Vec<Try>);

impl Try {
    fn refused(self, slug: &'static str, code: &'static str) -> Self {
        Self { expected: Expected::Refused(slug, code), ..self }
    }

    fn gets(self, status: u16) -> Self {
        Self { expected: Expected::Status(status), ..self }
    }

    fn shows(self, pointer: &'static str, value: impl Into<Value>) -> Self {
        Self { expected: Expected::Shows(pointer, value.into()), ..self }
    }

    fn holds_that(self, so: fn(&Value) -> bool) -> Self {
        Self { expected: Expected::Holds(so), ..self }
    }
}

fn ask(method: Method, path: &str, body: Value) -> Try {
    Try { method, path: path.to_owned(), body, expected: Expected::Status(200) }
}

/// A template with these parts.
fn template(name: &str, parts: Value) -> Try {
    ask(Method::PUT, &format!("/v1/templates/{name}"), json!({"parts": parts}))
}

fn text(source: &str) -> Try {
    template("bad", json!({"text": source}))
}

fn preview(parts: Value, data: Value) -> Try {
    ask(Method::POST, "/v1/templates/preview", json!({"parts": parts, "data": data}))
}

/// A preview of one text.
fn shown(source: &str, data: Value) -> Try {
    preview(json!({"text": source}), data)
}

const INVALID: &str = "template-invalid";
const OUTPUT: &str = "/parts/text/output";

fn over(one: Try) -> Try {
    one.refused("template-limit", "template_limit")
}

/// Each of them, as a part of this kind, is neither kept nor shown.
fn none<S: AsRef<str>>(sources: impl IntoIterator<Item = S>, kind: &str, code: &'static str) -> Vec<Try> {
    let both = |source: &str| {
        let parts = json!({kind: source});
        [template("bad", parts.clone()), preview(parts, json!({}))].map(|one| one.refused(INVALID, code))
    };
    sources.into_iter().flat_map(|source| both(source.as_ref())).collect()
}

/// As many blocks of text as make about so many bytes.
fn repeated(blocks: usize, bytes: usize) -> (String, Value) {
    (format!("{{{{#each a}}}}{}{{{{/each}}}}", "x".repeat(bytes)), json!({"a": vec![1; blocks]}))
}

pub fn templates() -> Vec<Row> {
    let partials = (0..32).map(|n| template(&format!("_p{n}"), json!({"text": "x"})).gets(201));
    let doubling = hostile::doubling().map(|(name, source)| template(&name, json!({"text": source})).gets(201));
    let endless =
        hostile::endless_previews().into_iter().map(|body| over(ask(Method::POST, "/v1/templates/preview", body)));
    let cycle = ["_a", "_b", "_c"].map(|name| template(name, json!({"text": "x"})).gets(201));
    let step = |turns: usize, rows: usize| {
        let data = json!({"a": vec![1; rows], "b": vec![1; turns / rows - 1]});
        ("{{#each a}}{{#each ../b}}{{/each}}{{/each}}x", data)
    };
    let ((many, much), (few, little)) = (step(10_100, 100), step(9_900, 100));
    let (half, its_data) = step(6_000, 100);
    let ((mail, mail_data), (small_mail, small_data)) = (repeated(5, 60_000), repeated(4, 60_000));
    let long = |n: usize| json!({"a": "x".repeat(n)});
    let slow = "{{#each a}}{{#if (eq (join ../b) \"x\")}}y{{/if}}{{/each}}";
    let words: Vec<_> = (0..900).map(|n| format!("{n:0900}")).collect();
    vec![
        ("B58", none(hostile::UNENDED, "text", "syntax")),
        (
            "B59",
            vec![
                text(hostile::INLINE).refused(INVALID, "recursive_partial"),
                template("_a", json!({"text": "{{> a}}"})).refused(INVALID, "recursive_partial"),
                template("_b", json!({"text": "b"})).gets(201),
                template("_a", json!({"text": "{{> b}}"})).gets(201),
                template("_b", json!({"text": "{{> a}}"})).refused(INVALID, "recursive_partial"),
            ],
        ),
        ("B60", none(hostile::too_deep(), "text", "too_deep")),
        ("B61", none(hostile::UNKNOWN_PARTIAL, "text", "unknown_partial")),
        ("B62", none(hostile::UNKNOWN_HELPER, "text", "unknown_helper")),
        ("B63", none(hostile::UNESCAPED, "email.html", "unescaped_output")),
        (
            "B64",
            std::iter::once(text(&"x".repeat(300_000)).refused("validation", "too_long"))
                .chain(partials)
                .chain([template("_p32", json!({"text": "x"})).refused("validation", "too_long")])
                .collect(),
        ),
        ("B65", doubling.chain(endless).collect()),
        (
            "source and depth, before the parser",
            vec![
                text(&"x".repeat(64 * 1024)).gets(201),
                text(&"x".repeat(64 * 1024 + 1)).refused("validation", "too_long"),
                text(&"{{a}}".repeat(2_500)).gets(200),
                text(&"{{a}}".repeat(13_107)).refused("validation", "too_long"),
                shown(&"{{a}}".repeat(13_107), json!({"a": ""})).refused(INVALID, "too_long"),
                text(&hostile::nested(16)).gets(200),
                text(&hostile::nested(17)).refused(INVALID, "too_deep"),
                text(&hostile::chained(16)).gets(200),
                text(&hostile::chained(17)).refused(INVALID, "too_deep"),
                shown(&hostile::nested(16), json!({"a": true})).shows(OUTPUT, "x"),
            ],
        ),
        (
            "the graph of partials, and the helpers",
            cycle
                .into_iter()
                .chain([
                    template("_a", json!({"text": "{{> b}}"})).gets(200),
                    template("_b", json!({"text": "{{> c}}"})).gets(200),
                    template("_c", json!({"text": "{{> a}}"})).refused(INVALID, "recursive_partial"),
                    // An earlier row's tenant has one.
                    text("{{> p0}}").refused(INVALID, "unknown_partial"),
                    text("{{#> (lookup this \"k\")}}x{{/undefined}}").refused(INVALID, "unknown_partial"),
                    text("{{partial \"a\"}}").refused(INVALID, "unknown_helper"),
                    text("{{#raw}}{{x}}{{/raw}}").refused(INVALID, "unknown_helper"),
                    shown(
                        "{{#if (and (gt n 1) (not (lt n 1)) (or (ne n 3) (eq n 3)))}}{{lookup l 1}}{{/if}}",
                        json!({"n": 3, "l": [1, 7]}),
                    )
                    .shows(OUTPUT, "7"),
                ])
                .collect(),
        ),
        (
            "one registry for each tenant and version, strict",
            vec![
                template("v", json!({"text": "uno"})).gets(201),
                template("v", json!({"text": "dos {{a}}"})).gets(200),
                ask(Method::POST, "/v1/templates/preview", json!({"template": "v", "data": {"a": 1}}))
                    .shows(OUTPUT, "dos 1"),
                ask(Method::POST, "/v1/templates/v/rollback", json!({})).gets(200),
                ask(Method::POST, "/v1/templates/preview", json!({"template": "v", "data": {}})).shows(OUTPUT, "uno"),
                shown("{{#with a}}{{b}}{{/with}}", json!({"a": {"c": 1}, "b": 2}))
                    .shows("/faults/0/code", "template_data"),
                ask(Method::POST, "/v1/templates/v/rollback", json!({"version": 2})).gets(200),
                ask(Method::POST, "/v1/notify", json!({"type": "v", "channel": "webhook", "to": {"name": "Ana"}}))
                    .refused("template-data", "required"),
            ],
        ),
        (
            "loops",
            vec![
                over(shown(many, much)),
                shown(few, little).shows(OUTPUT, "x"),
                // All parts of a message together.
                over(preview(json!({"text": half, "sms": half}), its_data.clone())),
                shown(half, its_data).shows(OUTPUT, "x"),
                over(shown("{{#each a}}{{/each}}x", json!({"a": vec![1; 1001]}))),
                over(shown("x{{#if b}}{{a}}{{/if}}", json!({"a": {"b": {"c": vec![1; 1001]}}}))),
                shown("{{#each a}}{{/each}}x", json!({"a": vec![1; 1000]})).shows(OUTPUT, "x"),
            ],
        ),
        (
            "output",
            vec![
                over(preview(json!({"email.html": mail}), mail_data)),
                preview(json!({"email.html": small_mail}), small_data).gets(200),
                over(preview(json!({"whatsapp": "{{a}}"}), long(4097))),
                preview(json!({"whatsapp": "{{a}}"}), long(4096)).gets(200),
                over(preview(json!({"text": "{{a}}"}), long(4097))),
                over(preview(json!({"sms": "{{a}}"}), long(1531))),
                preview(json!({"sms": "{{a}}"}), long(1530)).shows("/parts/sms/sms/segments", 10),
                over(preview(json!({"text": "x", "email.subject": "{{a}}"}), long(999))),
            ],
        ),
        ("time", vec![over(shown(slow, json!({"a": vec![1; 1000], "b": words})))]),
        (
            "escaping",
            vec![
                preview(json!({"email.html": "<p>{{v}}</p>"}), json!({"v": "<b>\"&'"}))
                    .shows("/parts/email.html/output", "<p>&lt;b&gt;&quot;&amp;&#x27;</p>"),
                preview(json!({"text": "x", "email.subject": "{{v}}"}), json!({"v": "<b> & \"b\""}))
                    .shows("/parts/email.subject/output", "<b> & \"b\""),
                preview(json!({"sms": "{{v}}", "whatsapp": "{{{v}}}"}), json!({"v": "a & <b>"}))
                    .shows("/parts/sms/output", "a & <b>"),
                shown("{{v}}", json!({"v": "a\u{7}\u{1b}[2J\u{200e}b"})).shows(OUTPUT, "a[2J\u{200e}b"),
            ],
        ),
        (
            "context",
            vec![
                shown("{{#each this}}{{@key}} {{/each}}.", json!({"a": 1})).shows(OUTPUT, "a ."),
                shown("{{settings}}{{env}}{{tenant}}{{config.secrets}}", json!({}))
                    .shows("/missing", json!(["settings", "env", "tenant", "config.secrets"])),
                shown("{{a.constructor}}{{a.__proto__}}", json!({"a": "x"}))
                    .holds_that(|body| !body["missing"][1].is_null()),
            ],
        ),
    ]
}

fn trial(body: Value) -> Try {
    ask(Method::POST, "/v1/scripts/test", body)
}

/// A segment's condition, tried.
fn asked(condition: &str) -> Try {
    trial(segment(condition))
}

fn stopped(one: Try) -> Try {
    one.refused("script-limit", "script_limit")
}

fn passes(condition: &str) -> Try {
    asked(condition).shows("/results/0/result", true)
}

/// It ends with an error of its own.
fn fails(condition: &str) -> Try {
    asked(condition).shows("/results/0/error/code", "script_failed")
}

fn campaign(body: &str) -> Try {
    trial(script("campaign", &format!("fn sendAt(contact, now) {{ {body} () }}")))
}

fn does_not_compile(condition: &str) -> Vec<Try> {
    let refused = |one: Try| one.refused("script-invalid", "script_invalid");
    vec![refused(ask(Method::PUT, "/v1/scripts/bad", segment(condition))), refused(asked(condition))]
}

fn none_compiles<S: AsRef<str>>(conditions: impl IntoIterator<Item = S>) -> Vec<Try> {
    conditions.into_iter().flat_map(|condition| does_not_compile(condition.as_ref())).collect()
}

pub fn scripts() -> Vec<Row> {
    let recursion = ["segment", "campaign"].map(|kind| stopped(trial(script(kind, hostile::RECURSION))));
    let refused = hostile::refused_scripts().into_iter().flat_map(|(kind, source, _)| {
        let body = script(kind, &source);
        [ask(Method::PUT, "/v1/scripts/bad", body.clone()), trial(body)]
            .map(|one| one.refused("script-invalid", "script_invalid"))
    });
    let results =
        hostile::WRONG_RESULT.map(|(condition, _)| asked(condition).refused("script-result", "script_result"));
    let sized = |bytes: usize| {
        let source = "fn include(contact, now) { true } //";
        script("segment", &format!("{source}{}", "x".repeat(bytes - source.len())))
    };
    let down =
        |levels: usize| format!("fn down(n) {{ n == 0 || down(n - 1) }} fn include(contact, now) {{ down({levels}) }}");
    let variables = |n: usize| (0..n).map(|n| format!("let v{n} = 1; ")).collect::<Vec<_>>().concat() + "true";
    let functions = |n: usize| {
        let more = (1..n).map(|n| format!("fn f{n}() {{ 1 }} ")).collect::<Vec<_>>().concat();
        script("segment", &format!("{more}fn include(contact, now) {{ true }}"))
    };
    let brackets = |n: usize| format!("{}1{}; true", "[".repeat(n), "]".repeat(n));
    let filled = |c: &str, then: &str| format!("let s = \"\"; s.pad(16000, {c}); {then} true");
    let people: Vec<_> = (0..1100).map(|n| json!({"externalId": n.to_string()}).to_string()).collect();
    vec![
        ("B66", hostile::RUNAWAY.iter().map(|condition| stopped(asked(condition))).chain(recursion).collect()),
        ("B67", refused.chain(results).collect()),
        (
            "source before it is compiled",
            vec![
                ask(Method::PUT, "/v1/scripts/long", sized(32 * 1024)).gets(201),
                ask(Method::PUT, "/v1/scripts/long", sized(32 * 1024 + 1)).refused("script-invalid", "script_invalid"),
            ],
        ),
        (
            "operations",
            vec![
                passes("for i in 0..2000 { let a = i; } true"),
                stopped(asked("for i in 0..20000 { let a = i; } true")),
                campaign("for i in 0..20000 { let a = i; }").gets(200),
                stopped(campaign("for i in 0..200000 { let a = i; }")),
            ],
        ),
        (
            "the clock",
            vec![
                stopped(asked("let a = []; a.pad(1900, 0); loop { let b = a; b.sort(); b.reverse(); }")),
                stopped(campaign("let s = \"\"; s.pad(16000, 'x'); loop { let t = s; t.make_upper(); t.replace('X', \"y\"); }")),
                ask(Method::POST, "/v1/contacts/import", Value::String(people.join("\n"))).shows("/created", 1100),
                ask(Method::PUT, "/v1/scripts/slow", segment("let a = []; a.pad(1900, 0); loop { let b = a; b.sort(); }")).gets(201),
                ask(Method::GET, "/v1/segments/slow/count", Value::Null).shows("/failed", 1100),
                ask(Method::POST, "/v1/segments/slow/preview", json!({})).shows("/failed", 1100),
            ],
        ),
        (
            "calls and depth",
            vec![
                trial(script("segment", &down(13))).shows("/results/0/result", true),
                stopped(trial(script("segment", &down(17)))),
                passes(&brackets(3)),
            ]
            .into_iter()
            .chain(does_not_compile(&brackets(17)))
            .chain(does_not_compile(&format!("{}true", "!".repeat(10_000))))
            .chain(does_not_compile(&format!("contact{}", ".name".repeat(6_000))))
            .collect(),
        ),
        (
            "variables, functions, modules",
            vec![
                passes(&variables(50)),
                stopped(asked(&variables(70))),
                trial(functions(32)).shows("/results/0/result", true),
                trial(functions(33)).refused("script-invalid", "script_invalid"),
                trial(script("segment", "import \"x\" as x; fn include(contact, now) { x::y() }"))
                    .refused("script-invalid", "script_invalid"),
            ],
        ),
        (
            "texts, lists, maps",
            vec![
                passes("let s = \"\"; s.pad(16384, 'x'); true"),
                stopped(asked("let s = \"\"; s.pad(16385, 'x'); true")),
                stopped(asked("let s = \"\"; s.pad(9000000000, \"xy\"); true")),
                passes("let a = []; a.pad(2000, 0); true"),
                stopped(asked("let a = []; a.pad(2001, 0); true")),
                stopped(asked("let a = []; a.pad(9000000000, 0); true")),
                stopped(asked("let a = []; a.pad(100, 0); a.pad(200, a); true")),
                stopped(asked("let m = #{}; for i in 0..600 { m.set(`k${i}`, i); } true")),
                stopped(asked("let m = #{}; for i in 0..600 { m = #{m: m}; } true")),
                // Nobody counts keys that are put there one by one; the process may not grow by them without end.
                campaign("let s = \"\"; s.pad(16000, 'x'); let m = #{}; for i in 0..900 { m[s + i] = i; }").gets(200),
                stopped(campaign("let s = \"\"; s.pad(16000, 'x'); let m = #{}; for i in 0..90000 { m[s + i] = i; }")),
                stopped(campaign("let b = []; b.pad(2000, 0); let a = []; a.pad(2000, 0); let c = [a, a, a]; loop { for n in 0..2000 { a[n] = b; } c[0] = a; }")),
                stopped(asked("let s = \"x\"; loop { s = `${s}${s}`; } true")),
                stopped(asked("let a = []; loop { a = [a]; } true")),
            ],
        ),
        (
            "words that are switched off",
            none_compiles(["eval(\"true\")", "let f = Fn(\"eval\"); f.call(\"1\")", "contact.curry(1)"]),
        ),
        (
            "strict variables, missing fields, nothing run while it is compiled",
            does_not_compile("nobody == ()")
                .into_iter()
                .chain([
                    fails("let m = #{}; m.nothing == ()"),
                    fails("contact.nothing == ()"),
                    passes("contact.attributes.nothing == ()"),
                    ask(
                        Method::PUT,
                        "/v1/scripts/spins",
                        script("segment", "fn spin() { loop {} } fn include(contact, now) { if now.hour > 99 { spin(); } true }"),
                    )
                    .gets(201),
                    trial(json!({"name": "spins"})).shows("/results/0/result", true),
                ])
                .collect(),
        ),
        (
            "the log",
            vec![
                asked("let s = \"\"; s.pad(1000, 'x'); for i in 0..1000 { print(s); } true").holds_that(|body| {
                    let log = body["results"][0]["log"].as_array();
                    log.is_some_and(|log| log.len() == 50 && log.iter().all(|line| line.as_str().is_some_and(|l| l.len() == 200)))
                }),
                asked("print(\"a\\n\\x1b[2J\"); debug(\"b\"); true").holds_that(|body| {
                    let log = body["results"][0]["log"].to_string();
                    !log.contains("\\u001b") && log.contains("a\\\\n") && log.contains("line 1: ")
                }),
            ],
        ),
        (
            "what must not exist",
            none_compiles(["sleep(1); true", "sleep(0.1); true", "sleep(1e300); true"])
                .into_iter()
                .chain(
                    ["timestamp()", "rand()", "random()", "open_file(\"/etc/passwd\")", "env(\"HOME\")", "fetch(\"http://127.0.0.1/\")", "blob(100000000)"]
                        .map(|call| fails(&format!("{call}; true"))),
                )
                // It ends the script, not the process.
                .chain([asked("exit(); true").refused("script-result", "script_result")])
                .collect(),
        ),
        (
            "own versions with the size checked first",
            ["s.replace(\"x\", s);", "s.replace('x', s);", "s.replace(\"x\", 'ñ');", "s.replace('x', 'ñ');"]
                .map(|then| stopped(asked(&filled("'x'", then))))
                .into_iter()
                .chain([
                    stopped(asked("let s = \"\"; s.pad(40, 'x'); let a = []; a.pad(400, s); join(a, s); true")),
                    stopped(asked("let a = []; a.pad(2000, 1); let s = \"\"; s.pad(16000, 'x'); join(a, s); true")),
                    passes("let s = \"banana\"; s.replace(\"a\", \"bb\"); s == \"bbbnbbnbb\""),
                ])
                .collect(),
        ),
        (
            "registered functions",
            ["escape_html(s);", "url_encode(s);", "base64(s);", "to_json([s, s]);"]
                .map(|then| stopped(asked(&filled("'<'", then))))
                .into_iter()
                .chain([
                    passes(&filled("'['", "parse_json(s);")),
                    passes(&filled("'x'", "sha256(s); hmac_sha256(s, s); from_base64(s); moment(s);")),
                    passes("shorten(\"señorita\", -9) == \"\" && shorten(\"a\", 9223372036854775807) == \"a\""),
                    passes("now.plus(\"106751991167d\").year > 0 && now.minus(\"106751991167d\").date != \"\""),
                    passes("let far = moment(\"9999-12-31T23:59:59Z\"); far.days_since(now) > 0 && now.hours_since(far) < 0"),
                    fails("now.plus(\"99999999999999999999d\"); true"),
                    fails("[1, 2].index_of(|x| x.nothing); true"),
                    fails("9223372036854775807 + 1; true"),
                    fails("1 / 0; true"),
                    fails("let a = [1]; a[99]; true"),
                    passes("pick(#{a: [1, #{b: 2}]}, \"a.1.b\") == 2 && pick(1, \"....\") == ()"),
                ])
                .collect(),
        ),
        (
            "around each evaluation",
            vec![
                asked("let s = \"\"; s.pad(5000, 'x'); throw s;").holds_that(|body| {
                    let detail = body["results"][0]["error"]["detail"].as_str().unwrap_or_default();
                    (100..=501).contains(&detail.chars().count())
                }),
                asked("|x| x").refused("script-result", "script_result"),
                asked("0.0 / 0.0").refused("script-result", "script_result"),
                asked("let a = []; for i in 0..100 { a = [a]; } a").refused("script-result", "script_result"),
                trial(script("route", "fn route(notification, contact, channels, now) { 5 }")).refused("script-result", "script_result"),
                trial(script("campaign", "fn message(contact, now) { #{tempalte: \"x\"} }")).refused("script-result", "script_result"),
            ],
        ),
    ]
}
