//! How many requests a load makes, and what it costs.
//!
//! **Requests.** One login, then every distinct path once, all at the same time: two round trips,
//! whatever the number of fields. A token that is given needs no login. A KV mount whose version is
//! neither declared nor 2 costs one request for each path and one more for the mount, the first
//! time. Configurations that share a [`Vault`](crate::Vault) share its login, its connections and
//! what it has learned. A load that fails, and every check, revokes the token that it logged in for,
//! by one request more; over a `Vault` that is shared, a load that fails cuts short each lease that
//! it was issued, by one request each.
//!
//! **Connections.** Over TLS all requests share one HTTP/2 connection: with a token that is given,
//! the first read goes alone so that the others find it. At most 84 requests are under way on it.
//! Over plain HTTP/1.1 a connection carries one request at a time; at most
//! [`max_connections`](crate::VaultBuilder::max_connections) are open, 64 by default. Renewals, and
//! logins and issues, may go beyond either limit by 8 each, so that requests which hang hold up no
//! credential. An idle connection over HTTP/2 carries a ping every 5 s, and is closed within 3 min.
//!
//! # Measured
//!
//! `cargo bench -p vault-config-tests --features compare --bench load` compares, in one run, with a
//! reqwest program written by hand that makes the same calls, and with vaultrs. Every load is a
//! process of its own. Times are medians in milliseconds at a round trip of 20 ms, from a busy
//! machine with two cores, so read the ratios, and no more than two digits of them.
//!
//! | plain HTTP | 1 path | 10 paths | 100 paths | 100 fields in 5 paths |
//! |---|--:|--:|--:|--:|
//! | by hand | 71 | 97 | 195 | 95 |
//! | vault-config | 72 (1.01) | 107 (1.10) | 184 (0.95) | 96 (1.01) |
//! | vaultrs, all at once | 71 (1.00) | 100 (1.03) | 199 (1.02) | 96 (1.01) |
//! | vaultrs, one by one | 71 (1.00) | 294 (3.0) | 2612 (13) | 172 (1.8) |
//!
//! | TLS, rustls with ring | 1 path | 10 paths | 100 paths | 100 fields in 5 paths |
//! |---|--:|--:|--:|--:|
//! | by hand | 98 | 107 | 183 | 101 |
//! | vault-config | 98 (1.00) | 116 (1.09) | 183 (1.00) | 102 (1.01) |
//! | vaultrs, all at once | 104 (1.06) | 113 (1.05) | 203 (1.11) | 108 (1.07) |
//! | vaultrs, one by one | 106 (1.08) | 345 (3.2) | 2683 (15) | 207 (2.1) |
//!
//! In longer runs of 11 and 21 rounds 10 and 100 paths took 0.98 to 1.02 times as long as by hand.
//!
//! CPU time of a whole load is 1.0 to 1.3 times that of the program by hand: 4.7 ms for one path
//! and 32 ms for a hundred on plain HTTP, 5.9 ms and 17 ms over TLS. The difference, up to 40 µs a
//! request, is for retries, errors that can be told, and values that are wiped.
//!
//! **Crypto provider.** CPU time of a whole load of one path over TLS, start-up included: 5 ms with
//! ring, 45 to 60 ms with aws-lc-rs, whose random generator seeds itself from timing jitter, and
//! about 110 ms with native-tls and OpenSSL. ring is therefore the default.
//!
//! **Connections.** 100 paths over plain HTTP at a round trip of 40 ms: 456 ms with at most 16
//! connections, 321 with 32, 270 with 64, and no less with 100, which cost 3 to 7 ms more CPU.
