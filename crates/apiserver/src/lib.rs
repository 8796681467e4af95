//! The API server: one generic path for every kind.
