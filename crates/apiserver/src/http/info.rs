//! What a request is about, from its method and path (`k8s.io/apiserver/pkg/endpoints/request`).

use std::borrow::Cow;

use http::{Method, Uri};
use onggi_api::{GroupVersionResource, Status};
use onggi_machinery::resource::Verb;
use onggi_machinery::selector::FieldSelector;
use percent_encoding::percent_decode_str;

use super::query::Query;

/// The subresource that hands requests on.
const PROXY: &str = "proxy";

/// See the module.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) verb: Verb,
    pub(crate) place: Place,
    pub(crate) query: Query,
}

#[derive(Debug)]
pub(crate) enum Place {
    /// No resource: health, discovery …
    Path,
    Resource(ResourcePlace),
}

/// A collection or an object.
#[derive(Debug, PartialEq)]
pub(crate) struct ResourcePlace {
    pub(crate) resource: GroupVersionResource,
    /// Empty for cluster-scoped kinds and all namespaces.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    pub(crate) subresource: String,
}

impl ResourcePlace {
    /// A namespace itself is asked for as if it were inside of itself.
    pub(crate) fn authorized_namespace(&self) -> &str {
        match self.resource.resource.as_str() {
            "namespaces" if self.resource.group.is_empty() => &self.name,
            _ => &self.namespace,
        }
    }
}

impl Info {
    /// The name that a list or watch selects counts as the name asked for, so that who may see one
    /// object may also watch it.
    pub(crate) fn authorized_name<'p>(&self, place: &'p ResourcePlace) -> Cow<'p, str> {
        let fields = self.query.get("fieldSelector");
        if !matches!(self.verb, Verb::List | Verb::Watch) || !fields.contains("metadata.name") {
            return Cow::Borrowed(&place.name);
        }
        let selected = FieldSelector::parse(fields).ok();
        let selected = selected.and_then(|s| s.exact("metadata.name").map(str::to_owned));
        selected.map_or(Cow::Borrowed(&place.name), Cow::Owned)
    }

    pub(crate) fn parse(method: &Method, uri: &Uri) -> Result<Self, Status> {
        let query = Query::parse(uri.query());
        let mut segments: Vec<String> = uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        // The old way to ask for a watch: `/api/v1/watch/namespaces/default/pods`.
        let at = if segments.first().is_some_and(|first| first == "apis") { 3 } else { 2 };
        let watches = segments.get(at).is_some_and(|segment| segment == "watch");
        if watches && *method != Method::GET {
            return Err(Status::method_not_allowed());
        }
        if watches {
            segments.remove(at);
        }
        let Some(place) = place(&segments) else {
            return Ok(Self { verb: Verb::Get, place: Place::Path, query });
        };
        let whole = place.name.is_empty();
        let verb = match *method {
            Method::GET if watches => Verb::Watch,
            Method::GET if whole && query.flag("watch") => Verb::Watch,
            Method::GET if whole => Verb::List,
            Method::GET => Verb::Get,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if whole => Verb::DeleteCollection,
            Method::DELETE => Verb::Delete,
            Method::OPTIONS | Method::HEAD if place.subresource == PROXY => Verb::Get,
            _ => return Err(Status::method_not_allowed()),
        };
        Ok(Self { verb, place: Place::Resource(place), query })
    }
}

fn place(segments: &[String]) -> Option<ResourcePlace> {
    let text = |segment: Option<&String>| segment.cloned().unwrap_or_default();
    let (group, version, rest) = match segments {
        [api, version, rest @ ..] if api == "api" => (String::new(), version, rest),
        [apis, group, version, rest @ ..] if apis == "apis" => (group.clone(), version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        [first, namespace, resource, rest @ ..]
            if first == "namespaces"
                && !(group.is_empty() && matches!(resource.as_str(), "status" | "finalize")) =>
        {
            (namespace.clone(), (resource, rest))
        }
        [resource, rest @ ..] => (String::new(), (resource, rest)),
        [] => return None,
    };
    let (resource, rest) = rest;
    Some(ResourcePlace {
        resource: GroupVersionResource::new(group, version.clone(), resource.clone()),
        namespace,
        name: text(rest.first()),
        subresource: match rest.get(1..) {
            // What follows is a path of the program behind.
            Some([proxy, ..]) if proxy == PROXY => PROXY.to_owned(),
            Some(parts) => parts.join("/"),
            None => String::new(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |method: &str, uri: &str, expected: &str| {
            let info = Info::parse(&method.parse().unwrap(), &uri.parse().unwrap()).unwrap();
            let verb = info.verb.as_str();
            let found = match info.place {
                Place::Path => "path".to_owned(),
                Place::Resource(p) => format!(
                    "{verb} {} ns={} name={} sub={}",
                    p.resource.group_resource(),
                    p.namespace,
                    p.name,
                    p.subresource
                ),
            };
            assert_eq!(found, expected, "{method} {uri}");
        };
        check("GET", "/api/v1/namespaces/d/pods", "list pods ns=d name= sub=");
        check("GET", "/api/v1/pods?watch=1", "watch pods ns= name= sub=");
        check("GET", "/api/v1/namespaces/d/pods/p/log?follow=true", "get pods ns=d name=p sub=log");
        check("POST", "/api/v1/namespaces", "create namespaces ns= name= sub=");
        check("PUT", "/api/v1/namespaces/d/finalize", "update namespaces ns= name=d sub=finalize");
        check(
            "DELETE",
            "/apis/apps/v1/namespaces/d/deployments/w",
            "delete deployments.apps ns=d name=w sub=",
        );
        check("DELETE", "/api/v1/namespaces/d/pods", "deletecollection pods ns=d name= sub=");
        check("GET", "/api/v1/watch/namespaces/d/pods/p", "watch pods ns=d name=p sub=");
        check("GET", "/apis/apps/v1/watch/deployments", "watch deployments.apps ns= name= sub=");
        check("GET", "/api/v1/namespaces/d/pods/p?watch=1", "get pods ns=d name=p sub=");
        let proxy = "/api/v1/namespaces/d/services/https:web:443/proxy";
        check("GET", &format!("{proxy}/a/b"), "get services ns=d name=https:web:443 sub=proxy");
        check("POST", proxy, "create services ns=d name=https:web:443 sub=proxy");
        check("OPTIONS", proxy, "get services ns=d name=https:web:443 sub=proxy");
        check("GET", "/apis/apps/v1", "path");
        check("GET", "/livez", "path");
    }
}
