use super::password::password_login;

password_login! {
    /// A login with the name and password of a user that the server itself keeps:
    /// <https://openbao.org/api-docs/auth/userpass/>.
    ///
    /// The environment: `VAULT_USERNAME`, and `VAULT_PASSWORD` or `VAULT_PASSWORD_FILE`. The
    /// administrator runs `vault write auth/userpass/users/app password=.. token_policies=app`. A
    /// file is read again at every login.
    UserPass, "userpass", log_in_by_path
}
