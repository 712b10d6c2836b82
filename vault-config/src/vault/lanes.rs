//! Which requests wait for which.

/// What a request is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Lane {
    #[default]
    Read,
    /// It renews or revokes a token or a lease.
    Renew,
    /// It logs in, or issues a credential.
    Issue,
}
