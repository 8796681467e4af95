//! Tables of statuses.
