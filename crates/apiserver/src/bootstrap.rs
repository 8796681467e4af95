//! The objects that are there before anyone has made one: the namespaces of the system with their
//! service accounts, the default roles and bindings, and the `kubernetes` Service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::try_join_all;
use onggi_api::{GroupVersionResource, Status};
use onggi_client::{Body, Request};
use onggi_machinery::resource::{self, Verb};
use serde_json::{Value, json};

use crate::authn::User;
use crate::authz::policy::{self, Plan};
use crate::cache;
use crate::registry::Context;
use crate::{ApiServer, Error, flowcontrol};

/// In the order of their making.
const NAMESPACES: &[&str] = &["kube-system", "kube-public", "kube-node-lease", "default"];

impl ApiServer {
    /// Makes what is missing; `advertise` is where pods reach this server.
    pub async fn bootstrap(self: &Arc<Self>, advertise: SocketAddr) -> Result<(), Error> {
        self.bootstrapping.store(true, Ordering::Relaxed);
        let made = self.make_first_objects(advertise).await;
        self.bootstrapping.store(made.is_err(), Ordering::Relaxed);
        made
    }

    async fn make_first_objects(self: &Arc<Self>, advertise: SocketAddr) -> Result<(), Error> {
        flowcontrol::ensure(self).await.map_err(|status| Error::Bootstrap {
            what: "flows and priority levels".to_owned(),
            status: Box::new(status),
        })?;
        for name in NAMESPACES {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            self.ensure("", "v1", "namespaces", "", namespace).await?;
        }
        for name in NAMESPACES {
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
            self.ensure("", "v1", "serviceaccounts", name, account).await?;
        }
        self.ensure_policy().await?;
        let address = self.registry.services.kubernetes_address().to_string();
        let labels = json!({"component": "apiserver", "provider": "kubernetes"});
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kubernetes", "labels": labels},
            "spec": {
                "clusterIP": address,
                "ports": [{
                    "name": "https", "port": 443, "protocol": "TCP",
                    "targetPort": advertise.port(),
                }],
            },
        });
        self.ensure("", "v1", "services", "default", service).await?;
        let family = if advertise.is_ipv4() { "IPv4" } else { "IPv6" };
        let endpoints = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": family,
            "endpoints": [{
                "addresses": [advertise.ip().to_string()],
                "conditions": {"ready": true},
            }],
            "ports": [{"name": "https", "port": advertise.port(), "protocol": "TCP"}],
        });
        self.ensure("discovery.k8s.io", "v1", "endpointslices", "default", endpoints).await
    }

    /// Makes the default roles and bindings, and gives back to them what they lack; all at once, so
    /// that they share a sync.
    async fn ensure_policy(self: &Arc<Self>) -> Result<(), Error> {
        let all = policy::objects().into_iter().map(|wanted| self.ensure_access(wanted));
        try_join_all(all).await.map(drop)
    }

    async fn ensure_access(self: &Arc<Self>, wanted: Value) -> Result<(), Error> {
        let text = |pointer: &str| crate::registry::text(&wanted, pointer).to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let Some(row) = resource::by_kind(policy::GROUP, "v1", &text("/kind")) else {
            return Ok(());
        };
        let failed = |status: Status| Error::Bootstrap {
            what: format!("{} {name}", row.plural),
            status: Box::new(status),
        };
        let key = cache::key(row, &namespace, &name);
        // The cache holds all that was there at the start.
        let stored = self.registry.cache.of(row).map_err(failed)?.get(&key);
        let requests = match &stored {
            None => vec![(Verb::Create, "", Some(wanted.clone()))],
            Some(stored) => {
                let stored = stored.value().map_err(|error| failed(Status::internal(error)))?;
                match policy::plan(&stored, &wanted) {
                    Plan::Nothing => return Ok(()),
                    Plan::Update(new) => vec![(Verb::Update, name.as_str(), Some(new))],
                    Plan::Replace(new) => {
                        vec![(Verb::Delete, name.as_str(), None), (Verb::Create, "", Some(new))]
                    }
                }
            }
        };
        let context = Context::new(User::new("system:apiserver", &["system:masters"]));
        for (verb, name, body) in requests {
            let request = Request::new(verb, row.gvr(), &namespace, name);
            let request = request.body(body.map_or(Body::None, Body::Object));
            self.handle(&context, request).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Creates an object, or brings all but its metadata to what it should be.
    async fn ensure(
        self: &Arc<Self>,
        group: &str,
        version: &str,
        plural: &str,
        namespace: &str,
        object: Value,
    ) -> Result<(), Error> {
        let name = crate::registry::text(&object, "/metadata/name").to_owned();
        let failed = |status: Status| Error::Bootstrap {
            what: format!("{plural} {name}"),
            status: Box::new(status),
        };
        let context = Context::new(User::new("system:apiserver", &["system:masters"]));
        let resource = GroupVersionResource::new(group, version, plural);
        let request = |verb, name: &str, body| {
            Request::new(verb, resource.clone(), namespace, name).body(body)
        };
        let create = request(Verb::Create, "", Body::Object(object.clone()));
        match self.handle(&context, create).await {
            Ok(_) => return Ok(()),
            Err(status) if status.is_already_exists() => {}
            Err(status) => return Err(failed(status)),
        }
        // Where the server is may have changed since the last start.
        if plural == "endpointslices" {
            let update = request(Verb::Update, &name, Body::Object(object));
            self.handle(&context, update).await.map_err(failed)?;
        }
        Ok(())
    }
}
