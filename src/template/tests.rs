#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use serde_json::json;

use super::partials::Home;
use super::*;

/// A template by itself.
pub(super) trait Alone {
    fn render(&self, locale: &str, parts: Parts, data: &Value) -> Result<Rendered, TemplateError>;
    fn missing(&self, locale: &str, parts: Parts, data: &Value) -> Result<Vec<String>, TemplateError>;
}

impl Alone for Template {
    fn render(&self, locale: &str, parts: Parts, data: &Value) -> Result<Rendered, TemplateError> {
        Found::one(&Arc::new(self.framed(Home::Program))).render_here(locale, parts, data)
    }

    fn missing(&self, locale: &str, parts: Parts, data: &Value) -> Result<Vec<String>, TemplateError> {
        Found::one(&Arc::new(self.framed(Home::Program))).missing_here(locale, parts, data)
    }
}

const CHANNELS: [&str; 6] = ["email", "sms", "whatsapp", "chatwoot", "webhook", "telegram"];
const NAMES: [&str; 9] = [
    "appointment_cancellation",
    "appointment_confirmation",
    "appointment_reminder",
    "appointment_rescheduled",
    "feedback_request",
    "marketing",
    "no_show",
    "test_message",
    "welcome",
];

const CONFIRMATION: &str = "✅ *Cita Confirmada*

Hola María González, tu cita ha sido confirmada.

📅 Fecha: 15 de Noviembre, 2025
⏰ Hora: 10:00 AM
💼 Servicio: Corte de Cabello Premium
💼 Profesional: Carlos García
💼 Sucursal: Sucursal Centro

¡Te esperamos!";

const REMINDER: &str = "⏱ *Recordatorio de Cita*

Hola Ana López, te recordamos que tienes una cita:

📅 mañana
⏱ 2:00 PM
💼 Manicure y Pedicure

¡No olvides asistir!";

fn text(name: &str, locale: &str, data: &Value) -> String {
    Templates::builtin().render(name, locale, Parts::of("chatwoot"), data).unwrap().text
}

fn single(file: &'static str, source: &'static str) -> Template {
    Template::new("t", "es", [(file, Cow::Borrowed(source))])
}

fn render(source: &'static str, data: &Value) -> Result<Rendered, TemplateError> {
    single("text.hbs", source).render("es", Parts::of("chatwoot"), data)
}

#[test]
fn every_template_renders_its_sample_for_every_channel_in_both_languages() {
    let templates = Templates::builtin();
    assert_eq!(templates.names().collect::<Vec<_>>(), NAMES);
    for name in NAMES {
        templates.get(name).unwrap().check().unwrap();
        for locale in ["es-MX", "en-US"] {
            let sample = templates.get(name).unwrap().sample(locale);
            assert!(sample.is_object(), "{name} {locale}");
            for channel in CHANNELS {
                let parts = Parts::of(channel);
                assert_eq!(
                    templates.missing(name, locale, parts, sample).unwrap(),
                    [""; 0],
                    "{name} {locale} {channel}"
                );
                let rendered = templates.render(name, locale, parts, sample).unwrap();
                let shown = format!("{name} {locale} {channel}\n{}", rendered.text);
                assert!(!rendered.text.contains("&amp;") && !rendered.text.contains("{{"), "{shown}");
                assert!(!rendered.text.contains("\n\n\n") && rendered.text.trim() == rendered.text, "{shown}");
                assert!(rendered.text.lines().all(|line| line.trim_end() == line), "{shown}");
                assert_eq!(rendered.subject.is_some(), matches!(channel, "email" | "webhook"), "{shown}");
                assert_eq!(rendered.html.is_some(), channel == "email", "{shown}");
            }
        }
    }
}

#[test]
fn every_language_has_the_same_parts() {
    for template in Templates::builtin().by_name.values() {
        let kinds = |locale: &str| {
            let mut kinds: Vec<_> = template.parts.iter().filter(|p| p.locale == locale).map(|p| &p.kind).collect();
            kinds.sort();
            kinds.into_iter().cloned().collect::<Vec<_>>()
        };
        assert_eq!(kinds("es"), kinds("en"), "{}", template.name());
        for kind in ["email.html", "email.subject", "text"] {
            assert!(kinds("es").iter().any(|k| k == kind), "{} has no {kind}", template.name());
        }
    }
}

