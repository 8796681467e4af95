//! CONNECT: a request that opens a connection (exec, attach, port-forward, proxy) is admitted as
//! its options, an object that is never stored.

use onggi_api::Status;
use serde_json::{Map, Value, json};

use super::{Attributes, Operation, Options};
use crate::http::{Query, ResourcePlace};
use crate::registry::{Context, Registry};

/// Options that are true or false; those of `command` are a list, the rest are texts.
const FLAGS: [&str; 4] = ["stdin", "stdout", "stderr", "tty"];

/// Whether a connection may be opened.
pub(crate) async fn connect(
    registry: &Registry,
    context: &Context,
    place: &ResourcePlace,
    query: &Query,
) -> Result<(), Status> {
    let row = registry.row(&place.resource)?;
    let Some(mut object) = options(row.kind, &place.subresource, query) else { return Ok(()) };
    let attributes = Attributes {
        context,
        row,
        namespace: &place.namespace,
        name: &place.name,
        subresource: &place.subresource,
        operation: Operation::Connect,
        options: Options::None,
        old: None,
    };
    super::mutate(registry, &attributes, &mut object).await?;
    super::validate(registry, &attributes, &object).await?.done();
    Ok(())
}

/// `PodExecOptions` and its kin; `None` for what is only read, such as logs.
fn options(kind: &str, subresource: &str, query: &Query) -> Option<Value> {
    let subresource = subresource.split('/').next().unwrap_or_default();
    let name = match subresource {
        "exec" => "Exec",
        "attach" => "Attach",
        "portforward" => "PortForward",
        "proxy" => "Proxy",
        _ => return None,
    };
    let mut fields = Map::new();
    fields.insert("kind".into(), format!("{kind}{name}Options").into());
    fields.insert("apiVersion".into(), "v1".into());
    match name {
        "Exec" | "Attach" => {
            for flag in FLAGS {
                if query.flag(flag) {
                    fields.insert(flag.into(), true.into());
                }
            }
            let container = query.get("container");
            if !container.is_empty() {
                fields.insert("container".into(), container.into());
            }
            if name == "Exec" {
                fields.insert("command".into(), query.all("command").collect());
            }
        }
        "PortForward" => {
            let ports = query.all("ports").flat_map(|all| all.split(','));
            let ports: Vec<i64> = ports.filter_map(|port| port.parse().ok()).collect();
            if !ports.is_empty() {
                fields.insert("ports".into(), json!(ports));
            }
        }
        _ => {
            let path = query.get("path");
            if !path.is_empty() {
                fields.insert("path".into(), path.into());
            }
        }
    }
    Some(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_query() {
        let query = Query::parse(Some("command=ls&command=-l&stdin=true&container=c&tty=false"));
        assert_eq!(
            options("Pod", "exec", &query),
            Some(json!({
                "kind": "PodExecOptions", "apiVersion": "v1", "stdin": true, "container": "c",
                "command": ["ls", "-l"],
            }))
        );
        assert_eq!(options("Pod", "log", &query), None);
        assert_eq!(
            options("Service", "proxy/a/b", &query),
            Some(json!({"kind": "ServiceProxyOptions", "apiVersion": "v1"}))
        );
    }
}
