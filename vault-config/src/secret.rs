//! Types that hide what they hold.

use std::collections::{BTreeMap, HashMap};

use secrecy::{SecretBox, SecretString, zeroize::Zeroize};

/// A type whose `Debug` and `Display` never show what it holds.
///
/// Every field that comes from Vault needs such a type, unless it is marked `plain`. It holds for
/// [`SecretString`], [`SecretBox<T>`], [`DatabaseCredentials`](crate::DatabaseCredentials), and for
/// `Option`, `Vec`, `Box` and maps of those. Implement it for a type of your own when its `Debug`
/// hides the value, for example for a struct that takes a `whole` secret:
///
/// ```
/// use vault_config::{Secret, secrecy::SecretString};
///
/// #[derive(Debug, serde::Deserialize)]
/// struct ApiKeys {
///     internal: SecretString,
///     external: SecretString,
/// }
///
/// impl Secret for ApiKeys {}
/// ```
///
/// [`SecretString`]: https://docs.rs/secrecy/0.10/secrecy/type.SecretString.html
/// [`SecretBox<T>`]: https://docs.rs/secrecy/0.10/secrecy/struct.SecretBox.html
#[diagnostic::on_unimplemented(
    message = "a field that comes from Vault must hide its value, and `{Self}` does not",
    label = "this type would show the secret in logs and debug output",
    note = "use `SecretString` (or `SecretBox<T>`, or `Option`, `Vec` or a map of those)",
    note = "if the value is not secret (a host, a port, a user name), add `plain` to the field's #[vault(..)]",
    note = "if `{Self}` hides its value, implement `vault_config::Secret` for it"
)]
pub trait Secret {}

#[diagnostic::do_not_recommend]
impl<T: Zeroize + ?Sized> Secret for SecretBox<T> {}
#[diagnostic::do_not_recommend]
impl<T: Secret> Secret for Option<T> {}
#[diagnostic::do_not_recommend]
impl<T: Secret + ?Sized> Secret for Box<T> {}
#[diagnostic::do_not_recommend]
impl<T: Secret> Secret for Vec<T> {}
#[diagnostic::do_not_recommend]
impl<K, V: Secret> Secret for BTreeMap<K, V> {}
#[diagnostic::do_not_recommend]
impl<K, V: Secret, S> Secret for HashMap<K, V, S> {}

const _: fn() = || {
    fn hides<T: Secret>() {}
    hides::<SecretString>();
};
