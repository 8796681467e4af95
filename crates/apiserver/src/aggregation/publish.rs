//! What aggregated servers must know to believe this one: ConfigMap
//! `kube-system/extension-apiserver-authentication`.

use serde_json::{Map, Value, json};

use super::FrontProxy;
use crate::access::Access;

/// The ConfigMap's name.
const NAME: &str = "extension-apiserver-authentication";

/// Who signs users' certificates, and by what the front proxy is known.
pub(crate) fn authentication(client_ca: &str, front: Option<&FrontProxy>) -> Value {
    let mut data = Map::new();
    if !client_ca.trim().is_empty() {
        data.insert("client-ca-file".into(), client_ca.into());
    }
    if let Some(FrontProxy { ca, allowed_names, .. }) = front {
        let list = |names: &[&str]| Value::from(json!(names).to_string());
        data.insert("requestheader-client-ca-file".into(), ca.as_str().into());
        data.insert("requestheader-allowed-names".into(), json!(allowed_names).to_string().into());
        data.insert("requestheader-username-headers".into(), list(&["X-Remote-User"]));
        data.insert("requestheader-uid-headers".into(), list(&["X-Remote-Uid"]));
        data.insert("requestheader-group-headers".into(), list(&["X-Remote-Group"]));
        data.insert("requestheader-extra-headers-prefix".into(), list(&["X-Remote-Extra-"]));
    }
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NAME}, "data": data,
    })
}

/// [`authentication`] of the options.
pub(crate) fn of(access: &Access) -> Value {
    authentication(&access.client_ca, access.front_proxy.as_ref())
}
