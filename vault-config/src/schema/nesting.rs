//! Detects structs that nest each other without end.

use std::cell::RefCell;

use super::Schema;
use crate::VaultConfig;

/// The structs around the one whose schema is built. A struct that is already among them would nest without end. The
/// compiler allows that behind a pointer, as in `struct A { b: Option<Box<B>> }` and `struct B { a: Option<Box<A>> }`.
#[doc(hidden)]
#[derive(Debug)]
pub struct Nesting<'a> {
    outer: Option<OuterStruct<'a>>,
    cycle: &'a RefCell<Option<String>>,
}

#[derive(Debug, Clone, Copy)]
struct OuterStruct<'a> {
    id: StructId,
    name: &'static str,
    /// The field that holds the inner struct.
    field: &'static str,
    nesting: &'a Nesting<'a>,
}

/// The type's name, and the address of its code: two versions of a crate may have types with equal names.
type StructId = (&'static str, usize);

/// The schema that `build` returns, and a sentence about the first cycle in it.
pub(super) fn with_cycle(build: impl FnOnce(&Nesting<'_>) -> Schema) -> (Schema, Option<String>) {
    let cycle = RefCell::default();
    let schema = build(&Nesting { outer: None, cycle: &cycle });
    (schema, cycle.into_inner())
}

#[doc(hidden)]
impl Nesting<'_> {
    /// Whether the schema of `T` stops here, because `T` is one of the structs around itself. After the first cycle it
    /// stops for every struct: the paths through structs that all nest each other are too many to follow.
    pub fn ends_at<T: VaultConfig>(&self, name: &'static str) -> bool {
        if self.cycle.borrow().is_some() {
            return true;
        }
        let id = id::<T>();
        let mut steps = Vec::new();
        for outer in std::iter::successors(self.outer, |outer| outer.nesting.outer) {
            steps.push(format!("{}.{}", outer.name, outer.field));
            if outer.id == id {
                steps.reverse();
                let steps = steps.join(" nests ");
                *self.cycle.borrow_mut() =
                    Some(format!("structs are nested in a cycle: {steps} nests {name}"));
                return true;
            }
        }
        false
    }

    /// For the struct that a field of `T` holds.
    pub fn within<T: VaultConfig>(&self, name: &'static str, field: &'static str) -> Nesting<'_> {
        Nesting {
            outer: Some(OuterStruct { id: id::<T>(), name, field, nesting: self }),
            cycle: self.cycle,
        }
    }
}

