//! What must hold for every value and every set of templates.

use std::sync::Arc;

use plugin_api::Formatting;
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};
use recado::template::{Body, Own, OwnTemplates, Parts, Templates, TenantTemplates};
use serde_json::{Value, json};

fn tenant(owns: Vec<Own>) -> TenantTemplates {
    let program = Arc::new(Templates::builtin());
    let own = OwnTemplates::of(owns, &program, false);
    TenantTemplates { program, own: Some(Arc::new(own)) }
}

/// With the one template `t`.
fn tenant_of(text: &str) -> TenantTemplates {
    tenant(vec![own("", "t", "", &[("text", text)])])
}

fn own(branch: &str, name: &str, locale: &str, parts: &[(&str, &str)]) -> Own {
    let parts = parts.iter().map(|(kind, source)| ((*kind).to_owned(), (*source).to_owned())).collect();
    let (branch, name, locale) = (branch.to_owned(), name.to_owned(), locale.to_owned());
    Own { branch, name, locale, body: Body { parts, ..Body::default() } }
}

/// Where a value may stand in HTML.
const PAGES: [(&str, &str); 8] = [
    ("email.html", "<p>{{v}}</p>"),
    ("email.html", "<a href=\"https://x.example/?q={{v}}\" title='{{v}}'>{{upper v}}</a>"),
    (
        "email.html",
        "{{#> layout lang=\"es\" title=v}}<p class=\"{{v}}\">{{default nothing v}}</p>{{> foot}}{{/layout}}",
    ),
    ("email.html", "<ul>{{#each many}}<li>{{this}} {{truncate this 9}} {{join ../many}}</li>{{/each}}</ul>"),
    ("email.html", "{{#with one}}<b>{{v}}</b>{{/with}}{{#if (eq v v)}}<i>{{list many}}</i>{{/if}}"),
    ("email.html", "<html><head><style>p { color: {{v}} }</style></head><body><p>x</p></body></html>"),
    (
        "email.mjml",
        "<mjml><mj-body><mj-section><mj-column>{{#each many}}<mj-text>{{this}}</mj-text>{{/each}}\
         <mj-button href=\"https://x.example/{{v}}\">{{upper v}}</mj-button></mj-column></mj-section></mj-body></mjml>",
    ),
    (
        "email.mjml",
        "<mjml><mj-head><mj-title>{{v}}</mj-title><mj-attributes><mj-text color=\"{{v}}\" /></mj-attributes></mj-head>\
         <mj-body><mj-section><mj-column><mj-text>{{v}}</mj-text></mj-column></mj-section></mj-body></mjml>",
    ),
];

/// The same data with this in the place of each text.
fn told(data: &Value, value: &str) -> Value {
    match data {
        Value::String(_) => value.into(),
        Value::Array(items) => items.iter().map(|item| told(item, value)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), told(field, value))).collect(),
        plain => plain.clone(),
    }
}

/// What makes HTML of a text.
fn markup(html: &str) -> Vec<char> {
    html.chars().filter(|c| "<>\"'`".contains(*c)).collect()
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("\" onmouseover=\"x".to_owned()),
        Just("' x='".to_owned()),
        Just("--><!--".to_owned()),
        Just("{{v}}{{{v}}}".to_owned()),
        Just("&lt;b&gt;".to_owned()),
        Just("`${1}`".to_owned()),
        "\\PC{0,12}",
        "[<>\"'&`=/]{0,8}",
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

/// Where a value may stand in the text of a chat.
const TEXTS: [&str; 10] = [
    "{{v}}",
    "Hola *{{v}}*, _{{v}}_ ~{{v}}~ `{{v}}`\n{{v}}",
    "{{v}}{{v}} {{> foot}}",
    "{{#each many}}{{this}} {{truncate this 9}}\n{{/each}}{{join many}}",
    "{{default nothing v}}, [{{v}}](https://x.example/) ({{v}})",
    "https://x.example/{{v}}",
    "https://x.example/{{urlencode v}}\n{{v}}",
    "https://x.example/{{v}}/{{v}}?c={{v}}",
    "[x](https://x.example/{{v}}){{v}} {{base}}/c/{{v}}",
    "{{#> frame}}https://x.example/{{v}}\n{{v}}{{/frame}}{{#if v}}{{v}}{{/if}}",
];

fn said_to_format() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("*Ana* **x** _y_ __z__ ~a~ ~~b~~ `c` ```d```".to_owned()),
        Just("[x](https://y.example) ![x](y) <https://z> <b>x</b>".to_owned()),
        Just("\n- a\n* b\n+ c\n1. d\n> e\n# f\n---\n***\n===".to_owned()),
        Just("\n\n    code\n\tcode".to_owned()),
        Just("\n[a]: https://y.example\n\n[a] [a][a]".to_owned()),
        Just("a|b\n-|-\nc|d".to_owned()),
        Just("https://x.example/_a_/*b*?c=~d~".to_owned()),
        "\\PC{0,12}",
        "[*_~`<>|#+=.)\\\\(!\\[\\]\\n 1a-]{0,12}",
    ];
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat().trim().to_owned())
}

