//! Objects from files, folders, the standard input and kustomizations.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use onggi_machinery::value::{list_at, str_at};
use onggi_machinery::yaml::{self, Document, YamlError};
use serde_json::Value;

use crate::error::Error;
use crate::glob;
use crate::kustomize;
use crate::session::Session;

/// Where objects come from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Files {
    /// File or folder with the objects; - for the standard input
    #[arg(long, short = 'f', value_name = "FILE", value_delimiter = ',')]
    pub filename: Vec<String>,
    /// Folder with a kustomization
    #[arg(long, short = 'k', value_name = "DIR")]
    pub kustomize: Option<PathBuf>,
    /// Go through the folders in a folder too
    #[arg(long, short = 'R')]
    pub recursive: bool,
}

/// An object and where it stands.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file, or `STDIN`; empty for a kustomization.
    pub source: String,
    /// The object.
    pub value: Value,
}

/// What was read, and what could not be.
#[derive(Debug, Default)]
pub struct Read {
    /// The objects.
    pub manifests: Vec<Manifest>,
    /// What was wrong with others.
    pub errors: Vec<Error>,
}

impl Files {
    /// Whether nothing was named.
    pub fn is_empty(&self) -> bool {
        self.filename.is_empty() && self.kustomize.is_none()
    }

    /// Reads everything; lists are taken apart. A fault ends it, and so does nothing at all.
    pub fn read(&self, session: &Session) -> Result<Vec<Manifest>, Error> {
        let Read { manifests, errors } = self.read_each(session)?;
        Error::all(errors)?;
        if manifests.is_empty() {
            return Err(Error::new("no objects passed"));
        }
        Ok(manifests)
    }

    /// As [`Self::read`], but what is wrong with one object does not keep the others back.
    pub fn read_each(&self, session: &Session) -> Result<Read, Error> {
        let mut read = Read::default();
        if let Some(path) = &self.kustomize {
            if !self.filename.is_empty() {
                return Err(Error::new("only one of -f or -k can be specified"));
            }
            let built = kustomize::build(&kustomize::Disk, &path.to_string_lossy())?;
            session.warn(&built.warnings)?;
            for value in built.objects {
                flatten(String::new(), value, &mut read.manifests)?;
            }
        }
        for name in &self.filename {
            if name == "-" {
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes)?;
                read.note(|into| parse("STDIN", &text_of("STDIN", bytes)?, into));
            } else if name.contains("://") {
                let text = format!(
                    "{name}: manifests are not fetched from the network; save the file and name it"
                );
                return Err(Error::new(text));
            } else {
                for path in glob::expand(name)? {
                    let mut files = Vec::new();
                    self.collect(&path, true, &mut files)?;
                    if files.is_empty() {
                        return Err(Error::new(format!(
                            "error reading [{}]: recognized file extensions are [.json .yaml .yml]",
                            path.display()
                        )));
                    }
                    for file in files {
                        read.note(|into| read_file(&file, into));
                    }
                }
            }
        }
        if let Some(namespace) = session.globals.namespace.as_deref().filter(|n| !n.is_empty()) {
            read.only_of(namespace);
        }
        Ok(read)
    }

    /// The files below a path, by name.
    fn collect(&self, path: &Path, top: bool, into: &mut Vec<PathBuf>) -> Result<(), Error> {
        let missing = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(format!("the path {:?} does not exist", path.display().to_string()))
            }
            _ => Error::new(format!("{}: {e}", path.display())),
        };
        if !fs::metadata(path).map_err(missing)?.is_dir() {
            let known = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
            if top || known {
                into.push(path.to_owned());
            }
            return Ok(());
        }
        let entries = fs::read_dir(path).map_err(missing)?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()
            .map_err(missing)?;
        paths.sort();
        for inner in paths {
            if !inner.is_dir() || self.recursive {
                self.collect(&inner, false, into)?;
            }
        }
        Ok(())
    }
}

impl Read {
    fn note(&mut self, read: impl FnOnce(&mut Vec<Manifest>) -> Result<(), Error>) {
        if let Err(error) = read(&mut self.manifests) {
            self.errors.push(error);
        }
    }

    /// What names another namespace than the one that was asked for is a mistake.
    fn only_of(&mut self, namespace: &str) {
        let errors = &mut self.errors;
        self.manifests.retain(|manifest| {
            let own = str_at(&manifest.value, "metadata.namespace");
            if own.is_empty() || own == namespace || is_of_cluster(&manifest.value) {
                return true;
            }
            errors.push(Error::new(format!(
                "the namespace from the provided object {own:?} does not match the namespace \
                 {namespace:?}. You must pass '--namespace={own}' to perform this operation."
            )));
            false
        });
    }
}

fn is_of_cluster(object: &Value) -> bool {
    let api_version = str_at(object, "apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let row = onggi_machinery::resource::by_kind(group, version, str_at(object, "kind"));
    row.is_some_and(|row| !row.namespaced())
}

fn read_file(path: &Path, into: &mut Vec<Manifest>) -> Result<(), Error> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|e| Error::new(format!("{name}: {e}")))?;
    parse(&name, &text_of(&name, bytes)?, into)
}

