//! The messages of Kubernetes' protobuf, read from its `generated.proto` files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Messages by the names that the OpenAPI definitions have: `io.k8s.api.core.v1.PodSpec`.
#[derive(Default)]
pub(crate) struct Messages {
    members: BTreeMap<String, Vec<Member>>,
    comments: BTreeMap<String, String>,
}

/// A field of a message.
pub(crate) struct Member {
    /// In lower case without signs, to be compared with a JSON name so changed: JSON's
    /// `x-kubernetes-map-type` is `xKubernetesMapType` here.
    pub(crate) name: String,
    pub(crate) tag: u32,
    pub(crate) repeated: bool,
    /// The definition's name, where it is a message.
    pub(crate) message: Option<String>,
}

impl Messages {
    /// Reads every `generated.proto` below a folder.
    pub(crate) fn read(from: &Path) -> Result<Self> {
        let mut messages = Self::default();
        messages.read_dir(from)?;
        ensure!(!messages.members.is_empty(), "no generated.proto below {}", from.display());
        Ok(messages)
    }

    /// The fields of a message.
    pub(crate) fn get(&self, name: &str) -> Option<&[Member]> {
        self.members.get(name).map(Vec::as_slice)
    }

    /// What is said of a message, as OpenAPI says it.
    pub(crate) fn comment(&self, name: &str) -> Option<&str> {
        self.comments.get(name).map(String::as_str)
    }

    fn read_dir(&mut self, dir: &Path) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.read_dir(&path)?;
            } else if entry.file_name() == "generated.proto" {
                let source = fs::read_to_string(&path)?;
                self.read_source(&source).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// The files are generated: a package, then messages, a field a line.
    fn read_source(&mut self, source: &str) -> Result<()> {
        let mut package = "";
        let mut message = None;
        let mut comment = Vec::new();
        for line in source.lines() {
            if let Some(text) = line.strip_prefix("//") {
                comment.push(text.strip_prefix(' ').unwrap_or(text));
                continue;
            }
            let above = std::mem::take(&mut comment);
            let line = line.split("//").next().unwrap_or_default().trim();
            if let Some(name) = line.strip_prefix("package ") {
                package = name.trim_end_matches(';');
            } else if let Some(name) = line.strip_prefix("message ") {
                let name = definition_name(package, name.trim_end_matches('{').trim());
                self.members.entry(name.clone()).or_default();
                self.comments.insert(name.clone(), prose(&above));
                message = Some(name);
            } else if line == "}" {
                message = None;
            } else if let Some(members) =
                message.as_ref().and_then(|name| self.members.get_mut(name))
                && !line.is_empty()
            {
                members.push(member(line, package).with_context(|| line.to_owned())?);
            }
        }
        Ok(())
    }
}

/// A comment as OpenAPI has it: lines joined, paragraphs and what is indented kept apart, without
/// what is meant for generators.
fn prose(comment: &[&str]) -> String {
    let mut text = String::new();
    for line in comment.iter().map(|line| line.trim_end_matches(' ')) {
        let bare = line.trim_start_matches(' ');
        if line == "---" {
            break;
        }
        if line.is_empty() {
            text.pop();
            text += "\n\n";
        } else if line.starts_with([' ', '\t']) && !bare.starts_with(['+']) {
            text.pop();
            text += &format!("\n{line}\n");
        } else if !bare.starts_with('+') && !bare.starts_with("TODO") {
            text += &format!("{line} ");
        }
    }
    text.trim().to_owned()
}

/// `optional .k8s.io.api.core.v1.PodSpec spec = 2;`
fn member(line: &str, package: &str) -> Option<Member> {
    let (declared, tag) = line.strip_suffix(';')?.split_once('=')?;
    let (kind, name) = declared.trim().rsplit_once(' ')?;
    let (label, of) = kind.split_once(' ')?;
    let is_map = label.starts_with("map<");
    let message =
        (!is_map && of.contains(char::is_uppercase)).then(|| definition_name(package, of));
    Some(Member {
        name: name.to_ascii_lowercase(),
        tag: tag.trim().parse().ok()?,
        repeated: label == "repeated" || is_map,
        message,
    })
}

/// A type as it is named in a package; one that begins with a dot has its own.
pub(super) fn definition_name(package: &str, of: &str) -> String {
    let whole = of.strip_prefix('.').map_or_else(|| format!("{package}.{of}"), str::to_owned);
    let (package, name) = whole.rsplit_once('.').unwrap_or(("", &whole));
    let rest = package.strip_prefix("k8s.io.").unwrap_or(package);
    format!("io.k8s.{}.{name}", rest.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_generated_files() {
        let source = r#"
syntax = "proto2";

package k8s.io.kube_aggregator.pkg.apis.v1;

import "k8s.io/api/core/v1/generated.proto";

// A message of this kind: message Other {
// which goes on:
//
// 	indented
//
// +k8s:openapi-gen=true
message Thing {
  // Some words = 9;
  // +optional
  optional .k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta metadata = 1;

  map<string, bytes> binaryData = 3;

  repeated Other type = 7;

  optional string xKubernetesMapType = 8;
}

message Other {
}"#;
        let mut messages = Messages::default();
        messages.read_source(source).unwrap();
        let members = messages.get("io.k8s.kube-aggregator.pkg.apis.v1.Thing").unwrap();
        let brief: Vec<_> = members
            .iter()
            .map(|m| (m.name.as_str(), m.tag, m.repeated, m.message.as_deref()))
            .collect();
        assert_eq!(
            brief,
            [
                ("metadata", 1, false, Some("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")),
                ("binarydata", 3, true, None),
                ("type", 7, true, Some("io.k8s.kube-aggregator.pkg.apis.v1.Other")),
                ("xkubernetesmaptype", 8, false, None),
            ]
        );
        assert!(messages.get("io.k8s.kube-aggregator.pkg.apis.v1.Other").unwrap().is_empty());
        assert_eq!(
            messages.comment("io.k8s.kube-aggregator.pkg.apis.v1.Thing"),
            Some("A message of this kind: message Other { which goes on:\n\n\tindented")
        );
        assert!(messages.read_source("message A {\n  what is this\n}").is_err());
    }
}
