//! What the server and the kubeconfig know.

use onggi_machinery::value::{list_at, str_at};
use serde_json::Value;

use crate::error::Error;
use crate::path::path;
use crate::session::Session;
use crate::verbs::exec::pod;

/// Names are all that is asked for.
const NAMES: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                     application/json";

/// The names of the objects of a kind, in the session's namespace.
pub(super) async fn names(session: &Session, kind: &str) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for kind in kind.split(',') {
        let mapping = session.mapper().await?.by_name(kind)?;
        let namespace = session.namespace();
        let path = path(&mapping.gvr(), mapping.place(&namespace), "", "", &[]);
        let list = session.get(&path, NAMES).await?;
        let items = list_at(&list, "items").iter();
        found.extend(items.map(|item| str_at(item, "metadata.name").to_owned()));
    }
    Ok(found)
}

/// The kinds that can be listed.
pub(super) async fn kinds(session: &Session) -> Result<Vec<String>, Error> {
    let all = session.mapper().await?.preferred();
    // Whose kinds have all moved to other groups.
    let listed = all.filter(|mapping| mapping.group != "extensions");
    let listed = listed.filter(|mapping| mapping.verbs.iter().any(|verb| verb == "list"));
    let mut names: Vec<String> = listed.map(|mapping| mapping.group_resource()).collect();
    names.sort();
    Ok(names)
}

pub(super) fn contexts(session: &Session) -> Result<Vec<String>, Error> {
    entries(session, "contexts")
}

/// The names in a list of the kubeconfig.
pub(super) fn entries(session: &Session, list: &str) -> Result<Vec<String>, Error> {
    let content = crate::verbs::config::content(session)?;
    Ok(list_at(&content, list).iter().map(|one| str_at(one, "name").to_owned()).collect())
}

/// The pod that the first argument names.
async fn first_pod(session: &Session, args: &[String]) -> Result<Value, Error> {
    match args.first() {
        Some(named) => pod(session, named).await,
        None => Ok(Value::Null),
    }
}

pub(super) async fn containers(session: &Session, args: &[String]) -> Result<Vec<String>, Error> {
    let pod = first_pod(session, args).await?;
    let lists = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"];
    let all = lists.iter().flat_map(|list| list_at(&pod, list));
    Ok(all.map(|container| str_at(container, "name").to_owned()).collect())
}

pub(super) async fn ports(session: &Session, args: &[String]) -> Result<Vec<String>, Error> {
    let named = args.first().map_or("", String::as_str);
    if let Some((kind, name)) = named.split_once('/') {
        let mapping = session.mapper().await?.by_name(kind)?;
        if mapping.kind == "Service" {
            let service = session.object(mapping, &session.namespace(), name).await?;
            let ports = list_at(&service, "spec.ports").iter();
            return Ok(ports.map(|port| port["port"].to_string()).collect());
        }
    }
    let pod = first_pod(session, args).await?;
    let ports = list_at(&pod, "spec.containers").iter().flat_map(|c| list_at(c, "ports"));
    Ok(ports.map(|port| port["containerPort"].to_string()).collect())
}
