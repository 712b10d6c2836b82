//! How a watched configuration stays fresh.
//!
//! [`Loader::watch`](crate::Loader::watch) loads as `load` does, and then keeps what it loaded
//! fresh on one background task: [`Live`](crate::Live). Requests run beside each other, so that
//! one path that hangs or fails holds up none of the others.
//!
//! # What happens when
//!
//! | | |
//! |---|---|
//! | token | renewed; another login when it cannot be renewed, is refused, or is cut short by its maximum |
//! | credentials with a lease | renewed; made anew when a renewal is cut short or refused, and whenever their token is replaced, since they die with it |
//! | certificates and signed SSH keys | made anew when two thirds of their life are over; they do not die with their token |
//! | static roles | read again just after each rotation, and until the new password is there |
//! | KV, and other paths without a lease | read again every 5 min, give or take a tenth: version 2 by its metadata first, version 1 by content |
//!
//! A renewal happens at two thirds of the life at the latest, less a jitter of a tenth. At least
//! 10 s of a life are left for an outage, as far as its last five sixths allow: a lease of 20 s is
//! renewed at 10 s, one of 3 s at half a second. The first renewal comes sooner, at a moment spread
//! over half of that time, so that instances which start together do not come back together.
//!
//! How often a KV secret is read again is said by [`Loader::refresh_every`], or for one field by
//! `refresh = "30s"` or `refresh = "never"`; of several fields of one secret the shortest counts.
//! A secret with a pinned `version` is not read again. The fields of one secret change together.
//!
//! # The old pair and the new one
//!
//! A new credential is published first: [`current`](crate::Live::current) has it, subscribers are
//! told. The old one works on until the end of its lease, or until
//! [`Loader::overlap`](crate::Loader::overlap) has passed and every subscriber has taken the new
//! one. A subscriber has taken a configuration when it asks for the next one.
//!
//! How a pool is told:
//!
//! | pool | hook |
//! |---|---|
//! | sqlx | `pool.set_connect_options(..)` on each change, `max_lifetime` below what is left of the old lease: the example `rotating_sqlx` |
//! | deadpool-postgres | `Manager::from_connect(..)` with a `Connect` that reads `live.current()`, `pool.retain(..)` on each change: `rotating_deadpool` |
//! | bb8 | a `ManageConnection` of your own that reads `live.current()` in `connect` |
//! | SeaORM | `get_postgres_connection_pool()`, then as sqlx |
//! | diesel-async | `ManagerConfig::custom_setup` that reads `live.current()` |
//!
//! [`DatabaseCredentials::connection_url`](crate::DatabaseCredentials::connection_url) makes a URL
//! of a pair.
//!
//! # When something fails
//!
//! The last good value stays. Requests back off, with jitter, to one a minute. What fails, since
//! when, and how long what is in hand is good for is in [`status`](crate::Live::status), is told
//! once as an [`Event`](crate::live::Event), and is logged once when it begins and once when it
//! ends. [`Health`](crate::live::Health) is `Degraded` while what is in hand is good, and `Failing`
//! when less than a sixth of its life is left, or, for the password of a static role, when its
//! next rotation is over (10 s after the moment that the server announced):
//!
//! ```json
//! {
//!   "health": "degraded",
//!   "good_until": "2026-11-23T10:14:02Z",
//!   "token": { "login": "repeatable", "health": "healthy", "next_action": "renew" },
//!   "sources": [{
//!     "source": "database/creds/readonly",
//!     "fields": ["database"],
//!     "health": "degraded",
//!     "expires_at": "2026-11-23T10:14:02Z",
//!     "failing_since": "2026-11-23T09:51:40Z",
//!     "error": "vault database/creds/readonly: the lease is not renewed: Vault is sealed (HTTP 503)"
//!   }],
//!   "counters": { "renewals": 212, "rotations": 9, "failures": 3 }
//! }
//! ```
//!
//! * A secret that is **deleted** in Vault stays in hand as it was, and its source fails.
//! * A configuration that a **validator** refuses is not published, and holds up no other change; a
//!   validator that panics refuses. It is told once, until what was read changes. While it is a
//!   credential that is refused, the status shows the end of the one before, which stays in use.
//! * A **login that is refused** is tried again after 1, 5 and then every 20 minutes, which locks
//!   no account, or at once when the file with the secret_id changes. Until then `login` is
//!   `refused`, long before the token in hand ends.
//! * A token that was given and **cannot be replaced** is renewed as long as it can be; its end is
//!   told when no renewal is left.
//! * Credentials that **never last** are made three times out of turn in ten minutes, and no more.
//!   From then on their source says when the next is made: `Failing` when the server does not know
//!   the lease any more, `Degraded` when it lives on and is only not renewed.
//! * Requests that **hang** hold up no renewal, however many they are: renewals and issues may open
//!   connections of their own. What waits for a connection is under its own time limit, and is
//!   reported as not sent.
//! * A server or gateway that answers with **`Retry-After`** is sent nothing before that moment, by
//!   no configuration that shares the [`Vault`](crate::Vault), logins included, for an hour at most.
//!   Of several addresses this binds the one that said it, and another one is asked meanwhile. A
//!   revocation is one request, and is sent all the same.
//! * A **connection that died** without a word is found out by a ping within 10 s, over HTTP/2, and
//!   left. A request that gets no answer in time leaves its connection too, unless others were
//!   answered over it meanwhile.
//! * A machine that was **suspended** notices within 30 s: deadlines are kept on the monotonic and
//!   the wall clock, and the one that says later counts.
//!
//! # The end
//!
//! [`shutdown`](crate::Live::shutdown) revokes the token that was made, and everything that was
//! made under it goes along. A token that was given is never revoked. Watched configurations that
//! share a [`Vault`](crate::Vault) share its token, and the last one to shut down revokes it; what
//! was loaded once over the same `Vault` goes along too. From then on
//! [`status`](crate::Live::status) is [`Health::Stopped`](crate::live::Health::Stopped).
//!
//! # What the token may do
//!
//! Renewing and revoking itself, and renewing leases, come with the policy `default`. `read` on
//! `<mount>/metadata/<path>` lets a KV version 2 secret be looked at without being read; without
//! it, it is read each time, and every twelfth time it is tried whether the policy was mended.
//!
//! # Measured
//!
//! `cargo bench -p vault-config-tests --bench live`: `current()` costs what a load of a bare
//! `arc_swap` does (12 ns; 1.00 to 1.15 times). A hundred KV paths and five roles cost 1 s of CPU
//! time an hour, 1200 requests and 10 MiB; `bao agent`, rendering the same at the same pace, 5 s
//! and 81 MiB. `cargo test -p vault-config fleet -- --nocapture` simulates a thousand instances that
//! start in the same second for a day: the busiest second has 2.6 times the mean, with the Go
//! client's formula and polls at fixed times 280 times.
//!
//! [`Loader::refresh_every`]: crate::Loader::refresh_every