#[test]
fn the_confirmation_reads_as_promised() {
    let data = json!({"clientName": "María González", "appointmentDate": "15 de Noviembre, 2025", "appointmentTime": "10:00 AM",
        "serviceName": "Corte de Cabello Premium", "professionalName": "Carlos García", "branchName": "Sucursal Centro"});
    for locale in ["es", "es-MX", "es_ES", "", "pt-BR"] {
        assert_eq!(text("appointment_confirmation", locale, &data), CONFIRMATION, "{locale}");
    }
}

#[test]
fn the_reminder_reads_as_promised() {
    let data = json!({"clientName": "Ana López", "appointmentDate": "mañana", "appointmentTime": "2:00 PM",
        "serviceName": "Manicure y Pedicure", "professionalName": "Carlos García", "branchName": "Sucursal Centro"});
    assert_eq!(text("appointment_reminder", "es-MX", &data), REMINDER);
    let email = Templates::builtin().render("appointment_reminder", "es", Parts::of("email"), &data).unwrap();
    assert_eq!(email.text, REMINDER);
    assert_eq!(email.subject.as_deref(), Some("Recordatorio de cita: mañana, 2:00 PM"));
    assert!(email.html.unwrap().contains(">Manicure y Pedicure</td>"));
}

#[test]
fn a_line_whose_value_is_absent_is_left_out() {
    let data = json!({"appointmentTime": "10:00 AM", "professionalName": null, "branchName": ""});
    let expected = "✅ *Cita Confirmada*\n\nHola, tu cita ha sido confirmada.\n\n⏰ Hora: 10:00 AM\n\n¡Te esperamos!";
    assert_eq!(text("appointment_confirmation", "es", &data), expected);
    let nothing = "✅ *Cita Confirmada*\n\nHola, tu cita ha sido confirmada.\n\n¡Te esperamos!";
    assert_eq!(text("appointment_confirmation", "es", &json!({})), nothing);
    let reminder = "⏱ *Recordatorio de Cita*\n\nHola Ana, te recordamos que tienes una cita.\n\n¡No olvides asistir!";
    assert_eq!(text("appointment_reminder", "es", &json!({"clientName": "Ana"})), reminder);
    let one =
        "⏱ *Recordatorio de Cita*\n\nHola, te recordamos que tienes una cita:\n\n💼 Corte\n\n¡No olvides asistir!";
    assert_eq!(text("appointment_reminder", "es", &json!({"serviceName": "Corte"})), one);
    assert_eq!(text("marketing", "es", &json!({"body": "Hola"})), "Hola");
}

#[test]
fn templates_hold_together_with_the_least_data() {
    let templates = Templates::builtin();
    let data = json!({"body": "x"});
    for (name, locale, channel) in
        NAMES.iter().flat_map(|n| CHANNELS.iter().flat_map(move |c| [(n, "es", c), (n, "en", c)]))
    {
        let rendered = templates.render(name, locale, Parts::of(channel), &data).unwrap();
        assert!(
            !rendered.text.contains("\n\n\n") && rendered.text.trim() == rendered.text,
            "{name} {channel}: {}",
            rendered.text
        );
        assert!(!rendered.text.contains(" ,") && !rendered.text.contains(" ."), "{name} {channel}: {}", rendered.text);
    }
}

#[test]
fn sms_texts_cost_one_plain_segment() {
    let templates = Templates::builtin();
    for (name, locale) in NAMES.iter().flat_map(|name| [(name, "es"), (name, "en")]) {
        let sample = templates.get(name).unwrap().sample(locale);
        let text = templates.render(name, locale, Parts::of("sms"), sample).unwrap().text;
        let cost = crate::sms::segments(&crate::sms::fold_accents(&text));
        assert_eq!((cost.encoding, cost.segments), ("GSM-7", 1), "{name} {locale}: {text}");
    }
}

#[test]
fn values_are_escaped_in_html_and_nowhere_else() {
    let data = json!({"clientName": "<script>alert(1)</script> & Co", "serviceName": "Corte & Color"});
    let email = Templates::builtin().render("appointment_confirmation", "es", Parts::of("email"), &data).unwrap();
    assert!(email.text.contains("<script>alert(1)</script> & Co"));
    let html = email.html.unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; Co") && !html.contains("<script>"), "{html}");
}

