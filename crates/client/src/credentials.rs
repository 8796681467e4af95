//! Credentials from a program (`users[].user.exec`; `client.authentication.k8s.io`), as those of
//! cloud providers are had.

use std::io::{ErrorKind, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use onggi_base::pki::Pair;
use onggi_machinery::value::{bool_at, list_at, str_at};
use serde_json::{Value, json};

use crate::kubeconfig::PluginPolicy;
use crate::tls::Config;

const VERSIONS: &[&str] =
    &["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// What the program gave.
#[derive(Default)]
pub(crate) struct Credential {
    pub(crate) token: Option<String>,
    pub(crate) client: Option<Pair>,
}

/// Runs the program and reads its `ExecCredential`. `folder`: that of the kubeconfig, which relative
/// paths are seen from.
pub(crate) fn ask(
    plugin: &Value,
    server: &Config,
    folder: &Path,
    policy: &PluginPolicy,
) -> Result<Credential, String> {
    let version = str_at(plugin, "apiVersion");
    if !VERSIONS.contains(&version) {
        return Err(format!("apiVersion {version:?} is none of {}", VERSIONS.join(", ")));
    }
    let command = str_at(plugin, "command");
    if command.is_empty() {
        return Err("command is missing".to_owned());
    }
    let is_path = command.contains('/') && !command.starts_with('/');
    let program = if is_path { folder.join(command) } else { command.into() };
    let located = located(&program);
    // Before it is looked for whether it is there: what is not allowed is told.
    if !located.as_deref().map_or(*policy == PluginPolicy::AllowAll, |file| allowed(policy, file)) {
        let policy = if *policy == PluginPolicy::DenyAll { "DenyAll" } else { "Allowlist" };
        return Err(format!("plugin {command:?} not allowed: policy set to {policy:?} (kuberc)"));
    }
    let mut spec = json!({"interactive": false});
    let asks = match str_at(plugin, "interactiveMode") {
        "Never" => false,
        "Always" if !std::io::stdin().is_terminal() => {
            return Err(format!("{command} wants to ask, and the input is no terminal"));
        }
        _ => std::io::stdin().is_terminal(),
    };
    spec["interactive"] = json!(asks);
    if bool_at(plugin, "provideClusterInfo") {
        let authority = server.ca.as_deref().unwrap_or_default();
        spec["cluster"] = json!({
            "server": server.server,
            "insecure-skip-tls-verify": server.insecure,
            "certificate-authority-data": BASE64_STANDARD.encode(authority),
        });
    }
    let info = json!({"apiVersion": version, "kind": "ExecCredential", "spec": spec});
    let texts = |field: &str| list_at(plugin, field).iter().filter_map(Value::as_str);
    let variables = list_at(plugin, "env").iter().map(|v| (str_at(v, "name"), str_at(v, "value")));
    let failed = |e: std::io::Error| {
        let hint = str_at(plugin, "installHint");
        let hint = if hint.is_empty() { String::new() } else { format!("\n{hint}") };
        format!("cannot run {command}: {e}{hint}")
    };
    let missing = || std::io::Error::new(ErrorKind::NotFound, "no such executable file");
    // The very file that was checked: a name would be looked for on the PATH of `env`.
    let output = Command::new(located.ok_or_else(missing).map_err(failed)?)
        .arg0(&program)
        .args(texts("args"))
        .envs(variables)
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(if asks { Stdio::inherit() } else { Stdio::null() })
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed)?;
    if !output.status.success() {
        return Err(format!("{command} failed: {}", output.status));
    }
    let answer: Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("{command} gave no ExecCredential: {e}"))?;
    read(&answer, version).map_err(|text| format!("{command}: {text}"))
}

/// Whether a program that was found may be run: it is what an entry names.
fn allowed(policy: &PluginPolicy, program: &Path) -> bool {
    let entries = match policy {
        PluginPolicy::AllowAll => return true,
        PluginPolicy::DenyAll => return false,
        PluginPolicy::Allowlist(entries) => entries,
    };
    let is_it = |name: &String| located(Path::new(name)).as_deref() == Some(program);
    entries.iter().any(|names| !names.is_empty() && names.iter().all(is_it))
}

