//! For tests: an in-memory cluster, a fake clock, fixtures.
