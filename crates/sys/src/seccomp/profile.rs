//! The OCI form of a profile (`linux.seccomp`), and its compilation to BPF.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use serde::Deserialize;

use super::{Program, SeccompError, names};
use crate::caps::{self, CapabilitySet};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Action {
    /// It goes through.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    /// It fails with `errnoRet`.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// It goes through and is written to the audit log.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// The process gets `SIGSYS`.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// The thread is killed.
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    /// The process is killed.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Op {
    /// Equal.
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    /// Not equal.
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    /// Less.
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    /// Less or equal.
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    /// Greater.
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    /// Greater or equal.
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    /// `argument & value == valueTwo`.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arg {
    /// Which argument, from 0.
    pub index: u8,
    /// The comparison.
    pub op: Op,
    /// What it is compared with, or the mask.
    pub value: u64,
    /// What the masked argument is compared with.
    #[serde(default)]
    pub value_two: u64,
}

/// Calls and what happens to them when every argument condition holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Names of the calls.
    pub names: Vec<String>,
    /// What happens.
    pub action: Action,
    /// The errno, `EPERM` when missing.
    #[serde(default)]
    pub errno_ret: Option<i32>,
    /// Conditions.
    #[serde(default)]
    pub args: Vec<Arg>,
    /// The rule holds only where all of this does.
    #[serde(default)]
    pub includes: Condition,
    /// The rule holds only where none of this does.
    #[serde(default)]
    pub excludes: Condition,
}

/// Docker's extension: which containers a rule is for.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Condition {
    /// `CAP_…`.
    #[serde(default)]
    pub caps: Vec<String>,
    /// `amd64`, `arm64` …
    #[serde(default)]
    pub arches: Vec<String>,
}

/// A seccomp profile.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// For calls without a rule.
    pub default_action: Action,
    /// The errno of the default action, `EPERM` when missing.
    #[serde(default, rename = "defaultErrnoRet")]
    pub default_errno: Option<i32>,
    /// The rules.
    #[serde(default, rename = "syscalls")]
    pub rules: Vec<Rule>,
}

impl Rule {
    /// A rule without conditions.
    pub fn new(action: Action, names: Vec<String>) -> Self {
        let (includes, excludes) = (Condition::default(), Condition::default());
        Self { names, action, errno_ret: None, args: Vec::new(), includes, excludes }
    }

    /// With this errno.
    pub fn errno(mut self, errno: i32) -> Self {
        self.errno_ret = Some(errno);
        self
    }

    /// With one more condition.
    pub fn arg(mut self, arg: Arg) -> Self {
        self.args.push(arg);
        self
    }

    fn applies(&self, caps: CapabilitySet) -> bool {
        let has = |name: &String| caps::parse(name).is_some_and(|cap| caps.contains(cap));
        let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let includes = self.includes.caps.iter().all(has)
            && (self.includes.arches.is_empty() || self.includes.arches.iter().any(|a| a == arch));
        let excluded =
            self.excludes.caps.iter().any(has) || self.excludes.arches.iter().any(|a| a == arch);
        includes && !excluded
    }
}

fn action(action: Action, errno: Option<i32>) -> SeccompAction {
    match action {
        Action::Allow => SeccompAction::Allow,
        Action::Errno => SeccompAction::Errno(errno.unwrap_or(libc::EPERM) as u32),
        Action::Log => SeccompAction::Log,
        Action::Trap => SeccompAction::Trap,
        Action::KillThread => SeccompAction::KillThread,
        Action::KillProcess => SeccompAction::KillProcess,
    }
}

impl Profile {
    /// Reads a profile file.
    pub fn parse(text: &[u8]) -> Result<Self, SeccompError> {
        serde_json::from_slice(text).map_err(|e| SeccompError::Profile(e.to_string()))
    }

    /// Compiles for a container with these capabilities. One filter knows two actions, so every
    /// action but the default's gets a filter of its own; the kernel takes the strictest answer,
    /// and the newest of equally strict ones.
    pub fn compile(&self, caps: CapabilitySet) -> Result<Program, SeccompError> {
        let default = action(self.default_action, self.default_errno);
        let mut groups: BTreeMap<(Action, i32), BTreeMap<i64, Vec<SeccompRule>>> = BTreeMap::new();
        for rule in self.rules.iter().filter(|rule| rule.applies(caps)) {
            let errno = match rule.action {
                Action::Errno => rule.errno_ret.unwrap_or(libc::EPERM),
                _ => 0,
            };
            let group = groups.entry((rule.action, errno)).or_default();
            for name in &rule.names {
                let Some(number) = names::number(name) else {
                    // An unknown call falls to the default, which is no looser than a denial
                    // unless everything is allowed.
                    if self.default_action == Action::Allow {
                        return Err(SeccompError::UnknownCall(name.clone()));
                    }
                    continue;
                };
                let mut conditions = Vec::new();
                for arg in &rule.args {
                    conditions.push(condition(arg)?);
                }
                match (group.get_mut(&number), conditions.is_empty()) {
                    // A rule without conditions covers those with: an empty list means "always".
                    (Some(rules), true) => rules.clear(),
                    (Some(rules), false) if rules.is_empty() => {}
                    (Some(rules), false) => rules.push(compiled(conditions)?),
                    (None, true) => {
                        group.insert(number, Vec::new());
                    }
                    (None, false) => {
                        group.insert(number, vec![compiled(conditions)?]);
                    }
                }
            }
        }
        let allow = groups.remove(&(Action::Allow, 0)).unwrap_or_default();
        let mut filters = Vec::new();
        if default != SeccompAction::Allow {
            filters.push(filter(allow, default, SeccompAction::Allow)?);
        }
        for ((kind, errno), rules) in groups {
            let wanted = action(kind, Some(errno));
            if wanted != SeccompAction::Allow {
                filters.push(filter(rules, SeccompAction::Allow, wanted)?);
            }
        }
        Ok(Program(filters))
    }
}

fn condition(arg: &Arg) -> Result<SeccompCondition, SeccompError> {
    let (op, value) = match arg.op {
        Op::Eq => (SeccompCmpOp::Eq, arg.value),
        Op::Ne => (SeccompCmpOp::Ne, arg.value),
        Op::Lt => (SeccompCmpOp::Lt, arg.value),
        Op::Le => (SeccompCmpOp::Le, arg.value),
        Op::Gt => (SeccompCmpOp::Gt, arg.value),
        Op::Ge => (SeccompCmpOp::Ge, arg.value),
        Op::MaskedEq => (SeccompCmpOp::MaskedEq(arg.value), arg.value_two),
    };
    SeccompCondition::new(arg.index, SeccompCmpArgLen::Qword, op, value)
        .map_err(|e| SeccompError::Profile(e.to_string()))
}

fn compiled(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, SeccompError> {
    SeccompRule::new(conditions).map_err(|e| SeccompError::Profile(e.to_string()))
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    mismatch: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, SeccompError> {
    let arch = if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };
    SeccompFilter::new(rules, mismatch, matched, arch)
        .and_then(TryInto::try_into)
        .map_err(|e| SeccompError::Profile(e.to_string()))
}