/// What CommonMark, and what is added to it where people chat, makes of a text beside words; sorted.
fn formatted(text: &str) -> Vec<String> {
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    let mut found: Vec<String> = Parser::new_ext(text, options)
        .filter_map(|event| match event {
            Event::Start(Tag::Paragraph) => None,
            Event::Start(Tag::Link { .. }) => Some("link".to_owned()),
            Event::Start(tag) => Some(format!("{tag:?}")),
            Event::Code(_) | Event::Html(_) | Event::InlineHtml(_) => Some("literal".to_owned()),
            Event::Rule | Event::TaskListMarker(_) => Some(format!("{event:?}")),
            _ => None,
        })
        .collect();
    found.sort();
    found
}

/// The signs that WhatsApp and Slack may read as formatting.
fn signs(text: &str) -> usize {
    let letters: Vec<char> = text.chars().collect();
    let is_letter = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|c| c.is_alphanumeric());
    let formats = |at: usize| match letters[at] {
        '*' | '~' | '`' => true,
        '_' => !(is_letter(at.checked_sub(1)) && is_letter(Some(at + 1))),
        _ => false,
    };
    let lines = text.lines().filter(|line| {
        let (mark, rest) = line.trim_start().split_once(' ').unwrap_or((line, ""));
        let digits = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        let number = mark.strip_suffix(['.', ')']).is_some_and(digits);
        line.trim_start().starts_with('>') || (!rest.is_empty() && (number || matches!(mark, "-" | "+" | "#")))
    });
    (0..letters.len()).filter(|at| formats(*at)).count() + lines.count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_value_becomes_markup(value in hostile(), page in 0..PAGES.len()) {
        let tenant = tenant(vec![
            own("", "_foot", "", &[("email.html", "<small id=\"{{v}}\">{{v}}</small>")]),
            own("", "page", "", &[PAGES[page], ("text", "{{v}}")]),
        ]);
        let found = tenant.find("page", None).unwrap();
        let html = |value: &str| {
            let data = json!({"v": value, "many": [value, value], "one": {"v": value}});
            let rendered = found.render_here("es", Parts::of("email"), &data).unwrap();
            rendered.html.unwrap()
        };
        prop_assert_eq!(markup(&html(&value)), markup(&html("x")));
        // Nothing is escaped where nobody would undo it.
        let text = found.render_here("es", Parts::of("sms"), &json!({"v": "a & b <c>"})).unwrap().text;
        prop_assert_eq!(text, "a & b <c>");
    }

    #[test]
    fn nor_in_what_ships(value in hostile()) {
        // Of nothing at all, a template may say less.
        prop_assume!(!value.is_empty());
        let templates = Templates::builtin();
        for name in templates.names() {
            let html = |value: &str| {
                let data = told(templates.get(name).unwrap().sample("es"), value);
                templates.render(name, "es", Parts::of("email"), &data).unwrap().html.unwrap()
            };
            prop_assert_eq!(markup(&html(&value)), markup(&html("x")), "{}", name);
        }
    }

    #[test]
    fn no_value_formats_a_text(value in said_to_format(), text in 0..TEXTS.len()) {
        prop_assume!(!value.is_empty());
        let tenant = tenant(vec![
            own("", "_foot", "", &[("text", "*{{v}}*")]),
            own("", "_frame", "", &[("text", "https://y.example/{{> @partial-block}}{{v}}")]),
            own("", "page", "", &[("text", TEXTS[text])]),
        ]);
        let found = tenant.find("page", None).unwrap();
        let say = |value: &str, formatting| {
            let data = json!({"v": value, "many": [value, value], "base": "https://y.example"});
            found.render_here("es", Parts::of("chat").formatted(Some(formatting)), &data).unwrap().text
        };
        for formatting in [Formatting::Markdown, Formatting::Either] {
            let (said, plain) = (say(&value, formatting), say("x", formatting));
            let more = formatted(&said).into_iter().find(|one| !formatted(&plain).contains(one));
            prop_assert_eq!(more, None, "{}", said);
        }
        let said = say(&value, Formatting::Signs);
        prop_assert_eq!(signs(&said), signs(&say("x", Formatting::Signs)), "{}", said);
        // What is meant to be formatted says so.
        let meant = tenant_of("{{{v}}}");
        let parts = Parts::of("chat").formatted(Some(Formatting::Markdown));
        prop_assert_eq!(meant.find("t", None).unwrap().render_here("es", parts, &json!({"v": "*x*"})).unwrap().text, "*x*");
    }

    #[test]
    fn a_link_leads_where_its_values_say(a in "[a-zA-Z0-9_.~*-]{1,12}", b in "[a-zA-Z0-9_.~*-]{1,12}") {
        for (text, link) in [
            ("https://x.example/{{a}}", format!("https://x.example/{a}")),
            ("Hola: https://x.example/{{urlencode a}}", format!("Hola: https://x.example/{a}")),
            ("https://x.example/{{a}}/{{b}}?c={{a}}{{b}}", format!("https://x.example/{a}/{b}?c={a}{b}")),
            ("{{base}}/c/{{a}}", format!("https://y.example/c/{a}")),
            ("https://x.example/{{#if a}}{{a}}{{/if}}{{> end}}", format!("https://x.example/{a}?b={b}")),
            ("{{#> frame}}https://x.example/{{a}}{{/frame}}", format!("<https://x.example/{a}>")),
        ] {
            let tenant = tenant(vec![
                own("", "_end", "", &[("text", "?b={{b}}")]),
                own("", "_frame", "", &[("text", "<{{> @partial-block}}>")]),
                own("", "t", "", &[("text", text)]),
            ]);
            let data = json!({"a": a, "b": b, "base": "https://y.example"});
            for formatting in [Formatting::Markdown, Formatting::Signs, Formatting::Either] {
                let parts = Parts::of("chat").formatted(Some(formatting));
                let said = tenant.find("t", None).unwrap().render_here("es", parts, &data).unwrap().text;
                let read = said.replace("%5F", "_").replace("%7E", "~").replace("%2A", "*");
                prop_assert_eq!(read, link.as_str(), "{}", said);
            }
        }
    }

    #[test]
    fn the_innermost_level_with_a_fitting_language_holds(
        there in proptest::collection::btree_set((0..2_usize, 0..5_usize, 0..3_usize), 0..12),
        asked in 0..6_usize,
        of_branch in any::<bool>(),
        channel in 0..3_usize,
    ) {
        const LOCALES: [&str; 5] = ["es-MX", "es", "en-GB", "en", ""];
        const ASKED: [&str; 6] = ["es-MX", "es-AR", "es", "en-GB", "en", "fr"];
        const LEVELS: [&str; 2] = ["centro", ""];
        const KINDS: [&str; 3] = ["text", "sms", "whatsapp"];
        const CHANNELS: [&str; 3] = ["sms", "whatsapp", "chatwoot"];
        let words = |level: usize, locale: usize, kind: usize| {
            format!("{}/{}/{}", LEVELS[level], LOCALES[locale], KINDS[kind])
        };
        let owns = (0..LEVELS.len()).flat_map(|level| (0..LOCALES.len()).map(move |locale| (level, locale)));
        let owns = owns.filter_map(|(level, locale)| {
            let kinds = (0..KINDS.len()).filter(|kind| there.contains(&(level, locale, *kind)));
            let parts: Vec<_> = kinds.map(|kind| (KINDS[kind], words(level, locale, kind))).collect();
            let parts: Vec<_> = parts.iter().map(|(kind, text)| (*kind, text.as_str())).collect();
            (!parts.is_empty()).then(|| own(LEVELS[level], "welcome", LOCALES[locale], &parts))
        });
        let tenant = tenant(owns.collect());
        let branch = of_branch.then_some("centro");
        let found = tenant.find("welcome", branch).unwrap();
        let channel = CHANNELS[channel];
        let parts = Parts::of(channel).or_locale("es-MX");
        let text = found.render_here(ASKED[asked], parts, &json!({})).unwrap().text;
        let language = |tag: &'static str| tag.split('-').next().unwrap();
        let tags = [ASKED[asked], language(ASKED[asked]), "es-MX", "es", ""];
        let levels = if of_branch { vec![0, 1] } else { vec![1] };
        // Within a level the language goes before the channel, and the channel's own part before the general one.
        let kinds = [KINDS.iter().position(|kind| *kind == channel), Some(0)];
        let expected = levels.into_iter().find_map(|level| {
            tags.iter().find_map(|tag| {
                let locale = LOCALES.iter().position(|l| l == tag)?;
                let kind = kinds.into_iter().flatten().find(|kind| there.contains(&(level, locale, *kind)))?;
                Some(words(level, locale, kind))
            })
        });
        let shipped = || Templates::builtin().render("welcome", ASKED[asked], parts, &json!({})).unwrap().text;
        prop_assert_eq!(text, expected.unwrap_or_else(shipped));
    }
}

