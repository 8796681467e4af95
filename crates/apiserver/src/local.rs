//! The transport inside the process: a call into the same chain that HTTP requests go through.

use std::sync::Arc;

use async_trait::async_trait;
use onggi_client::transport::Error;
use onggi_client::{EventStream, Request, Response, Transport, WatchSpec};
use serde_json::Value;

use crate::ApiServer;
use crate::admission::Notes;
use crate::authn::User;
use crate::registry::Context;

/// A server and who calls it.
pub(crate) struct LocalTransport {
    server: Arc<ApiServer>,
    context: Context,
}

impl LocalTransport {
    pub(crate) fn new(server: Arc<ApiServer>, user: User) -> Self {
        Self { server, context: Context::new(user) }
    }
}

#[async_trait]
impl Transport for LocalTransport {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        let context = Context { notes: Notes::default(), ..self.context.clone() };
        Ok(self.server.handle(&context, request).await?)
    }

    async fn watch(&self, spec: WatchSpec) -> Result<EventStream, Error> {
        let Context { user, user_agent, .. } = &self.context;
        Ok(self.server.handle_watch(user, user_agent, &spec).await?)
    }

    async fn aggregated(&self) -> Result<Value, Error> {
        Ok(self.server.aggregation.others())
    }
}
