//! What the sources of the Go types say of fields beyond the published definitions: the values of
//! `+enum` types, and defaults, said (`+default`) or those of plain values, as kube-openapi's
//! generator takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use onggi_api::schema::{Choice, Empty, Facts, Field, Schema, Shape, Table};
use serde_json::{Value, json};

use super::messages::definition_name;

/// Types that read their JSON themselves have no default of their own.
const OWN_JSON: &[&str] = &[
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Duration",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
];

/// The packages, read.
#[derive(Default)]
pub(crate) struct Types {
    types: BTreeMap<String, Type>,
    /// By their names, with the package: for defaults that refer to them.
    constants: BTreeMap<String, String>,
    /// The constants of every type that is a text.
    enums: BTreeMap<String, Vec<Choice>>,
    /// Which of these types say that there are no other values.
    marked: BTreeSet<String>,
}

enum Type {
    Struct(Vec<Member>),
    /// Of this type, which may be a named one.
    Named {
        of: String,
        default: Option<Value>,
    },
}

struct Member {
    /// In JSON; empty where the members of the type stand here.
    name: String,
    /// `*`, `[]` and `map[…]` and a type's full name.
    kind: String,
    omit_empty: bool,
    omit_zero: bool,
    default: Option<String>,
    package: String,
}

impl Types {
    /// Reads the sources beside every `generated.proto` below a folder.
    pub(crate) fn read(from: &Path) -> Result<Self> {
        let mut types = Self::default();
        types.read_dir(from)?;
        ensure!(!types.types.is_empty(), "no Go types below {}", from.display());
        for choices in types.enums.values_mut() {
            choices.sort_by(|a, b| a.value.cmp(&b.value));
        }
        Ok(types)
    }

