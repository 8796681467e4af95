//! What the audit log is told of a request over HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, header};
use http_body_util::BodyExt;
use onggi_api::Status;
use onggi_machinery::audit::Target;

use super::held::Held;
use super::info::{Info, Place};
use super::{Body, Caller, Incomings};
use crate::ApiServer;
use crate::audit::{Arrival, Audit, Ending, Record};
use crate::authn::User;

/// The record of a request that comes in; `shown` is who sends it, where that is known.
pub(super) async fn begin(
    audit: &Audit,
    server: &ApiServer,
    request: &Incomings,
    caller: &Caller<'_>,
    info: &Result<Info, Status>,
    shown: &Result<Arc<User>, Status>,
) -> Option<Record> {
    /// Longer ones are cut (`maxUserAgentLength`).
    const LONGEST: usize = 1024;
    let mut user_agent = super::user_agent(request);
    if user_agent.len() > LONGEST {
        user_agent.truncate(user_agent.floor_char_boundary(LONGEST));
        user_agent.push_str("...TRUNCATED");
    }
    let method = request.method().as_str().to_ascii_lowercase();
    let name;
    let (verb, version, target) = match info {
        Ok(info @ Info { verb, place: Place::Resource(place), .. }) => {
            name = info.authorized_name(place);
            let target = Target::Resource {
                group: &place.resource.group,
                resource: &place.resource.resource,
                subresource: &place.subresource,
                namespace: place.authorized_namespace(),
                name: &name,
            };
            (verb.as_str(), place.resource.version.as_str(), target)
        }
        _ => (method.as_str(), "", Target::Path(request.uri().path())),
    };
    let uri = request.uri();
    let arrival = Arrival {
        audit_id: String::from_utf8_lossy(caller.audit_id.as_bytes()).into_owned(),
        received: server.registry.clock.now(),
        request_uri: uri.path_and_query().map_or_else(String::new, ToString::to_string),
        verb,
        user: shown.as_ref().ok().map(Arc::as_ref),
        source_ips: source_ips(request.headers(), caller.remote),
        user_agent,
        version,
        target,
    };
    audit.begin(arrival).await
}

/// Where it comes from: what proxies say, then the other end of the connection.
fn source_ips(headers: &HeaderMap, remote: Option<IpAddr>) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok();
    let forwarded = text("x-forwarded-for").unwrap_or_default();
    let mut addresses: Vec<IpAddr> = forwarded.split(',').filter_map(parse).collect();
    if let Some(real) = text("x-real-ip").and_then(parse).filter(|ip| !addresses.contains(ip)) {
        addresses.push(real);
    }
    if let Some(remote) = remote.map(|ip| ip.to_canonical())
        && addresses.last() != Some(&remote)
    {
        addresses.push(remote);
    }
    addresses.iter().map(ToString::to_string).collect()
}

/// How somebody tried to show who they are.
pub(super) fn attempted(headers: &HeaderMap, certificate: bool) -> String {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scheme = given.and_then(|text| Some(text.trim().split_once(' ')?.0.to_ascii_lowercase()));
    let mut methods: Vec<&str> = Vec::new();
    methods.extend(scheme.as_deref().filter(|scheme| ["basic", "bearer"].contains(scheme)));
    if certificate {
        methods.push("x509");
    }
    if methods.is_empty() {
        return "Authentication failed, no credentials provided".into();
    }
    format!("Authentication failed, attempted: {}", methods.join(", "))
}

/// A body that ends a record with itself.
pub(super) fn ends(body: Body, ending: Ending) -> Body {
    Held::new(body, ending).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_request_comes_from() {
        for (forwarded, real, remote, expected) in [
            ("", "", "10.0.0.1", "10.0.0.1"),
            ("1.1.1.1, 2.2.2.2", "", "10.0.0.1", "1.1.1.1 2.2.2.2 10.0.0.1"),
            ("1.1.1.1, nobody", "3.3.3.3", "3.3.3.3", "1.1.1.1 3.3.3.3"),
            ("1.1.1.1", "1.1.1.1", "::ffff:10.0.0.1", "1.1.1.1 10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-forwarded-for", forwarded), ("x-real-ip", real)] {
                headers.insert(name, value.parse().unwrap());
            }
            let found = source_ips(&headers, remote.parse().ok());
            assert_eq!(found.join(" "), expected);
        }
    }
}
