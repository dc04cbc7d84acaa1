//! The scripts in `scripts/default`, compiled into the program, and those that an operator's folder lays over them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use rust_embed::RustEmbed;

use super::{Kind, run_cases};
use crate::script::{Script, ScriptError};

#[derive(RustEmbed)]
#[folder = "scripts/default"]
struct Files;

/// What every tenant has, by kind and name.
#[derive(Default)]
pub struct Scripts(BTreeMap<(Kind, String), Shipped>);

pub struct Shipped {
    pub source: Cow<'static, str>,
    pub cases: Option<Cow<'static, str>>,
    /// Most are never asked for.
    compiled: OnceLock<Script>,
}

impl Shipped {
    pub async fn script(&self, kind: Kind) -> Result<Script, ScriptError> {
        if let Some(script) = self.compiled.get() {
            return Ok(script.clone());
        }
        let script = kind.compile_in_turn(&self.source).await?;
        Ok(self.compiled.get_or_init(|| script).clone())
    }
}

impl Scripts {
    pub fn builtin() -> Self {
        let read = |path: &str| match Files::get(path)?.data {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        let mut scripts = Self::default();
        for path in Files::iter() {
            let kind = Kind::ALL.into_iter().find(|kind| path.split('/').next() == Some(kind.folder()));
            let name = path.rsplit('/').next().and_then(|file| file.strip_suffix(".rhai"));
            if let (Some(kind), Some(name), Some(source)) = (kind, name, read(&path)) {
                let cases = read(&path.replace(".rhai", ".cases.json"));
                scripts.insert(kind, name, source, cases);
            }
        }
        scripts
    }

    /// With the scripts of `<folder>/default/{segments,campaigns,routes}/` laid over it. They are compiled and their
    /// cases tried now, not when somebody needs them; all faults at once.
    pub async fn with_overlay(folder: &Path) -> anyhow::Result<Self> {
        let mut scripts = Self::builtin();
        let mut faults = Vec::new();
        let set = folder.join("default");
        anyhow::ensure!(set.is_dir(), "paths.scripts: there is no folder {}", set.display());
        for kind in Kind::ALL {
            let files = match std::fs::read_dir(set.join(kind.folder())) {
                Ok(entries) => entries.collect::<Result<Vec<_>, _>>()?,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => anyhow::bail!("paths.scripts: {}: {e}", set.join(kind.folder()).display()),
            };
            for path in files.into_iter().map(|entry| entry.path()) {
                let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".rhai"));
                let Some(name) = name.filter(|n| !n.starts_with(['.', '_'])) else { continue };
                let source = std::fs::read_to_string(&path)
                    .map_err(|e| anyhow::anyhow!("paths.scripts: {}: {e}", path.display()))?;
                let cases = std::fs::read_to_string(path.with_extension("cases.json")).ok();
                faults.extend(tried(kind, &path, &source, cases.as_deref()).await);
                scripts.insert(kind, name, source.into(), cases.map(Into::into));
            }
        }
        anyhow::ensure!(faults.is_empty(), faults.join("\n"));
        Ok(scripts)
    }

    fn insert(&mut self, kind: Kind, name: &str, source: Cow<'static, str>, cases: Option<Cow<'static, str>>) {
        self.0.insert((kind, name.to_owned()), Shipped { source, cases, compiled: OnceLock::new() });
    }

    pub fn get(&self, kind: Kind, name: &str) -> Option<&Shipped> {
        self.0.get(&(kind, name.to_owned()))
    }

    pub fn iter(&self) -> impl Iterator<Item = (Kind, &str, &Shipped)> {
        self.0.iter().map(|((kind, name), shipped)| (*kind, name.as_str(), shipped))
    }
}

async fn tried(kind: Kind, path: &Path, source: &str, cases: Option<&str>) -> Vec<String> {
    let named = |fault: String| format!("paths.scripts: {}: {fault}", path.display());
    let script = match kind.compile_in_turn(source).await {
        Ok(script) => script,
        Err(e) => return vec![named(e.to_string())],
    };
    let Some(cases) = cases else { return vec![] };
    match run_cases(kind, &script, cases).await {
        Ok(results) => results
            .iter()
            .flat_map(|case| case.faults.iter().map(|fault| named(format!("case \"{}\": {fault}", case.name))))
            .collect(),
        Err(e) => vec![named(format!("its cases: {e}"))],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn every_shipped_script_does_what_its_cases_say() {
        let scripts = Scripts::builtin();
        let names: Vec<_> = scripts.iter().map(|(_, name, _)| name).collect();
        assert_eq!(names, ["all", "inactive", "vip"]);
        for (kind, name, shipped) in scripts.iter() {
            let script = shipped.script(kind).await.unwrap_or_else(|e| panic!("{name}: {e}"));
            let cases = shipped.cases.as_deref().unwrap_or_else(|| panic!("{name} has no cases"));
            let results = run_cases(kind, &script, cases).await.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(results.len() >= 2, "{name}");
            for case in results {
                assert!(case.faults.is_empty(), "{name}, {}: {:?}", case.name, case.faults);
            }
        }
    }

    fn overlay(file: &str, source: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("default").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, source).unwrap();
        folder
    }

    #[tokio::test]
    async fn an_operators_script_takes_the_place_of_the_one_of_its_name() {
        let source = "fn include(contact, now) { contact.appointments.count >= 5 }";
        let folder = overlay("segments/vip.rhai", source);
        let scripts = Scripts::with_overlay(folder.path()).await.unwrap();
        assert_eq!(scripts.get(Kind::Segment, "vip").unwrap().source, source);
        assert!(scripts.get(Kind::Segment, "all").is_some());
    }

    #[tokio::test]
    async fn a_flaw_in_an_operators_script_is_named_with_its_place() {
        for (file, source, said) in [
            ("segments/vip.rhai", "fn include(contact, now) {\n  contct.name\n}", "line 2 column 3"),
            ("segments/vip.rhai", "fn includes(contact, now) { true }", "is it `includes`?"),
            ("routes/route.rhai", "fn route(notification) { [] }", "must take 4"),
        ] {
            let folder = overlay(file, source);
            let error = Scripts::with_overlay(folder.path()).await.err().unwrap().to_string();
            assert!(error.starts_with("paths.scripts: ") && error.contains(file) && error.contains(said), "{error}");
        }
        let folder = overlay("segments/vip.rhai", "fn include(contact, now) { false }");
        let cases = r#"{"cases": [{"name": "everybody", "contact": {}, "include": true}]}"#;
        std::fs::write(folder.path().join("default/segments/vip.cases.json"), cases).unwrap();
        let error = Scripts::with_overlay(folder.path()).await.err().unwrap().to_string();
        assert!(error.contains("case \"everybody\": include is expected to return true"), "{error}");
    }
}
