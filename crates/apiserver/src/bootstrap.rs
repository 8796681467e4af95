//! The objects that are there before anyone has made one: the namespaces of the system with their
//! service accounts, the default roles and bindings, the flows and levels of requests, the
//! `kubernetes` Service and the range it is from, the priority classes of the system, and an
//! `APIService` for each group.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use futures::future::try_join_all;
use onggi_api::{GroupVersionResource, Status};
use onggi_client::{Body, Request, Response};
use onggi_machinery::kinds::{apiservice, priorityclass};
use onggi_machinery::resource::{self, Verb};
use serde_json::{Value, json};

use crate::authn::User;
use crate::authz::policy::{self, Plan};
use crate::cache;
use crate::registry::Context;
use crate::{ApiServer, Error, flowcontrol, identity};

/// In the order of their making.
const NAMESPACES: &[&str] = &["kube-system", "kube-public", "kube-node-lease", "default"];

/// What is made again when somebody deletes it: plural, namespace, name.
const KEPT: [(&str, &str, &str); 9] = [
    ("namespaces", "", "kube-node-lease"),
    ("flowschemas", "", "exempt"),
    ("flowschemas", "", "catch-all"),
    ("prioritylevelconfigurations", "", "exempt"),
    ("prioritylevelconfigurations", "", "catch-all"),
    ("services", "default", "kubernetes"),
    ("endpointslices", "default", "kubernetes"),
    ("endpoints", "default", "kubernetes"),
    ("configmaps", "kube-system", "extension-apiserver-authentication"),
];
/// How long to wait when it could not be made.
const AGAIN: Duration = Duration::from_secs(10);

