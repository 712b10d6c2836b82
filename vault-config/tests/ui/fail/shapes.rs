//! Only a struct with named fields is a configuration. Code that uses any other type adds no further error.

use vault_config::VaultConfig;

#[derive(VaultConfig)]
enum Enum {
    A { port: u16 },
}

#[derive(VaultConfig)]
union Union {
    port: u16,
}

#[derive(VaultConfig)]
struct Tuple(u16);

#[derive(VaultConfig)]
struct Unit;

#[derive(VaultConfig)]
struct Named {}

#[derive(VaultConfig)]
struct Outer {
    #[vault(nested)]
    tuple: Tuple,
    #[vault(nested)]
    unit: Unit,
    #[vault(nested)]
    named: Named,
}

fn main() {
    let _ = Enum::schema();
    let _ = Union::schema();
}
