use super::{AuthMethod, AuthToken, LoginClient, LoginFuture};

/// No token of our own: a local agent or proxy adds one to every request.
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

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, _: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async { Ok(AuthToken::none()) })
    }

    fn can_repeat(&self) -> bool {
        false
    }
}
