use super::password::password_login;

password_login! {
    /// A login with the name and password of a user that a directory checks:
    /// <https://openbao.org/api-docs/auth/ldap/>.
    ///
    /// The environment: `VAULT_USERNAME`, and `VAULT_PASSWORD` or `VAULT_PASSWORD_FILE`. The
    /// administrator runs `vault write auth/ldap/users/app policies=app`. A file is read again at
    /// every login.
    Ldap, "ldap", log_in_by_path
}
