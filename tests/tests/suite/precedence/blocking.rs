//! Loads without a runtime, and futures that are `Send`.

use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{ErrorKind, Vault, VaultConfig};
use vault_config_tests::OpenBao;

use crate::support::{NOTHING, root, with};

#[derive(Debug, VaultConfig)]
struct OneSecret {
    #[vault(kv = "app")]
    secret: SecretString,
}

#[test]
fn load_blocking_needs_no_runtime_and_a_vault_outlives_one() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    for tls in [false, true] {
        let bao = servers
            .block_on(async { if tls { OpenBao::dev_tls().await } else { OpenBao::dev().await } });
        let put = |value| servers.block_on(bao.kv_put("secret", "app", json!({"secret": value})));
        let loader = || OneSecret::loader().without_dotenv();
        put("first");
        let ca = if tls { bao.ca_cert().to_str().unwrap() } else { "" };
        let variables = with(root(&bao), &[("VAULT_CACERT", ca)]);
        assert_eq!(
            loader().env_source(variables.clone()).load_blocking().unwrap().secret.expose_secret(),
            "first"
        );
        bao.clear_audit();
        let vault = Vault::from_env_source(variables).unwrap();
        let load = || loader().env_source(NOTHING).vault(vault.clone()).load_blocking();
        // Each load has a runtime of its own, and the connections of the one before died with it.
        for value in ["first", "second", "third"] {
            put(value);
            assert_eq!(load().unwrap().secret.expose_secret(), value, "tls: {tls}");
        }
        assert_eq!(bao.audit_requests().len(), 3);
        let error = servers.block_on(async { load().unwrap_err() });
        assert_eq!(error.kind(), ErrorKind::Runtime);
        assert!(error.to_string().contains(".load().await"), "{error}");
    }
}

/// The test is that this compiles for every configuration.
fn futures_are_send<T: VaultConfig + Send + 'static>(vault: &'static Vault) {
    fn send<F: Future + Send>(_: F) {}
    send(T::load());
    send(T::loader().load());
    send(T::loader().load_with_report());
    send(T::loader().check());
    send(T::loader().resolve());
    send(vault.resolve::<T>());
    fn spawned<F: Future<Output: Send + 'static> + Send + 'static>(_: F) {}
    spawned(T::load());
}

#[test]
fn every_future_is_send() {
    let _compiles: fn(&'static Vault) = futures_are_send::<OneSecret>;
}
