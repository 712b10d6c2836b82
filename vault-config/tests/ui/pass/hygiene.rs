//! The generated code works without a prelude, with other items under the names of the prelude, with the crate under
//! another name, with fields that have the names of its variables, and for a struct that a macro writes.

#![no_implicit_prelude]
#![allow(dead_code)]

extern crate vault_config as vc;

macro_rules! taken {
    ($($name:ident)*) => { $(pub struct $name;)* };
}

mod shadows {
    taken! {
        Option Some None Result Ok Err String Vec Box Default Clone From Into ToString Fn Deserialize Secret
        Schema Reader Field Fallback VaultConfig Kv Read Refresh
    }

    pub mod core {}
    pub mod std {}
    pub mod serde {}
    pub mod vault_config {}

    const __CONSTANT: ::core::primitive::u8 = 1;

    #[derive(::vc::VaultConfig)]
    #[vault(crate = "::vc", validate = whole)]
    pub struct Config {
        #[vault(default = 1, validate = one)]
        reader: ::core::primitive::u16,
        #[vault(default = "text")]
        r#type: ::std::string::String,
        self_: ::core::option::Option<::core::primitive::bool>,
        #[vault(default)]
        input: ::core::primitive::u8,
        #[vault(kv = "app")]
        value: ::core::option::Option<::vc::secrecy::SecretString>,
        #[vault(kv = "app", refresh = "5m")]
        field0: ::vc::secrecy::SecretString,
        #[vault(default = __CONSTANT)]
        outcome: ::core::primitive::u8,
        #[vault(nested)]
        inner: Inner,
    }

    #[derive(::vc::VaultConfig)]
    #[vault(crate = ::vc)]
    pub struct Inner {}

    fn one(
        _: &::core::primitive::u16,
    ) -> ::core::result::Result<(), &'static ::core::primitive::str> {
        ::core::result::Result::Ok(())
    }

    fn whole(_: &Config) -> ::core::result::Result<(), ::std::string::String> {
        ::core::result::Result::Ok(())
    }
}

macro_rules! config {
    ($name:ident, $prefix:literal, $($field:ident: $ty:ty = $default:expr, $path:literal, $refresh:expr;)*) => {
        #[derive(::vc::VaultConfig)]
        #[vault(crate = "::vc", env_prefix = $prefix)]
        struct $name {
            $(#[vault(kv = $path, version = 3, refresh = $refresh, plain, default = $default)]
            $field: $ty,)*
        }
    };
}

config! {
    Written, "WRITTEN",
    port: ::core::primitive::u16 = 40 + 2, "app", "5m";
    r#type: ::std::string::String = "localhost", "app", "never";
}

fn main() {
    let _ = <shadows::Config as ::vc::VaultConfig>::schema();
    let _ = <Written as ::vc::VaultConfig>::schema();
}
