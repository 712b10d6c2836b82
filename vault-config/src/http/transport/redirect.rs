use reqwest::Url;

use crate::error::{Cause, ErrorKind};
use crate::http::settings::{is_loopback, origin};

pub(super) fn not_followed(status: u16) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!(
            "the server redirects (HTTP {status}), but VAULT_DISABLE_REDIRECTS forbids following it"
        ),
        "use the address of the active node, or unset VAULT_DISABLE_REDIRECTS",
    )
}

/// The target of a redirect that the token may follow: a 307 of the cluster over the same scheme, and over plain http
/// only to the same host. Anything else could be a login page or a stranger that reads the token.
///
/// `setting` is the one that the address comes from, for messages.
pub(super) fn redirect(
    from: &Url,
    location: &str,
    status: u16,
    setting: &str,
) -> Result<Url, Cause> {
    let target = from.join(location);
    // The port for https of the same host.
    let to_https = target.as_ref().is_ok_and(|target| {
        let schemes = (from.scheme(), target.scheme());
        schemes == ("http", "https") && target.host_str() == from.host_str()
    });
    let refused = |why: String| {
        let help = match to_https {
            true => format!("the server requires https: set {setting} to that address"),
            false => format!(
                "set {setting} to the address of the server itself; the nodes of a cluster redirect to their api_addr"
            ),
        };
        Cause::new(ErrorKind::NotVault, why, help).at(format!("vault {}", origin(from)))
    };
    let target = target
        .map_err(|_| refused(format!("HTTP {status} redirects to an address that is not valid")))?;
    let there = origin(&target);
    if !matches!(status, 307 | 308) {
        return Err(refused(format!(
            "HTTP {status} redirects to {there}, as a login page or a proxy does"
        )));
    }
    if target.scheme() != from.scheme() {
        return Err(refused(format!(
            "the redirect to {there} changes the scheme; the token is not sent there"
        )));
    }
    let loopback = is_loopback(from) && is_loopback(&target);
    if target.scheme() == "http" && target.host_str() != from.host_str() && !loopback {
        return Err(refused(format!(
            "the redirect leads to another host over plain http ({there}); the token is not sent there"
        )));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_redirect_names_the_setting_of_the_address() {
        let from = Url::parse("http://127.0.0.1:8200").unwrap();
        for (location, help) in [
            ("https://127.0.0.1:8201/", "set BAO_ADDR to that address"),
            ("https://sso.example/", "set BAO_ADDR to the address of the server itself"),
        ] {
            let cause = redirect(&from, location, 302, "BAO_ADDR").unwrap_err();
            assert!(cause.help.contains(help), "{}", cause.help);
        }
    }
}