/// The text of a file: UTF-16 where it begins with its mark, else UTF-8.
pub(crate) fn text_of(name: &str, bytes: Vec<u8>) -> Result<String, Error> {
    let wrong = |form: &str| Error::new(format!("{name}: is no text ({form}), so no manifest"));
    let order = match bytes.as_slice() {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return String::from_utf8(bytes).map_err(|_| wrong("UTF-8")),
    };
    let (units, rest) = bytes[2..].as_chunks();
    let units: Vec<u16> = units.iter().map(|unit| order(*unit)).collect();
    if !rest.is_empty() {
        return Err(wrong("UTF-16"));
    }
    String::from_utf16(&units).map_err(|_| wrong("UTF-16"))
}

/// Reads a stream of documents. Those before a fault are kept.
pub(crate) fn parse(source: &str, text: &str, into: &mut Vec<Manifest>) -> Result<(), Error> {
    for document in
        documents(text).map_err(|e| Error::new(format!("error parsing {source}: {e}")))?
    {
        let (api_version, kind) =
            (str_at(&document.value, "apiVersion"), str_at(&document.value, "kind"));
        for (field, value) in [("apiVersion", api_version), ("kind", kind)] {
            if value.is_empty() {
                return Err(Error::new(format!(
                    "error validating {source:?}: line {}: {field} not set: this is no Kubernetes \
                     object",
                    document.line
                )));
            }
        }
        flatten(source.to_owned(), document.value, into)?;
    }
    Ok(())
}

/// YAML documents, or JSON objects one after the other.
fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let error = match yaml::documents(text) {
        Ok(documents) => return Ok(documents),
        Err(error) => error,
    };
    if text.trim_start().starts_with('{') {
        let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let values: Result<Vec<_>, _> = values.collect();
        if let Ok(values) = values {
            return Ok(values.into_iter().map(|value| Document { line: 1, value }).collect());
        }
    }
    // Of a key that stands twice the last counts, as for kubectl.
    lenient(text).ok_or(error)
}

fn lenient(text: &str) -> Option<Vec<Document>> {
    let divides =
        |line: &str| line == "---" || line.starts_with("--- ") || line.starts_with("---\t");
    let (mut found, mut part, mut start) = (Vec::new(), String::new(), 1);
    for (at, line) in text.lines().chain(["---"]).enumerate() {
        if divides(line) {
            let (value, _) = yaml::parse_lenient(&part).ok()?;
            if !value.is_null() {
                found.push(Document { line: start, value });
            }
            part.clear();
            start = at + 1;
        }
        part.push_str(line);
        part.push('\n');
    }
    Some(found)
}

/// What cannot be metadata, in the words of Go's JSON.
fn misread(object: &Value) -> Option<String> {
    let metadata = object.get("metadata")?;
    let fault = |value: &Value, field: &str| {
        let kind = match value {
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Null | Value::String(_) => return None,
        };
        Some(format!(
            "json: cannot unmarshal {kind} into Go struct field ObjectMeta.metadata.{field} of \
             type string"
        ))
    };
    let texts = ["name", "generateName", "namespace"];
    let of_texts = texts.iter().find_map(|field| fault(metadata.get(*field)?, field));
    of_texts.or_else(|| {
        ["labels", "annotations"].iter().find_map(|field| {
            metadata.get(*field)?.as_object()?.values().find_map(|value| fault(value, field))
        })
    })
}

fn flatten(source: String, value: Value, into: &mut Vec<Manifest>) -> Result<(), Error> {
    if let Some(fault) = misread(&value) {
        return Err(Error::new(format!("unable to decode {source:?}: {fault}")));
    }
    let is_list = str_at(&value, "kind").ends_with("List") && value.get("items").is_some();
    if !is_list {
        into.push(Manifest { source, value });
        return Ok(());
    }
    for item in list_at(&value, "items") {
        flatten(source.clone(), item.clone(), into)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        let read = |bytes: &[u8]| text_of("f", bytes.to_vec()).ok();
        assert_eq!(read(b"\xff\xfea\0\x3d\xd8\0\xde").as_deref(), Some("a\u{1f600}"));
        assert_eq!(read(b"\xfe\xff\0a").as_deref(), Some("a"));
        assert_eq!(read(b"\xfe\xff\0"), None);
        assert_eq!(read(b"\xffa"), None);
    }

    #[test]
    fn streams() {
        let read = |text: &str| {
            let mut found = Vec::new();
            let result = parse("f", text, &mut found);
            let names = found.iter().map(|m| str_at(&m.value, "metadata.name"));
            let names = names.collect::<Vec<_>>().join(" ");
            match result {
                Ok(()) => names,
                Err(error) => format!("{names}!{error}"),
            }
        };
        let json = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#;
        let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, name: c}\n";
        assert_eq!(read(&format!("{json}\n{json}")), "a a");
        assert_eq!(read(&format!("{json}{json}\n\n{json}")), "a a a");
        assert_eq!(read(yaml), "c", "the last of two");
        assert_eq!(read(&format!("---\n{yaml}--- \n{yaml}")), "c c");
        let number = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 123}\n";
        let said = "unable to decode \"f\": json: cannot unmarshal number into Go struct field \
                    ObjectMeta.metadata.name of type string";
        assert_eq!(read(&format!("{json}\n---\n{number}")), format!("a!{said}"));
        let list = r#"{"apiVersion":"v1","kind":"List","items":[{"metadata":{"name":123}}]}"#;
        assert_eq!(read(list), format!("!{said}"));
        let labels = number.replace("name: 123", "labels: {x: yes}");
        assert!(
            read(&labels)
                .contains("unmarshal bool into Go struct field ObjectMeta.metadata.labels")
        );
    }
}