/// A path as it is; a name as it is found on the `PATH`, whose relative folders are not trusted, as
/// for Go.
fn located(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return is_executable(program).then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    let runs =
        |found: std::fs::Metadata| found.is_file() && found.permissions().mode() & 0o111 != 0;
    std::fs::metadata(file).is_ok_and(runs)
}

fn read(answer: &Value, version: &str) -> Result<Credential, String> {
    if str_at(answer, "kind") != "ExecCredential" || str_at(answer, "apiVersion") != version {
        return Err(format!("the answer is no ExecCredential of {version}"));
    }
    let text = |field: &str| {
        let text = str_at(answer, &format!("status.{field}"));
        (!text.is_empty()).then(|| text.to_owned())
    };
    let client = match (text("clientCertificateData"), text("clientKeyData")) {
        (Some(certificate), Some(key)) => Some(Pair { certificate, key }),
        (None, None) => None,
        _ => return Err("a certificate and its key belong together".to_owned()),
    };
    let token = text("token");
    if token.is_none() && client.is_none() {
        return Err("the answer holds neither a token nor a certificate".to_owned());
    }
    Ok(Credential { token, client })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_may_run() {
        let list = |names: &[&str]| {
            let names = names.iter().map(|name| vec![(*name).to_owned()]);
            PluginPolicy::Allowlist(names.collect())
        };
        let sh = located(Path::new("sh")).unwrap();
        let by_path = list(&[sh.to_str().unwrap()]);
        for (policy, may) in [
            (PluginPolicy::AllowAll, true),
            (PluginPolicy::DenyAll, false),
            (list(&["no-such", "sh"]), true),
            (list(&["ls"]), false),
            (by_path, true),
            (PluginPolicy::Allowlist(vec![vec!["sh".to_owned(), "ls".to_owned()]]), false),
        ] {
            assert_eq!(allowed(&policy, &sh), may, "{policy:?}");
        }
        assert_eq!(located(Path::new("no-such")), None);
    }

    /// The kubeconfig's `PATH` is the program's own: another program of the same name does not run.
    #[test]
    fn another_path_is_no_other_program() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("sh");
        std::fs::write(&other, "#!/bin/sh\necho other >&2\nexit 7\n").unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&other, mode).unwrap();
        let version = VERSIONS[0];
        let plugin = json!({
            "apiVersion": version, "command": "sh", "args": ["-c", "exit 3"],
            "env": [{"name": "PATH", "value": dir.path()}],
        });
        let names = PluginPolicy::Allowlist(vec![vec!["sh".to_owned()]]);
        for policy in [&PluginPolicy::AllowAll, &names] {
            let error = ask(&plugin, &Config::default(), Path::new("."), policy).err().unwrap();
            assert!(error.contains("exit status: 3"), "{error}");
        }
        let none = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&other, none).unwrap();
        assert_eq!(located(&other), None);
    }

    #[test]
    fn a_program_gives_a_token() {
        let version = VERSIONS[0];
        let answer = format!(
            r#"{{"apiVersion":"{version}","kind":"ExecCredential","status":{{"token":"t"}}}}"#
        );
        let plugin = |script: &str| {
            json!({
                "apiVersion": version, "command": "sh", "args": ["-c", script],
                "env": [{"name": "ANSWER", "value": answer}],
            })
        };
        let config = Config::default();
        let here = Path::new(".");
        let all = &PluginPolicy::AllowAll;
        let given = ask(&plugin("echo \"$ANSWER\""), &config, here, all).unwrap();
        assert_eq!(given.token.as_deref(), Some("t"));
        for (script, fault) in [("exit 3", "exit status: 3"), ("echo x", "no ExecCredential")] {
            let error = ask(&plugin(script), &config, here, all).err().unwrap();
            assert!(error.contains(fault), "{error}");
        }
        let missing = json!({"apiVersion": version, "command": "no-such", "installHint": "get it"});
        assert!(ask(&missing, &config, here, all).err().unwrap().ends_with("\nget it"));
    }
}
