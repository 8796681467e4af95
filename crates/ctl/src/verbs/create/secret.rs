//! Secrets: of files and texts, a registry's login, a certificate.

use serde_json::{Value, json};

use super::{Common, Filled, append_hash, data, object};
use crate::error::Error;

#[derive(Debug, clap::Args)]
pub(super) struct Secret {
    #[command(subcommand)]
    kind: SecretKind,
}

#[derive(Debug, clap::Subcommand)]
enum SecretKind {
    /// From files, folders or texts
    Generic(Generic),
    /// A login to a registry
    DockerRegistry(DockerRegistry),
    /// A certificate and its key
    Tls(Tls),
}

#[derive(Debug, clap::Args)]
struct Generic {
    #[command(flatten)]
    filled: Filled,
    /// Its type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

#[derive(Debug, clap::Args)]
struct DockerRegistry {
    /// Its name
    name: String,
    /// The registry
    #[arg(long, default_value = "https://index.docker.io/v1/")]
    docker_server: String,
    /// The user
    #[arg(long, default_value = "")]
    docker_username: String,
    /// The password
    #[arg(long, default_value = "")]
    docker_password: String,
    /// The mail address
    #[arg(long)]
    docker_email: Option<String>,
    /// A finished configuration, or KEY=FILE
    #[arg(long, value_name = "[KEY=]FILE")]
    from_file: Vec<String>,
    /// Put a hash of what it holds behind its name
    #[arg(long)]
    append_hash: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Tls {
    /// Its name
    name: String,
    /// File with the certificate (PEM)
    #[arg(long)]
    cert: String,
    /// File with the key (PEM)
    #[arg(long)]
    key: String,
    /// Put a hash of what it holds behind its name
    #[arg(long)]
    append_hash: bool,
    #[command(flatten)]
    common: Common,
}

impl Secret {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        let (mut object, common, hashed) = match self.kind {
            SecretKind::Generic(Generic { filled, kind }) => {
                let mut fields = filled.data.secret()?;
                if let Some(kind) = kind {
                    fields["type"] = json!(kind);
                }
                (object("v1", "Secret", &filled.name, fields), filled.common, filled.append_hash)
            }
            SecretKind::DockerRegistry(registry) => {
                let data = registry.data()?;
                let fields = json!({"data": data, "type": "kubernetes.io/dockerconfigjson"});
                let object = object("v1", "Secret", &registry.name, fields);
                (object, registry.common, registry.append_hash)
            }
            SecretKind::Tls(tls) => {
                let data = tls.data()?;
                let fields = json!({"data": data, "type": "kubernetes.io/tls"});
                (object("v1", "Secret", &tls.name, fields), tls.common, tls.append_hash)
            }
        };
        if hashed {
            append_hash(&mut object);
        }
        Ok((object, common))
    }
}

fn read(path: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(format!("Cannot read file {path}, open {path}: no such file or directory"))
        }
        _ => Error::new(format!("{path}: {e}")),
    })
}

/// Whether a block of that kind stands in a file.
fn holds_pem(bytes: &[u8], end: &str) -> bool {
    let begins = |line: &str| line.starts_with("-----BEGIN ") && line.ends_with(end);
    String::from_utf8_lossy(bytes).lines().any(|line| begins(line.trim_end()))
}

impl Tls {
    fn data(&self) -> Result<Value, Error> {
        let (certificate, key) = (read(&self.cert)?, read(&self.key)?);
        for (bytes, end, what) in
            [(&certificate, "CERTIFICATE-----", "certificate"), (&key, "PRIVATE KEY-----", "key")]
        {
            if !holds_pem(bytes, end) {
                return Err(Error::new(format!(
                    "tls: failed to find any PEM data in {what} input"
                )));
            }
        }
        Ok(json!({"tls.crt": data::encode(&certificate), "tls.key": data::encode(&key)}))
    }
}

impl DockerRegistry {
    fn data(&self) -> Result<Value, Error> {
        if self.from_file.is_empty() {
            if self.docker_username.is_empty() || self.docker_password.is_empty() {
                return Err(Error::new(
                    "either --from-file or the combination of --docker-username, \
                     --docker-password and --docker-server is required",
                ));
            }
            return Ok(json!({".dockerconfigjson": data::encode(self.config().as_bytes())}));
        }
        let mut map = serde_json::Map::new();
        for file in &self.from_file {
            let (key, path) = file.split_once('=').unwrap_or((".dockerconfigjson", file));
            map.insert(key.to_owned(), data::encode(&read(path)?).into());
        }
        Ok(Value::Object(map))
    }

    /// `~/.docker/config.json` with this login alone, in the order of its fields that kubectl has.
    fn config(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let auth = format!("{}:{}", self.docker_username, self.docker_password);
        let email = match &self.docker_email {
            Some(email) => format!(",\"email\":{}", quoted(email)),
            None => String::new(),
        };
        format!(
            "{{\"auths\":{{{}:{{\"username\":{},\"password\":{}{email},\"auth\":{}}}}}}}",
            quoted(&self.docker_server),
            quoted(&self.docker_username),
            quoted(&self.docker_password),
            quoted(&data::encode(auth.as_bytes())),
        )
    }
}
