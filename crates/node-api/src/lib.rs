//! What the kubelet asks of its node, shaped like CRI: runtime, images, pod network.