#[test]
fn all_missing_variables_are_named() {
    let template = single(
        "text.hbs",
        "{{a}} {{b.c}} {{#if d}}{{d}} {{e}}{{else}}{{f}}{{/if}} {{upper g}} {{default h i}} {{#unless (and j k)}}{{l}}{{/unless}} {{#each m}}{{n}}{{/each}} {{o}}",
    );
    let missing = |data: Value| template.missing("es", Parts::of("chatwoot"), &data).unwrap();
    assert_eq!(missing(json!({})), ["a", "b.c", "f", "g", "l", "m", "o"]);
    let most = json!({"a": 1, "b": {"c": 2}, "d": true, "g": "x", "j": 1, "k": 1, "m": [], "o": null});
    assert_eq!(missing(most), ["e", "o"]);
    let error = template.render("es", Parts::of("chatwoot"), &json!({"a": 1})).unwrap_err();
    assert_eq!((error.code, error.part.as_str()), ("template_data", "text"));
}

#[test]
fn what_a_mail_needs_is_asked_over_all_its_parts() {
    let files = [
        ("text.hbs", "{{a}}"),
        ("email.subject.hbs", "{{b}}"),
        ("email.html.hbs", "{{#> layout lang=\"es\" title=c}}{{d}}{{/layout}}"),
    ];
    let template = Template::new("t", "es", files.map(|(file, source)| (file, Cow::Borrowed(source))));
    assert_eq!(template.missing("es", Parts::of("email"), &json!({})).unwrap(), ["a", "b", "c", "d"]);
    assert_eq!(template.missing("es", Parts::of("webhook"), &json!({})).unwrap(), ["a", "b"]);
    assert_eq!(template.missing("es", Parts::of("sms"), &json!({})).unwrap(), ["a"]);
    assert_eq!(Templates::builtin().missing("marketing", "es", Parts::of("email"), &json!({})).unwrap(), ["body"]);
}

#[test]
fn the_nearest_language_is_taken_before_the_channels_own_part() {
    let files = [
        ("text.hbs", "es"),
        ("text.en.hbs", "en"),
        ("text.en-GB.hbs", "en-GB"),
        ("sms.hbs", "sms es"),
        ("text.pt.hbs", "pt"),
    ];
    let template = Template::new("t", "es", files.map(|(file, source)| (file, Cow::Borrowed(source))));
    let text = |locale: &str, parts: Parts| template.render(locale, parts, &json!({})).unwrap().text;
    assert_eq!(text("en-GB", Parts::of("chatwoot")), "en-GB");
    assert_eq!(text("en-US", Parts::of("chatwoot")), "en");
    assert_eq!(text("fr", Parts::of("chatwoot")), "es");
    assert_eq!(text("fr", Parts::of("chatwoot").or_locale("pt-BR")), "pt");
    assert_eq!(text("es-MX", Parts::of("sms")), "sms es");
    assert_eq!(text("en", Parts::of("sms")), "en");
}

#[test]
fn an_unknown_template_and_a_missing_part_are_told_apart() {
    let error = Templates::builtin().render("nope", "es", Parts::of("sms"), &json!({})).unwrap_err();
    assert_eq!(
        (error.code, error.to_string().as_str()),
        ("unknown_template", "template nope: there is no such template")
    );
    let error = single("sms.hbs", "x").render("es", Parts::of("chatwoot"), &json!({})).unwrap_err();
    assert_eq!(error.code, "template_part");
}

#[test]
fn control_characters_fail_a_subject_and_vanish_from_a_text() {
    let files = [("text.hbs", "a {{x}} b"), ("email.subject.hbs", "Hola {{x}}")];
    let template = Template::new("t", "es", files.map(|(file, source)| (file, Cow::Borrowed(source))));
    for value in ["x\r\nBcc: e@x.example", "x\u{0}y", "x\ny", "x\u{2028}y"] {
        let error = template.render("es", Parts::of("email"), &json!({"x": value})).unwrap_err();
        assert_eq!((error.code, error.part.as_str()), ("control_characters", "email.subject"), "{value:?}");
    }
    let text = template.render("es", Parts::of("sms"), &json!({"x": "1\r\n2\u{0}\t3\u{1b}"})).unwrap().text;
    assert_eq!(text, "a 1\n2\t3 b");
}

