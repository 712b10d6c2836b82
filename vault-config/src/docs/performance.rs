//! How many requests a load makes, and what it costs.
//!
//! **Requests.** One login, then every distinct path once, all at the same time: two round trips,
//! whatever the number of fields. A token that is given needs no login. A KV mount whose version is
//! neither declared nor 2 costs one request for each path and one more for the mount, the first
//! time. Configurations that share a [`Vault`](crate::Vault) share its login, its connections and
//! what it has learned.
//!
//! **Connections.** Over TLS all requests share one HTTP/2 connection: with a token that is given,
//! the first read goes alone so that the others find it. Over plain HTTP/1.1 a connection carries
//! one request at a time; at most [`max_connections`](crate::VaultBuilder::max_connections) are
//! open, 64 by default.
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
//! | by hand | 71 | 98 | 209 | 98 |
//! | vault-config | 72 (1.02) | 101 (1.04) | 231 (1.10) | 100 (1.02) |
//! | vaultrs, all at once | 71 | 102 (1.05) | 265 (1.27) | 98 |
//! | vaultrs, one by one | 71 | 295 (3.0) | 2583 (12) | 177 (1.8) |
//!
//! | TLS, rustls with ring | 1 path | 10 paths | 100 paths | 100 fields in 5 paths |
//! |---|--:|--:|--:|--:|
//! | by hand | 95 | 102 | 184 | 99 |
//! | vault-config | 95 (1.00) | 111 (1.09) | 188 (1.02) | 104 (1.05) |
//! | vaultrs, all at once | 105 (1.11) | 109 (1.07) | 215 (1.17) | 108 (1.09) |
//! | vaultrs, one by one | 102 (1.07) | 332 (3.3) | 2756 (15) | 208 (2.1) |
//!
//! CPU time is 1.0 to 1.2 times that of the program by hand on plain HTTP. Over TLS with ring,
//! where the whole load costs 18 ms of CPU for 100 paths, it is 1.2 to 1.4 times: about 30 µs a
//! request, for retries, errors that can be told, and values that are wiped.
//!
//! **Crypto provider.** CPU time of a whole load of one path over TLS, start-up included: 5 ms with
//! ring, 45 to 60 ms with aws-lc-rs, whose random generator seeds itself from timing jitter, and
//! about 110 ms with native-tls and OpenSSL. ring is therefore the default.
//!
//! **Connections.** 100 paths over plain HTTP at a round trip of 40 ms: 456 ms with at most 16
//! connections, 321 with 32, 270 with 64, and no less with 100, which cost 3 to 7 ms more CPU.
