//! Every way to log in: what the service needs, what the administrator runs, what it trusts.
//!
//! A service that runs on a platform which vouches for it needs no secret of its own: Kubernetes,
//! AWS, Google Cloud, Azure, or a CI system that signs JWTs. Elsewhere AppRole, with its secret_id
//! wrapped while it is on its way, or a TLS certificate. Passwords and GitHub's tokens are for
//! people.
//!
//! `VAULT_AUTH_METHOD` names the method, `VAULT_AUTH_ROLE` the role of the server, and
//! `VAULT_AUTH_MOUNT` where the server has the method, when that is not where it usually is. Every
//! variable of the table is also read as `BAO_..`, which goes first, but for those of the clouds
//! (`AWS_..`, `AZURE_..`, `IDENTITY_..`, `GCE_..`), which are their own. A variable that also exists
//! as `.._FILE` is a file's path then, and the file is read at every login: at most 1 MiB of it, from a regular file
//! or from a pipe that is written to its end within 5 s.
//!
//! The commands are for a role `app`, and a policy of that name which
//! [`Schema::policy`](crate::Schema::policy) has written: `vault policy write app policy.hcl`. `bao`
//! takes the same. Each method but `token`, `wrapped_token`, `token_file` and `none` is switched on once:
//! `vault auth enable <method>`.
//!
//! | `VAULT_AUTH_METHOD` and type | variables | what the administrator runs | what it trusts |
//! |---|---|---|---|
//! | `token` [`Token`](crate::auth::Token) | `VAULT_TOKEN` | `vault token create -policy=app -period=24h` | whoever can read the variable, for as long as the token lives |
//! | `wrapped_token` [`WrappedToken`](crate::auth::WrappedToken) | `VAULT_WRAPPED_TOKEN` or `.._FILE`; `VAULT_WRAPPED_TOKEN_MADE_BY` if it is not made by `auth/token/create` | `vault token create -policy=app -wrap-ttl=120s` | whoever unwraps it first: if that was not the service, it is told |
//! | `token_file` [`TokenFile`](crate::auth::TokenFile) | `VAULT_TOKEN_FILE`, else `~/.vault-token` | an agent whose `sink "file"` is that file | who can read the file, and what writes it |
//! | `approle` [`AppRole`](crate::auth::AppRole) | `VAULT_ROLE_ID` and `VAULT_SECRET_ID`, each or `.._FILE` | `vault write auth/approle/role/app token_policies=app token_ttl=1h`<br>`vault read auth/approle/role/app/role-id`<br>`vault write -f auth/approle/role/app/secret-id` | whoever holds both ids: let them come by two ways, and bind the secret_id (`secret_id_bound_cidrs`, `secret_id_ttl`) |
//! | `approle`, wrapped | `VAULT_ROLE_ID` and `VAULT_WRAPPED_SECRET_ID`, each or `.._FILE`; `VAULT_AUTH_ROLE=app` accepts one of that role alone | `vault write -wrap-ttl=120s -f auth/approle/role/app/secret-id` | whoever unwraps it first: if that was not the service, it is told |
//! | `kubernetes` [`Kubernetes`](crate::auth::Kubernetes) | `VAULT_AUTH_ROLE`; `VAULT_KUBERNETES_TOKEN_FILE` for a projected token | `vault write auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc`<br>`vault write auth/kubernetes/role/app bound_service_account_names=app bound_service_account_namespaces=prod audience=vault token_policies=app` | the Kubernetes API, which the server asks; whoever may run a pod with that service account, or ask for its token; the node |
//! | `jwt` [`Jwt`](crate::auth::Jwt) | `VAULT_JWT` or `VAULT_JWT_FILE`; `VAULT_AUTH_ROLE` unless the server has a default | `vault write auth/jwt/config oidc_discovery_url=https://ci.example.com`<br>`vault write auth/jwt/role/app role_type=jwt user_claim=sub bound_audiences=vault bound_subject=.. token_policies=app` | the issuer's key, and that the bound claims are this service's alone |
//! | `cert` [`Cert`](crate::auth::Cert) | `VAULT_CLIENT_CERT`, `VAULT_CLIENT_KEY`; `VAULT_AUTH_ROLE` | `vault write auth/cert/certs/app certificate=@ca.pem allowed_common_names=app token_policies=app` | the authority that signs certificates, whoever can read the key, and nothing that ends TLS on the way |
//! | `aws` [`AwsIam`](../../auth/index.html), feature `aws` | AWS's own; `VAULT_AWS_IAM_SERVER_ID`, `VAULT_AWS_REGION`, `VAULT_AUTH_ROLE` | `vault write auth/aws/config/client iam_server_id_header_value=vault.example.com`<br>`vault write auth/aws/role/app auth_type=iam bound_iam_principal_arn=arn:aws:iam::1234:role/app token_policies=app` | IAM and STS, which the server asks; whoever may take that role; in a machine every process that reaches the metadata service |
//! | `gcp` [`Gcp`](crate::auth::Gcp) | `VAULT_AUTH_ROLE` | `vault write auth/gcp/role/app type=gce bound_projects=.. bound_service_accounts=.. token_policies=app` | Google's signature; every process that reaches the metadata server |
//! | `azure` [`Azure`](crate::auth::Azure) | `VAULT_AUTH_ROLE`; `AZURE_CLIENT_ID`, `VAULT_AZURE_RESOURCE` | `vault write auth/azure/config tenant_id=.. resource=https://management.azure.com/`<br>`vault write auth/azure/role/app bound_subscription_ids=.. bound_resource_groups=.. token_policies=app` | Azure's signature; every process that reaches the metadata service |
//! | `userpass` [`UserPass`](crate::auth::UserPass) | `VAULT_USERNAME`, and `VAULT_PASSWORD` or `.._FILE` | `vault write auth/userpass/users/app password=.. token_policies=app` | whoever knows the password; five wrong ones lock the user for a while |
//! | `ldap` [`Ldap`](crate::auth::Ldap) | as `userpass` | `vault write auth/ldap/config url=ldaps://.. userdn=.. userattr=uid binddn=.. bindpass=..`<br>`vault write auth/ldap/users/app policies=app` | the directory, the way to it (`ldaps`), and the server, which sees the password |
//! | `radius` [`Radius`](crate::auth::Radius) | as `userpass` | `vault write auth/radius/config host=.. secret=..`<br>`vault write auth/radius/users/app policies=app` | the RADIUS server and the network to it: the protocol hides a password by MD5 alone |
//! | `github` [`GitHub`](crate::auth::GitHub) | `VAULT_AUTH_GITHUB_TOKEN` or `.._FILE` | `vault write auth/github/config organization=example`<br>`vault write auth/github/map/teams/app value=app` | GitHub, whoever holds the token, and the server, which sees it |
//! | `none` [`Agent`](crate::auth::Agent) | `VAULT_AGENT_ADDR`, or `VAULT_ADDR=unix:///..` | an agent or proxy with `auto_auth` and `api_proxy { use_auto_auth_token = true }` | whatever reaches the agent's listener: prefer a Unix socket, and `require_request_header` |
//!
//! OpenBao has `approle`, `cert`, `jwt`, `kubernetes` and `userpass` built in, and had `ldap` and
//! `radius` up to 2.6; Vault has them all.
//!
//! Without `VAULT_AUTH_METHOD` the first that is present is used, which is logged at `debug`:
//! `VAULT_TOKEN` or `VAULT_WRAPPED_TOKEN`, `VAULT_ROLE_ID`, `VAULT_AGENT_ADDR`, `VAULT_AUTH_ROLE`
//! where there is a Kubernetes token, a token file. When there is none, the error lists all that was
//! looked for.
//!
//! `VAULT_AUTH_NAMESPACE` is the namespace that has the method, when it is another one than
//! `VAULT_NAMESPACE`. The token is made there, its policies are written there, and they name the
//! paths of a namespace below it with that in front: `team-a/secret/data/my-app`.
//!
//! # In code
//!
//! ```
//! use vault_config::{Vault, auth::Kubernetes};
//!
//! # fn main() -> Result<(), vault_config::Error> {
//! let vault = Vault::builder()
//!     .address("https://vault.example.com:8200")
//!     .auth(Kubernetes::new("app").mount("cluster-a").token_file("/var/run/secrets/vault/token"))
//!     .build()?;
//! # Ok(()) }
//! ```
//!
//! A method of your own implements [`AuthMethod`](crate::auth::AuthMethod), and gets its token by
//! the server's own login through [`LoginClient`](crate::auth::LoginClient). One that asks another
//! program for the secret_id runs by `cargo run -p vault-config-examples --bin own_login`.
//!
//! # What every login trusts
//!
//! The server, the environment, the files it reads: see [`threat_model`](super::threat_model). A
//! wrapping token is looked at before it is unwrapped; the server cannot tell one whose time is over
//! from one that was used.
//!
//! # What a login never does
//!
//! * A refused login is not repeated by itself: after five wrong tries the server locks the role or
//!   user for a while. All who wait for one login share its failure; the next load tries again.
//! * What may be used up by arriving is not sent twice. A request is sent again when it cannot have
//!   arrived, or when the server says that it did not look at it.
//! * Nothing malformed is sent: an empty password, a JWT that is not three parts, a line break in a
//!   token or in a role's name are refused with a sentence that names the setting.
//! * No secret is told: not by `Debug`, not in an error, not in a log line, also where the server's own
//!   words repeat what was sent.