#[test]
fn output_is_bounded_by_the_channel() {
    let template = single("text.hbs", "{{x}}");
    let outcome = |channel: &str, length: usize| {
        template.render("es", Parts::of(channel), &json!({"x": "á".repeat(length)})).map(|_| ()).map_err(|e| e.code)
    };
    assert_eq!(outcome("chatwoot", 4096), Ok(()));
    assert_eq!(outcome("chatwoot", 4097), Err("template_limit"));
    assert_eq!(outcome("whatsapp", 100_000), Err("template_limit"));
    assert_eq!(outcome("sms", 670), Ok(()));
    assert_eq!(outcome("sms", 671), Err("template_limit"));
    assert_eq!(outcome("email", 131_072), Ok(()));
    assert_eq!(outcome("email", 131_073), Err("template_limit"));
}

#[test]
fn a_flawed_template_is_refused_with_its_place() {
    for (source, detail) in [
        ("hola\n{{#if a}}", ""),
        ("{{/if}}", ""),
        ("{{foo bar", ""),
        ("hola\n  {{shout a}}", "there is no helper \"shout\""),
        ("{{#if (env a)}}x{{/if}}", "there is no helper \"env\""),
        ("{{log \"x\"}}", "there is no helper \"log\""),
        ("{{> other}}", "there is no partial \"other\""),
        ("{{#*inline \"p\"}}x{{/inline}}{{> p}}", "inline partials"),
    ] {
        let error = single("text.hbs", source).check().unwrap_err();
        assert_eq!((error.code, error.line.is_some()), ("template_invalid", true), "{source} {error}");
        assert!(error.detail.contains(detail), "{source} {error}");
    }
    let error = single("text.hbs", "hola\n  {{shout a}}").check().unwrap_err();
    assert_eq!((error.line, error.column), (Some(2), Some(3)));
    assert_eq!(error.to_string(), "template t text.es line 2 column 3: there is no helper \"shout\"");
    let deep = "{{#if a}}".repeat(17) + &"{{/if}}".repeat(17);
    let error = Template::new("t", "es", [("text.hbs", Cow::Owned(deep))]).check().unwrap_err();
    assert!(error.detail.contains("nested deeper"), "{error}");
}

#[test]
fn helpers_do_what_their_names_say() {
    let data = json!({"a": "Ñandú", "n": 3, "list": ["x", "y"], "url": "a b&ñ", "empty": "", "no": false});
    for (source, expected) in [
        ("{{upper a}} {{lower a}}", "ÑANDÚ ñandú"),
        ("{{default empty \"-\"}} {{default nothing a}} {{default nothing empty}}.", "- Ñandú ."),
        ("{{truncate a 4}} {{truncate a 5}} {{truncate a 2}}", "Ñ... Ñandú .."),
        ("{{join list}} {{join list \"-\"}} {{join a}}", "x, y x-y Ñandú"),
        ("{{urlencode url}}", "a%20b%26%C3%B1"),
        ("{{url-encode url}}", "a%20b%26%C3%B1"),
        ("{{#if (eq n 3)}}3{{/if}}{{#if (ne n 3)}}x{{/if}}{{#if (gt n 2)}}>{{/if}}{{#if (lt n 4)}}<{{/if}}", "3><"),
        ("{{#if (or nothing a)}}1{{/if}}{{#if (and a nothing)}}2{{/if}}{{#if (not no)}}3{{/if}}", "13"),
        ("{{#each list}}{{@index}}{{this}}{{/each}}{{#with list}}{{this.[1]}}{{/with}}", "0x1yy"),
        ("{{upper (default nothing a)}} {{a}}", "ÑANDÚ Ñandú"),
    ] {
        assert_eq!(render(source, &data).unwrap().text, expected, "{source}");
    }
    assert_eq!(render("{{upper nothing}}", &data).unwrap_err().code, "template_data");
}

#[test]
fn data_that_is_no_object_counts_as_empty() {
    for data in [json!(null), json!([1]), json!("x")] {
        assert!(text("appointment_reminder", "es", &data).starts_with("⏱ *Recordatorio"));
    }
}
