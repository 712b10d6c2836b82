//! How a watched configuration stays fresh.
//!
//! [`Loader::watch`](crate::Loader::watch) loads as `load` does, and then keeps what it loaded
//! fresh on one background task: [`Live`](crate::Live). Requests run beside each other, so that
//! one path that hangs or fails holds up none of the others.
//!
//! # Before it begins
//!
//! What a load obtains is yours when it returns, and not before. When it fails, when its future is
//! dropped half way (a timeout, a task that is aborted), or when a validator or a type's
//! `Deserialize` panics, it ends all of it: it revokes the token that it logged in for, also one
//! whose login ends only then, and with it all that was issued under it. A token that was given, or
//! that a [`Vault`](crate::Vault) shares with others, stays, and a batch token is never revoked: then
//! every lease that this load was issued is cut short by a renewal for one second. A request that
//! issues a credential is never cancelled half way, so that its lease is known and can be ended. What
//! is issued and no field can hold is ended at once.
//!
//! A load that fails waits for this, at most 5 s. One that is dropped does not wait, and leaves it to
//! its runtime: where that ends, too, the token and the leases live until their end. What the token
//! may not end is logged at `warn`.
//!
//! [`load`](crate::Loader::load) gives what it obtained as it is, and nothing renews it: it warns
//! once of what expires, and when. `watch` hands it on to the task that keeps it fresh.
//!
//! # What happens when
//!
//! | | |
//! |---|---|
//! | token | renewed; another login when it cannot be renewed, is refused, or is cut short by its maximum |
//! | credentials with a lease | renewed; issued anew when a renewal is cut short or refused, and whenever their token is replaced, since they die with it |
//! | certificates and signed SSH keys | issued anew between half and two thirds of their life; they do not die with their token |
//! | static roles | read again just after each rotation, and until the new password is there |
//! | KV, and other paths without a lease | read again every 5 min, give or take a tenth: version 2 by its metadata first, version 1 by content |
//!
//! A renewal happens at two thirds of the life at the latest, less a jitter of a tenth. At least
//! 10 s of a life are left for an outage, as far as its last five sixths allow: a lease of 20 s is
//! renewed at 10 s, one of 3 s at half a second. The first renewal comes sooner, at a moment spread
//! over half of that time, so that instances which start together do not come back together. What
//! cannot be renewed is replaced between half and two thirds of its life.
//!
//! How often a KV secret is read again is said by [`Loader::refresh_every`], or for one field by
//! `refresh = "30s"` or `refresh = "never"`; of several fields of one secret the shortest counts.
//! A secret with a pinned `version` is not read again. The fields of one secret change together. A
//! secret whose metadata was deleted and that was written anew begins at version 1 again: the time
//! of the version is compared too. A key that is taken out of a secret is `None`, or the default,
//! where the field has one, as after a restart; else the whole secret stays as it was, and fails.
//! [`refresh`](crate::Live::refresh) always reads the secret itself.
//!
//! # The old pair and the new one
//!
//! A new credential is published first: [`current`](crate::Live::current) has it, and subscribers
//! are woken. The old one works on until the end of its lease, or until
//! [`Loader::overlap`](crate::Loader::overlap) has passed and every subscriber has taken the new
//! one. A subscriber has taken a configuration when it asks for the next one. A pair whose
//! replacement a validator refuses is still in use, and is not released.
//!
//! How a pool learns of it:
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
//! The last good value stays. What fails, since when, and how long what is held is good for is in
//! [`status`](crate::Live::status), is reported once as an [`Event`](crate::live::Event), and is
//! logged once when it begins and once when it ends. [`Health`](crate::live::Health) is `Degraded`
//! while what is held is good, and `Failing` when less than a sixth of its life is left, or, for the
//! password of a static role, when its next rotation is over (10 s after the moment that the server
//! announced):
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
//! * A **path that fails for itself** is tried again after 1, 2, 4 .. 60 s; all paths that fail
//!   share one retry a second.
//! * A secret that is **deleted** in Vault stays as it was, and its source fails.
//! * A configuration that a **validator** refuses is not published, and holds up no other change; a
//!   validator that panics refuses. It is reported once, until what was read changes. While it is a
//!   credential that is refused, the status shows the end of the one before, which stays in use.
//! * Credentials that **never last** are issued three times out of turn in ten minutes, and no more.
//!   From then on their source says when the next is issued: `Failing` when the server does not know
//!   the lease any more, `Degraded` when it lives on and is only not renewed. Requests whose answer
//!   was lost may each have issued a credential: after 20 in ten minutes there is no other. An answer
//!   that refused, of the server or of a gateway, does not count.
//! * A role whose leases **may not be renewed** by the policies is remembered for an hour: its
//!   credentials are replaced in their time, and no renewal is asked for in between.
//! * A static role whose **rotation is late** is read in proportion to the delay, from twice a second
//!   to once a minute, and is `Degraded` from the tenth second on. That covers servers which
//!   announce the next rotation before they have made the last one.
//! * A **panic** in a request, such as one of your resolver, is a failure of that request.
//! * A machine that was **suspended** notices within 30 s: deadlines are kept on the monotonic and
//!   the wall clock, and the one that says later counts.
//!
//! # Outages
//!
//! A server is away when it says so (sealed, without a leader, not initialised), when nothing
//! listens, or when two different paths fail with no answer in between. From then on one request is
//! sent as a probe for all configurations over the [`Vault`](crate::Vault): after 1, 3, 9 s, then
//! about once a minute, or twice when something ends soon. Lives of less than a minute are asked for
//! more often, so that they can be saved. A reading or a renewal goes before what would issue a
//! credential. All that is due meanwhile is reported as failing for the same reason, and
//! [`refresh`](crate::Live::refresh) sends a probe at once.
//!
//! The first answer ends the outage. What has ended is replaced at once. What still lives comes back
//! spread over a part of the time that it has, and secrets are read in their own turn, so that a fleet
//! does not come back in one moment. `Retry-After` binds every request to that server, logins
//! included, for an hour at most.
//!
//! # The token
//!
//! * Only Vault's own words to the very token that was sent say that it is **dead**. The page of a
//!   gateway, a renewal that grants nothing, or a late answer to a token that was replaced change
//!   nothing of what is known.
//! * A token that **cannot be replaced** (`VAULT_TOKEN`, a token file that did not change, a
//!   secret_id that is spent) is renewed to its very end, however often that fails. One that Vault
//!   refuses is looked at again, once a minute and at each refresh.
//! * A token in a **file** is replaced there by an agent: the file is looked at every 5 s. That such a
//!   token ends is reported in the last twentieth of its life, that of `VAULT_TOKEN` when no renewal
//!   is left.
//! * A **login that is refused** for its secret by a method that locks accounts (AppRole, userpass,
//!   LDAP, RADIUS, and your own unless [`AuthMethod::locks_accounts`] says otherwise) is tried again
//!   after 20 min, an hour, and then every four hours, or at once when the file with the secret
//!   changes. Five in a quarter of an hour would lock it, for other instances too. Loads over the same
//!   `Vault` count, and after three are refused without a request. Every other refusal, such as that of
//!   Kubernetes' API being away, is tried again each minute. Until then `login` is `refused`, long
//!   before the token ends.
//! * A token that **may not renew itself** is replaced in its time; that is remembered for an hour.
//! * The uses of a token with a **limit on uses** are set aside before they are spent. One that is
//!   used up lives on, with what was issued under it, until another login.
//! * Configurations that **share a `Vault`** share its token, what is wrong with it, and its logins:
//!   one of them renews it for all.
//!
//! # The end
//!
//! [`shutdown`](crate::Live::shutdown) revokes the token that was issued, and everything that was
//! issued under it goes along. Where the token cannot be revoked (a batch token, or policies that
//! forbid it) each lease is cut short by a renewal for one second, and what lives on is the error. A
//! login that hangs is not waited for. A token that was given is never revoked. Watched
//! configurations that share a [`Vault`](crate::Vault) share its token, and the last one to shut down
//! revokes it; what was loaded once over the same `Vault` goes along too. From then on
//! [`status`](crate::Live::status) is [`Health::Stopped`](crate::live::Health::Stopped), and
//! [`refresh`](crate::Live::refresh) is an error of the kind
//! [`Stopped`](crate::ErrorKind::Stopped). A configuration that is dropped, or whose runtime ends,
//! stops in the same way, and revokes nothing.
//!
//! # What the token may do
//!
//! Renewing and revoking itself, and renewing leases, come with the policy `default`. `read` on
//! `<mount>/metadata/<path>` lets a KV version 2 secret be looked at without being read; without
//! it, it is read each time, and every twelfth time it is tried whether the policy was corrected.
//!
//! # Measured
//!
//! `cargo bench -p vault-config-tests --bench live`: `current()` costs what a load of a bare
//! `arc_swap` does (12 ns; 1.00 to 1.15 times). A hundred KV paths and five roles cost 1 s of CPU
//! time an hour, 1200 requests and 10 MiB; `bao agent`, rendering the same at the same pace, 5 s
//! and 81 MiB. `cargo test -p vault-config fleet -- --nocapture` simulates a thousand instances that
//! start in the same second for a day: the busiest second has 2.6 times the mean, with the Go
//! client's formula and polls at fixed times 280 times. In an outage of ten minutes the busiest minute
//! has 3.4 times the mean, in the two minutes after it 1.8 times, in the hours after it 1.7 times.
//!
//! [`Loader::refresh_every`]: crate::Loader::refresh_every
//! [`AuthMethod::locks_accounts`]: crate::auth::AuthMethod::locks_accounts
