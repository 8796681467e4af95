//! The priority classes of the system stay.

use onggi_api::Status;
use onggi_machinery::kinds::priorityclass;

use super::Hooks;

pub(super) struct PriorityClasses;

impl Hooks for PriorityClasses {
    fn may_delete(&self, name: &str) -> Result<(), Status> {
        if priorityclass::is_system(name) {
            let why = "this is a system priority class and cannot be deleted";
            return Err(Status::forbidden("priorityclasses.scheduling.k8s.io", name, why));
        }
        Ok(())
    }
}
