//! `cp`: files and folders into a container and out of it, by `tar` in the container.

use std::io::Cursor;
use std::path::{Component, Path, PathBuf};

use onggi_client::exec::{Exec, exec};
use onggi_client::node::Streams;
use onggi_machinery::value::str_at;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::logs::container_of;
use crate::error::Error;
use crate::session::Session;

/// Bytes on the way between the network and the archive.
const PIPE: usize = 256 << 10;

/// Flags of `cp`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// PATH, or [NAMESPACE/]POD:PATH
    #[arg(value_name = "FROM")]
    from: String,
    /// PATH, or [NAMESPACE/]POD:PATH
    #[arg(value_name = "TO")]
    to: String,
    /// The container
    #[arg(long, short)]
    container: Option<String>,
    /// Do not keep owners and modes
    #[arg(long)]
    no_preserve: bool,
    /// How often a copy out of a container that breaks off is tried again; negative for ever
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    retries: i64,
}

/// A path, here or in a pod.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    namespace: Option<String>,
    pod: Option<String>,
    path: String,
}

impl Place {
    fn parse(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::new("filespec must match the canonical format: [[namespace/]pod:]file/path");
        let Some((before, path)) = text.split_once(':') else {
            return Ok(Self { namespace: None, pod: None, path: text.to_owned() });
        };
        // A slash before the colon belongs to a path of this machine, unless it divides a pod.
        match before.split('/').collect::<Vec<_>>().as_slice() {
            [pod] if !pod.is_empty() => {
                Ok(Self { namespace: None, pod: Some((*pod).to_owned()), path: path.to_owned() })
            }
            [namespace, pod]
                if !pod.is_empty() && !namespace.is_empty() && !namespace.starts_with('.') =>
            {
                Ok(Self {
                    namespace: Some((*namespace).to_owned()),
                    pod: Some((*pod).to_owned()),
                    path: path.to_owned(),
                })
            }
            [] | [_] => Err(wrong()),
            _ => Ok(Self { namespace: None, pod: None, path: text.to_owned() }),
        }
    }
}

impl Args {
    /// Copies.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let (from, to) = (Place::parse(&self.from)?, Place::parse(&self.to)?);
        match (&from.pod, &to.pod) {
            (Some(_), Some(_)) => {
                Err(Error::new("one of src or dest must be a local file specification"))
            }
            (None, None) => {
                Err(Error::new("one of src or dest must be a remote file specification"))
            }
            _ if from.path.is_empty() || to.path.is_empty() => {
                Err(Error::new("filepath can not be empty"))
            }
            (None, Some(_)) => self.upload(session, Path::new(&from.path), &to).await,
            (Some(_), None) => {
                let mut left = self.retries;
                loop {
                    match self.download(session, &from, Path::new(&to.path)).await {
                        Err(error) if left != 0 => {
                            session.print_error(&format!("{error}; it is tried again\n"))?;
                            left -= 1;
                        }
                        result => return result,
                    }
                }
            }
        }
    }

    /// Runs a program in the place's container.
    async fn program(
        &self,
        session: &Session,
        place: &Place,
        command: Vec<String>,
        stdin: Option<DuplexStream>,
        stdout: DuplexStream,
    ) -> Result<(), Error> {
        let namespace = place.namespace.clone().unwrap_or_else(|| session.namespace());
        let name = place.pod.clone().unwrap_or_default();
        let pods = session.mapper().await?.by_name("pods")?;
        let pod = session.object(pods, &namespace, &name).await?;
        let phase = str_at(&pod, "status.phase");
        if matches!(phase, "Succeeded" | "Failed") {
            return Err(Error::new(format!(
                "cannot exec into a container in a completed pod; current phase is {phase}"
            )));
        }
        let container = container_of(session, &pod, self.container.as_deref(), false)?;
        let request = Exec { namespace, pod: name, container, command, tty: false };
        let (errors, mut said) = duplex(PIPE);
        let streams = Streams {
            stdin: stdin.map(|stream| Box::new(stream) as _),
            stdout: Some(Box::new(stdout)),
            stderr: Some(Box::new(errors)),
            resize: None,
        };
        let mut text = String::new();
        let (status, read) = tokio::join!(
            exec(&session.connection()?.http, &request, streams),
            said.read_to_string(&mut text),
        );
        if let Err(error) = read {
            tracing::debug!(%error, "the errors of the container's tar are no text");
        }
        match status?.0 {
            0 => Ok(()),
            code => {
                session.print_error(&text)?;
                Err(Error::Coded(
                    u8::try_from(code).unwrap_or(1),
                    Box::new(Error::new(format!("command terminated with exit code {code}"))),
                ))
            }
        }
    }

    async fn upload(&self, session: &Session, from: &Path, to: &Place) -> Result<(), Error> {
        if !from.exists() {
            return Err(Error::new(format!(
                "{} doesn't exist in local filesystem",
                from.display()
            )));
        }
        // Into a folder where that is what is there, else under the new name.
        let name = from.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut target = to.path.trim_end_matches('/').to_owned();
        if target.is_empty() {
            target = "/".to_owned();
        }
        let test = vec!["test".to_owned(), "-d".to_owned(), target.clone()];
        let (silent, _) = duplex(PIPE);
        let is_folder = {
            let quiet = Session::with_io(
                session.globals.clone(),
                crate::Io::new(std::io::sink(), std::io::sink()),
            );
            self.program(&quiet, to, test, None, silent).await.is_ok()
        };
        if is_folder && let Some(name) = &name {
            target = format!("{}/{name}", target.trim_end_matches('/'));
        }
        let (folder, entry) = target.rsplit_once('/').unwrap_or(("", &target));
        let (folder, entry) = (folder.to_owned(), entry.to_owned());
        let source = from.to_owned();
        let archive = tokio::task::spawn_blocking(move || archive(&source, &entry));
        let bytes = archive.await.map_err(|e| Error::new(e.to_string()))??;
        let (mut ours, theirs) = duplex(PIPE);
        let send = async move {
            tokio::io::copy(&mut Cursor::new(bytes), &mut ours).await
            // Dropped here, which ends the input of tar.
        };
        let mut command = vec!["tar".to_owned()];
        if self.no_preserve {
            command.extend(["--no-same-permissions", "--no-same-owner"].map(str::to_owned));
        }
        command.extend(["-xmf", "-"].map(str::to_owned));
        if !folder.is_empty() {
            command.extend(["-C".to_owned(), folder]);
        } else if to.path.starts_with('/') {
            command.extend(["-C".to_owned(), "/".to_owned()]);
        }
        let (silent, mut rest) = duplex(PIPE);
        let mut ignored = Vec::new();
        let (sent, ran, _) = tokio::join!(
            send,
            self.program(session, to, command, Some(theirs), silent),
            rest.read_to_end(&mut ignored),
        );
        ran?;
        sent.map(drop).map_err(Error::from)
    }

    async fn download(&self, session: &Session, from: &Place, to: &Path) -> Result<(), Error> {
        let path = from.path.trim_end_matches('/');
        let path = if path.is_empty() { "/" } else { path };
        let command = ["tar", "cf", "-", path].map(str::to_owned).to_vec();
        let (theirs, mut ours) = duplex(PIPE);
        let mut bytes = Vec::new();
        let (ran, read) = tokio::join!(
            self.program(session, from, command, None, theirs),
            ours.read_to_end(&mut bytes),
        );
        read?;
        ran?;
        let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        let target = match name {
            Some(name) if to.is_dir() => to.join(name),
            _ => to.to_owned(),
        };
        let prefix = path.trim_start_matches('/').to_owned();
        let unpacked = tokio::task::spawn_blocking(move || unpack(&bytes, &prefix, &target));
        for warning in unpacked.await.map_err(|e| Error::new(e.to_string()))?? {
            session.warn(&[warning])?;
        }
        Ok(())
    }
}

