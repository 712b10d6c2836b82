use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, SystemTime};

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::Secret;

/// A value from Vault with its lifetime (TTL).
///
/// For a field of any engine: `Leased<DatabaseCredentials>`, `Leased<SecretString>`,
/// `Leased<HashMap<String, SecretString>>`. A value has no lifetime if it does not come from Vault, if it does not
/// expire, or if it is read through a figment of your own.
///
/// The lifetime is the one with which the value was issued. A [`Live`](crate::Live) configuration renews a lease
/// without publishing anything, since the value stays the same: [`Live::status`](crate::Live::status) has the current
/// time of expiry.
///
/// ```
/// use vault_config::{DatabaseCredentials, Leased, VaultConfig};
///
/// #[derive(Debug, VaultConfig)]
/// struct Config {
///     #[vault(database = "readonly")]
///     database: Leased<DatabaseCredentials>,
/// }
///
/// fn lifetime(config: &Config) -> Option<std::time::Duration> {
///     println!("connect as {}", config.database.username());
///     config.database.ttl()
/// }
/// # let _ = lifetime;
/// ```
#[derive(Clone)]
pub struct Leased<T> {
    value: T,
    lease: LeaseInfo,
}

/// A lease as it was issued; empty for a value that does not expire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeaseInfo {
    pub(crate) ttl: Option<Duration>,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) renewable: bool,
}

impl<T> Leased<T> {
    /// Wraps a value of your own, without a lifetime. For tests.
    pub fn new(value: T) -> Self {
        Self { value, lease: LeaseInfo::default() }
    }

    /// Returns the value.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Returns the value without its lifetime.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }

    /// Returns the lifetime with which the value was issued; `None` if it does not expire.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.lease.ttl
    }

    /// Returns when the value expires, by this machine's clock, if its lease is not renewed; `None` if it does not
    /// expire.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.lease.expires_at
    }

    /// Returns whether the lease can be renewed.
    #[must_use]
    pub fn is_renewable(&self) -> bool {
        self.lease.renewable
    }
}

impl<T> Deref for Leased<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Leased<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased")
            .field("value", &self.value)
            .field("ttl", &self.lease.ttl)
            .field("renewable", &self.lease.renewable)
            .finish()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Secret> Secret for Leased<T> {}

/// The deserializer of fields recognises the type by this name, and adds the lease. Every other deserializer handles a
/// plain newtype.
pub(crate) const NAME: &str = "$vault_config::Leased";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Leased<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, LeasedVisitor(PhantomData))
    }
}

struct LeasedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for LeasedVisitor<T> {
    type Value = Leased<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        T::deserialize(value).map(Leased::new)
    }

    /// From the deserializer of fields: the value, then its lease.
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let missing = || de::Error::invalid_length(0, &self);
        let value = parts.next_element()?.ok_or_else(missing)?;
        let (ttl, expires_at, renewable): (Option<u64>, Option<u64>, bool) =
            parts.next_element()?.unwrap_or_default();
        let moment = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let lease = LeaseInfo {
            ttl: ttl.map(Duration::from_secs),
            expires_at: expires_at.and_then(moment),
            renewable,
        };
        Ok(Leased { value, lease })
    }
}
