//! The roles: which components run, in which order, with which first objects and certificates.
