//! Runs of the programs, one process each, and what they cost.

use std::env;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use vault_config_tests::OpenBao;

use crate::line::Line;
use crate::programs::{Access, Client, Crypto};
use crate::shapes::{POLICY, Shape};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Plain,
    Tls,
}

pub const PLACES: [Place; 2] = [Place::Plain, Place::Tls];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    pub client: Client,
    pub crypto: Crypto,
}

/// A server with all secrets in it, at the end of a line.
#[derive(Debug)]
pub struct Site {
    bao: OpenBao,
    line: Line,
    access: Access,
}

/// What one program's runs cost.
#[derive(Debug)]
pub struct Results {
    pub program: Program,
    pub connections: usize,
    pub requests: usize,
    pub wall: Vec<Duration>,
    pub cpu: Vec<Duration>,
}

impl Site {
    pub async fn open(place: Place, rtt: Duration) -> Self {
        let bao = match place {
            Place::Plain => OpenBao::dev().await,
            Place::Tls => OpenBao::dev_tls().await,
        };
        for shape in [Shape::Paths(100), Shape::Sections] {
            for path in shape.paths() {
                bao.kv_put("secret", &path, shape.secret()).await;
            }
        }
        bao.policy("bench", POLICY).await;
        let ids = bao.approle("bench", &["bench"], json!({})).await;
        let line = Line::to(bao.port(), rtt).await;
        let (scheme, ca_cert) = match place {
            Place::Plain => ("http", None),
            Place::Tls => ("https", Some(bao.ca_cert().to_str().unwrap().to_owned())),
        };
        let address = format!("{scheme}://127.0.0.1:{}", line.port());
        let access = Access { address, ca_cert, role_id: ids.role_id, secret_id: ids.secret_id };
        Self { bao, line, access }
    }

    /// The programs take turns. An extra first round warms up, and is counted instead of measured.
    pub async fn compare(&self, shape: Shape, programs: &[Program], rounds: usize) -> Vec<Results> {
        let mut results = Vec::new();
        for program in programs {
            let before = self.line.connections();
            self.bao.clear_audit();
            Run::new(*program, shape, &self.access).in_a_process();
            results.push(Results {
                program: *program,
                connections: self.line.connections() - before,
                requests: self.bao.audit_requests().len(),
                wall: Vec::new(),
                cpu: Vec::new(),
            });
        }
        for _ in 0..rounds {
            for result in &mut results {
                let run = Run::new(result.program, shape, &self.access);
                let (wall, cpu) = run.in_a_process();
                result.wall.push(wall);
                result.cpu.push(cpu);
            }
        }
        results
    }
}

/// One run of one program.
#[derive(Debug)]
pub struct Run {
    program: Program,
    shape: Shape,
    access: Access,
}

/// The variable with which this program starts itself again, and its parts.
const RUN: &str = "VAULT_CONFIG_BENCH_RUN";

impl Run {
    fn new(program: Program, shape: Shape, access: &Access) -> Self {
        Self { program, shape, access: access.clone() }
    }

    fn in_a_process(&self) -> (Duration, Duration) {
        let Access { address, ca_cert, role_id, secret_id } = &self.access;
        let ca_cert = ca_cert.as_deref().unwrap_or_default();
        let (client, crypto) = (self.program.client.name(), self.program.crypto.name());
        let parts =
            [&client, crypto, &self.shape.word(), address, ca_cert, role_id, secret_id].join("|");
        let mut command = Command::new(env::current_exe().unwrap());
        command.env_clear().env(RUN, parts);
        let output = tokio::task::block_in_place(|| command.output()).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        let (Some(wall), Some(cpu)) = (numbers.next(), numbers.next()) else {
            panic!("{client} ended without figures: {}", String::from_utf8_lossy(&output.stderr));
        };
        (Duration::from_nanos(wall), Duration::from_nanos(cpu))
    }

    /// What this process is to do, if it was started to do one run.
    pub fn of_this_process() -> Option<Self> {
        let parts = env::var(RUN).ok()?;
        let parts: Vec<_> = parts.split('|').collect();
        let [client, crypto, shape, address, ca_cert, role_id, secret_id] = parts[..] else {
            panic!("{RUN} has other parts than expected");
        };
        let program = Program {
            client: Client::named(client).unwrap(),
            crypto: Crypto::named(crypto).unwrap(),
        };
        let access = Access {
            address: address.to_owned(),
            ca_cert: (!ca_cert.is_empty()).then(|| ca_cert.to_owned()),
            role_id: role_id.to_owned(),
            secret_id: secret_id.to_owned(),
        };
        Some(Self { program, shape: shape.parse().unwrap(), access })
    }

    pub async fn report(self) {
        let Program { client, crypto } = self.program;
        crypto.install();
        // A task, as in most services: its wake-ups do not cross threads.
        let (wall, values) = tokio::spawn(async move {
            let start = Instant::now();
            let values = client.run(crypto, self.shape, &self.access).await;
            assert_eq!(values, self.shape.values(), "a value is missing");
            (start.elapsed(), values)
        })
        .await
        .unwrap();
        println!("{} {} {values}", wall.as_nanos(), cpu().as_nanos());
    }
}

/// The CPU time of this process so far, of all its threads.
fn cpu() -> Duration {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| {
        let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(threads.sum())
}
