//! The derive keeps all parameters, bounds and where clauses, and adds only the bounds that it needs.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;

use vault_config::secrecy::SecretString;
use vault_config::{Secret, VaultConfig};

trait Family {
    type Member: Debug;
}

struct Numbers;

impl Family for Numbers {
    type Member = u16;
}

#[derive(Debug, VaultConfig)]
struct Inner<T> {
    #[vault(default)]
    value: T,
}

#[derive(Debug, VaultConfig)]
struct Generic<'a, 'de, T, S, F: Family, N = Inner<T>, const SIZE: usize = 4>
where
    T: Debug + Clone,
{
    plain: T,
    listed: Vec<(T, Option<T>)>,
    member: F::Member,
    borrowed: Cow<'a, str>,
    other: Cow<'de, str>,
    #[vault(default = [0; SIZE], validate = sum)]
    #[serde(deserialize_with = "zeroes")]
    array: [u8; SIZE],
    #[vault(kv = "app")]
    secret: Option<S>,
    #[vault(nested)]
    inner: Inner<T>,
    #[vault(nested)]
    any: N,
    marker: PhantomData<F>,
}

fn sum<const SIZE: usize>(array: &[u8; SIZE]) -> Result<(), String> {
    if array.iter().any(|&byte| byte > 0) {
        return Err("not zero".to_owned());
    }
    Ok(())
}

fn zeroes<'de, D, const SIZE: usize>(_: D) -> Result<[u8; SIZE], D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok([0; SIZE])
}

#[derive(Debug, VaultConfig)]
#[serde(default)]
struct Defaulted<T> {
    value: T,
}

impl<T: From<u8>> Default for Defaulted<T> {
    fn default() -> Self {
        Self { value: 1.into() }
    }
}

/// The derived bounds are enough for code that is generic over `T: VaultConfig`.
fn configuration<T: VaultConfig>() {
    let _ = T::schema();
}

fn generic_caller<T, S>()
where
    T: Debug + Clone + Default + for<'de> serde::Deserialize<'de>,
    S: Secret + for<'de> serde::Deserialize<'de>,
{
    configuration::<Generic<'_, '_, T, S, Numbers>>();
}

fn main() {
    configuration::<Generic<'static, 'static, String, SecretString, Numbers>>();
    configuration::<Defaulted<u32>>();
    generic_caller::<u8, SecretString>();
}
