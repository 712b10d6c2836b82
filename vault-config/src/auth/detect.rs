//! The way to log in that the environment describes.

use std::path::Path;
use std::sync::Arc;

use super::{
    Agent, AuthMethod, approle, azure, cert, gcp, github, jwt, kubernetes, ldap, password, radius,
    token, token_file, userpass, wrapped_token,
};
use crate::error::{Cause, ErrorKind};
use crate::source::env::{Environment, OfficialEnv};
use crate::text::printable;

/// `None` if the environment lacks what the method needs.
pub(super) type Detected = Result<Option<Arc<dyn AuthMethod>>, Cause>;

/// One login that `VAULT_AUTH_METHOD` may name.
struct KnownLogin {
    name: &'static str,
    /// What has to be set at least, for a message.
    needs: &'static str,
    /// Without `VAULT_`, and without those of the logins above: the variables that only logins read.
    variables: &'static [&'static str],
    from_environment: fn(&OfficialEnv<'_>) -> Detected,
}

const LOGINS: &[KnownLogin] = &[
    KnownLogin {
        name: "token",
        needs: "VAULT_TOKEN",
        variables: &["TOKEN"],
        from_environment: token::from_environment,
    },
    KnownLogin {
        name: "wrapped_token",
        needs: "VAULT_WRAPPED_TOKEN or VAULT_WRAPPED_TOKEN_FILE",
        variables: &["WRAPPED_TOKEN", "WRAPPED_TOKEN_MADE_BY"],
        from_environment: wrapped_token::from_environment,
    },
    KnownLogin {
        name: "approle",
        needs: "VAULT_ROLE_ID",
        variables: &["ROLE_ID", "SECRET_ID", "WRAPPED_SECRET_ID"],
        from_environment: approle::from_environment,
    },
    KnownLogin {
        name: "kubernetes",
        needs: "VAULT_AUTH_ROLE",
        variables: &[kubernetes::TOKEN_FILE],
        from_environment: kubernetes::from_environment,
    },
    KnownLogin {
        name: "jwt",
        needs: "VAULT_JWT or VAULT_JWT_FILE",
        variables: &["JWT"],
        from_environment: jwt::from_environment,
    },
    KnownLogin {
        name: "userpass",
        needs: password::NEEDS,
        variables: &["USERNAME", "PASSWORD"],
        from_environment: userpass::from_environment,
    },
    KnownLogin {
        name: "ldap",
        needs: password::NEEDS,
        variables: &[],
        from_environment: ldap::from_environment,
    },
    KnownLogin {
        name: "radius",
        needs: password::NEEDS,
        variables: &[],
        from_environment: radius::from_environment,
    },
    KnownLogin {
        name: "cert",
        needs: "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
        variables: &["CLIENT_CERT", "CLIENT_CERT_BYTES", "CLIENT_KEY", "CLIENT_KEY_BYTES"],
        from_environment: cert::from_environment,
    },
    KnownLogin {
        name: "aws",
        needs: "",
        variables: &["AWS_REGION", "AWS_IAM_SERVER_ID"],
        from_environment: aws,
    },
    KnownLogin {
        name: "gcp",
        needs: "VAULT_AUTH_ROLE",
        variables: &[],
        from_environment: gcp::from_environment,
    },
    KnownLogin {
        name: "azure",
        needs: "VAULT_AUTH_ROLE",
        variables: &["AZURE_RESOURCE"],
        from_environment: azure::from_environment,
    },
    KnownLogin {
        name: "github",
        needs: "VAULT_AUTH_GITHUB_TOKEN or VAULT_AUTH_GITHUB_TOKEN_FILE",
        variables: &["AUTH_GITHUB_TOKEN"],
        from_environment: github::from_environment,
    },
    KnownLogin {
        name: "token_file",
        needs: "VAULT_TOKEN_FILE, or a token in ~/.vault-token",
        variables: &[],
        from_environment: token_file::from_environment,
    },
    KnownLogin { name: "none", needs: "", variables: &[], from_environment: agent },
];

