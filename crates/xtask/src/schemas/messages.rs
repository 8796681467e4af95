//! The messages of Kubernetes' protobuf, read from the generated sources of the crate `k8s-pb`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Messages by the names that the OpenAPI definitions have, `io.k8s.api.core.v1.PodSpec`, but in
/// lower case: the generator of the sources spelled `NFSVolumeSource` in another way.
pub(crate) struct Messages(BTreeMap<String, Vec<Member>>);

/// A field of a message.
pub(crate) struct Member {
    /// In lower case without underscores, to be compared with a JSON name so changed.
    pub(crate) name: String,
    pub(crate) tag: u32,
    /// `message`, `string`, `int32`, `btree_map` …
    pub(crate) kind: String,
    pub(crate) repeated: bool,
    /// The definition's name, where it is a message.
    pub(crate) message: Option<String>,
}

impl Messages {
    /// Reads every `mod.rs` below `src`.
    pub(crate) fn read(src: &Path) -> Result<Self> {
        let mut messages = Self(BTreeMap::new());
        messages.read_dir(src, &mut Vec::new())?;
        Ok(messages)
    }

    /// The fields of a message. The sources are a version behind the definitions; what has become
    /// stable since is found in its beta version, because numbers never change.
    pub(crate) fn get(&self, name: &str) -> Option<&[Member]> {
        let name = name.to_ascii_lowercase();
        let beta = || self.0.get(&name.replace(".v1.", ".v1beta1."));
        self.0.get(&name).or_else(beta).map(Vec::as_slice)
    }

    fn read_dir(&mut self, dir: &Path, module: &mut Vec<String>) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                module.push(name);
                self.read_dir(&entry.path(), module)?;
                module.pop();
            } else if name == "mod.rs" {
                self.read_source(&fs::read_to_string(entry.path())?, module)?;
            }
        }
        Ok(())
    }

    /// The sources are generated: `pub struct`, then `#[prost(…)]` and `pub name: type` in turns.
    fn read_source(&mut self, source: &str, module: &[String]) -> Result<()> {
        let mut message = None;
        let mut attribute: Option<String> = None;
        for line in source.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("pub struct ") {
                let name = rest.trim_end_matches(['{', ' ', '}']);
                message = Some(definition_name(module, name));
                self.0.entry(definition_name(module, name)).or_default();
            } else if line.starts_with("#[prost(") {
                attribute = Some(line.to_owned());
            } else if let Some(open) = &mut attribute
                && !line.starts_with("///")
            {
                // Long types go on in the next lines.
                open.push_str(line);
                if line.ends_with(',') {
                    let member = member(open, module).with_context(|| open.clone())?;
                    let of = message.as_ref().context("a field outside of a message")?;
                    self.0.entry(of.clone()).or_default().push(member);
                    attribute = None;
                }
            }
        }
        Ok(())
    }
}

fn member(text: &str, module: &[String]) -> Option<Member> {
    let (attribute, rest) = text.strip_prefix("#[prost(")?.split_once(")]")?;
    let (name, kind_of) = rest.strip_prefix("pub ")?.split_once(':')?;
    let tag = attribute.split("tag = \"").nth(1)?.split('"').next()?.parse().ok()?;
    let kind = attribute.split([',', ' ', '=']).next()?.to_owned();
    let message = (kind == "message").then(|| inner_type(kind_of)).flatten();
    Some(Member {
        name: name.trim_start_matches("r#").replace('_', "").to_ascii_lowercase(),
        tag,
        repeated: attribute.contains(", repeated"),
        message: message.map(|path| resolve(&path, module)),
        kind,
    })
}

/// `super::super::Name` of `Option<Box<super::super::Name>>`.
fn inner_type(text: &str) -> Option<String> {
    let inner = text.rsplit('<').next()?;
    Some(inner.trim_end_matches([',', '>', ' ']).trim().to_owned())
}

fn resolve(path: &str, module: &[String]) -> String {
    let mut module = module.to_vec();
    let mut parts: Vec<&str> = path.split("::").collect();
    let name = parts.pop().unwrap_or_default();
    for part in parts {
        if part == "super" {
            module.pop();
        } else {
            module.push(part.to_owned());
        }
    }
    definition_name(&module, name)
}

fn definition_name(module: &[String], name: &str) -> String {
    let module: Vec<String> = module.iter().map(|part| part.replace('_', "-")).collect();
    format!("io.k8s.{}.{name}", module.join(".")).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_generated_sources() {
        let source = r#"
            #[derive(Clone)]
            pub struct ConfigMap {
                /// Some words.
                #[prost(message, optional, tag = "1")]
                pub metadata: ::core::option::Option<super::super::super::apimachinery::pkg::apis::meta::v1::ObjectMeta>,
                #[prost(btree_map = "string, bytes", tag = "3")]
                pub binary_data:
                    ::prost::alloc::collections::BTreeMap<::prost::alloc::string::String, ::prost::alloc::vec::Vec<u8>>,
                #[prost(message, repeated, tag = "7")]
                pub r#type: ::prost::alloc::vec::Vec<Other>,
            }"#;
        let module: Vec<String> = ["api", "core", "v1"].map(String::from).into();
        let mut messages = Messages(BTreeMap::new());
        messages.read_source(source, &module).unwrap();
        let members = messages.get("io.k8s.api.core.v1.ConfigMap").unwrap();
        let brief: Vec<_> = members
            .iter()
            .map(|m| (m.name.as_str(), m.tag, m.kind.as_str(), m.repeated, m.message.as_deref()))
            .collect();
        assert_eq!(
            brief,
            [
                (
                    "metadata",
                    1,
                    "message",
                    false,
                    Some("io.k8s.apimachinery.pkg.apis.meta.v1.objectmeta")
                ),
                ("binarydata", 3, "btree_map", false, None),
                ("type", 7, "message", true, Some("io.k8s.api.core.v1.other")),
            ]
        );
    }
}
