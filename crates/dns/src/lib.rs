//! Cluster DNS: names of services and pods; everything else is forwarded.
