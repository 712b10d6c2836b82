//! Which plain sources may serve a field. What fails closed is decided here and nowhere else:
//!
//! - In Vault mode a field marked for Vault is never read from a [`SourceRole::Local`] source.
//! - With `env_overrides(false)` it is not read from a [`SourceRole::Override`] source either.
//! - A ciphertext is never taken for the value that it encrypts, nor in Vault mode another text for a ciphertext.
//! - A provider reads fields marked for Vault alone, and those from no local source.

use std::sync::Arc;

use crate::engine::{VaultSource, transit};
use crate::error::Cause;
use crate::load::Purpose;
use crate::load::slot::Resolution;
use crate::schema::plan::{Leaf, LeafOrigin};
use crate::source::{SourceRole, SourceValue};

#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceFilter {
    pub(crate) purpose: Purpose,
    /// Whether fields marked for Vault are read from Vault.
    pub(crate) vault_mode: bool,
    pub(crate) env_overrides: bool,
}

/// What is known of a leaf after the plain sources.
pub(crate) struct LookupOutcome {
    pub(crate) resolution: Resolution,
    /// What Vault is to be asked for.
    pub(crate) request: Option<Arc<VaultSource>>,
}

impl LookupOutcome {
    fn wanted(vault_source: &Arc<VaultSource>) -> Self {
        Self { resolution: Resolution::Wanted, request: Some(Arc::clone(vault_source)) }
    }
}

impl From<Resolution> for LookupOutcome {
    fn from(resolution: Resolution) -> Self {
        Self { resolution, request: None }
    }
}

impl SourceFilter {
    /// Whether any plain source is asked for the field.
    pub(crate) fn reads(self, leaf: &Leaf) -> bool {
        leaf.is_vault() || self.purpose != Purpose::Provide
    }

    /// Whether a source with this role may serve the field.
    pub(crate) fn admits(self, role: SourceRole, leaf: &Leaf) -> bool {
        match role {
            SourceRole::Override => self.env_overrides || !self.is_vault_only(leaf),
            SourceRole::Local => self.purpose != Purpose::Provide && !self.is_vault_only(leaf),
        }
    }

    /// Takes the value that a source has, or asks Vault to decrypt it.
    pub(crate) fn accept(self, leaf: &Leaf, hit: SourceValue) -> Result<LookupOutcome, Cause> {
        let SourceValue { value, provenance } = hit;
        let vault_source = match &leaf.origin {
            LeafOrigin::Vault(vault_source) if vault_source.decrypts() => vault_source,
            _ => return Ok(Resolution::Value(value, provenance).into()),
        };
        let place = provenance.to_string();
        match (self.vault_mode, transit::ciphertext(&value)) {
            (true, Some(text)) => Ok(LookupOutcome {
                resolution: Resolution::Wanted,
                request: vault_source.for_ciphertext(text, &place),
            }),
            (true, None) => Err(transit::not_encrypted(vault_source.as_ref(), &value).at(place)),
            (false, _) if transit::holds_ciphertext(&value) => {
                Err(transit::not_decryptable().at(place))
            }
            (false, _) => Ok(Resolution::Value(value, provenance).into()),
        }
    }

    /// What becomes of a field that none of the admitted sources has.
    pub(crate) fn without_value(self, leaf: &Leaf) -> Result<LookupOutcome, Cause> {
        match &leaf.origin {
            LeafOrigin::Vault(vault_source) if self.is_vault_only(leaf) => {
                Ok(LookupOutcome::wanted(vault_source))
            }
            LeafOrigin::Unbound(cause) if self.is_vault_only(leaf) => {
                Ok(Resolution::Failed(Arc::clone(cause)).into())
            }
            LeafOrigin::Vault(vault_source) if vault_source.decrypts() => {
                self.without_ciphertext(leaf, vault_source.as_ref())
            }
            _ => Ok(Resolution::Absent(None).into()),
        }
    }

    fn without_ciphertext(
        self,
        leaf: &Leaf,
        vault_source: &VaultSource,
    ) -> Result<LookupOutcome, Cause> {
        if self.purpose == Purpose::Provide {
            return Err(transit::not_seen());
        }
        let (variables, key) = (leaf.names.variables.join(" and "), leaf.names.key());
        let cause = self.vault_mode.then(|| transit::missing(vault_source, &variables, &key));
        Ok(Resolution::Absent(cause.map(Arc::new)).into())
    }

    /// Whether Vault is the field's source, and no local one stands in for it. The local sources have the ciphertext of
    /// a field that Vault decrypts.
    fn is_vault_only(self, leaf: &Leaf) -> bool {
        self.vault_mode && leaf.is_vault() && !leaf.decrypts()
    }
}

#[cfg(test)]
mod tests;
