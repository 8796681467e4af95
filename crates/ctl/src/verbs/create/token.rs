//! A token of a service account (`TokenRequest`).

use onggi_client::{Body, Request};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::str_at;
use serde_json::json;

use crate::error::Error;
use crate::flags::Printing;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(super) struct Token {
    /// The service account
    name: String,
    /// How long it lasts
    #[arg(long, value_parser = crate::duration::parse, value_name = "TIME")]
    duration: Option<std::time::Duration>,
    /// For whom it is
    #[arg(long)]
    audience: Vec<String>,
    /// The object that it lives as long as: Pod, Node or Secret
    #[arg(long, value_name = "KIND")]
    bound_object_kind: Option<String>,
    /// Name of that object
    #[arg(long, value_name = "NAME")]
    bound_object_name: Option<String>,
    /// UID of that object
    #[arg(long, value_name = "UID")]
    bound_object_uid: Option<String>,
    #[command(flatten)]
    printing: Printing,
}

impl Token {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let format = self.printing.format()?;
        let mut spec = json!({"audiences": self.audience});
        if let Some(duration) = self.duration {
            spec["expirationSeconds"] = json!(duration.as_secs());
        }
        match (&self.bound_object_kind, &self.bound_object_name) {
            (Some(kind), Some(name)) => {
                if !["Pod", "Secret", "Node"].contains(&kind.as_str()) {
                    return Err(Error::new(
                        "supported --bound-object-kind values are Node, Pod, Secret",
                    ));
                }
                spec["boundObjectRef"] = json!({"apiVersion": "v1", "kind": kind, "name": name});
                if let Some(uid) = &self.bound_object_uid {
                    spec["boundObjectRef"]["uid"] = json!(uid);
                }
            }
            (Some(_), None) => {
                return Err(Error::new(
                    "--bound-object-name is required if --bound-object-kind is provided",
                ));
            }
            (None, _) if self.bound_object_uid.is_some() => {
                return Err(Error::new(
                    "--bound-object-uid can only be set if --bound-object-kind is provided",
                ));
            }
            (None, Some(_)) => {
                return Err(Error::new(
                    "--bound-object-name can only be set if --bound-object-kind is provided",
                ));
            }
            (None, None) => {}
        }
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {}, "spec": spec,
        });
        let accounts = onggi_api::GroupVersionResource::new("", "v1", "serviceaccounts");
        let request = Request::new(Verb::Create, accounts, &session.namespace(), &self.name);
        let answer = session.call(request.subresource("token").body(Body::Object(body))).await;
        let answer = answer.map_err(|error| super::failed(error, "token:"))?;
        if !format.is_table() {
            return session.print_object(&format, &answer);
        }
        session.print(&format!("{}\n", str_at(&answer, "status.token")))
    }
}
