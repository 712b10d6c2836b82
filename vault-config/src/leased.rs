use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, SystemTime};

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::Secret;

/// A value from Vault, and for how long it was given.
///
/// For a field of any engine: `Leased<DatabaseCredentials>`, `Leased<SecretString>`,
/// `Leased<HashMap<String, SecretString>>`. Where the value does not come from Vault, or has no end,
/// there is nothing to tell; nor where a figment is read that is not the loader's.
///
/// The facts are those of the moment when it was made. A [`Live`](crate::Live) configuration renews
/// a lease without publishing anything, since its value stays the same: until when it is good now,
/// [`Live::status`](crate::Live::status) tells.
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
    facts: Facts,
}

/// What is known of the lease; nothing of what has no end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) ttl: Option<Duration>,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) renewable: bool,
}

impl<T> Leased<T> {
    /// A value of your own, for tests.
    pub fn new(value: T) -> Self {
        Self { value, facts: Facts::default() }
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value by itself.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }

    /// The time to live that it was made with; nothing when it does not end.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.facts.ttl
    }

    /// When it ends, by this machine's clock, if it is not renewed; nothing when it does not end.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.facts.expires_at
    }

    /// Whether its lease can be renewed.
    #[must_use]
    pub fn is_renewable(&self) -> bool {
        self.facts.renewable
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
            .field("ttl", &self.facts.ttl)
            .field("renewable", &self.facts.renewable)
            .finish()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Secret> Secret for Leased<T> {}

/// A newtype of this name is given its facts by the deserializer of fields, and by no other.
pub(crate) const NAME: &str = "$vault_config::Leased";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Leased<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, Read(PhantomData))
    }
}

struct Read<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Read<T> {
    type Value = Leased<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        T::deserialize(value).map(Leased::new)
    }

    /// The value, then the facts.
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let missing = || de::Error::invalid_length(0, &self);
        let value = parts.next_element()?.ok_or_else(missing)?;
        let (ttl, expires_at, renewable): (Option<u64>, Option<u64>, bool) =
            parts.next_element()?.unwrap_or_default();
        let moment = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let facts = Facts {
            ttl: ttl.map(Duration::from_secs),
            expires_at: expires_at.and_then(moment),
            renewable,
        };
        Ok(Leased { value, facts })
    }
}
