//! The server itself: what it is made of, who may do what, which verb goes where.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use onggi_api::{Cidr, GroupVersionKind, GroupVersionResource, Status};
use onggi_base::Clock;
use onggi_client::node::NodeConnector;
use onggi_client::{Body, EventStream, Request, Response, Transport, WatchSpec};
use onggi_machinery::conversion;
use onggi_machinery::resource::{Resource, Verb};
use onggi_machinery::schema::{self, FieldValidation};
use onggi_store::Store;
use parking_lot::RwLock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Anonymous};
use crate::admission::{self, Admission, Attributes as Admitting, Operation, Plugins};
use crate::aggregation::{self, Aggregation};
use crate::audit::{self, Audit, Record};
use crate::authn::{Authenticators, TokenAuthority, User};
use crate::authz::{self, Attributes, Chain, Decision, Target};
use crate::cache::Cache;
use crate::compaction;
use crate::custom::{self, CustomKinds};
use crate::detach::Detach;
use crate::expiry;
use crate::flowcontrol::{self, FlowControl};
use crate::http::{Batches, Checks, Forms};
use crate::identity::Identity;
use crate::local::LocalTransport;
use crate::metered::Metered;
use crate::metrics::Metrics;
use crate::registry::{Context, Part, Registry, Structurals, is_review};
use crate::rest::{self, Components, ServiceAllocator};
use crate::served::Catalog;
use crate::upsert;
use crate::versions;

/// `gitVersion` of `/version`: the Kubernetes version that is served, and who serves it.
pub const VERSION: &str = "v1.36.2+onggi";

/// What a server needs.
pub struct Options {
    /// Where the objects lie.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Cluster addresses of services.
    pub service_cidr: Cidr,
    /// Node ports of services; Kubernetes' default is 30000 to 32767.
    pub node_ports: RangeInclusive<u16>,
    /// The key that signs tokens of service accounts: P-256, PKCS #8, PEM.
    pub token_key: String,
    /// Issuer of these tokens; Kubernetes' default is `https://kubernetes.default.svc.cluster.local`.
    pub issuer: String,
    /// Who is let in, and what they may.
    pub access: Access,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be read.
    #[error("cannot read the store: {0}")]
    Store(#[from] onggi_store::Error),
    /// The key for tokens is none.
    #[error("the key for service account tokens cannot be used: {0}")]
    TokenKey(String),
    /// An option of [`Access`] cannot be used.
    #[error("{0}")]
    Access(String),
    /// A first object could not be made.
    #[error("cannot create {what}: {status}")]
    Bootstrap {
        /// Such as `namespace kube-system`.
        what: String,
        /// Why.
        status: Box<Status>,
    },
    /// A listener failed.
    #[error("cannot accept connections: {0}")]
    Accept(std::io::Error),
}

/// The API server.
pub struct ApiServer {
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) flow_control: FlowControl,
    pub(crate) aggregation: Aggregation,
    /// What aggregated servers are told: a ConfigMap.
    pub(crate) authentication: serde_json::Value,
    /// `None`: no audit log.
    pub(crate) audit: Option<Audit>,
    /// Whether the first objects are being made.
    pub(crate) bootstrapping: AtomicBool,
    pub(crate) forms: Forms,
    pub(crate) batches: Batches,
    /// Where it tells clients to reach it, from its first objects on.
    pub(crate) advertised: OnceLock<SocketAddr>,
    /// Documents are made one at a time.
    pub(crate) making: tokio::sync::Mutex<()>,
    /// What the checks of health have found.
    pub(crate) checks: Checks,
    /// Options as `/flagz` shows them.
    pub(crate) flags: BTreeMap<&'static str, String>,
    /// Seconds since 1970.
    pub(crate) began: i64,
    /// Set when it has its Lease.
    pub(crate) identity: OnceLock<Identity>,
    nodes: RwLock<Option<Arc<dyn NodeConnector>>>,
    shutdown: CancellationToken,
}

impl ApiServer {
    /// Reads the store. Requests can be handled when this answers.
    pub async fn open(options: Options) -> Result<Arc<Self>, Error> {
        Self::open_with(options, Plugins::default()).await
    }

