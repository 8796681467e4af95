//! Credentials from a program (`users[].user.exec`; `client.authentication.k8s.io`), as those of
//! cloud providers are had.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use onggi_base::pki::Pair;
use onggi_machinery::value::{bool_at, list_at, str_at};
use serde_json::{Value, json};

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
pub(crate) fn ask(plugin: &Value, server: &Config, folder: &Path) -> Result<Credential, String> {
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
    let output = Command::new(&program)
        .args(texts("args"))
        .envs(variables)
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(if asks { Stdio::inherit() } else { Stdio::null() })
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| {
            let hint = str_at(plugin, "installHint");
            let hint = if hint.is_empty() { String::new() } else { format!("\n{hint}") };
            format!("cannot run {command}: {e}{hint}")
        })?;
    if !output.status.success() {
        return Err(format!("{command} failed: {}", output.status));
    }
    let answer: Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("{command} gave no ExecCredential: {e}"))?;
    read(&answer, version).map_err(|text| format!("{command}: {text}"))
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
        let given = ask(&plugin("echo \"$ANSWER\""), &config, here).unwrap();
        assert_eq!(given.token.as_deref(), Some("t"));
        for (script, fault) in [("exit 3", "exit status: 3"), ("echo x", "no ExecCredential")] {
            let error = ask(&plugin(script), &config, here).err().unwrap();
            assert!(error.contains(fault), "{error}");
        }
        let missing = json!({"apiVersion": version, "command": "no-such", "installHint": "get it"});
        assert!(ask(&missing, &config, here).err().unwrap().ends_with("\nget it"));
    }
}
