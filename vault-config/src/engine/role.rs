//! A role that issues a credential when it is written to.

use serde_json::{Value as Json, json};

use super::{FieldScope, refusal};
use crate::error::Cause;
use crate::vault::{Grant, Response, Session};

/// A write to `mount/action/name`, with the parameters that the field sets, by the API's names.
#[derive(Debug)]
pub(super) struct RoleWrite {
    mount: String,
    action: &'static str,
    name: String,
    parameters: Vec<(&'static str, String)>,
}

impl RoleWrite {
    pub(super) fn bind(
        scope: &FieldScope<'_>,
        mount: &str,
        action: &'static str,
        name: &str,
        parameters: &[(&'static str, Option<&str>)],
    ) -> Result<Self, Cause> {
        let set = parameters.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let filled = set.map(|(name, value)| Ok((name, scope.fill_text(value)?)));
        Ok(Self {
            mount: scope.fill(mount)?,
            action,
            name: scope.fill(name)?,
            parameters: filled.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn path(&self) -> String {
        format!("{}/{}/{}", self.mount, self.action, self.name)
    }

    pub(super) fn grant(&self) -> Grant {
        Grant::update(self.path())
    }

    /// Sends `body` with the parameters. The response is a success.
    pub(super) async fn send(
        &self,
        session: &Session<'_>,
        mut body: Json,
    ) -> Result<Response, Cause> {
        for (name, value) in &self.parameters {
            body[name] = json!(value);
        }
        let reply = session.post(&self.path(), &body, session.request_policy.idempotency).await?;
        let Self { mount, name, .. } = self;
        if reply.status == 400 && !refusal::is_unknown_role(&reply) {
            let help = format!(
                "compare the field with what the role allows: vault read {mount}/roles/{name}"
            );
            return Err(reply.into_cause().with_help(help));
        }
        match reply.ok() {
            true => Ok(reply),
            false => Err(refusal::explain(reply, &self.grant(), &format!("{mount}/roles"))),
        }
    }
}