    /// [`ApiServer::open`] with other admission plugins than the usual ones.
    pub fn open_with(
        options: Options,
        plugins: Plugins,
    ) -> BoxFuture<'static, Result<Arc<Self>, Error>> {
        Box::pin(async move {
            let shutdown = CancellationToken::new();
            let (flags, began) = (flags(&options, &plugins), options.clock.seconds());
            let tokens = TokenAuthority::new(
                &options.token_key,
                &options.access.verify_keys,
                &options.issuer,
            )
            .map_err(Error::TokenKey)?;
            let audit = options.access.audit.as_ref();
            let audit = audit.map(|audit| Audit::open(audit, Arc::clone(&options.clock)));
            let audit = audit.transpose().map_err(Error::Access)?;
            let metrics = Arc::new(Metrics::default());
            let store: Arc<dyn Store> = Arc::new(Metered::new(options.store, Arc::clone(&metrics)));
            let kinds = Arc::new(CustomKinds::default());
            let cache =
                Cache::start(Arc::clone(&store), Arc::clone(&kinds), shutdown.clone()).await?;
            let authentication = aggregation::authentication(&options.access);
            let front = options.access.front_proxy.clone();
            let server = Arc::new(Self {
                aggregation: Aggregation::new(Arc::clone(&cache), front),
                authentication,
                registry: Registry {
                    store,
                    authorizers: Chain::new(&options.access, &cache).map_err(Error::Access)?,
                    authenticators: Authenticators::new(tokens, &options.access)
                        .map_err(Error::Access)?,
                    root_ca: options.access.root_ca,
                    components: Components::default(),
                    paged: AtomicU64::new(0),
                    cache,
                    kinds,
                    webhooks: Arc::default(),
                    clock: options.clock,
                    structurals: Structurals::default(),
                    services: ServiceAllocator::new(options.service_cidr, options.node_ports),
                    admission: Admission::new(plugins),
                },
                metrics,
                flow_control: FlowControl::new(),
                audit,
                bootstrapping: AtomicBool::new(false),
                forms: Forms::default(),
                batches: Batches::default(),
                advertised: OnceLock::new(),
                making: tokio::sync::Mutex::default(),
                checks: Checks::default(),
                flags,
                began,
                identity: OnceLock::new(),
                nodes: RwLock::default(),
                shutdown,
            });
            server.registry.admission.attach(&server);
            server.aggregation.attach(&server);
            tokio::spawn(expiry::run(Arc::downgrade(&server), server.shutdown.clone()));
            tokio::spawn(compaction::run(Arc::downgrade(&server), server.shutdown.clone()));
            tokio::spawn(flowcontrol::run(Arc::downgrade(&server)));
            tokio::spawn(aggregation::run(Arc::downgrade(&server), server.shutdown.clone()));
            tokio::spawn(custom::run_lifecycle(Arc::downgrade(&server), server.shutdown.clone()));
            Ok(server)
        })
    }

    /// The way in for components of this process: no socket, no bytes, the same checks.
    pub fn transport(self: &Arc<Self>, user: User) -> Arc<dyn Transport> {
        Arc::new(LocalTransport::new(Arc::clone(self), user))
    }

    /// How nodes are reached for logs and exec.
    pub fn set_node_connector(&self, connector: Arc<dyn NodeConnector>) {
        *self.nodes.write() = Some(connector);
    }

    /// Tells that a component of the control plane runs in this process: `scheduler` or
    /// `controller-manager`, of which `componentstatuses` tells.
    pub fn add_component(&self, name: &str) {
        self.registry.components.add(name);
    }

    /// Ends watches, streams and [`Self::serve`]; the store is the caller's to close.
    pub fn close(&self) {
        self.shutdown.cancel();
    }

    /// Ends when the audit log holds all events so far.
    pub async fn flush_audit(&self) {
        if let Some(audit) = &self.audit {
            audit.flush().await;
        }
    }

    /// What is served, with its documents.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.registry.kinds.snapshot().catalog()
    }

    /// What is served with aggregated servers; `None` where there are none.
    pub(crate) fn documents(&self) -> Option<Arc<aggregation::Documents>> {
        self.aggregation.documents(&self.catalog())
    }

    pub(crate) fn nodes(&self) -> Option<Arc<dyn NodeConnector>> {
        self.nodes.read().clone()
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Whether it is allowed, or 403.
    pub(crate) async fn authorize(
        &self,
        attributes: &Attributes<'_>,
        record: Option<&mut Record>,
    ) -> Result<(), Status> {
        let decision = self.registry.authorizers.ask(attributes).await;
        if let Some(record) = record {
            record.decided(&decision);
        }
        self.metrics.decided(match &decision {
            Decision::Allow(_) => Some(true),
            Decision::Deny(_) => Some(false),
            Decision::NoOpinion(_) => None,
        });
        match decision {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => {
                Err(authz::forbidden(attributes, &why.to_string()))
            }
        }
    }

    /// The record of a request inside of the process.
    async fn record(
        &self,
        asked: &Attributes<'_>,
        resource: &GroupVersionResource,
        user_agent: &str,
    ) -> Option<Record> {
        let audit = self.audit.as_ref()?;
        let Attributes { user, verb, target } = asked;
        let now = self.registry.clock.now();
        audit.begin(audit::local::arrival(user, user_agent, verb, resource, target, now)).await
    }

    /// Any verb but watch, by a user.
    pub(crate) fn handle<'a>(
        self: &'a Arc<Self>,
        context: &'a Context,
        request: Request,
    ) -> BoxFuture<'a, Result<Response, Status>> {
        Box::pin(async move {
            let verb = match request.verb {
                Verb::Delete if request.name.is_empty() => Verb::DeleteCollection,
                verb => verb,
            };
            let (name, selector) = match verb {
                Verb::List | Verb::DeleteCollection => selected(&request.list.field_selector),
                _ => (request.name.as_str(), ""),
            };
            let GroupVersionResource { group, resource, .. } = &request.resource;
            let target = Target::Resource {
                group,
                resource,
                subresource: &request.subresource,
                namespace: &request.namespace,
                name,
                selector,
            };
            let asked = Attributes { user: &context.user, verb: verb.as_str(), target };
            let Some(mut record) =
                self.record(&asked, &request.resource, &context.user_agent).await
            else {
                self.authorize(&asked, None).await?;
                return self.carry_out(context, request).await;
            };
            let allowed = self.authorize(&asked, Some(&mut record)).await;
            record.reads(&context.notes);
            let done = match allowed {
                Ok(()) => {
                    record.asked(&request.body);
                    self.carry_out(context, request).await
                }
                Err(status) => Err(status),
            };
            let code = match &done {
                Ok(response) => {
                    record.answers(response);
                    match response {
                        Response::Object { created: true, .. }
                        | Response::Document { created: true, .. } => 201,
                        _ => 200,
                    }
                }
                Err(status) => {
                    record.fails(status);
                    status.code
                }
            };
            record.complete(code, false).await;
            done
        })
    }

    /// Any verb but watch, here or at the aggregated server that answers for its group.
    async fn carry_out(
        self: &Arc<Self>,
        context: &Context,
        request: Request,
    ) -> Result<Response, Status> {
        let GroupVersionResource { group, version, .. } = &request.resource;
        match self.aggregation.route(group, version) {
            Some(route) => self.aggregation.call(&route, &context.user, request).await,
            None => self.perform(context.clone(), request).await,
        }
    }

    /// Any verb but watch; who may has been decided. A write goes on to its end when the caller
    /// goes away: what it holds, such as an address, must not be given out again before that.
    pub(crate) fn perform(
        self: &Arc<Self>,
        context: Context,
        request: Request,
    ) -> BoxFuture<'_, Result<Response, Status>> {
        Box::pin(async move {
            if matches!(request.verb, Verb::Get | Verb::List) {
                return self.dispatch(&context, request).await;
            }
            let server = Arc::clone(self);
            let write = async move { server.dispatch(&context, request).await };
            Detach::new(AssertUnwindSafe(write).catch_unwind()).await.unwrap_or_else(|_| {
                tracing::error!("a write panicked");
                Err(Status::internal("this request made the server fail"))
            })
        })
    }

    /// A watch by a user; who it is matters only when it opens.
    pub(crate) async fn handle_watch(
        &self,
        user: &User,
        user_agent: &str,
        spec: &WatchSpec,
    ) -> Result<EventStream, Status> {
        let GroupVersionResource { group, resource, .. } = &spec.resource;
        let (name, selector) = selected(&spec.field_selector);
        let target = Target::Resource {
            group,
            resource,
            subresource: "",
            namespace: &spec.namespace,
            name,
            selector,
        };
        let asked = Attributes { user, verb: "watch", target };
        let Some(mut record) = self.record(&asked, &spec.resource, user_agent).await else {
            self.authorize(&asked, None).await?;
            return self.begin_watch(user, spec).await;
        };
        let opened = match self.authorize(&asked, Some(&mut record)).await {
            Ok(()) => self.begin_watch(user, spec).await,
            Err(status) => Err(status),
        };
        match opened {
            Ok(events) => {
                record.started(200).await;
                // It ends with the watch.
                Ok(Box::pin(events.inspect(move |_| {
                    let _open = &record;
                })))
            }
            Err(status) => {
                record.fails(&status);
                record.complete(status.code, false).await;
                Err(status)
            }
        }
    }

    async fn begin_watch(&self, user: &User, spec: &WatchSpec) -> Result<EventStream, Status> {
        match self.aggregation.route(&spec.resource.group, &spec.resource.version) {
            Some(route) => self.aggregation.watch(&route, user, spec.clone()).await,
            None => self.open_watch(spec, None).await,
        }
    }

    /// `ends`: when the watch will be cut off, where that is known.
    pub(crate) async fn open_watch(
        &self,
        spec: &WatchSpec,
        ends: Option<Instant>,
    ) -> Result<EventStream, Status> {
        let row = self.row(&spec.resource)?;
        if !row.verbs.contains(&Verb::Watch) {
            return Err(Status::method_not_allowed());
        }
        let Some(version) = versions::find(&spec.resource) else {
            return self.registry.watch(row, spec, ends).await;
        };
        let field_selector = versions::field_selector(version, &spec.field_selector)?;
        let spec = WatchSpec { field_selector, ..spec.clone() };
        let events = self.registry.watch(row, &spec, ends).await?;
        Ok(versions::watch(version, events))
    }

    /// The row of a path, or 404; for a path of an old version the row that it is read as.
    pub(crate) fn row(&self, resource: &GroupVersionResource) -> Result<&'static Resource, Status> {
        self.registry.row(resource)
    }

    fn dispatch<'a>(
        &'a self,
        context: &'a Context,
        mut request: Request,
    ) -> BoxFuture<'a, Result<Response, Status>> {
        Box::pin(async move {
            let Some(version) = versions::find(&request.resource) else {
                return self.dispatch_current(context, request).await;
            };
            if let Some(gone) = versions::gone(version, &request.subresource) {
                self.metrics.deprecated(gone);
            }
            let (context, warnings) = versions::enter(version, context, &mut request)?;
            let response = self.dispatch_current(&context, request).await?;
            versions::leave(version, response, warnings)
        })
    }

    async fn dispatch_current(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Response, Status> {
        let row = self.row(&request.resource)?;
        check_scope(row, request.verb, &request.namespace, &request.name)?;
        let registry = &self.registry;
        let verb = request.verb;
        if !request.subresource.is_empty() {
            return self.dispatch_subresource(context, row, request).await;
        }
        if !row.verbs.contains(&verb) {
            return Err(Status::method_not_allowed());
        }
        if !row.deprecated.is_empty() {
            context.notes.warn(row.deprecated);
            self.metrics.deprecated((row.group, row.version, row.plural, "", ""));
        }
        if !row.verbs.contains(&Verb::Delete)
            && let Some(answer) = rest::computed(registry, context, row, &request).await
        {
            return answer;
        }
        if upsert::may_create(row, &request) {
            return self.upsert(context, row, request).await;
        }
        match verb {
            Verb::Get => registry.get(row, &request).await,
            Verb::List => registry.list(row, &request).await,
            Verb::Create if is_review(row) => registry.review(context, row, request).await,
            Verb::Create => registry.create(context, row, request).await,
            Verb::Update => registry.update(context, row, Part::Main, request).await,
            Verb::Patch => registry.patch(context, row, Part::Main, &request).await,
            Verb::Delete => registry.delete(context, row, &request).await,
            Verb::DeleteCollection => registry.delete_collection(context, row, &request).await,
            Verb::Watch => Err(Status::bad_request("a watch is opened through Transport::watch")),
        }
    }

    async fn dispatch_subresource(
        &self,
        context: &Context,
        row: &'static Resource,
        mut request: Request,
    ) -> Result<Response, Status> {
        let part = row.subresource(&request.subresource).ok_or_else(Status::no_such_path)?;
        if !part.verbs.contains(&request.verb) {
            return Err(Status::method_not_allowed());
        }
        let registry = &self.registry;
        let stored = match part.name {
            "status" => Some(Part::Status),
            "approval" => Some(Part::Whole("approval")),
            _ => None,
        };
        if let Some(part) = stored {
            return match request.verb {
                Verb::Get => registry.get(row, &request).await,
                Verb::Update => registry.update(context, row, part, request).await,
                Verb::Patch if upsert::is_apply(&request) => {
                    registry.apply(context, row, part, &request).await
                }
                Verb::Patch => registry.patch(context, row, part, &request).await,
                _ => Err(Status::method_not_allowed()),
            };
        }
        if let Body::Object(value) = &mut request.body {
            let (group, version, kind) = part.kind;
            let kind = GroupVersionKind {
                group: group.into(),
                version: version.into(),
                kind: kind.into(),
            };
            conversion::modern_part(value, &kind.api_version());
            schema::admit(value, &kind, FieldValidation::Ignore)
                .map_err(|problem| crate::registry::problem_status(&problem))?;
            // What is sent to an action is admitted as it is; parts of the object itself are where
            // they are written.
            if request.verb == Verb::Create {
                let attributes = Admitting {
                    context,
                    row,
                    namespace: &request.namespace,
                    name: &request.name,
                    subresource: part.name,
                    operation: Operation::Create,
                    options: admission::Options::Write(&request.write),
                    old: None,
                };
                admission::mutate(registry, &attributes, value).await?;
                admission::validate(registry, &attributes, value).await?.done();
            }
        }
        rest::hooks(row).subresource(registry, context, row, &request).await
    }
}

