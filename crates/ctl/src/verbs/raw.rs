//! `--raw`: a path of the server, with the body that a file holds.

use std::io::Read;

use crate::error::Error;
use crate::manifest::Files;
use crate::session::Session;

/// Sends the one file to a path and prints the answer.
pub(super) async fn send(
    session: &Session,
    method: &str,
    path: &str,
    files: &Files,
) -> Result<(), Error> {
    let body = match files.filename.as_slice() {
        _ if files.kustomize.is_some() || files.recursive => {
            return Err(Error::new("--raw and --recursive or -k are mutually exclusive"));
        }
        [name] if name == "-" => {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body)?;
            body
        }
        [name] => std::fs::read(name).map_err(|e| Error::new(format!("{name}: {e}")))?,
        [] if method == "DELETE" => Vec::new(),
        _ => {
            return Err(Error::new(
                "--raw can only use a single local file or stdin to be used as the body",
            ));
        }
    };
    let answer = session.send(method, path, "application/json", body).await?;
    session.print_bytes(&answer)
}