/// The variables that every login reads.
const COMMON_VARIABLES: [&str; 4] = ["AUTH_METHOD", "AUTH_ROLE", "AUTH_MOUNT", "AUTH_NAMESPACE"];

/// The login that `VAULT_AUTH_METHOD` names, else the first that is present.
pub(crate) fn detect(environment: &Environment) -> Result<Arc<dyn AuthMethod>, Cause> {
    let env = OfficialEnv(environment);
    let Some((variable, name)) = env.get("AUTH_METHOD")? else {
        return first_present(&env, Path::new(kubernetes::SERVICE_ACCOUNT_TOKEN));
    };
    named(&env, &name).map_err(|cause| cause.at(format!("env {variable}")))
}

/// The variables in the environment that ask for a login.
///
/// Variables that a platform sets for everything that runs on it are not among them, nor is a token
/// in a home directory.
pub(crate) fn configured(environment: &Environment) -> Vec<String> {
    let mut names: Vec<_> = LOGINS.iter().flat_map(|login| login.variables).collect();
    names.extend(&COMMON_VARIABLES);
    let mut found = Vec::new();
    for name in names {
        for prefix in ["BAO", "VAULT"] {
            found.extend([format!("{prefix}_{name}"), format!("{prefix}_{name}_FILE")]);
        }
    }
    found.retain(|variable| environment.is_set(variable));
    found
}

fn named(env: &OfficialEnv<'_>, name: &str) -> Result<Arc<dyn AuthMethod>, Cause> {
    let Some(login) = LOGINS.iter().find(|login| login.name == name) else {
        let names: Vec<_> = LOGINS.iter().map(|login| login.name).collect();
        return Err(Cause::new(
            ErrorKind::Setting,
            "is not a login method of vault-config",
            format!("use one of {}", names.join(", ")),
        ));
    };
    (login.from_environment)(env)?.ok_or_else(|| {
        Cause::new(
            ErrorKind::NoLogin,
            format!("this login method requires {}", login.needs),
            format!("set {}", login.needs),
        )
    })
}

fn first_present(
    env: &OfficialEnv<'_>,
    service_account_token: &Path,
) -> Result<Arc<dyn AuthMethod>, Cause> {
    let agent_at_address = || match env.get("AGENT_ADDR")? {
        Some(_) => agent(env),
        None => Ok(None),
    };
    let candidates: [&dyn Fn() -> Detected; 6] = [
        // Before a token, because a token beside it is an error.
        &|| wrapped_token::from_environment(env),
        &|| token::from_environment(env),
        &|| approle::from_environment(env),
        &agent_at_address,
        &|| kubernetes::if_present(env, service_account_token),
        &|| token_file::from_environment(env),
    ];
    for candidate in candidates {
        if let Some(found) = candidate()? {
            let method = printable(&found.describe());
            tracing::debug!(method, "uses the first login method that is present");
            return Ok(found);
        }
    }
    Err(nothing_present(service_account_token))
}

fn agent(_: &OfficialEnv<'_>) -> Detected {
    Ok(Some(Arc::new(Agent::new())))
}

#[cfg(feature = "aws")]
fn aws(env: &OfficialEnv<'_>) -> Detected {
    super::aws::from_environment(env)
}

#[cfg(not(feature = "aws"))]
fn aws(_: &OfficialEnv<'_>) -> Detected {
    Err(Cause::new(
        ErrorKind::Setting,
        "vault-config was built without this login method",
        "enable its feature `aws`",
    ))
}

