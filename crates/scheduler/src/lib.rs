//! Decides on which node a pod runs.
