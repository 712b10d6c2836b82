use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, VaultConfig};
use vault_config_tests::postgres::LEGACY_ROLE;
use vault_config_tests::{OpenBao, Postgres};

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct AppConfig {
    /// Port to listen on.
    #[vault(default = 8080)]
    port: u16,
    #[vault(kv = "my-app/api-keys")]
    external_api_key: SecretString,
    #[vault(kv = "my-app/api-keys", key = "internal")]
    internal_api_key: Option<SecretString>,
    #[vault(kv = "old", mount = "kv1")]
    legacy: SecretString,
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
    #[vault(database_static = "legacy")]
    fixed: DatabaseCredentials,
    #[vault(nested)]
    smtp: Smtp,
}

#[derive(Debug, VaultConfig)]
struct Smtp {
    #[vault(default = "localhost")]
    host: String,
    #[vault(kv = "my-app/smtp")]
    password: SecretString,
}

/// The main job: AppRole, KV v2, KV v1, a dynamic and a static role, and users that really log in.
#[tokio::test]
async fn a_service_is_filled_from_real_servers() {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    bao.mount_kv_v1("kv1").await;
    bao.write("kv1/old", json!({ "legacy": "l3gacy" })).await;
    bao.kv_put("secret", "my-app/api-keys", json!({ "external_api_key": "e", "spare": "x" })).await;
    bao.kv_put("secret", "my-app/smtp", json!({ "password": "p" })).await;
    // What the struct itself asks for; that kv1 is version 1 it leaves to be learned.
    let policy = AppConfig::schema().policy().replace("kv1/data/", "kv1/");
    bao.policy("app", &policy).await;
    let ids = bao.approle("app", &["app"], json!({})).await;
    let (config, report) = AppConfig::loader()
        .without_dotenv()
        .env_source([
            ("VAULT_ADDR", bao.address()),
            ("VAULT_ROLE_ID", &ids.role_id),
            ("VAULT_SECRET_ID", &ids.secret_id),
        ])
        .load_with_report()
        .await
        .unwrap();

    assert_eq!(config.port, 8080);
    assert_eq!(config.external_api_key.expose_secret(), "e");
    assert!(config.internal_api_key.is_none());
    assert_eq!(config.legacy.expose_secret(), "l3gacy");
    assert_eq!(
        (config.smtp.host.as_str(), config.smtp.password.expose_secret()),
        ("localhost", "p")
    );
    for user in [&config.database, &config.fixed] {
        let client =
            postgres.connect(user.username(), user.password().expose_secret()).await.unwrap();
        let row = client.query_one("select session_user::text", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), user.username());
    }
    assert_eq!(config.fixed.username(), LEGACY_ROLE.0);
    let unused: Vec<_> = report.unused_keys().collect();
    assert_eq!(unused, [("kv secret/my-app/api-keys", "spare")]);
}

#[tokio::test]
async fn the_same_service_is_filled_from_a_file_without_any_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    let text = "\
        APP_EXTERNAL_API_KEY='e'\n\
        APP_LEGACY='l3gacy'\n\
        APP_DATABASE_USERNAME=u\nAPP_DATABASE_PASSWORD='p$1'\n\
        APP_FIXED_USERNAME=f\nAPP_FIXED_PASSWORD='f'\n\
        APP_SMTP_PASSWORD='p'\n";
    std::fs::write(&file, text).unwrap();
    let config = AppConfig::loader().env_source([("", ""); 0]).dotenv(&file).load().await.unwrap();
    assert_eq!(config.port, 8080);
    assert_eq!(config.external_api_key.expose_secret(), "e");
    assert_eq!(config.database.username(), "u");
    assert_eq!(config.database.password().expose_secret(), "p$1");
    assert_eq!(config.smtp.password.expose_secret(), "p");
}