    fn read_dir(&mut self, dir: &Path) -> Result<()> {
        let mut sources = BTreeSet::new();
        let mut package = None;
        for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                self.read_dir(&path)?;
            } else if name == "generated.proto" {
                let text = fs::read_to_string(&path)?;
                let line = text.lines().find_map(|line| line.strip_prefix("package "));
                package = line.map(|line| line.trim_end_matches(';').to_owned());
            } else if name.ends_with(".go") && !name.ends_with("_test.go") {
                sources.insert(path);
            }
        }
        // What is generated says nothing about types.
        let written = |path: &&std::path::PathBuf| {
            !["generated.pb.go", "zz_generated"]
                .iter()
                .any(|part| path.to_string_lossy().contains(part))
        };
        if let Some(package) = package {
            for path in sources.iter().filter(written) {
                let source = fs::read_to_string(path)?;
                self.read_source(&package, &source);
            }
        }
        Ok(())
    }

    /// The sources are formatted by `gofmt`: a declaration begins at the margin, a field is a line.
    fn read_source(&mut self, package: &str, source: &str) {
        let mut imports: BTreeMap<String, String> = BTreeMap::new();
        let mut comment: Vec<&str> = Vec::new();
        let mut open: Option<(String, Vec<Member>)> = None;
        for line in source.lines() {
            let bare = line.trim();
            if let Some(text) = bare.strip_prefix("//") {
                comment.push(text.strip_prefix(' ').unwrap_or(text));
                continue;
            }
            let above = std::mem::take(&mut comment);
            if let Some((name, members)) = &mut open {
                if line == "}" {
                    let (name, members) = (std::mem::take(name), std::mem::take(members));
                    self.types.insert(name, Type::Struct(members));
                    open = None;
                } else if let Some(member) = member(bare, package, &imports, &above) {
                    members.push(member);
                }
            } else if let Some((alias, path)) = import(bare) {
                imports.insert(alias, path);
            } else if let Some(rest) = line.strip_prefix("type ") {
                let Some((name, of)) = rest.split_once(' ') else { continue };
                let name = definition_name(package, name);
                if of.starts_with("struct") {
                    if of.ends_with("{}") {
                        self.types.insert(name, Type::Struct(Vec::new()));
                    } else {
                        open = Some((name, Vec::new()));
                    }
                    continue;
                }
                let of = of.trim_start_matches("= ").trim();
                if of == "string" && above.iter().any(|line| line.trim() == "+enum") {
                    self.marked.insert(name.clone());
                }
                let default = said_default(&above).and_then(|text| serde_json::from_str(text).ok());
                let of = full(of, package, &imports);
                self.types.insert(name, Type::Named { of, default });
            } else if let Some((name, kind, value)) = constant(bare) {
                self.constants.insert(format!("{package}.{name}"), value.to_owned());
                let kind = definition_name(package, kind);
                let meaning = meaning(name, &above);
                let choices = self.enums.entry(kind).or_default();
                match choices.iter_mut().find(|choice| choice.value == value) {
                    Some(known) if known.meaning.len() < meaning.len() => known.meaning = meaning,
                    Some(_) => {}
                    None => choices.push(Choice { value: value.to_owned(), meaning }),
                }
            }
        }
    }

    /// What they say of the fields of the table's definitions.
    pub(crate) fn facts(&self, table: &Table) -> Facts {
        let mut facts = Facts::default();
        for (definition, schema) in table.definitions() {
            for member in self.members(definition) {
                if schema.field(&member.name).is_some() {
                    let default = self.default_of(member);
                    facts.add(definition, &member.name, self.choices(&member.kind), default);
                }
            }
        }
        facts
    }

    /// What is written of a field that holds nothing.
    pub(crate) fn empty(&self, definition: &str, field: &Field, schema: Schema<'_>) -> Empty {
        let members = self.members(definition);
        let Some(member) = members.iter().find(|member| *member.name == *field.name) else {
            return Empty::default();
        };
        let omitted = member.omit_empty || member.omit_zero;
        if member.kind.starts_with('*') {
            return if omitted { Empty::Counts } else { Empty::Null };
        }
        match schema.shape() {
            Shape::List(_) | Shape::Map(_) | Shape::Bytes if omitted => Empty::LeftOut,
            Shape::List(_) | Shape::Map(_) | Shape::Bytes => Empty::Null,
            // `omitempty` knows no empty structs.
            Shape::Object(_) | Shape::IntOrString | Shape::Quantity if member.omit_zero => {
                Empty::Counts
            }
            Shape::Object(_) | Shape::IntOrString | Shape::Quantity => Empty::Zero,
            Shape::Time | Shape::MicroTime | Shape::Any if member.omit_zero => Empty::Counts,
            Shape::Time | Shape::MicroTime | Shape::Any => Empty::Null,
            _ if omitted => Empty::LeftOut,
            _ => Empty::Zero,
        }
    }

    /// The members of a struct, those that others lend it included.
    fn members(&self, name: &str) -> Vec<&Member> {
        let Some(Type::Struct(members)) = self.types.get(name) else { return Vec::new() };
        let mut all = Vec::new();
        for member in members {
            if member.name.is_empty() {
                all.extend(self.members(&member.kind));
            } else {
                all.push(member);
            }
        }
        all
    }

    fn choices(&self, kind: &str) -> &[Choice] {
        let element = element(kind.trim_start_matches('*'));
        let choices = self.enums.get(element).filter(|_| self.marked.contains(element));
        choices.map_or(&[], Vec::as_slice)
    }

    fn default_of(&self, member: &Member) -> Option<Value> {
        let said = member.default.as_deref().and_then(|text| self.value(&member.package, text));
        said.or_else(|| self.own_default(&member.kind))
            .or_else(|| self.zero(&member.kind, member.omit_empty))
    }

    /// JSON, or a reference to a constant.
    fn value(&self, package: &str, text: &str) -> Option<Value> {
        let Some(name) = text.strip_prefix("ref(").and_then(|rest| rest.strip_suffix(')')) else {
            return serde_json::from_str(text).ok();
        };
        self.constants.get(&format!("{package}.{name}")).map(|value| value.as_str().into())
    }

    /// What the type itself says.
    fn own_default(&self, kind: &str) -> Option<Value> {
        match self.types.get(kind.trim_start_matches('*'))? {
            Type::Named { of, default } => default.clone().or_else(|| self.own_default(of)),
            Type::Struct(_) => None,
        }
    }

    /// A plain value cannot be missing in Go.
    fn zero(&self, kind: &str, omit_empty: bool) -> Option<Value> {
        if OWN_JSON.contains(&kind) {
            return None;
        }
        match kind {
            "string" => (!omit_empty).then(|| json!("")),
            "bool" => (!omit_empty).then_some(Value::Bool(false)),
            "float32" | "float64" | "int" | "int32" | "int64" | "uint8" | "uint32" | "uint64"
            | "byte" => (!omit_empty).then(|| json!(0)),
            _ => match self.types.get(kind)? {
                Type::Named { of, .. } => self.zero(of, omit_empty),
                Type::Struct(members) => match members.as_slice() {
                    [only] if only.name.is_empty() => self.zero(&only.kind, omit_empty),
                    _ => Some(json!({})),
                },
            },
        }
    }
}