#[test]
fn dates_and_amounts_are_written_as_the_reader_writes_them() {
    let data = json!({"at": "2026-03-03T16:05:00Z", "n": 1_234_567.891, "m": 1234.5, "one": 1, "many": 1_000_000,
        "items": ["corte", "tinte", "iluminación"], "phone": "+523312345678", "name": "MARÍA DE LA LUZ"});
    let now = recado::clock::Timestamp(1_772_463_600_000); // 2026-03-02T15:00:00Z
    let say = |text: &str, locale: &str, country: &'static str| {
        let zone = "America/Mexico_City".parse().unwrap();
        let parts = Parts::of("chatwoot").or_locale("es-MX").at(now, zone, country);
        let tenant = tenant_of(text);
        // Words of the tenant's own language are Spanish; these are said to be the reader's.
        let parts = Parts { fallback: Some(locale), ..parts };
        tenant.find("t", None).unwrap().render_here(locale, parts, &data).unwrap().text
    };
    // As another implementation of the same tables says (ICU 78), with plain spaces.
    for (text, locale, expected) in [
        ("{{date at}}", "es-MX", "3 de marzo de 2026"),
        ("{{date at \"full\"}}", "es-ES", "martes, 3 de marzo de 2026"),
        ("{{date at \"full\"}}", "en-US", "Tuesday, March 3, 2026"),
        ("{{date at \"medium\"}}", "en-GB", "3 Mar 2026"),
        ("{{date at \"d 'de' MMMM\"}}", "es-MX", "3 de marzo"),
        ("{{date at \"EEEE d 'de' MMMM, HH:mm\"}}", "es-MX", "martes 3 de marzo, 10:05"),
        ("{{time at}}", "es-MX", "10:05 a.m."),
        ("{{time at}}", "es-ES", "10:05"),
        ("{{time at}}", "en-US", "10:05 AM"),
        ("{{relative at}}", "es-MX", "mañana"),
        ("{{relative at}}", "en", "tomorrow"),
        ("{{relative \"2026-03-04\"}} {{relative \"2026-03-02\"}}", "es-MX", "pasado mañana hoy"),
        ("{{number n}} {{number m}}", "es-MX", "1,234,567.891 1,234.5"),
        ("{{number n}} {{number m}}", "es-ES", "1.234.567,891 1234,5"),
        ("{{number m 2}}", "es-AR", "1.234,50"),
        ("{{currency m \"MXN\"}} {{currency m \"USD\"}} {{currency m}}", "es-MX", "$1,234.50 USD 1,234.50 $1,234.50"),
        ("{{currency m \"EUR\"}}", "es-ES", "1234,50 €"),
        ("{{currency m \"ARS\"}} {{currency -3 \"ARS\"}}", "es-AR", "$ 1.234,50 -$ 3,00"),
        ("{{currency m \"COP\"}}", "es-CO", "$ 1.235"),
        ("{{currency m \"KWD\"}} {{currency m \"XOF\"}}", "es-MX", "KWD 1,234.500 XOF 1,235"),
        ("{{currency m \"PEN\"}}", "es-PE", "S/ 1,234.50"),
        ("{{currency m \"MXN\"}} {{currency m \"USD\"}}", "en-US", "MX$1,234.50 $1,234.50"),
        ("{{plural one \"cita\" \"citas\"}} {{plural 2 \"cita\" \"citas\"}}", "es-MX", "cita citas"),
        (
            "{{plural many \"cita\" \"citas\"}} {{plural 0 one=\"a\" other=\"b\" zero=\"ninguna\"}}",
            "es-MX",
            "citas ninguna",
        ),
        ("{{list items}}", "es-MX", "corte, tinte e iluminación"),
        ("{{list items \"or\"}}", "en", "corte, tinte, or iluminación"),
        ("{{title name}}", "es-MX", "María de la Luz"),
    ] {
        assert_eq!(say(text, locale, "MX"), expected, "{text} {locale}");
    }
    assert_eq!(say("{{phone phone}}", "es-MX", "MX"), "33 1234 5678");
    assert_eq!(say("{{phone phone}}", "es-MX", "AR"), "+52 33 1234 5678");
    // What is no date or number is said, and not sent.
    let tenant = tenant_of("{{date name}}");
    let refused = tenant.find("t", None).unwrap().render_here("es", Parts::of("sms"), &data).unwrap_err();
    assert_eq!((refused.code, refused.detail.contains("is no date")), ("template_data", true), "{refused}");
}
