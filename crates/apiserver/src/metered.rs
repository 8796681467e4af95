//! A store whose answers are timed for `/metrics`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use onggi_store::{Committed, Error, KeyValue, RangeRequest, RangeResult, Store, Txn, WatchStream};

use crate::metrics::Metrics;

/// See the module.
pub(crate) struct Metered {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

impl Metered {
    pub(crate) fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics }
    }

    async fn timed<T>(&self, operation: &'static str, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        self.metrics.store(operation, began.elapsed());
        done
    }
}

#[async_trait]
impl Store for Metered {
    async fn txn(&self, txn: Txn) -> Result<Committed, Error> {
        self.timed("txn", self.store.txn(txn)).await
    }

    // A look into memory: handed on as it is, without a box and a clock of ours.
    fn get<'life0, 'life1, 'async_trait>(
        &'life0 self,
        key: &'life1 str,
    ) -> Pin<Box<dyn Future<Output = Result<Option<KeyValue>, Error>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        self.store.get(key)
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResult, Error> {
        self.timed("list", self.store.range(request)).await
    }

    async fn watch(&self, prefix: &str, from: Option<u64>) -> Result<WatchStream, Error> {
        self.store.watch(prefix, from).await
    }

    fn revision(&self) -> u64 {
        self.store.revision()
    }

    fn oldest(&self) -> u64 {
        self.store.oldest()
    }

    async fn compact(&self, revision: u64) -> Result<(), Error> {
        self.timed("compact", self.store.compact(revision)).await
    }

    fn health(&self) -> Result<(), Error> {
        self.store.health()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
