//! Get, list, watch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use onggi_api::{FieldError, FieldPath, Object, Status};
use onggi_client::{EventStream, ListMeta, ListOptions, Request, Response, WatchSpec};
use onggi_machinery::resource::Resource;
use onggi_store::{Error as StoreError, RangeRequest};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Registry, store_status};
use crate::cache::{self, Selection};

/// Where a list goes on: as Kubernetes' `continue`, opaque to clients.
#[derive(Serialize, Deserialize)]
struct Continue {
    #[serde(rename = "v")]
    version: String,
    /// [`NEWEST`]: whatever is there now.
    #[serde(rename = "rv")]
    revision: i64,
    /// The last key, and a zero byte, below the prefix of the list.
    start: String,
}

const CONTINUE_VERSION: &str = "meta.k8s.io/v1";
/// The revision in the token of a list that goes on although its own is gone.
const NEWEST: i64 = -1;

const LIST_EXPIRED: &str = "The resourceVersion for the provided list is too old.";
const INCONSISTENT: &str = "The provided continue parameter is too old to display a consistent \
    list result. You can start a new list without the continue parameter, or use the continue \
    token in this response to retrieve the remainder of the results. Continuing with the provided \
    token results in an inconsistent list - objects that were created, modified, or deleted \
    between the time the first chunk was returned and now may show up in the list.";

impl Registry {
    /// GET of an object.
    pub(crate) async fn get(
        &self,
        row: &'static Resource,
        request: &Request,
    ) -> Result<Response, Status> {
        // What is answered is the newest state; it must only be there already.
        if let Some(least) = revision(&request.list.resource_version)? {
            self.cache.wait_for(least).await?;
        }
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
        let errors = list_faults(options);
        if !errors.is_empty() {
            return Err(invalid_list_options(&errors));
        }
        if !options.continue_token.is_empty() {
            if !matches!(options.resource_version.as_str(), "" | "0") {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let (revision, start) = decode_continue(&options.continue_token)?;
            let revision = revision.unwrap_or_else(|| self.store.revision());
            let after = format!("{prefix}{start}");
            return self.page(row, &selection, revision, Some(after), options.limit).await;
        }
        let asked = revision(&options.resource_version).map_err(|mut status| {
            status.message = format!("invalid resource version: {}", status.message);
            status
        })?;
        let exact = match options.resource_version_match.as_str() {
            "Exact" => true,
            // A page at a revision goes on at that revision.
            "" => options.limit > 0,
            _ => false,
        };
        if let Some(revision) = asked.filter(|revision| exact && *revision > 0) {
            self.cache.wait_for(revision).await?;
            return self.page(row, &selection, revision, None, options.limit).await;
        }
        match asked {
            None => self.cache.catch_up().await?,
            Some(revision) => self.cache.wait_for(revision).await?,
        }
        // Who takes any state is given all of it, as kube-apiserver does from its cache.
        let limit = if asked == Some(0) { 0 } else { options.limit };
        let collection = self.cache.of(row)?;
        let snapshot = match self.kinds.has_versions(row) {
            false => collection.list(&selection, self.cache.applied(), limit),
            true => {
                let converter = self.converter();
                cache::list_shown(&converter, &collection, row, &selection, &self.cache, limit)
                    .await?
            }
        };
        let mut meta = ListMeta { resource_version: snapshot.revision, ..ListMeta::default() };
        if snapshot.remaining > 0 {
            meta.continue_token =
                self.token(&prefix, snapshot.revision, snapshot.last_key.as_deref());
            meta.remaining = selection.is_everything().then_some(snapshot.remaining);
        }
        Ok(Response::List { meta, items: snapshot.items, warnings: Vec::new() })
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
        let goes_on = start_after.clone();
        loop {
            let request = RangeRequest {
                prefix: prefix.clone(),
                start_after: start_after.take(),
                revision: Some(revision),
                // Selections leave out some: what is missing is read in further rounds.
                limit: if limit == 0 { 0 } else { limit - items.len() },
            };
            let range = self.store.range(request).await.map_err(|error| match error {
                StoreError::Compacted { .. } => expired(&prefix, goes_on.as_deref()),
                StoreError::FutureRevision { newest, .. } => cache::too_large(revision, newest),
                other => store_status(other),
            })?;
            let last = range.items.last().map(|kv| Arc::clone(&kv.key));
            for kv in &range.items {
                let object = self.shown(row, self.decode(row, kv)?).await?;
                if selection.matches(object.head()) {
                    items.push(object);
                }
            }
            if !range.more() {
                break;
            }
            if limit > 0 && items.len() >= limit {
                meta.continue_token = self.token(&prefix, revision, last.as_deref());
                meta.remaining = selection.is_everything().then_some(range.remaining);
                break;
            }
            start_after = last.map(|key| key.to_string());
        }
        Ok(Response::List { meta, items, warnings: Vec::new() })
    }

    /// The token by which a list goes on at `revision`.
    fn token(&self, prefix: &str, revision: u64, last: Option<&str>) -> String {
        self.paged.fetch_max(revision, Ordering::Relaxed);
        encode_continue(prefix, i64_of(revision), last)
    }

    /// Watch; the check of who may has been done.
    pub(crate) async fn watch(
        &self,
        row: &'static Resource,
        spec: &WatchSpec,
        ends: Option<Instant>,
    ) -> Result<EventStream, Status> {
        let converter = self.kinds.has_versions(row).then(|| self.converter());
        cache::open_watch(&self.cache, row, spec, ends, converter).await
    }
}

/// `resourceVersion` of a query: `None` is the most recent.
pub(crate) fn revision(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Status::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
             invalid syntax"
        ))
    })
}