/// What a server was told, by the names of kube-apiserver's options; no keys and no tokens.
fn flags(options: &Options, plugins: &Plugins) -> BTreeMap<&'static str, String> {
    let Options { service_cidr, node_ports, issuer, access, .. } = options;
    let modes: Vec<String> = access
        .modes
        .iter()
        .filter_map(|mode| serde_json::to_value(mode).ok()?.as_str().map(str::to_owned))
        .collect();
    let audiences = if access.api_audiences.is_empty() {
        issuer.clone()
    } else {
        access.api_audiences.join(",")
    };
    BTreeMap::from([
        ("anonymous-auth", (access.anonymous != Anonymous::Nowhere).to_string()),
        ("api-audiences", format!("[{audiences}]")),
        ("authorization-mode", format!("[{}]", modes.join(","))),
        ("enable-admission-plugins", format!("[{}]", plugins.names().join(","))),
        ("enable-bootstrap-token-auth", access.bootstrap_tokens.to_string()),
        ("service-account-issuer", format!("[{issuer}]")),
        ("service-cluster-ip-range", service_cidr.to_string()),
        ("service-node-port-range", format!("{}-{}", node_ports.start(), node_ports.end())),
    ])
}

/// What the field selector of a list or watch means for authorization: the one name that it selects
/// (empty: none in particular), and the selector itself.
pub(crate) fn selected(selector: &str) -> (&str, &str) {
    let name = selector.split(',').find_map(|term| {
        let name = term.strip_prefix("metadata.name=")?;
        let name = name.strip_prefix('=').unwrap_or(name);
        (!name.is_empty() && !name.contains(['=', '\\'])).then_some(name)
    });
    (name.unwrap_or_default(), selector)
}

/// Whether there is such a path: of kinds in namespaces only the whole list goes across them, and of
/// custom kinds nothing else is known there at all.
pub(crate) fn check_scope(
    row: &Resource,
    verb: Verb,
    namespace: &str,
    name: &str,
) -> Result<(), Status> {
    match (row.namespaced(), namespace.is_empty()) {
        (true, false) | (false, true) => return Ok(()),
        (false, false) => return Err(Status::no_such_path()),
        (true, true) => {}
    }
    let whole = name.is_empty() && row.verbs.contains(&Verb::List);
    match verb {
        Verb::List | Verb::Watch if whole => Ok(()),
        _ if whole && row.custom.is_none() => Err(Status::method_not_allowed()),
        _ => Err(Status::no_such_path()),
    }
}
