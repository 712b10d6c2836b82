//! Results as a Markdown table.

use std::time::Duration;

use crate::measure::{Place, Results};
use crate::programs::Client;
use crate::shapes::Shape;

pub fn print(place: Place, rtt: Duration, shape: Shape, results: &[Results]) {
    let transport = if place == Place::Plain { "plain HTTP" } else { "TLS" };
    println!("\n### {}, {transport}, {} ms of round trip\n", shape.name(), rtt.as_millis());
    println!(
        "| | crypto | wall ms | fastest | × | CPU ms | fastest | × | connections | requests |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for result in results {
        let of_same_crypto = |other: &&Results| {
            other.program.client == Client::HandWritten
                && other.program.crypto == result.program.crypto
        };
        let standard = results.iter().find(of_same_crypto).unwrap();
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            result.program.client.name(),
            result.program.crypto.name(),
            columns(&result.wall, &standard.wall),
            columns(&result.cpu, &standard.cpu),
            result.connections,
            result.requests,
        );
    }
}

fn columns(times: &[Duration], standard: &[Duration]) -> String {
    let fastest = times.iter().min().map_or(0.0, milliseconds);
    let ratio = median(times) / median(standard);
    format!("{:.1} | {fastest:.1} | {ratio:.2}", median(times))
}

fn median(times: &[Duration]) -> f64 {
    let mut times: Vec<_> = times.iter().map(milliseconds).collect();
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    match times.len() % 2 {
        0 => (times[middle - 1] + times[middle]) / 2.0,
        _ => times[middle],
    }
}

fn milliseconds(time: &Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
