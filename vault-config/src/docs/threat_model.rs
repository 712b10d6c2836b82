//! What a secret is protected from on its way into your service, by what, and what is left to you.
//!
//! # What is defended
//!
//! | against | by |
//! |---|---|
//! | a secret in a log, an error, a panic, a `Debug` | a field from Vault has a type that hides its value, or does not compile; no message quotes a value, a token, a secret_id or a wrapped token, also where the server or a type's own words repeat it |
//! | a file that takes Vault's place | in Vault mode a field from Vault is never read from `.env` or a file; an error is never answered with a default; a mode that cannot be read is Vault mode; a login without an address is an error |
//! | a plain value where an encrypted one is meant | a `transit` field refuses it in Vault mode, and a ciphertext is never taken for the value |
//! | another server | TLS, verified unless a variable says otherwise in so many words, which is logged; an `https` address never falls back to `http`; a redirect is followed once, over the same scheme, and takes the token to no other host over plain http |
//! | a stolen wrapping token | it is looked up before it is unwrapped; one that was used, or that another path made, is [`Tampered`](crate::ErrorKind::Tampered), logged at `error`, and not tried again |
//! | a lock-out | a refused login is not repeated by itself: five wrong tries lock a role or user |
//! | a path that a variable leads elsewhere | a filled-in path has no empty, `.` or `..` segment and no character that is not printable |
//! | a name or a word that colours the terminal, or forges a problem | what comes from elsewhere is shown on one line, escaped and cut: see [`errors`](super::errors) |
//! | credentials left behind | a load that fails, panics or is dropped half way ends what it was issued; [`Live::shutdown`](crate::Live::shutdown) does; a check makes none; a role whose credentials never last is minted a few times in ten minutes, and no more |
//! | memory that is read later | values, tokens and private keys are wiped where this crate holds them |
//!
//! # What is trusted
//!
//! **The server.** Whatever proves who the service is, is sent to whoever answers at the address:
//! it is TLS that makes this the server. Plain http to another host than this one is warned of, and
//! so is a certificate that is not verified. What the server answers is believed, as far as it has
//! the documented shape: at most 32 MiB, JSON no deeper than 128 levels.
//!
//! **The environment.** Who can set the service's variables can send it elsewhere: to another
//! server, with another token file, to another metadata address; and can set any field, unless
//! [`env_overrides(false)`](crate::Loader::env_overrides) keeps the fields from Vault out of it.
//!
//! **The files** that a login or a certificate is read from, and whoever may write them.
//!
//! **The metadata services** of the clouds answer over plain http at an address that only the
//! machine itself should reach. No proxy is used for them and no redirect followed, at most 256 KiB
//! are read, and an answer that is no token is never passed on. What else runs in the machine may
//! ask them, too: a service that must not share the machine's identity needs one of its own.
//!
//! **What each login trusts** besides: the last column of the table in [`connecting`](super::connecting).
//!
//! # What is not defended
//!
//! * Whoever can read the memory of the process, or its environment while it starts.
//! * What you do with a value that you expose. A `SecretString` wipes its own copy alone.
//! * The buffers of the HTTP and TLS libraries, and those of a figment of your own: they are not
//!   wiped. `reqwest::Identity` and rustls keep a private key as they see fit.
//! * A secret in the text of the program: the `default` of a field, the `data(..)` of a `write`.
//! * A policy that allows more than the service needs:
//!   [`Schema::policy`](crate::Schema::policy) writes the least.
