//! A role that makes something when it is written to, with what the field wishes for.

use serde_json::{Value as Json, json};

use super::{Scope, is_of_no_role, refused};
use crate::error::Cause;
use crate::vault::{Grant, Response, Session};

/// `mount/action/name`, and the wishes by the API's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    mount: String,
    action: &'static str,
    name: String,
    wishes: Vec<(&'static str, String)>,
}

impl Role {
    /// With what the field says, filled in.
    pub(super) fn bind(
        scope: &Scope<'_>,
        mount: &str,
        action: &'static str,
        name: &str,
        wishes: &[(&'static str, Option<&str>)],
    ) -> Result<Self, Cause> {
        let wishes = wishes.iter().filter_map(|(name, wish)| Some((*name, (*wish)?)));
        let wishes = wishes.map(|(name, wish)| Ok((name, scope.fill_text(wish)?)));
        Ok(Self {
            mount: scope.fill(mount)?,
            action,
            name: scope.fill(name)?,
            wishes: wishes.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn path(&self) -> String {
        format!("{}/{}/{}", self.mount, self.action, self.name)
    }

    pub(super) fn grant(&self) -> Grant {
        Grant::update(self.path())
    }

    /// The answer to `body` and the wishes, which is a success.
    pub(super) async fn write(
        &self,
        session: &Session<'_>,
        mut body: Json,
    ) -> Result<Response, Cause> {
        for (name, wish) in &self.wishes {
            body[name] = json!(wish);
        }
        let reply = session.post(&self.path(), &body, session.request_policy.repeat).await?;
        let Self { mount, name, .. } = self;
        if reply.status == 400 && !is_of_no_role(&reply.words()) {
            let help = format!("ask for what the role allows: vault read {mount}/roles/{name}");
            return Err(reply.into_cause().with_help(help));
        }
        match reply.ok() {
            true => Ok(reply),
            false => Err(refused(reply, &self.grant(), &format!("{mount}/roles"))),
        }
    }
}
