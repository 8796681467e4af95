//! What a namespace asks for, in its labels `pod-security.kubernetes.io/…`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use onggi_api::{FieldError, FieldPath};

/// How strict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything is allowed.
    #[default]
    Privileged,
    /// Nothing that is known to lead out of a container.
    Baseline,
    /// What is good practice.
    Restricted,
}

/// Of which Kubernetes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// The newest that is known.
    #[default]
    Latest,
    /// `v1.N`.
    Minor(u32),
}

/// The newest version that is served.
const NEWEST: u32 = 36;

/// A level of a version: `restricted:latest`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub struct LevelVersion {
    pub level: Level,
    pub version: Version,
}

/// What is refused, what is noted down in the audit log, what is warned about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub struct Policy {
    pub enforce: LevelVersion,
    pub audit: LevelVersion,
    pub warn: LevelVersion,
}

const PREFIX: &str = "pod-security.kubernetes.io/";

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

impl Version {
    /// The minor version whose checks count.
    pub(super) fn minor(self) -> u32 {
        match self {
            Self::Latest => NEWEST,
            Self::Minor(minor) => minor.min(NEWEST),
        }
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::Latest => write!(f, "{}:latest", self.level),
            Version::Minor(minor) => write!(f, "{}:v1.{minor}", self.level),
        }
    }
}

fn level(text: &str) -> Option<Level> {
    [Level::Privileged, Level::Baseline, Level::Restricted]
        .into_iter()
        .find(|level| level.to_string() == text)
}

fn version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::Latest);
    }
    let minor = text.strip_prefix("v1.")?;
    let plain = minor == "0" || !minor.starts_with('0');
    let digits = !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit());
    (plain && digits).then(|| minor.parse().ok().map(Version::Minor))?
}

impl Policy {
    /// Whether nothing is asked for.
    pub fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|l| l.level == Level::Privileged)
    }

    /// From the labels of a namespace, and what is wrong with them. What cannot be read counts as
    /// the strictest where it is enforced, and as nothing where it is only told.
    pub fn read(labels: &BTreeMap<String, String>) -> (Self, Vec<FieldError>) {
        let mut errors = Vec::new();
        let mut policy = Self::default();
        // Most namespaces say nothing, and every pod asks.
        let mut said = labels.range::<str, _>((Bound::Included(PREFIX), Bound::Unbounded));
        if !said.next().is_some_and(|(name, _)| name.starts_with(PREFIX)) {
            return (policy, errors);
        }
        let found = |name: &str| labels.get(&format!("{PREFIX}{name}")).map(String::as_str);
        let mut wrong = |name: &str, text: &str, detail: &str| {
            let path = FieldPath::new("metadata.labels").key(&format!("{PREFIX}{name}"));
            errors.push(FieldError::invalid(&path, text, detail));
        };
        let mut warned = (false, false);
        let mut enforced = false;
        for (name, mode, strict) in [
            ("enforce", &mut policy.enforce, true),
            ("audit", &mut policy.audit, false),
            ("warn", &mut policy.warn, false),
        ] {
            if let Some(text) = found(name) {
                let read = level(text);
                if read.is_none() {
                    wrong(name, text, "must be one of privileged, baseline, restricted");
                }
                let instead = if strict { Level::Restricted } else { Level::Privileged };
                mode.level = read.unwrap_or(instead);
                enforced |= strict && read.is_some();
                warned.0 |= name == "warn";
            }
            let name = format!("{name}-version");
            if let Some(text) = found(&name) {
                let read = version(text);
                if read.is_none() {
                    wrong(&name, text, "must be \"latest\" or \"v1.x\"");
                }
                mode.version = read.unwrap_or_default();
                warned.1 |= name == "warn-version";
            }
        }
        // Whoever is only told what is enforced is told early, with the workload.
        if enforced && !warned.0 && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if !warned.1 {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }
}
