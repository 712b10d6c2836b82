//! What is loaded: many secrets of one value, or few of many.

use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vault_config::VaultConfig;
use vault_config::secrecy::{ExposeSecret, SecretString};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The number of secrets, of one value each: 1, 10 or 100.
    Paths(usize),
    /// 5 secrets of 20 values.
    Sections,
}

pub const POLICY: &str = r#"path "secret/data/bench/*" { capabilities = ["read"] }"#;

impl Shape {
    pub const ALL: [Self; 4] = [Self::Paths(1), Self::Paths(10), Self::Paths(100), Self::Sections];

    /// The secrets' paths below their mount, `secret`.
    pub fn paths(self) -> Vec<String> {
        match self {
            Self::Paths(count) => (0..count).map(|i| format!("bench/{i:02}")).collect(),
            Self::Sections => (0..5).map(|i| format!("bench/section-{i}")).collect(),
        }
    }

    pub fn secret(self) -> Value {
        match self {
            Self::Paths(_) => json!({ "password": "a-password-of-usual-length" }),
            Self::Sections => {
                let fields =
                    (0..20).map(|i| (format!("f{i:02}"), json!(format!("value number {i}"))));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// How many values there are.
    pub fn values(self) -> usize {
        match self {
            Self::Paths(count) => count,
            Self::Sections => 100,
        }
    }

    pub fn name(self) -> String {
        match self {
            Self::Paths(1) => "1 path".to_owned(),
            Self::Paths(count) => format!("{count} paths"),
            Self::Sections => "100 fields in 5 paths".to_owned(),
        }
    }

    pub fn word(self) -> String {
        match self {
            Self::Paths(count) => count.to_string(),
            Self::Sections => "5x20".to_owned(),
        }
    }
}

impl FromStr for Shape {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|shape| shape.word() == word).ok_or(())
    }
}

/// Counts the values, as a proof that they were read.
pub trait Count {
    fn count(&self) -> usize;
}

fn one(value: &SecretString) -> usize {
    usize::from(!value.expose_secret().is_empty())
}

/// One of many secrets, as a hand-written program reads it.
#[derive(Deserialize)]
pub struct Secret {
    password: SecretString,
}

impl Count for Secret {
    fn count(&self) -> usize {
        one(&self.password)
    }
}

macro_rules! one_value_each {
    ($name:ident: $($field:ident $path:literal)*) => {
        #[derive(VaultConfig)]
        pub struct $name { $(#[vault(kv = $path, key = "password")] $field: SecretString,)* }

        impl Count for $name {
            fn count(&self) -> usize {
                0 $(+ one(&self.$field))*
            }
        }
    };
}

macro_rules! section {
    ($($field:ident)*) => {
        /// 20 values of one secret, for each of the programs.
        #[derive(Deserialize, VaultConfig)]
        pub struct Section { $(#[vault(kv)] $field: SecretString,)* }

        impl Count for Section {
            fn count(&self) -> usize {
                0 $(+ one(&self.$field))*
            }
        }
    };
}

section! {
    f00 f01 f02 f03 f04 f05 f06 f07 f08 f09 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19
}

#[derive(VaultConfig)]
pub struct Sections {
    #[vault(nested, kv = "bench/section-0")]
    s0: Section,
    #[vault(nested, kv = "bench/section-1")]
    s1: Section,
    #[vault(nested, kv = "bench/section-2")]
    s2: Section,
    #[vault(nested, kv = "bench/section-3")]
    s3: Section,
    #[vault(nested, kv = "bench/section-4")]
    s4: Section,
}

impl Count for Sections {
    fn count(&self) -> usize {
        [&self.s0, &self.s1, &self.s2, &self.s3, &self.s4].map(Count::count).iter().sum()
    }
}

one_value_each! { One:
    p00 "bench/00"
}

one_value_each! { Ten:
    p00 "bench/00" p01 "bench/01" p02 "bench/02" p03 "bench/03" p04 "bench/04"
    p05 "bench/05" p06 "bench/06" p07 "bench/07" p08 "bench/08" p09 "bench/09"
}

one_value_each! { Hundred:
    p00 "bench/00" p01 "bench/01" p02 "bench/02" p03 "bench/03" p04 "bench/04"
    p05 "bench/05" p06 "bench/06" p07 "bench/07" p08 "bench/08" p09 "bench/09"
    p10 "bench/10" p11 "bench/11" p12 "bench/12" p13 "bench/13" p14 "bench/14"
    p15 "bench/15" p16 "bench/16" p17 "bench/17" p18 "bench/18" p19 "bench/19"
    p20 "bench/20" p21 "bench/21" p22 "bench/22" p23 "bench/23" p24 "bench/24"
    p25 "bench/25" p26 "bench/26" p27 "bench/27" p28 "bench/28" p29 "bench/29"
    p30 "bench/30" p31 "bench/31" p32 "bench/32" p33 "bench/33" p34 "bench/34"
    p35 "bench/35" p36 "bench/36" p37 "bench/37" p38 "bench/38" p39 "bench/39"
    p40 "bench/40" p41 "bench/41" p42 "bench/42" p43 "bench/43" p44 "bench/44"
    p45 "bench/45" p46 "bench/46" p47 "bench/47" p48 "bench/48" p49 "bench/49"
    p50 "bench/50" p51 "bench/51" p52 "bench/52" p53 "bench/53" p54 "bench/54"
    p55 "bench/55" p56 "bench/56" p57 "bench/57" p58 "bench/58" p59 "bench/59"
    p60 "bench/60" p61 "bench/61" p62 "bench/62" p63 "bench/63" p64 "bench/64"
    p65 "bench/65" p66 "bench/66" p67 "bench/67" p68 "bench/68" p69 "bench/69"
    p70 "bench/70" p71 "bench/71" p72 "bench/72" p73 "bench/73" p74 "bench/74"
    p75 "bench/75" p76 "bench/76" p77 "bench/77" p78 "bench/78" p79 "bench/79"
    p80 "bench/80" p81 "bench/81" p82 "bench/82" p83 "bench/83" p84 "bench/84"
    p85 "bench/85" p86 "bench/86" p87 "bench/87" p88 "bench/88" p89 "bench/89"
    p90 "bench/90" p91 "bench/91" p92 "bench/92" p93 "bench/93" p94 "bench/94"
    p95 "bench/95" p96 "bench/96" p97 "bench/97" p98 "bench/98" p99 "bench/99"
}
