//! What a load costs: vault-config against a hand-written reqwest program and against vaultrs.
//!
//! ```text
//! cargo bench -p vault-config-tests --features compare --bench load
//! cargo bench -p vault-config-tests --features compare --bench load -- --quick
//! ```
//!
//! Each program logs in with AppRole and reads 1, 10 or 100 secrets of one value, or 5 of 20, from
//! a real OpenBao behind a line of 0, 5 or 20 ms of round trip, over plain HTTP and over TLS with
//! each crypto library. Every run is a process of its own, so that the start of the crypto library
//! counts; the programs take turns. The tables hold medians, and ratios to the hand-written program:
//!
//! - wall: inside the process, from just before the client is built to the last value read;
//! - CPU: of the whole process, from its start to the last value;
//! - connections: as the line saw them; requests: as the server's audit log has them.
//!
//! Options: `--quick`; `--rounds 5`; and, as lists with commas, `--rtt 0,5,20`, `--shapes 1,10,100,5x20`,
//! `--tls plain,ring,aws-lc-rs` (`native-tls` too with `--features compare-native-tls`),
//! `--only vault-config,vaultrs-joined` besides the hand-written program;
//! `--connections 16,32,64` for more rows of vault-config with these limits on connections.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod line;
mod measure;
mod options;
mod programs;
mod shapes;
mod table;

use options::Options;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Some(run) = measure::Run::of_this_process() {
        return runtime.block_on(run.report());
    }
    let options = Options::from_arguments();
    runtime.block_on(compare(&options));
}

async fn compare(options: &Options) {
    for place in measure::PLACES {
        for rtt in &options.rtts {
            let programs = options.programs(place);
            if programs.is_empty() {
                continue;
            }
            let site = measure::Site::open(place, *rtt).await;
            for shape in &options.shapes {
                let results = site.compare(*shape, &programs, options.rounds).await;
                table::print(place, *rtt, *shape, &results);
            }
        }
    }
}
