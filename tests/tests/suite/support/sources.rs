use std::io::Write as _;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use tempfile::TempPath;
use vault_config_tests::OpenBao;

pub(crate) const NOTHING: [(&str, &str); 0] = [];

/// The environment of a program that may read everything.
pub(crate) fn root(bao: &OpenBao) -> Vec<(String, String)> {
    pairs(&[
        ("VAULT_ADDR", bao.address()),
        ("VAULT_TOKEN", bao.root_token()),
        ("VAULT_MAX_RETRIES", "0"),
    ])
}

pub(crate) fn pairs(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Later variables replace earlier ones of the same name.
pub(crate) fn with(
    variables: Vec<(String, String)>,
    more: &[(&str, &str)],
) -> Vec<(String, String)> {
    variables.into_iter().chain(pairs(more)).collect()
}

/// A `.env` file, removed when dropped.
pub(crate) fn dotenv(text: &str) -> TempPath {
    let mut file = tempfile::Builder::new().suffix(".env").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.into_temp_path()
}

pub(crate) fn toml(text: &str) -> Figment {
    Figment::from(Toml::string(text))
}