/// Combinations that make no sense (`apis/meta/internalversion/validation`).
fn list_faults(options: &ListOptions) -> Vec<FieldError> {
    let matching = options.resource_version_match.as_str();
    if matching.is_empty() {
        return Vec::new();
    }
    let path = FieldPath::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if options.resource_version.is_empty() {
        errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ));
    }
    if !options.continue_token.is_empty() {
        errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch is forbidden when continue is provided",
        ));
    }
    if !matches!(matching, "Exact" | "NotOlderThan") {
        errors.push(FieldError::not_supported(&path, matching, &["Exact", "NotOlderThan", ""]));
    }
    if matching == "Exact" && options.resource_version == "0" {
        errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ));
    }
    errors
}

/// 422 of list options.
pub(crate) fn invalid_list_options(errors: &[FieldError]) -> Status {
    Status::invalid("ListOptions.meta.k8s.io", "", errors)
}

/// 410 of a state that is gone. A list that has begun may go on with what is there now.
fn expired(prefix: &str, goes_on: Option<&str>) -> Status {
    let Some(after) = goes_on else { return Status::expired(LIST_EXPIRED) };
    let mut status = Status::expired(INCONSISTENT);
    let token = encode_continue(prefix, NEWEST, Some(after));
    status.metadata.insert("continue".to_owned(), token.into());
    status
}

fn i64_of(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn encode_continue(prefix: &str, revision: i64, last: Option<&str>) -> String {
    let last = last.unwrap_or_default();
    let start = format!("{}\0", last.strip_prefix(prefix).unwrap_or(last));
    let place = Continue { version: CONTINUE_VERSION.to_owned(), revision, start };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&place).unwrap_or_default())
}

/// The revision (`None`: the newest) and the key to go on after.
fn decode_continue(token: &str) -> Result<(Option<u64>, String), Status> {
    let invalid = |why: String| {
        Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|error| invalid(error.to_string()))?;
    let place: Continue =
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if place.version != CONTINUE_VERSION {
        let why = format!("server does not recognize this encoded version {}", place.version);
        return Err(invalid(why));
    }
    if place.revision == 0 {
        let why = "incorrect encoded start resourceVersion (version meta.k8s.io/v1)";
        return Err(invalid(why.to_owned()));
    }
    let start = place.start.strip_suffix('\0').unwrap_or(&place.start);
    if start.is_empty() {
        return Err(invalid("encoded start key empty (version meta.k8s.io/v1)".to_owned()));
    }
    // Never out of the collection.
    if start.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(invalid(start.to_owned()));
    }
    Ok((u64::try_from(place.revision).ok(), start.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continue_tokens() {
        let token = encode_continue("/registry/core/pods/d/", 7, Some("/registry/core/pods/d/web"));
        assert_eq!(decode_continue(&token).unwrap(), (Some(7), "web".to_owned()));
        let newest = encode_continue("/p/", NEWEST, Some("/p/d/web"));
        assert_eq!(decode_continue(&newest).unwrap(), (None, "d/web".to_owned()));
        let raw = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for bad in [
            "!".to_owned(),
            raw("{}"),
            raw(r#"{"v":"x","rv":1,"start":"a"}"#),
            raw(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#),
            raw(r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#),
            raw(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../secrets/x"}"#),
        ] {
            assert_eq!(decode_continue(&bad).unwrap_err().code, 400, "{bad}");
        }
    }

    #[test]
    fn faults_of_list_options() {
        let faults = |version: &str, matching: &str, token: &str| {
            let options = ListOptions {
                resource_version: version.to_owned(),
                resource_version_match: matching.to_owned(),
                continue_token: token.to_owned(),
                ..ListOptions::default()
            };
            invalid_list_options(&list_faults(&options)).message
        };
        assert_eq!(
            faults("", "Exact", ""),
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
             resourceVersionMatch is forbidden unless resourceVersion is provided"
        );
        assert_eq!(
            faults("1", "Foo", "x"),
            "ListOptions.meta.k8s.io \"\" is invalid: [resourceVersionMatch: Forbidden: \
             resourceVersionMatch is forbidden when continue is provided, resourceVersionMatch: \
             Unsupported value: \"Foo\": supported values: \"Exact\", \"NotOlderThan\", \"\"]"
        );
        assert!(faults("0", "Exact", "").ends_with("is forbidden for resourceVersion \"0\""));
        assert!(list_faults(&ListOptions::default()).is_empty());
    }
}