fn id<T: VaultConfig>() -> StructId {
    let code = T::__schema as fn(&Nesting<'_>) -> Schema;
    (std::any::type_name::<T>(), code as usize)
}

#[cfg(test)]
#[allow(dead_code)]
mod tests {
    use std::collections::HashMap;

    use secrecy::SecretString;

    use super::*;
    use crate::{Error, ErrorKind, Mode};

    #[derive(Debug, VaultConfig)]
    #[vault(crate = "crate")]
    struct Whole {
        #[vault(nested)]
        first: First,
    }

    #[derive(Debug, VaultConfig)]
    #[vault(crate = "crate")]
    struct First {
        #[vault(kv = "app")]
        secret: Option<SecretString>,
        #[vault(nested)]
        second: Option<Box<Second>>,
    }

    #[derive(Debug, VaultConfig)]
    #[vault(crate = "crate")]
    struct Second {
        #[vault(nested)]
        third: Third<Option<Box<First>>>,
    }

    #[derive(Debug, VaultConfig)]
    #[vault(crate = "crate")]
    struct Third<T> {
        #[vault(nested)]
        inner: T,
    }

    /// It compiles, although no value of it can exist.
    #[derive(Debug, VaultConfig)]
    #[vault(crate = "crate")]
    struct Left {
        #[vault(nested)]
        right: Box<Right>,
    }

    #[derive(Debug, VaultConfig)]
    #[vault(crate = "crate")]
    struct Right {
        #[vault(nested)]
        left: Box<Left>,
    }

    type Alias = Option<Box<Hidden>>;

    #[derive(Debug, VaultConfig)]
    #[vault(crate = "crate")]
    struct Hidden {
        #[vault(nested)]
        hidden: Alias,
    }

    fn assert_refused<T: VaultConfig + Send + Sync + 'static>(cycle: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let loader = || {
            T::loader()
                .mode(Mode::Local)
                .without_dotenv()
                .env_source(HashMap::<String, String>::new())
        };
        let refused = |error: Option<Error>| {
            let error = error.unwrap();
            assert_eq!((error.kind(), error.problems().len()), (ErrorKind::Schema, 1), "{error}");
            assert!(error.to_string().contains(cycle), "{error}");
        };
        refused(loader().load_blocking().err());
        runtime.block_on(async {
            refused(loader().load_with_report().await.err());
            refused(loader().check().await.err());
            refused(loader().watch().await.err());
            refused(loader().resolve().await.err());
        });
        let schema = T::schema();
        for document in
            [schema.policy(), schema.env_template(), schema.to_markdown(), schema.json_schema()]
        {
            assert!(document.contains(cycle), "{document}");
        }
        assert!(schema.policy().lines().all(|line| line.starts_with('#')), "{}", schema.policy());
        assert!(schema.env_template().lines().all(|line| line.starts_with('#')));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&schema.json_schema()).unwrap()["not"],
            serde_json::json!({})
        );
    }

    #[test]
    fn structs_that_nest_each_other_are_refused_by_name() {
        assert_refused::<Whole>("First.second nests Second.third nests Third.inner nests First");
        assert_refused::<Option<Box<First>>>(
            "First.second nests Second.third nests Third.inner nests First",
        );
        assert_refused::<Third<First>>(
            "First.second nests Second.third nests Third.inner nests First",
        );
        assert_refused::<Left>("Left.right nests Right.left nests Left");
        assert_refused::<Hidden>("Hidden.hidden nests Hidden");
    }

    mod all {
        use crate::VaultConfig;

        macro_rules! nest_all {
            ($($name:ident)*) => { nest_all!(@ [$($name)*] $($name)*); };
            (@ $all:tt $($name:ident)*) => { $(nest_all!(# $name $all);)* };
            (# $name:ident [$($other:ident)*]) => {
                #[derive(Debug, VaultConfig)]
                #[vault(crate = "crate")]
                #[allow(non_snake_case)]
                pub(super) struct $name {
                    $(#[vault(nested)] $other: Option<Box<self::$other>>,)*
                }
            };
        }
        nest_all!(A B C D E F G H I J K L);
    }

    /// The paths through twelve structs that all nest each other are too many to follow.
    #[test]
    fn structs_that_all_nest_each_other_are_refused_at_once() {
        use all::A;
        assert_refused::<A>("A.A nests A");
    }

    #[test]
    fn one_struct_in_many_places_is_no_cycle() {
        #[derive(Debug, VaultConfig)]
        #[vault(crate = "crate")]
        struct Leaf {
            #[vault(default = 1)]
            value: u8,
        }
        #[derive(Debug, VaultConfig)]
        #[vault(crate = "crate")]
        struct Pair<T> {
            #[vault(nested)]
            left: T,
            #[vault(nested)]
            right: Option<Box<T>>,
        }
        let schema = Pair::<Pair<Pair<Leaf>>>::schema();
        assert!(schema.refusal().is_none());
        assert_eq!(schema.leaf_count(), 8);
        let loader = Pair::<Pair<Pair<Leaf>>>::loader().mode(Mode::Local).without_dotenv();
        let read = loader.env_source([("LEFT_RIGHT_LEFT_VALUE", "2")]).load_blocking().unwrap();
        assert_eq!(read.left.right.unwrap().left.value, 2);
    }
}
