//! What the kubelet tells about pods and its node (`core/v1 Event`).

use onggi_api::core::ObjectReference;
use onggi_client::events::{EventKind, Recorder};

use crate::pod::Pod;

/// Tells events. A cheap handle.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
}

impl Events {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self { recorder }
    }

    /// Of a pod, or of one of its containers.
    pub(crate) fn normal(&self, pod: &Pod, container: Option<&str>, reason: &str, message: String) {
        self.recorder.event(about(pod, container), EventKind::Normal, reason, message);
    }

    /// As [`Self::normal`], of what is wrong.
    pub(crate) fn warning(
        &self,
        pod: &Pod,
        container: Option<&str>,
        reason: &str,
        message: String,
    ) {
        self.recorder.event(about(pod, container), EventKind::Warning, reason, message);
    }

    /// Of the node itself.
    pub(crate) fn node(&self, node: &str, reason: &str, message: String) {
        let text = |text: &str| Some(text.to_owned());
        let about = ObjectReference {
            kind: text("Node"),
            name: text(node),
            // The kubelet has always named its node by its name.
            uid: text(node),
            ..ObjectReference::default()
        };
        self.recorder.event(about, EventKind::Normal, reason, message);
    }
}

fn about(pod: &Pod, container: Option<&str>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: container.map(|name| pod.field_path(name)),
    }
}