/// A file or folder as an archive, under another name.
fn archive(source: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let failed = |e: std::io::Error| Error::new(format!("{}: {e}", source.display()));
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    if source.is_dir() {
        builder.append_dir_all(name, source).map_err(failed)?;
    } else {
        builder.append_path_with_name(source, name).map_err(failed)?;
    }
    builder.into_inner().map_err(failed)
}

/// Writes what an archive holds below a prefix to a place here; nothing leaves the place, and
/// links are left out. What was left out is told.
fn unpack(bytes: &[u8], prefix: &str, target: &Path) -> Result<Vec<String>, Error> {
    let failed = |path: &Path, e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
    let mut warnings = Vec::new();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let bare =
            PathBuf::from(name.to_string_lossy().trim_start_matches('/').trim_start_matches("./"));
        let Ok(rest) = bare.strip_prefix(prefix) else {
            return Err(Error::new(format!("tar contents corrupted: {}", name.display())));
        };
        if rest.components().any(|part| !matches!(part, Component::Normal(_))) {
            warnings.push(format!("{} leads out of the target; it is left out", name.display()));
            continue;
        }
        let path = if rest.as_os_str().is_empty() { target.to_owned() } else { target.join(rest) };
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            std::fs::create_dir_all(&path).map_err(|e| failed(&path, e))?;
        } else if kind.is_file() {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                std::fs::create_dir_all(parent).map_err(|e| failed(parent, e))?;
            }
            let mut file = std::fs::File::create(&path).map_err(|e| failed(&path, e))?;
            std::io::copy(&mut entry, &mut file).map_err(|e| failed(&path, e))?;
        } else {
            warnings.push(format!("skipping symlink: {:?}", name.display().to_string()));
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let place = |namespace: Option<&str>, pod: Option<&str>, path: &str| Place {
            namespace: namespace.map(str::to_owned),
            pod: pod.map(str::to_owned),
            path: path.to_owned(),
        };
        for (text, wanted) in [
            ("/tmp/x", place(None, None, "/tmp/x")),
            ("web:/x", place(None, Some("web"), "/x")),
            ("shop/web:x", place(Some("shop"), Some("web"), "x")),
            ("./a:b", place(None, None, "./a:b")),
        ] {
            assert_eq!(Place::parse(text).unwrap(), wanted, "{text}");
        }
        assert!(Place::parse(":x").is_err());
    }

    #[test]
    fn nothing_leaves_the_target() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("from/sub")).unwrap();
        std::fs::write(dir.path().join("from/sub/f"), "text").unwrap();
        let bytes = archive(&dir.path().join("from"), "var/data").unwrap();
        let target = dir.path().join("to");
        assert_eq!(unpack(&bytes, "var/data", &target).unwrap(), [""; 0]);
        assert_eq!(std::fs::read_to_string(target.join("sub/f")).unwrap(), "text");
        assert!(unpack(&bytes, "elsewhere", &target).is_err());
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.as_gnu_mut().unwrap().name[..8].copy_from_slice(b"d/../../");
        header.as_gnu_mut().unwrap().name[8] = b'x';
        header.set_cksum();
        builder.append(&header, &b"x"[..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        assert_eq!(unpack(&bytes, "d", &target).unwrap().len(), 1);
        assert!(!dir.path().join("x").exists());
    }
}
