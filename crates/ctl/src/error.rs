//! What goes wrong, in kubectl's words.

use std::fmt::Write as _;
use std::io;

use onggi_api::Status;
use onggi_api::status::reason;
use onggi_client::kubeconfig::KubeconfigError;

/// A verb did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A fault of the caller, or of a file; the text names it.
    #[error("{0}")]
    Message(String),
    /// The API server refused, or was not reached.
    #[error("{0}")]
    Api(#[from] onggi_client::Error),
    /// The kubeconfig cannot be used.
    #[error("{0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// The address or the credentials lead to no connection.
    #[error("{0}")]
    Config(#[from] onggi_client::ConfigError),
    /// A kustomization cannot be built.
    #[error("{0}")]
    Kustomize(#[from] crate::kustomize::Error),
    /// A JSONPath is malformed, or finds nothing where it must.
    #[error("error parsing jsonpath, {0}")]
    JsonPath(#[from] crate::jsonpath::Error),
    /// Several things failed; each is said on a line of its own.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Many(Vec<Error>),
    /// Ends with this code; everything has been said.
    #[error("exit code {0}")]
    Exit(u8),
    /// Ends with this code and says why.
    #[error("{1}")]
    Coded(u8, Box<Error>),
    /// As [`Self::Message`], said without `error:`, as kubectl says some.
    #[error("{0}")]
    Bare(String),
    /// An object without a name, and the file that it stands in: its path would be that of the
    /// whole collection.
    #[error("{}", crate::select::NAMELESS)]
    Nameless(String),
    /// Nobody reads what is printed.
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// A fault of the caller.
    pub fn new(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// What is printed to the error output, with the line's end; empty when all has been said.
    pub fn report(&self) -> String {
        match self {
            Self::Api(onggi_client::Error::Status(status)) => of_status(status),
            Self::Api(onggi_client::Error::Connection { server, message }) => {
                let refused = message.to_lowercase().contains("connection refused");
                if refused {
                    let host = server.split("://").nth(1).unwrap_or(server);
                    format!(
                        "The connection to the server {host} was refused - did you specify the \
                         right host or port? (`onggi up` starts a cluster)\n"
                    )
                } else {
                    format!("Unable to connect to the server: {message}\n")
                }
            }
            // As kubectl: of several, plain ones stand without the word.
            Self::Many(errors) => errors
                .iter()
                .map(|error| match error {
                    error @ (Self::Message(_) | Self::Nameless(_)) => format!("{error}\n"),
                    Self::Api(onggi_client::Error::Status(status))
                        if status.reason == reason::INVALID =>
                    {
                        let (reason, message) = (&status.reason, &status.message);
                        format!("Error from server ({reason}): {message}\n")
                    }
                    error => error.report(),
                })
                .collect(),
            Self::Exit(_) => String::new(),
            Self::Bare(text) => format!("{text}\n"),
            Self::Coded(_, error) => error.report(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => String::new(),
            other => format!("error: {other}\n"),
        }
    }

    /// The code that the process ends with.
    pub fn code(&self) -> u8 {
        match self {
            Self::Exit(code) | Self::Coded(code, _) => *code,
            _ => 1,
        }
    }

    /// Whether the server said that the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_not_found())
    }

    /// Says which file the object came from, as kubectl does: `error when creating "x.yaml": …`.
    pub(crate) fn about(self, doing: &str, source: &str) -> Self {
        if source.is_empty() {
            return self;
        }
        match self {
            Self::Api(onggi_client::Error::Status(mut status)) => {
                status.message = format!("error when {doing} {source:?}: {}", status.message);
                Self::Api(onggi_client::Error::Status(status))
            }
            Self::Api(onggi_client::Error::Connection { .. }) | Self::Output(_) => self,
            other => Self::Message(format!("error when {doing} {source:?}: {other}")),
        }
    }

    /// Keeps an error until the others have had their turn; where nobody reads, it ends at once.
    pub(crate) fn note(errors: &mut Vec<Self>, error: Self) -> Result<(), Self> {
        if matches!(error, Self::Output(_)) {
            return Err(error);
        }
        errors.push(error);
        Ok(())
    }

    /// One error, or all of them, or none.
    pub(crate) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Many(errors)),
        }
    }
}

fn of_status(status: &Status) -> String {
    let message = &status.message;
    match status.reason.as_str() {
        reason::INVALID => {
            let Some(details) = &status.details else {
                return format!("The request is invalid: {message}\n");
            };
            let mut text = if details.kind.is_empty() && details.name.is_empty() {
                "The request is invalid".to_owned()
            } else {
                format!("The {} {:?} is invalid", details.kind, details.name)
            };
            let one = |cause: &onggi_api::status::Cause| {
                if cause.field.is_empty() {
                    cause.message.clone()
                } else {
                    format!("{}: {}", cause.field, cause.message)
                }
            };
            match details.causes.as_slice() {
                [] => text = format!("The request is invalid: {message}"),
                [cause] => {
                    let _infallible = write!(text, ": {}", one(cause));
                }
                causes => {
                    text.push_str(": ");
                    for cause in causes {
                        let _infallible = write!(text, "\n* {}", one(cause));
                    }
                }
            }
            text + "\n"
        }
        reason::UNAUTHORIZED => {
            format!(
                "error: You must be logged in to the server ({message}): the certificate or token \
                 of this kubeconfig is not accepted here; it expired, or belongs to another \
                 cluster\n"
            )
        }
        "" => format!("Error from server: {message}\n"),
        reason => format!("Error from server ({reason}): {message}\n"),
    }
}

#[cfg(test)]
mod tests {
    use onggi_api::{FieldError, FieldPath};

    use super::*;

    #[test]
    fn texts_of_kubectl() {
        let not_found = Status::not_found("pods", "x");
        assert_eq!(of_status(&not_found), "Error from server (NotFound): pods \"x\" not found\n");
        let faults = [
            FieldError::required(&FieldPath::new("spec.selector"), ""),
            FieldError::invalid(&FieldPath::new("spec.replicas"), -1, "must be non-negative"),
        ];
        assert_eq!(
            of_status(&Status::invalid("Deployment.apps", "web", &faults[..1])),
            "The Deployment \"web\" is invalid: spec.selector: Required value\n"
        );
        assert_eq!(
            of_status(&Status::invalid("Deployment.apps", "web", &faults)),
            "The Deployment \"web\" is invalid: \n* spec.selector: Required value\n\
             * spec.replicas: Invalid value: -1: must be non-negative\n"
        );
        let error = Error::Api(Status::already_exists("pods", "x").into());
        assert_eq!(
            error.about("creating", "p.yaml").report(),
            "Error from server (AlreadyExists): error when creating \"p.yaml\": pods \"x\" already \
             exists\n"
        );
    }
}