fn nothing_present(service_account_token: &Path) -> Cause {
    let in_pod = match service_account_token.is_file() {
        true => "this pod has a Kubernetes token: VAULT_AUTH_ROLE=<role> logs in with it\nor ",
        false => "",
    };
    Cause::new(
        ErrorKind::NoLogin,
        format!(
            "no login method was found; looked for VAULT_TOKEN or BAO_TOKEN, VAULT_WRAPPED_TOKEN or \
             VAULT_WRAPPED_TOKEN_FILE, VAULT_ROLE_ID or \
             VAULT_ROLE_ID_FILE, VAULT_AGENT_ADDR, VAULT_AUTH_ROLE with VAULT_KUBERNETES_TOKEN_FILE or the file {}, \
             VAULT_TOKEN_FILE, and the file ~/.vault-token",
            service_account_token.display()
        ),
        format!(
            "{in_pod}set VAULT_ROLE_ID and VAULT_SECRET_ID, or another of these; VAULT_AUTH_METHOD selects any other login method"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(variables: &[(&str, &str)], kubernetes_token: &str) -> Result<String, Cause> {
        let environment = Environment::injected(variables.iter().copied());
        let token = Path::new(env!("CARGO_MANIFEST_DIR")).join(kubernetes_token);
        first_present(&OfficialEnv(&environment), &token).map(|method| method.describe())
    }

    #[test]
    fn the_first_way_that_is_present_is_taken() {
        let all = [
            ("VAULT_TOKEN", "t"),
            ("VAULT_ROLE_ID", "r"),
            ("VAULT_AGENT_ADDR", "http://127.0.0.1:1"),
            ("VAULT_AUTH_ROLE", "billing"),
            ("VAULT_TOKEN_FILE", "/t"),
        ];
        let found = [
            "token from VAULT_TOKEN",
            "approle at auth/approle",
            "none (an agent adds the token)",
            "kubernetes at auth/kubernetes as \"billing\"",
            "token file /t",
        ];
        // Any file stands for the token of a pod.
        for (first, found) in found.iter().enumerate() {
            assert_eq!(present(&all[first..], "Cargo.toml").unwrap(), *found);
        }
        assert_eq!(present(&all[3..], "no-such-file").unwrap(), found[4]);
        let named = [("VAULT_KUBERNETES_TOKEN_FILE", "/k"), ("VAULT_TOKEN_FILE", "/t")];
        assert_eq!(present(&named, "no-such-file").unwrap_err().help, "set VAULT_AUTH_ROLE");
    }

    /// A variable that a method reads, and that no platform sets, asks for a login.
    #[test]
    fn every_variable_of_a_login_is_one_that_configures_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth");
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let sources: Vec<_> = files
            .filter(|path| path.is_file())
            .chain([folder.join("aws/mod.rs")])
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let reads = [
            "env.get(\"",
            "env.parse(\"",
            "Credential::from_environment(env, \"",
            "Credential::password_from_environment(env, \"",
            "check::name_from_environment(env, \"",
        ];
        let mut names: Vec<_> = sources
            .iter()
            .flat_map(|source| reads.map(|read| source.split(read).skip(1)))
            .flatten()
            .filter_map(|rest| rest.split_once('"').map(|(name, _)| name))
            // An address alone asks for no login.
            .filter(|name| *name != "AGENT_ADDR")
            .collect();
        names.extend([kubernetes::TOKEN_FILE, "AUTH_NAMESPACE"]);
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            for variable in [format!("VAULT_{name}"), format!("BAO_{name}")] {
                let environment = Environment::injected([(variable.as_str(), "x")]);
                assert_eq!(configured(&environment), [variable.as_str()]);
                let environment = Environment::injected([(variable.as_str(), "")]);
                assert!(configured(&environment).is_empty(), "{variable}");
            }
        }
        for others in ["AZURE_CLIENT_ID", "AWS_ROLE_ARN", "HOME", "VAULT_NAMESPACE", "VAULT_CACERT"]
        {
            assert!(configured(&Environment::injected([(others, "x")])).is_empty(), "{others}");
        }
    }

    #[test]
    fn a_pod_without_a_role_gets_the_missing_variable_as_help() {
        let cause = present(&[], "Cargo.toml").unwrap_err();
        assert_eq!(cause.kind, ErrorKind::NoLogin);
        let first = cause.help.lines().next().unwrap();
        assert!(first.contains("VAULT_AUTH_ROLE=<role> logs in with it"), "{}", cause.help);
        let cause = present(&[], "no-such-file").unwrap_err();
        assert!(!cause.help.contains("this pod"), "{}", cause.help);
        assert!(cause.message.contains("no-such-file"), "{}", cause.message);
    }
}
