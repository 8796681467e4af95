//! The objects that are there before anyone has made one: the namespaces of the system with their
//! service accounts, and the `kubernetes` Service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use onggi_api::{GroupVersionResource, Status};
use onggi_client::{Body, Request};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};

use crate::authn::User;
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
