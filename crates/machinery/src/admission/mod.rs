//! What admission decides, as pure functions: the server asks them before it writes, controllers
//! where they count the same things.

pub mod amounts;
pub mod environment;
pub mod limit_range;
pub mod node_labels;
pub mod pod_security;
pub mod quota;
pub mod review;
pub mod rules;
