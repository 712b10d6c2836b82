//! What a policy of the token has to allow.

/// One stanza of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    pub(crate) namespace: Option<String>,
    pub(crate) path: String,
    pub(crate) capability: &'static str,
}

impl Grant {
    pub(crate) fn read(path: impl Into<String>) -> Self {
        Self { namespace: None, path: path.into(), capability: "read" }
    }

    pub(crate) fn update(path: impl Into<String>) -> Self {
        Self { capability: "update", ..Self::read(path) }
    }

    /// `prefix` leads from the policy's namespace to the path's.
    pub(crate) fn hcl(&self, prefix: &str) -> String {
        let path = format!("{prefix}{}", self.path).replace('\\', "\\\\").replace('"', "\\\"");
        format!("path \"{path}\" {{\n  capabilities = [\"{}\"]\n}}", self.capability)
    }

    /// For a policy of the root namespace.
    pub(crate) fn hcl_of_root(&self) -> String {
        match self.namespace.as_deref() {
            None | Some("root") => self.hcl(""),
            Some(namespace) => self.hcl(&format!("{namespace}/")),
        }
    }
}
