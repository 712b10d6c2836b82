//! Real servers for tests, benchmarks and examples: OpenBao, PostgreSQL, MariaDB, Redis, RabbitMQ,
//! OpenLDAP, FreeRADIUS, OpenSSH, and servers that fail.
//!
//! Each server belongs to the test that starts it, with a free port on 127.0.0.1 and its own data directory. It is
//! stopped and its data deleted when the value is dropped, and also when the test process is killed. If a server cannot
//! be found or downloaded, its start panics with the reason; no test is skipped.
//!
//! ```no_run
//! # async fn example() {
//! use serde_json::json;
//! use vault_config_tests::{OpenBao, Postgres};
//!
//! let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
//! bao.connect_database(&postgres).await;
//! bao.kv_put("secret", "app", json!({ "password": "s3cr3t" })).await;
//! bao.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#).await;
//! let ids = bao.approle("app", &["app"], json!({ "token_ttl": "1h" })).await;
//! println!("{} {} {}", bao.address(), ids.role_id, ids.secret_id);
//! # }
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

pub mod administrator;
pub mod audit;
pub mod certs;
pub mod debian;
pub mod fault;
pub mod jwt;
pub mod kubernetes;
pub mod ldap;
pub mod mariadb;
pub mod openbao;
pub mod port;
pub mod postgres;
pub mod process;
pub mod provision;
pub mod rabbitmq;
pub mod radius;
pub mod raft;
pub mod redis;
pub mod scripted;
pub mod sshd;

pub use administrator::{Administrator, AppRoleIds, client_builder};
pub use audit::AuditRequest;
pub use certs::{Authority, ClientCertificate, ServerCertificate};
pub use fault::{Fault, FaultProxy};
pub use jwt::Issuer;
pub use kubernetes::Kubernetes;
pub use ldap::Ldap;
pub use mariadb::MariaDb;
pub use openbao::OpenBao;
pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;
pub use radius::Radius;
pub use raft::RaftCluster;
pub use redis::Redis;
pub use sshd::Sshd;
pub use tokio_postgres;

pub use scripted::{ScriptedAnswer, ScriptedRequest, ScriptedServer};
