//! The pod network, address management and the service proxy.
