//! What the policies of the token have to allow.

/// One stanza of a policy: a path, and what the token has to be allowed to do there.
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

    /// The stanza in HCL. `prefix` is the path from the policy's namespace to the stanza's namespace.
    pub(crate) fn hcl(&self, prefix: &str) -> String {
        let path = format!("{prefix}{}", self.path).replace('\\', "\\\\").replace('"', "\\\"");
        format!("path \"{path}\" {{\n  capabilities = [\"{}\"]\n}}", self.capability)
    }

    /// The stanza in HCL for a policy in the root namespace.
    pub(crate) fn hcl_of_root(&self) -> String {
        match self.namespace.as_deref() {
            None | Some("root") => self.hcl(""),
            Some(namespace) => self.hcl(&format!("{namespace}/")),
        }
    }
}
