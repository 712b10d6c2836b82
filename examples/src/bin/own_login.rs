//! A login method of your own: the secret_id comes from a program, such as a password manager.
//!
//! ```sh
//! cargo run -p vault-config-examples --bin own_login
//! ```

use std::error::Error;

use serde_json::json;
use tokio::process::Command;
use vault_config::auth::{AuthMethod, LoginClient, LoginError, LoginFuture};
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{Vault, VaultConfig};
use vault_config_tests::OpenBao;

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "billing/api-keys")]
    payment_key: SecretString,
}

/// An AppRole login with the secret_id that a program prints.
#[derive(Debug)]
struct FromProgram {
    role_id: String,
    program: Vec<String>,
}

impl FromProgram {
    async fn secret_id(&self) -> Result<SecretString, LoginError> {
        let [program, arguments @ ..] = self.program.as_slice() else {
            return Err(LoginError::new("no program is named", "name the one that prints the id"));
        };
        let output = Command::new(program).args(arguments).output().await.map_err(|error| {
            LoginError::new(
                format!("{program} does not start: {error}"),
                "see that it is installed",
            )
        })?;
        match String::from_utf8(output.stdout) {
            Ok(text) if output.status.success() => Ok(text.trim().into()),
            // The output may contain the secret, so the message does not show it.
            _ => Err(LoginError::new(format!("{program} prints no id"), "run it by hand")),
        }
    }
}

impl AuthMethod for FromProgram {
    fn describe(&self) -> String {
        // Without the arguments, which contain the secret in this example.
        let program = self.program.first().map_or("no program", String::as_str);
        format!("approle with the secret_id of {program}")
    }

    /// Called again whenever a new token is needed.
    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            let secret_id = self.secret_id().await?;
            let body = json!({ "role_id": self.role_id, "secret_id": secret_id.expose_secret() });
            client.post("auth/approle/login", &body).await
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "billing/api-keys", json!({ "payment_key": "sk_live_1" })).await;
    bao.policy("billing", &Config::schema().policy()).await;
    let ids = bao.approle("billing", &["billing"], json!({})).await;

    let method = FromProgram {
        role_id: ids.role_id,
        // `printf` stands for your own program, such as `pass show vault/secret_id`.
        program: ["printf", "%s", &ids.secret_id].map(str::to_owned).to_vec(),
    };
    let vault = Vault::builder().address(bao.address()).auth(method).build()?;
    println!("{vault:?}");
    let config = Config::loader().vault(vault).load().await?;
    println!("the payment key has {} characters", config.payment_key.expose_secret().len());
    Ok(())
}