/// What a list or a map consists of.
fn element(kind: &str) -> &str {
    let kind = match kind.strip_prefix("[]") {
        Some(element) => element,
        None if kind.starts_with("map[") => kind.split_once(']').map_or("", |(_, rest)| rest),
        None => kind,
    };
    kind.trim_start_matches('*')
}

/// A type by its full name, behind what stands before it.
fn full(kind: &str, package: &str, imports: &BTreeMap<String, String>) -> String {
    const PLAIN: &[&str] = &[
        "string",
        "bool",
        "byte",
        "int",
        "int32",
        "int64",
        "uint8",
        "uint32",
        "uint64",
        "float32",
        "float64",
        "interface{}",
        "any",
    ];
    for before in ["*", "[]"] {
        if let Some(rest) = kind.strip_prefix(before) {
            return format!("{before}{}", full(rest, package, imports));
        }
    }
    if let Some((key, value)) = kind.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        return format!("map[{key}]{}", full(value, package, imports));
    }
    if PLAIN.contains(&kind) {
        return kind.to_owned();
    }
    match kind.split_once('.') {
        Some((alias, name)) => match imports.get(alias) {
            Some(path) => definition_name(path, name),
            None => kind.to_owned(),
        },
        None => definition_name(package, kind),
    }
}

/// `metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"`: the name, and the package as protobuf has it.
fn import(line: &str) -> Option<(String, String)> {
    let line = line.strip_prefix("import ").unwrap_or(line);
    let (alias, path) = line.strip_suffix('"')?.split_once('"')?;
    let path = path.strip_prefix("k8s.io/")?;
    let package = format!("k8s.io.{}", path.replace('/', ".").replace('-', "_"));
    let alias = match alias.trim() {
        "" => path.rsplit('/').next()?,
        alias => alias,
    };
    Some((alias.to_owned(), package))
}

/// ``Name *Type `json:"name,omitempty" protobuf:"…"` ``.
fn member(
    line: &str,
    package: &str,
    imports: &BTreeMap<String, String>,
    above: &[&str],
) -> Option<Member> {
    let (declared, tags) = line.split_once('`')?;
    let json = tags.split_once("json:\"")?.1.split('"').next()?;
    let mut options = json.split(',');
    let name = options.next()?;
    let options: Vec<&str> = options.collect();
    if name == "-" {
        return None;
    }
    let mut words = declared.split_whitespace();
    let first = words.next()?;
    let kind = words.next().unwrap_or(first);
    let inline = name.is_empty() && (options.contains(&"inline") || kind == first);
    Some(Member {
        name: if inline { String::new() } else { name.to_owned() },
        kind: full(kind, package, imports),
        omit_empty: options.contains(&"omitempty"),
        omit_zero: options.contains(&"omitzero"),
        default: said_default(above).map(str::to_owned),
        package: package.to_owned(),
    })
}

fn said_default<'s>(above: &[&'s str]) -> Option<&'s str> {
    above.iter().find_map(|line| line.trim().strip_prefix("+default=")).map(str::trim)
}

/// `RestartPolicyAlways RestartPolicy = "Always"`.
fn constant(line: &str) -> Option<(&str, &str, &str)> {
    let line = line.strip_prefix("const ").unwrap_or(line);
    let (declared, value) = line.split_once(" = ")?;
    let mut words = declared.split_whitespace();
    let (name, kind) = (words.next()?, words.next()?);
    let value = value.strip_prefix('"')?.split('"').next()?;
    let named = kind.starts_with(char::is_uppercase) && words.next().is_none();
    named.then_some((name, kind, value))
}

/// The comment of a constant without its name.
fn meaning(name: &str, above: &[&str]) -> String {
    let lines = above.iter().filter(|line| !line.trim_start().starts_with('+'));
    let text = lines.map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let text = text.trim();
    let text = text.strip_prefix(name).unwrap_or(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
