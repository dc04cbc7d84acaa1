//! As deep as the bounds let a tenant's templates be, in every way they can be: none of it needs more than a quarter of
//! the stack there is. What HTML and MJML need is tried beside their tests, on stacks far smaller.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use serde_json::json;

use super::*;
use crate::pool;

/// Partials that a tenant may have.
const PARTIALS: usize = 32;

fn own(name: &str, kind: &str, source: &str) -> Own {
    let parts = BTreeMap::from([(kind.to_owned(), source.to_owned())]);
    Own { branch: String::new(), name: name.to_owned(), locale: String::new(), body: Body { parts, ..Body::default() } }
}

/// Judged, shown and rendered where there is little room; answers the output of its part.
fn rendered(owns: Vec<Own>, kind: &'static str, channel: &'static str, data: Value) -> Result<String, String> {
    pool::run_in_a_quarter(move || {
        let program = Arc::new(Templates::builtin());
        let templates = OwnTemplates::of(owns, &program, false);
        if let Some(flaw) = templates.at("t", "").unwrap().flaws().pop() {
            return Err(flaw.to_string());
        }
        let _ = templates.flaws_of_including();
        let tenant = TenantTemplates { program, own: Some(Arc::new(templates)) };
        let found = tenant.find("t", None).unwrap();
        let show = Show { locale: "es", channel: None, data: Some(&data), parts: Parts::of("") };
        let shown = found.preview(show);
        let _ = found.render_here("es", Parts::of(channel), &data);
        let flaw = shown.flaws.first().map(ToString::to_string).unwrap_or_default();
        shown.parts.get(kind).map(|part| part.output.clone()).ok_or(flaw)
    })
}

fn around(open: &str, inner: &str, close: &str, times: usize) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

/// The same nest in each of a chain of partials, and at its bottom a value in brackets.
fn chain(open: &str, close: &str, times: usize, brackets: usize, kind: &str) -> Vec<Own> {
    let bottom = around("(upper ", "x", ")", brackets);
    let nest = |inner: &str| around(open, inner, close, times);
    let mut owns: Vec<Own> =
        (0..PARTIALS - 1).map(|n| own(&format!("_p{n}"), kind, &nest(&format!("{{{{> p{}}}}}", n + 1)))).collect();
    owns.push(own(&format!("_p{}", PARTIALS - 1), kind, &nest(&format!("{{{{upper {bottom}}}}}"))));
    owns.push(own("t", kind, &nest("{{> p0}}")));
    owns
}

#[test]
fn blocks_in_blocks_of_partials_in_partials() {
    let data = json!({"a": true, "l": [1], "x": "ñ", "w": {"x": "ñ"}});
    for (open, close, times, brackets) in [
        ("{{#if @root.a}}", "{{/if}}", 15, 0),
        ("{{#if @root.a}}", "{{/if}}", 1, 13),
        ("{{#unless @root.nothing}}", "{{/unless}}", 15, 0),
        ("{{#each @root.l}}{{#with @root.w}}", "{{/with}}{{/each}}", 7, 0),
        ("{{#if (and (or (not (eq @root.x 1)) @root.a) @root.a)}}", "{{/if}}", 12, 0),
        ("{{#if @root.nothing}}{{else if @root.a}}", "{{/if}}", 7, 0),
    ] {
        for (kind, channel) in [("text", "sms"), ("email.html", "email")] {
            let said = rendered(chain(open, close, times, brackets, kind), kind, channel, data.clone());
            assert!(matches!(said.as_deref(), Ok("Ñ")), "{open} {kind}: {said:?}");
        }
    }
}

#[test]
fn blocks_given_to_partials() {
    let mut owns: Vec<Own> =
        (0..PARTIALS).map(|n| own(&format!("_p{n}"), "email.html", "<i>{{> @partial-block}}</i>")).collect();
    let (mut opens, mut closes) = (String::new(), String::new());
    for n in 0..15 {
        write!(opens, "{{{{#> p{n} y=x}}}}").unwrap();
        closes.insert_str(0, &format!("{{{{/p{n}}}}}"));
    }
    owns.push(own("t", "email.html", &format!("{opens}{{{{upper x}}}}{closes}")));
    let said = rendered(owns, "email.html", "email", json!({"x": "ñ"}));
    assert_eq!(said, Ok(around("<i>", "Ñ", "</i>", 15)));
}

#[test]
fn data_within_data() {
    let deep = (0..60).fold(json!("ñ"), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({"a": inner}) });
    let source = "{{deep}}{{join deep}}{{list deep}}{{#if (eq deep deep)}}x{{/if}}{{default nothing deep}}{{#each deep}}{{this}}{{/each}}";
    let said = rendered(vec![own("t", "text", source)], "text", "chat", json!({"deep": deep}));
    assert!(said.as_ref().is_ok_and(|text| text.contains('x')), "{said:?}");
}
