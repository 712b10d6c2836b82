//! A default or a function of the wrong type is an error at the place where it is written.

use vault_config::VaultConfig;

struct Opaque;

#[derive(VaultConfig)]
#[vault(validate = of_port)]
struct Config {
    #[vault(default = "8080".to_owned())]
    port: u16,
    #[vault(validate = of_text)]
    other_argument: u16,
    #[vault(validate = boolean)]
    boolean: u16,
    #[vault(validate = opaque)]
    opaque: u16,
    #[vault(validate = missing)]
    missing: u16,
    #[serde(default = "text", deserialize_with = "one")]
    other_result: u16,
}

fn of_port(_: &u16) -> Result<(), String> {
    Ok(())
}

fn of_text(_: &str) -> Result<(), String> {
    Ok(())
}

fn boolean(_: &u16) -> bool {
    true
}

fn opaque(_: &u16) -> Result<(), Opaque> {
    Ok(())
}

fn text() -> String {
    String::new()
}

fn one() -> u16 {
    1
}

fn main() {}
