//! A stage while it is built: the image so far, and how instructions without files change it.

use std::collections::BTreeMap;

use serde_json::json;

use super::dockerfile::{Command, Op};
use super::words;
use crate::spec::{Config, Descriptor, History, host_architecture};
use crate::{Digest, Error, Result};

/// What a shell form runs with when the image does not say.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The image of a stage so far.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) config: Config,
    /// Lowest first.
    pub(super) layers: Vec<Descriptor>,
    /// `ARG`s that have a value.
    pub(super) args: BTreeMap<String, String>,
    /// Whether this file said `CMD`: an inherited one goes with a new `ENTRYPOINT`.
    cmd_set: bool,
    escape: char,
}

impl State {
    /// `FROM scratch`.
    pub(super) fn scratch(escape: char) -> Self {
        let mut config = Config {
            architecture: host_architecture().to_owned(),
            os: "linux".to_owned(),
            ..Config::default()
        };
        config.config.env.push(PATH.to_owned());
        Self::on(config, Vec::new(), escape)
    }

    /// `FROM` an image or an earlier stage.
    pub(super) fn on(config: Config, layers: Vec<Descriptor>, escape: char) -> Self {
        Self { config, layers, args: BTreeMap::new(), cmd_set: false, escape }
    }

    /// The environment first, then arguments: an `ENV` wins over an `ARG`.
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        let env = self.config.config.env.iter().rev().find_map(|pair| {
            pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        });
        env.or_else(|| self.args.get(name).cloned())
    }

    /// Replaces variables and quotes.
    pub(super) fn expand(&self, text: &str) -> Result<String> {
        words::expand(text, self.escape, &|name| self.lookup(name)).map_err(Error::invalid)
    }

    /// Replaces variables in a text.
    pub(super) fn expand_text(&self, text: &str) -> Result<String> {
        words::expand_text(text, self.escape, &|name| self.lookup(name)).map_err(Error::invalid)
    }

    /// A path in the image, relative ones from the working directory.
    pub(super) fn absolute(&self, path: &str) -> String {
        let base = match self.config.config.working_dir.as_str() {
            "" => "/",
            dir => dir,
        };
        let mut out: Vec<&str> = Vec::new();
        let joined = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
        for part in joined.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    out.pop();
                }
                part => out.push(part),
            }
        }
        format!("/{}", out.join("/"))
    }

    /// Program and arguments.
    pub(super) fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(args) => args.clone(),
            Command::Shell(text) => {
                let shell = &self.config.config.shell;
                let mut args: Vec<String> = match shell.is_empty() {
                    true => SHELL.map(str::to_owned).to_vec(),
                    false => shell.clone(),
                };
                args.push(text.clone());
                args
            }
        }
    }

    /// Environment of a `RUN`: arguments too, the image's own on top.
    pub(super) fn run_env(&self) -> Vec<String> {
        let env = &self.config.config.env;
        let known = |name: &str| {
            env.iter().any(|pair| pair.split_once('=').is_some_and(|(k, _)| k == name))
        };
        let args = self.args.iter().filter(|(name, _)| !known(name));
        args.map(|(name, value)| format!("{name}={value}")).chain(env.iter().cloned()).collect()
    }

    /// Does what needs no files. Answers whether it was that kind of instruction.
    pub(super) fn configure(
        &mut self,
        op: &Op,
        given: &dyn Fn(&str, bool) -> Option<String>,
    ) -> Result<bool> {
        match op {
            Op::Arg(args) => {
                for (name, default) in args {
                    let value = match (given(name, default.is_some()), default) {
                        (Some(value), _) => Some(value),
                        (None, Some(default)) => Some(self.expand(default)?),
                        (None, None) => None,
                    };
                    if let Some(value) = value {
                        self.args.insert(name.clone(), value);
                    }
                }
            }
            Op::Env(pairs) => {
                // All see the values from before this line.
                let pairs = self.expand_pairs(pairs)?;
                for (name, value) in pairs {
                    let env = &mut self.config.config.env;
                    let prefix = format!("{name}=");
                    let pair = format!("{prefix}{value}");
                    match env.iter_mut().find(|p| p.starts_with(&prefix)) {
                        Some(old) => *old = pair,
                        None => env.push(pair),
                    }
                }
            }
            Op::Label(pairs) => {
                let pairs = self.expand_pairs(pairs)?;
                self.config.config.labels.extend(pairs);
            }
            Op::Maintainer(name) => {
                self.config.rest.insert("author".to_owned(), json!(name));
            }
            Op::User(user) => self.config.config.user = self.expand(user)?,
            Op::StopSignal(signal) => self.config.config.stop_signal = self.expand(signal)?,
            Op::Expose(ports) => {
                for port in ports {
                    for port in exposed(&self.expand(port)?)? {
                        self.config.config.exposed_ports.insert(port, json!({}));
                    }
                }
            }
            Op::Volume(paths) => {
                for path in paths {
                    let path = self.expand(path)?;
                    self.config.config.volumes.insert(path, json!({}));
                }
            }
            Op::Cmd(command) => {
                self.config.config.cmd = self.argv(command);
                self.cmd_set = true;
            }
            Op::Entrypoint(command) => {
                self.config.config.entrypoint = self.argv(command);
                if !self.cmd_set {
                    self.config.config.cmd.clear();
                }
            }
            Op::Shell(shell) => self.config.config.shell = shell.clone(),
            Op::Healthcheck(check) => self.config.config.healthcheck = Some(check.clone()),
            Op::OnBuild(text) => self.config.config.on_build.push(text.clone()),
            Op::Workdir(_) | Op::Copy(_) | Op::Run(_) => return Ok(false),
        }
        Ok(true)
    }

    fn expand_pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>> {
        pairs.iter().map(|(name, value)| Ok((self.expand(name)?, self.expand(value)?))).collect()
    }

    /// Notes a step in the history.
    pub(super) fn note(&mut self, text: &str, created: &str, layer: Option<(Descriptor, Digest)>) {
        self.config.history.push(History {
            created: Some(created.to_owned()),
            created_by: Some(text.to_owned()),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        if let Some((layer, diff_id)) = layer {
            self.layers.push(layer);
            self.config.rootfs.diff_ids.push(diff_id);
        }
    }
}

/// `8080`, `8080/udp`, `8000-8010/tcp`.
fn exposed(text: &str) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let bad = || Error::invalid(format!("EXPOSE: {word:?} is no port, such as 8080 or 53/udp"));
        let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        if !["tcp", "udp", "sctp"].contains(&protocol.to_lowercase().as_str()) {
            return Err(bad());
        }
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (first, last): (u16, u16) =
            (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
        if first == 0 || first > last {
            return Err(bad());
        }
        out.extend((first..=last).map(|port| format!("{port}/{}", protocol.to_lowercase())));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configures() {
        let mut state = State::scratch('\\');
        state.config.config.cmd = vec!["inherited".into()];
        let none = |_: &str, _: bool| None;
        let mut go = |op: Op| state.configure(&op, &none).unwrap();
        go(Op::Arg(vec![("V".into(), Some("1".into()))]));
        go(Op::Env(vec![("A".into(), "\"x $V\"".into()), ("B".into(), "$A".into())]));
        go(Op::Env(vec![("B".into(), "${A}!".into())]));
        go(Op::Expose(vec!["80".into(), "5-6/udp".into()]));
        go(Op::Entrypoint(Command::Shell("serve".into())));
        assert!(!go(Op::Workdir("x".into())));
        let config = &state.config.config;
        assert_eq!(config.env[1..], ["A=x 1", "B=x 1!"]);
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["5/udp", "6/udp", "80/tcp"]);
        assert_eq!(config.entrypoint, ["/bin/sh", "-c", "serve"]);
        assert!(config.cmd.is_empty());
        assert_eq!(state.absolute("a/../b"), "/b");
        assert_eq!(state.run_env()[0], "V=1");
        assert!(state.configure(&Op::Expose(vec!["http".into()]), &none).is_err());
    }
}
