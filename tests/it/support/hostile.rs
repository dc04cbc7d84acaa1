//! Templates and scripts that mean no good: tried in process one by one, and again at the running program, which must
//! outlive them all.

use serde_json::{Value, json};

/// B58: they do not end, or close what nobody opened.
pub const UNENDED: [&str; 6] = ["{{#if a}}", "{{/if}}", "{{foo bar", "{{#each a}}{{/if}}", "{{", "{{}}"];

/// B59: a partial that includes itself without being stored.
pub const INLINE: &str = "{{#*inline \"p\"}}x{{> p}}{{/inline}}{{> p}}";

/// B60.
pub fn too_deep() -> [String; 6] {
    [
        nested(17),
        chained(17),
        chained(2001),
        "{{#if}}".repeat(2000),
        "{{#if a}}".repeat(2000),
        format!("{{{{upper {}a{}}}}}", "(upper ".repeat(2000), ")".repeat(2000)),
    ]
}

/// Blocks within blocks.
pub fn nested(blocks: usize) -> String {
    format!("{}x{}", "{{#if a}}".repeat(blocks), "{{/if}}".repeat(blocks))
}

/// One block of so many conditions.
pub fn chained(conditions: usize) -> String {
    format!("{{{{#if a}}}}x{}{{{{/if}}}}", "{{else if b}}y".repeat(conditions - 1))
}

/// B61: partials that are not there, or only known when it is too late.
pub const UNKNOWN_PARTIAL: [&str; 4] =
    ["{{> (lookup this \"k\")}}", "{{> other}}", "{{> welcome}}", "{{#> other}}x{{/other}}"];

/// B62.
pub const UNKNOWN_HELPER: [&str; 7] = [
    "{{log \"x\"}}",
    "{{env \"X\"}}",
    "{{shout a}}",
    "{{#shout a}}x{{/shout}}",
    "{{recado:step 1}}",
    "{{{recado:raw a}}}",
    "{{* x}}",
];

/// B63: values that would become markup.
pub const UNESCAPED: [&str; 4] =
    ["<p>{{{x}}}</p>", "<p>{{&x}}</p>", "<p>{{~{x}~}}</p>", "{{#if a}}{{{upper x}}}{{/if}}"];

/// B65: each is small and means work without end; together with what [`doubling`] makes.
pub fn endless_previews() -> Vec<Value> {
    let thrice = "{{#each a}}{{#each ../a}}{{#each ../../a}}{{/each}}{{/each}}{{/each}}";
    let framed = "{{#> layout}}{{#each a}}{{#each ../a}}{{../../b}}{{/each}}{{/each}}{{/layout}}";
    let fives = format!("{{{{#each a}}}}{}{{{{/each}}}}", "x".repeat(60_000));
    let long = "x".repeat(200_000);
    vec![
        json!({"parts": {"text": thrice}, "data": {"a": vec![1; 2000]}}),
        json!({"parts": {"text": thrice}, "data": {"a": vec![1; 1000]}}),
        json!({"parts": {"text": "{{> p18}}"}}),
        json!({"parts": {"email.html": fives}, "data": {"a": vec![1; 90]}}),
        json!({"parts": {"email.html": framed}, "data": {"a": vec![1; 90], "b": "x".repeat(100_000)}}),
        json!({"parts": {"text": "{{#each a}}x{{/each}}"}, "data": {"a": vec![1; 5000]}}),
        // A text between a thousand items, and that again between them.
        json!({"parts": {"text": "{{join a b}}"}, "data": {"a": vec![1; 1000], "b": long}}),
        json!({"parts": {"text": "{{#if (eq (join a (join a b)) 1)}}x{{/if}}"}, "data": {"a": vec![1; 1000], "b": "x".repeat(1000)}}),
    ]
}

/// Partials of which each includes the one before twice, and none writes a word.
pub fn doubling() -> impl Iterator<Item = (String, String)> {
    let twice = |n: usize| format!("{{{{> p{0}}}}}{{{{> p{0}}}}}", n - 1);
    let first = ("_p0".to_owned(), "{{! nothing }}".to_owned());
    std::iter::once(first).chain((1..=18).map(move |n| (format!("_p{n}"), twice(n))))
}

/// B66: what a segment's script may not do to the end.
pub const RUNAWAY: [&str; 8] = [
    "loop {} true",
    "let s = \"x\"; loop { s += s; } true",
    "let s = \"\"; s.pad(16000, 'x'); let t = s; s.replace(\"x\", t); true",
    "let s = \"\"; s.pad(60000, 'x'); let t = s; s.replace(\"x\", t); true",
    "let a = []; loop { a.push(a); } true",
    "let a = #{}; loop { a = #{a: a, b: a}; } true",
    "for i in 0..9000000000 { let a = i; } true",
    "let a = []; a.pad(2000, 0); a.sort(|x, y| { loop {} }); true",
];

pub const RECURSION: &str = "fn deeper(n) { deeper(n + 1) } fn include(contact, now) { deeper(0) }";

/// B67: kind and source of scripts that mean nothing or ask for what is not there, and what is said of them.
pub fn refused_scripts() -> Vec<(&'static str, String, &'static str)> {
    let segment = |body: &str| format!("fn include(contact, now) {{ {body} }}");
    let own = |source: &str| source.to_owned();
    vec![
        ("segment", own("fn include(contact, now) {"), "to terminate this block"),
        ("segment", segment("contct.name"), "line 1 column 28"),
        ("segment", own("fn include(contact) { true }"), "must take 2"),
        ("segment", own("fn includes(contact, now) { true }"), "is it `includes`?"),
        ("segment", own(""), "a segment needs fn include(contact, now)"),
        ("campaign", own("fn include(contact) { true }"), "must take 2"),
        ("campaign", own("fn msg(contact, now) { () }"), "a campaign needs"),
        ("route", own("fn route(notification, contact) { [] }"), "must take 4"),
        ("segment", segment("eval(\"true\")"), "`eval` is not available"),
        ("segment", own("import \"x\" as y; fn include(contact, now) { true }"), "`import` is not available"),
        ("segment", own("export let a = 1; fn include(contact, now) { true }"), "`export` is not available"),
        ("segment", segment("sleep(1); true"), "`sleep` is not available"),
        ("segment", segment("new.name"), "line 1"),
        ("segment", segment(&format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000))), "nested deeper"),
        ("segment", format!("{} // {}", segment("true"), "x".repeat(300_000)), "more than 32 KiB"),
    ]
}

/// B67: what a segment's script may not answer.
pub const WRONG_RESULT: [(&str, &str); 3] =
    [("\"yes\"", "true or false"), ("()", "true or false"), ("contact", "plain data")];

pub fn script(kind: &str, source: &str) -> Value {
    json!({"kind": kind, "source": source})
}

/// A segment's script around a condition.
pub fn segment(condition: &str) -> Value {
    script("segment", &format!("fn include(contact, now) {{ {condition} }}"))
}
