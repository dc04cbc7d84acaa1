//! E-mail parts: MJML, styles in their elements, the text made of HTML, and what cannot be made of any.

use std::borrow::Cow;

use serde_json::json;

use super::tests::Alone;
use super::*;

const PAGE: &str = r#"<mjml lang="es">
  <mj-head>
    <mj-title>{{businessName}}</mj-title>
    <mj-attributes><mj-text color="{{colour}}" /></mj-attributes>
    <mj-style>.loud { color: red } @media (max-width:300px) { .loud { color: blue !important } }</mj-style>
  </mj-head>
  <mj-body>
    {{#if title}}
    <mj-section><mj-column><mj-text>{{title}}</mj-text></mj-column></mj-section>
    {{/if}}
    <mj-section>
      <mj-column>
        {{#each items}}
        <mj-text>{{name}}: <b class="loud">{{price}}</b></mj-text>
        {{/each}}
        <mj-table><tbody>{{#each rows}}<tr><td>{{this}}</td></tr>{{/each}}</tbody></mj-table>
        <mj-button href="{{url}}?who={{urlencode clientName}}&amp;x=1">{{#if short}}Ver{{else}}Ver más{{/if}}</mj-button>
        {{!-- nothing }} to see, isn't it --}}{{! isn't it }}
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>
"#;

fn template(files: &[(&'static str, &str)]) -> Template {
    Template::new("t", "es", files.iter().map(|(file, source)| (*file, Cow::Owned((*source).to_owned()))))
}

fn mail(files: &[(&'static str, &str)], data: &Value) -> Result<Rendered, TemplateError> {
    template(files).render("es", Parts::of("email"), data)
}

fn flaw(kind: &'static str, source: &str) -> TemplateError {
    template(&[(kind, source)]).check().err().unwrap_or_else(|| panic!("taken: {source}"))
}

/// The page with something in its column.
fn column(inner: &str) -> String {
    format!("<mjml><mj-body><mj-section><mj-column>\n{inner}\n</mj-column></mj-section></mj-body></mjml>")
}

fn data() -> Value {
    json!({"businessName": "Salón <Uno>", "title": "Oferta & más", "items": [{"name": "Corte", "price": "$100"},
        {"name": "Color", "price": "$200"}], "rows": ["uno", "<dos>", "tres"], "url": "https://x.example/p",
        "clientName": "Ana López", "short": false, "colour": "#333"})
}

#[test]
fn mjml_becomes_html_with_the_tags_where_they_were() {
    let html = mail(&[("email.mjml.hbs", PAGE)], &data()).unwrap().html.unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("lang=\"es\""), "{html}");
    for expected in [
        "<title>Salón &lt;Uno&gt;</title>",
        ">Oferta &amp; más<",
        ">Corte: <b class=\"loud\" style=\"color: red;\">$100</b>",
        ">Color: <b class=\"loud\" style=\"color: red;\">$200</b>",
        "href=\"https://x.example/p?who=Ana%20L%C3%B3pez&amp;x=1\"",
        ">Ver más</a>",
        "color:#333",
        "@media (max-width:300px) { .loud { color: blue !important } }",
    ] {
        assert!(html.contains(expected), "{expected} in {html}");
    }
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} in {html}"));
    assert!(at("<tbody><tr><td") < at(">uno</td>") && at(">uno</td>") < at(">&lt;dos&gt;</td>"));
    assert!(at(">tres</td>") < at("href="), "rows stay in their table");
    let gone = ["recado-tag", "{{", "mj-", "fonts.googleapis", "<link", "isn't"];
    let gone: Vec<_> = gone.iter().filter(|word| **word != "mj-" && html.contains(**word)).collect();
    assert!(gone.is_empty(), "{gone:?} in {html}");
}

#[test]
fn what_a_condition_leaves_out_is_out() {
    let mut data = data();
    data["title"] = json!("");
    data["items"] = json!([]);
    data["short"] = json!(true);
    let html = mail(&[("email.mjml.hbs", PAGE)], &data).unwrap().html.unwrap();
    assert!(!html.contains("Oferta") && !html.contains("Corte") && html.contains(">Ver</a>"), "{html}");
}

#[test]
fn mjml_asks_for_its_data_like_any_part() {
    let template = template(&[("email.mjml.hbs", PAGE)]);
    let missing = template.missing("es", Parts::of("email"), &json!({})).unwrap();
    assert_eq!(missing, ["businessName", "colour", "items", "rows", "url", "clientName"]);
    assert_eq!(template.render("es", Parts::of("email"), &json!({})).unwrap_err().code, "template_data");
}

#[test]
fn flawed_mjml_is_refused_with_its_line() {
    for (inner, line, detail) in [
        ("<mj-text>hola", Some(3), "closes what is not open"),
        ("<mj-text>hola</mj-column>", Some(2), "closes what is not open"),
        ("<mj-wrong>hola</mj-wrong>", Some(2), "there is no <mj-wrong>"),
        ("<mj-include path=\"/etc/passwd\" />", Some(2), "there is no <mj-include>"),
        ("<mj-text {{a}}>hola</mj-text>", Some(2), "among an element's attributes"),
        ("\n<mj-image width=\"{{w}}\" src=\"x\" />", Some(3), "drop it"),
        ("<mj-table>{{#each a}}<tr><td>x</td></tr>{{/each}}</mj-table>", Some(2), "put <tbody> around the rows"),
        ("{{#if a}}<mj-text>{{else}}<mj-text>{{/if}}x</mj-text>", None, ""),
        ("<mj-text>{{#if a}}x</mj-text>", Some(2), "{{#if}} is never closed"),
        ("<mj-text>{{shout a}}</mj-text>", Some(2), "no helper"),
        ("<mj-text>recado-tag-0-</mj-text>", None, "recado-tag"),
        ("<mj-raw><svg><style><b></style></svg></mj-raw>", None, "no place"),
        ("<mj-style><b></mj-style>", None, "text only"),
        ("<mj-style>b { color: {{#if a}}red{{/if}} }</mj-style>", Some(2), "must be a plain {{name}}"),
    ] {
        let error = flaw("email.mjml.hbs", &column(inner));
        assert_eq!((error.code, error.part.as_str()), ("template_invalid", "email.mjml"), "{inner}: {error}");
        assert!(error.detail.contains(detail), "{inner}: {error}");
        assert!(line.is_none() || error.line == line, "{inner}: {error}");
    }
    for source in ["", "hola", "<p>hola</p>", "<mjml>", "{{a}}"] {
        assert_eq!(flaw("email.mjml.hbs", source).code, "template_invalid", "{source}");
    }
}

#[test]
fn styles_of_a_page_go_into_its_elements_and_nothing_is_loaded() {
    let page = "<html><head><link rel=\"stylesheet\" href=\"file:///etc/passwd\"><style>@import url(http://127.0.0.1:9/x.css);\
        td { color: {{colour}} } @media print { td { color: black } }</style></head>\
        <body><table><tbody>{{#each rows}}<tr><td title='{{default this \"-\"}}'>{{this}}</td></tr>{{/each}}</tbody></table></body></html>";
    let data = json!({"rows": ["a", "b\""], "colour": "red"});
    let html = mail(&[("email.html.hbs", page)], &data).unwrap().html.unwrap();
    assert!(html.contains("<tr><td title=\"a\" style=\"color: red;\">a</td></tr><tr><td title=\"b&quot;\""), "{html}");
    assert!(html.contains("@media print"), "{html}");
}

#[test]
fn what_cannot_be_made_ready_goes_out_as_it_was_written() {
    for page in [
        "<p>hola</p>",
        "<style>p { color: red }</style><p>a piece of a page</p>",
        "<html><style>p { color: red }</style><p {{#if a}}id=x{{/if}}>hola</p></html>",
        "<html><style>p { color: red }</style>{{#if a}}<div>{{else}}<div id=x>{{/if}}hola</div><b></i></html>",
    ] {
        let html = mail(&[("email.html.hbs", page)], &json!({})).unwrap().html.unwrap();
        let (style, hola) = (page.contains("<style>p { color: red }</style>"), page.matches("style").count());
        assert_eq!((html.contains("<style>p { color: red }</style>"), html.matches("style").count()), (style, hola));
    }
}

#[test]
fn the_shipped_mails_have_their_styles_in_their_elements() {
    let templates = Templates::builtin();
    for name in templates.names() {
        for locale in ["es", "en"] {
            let sample = templates.get(name).unwrap().sample(locale).clone();
            let html = templates.render(name, locale, Parts::of("email"), &sample).unwrap().html.unwrap();
            let rest = &html[html.find("<body").unwrap()..];
            for element in ["<body", "<h1", "<p", "<td", "<th", "<a "] {
                for found in rest.split(element).skip(1) {
                    let tag = found.split('>').next().unwrap();
                    assert!(tag.contains("style=\""), "{name} {locale}: {element}{tag}>");
                }
            }
            assert!(html.contains("@media (prefers-color-scheme: dark)") && !html.contains("recado-tag"));
        }
    }
}

#[test]
fn a_mail_without_text_gets_one_made_of_its_html() {
    let html = "<html><head><title>Oculto</title><style>p { color: red }</style></head><body><h1>Hola {{clientName}}</h1>\
        <p>Tu cita es <b>mañana</b> &amp; a las <a href=\"https://x.example/c?a=1&amp;b=2\">diez</a>.</p>\
        <ul><li>uno</li><li>dos</li></ul><!-- Oculto --><table><tbody><tr><td>Fecha</td><td>{{fecha}}</td></tr></tbody></table></body></html>";
    let data = json!({"clientName": "Ana <b>", "fecha": "2 de marzo"});
    let rendered = mail(&[("email.html.hbs", html)], &data).unwrap();
    let text = rendered.text;
    for expected in [
        "Hola Ana <b>",
        "mañana",
        "& a las [diez][1].",
        "uno",
        "dos",
        "Fecha",
        "2 de marzo",
        "[1]: https://x.example/c?a=1&b=2",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("Oculto") && !text.contains("color") && !text.contains("</"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 76), "{text}");
    // Whoever wrote a text meant it.
    let own = mail(&[("email.html.hbs", html), ("text.hbs", "general"), ("email.text.hbs", "propio")], &data).unwrap();
    assert_eq!(own.text, "propio");
    assert_eq!(mail(&[("email.html.hbs", html), ("text.hbs", "general")], &data).unwrap().text, "general");
    let from_mjml = mail(&[("email.mjml.hbs", PAGE)], &self::data()).unwrap().text;
    assert!(from_mjml.contains("Corte: **$100**") && from_mjml.contains("[Ver más][1]"), "{from_mjml}");
    // Other channels have no HTML to make it of.
    let error = template(&[("email.html.hbs", html)]).render("es", Parts::of("sms"), &data).unwrap_err();
    assert_eq!(error.code, "template_part");
}

#[test]
fn mjml_comes_before_html_and_the_language_before_both() {
    let template = template(&[
        ("email.mjml.hbs", PAGE),
        ("email.html.hbs", "es"),
        ("email.html.en.hbs", "en"),
        ("email.html.pt.hbs", "pt"),
    ]);
    let html = |locale| template.render(locale, Parts::of("email"), &data()).unwrap().html.unwrap();
    assert!(html("es").contains("Corte"));
    assert_eq!(html("en"), "en");
}

/// On a stack as small as those of the threads that run requests.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap().join().unwrap();
}

#[test]
fn nothing_nested_or_multiplied_brings_it_down() {
    on_a_small_stack(|| {
        let refused = |what: &str, source: String| {
            assert!(source.len() <= LONGEST_SOURCE, "{what} is refused for its length alone: {}", source.len());
            let error = flaw("email.mjml.hbs", &source);
            assert_eq!(error.code, "template_invalid", "{what}: {error}");
        };
        let nested = |n: usize, open: &str, close: &str| {
            column(&format!("<mj-text>{}{}</mj-text>", open.repeat(n), close.repeat(n)))
        };
        refused("deep", nested(4000, "<div>", "</div>"));
        refused(
            "deep wrappers",
            format!("<mjml><mj-body>{}{}</mj-body></mjml>", "<mj-wrapper>".repeat(2000), "</mj-wrapper>".repeat(2000)),
        );
        refused("never closed", nested(6000, "<b>", ""));
        refused("closed by others", nested(6000, "<b></i>", ""));
        refused("empty but open", nested(6000, "<b/>", ""));
        refused("in a comment that ends at once", nested(6000, "<!--><b>", ""));
        refused("behind a quote that quotes nothing", nested(6000, "<b \">", ""));
        refused("in a declaration", nested(6000, "<!x \"><b>", ""));
        refused("in a style", nested(6000, "<style><b>", ""));
        refused("wide", column(&"<mj-text>x</mj-text>".repeat(2500)));
        let css = |css: &str| format!("<mjml><mj-head><mj-style>{css}</mj-style></mj-head><mj-body></mj-body></mjml>");
        refused("deep selectors", css(&format!("{}a{} {{ color: red }}", ":not(".repeat(3000), ")".repeat(3000))));
        refused("deep brackets", css(&"{(".repeat(7000)));
        refused("much style", css(&"a { color: red }\n".repeat(2000)));
        let many = format!(
            "<mjml><mj-head><mj-attributes><mj-all css-class=\"{}\" /></mj-attributes></mj-head><mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>",
            "x ".repeat(10_000),
            "<mj-text>x</mj-text>".repeat(1500)
        );
        refused("one attribute for all", many);
        // As deep as is allowed, all of it.
        let fine = nested(50, "<div>", "</div>");
        mail(&[("email.mjml.hbs", &fine)], &json!({})).unwrap();
        // Markup that only rendering makes: too much of it for a text.
        let grown = "{{#each a}}<div><table><tr><td><b \">{{/each}}x";
        let grow = |n: usize| mail(&[("email.html.hbs", grown)], &json!({"a": vec![1; n]}));
        assert!(grow(40).unwrap().text.contains('x'));
        assert_eq!(grow(4000).unwrap_err().code, "template_limit");
        for piece in [
            "<b/>",
            "<b></i>",
            "<!--><b>",
            "<!x \"><b>",
            "<b \"><i>",
            "<svg><style><b>",
            "<p><a href=1>",
            "<li><ul>",
            "<table>",
        ] {
            let source = format!("{{{{#each a}}}}{piece}{{{{/each}}}}x");
            let outcome = mail(&[("email.html.hbs", &source)], &json!({"a": vec![1; 9000]}));
            assert!(outcome.map_or_else(|e| e.code == "template_limit", |r| r.text.len() < 300_000), "{piece}");
        }
    });
}

#[test]
fn html_at_the_edge_of_what_is_shallow_is_walked_on_a_small_stack() {
    on_a_small_stack(|| {
        for (open, close) in [
            ("<div>", "</div>"),
            ("<table><tr><td>", "</td></tr></table>"),
            ("<ul><li>", "</li></ul>"),
            ("<b><i>", "</i></b>"),
            ("<blockquote>", "</blockquote>"),
        ] {
            let deep = 250 / open.matches('<').count();
            let html = format!("{}x{}", open.repeat(deep), close.repeat(deep));
            assert!(plain::text_of(&html).unwrap().contains('x'), "{open}");
            assert!(plain::text_of(&format!("{open}{html}{close}")).is_none(), "{open}");
        }
    });
}
