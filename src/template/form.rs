//! `whatsapp.template.json`: the approved form of a template (see [`ApprovedForm`]), a JSON document each of whose texts
//! is a Handlebars template by itself, so that no value can change the document's shape.

use std::borrow::Cow;
use std::sync::OnceLock;

use handlebars::Context;
use plugin_api::ApprovedForm;
use serde_json::{Map, Value};

use super::engine::{self, Failed};
use super::needs::{Flaw, Needs};
use super::partials::{Home, Included};
use super::{CHAT, bounds, meter};

/// The name of its files, without language and `.json`.
pub(super) const KIND: &str = "whatsapp.template";

#[derive(Debug)]
pub(super) struct Form {
    pub locale: String,
    pub source: Cow<'static, str>,
    compiled: OnceLock<Result<Compiled, (&'static str, String)>>,
}

#[derive(Debug)]
pub(super) struct Compiled {
    node: Node,
    pub needs: Vec<Needs>,
}

#[derive(Debug)]
enum Node {
    Text(Box<handlebars::Template>),
    List(Vec<Self>),
    Fields(Vec<(String, Self)>),
    Plain(Value),
}

impl Form {
    pub fn new(locale: &str, source: Cow<'static, str>) -> Self {
        Self { locale: locale.to_owned(), source, compiled: OnceLock::new() }
    }

    pub fn render(&self, home: &Home, data: &Value) -> Result<ApprovedForm, String> {
        let compiled = self.compiled(home).map_err(|(_, detail)| detail)?;
        let context = Context::from(data.clone());
        let filled = compiled.node.render(&context)?;
        serde_json::from_value(filled).map_err(|e| e.to_string())
    }

    /// Its flaw as a rule's name and a sentence.
    pub fn compiled(&self, home: &Home) -> Result<&Compiled, (&'static str, String)> {
        self.compiled.get_or_init(|| self.compile(home)).as_ref().map_err(Clone::clone)
    }

    fn compile(&self, home: &Home) -> Result<Compiled, (&'static str, String)> {
        if self.source.len() > bounds::LONGEST {
            return Err(("too_long", format!("longer than {} bytes", bounds::LONGEST)));
        }
        let of_json = |e: serde_json::Error| ("syntax", e.to_string());
        let document: Value = serde_json::from_str(&self.source).map_err(of_json)?;
        // Its shape is checked once, with the texts as they are.
        serde_json::from_value::<ApprovedForm>(document.clone()).map_err(of_json)?;
        let mut needs = Vec::new();
        let node = Node::of(document, &mut |text| self.text(home, text, &mut needs))?;
        Ok(Compiled { node, needs })
    }

    fn text(&self, home: &Home, text: &str, needs: &mut Vec<Needs>) -> Result<Node, (&'static str, String)> {
        let flawed = |flaw: Flaw| (flaw.code, format!("{text:?}, column {}: {}", flaw.column, flaw.detail));
        let reading = bounds::check(text).map_err(flawed)?.reading;
        let mut tree =
            handlebars::Template::compile(text).map_err(|e| ("syntax", format!("{text:?}: {}", e.reason())))?;
        // What is included elsewhere has no place in a parameter.
        let program = Home::Program;
        needs.push(Needs::of(&tree, &mut Included::new(&program, KIND, &self.locale, false, reading)).map_err(flawed)?);
        if !home.is_trusted() {
            meter::instrument(&mut tree);
        }
        Ok(Node::Text(Box::new(tree)))
    }
}

type Reader<'a> = dyn FnMut(&str) -> Result<Node, (&'static str, String)> + 'a;

impl Node {
    fn of(value: Value, read: &mut Reader<'_>) -> Result<Self, (&'static str, String)> {
        Ok(match value {
            Value::String(text) => read(&text)?,
            Value::Array(items) => {
                Self::List(items.into_iter().map(|item| Self::of(item, read)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => Self::Fields(
                fields
                    .into_iter()
                    .map(|(name, value)| Ok((name, Self::of(value, read)?)))
                    .collect::<Result<_, (&'static str, String)>>()?,
            ),
            plain => Self::Plain(plain),
        })
    }

    fn render(&self, context: &Context) -> Result<Value, String> {
        Ok(match self {
            Self::Text(text) => {
                let rendered = engine::render(text, engine::registry_for(false), context, CHAT);
                Value::String(rendered.map_err(|e| match e {
                    Failed::TooLong => format!("a value is longer than {CHAT} bytes"),
                    Failed::Limit(limit) => limit.to_string(),
                    Failed::Render(e) => e.reason().to_string(),
                })?)
            }
            Self::List(items) => Value::Array(items.iter().map(|i| i.render(context)).collect::<Result<_, _>>()?),
            Self::Fields(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), value.render(context)?)))
                    .collect::<Result<Map<_, _>, String>>()?,
            ),
            Self::Plain(value) => value.clone(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(source: &'static str) -> Form {
        Form::new("es", Cow::Borrowed(source))
    }

    #[test]
    fn every_text_is_filled_in_and_no_value_changes_the_shape() {
        let form = form(
            r#"{"name": "reminder", "language": "es_MX", "body": [{"text": "{{clientName}}"}, {"text": "a las {{time}}"}],
                "header": {"image": "https://x.example/{{id}}.png"},
                "buttons": [{"index": 0, "value": {"payload": "confirm:{{id}}"}}]}"#,
        );
        let data = json!({"clientName": "Ana \"},{\"text\":\"x", "time": "10:00", "id": 7});
        let filled = form.render(&Home::Program, &data).unwrap();
        assert_eq!((filled.name.as_str(), filled.language.as_str()), ("reminder", "es_MX"));
        assert_eq!(
            filled.body.iter().map(|v| v.text.as_str()).collect::<Vec<_>>(),
            ["Ana \"},{\"text\":\"x", "a las 10:00"]
        );
        assert_eq!(
            serde_json::to_value(&filled.buttons).unwrap(),
            json!([{"index": 0, "value": {"payload": "confirm:7"}}])
        );
    }

    #[test]
    fn a_missing_value_and_a_wrong_shape_are_said() {
        assert!(
            form(r#"{"name": "r", "body": [{"text": "{{x}}"}]}"#)
                .render(&Home::Program, &json!({}))
                .unwrap_err()
                .contains('x')
        );
        assert!(form(r#"{"name": "r", "bodies": []}"#).compiled(&Home::Program).unwrap_err().1.contains("bodies"));
        assert!(form(r#"{"name": "{{#if}"}"#).compiled(&Home::Program).is_err());
    }
}
