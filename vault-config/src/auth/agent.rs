use super::{AuthMethod, AuthToken, LoginClient, LoginFuture};

/// No login: a local agent or proxy adds its token to every request.
///
/// The environment: `VAULT_AGENT_ADDR`, or `VAULT_AUTH_METHOD=none`. The administrator runs an agent
/// with `auto_auth` and `api_proxy { use_auto_auth_token = true }`. Nothing is read again: the agent
/// renews and replaces its token by itself.
#[derive(Debug, Clone, Default)]
pub struct Agent;

impl Agent {
    /// For the address of an agent or proxy with auto-auth.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl AuthMethod for Agent {
    fn describe(&self) -> String {
        "none (an agent adds the token)".to_owned()
    }

    fn login<'a>(&'a self, _: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async { Ok(AuthToken::none()) })
    }

    fn can_repeat(&self) -> bool {
        false
    }

    fn locks_accounts(&self) -> bool {
        false
    }
}
