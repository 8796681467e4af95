//! Images: content store, pull and push, unpacking, the Dockerfile builder.
