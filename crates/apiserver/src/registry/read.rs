//! Get, list, watch.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use onggi_api::{Object, Status};
use onggi_client::{EventStream, ListMeta, Request, Response, WatchSpec};
use onggi_machinery::resource::Resource;
use onggi_store::{Error as StoreError, RangeRequest};
use serde::{Deserialize, Serialize};

use super::{Registry, store_status};
use crate::cache::{self, Selection};

/// Where a list goes on: as Kubernetes' `continue`, opaque to clients.
#[derive(Serialize, Deserialize)]
struct Continue {
    #[serde(rename = "rv")]
    revision: u64,
    #[serde(rename = "start")]
    after: String,
}

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent \
    list result. You must start a new list without the continue parameter.";

impl Registry {
    /// GET of an object.
    pub(crate) async fn get(
        &self,
        row: &'static Resource,
        request: &Request,
    ) -> Result<Response, Status> {
        let object = self.current(row, &request.namespace, &request.name).await?;
        Ok(Response::Object { object, created: false, warnings: Vec::new() })
    }

    /// GET of a collection.
    pub(crate) async fn list(
        &self,
        row: &'static Resource,
        request: &Request,
    ) -> Result<Response, Status> {
        let options = &request.list;
        let selection = Selection::parse(
            row,
            &request.namespace,
            &options.label_selector,
            &options.field_selector,
        )?;
        let prefix = self.cache.of(row)?.prefix(&request.namespace);
        if !options.continue_token.is_empty() {
            if !matches!(options.resource_version.as_str(), "" | "0") {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let place = decode_continue(&options.continue_token)?;
            let after = format!("{prefix}{}", place.after);
            return self.page(row, &selection, place.revision, Some(after), options.limit).await;
        }
        let asked = revision(&options.resource_version)?;
        match (asked, options.resource_version_match.as_str()) {
            (_, "") | (Some(_), "NotOlderThan") => {}
            (Some(0), "Exact") => {
                return Err(invalid_match(
                    "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
            (Some(revision), "Exact") => {
                self.cache.wait_for(revision).await?;
                return self.page(row, &selection, revision, None, options.limit).await;
            }
            (None, _) => {
                return Err(invalid_match(
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            (_, other) => {
                return Err(invalid_match(&format!(
                    "resourceVersionMatch: Unsupported value: {other:?}"
                )));
            }
        }
        match asked {
            None => self.cache.catch_up().await?,
            Some(revision) => self.cache.wait_for(revision).await?,
        }
        let snapshot = self.cache.of(row)?.list(&selection, self.cache.applied(), options.limit);
        let mut meta = ListMeta { resource_version: snapshot.revision, ..ListMeta::default() };
        if snapshot.remaining > 0 {
            meta.continue_token = encode_continue(&prefix, snapshot.revision, snapshot.last_key);
            meta.remaining = selection.is_everything().then_some(snapshot.remaining);
        }
        Ok(Response::List { meta, items: snapshot.items })
    }

    /// A page at a revision, from the store's history.
    async fn page(
        &self,
        row: &'static Resource,
        selection: &Selection,
        revision: u64,
        mut start_after: Option<String>,
        limit: usize,
    ) -> Result<Response, Status> {
        let prefix = self.cache.of(row)?.prefix(&selection.namespace);
        let mut items: Vec<Arc<Object>> = Vec::new();
        let mut meta = ListMeta { resource_version: revision, ..ListMeta::default() };
        loop {
            let request = RangeRequest {
                prefix: prefix.clone(),
                start_after: start_after.take(),
                revision: Some(revision),
                // Selections leave out some: what is missing is read in further rounds.
                limit: if limit == 0 { 0 } else { limit - items.len() },
            };
            let range = self.store.range(request).await.map_err(|error| match error {
                StoreError::Compacted { .. } => Status::expired(CONTINUE_EXPIRED),
                other => store_status(other),
            })?;
            let last = range.items.last().map(|kv| Arc::clone(&kv.key));
            for kv in &range.items {
                let object = self.decode(row, kv)?;
                if selection.matches(object.head()) {
                    items.push(object);
                }
            }
            if !range.more() {
                break;
            }
            if limit > 0 && items.len() >= limit {
                meta.continue_token = encode_continue(&prefix, revision, last);
                meta.remaining = selection.is_everything().then_some(range.remaining);
                break;
            }
            start_after = last.map(|key| key.to_string());
        }
        Ok(Response::List { meta, items })
    }

    /// Watch; the check of who may has been done.
    pub(crate) async fn watch(
        &self,
        row: &'static Resource,
        spec: &WatchSpec,
    ) -> Result<EventStream, Status> {
        cache::open_watch(&self.cache, row, spec).await
    }
}

/// `resourceVersion` of a query: `None` is the most recent.
pub(crate) fn revision(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Status::bad_request(format!("resourceVersion: Invalid value: {text:?}: must be a number"))
    })
}

fn invalid_match(message: &str) -> Status {
    Status::bad_request(message)
}

fn encode_continue(prefix: &str, revision: u64, last: Option<Arc<str>>) -> String {
    let last = last.as_deref().unwrap_or_default();
    let after = last.strip_prefix(prefix).unwrap_or(last).to_owned();
    let text = serde_json::to_vec(&Continue { revision, after }).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(text)
}

fn decode_continue(token: &str) -> Result<Continue, Status> {
    URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Status::bad_request("continue key is not valid: it is not one of ours"))
}
