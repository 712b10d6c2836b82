//! The kinds of problems, and every decision that depends on the kind alone.

/// What kind of problem a [`Problem`](crate::Problem) is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No source has a value for the field.
    Missing,
    /// Nothing is stored at the secret's path.
    PathAbsent,
    /// The secret has no such key.
    KeyAbsent,
    /// The secret's version is deleted (KV v2).
    Deleted,
    /// The secret's version is destroyed (KV v2).
    Destroyed,
    /// The mount is KV v1 where v2 was declared, or the reverse.
    WrongKvVersion,
    /// No such mount, or it is of another type.
    WrongMount,
    /// The engine has no such role.
    RoleAbsent,
    /// The token is valid and its policies do not allow the request.
    Denied,
    /// The token is expired, revoked, used up or unknown.
    TokenInvalid,
    /// The lease does not exist or is not renewed any more, and no other credential has been issued yet.
    LeaseLost,
    /// The server refused the login.
    LoginRefused,
    /// A wrapping token was unwrapped before, or was created elsewhere: the secret in it may have been read or
    /// replaced.
    Tampered,
    /// Nothing to log in with was found.
    NoLogin,
    /// The server is sealed.
    Sealed,
    /// The server is not initialised.
    Uninitialised,
    /// No active node answered.
    Standby,
    /// The namespace does not exist.
    NamespaceAbsent,
    /// The address answers, but not as Vault does.
    NotVault,
    /// The connection was refused.
    ConnectionRefused,
    /// The host name does not resolve.
    Dns,
    /// No answer in time.
    Timeout,
    /// The server's certificate is not trusted, expired, or for another name.
    Untrusted,
    /// The connection failed in another way.
    Connection,
    /// The server limits the rate of requests.
    RateLimited,
    /// The server failed.
    Server,
    /// The server's answer is not of the documented shape.
    Protocol,
    /// The server's answer is too large.
    TooLarge,
    /// A value cannot be read as the field's type.
    WrongType,
    /// A validator rejected the value.
    Invalid,
    /// A setting of the connection is malformed.
    Setting,
    /// An environment variable cannot be read.
    Environment,
    /// The `.env` file cannot be read.
    Dotenv,
    /// Two fields have one environment variable.
    DuplicateEnv,
    /// A key in the figment layers that no field takes.
    UnknownKey,
    /// A `{variable}` of a path is unset.
    Variable,
    /// A figment layer cannot be read.
    Figment,
    /// A blocking call inside an async runtime, or an async one outside of tokio.
    Runtime,
    /// The attributes of the structs contradict each other, which only a load can detect.
    Schema,
    /// The configuration is not watched any more: it was shut down, or its runtime ended.
    Stopped,
}

/// What one failure says about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It serves no request at the moment.
    Away,
    /// It may be away, or only this request may fail.
    Doubtful,
    /// It answered.
    Answers,
    /// Nothing: the failure is not of a request.
    Nothing,
}

/// The decisions about a kind.
#[derive(Debug, Clone, Copy)]
struct Traits {
    is_absence: bool,
    waits_for_server: bool,
    evidence: Evidence,
}

impl ErrorKind {
    /// Whether this is absence, which `Option` and `default` cover, and not failure, which nothing
    /// covers.
    #[must_use]
    pub fn is_absence(self) -> bool {
        self.traits().is_absence
    }

    /// Whether a load that starts waits until it passes: the server is not up yet.
    pub(crate) fn waits_for_server(self) -> bool {
        self.traits().waits_for_server
    }

    /// What the failure of a request says about the server.
    pub(crate) fn evidence(self) -> Evidence {
        self.traits().evidence
    }

    /// One exhaustive match: a new kind does not compile until every predicate has an answer for it.
    fn traits(self) -> Traits {
        let failure = |evidence| Traits { is_absence: false, waits_for_server: false, evidence };
        let absence = |evidence| Traits { is_absence: true, ..failure(evidence) };
        let not_up_yet = Traits { waits_for_server: true, ..failure(Evidence::Away) };
        match self {
            Self::Missing => absence(Evidence::Nothing),
            Self::PathAbsent | Self::KeyAbsent | Self::Deleted | Self::Destroyed => {
                absence(Evidence::Answers)
            }
            Self::ConnectionRefused | Self::Sealed | Self::Standby => not_up_yet,
            Self::Dns | Self::Untrusted | Self::Uninitialised => failure(Evidence::Away),
            Self::Timeout
            | Self::Connection
            | Self::NotVault
            | Self::Protocol
            | Self::RateLimited
            | Self::Server => failure(Evidence::Doubtful),
            Self::WrongKvVersion
            | Self::WrongMount
            | Self::RoleAbsent
            | Self::Denied
            | Self::TokenInvalid
            | Self::LoginRefused
            | Self::Tampered
            | Self::NamespaceAbsent
            | Self::TooLarge => failure(Evidence::Answers),
            Self::LeaseLost
            | Self::NoLogin
            | Self::WrongType
            | Self::Invalid
            | Self::Setting
            | Self::Environment
            | Self::Dotenv
            | Self::DuplicateEnv
            | Self::UnknownKey
            | Self::Variable
            | Self::Figment
            | Self::Runtime
            | Self::Schema
            | Self::Stopped => failure(Evidence::Nothing),
        }
    }
}
