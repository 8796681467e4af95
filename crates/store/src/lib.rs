//! Revisioned key-value store with watch: the trait, the memory and the SQLite back end.
