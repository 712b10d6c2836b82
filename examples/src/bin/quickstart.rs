//! Loads a configuration from a `.env` file and prints where every field came from. No server is
//! needed.
//!
//! ```sh
//! cargo run -p vault-config-examples --bin quickstart
//! APP_PORT=9000 cargo run -p vault-config-examples --bin quickstart
//! ```

use vault_config::{Error, Mode, VaultConfig};
use vault_config_examples::AppConfig;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, report) = AppConfig::loader()
        // Without this line, VAULT_ADDR decides: where it is set, secrets come from Vault.
        .mode(Mode::Local)
        .dotenv(concat!(env!("CARGO_MANIFEST_DIR"), "/quickstart.env"))
        .load_with_report()
        .await?;
    println!("{config:#?}\n");
    println!("{report}");
    Ok(())
}
