//! Group, version, kind and resource: how a type is named on the wire and in a path.

use std::fmt;

/// `apps/v1`, or `v1` for the core group (whose group is the empty string).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
}

impl GroupVersion {
    /// Reads an `apiVersion` field. More than one slash is no group and version.
    pub fn parse(api_version: &str) -> Option<Self> {
        let (group, version) = match api_version.split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", api_version),
        };
        let valid = !version.is_empty() && !version.contains('/');
        valid.then(|| Self { group: group.to_owned(), version: version.to_owned() })
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.version)
        } else {
            write!(f, "{}/{}", self.group, self.version)
        }
    }
}

/// Names a type of object: what `apiVersion` and `kind` of an object say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// Such as `Pod`.
    pub kind: String,
}

impl GroupVersionKind {
    /// From the two fields of an object.
    pub fn parse(api_version: &str, kind: &str) -> Option<Self> {
        let GroupVersion { group, version } = GroupVersion::parse(api_version)?;
        (!kind.is_empty()).then(|| Self { group, version, kind: kind.to_owned() })
    }

    /// The `apiVersion` field of an object of this kind.
    pub fn api_version(&self) -> String {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }.to_string()
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kind={}", self.api_version(), self.kind)
    }
}

/// Names a collection in the API: what a request's path says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionResource {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// The plural in lower case, such as `pods`.
    pub resource: String,
}

impl GroupVersionResource {
    /// From literals: `GroupVersionResource::new("apps", "v1", "deployments")`.
    pub fn new(
        group: impl Into<String>,
        version: impl Into<String>,
        resource: impl Into<String>,
    ) -> Self {
        Self { group: group.into(), version: version.into(), resource: resource.into() }
    }

    /// The `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }.to_string()
    }

    /// `deployments.apps`, or `pods` in the core group.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Resource={}", self.api_version(), self.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions() {
        for (text, group, version) in
            [("v1", "", "v1"), ("apps/v1", "apps", "v1"), ("a.b/v1beta1", "a.b", "v1beta1")]
        {
            let parsed = GroupVersion::parse(text).unwrap();
            assert_eq!((parsed.group.as_str(), parsed.version.as_str()), (group, version));
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!(GroupVersion::parse(""), None);
        assert_eq!(GroupVersion::parse("a/b/c"), None);
    }
}
