//! Requests of this process to aggregated servers: what the namespace controller and the garbage
//! collector do with the kinds of others.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use onggi_api::Status;
use onggi_client::http::{self as over, Carrier};
use onggi_client::transport::Error;
use onggi_client::{EventStream, Request, Response, WatchSpec};
use serde_json::{Value, json};

use super::{Aggregation, Route, discovery, proxy};
use crate::authn::User;

/// How long one may take that is no watch.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server, and who asks it.
struct Asked<'a> {
    aggregation: &'a Aggregation,
    route: &'a Route,
    user: &'a User,
}

#[async_trait]
impl Carrier for Asked<'_> {
    async fn carry(
        &self,
        mut request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Error> {
        let Self { aggregation, route, user } = self;
        if !route.available {
            return Err(Status::unavailable("service unavailable").into());
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = route.remote.uri(path).map_err(Error::Decode)?;
        *request.uri_mut() = uri;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        proxy::identify(request.headers_mut(), user).map_err(Error::Decode)?;
        let request = request.map(|body| body.map_err(|never| match never {}).boxed_unsync());
        let sent = route.remote.send(aggregation, request).await;
        sent.map_err(|message| Error::Connection { server: self.server(), message })
    }

    fn server(&self) -> String {
        format!("https://{}:{}", self.route.remote.place().host(), self.route.remote.place().port)
    }
}

impl Aggregation {
    /// Any verb but watch, at the server that answers for it.
    pub(crate) async fn call(
        &self,
        route: &Route,
        user: &User,
        request: Request,
    ) -> Result<Response, Status> {
        let asked = Asked { aggregation: self, route, user };
        over::call(&asked, request, TIMEOUT).await.map_err(status)
    }

    /// A watch, at the server that answers for it.
    pub(crate) async fn watch(
        &self,
        route: &Route,
        user: &User,
        spec: WatchSpec,
    ) -> Result<EventStream, Status> {
        let asked = Asked { aggregation: self, route, user };
        over::watch(&asked, spec, TIMEOUT).await.map_err(status)
    }

    /// What the others serve, as far as is known (`APIGroupDiscoveryList`).
    pub(crate) fn others(&self) -> Value {
        let routes = self.routes();
        let known = self.known.lock().clone();
        json!({"items": discovery::merge(&[], &routes, &known)})
    }
}

fn status(error: Error) -> Status {
    match error {
        Error::Status(status) => *status,
        other => Status::unavailable(format!("error trying to reach service: {other}")),
    }
}
