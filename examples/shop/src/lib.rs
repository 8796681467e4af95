//! The sample application: a shop of five small services.
