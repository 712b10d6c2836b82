//! What it costs to read a watched configuration, and to have one.
//!
//! ```sh
//! cargo bench -p vault-config-tests --bench live            # both
//! cargo bench -p vault-config-tests --bench live -- read    # live.current() by other means
//! cargo bench -p vault-config-tests --bench live -- idle    # an hour of 100 KV paths and 5 roles
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
#![allow(missing_docs, dead_code, unreachable_pub)]

use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Barrier, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde_json::json;
use vault_config::{DatabaseCredentials, Live, VaultConfig};
use vault_config_tests::process::{Process, Program, Signal};
use vault_config_tests::{AppRoleIds, OpenBao, Postgres, provision};

#[path = "load/shapes.rs"]
mod shapes;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wants = |what: &str| asked.is_empty() || asked.iter().any(|asked| asked == what);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if std::env::var("VAULT_CONFIG_IDLE").is_ok() {
        return runtime.block_on(idle_service());
    }
    if wants("read") {
        read(&runtime);
    }
    if wants("idle") {
        runtime.block_on(idle());
    }
}

// ===== reading =====

#[derive(Debug, VaultConfig)]
struct Small {
    port: u16,
}

fn read(runtime: &tokio::runtime::Runtime) {
    let small = || Small { port: 80 };
    let live: Live<Small> = runtime
        .block_on(Small::loader().without_dotenv().env_source([("PORT", "80")]).watch())
        .unwrap();
    let swap = ArcSwap::new(Arc::new(small()));
    let lock = RwLock::new(Arc::new(small()));
    for threads in [1, 2] {
        println!("{threads} reading at once, nanoseconds a read, best of 7 runs:");
        let bare = best(threads, || swap.load_full().port);
        for (name, took) in [
            ("arc_swap, load_full()", bare),
            ("live.current()", best(threads, || live.current().port)),
            ("RwLock<Arc<_>>, read().clone()", best(threads, || lock.read().unwrap().clone().port)),
        ] {
            println!("  {name:32} {took:6.1}  ({:.2})", took / bare);
        }
    }
}

fn best(threads: usize, read: impl Fn() -> u16 + Sync) -> f64 {
    const READS: u32 = 2_000_000;
    let run = || {
        let start = Barrier::new(threads);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        let began = Instant::now();
                        for _ in 0..READS {
                            black_box(read());
                        }
                        began.elapsed()
                    })
                })
                .collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).max().unwrap()
        })
    };
    let best = (0..7).map(|_| run()).min().unwrap();
    best.as_secs_f64() * 1e9 / f64::from(READS)
}

// ===== having one =====

#[derive(VaultConfig)]
struct Idle {
    #[vault(nested)]
    stored: shapes::Hundred,
    #[vault(database = "role-0")]
    one: DatabaseCredentials,
    #[vault(database = "role-1")]
    two: DatabaseCredentials,
    #[vault(database = "role-2")]
    three: DatabaseCredentials,
    #[vault(database = "role-3")]
    four: DatabaseCredentials,
    #[vault(database = "role-4")]
    five: DatabaseCredentials,
}

/// Polling sixty times as often as usual, a minute has the polls of an hour.
const MINUTE: Duration = Duration::from_secs(60);

/// The service of which the cost is measured, in a process of its own.
async fn idle_service() {
    let live = Idle::loader().without_dotenv().refresh_every(MINUTE / 12).watch().await.unwrap();
    // Asked for, so that all is read once.
    println!("ready {}", live.status().sources.len());
    std::future::pending::<()>().await;
}

async fn idle() {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    for path in 0..100 {
        let secret = json!({ "password": format!("p{path}") });
        bao.kv_put("secret", &format!("bench/{path:02}"), secret).await;
    }
    for role in 0..5 {
        bao.database_role(&format!("role-{role}"), "1h", "24h").await;
    }
    bao.policy("idle", "path \"*\" { capabilities = [\"read\"] }").await;
    let ids = bao.approle("idle", &["idle"], json!({ "token_ttl": "1h" })).await;
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_ROLE_ID", &ids.role_id),
        ("VAULT_SECRET_ID", &ids.secret_id),
        ("VAULT_CONFIG_IDLE", "yes"),
    ];
    let ours = Process::start(&Program {
        path: std::env::current_exe().unwrap(),
        arguments: Vec::new(),
        environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        directory: folder.path().to_owned(),
        user: None,
        last: Signal::Kill,
    });
    let agent = agent(&bao, &ids, folder.path());
    while !ours.output().contains("ready") || !folder.path().join("rendered").exists() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    bao.clear_audit();
    let before = cpu(&ours);
    let before_agent = cpu(&agent);
    tokio::time::sleep(MINUTE).await;
    let spent = cpu(&ours) - before;
    let spent_agent = cpu(&agent) - before_agent;
    let requests = bao.audit_requests();
    let from = |what: &str| requests.iter().filter(|r| r.path.starts_with(what)).count();
    println!("100 KV paths and 5 roles, of 1 h; a minute with the polls of an hour:");
    println!("  vault-config: {:.2} s CPU, {} MiB resident", spent, resident(&ours));
    println!(
        "  bao agent, rendering the same at the same pace: {:.2} s CPU, {} MiB resident",
        spent_agent,
        resident(&agent)
    );
    println!(
        "  requests: {} of metadata, {} of data, {} others",
        from("secret/metadata"),
        from("secret/data"),
        requests.len() - from("secret/metadata") - from("secret/data")
    );
}

/// The same secrets in one template.
fn agent(bao: &OpenBao, ids: &AppRoleIds, folder: &Path) -> Process {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (role_id, secret_id) = (file("role_id", &ids.role_id), file("secret_id", &ids.secret_id));
    let mut template = String::new();
    for path in 0..100 {
        template += &format!(
            "{{{{ with secret \"secret/data/bench/{path:02}\" }}}}{{{{ .Data.data.password }}}}{{{{ end }}}}\n"
        );
    }
    for role in 0..5 {
        template += &format!(
            "{{{{ with secret \"database/creds/role-{role}\" }}}}{{{{ .Data.username }}}}{{{{ end }}}}\n"
        );
    }
    let template = file("template", &template);
    let configuration = format!(
        r#"
        vault {{ address = "{}" }}
        auto_auth {{
          method "approle" {{
            config = {{
              role_id_file_path = "{role_id}"
              secret_id_file_path = "{secret_id}"
              remove_secret_id_file_after_reading = false
            }}
          }}
        }}
        template_config {{ static_secret_render_interval = "5s" }}
        template {{
          source = "{template}"
          destination = "{}"
        }}
        "#,
        bao.address(),
        folder.join("rendered").display(),
    );
    Process::start(&Program {
        path: provision::openbao(),
        arguments: vec![
            "agent".to_owned(),
            format!("-config={}", file("agent.hcl", &configuration)),
        ],
        environment: Vec::new(),
        directory: folder.to_owned(),
        user: None,
        last: Signal::Kill,
    })
}

/// Seconds of CPU time, of all threads.
fn cpu(process: &Process) -> f64 {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks =
        |field: usize| after_name.split_whitespace().nth(field).unwrap().parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS
}

fn resident(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
