//! How every component talks to the API server: transport, informers, work queue, events, node connector.
