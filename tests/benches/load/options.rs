//! What the command line asks for.

use std::str::FromStr;
use std::time::Duration;

use crate::measure::{Place, Program};
use crate::programs::{Client, Crypto};
use crate::shapes::Shape;

#[derive(Debug)]
pub struct Options {
    pub rounds: usize,
    pub rtts: Vec<Duration>,
    pub shapes: Vec<Shape>,
    tls: Vec<String>,
    /// Besides the hand-written program; all if empty.
    only: Vec<String>,
    connections: Vec<usize>,
}

impl Options {
    pub fn from_arguments() -> Self {
        let mut options = Self {
            rounds: 5,
            rtts: [0, 5, 20].map(Duration::from_millis).into(),
            shapes: Shape::ALL.into(),
            tls: Vec::from(["plain", "ring", "aws-lc-rs", "native-tls"].map(str::to_owned)),
            only: Vec::new(),
            connections: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().unwrap_or_else(|| panic!("{argument} wants a value"));
            match argument.as_str() {
                // Cargo adds it.
                "--bench" => {}
                "--quick" => {
                    options.rounds = 3;
                    options.rtts = vec![Duration::from_millis(20)];
                    options.shapes = vec![Shape::Paths(10), Shape::Paths(100)];
                }
                "--rounds" => options.rounds = list(&value())[0],
                "--rtt" => {
                    options.rtts = list(&value()).into_iter().map(Duration::from_millis).collect()
                }
                "--shapes" => options.shapes = list(&value()),
                "--tls" => options.tls = list(&value()),
                "--only" => options.only = list(&value()),
                "--connections" => options.connections = list(&value()),
                other => panic!("unknown option {other}; benches/load/main.rs lists them"),
            }
        }
        options
    }

    pub fn programs(&self, place: Place) -> Vec<Program> {
        let wanted = |crypto: &Crypto| self.tls.iter().any(|name| name == crypto.name());
        let chosen = |client: &Client| {
            let named = self.only.iter().any(|name| client.name().replace(' ', "-") == *name);
            self.only.is_empty() || named || *client == Client::HandWritten
        };
        let (plain, tls) = (vec![Crypto::None], Crypto::TLS.to_vec());
        let cryptos = if place == Place::Plain { plain } else { tls };
        let mut programs = Vec::new();
        for crypto in cryptos.into_iter().filter(wanted) {
            let limited = self.connections.iter().map(|limit| Client::Limited(*limit));
            let clients = Client::ALL.into_iter().filter(chosen).chain(limited);
            let clients = clients.filter(|client| client.can_use(crypto));
            programs.extend(clients.map(|client| Program { client, crypto }));
        }
        programs
    }
}

fn list<T: FromStr>(text: &str) -> Vec<T> {
    let parse = |item: &str| item.parse().unwrap_or_else(|_| panic!("{item} is not understood"));
    text.split(',').map(parse).collect()
}