impl ApiServer {
    /// Makes what is missing; `advertise` is where pods reach this server.
    pub fn bootstrap(self: &Arc<Self>, advertise: SocketAddr) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.bootstrapping.store(true, Ordering::Relaxed);
            self.advertised.get_or_init(|| advertise);
            let made = self.make_first_objects(advertise).await;
            self.bootstrapping.store(made.is_err(), Ordering::Relaxed);
            if made.is_ok() {
                identity::start(self).await;
                for kept in KEPT {
                    tokio::spawn(Arc::clone(self).keep(kept, advertise));
                }
            }
            made
        })
    }

    /// Makes an object again whenever it is gone.
    async fn keep(
        self: Arc<Self>,
        kept: (&'static str, &'static str, &'static str),
        at: SocketAddr,
    ) {
        let (plural, namespace, name) = kept;
        let Some(row) = resource::all().iter().find(|row| row.plural == plural) else { return };
        let Ok(collection) = self.registry.cache.of(row) else { return };
        let key = cache::key(row, namespace, name);
        let mut changed = collection.subscribe();
        // What was just made may be on its way.
        if self.registry.cache.catch_up().await.is_err() {
            return;
        }
        loop {
            changed.mark_unchanged();
            if self.shutdown().is_cancelled() {
                return;
            }
            let made = match collection.get(&key) {
                Some(_) => Ok(()),
                None => self.make_first_objects(at).await,
            };
            if let Err(error) = made {
                tracing::warn!(%error, "{plural} {namespace}/{name} is gone");
                tokio::select! {
                    () = tokio::time::sleep(AGAIN) => continue,
                    () = self.shutdown().cancelled() => return,
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
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
        let authentication = self.authentication.clone();
        self.ensure("", "v1", "configmaps", "kube-system", authentication).await?;
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
        self.ensure("discovery.k8s.io", "v1", "endpointslices", "default", endpoints).await?;
        // The same for old clients; the slice above is no mirror of it.
        let endpoints = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": "kubernetes",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{
                "addresses": [{"ip": advertise.ip().to_string()}],
                "ports": [{"name": "https", "port": advertise.port(), "protocol": "TCP"}],
            }],
        });
        self.ensure("", "v1", "endpoints", "default", endpoints).await?;
        if !self.registry.root_ca.is_empty() {
            self.ensure_cluster_info(advertise).await?;
        }
        self.cluster_objects().await
    }

    /// `kube-public/cluster-info`: where the cluster is and what vouches for it. Bootstrap tokens
    /// sign it; their signatures stay, unless it changes.
    async fn ensure_cluster_info(self: &Arc<Self>, advertise: SocketAddr) -> Result<(), Error> {
        const NAME: &str = "cluster-info";
        let certificates = STANDARD.encode(&self.registry.root_ca);
        let kubeconfig = format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {certificates}\n    \
             server: https://{advertise}\n  name: \"\"\ncontexts: null\ncurrent-context: \"\"\n\
             kind: Config\nusers: null\n"
        );
        let resource = GroupVersionResource::new("", "v1", "configmaps");
        let context = Context::new(User::new("system:apiserver", &["system:masters"]));
        let get = Request::new(Verb::Get, resource, "kube-public", NAME);
        if let Ok(Response::Object { object, .. }) = self.handle(&context, get).await
            && object.value().is_ok_and(|map| map["data"]["kubeconfig"] == *kubeconfig)
        {
            return Ok(());
        }
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME},
            "data": {"kubeconfig": kubeconfig},
        });
        self.ensure("", "v1", "configmaps", "kube-public", map).await
    }

    /// What stands in no namespace; all at once, so that one sync of the disk does for many.
    async fn cluster_objects(self: &Arc<Self>) -> Result<(), Error> {
        const REGISTRATION: &str = "apiregistration.k8s.io";
        let range = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": [self.registry.services.range().to_string()]},
        });
        let groups: BTreeSet<_> = resource::all().iter().map(|r| (r.group, r.version)).collect();
        // Who answers for these two answers for himself.
        let served = groups.into_iter().filter(|(group, _)| *group != REGISTRATION);
        let services = served.map(|(group, version)| apiservice::local(group, version));
        let of = |group, plural| move |object| (group, plural, object);
        let objects = [("networking.k8s.io", "servicecidrs", range)]
            .into_iter()
            .chain(priorityclass::system().map(of("scheduling.k8s.io", "priorityclasses")))
            .chain(services.map(of(REGISTRATION, "apiservices")));
        let made =
            objects.map(|(group, plural, object)| self.ensure(group, "v1", plural, "", object));
        try_join_all(made).await?;
        self.range_is_ready().await
    }

    /// The range of the server itself is in use from the start.
    async fn range_is_ready(self: &Arc<Self>) -> Result<(), Error> {
        let failed = |status: Status| Error::Bootstrap {
            what: "status of servicecidrs kubernetes".to_owned(),
            status: Box::new(status),
        };
        let context = Context::new(User::new("system:apiserver", &["system:masters"]));
        let resource = GroupVersionResource::new("networking.k8s.io", "v1", "servicecidrs");
        let request = |verb| Request::new(verb, resource.clone(), "", "kubernetes");
        let found = self.handle(&context, request(Verb::Get)).await.map_err(failed)?;
        let Response::Object { object, .. } = found else { return Ok(()) };
        let mut range = object.value().map_err(|error| failed(Status::internal(error)))?;
        if range["status"]["conditions"].is_array() {
            return Ok(());
        }
        range["status"] = json!({"conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "Default",
            "message": "Kubernetes Service CIDR is ready",
            "lastTransitionTime": self.registry.clock.rfc3339(),
        }]});
        let update = request(Verb::Update).subresource("status").body(Body::Object(range));
        self.handle(&context, update).await.map_err(failed)?;
        Ok(())
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
        let mut context = Context::new(User::new("system:apiserver", &["system:masters"]));
        // A server that nobody else can reach says so.
        context.unchecked = matches!(plural, "endpoints" | "endpointslices");
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
        // Where the server is, and what vouches for it, may have changed since the last start.
        if matches!(plural, "endpoints" | "endpointslices" | "configmaps") {
            let update = request(Verb::Update, &name, Body::Object(object));
            self.handle(&context, update).await.map_err(failed)?;
        }
        Ok(())
    }
}
