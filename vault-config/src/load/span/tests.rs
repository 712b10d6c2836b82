use std::mem::offset_of;
use std::sync::Arc;

use secrecy::SecretString;

use super::*;
use crate::VaultConfig;
use crate::engine::Variables;
use crate::error::{Cause, ErrorKind};
use crate::load::Purpose;
use crate::load::read::Reader;
use crate::load::slot::{Resolution, Slot, Slots};
use crate::report::Provenance;
use crate::schema::plan;
use crate::value::Value;

#[derive(VaultConfig)]
#[vault(crate = "crate")]
struct Outer {
    first: u8,
    #[vault(nested)]
    inner: Inner,
    #[vault(kv = "app")]
    r#type: Option<SecretString>,
    #[vault(nested)]
    optional: Option<Inner>,
    #[vault(nested)]
    boxed: Box<Inner>,
    #[vault(nested)]
    both: Option<Box<Inner>>,
    last: u64,
}

#[derive(VaultConfig)]
#[vault(crate = "crate")]
struct Inner {
    flag: bool,
    #[vault(nested)]
    pair: Pair<u16>,
    #[vault(nested)]
    far: Option<Pair<u8>>,
}

#[derive(VaultConfig)]
#[vault(crate = "crate")]
struct Pair<T> {
    left: T,
    right: u64,
}

/// The spans of a reading in which the leaves are what `find` says by their paths.
fn spans<T: VaultConfig>(find: impl Fn(&str) -> Resolution) -> Vec<(String, ByteSpan)> {
    let leaves = plan::leaves(&T::schema(), None, &Variables::default());
    let slots: Slots = leaves
        .into_iter()
        .map(|leaf| Slot { resolution: find(&leaf.path), tried: Vec::new(), leaf })
        .collect();
    let mut reader = Reader::new(&slots, Purpose::Build);
    let _ = T::__read(&mut reader);
    let spans = reader.into_output().spans;
    assert!(spans.iter().map(|(id, _)| *id).eq(slots.iter().map(|slot| slot.leaf.id)));
    let path = |id| slots.get(id).unwrap().leaf.path.clone();
    spans.into_iter().map(|(id, span)| (path(id), span)).collect()
}

fn one(_: &str) -> Resolution {
    Resolution::Value(Value::text("1"), Provenance::Default)
}

fn failed(_: &str) -> Resolution {
    Resolution::Failed(Arc::new(Cause::new(ErrorKind::Sealed, "", "")))
}

fn at<T>(start: usize) -> ByteSpan {
    ByteSpan { start, end: start + size_of::<T>() }
}

fn expected(base: usize) -> Vec<(String, ByteSpan)> {
    let inner = base + offset_of!(Outer, inner);
    let pair = inner + offset_of!(Inner, pair);
    let far = at::<Option<Pair<u8>>>(inner + offset_of!(Inner, far));
    let mut spans = vec![
        ("first", at::<u8>(base + offset_of!(Outer, first))),
        ("inner.flag", at::<bool>(inner + offset_of!(Inner, flag))),
        ("inner.pair.left", at::<u16>(pair + offset_of!(Pair<u16>, left))),
        ("inner.pair.right", at::<u64>(pair + offset_of!(Pair<u16>, right))),
        ("inner.far.left", far),
        ("inner.far.right", far),
        ("type", at::<Option<SecretString>>(base + offset_of!(Outer, r#type))),
    ];
    let whole = [
        ("optional", at::<Option<Inner>>(base + offset_of!(Outer, optional))),
        ("boxed", at::<Box<Inner>>(base + offset_of!(Outer, boxed))),
        ("both", at::<Option<Box<Inner>>>(base + offset_of!(Outer, both))),
    ];
    let mut spans: Vec<_> = spans.drain(..).map(|(path, span)| (path.to_owned(), span)).collect();
    for (field, span) in whole {
        for leaf in ["flag", "pair.left", "pair.right", "far.left", "far.right"] {
            spans.push((format!("{field}.{leaf}"), span));
        }
    }
    spans.push(("last".to_owned(), at::<u64>(base + offset_of!(Outer, last))));
    spans
}

#[test]
fn every_leaf_has_the_bytes_it_lies_in() {
    assert_eq!(spans::<Outer>(one), expected(0));
}

#[test]
fn what_is_absent_or_failed_has_its_bytes_too() {
    assert_eq!(spans::<Outer>(|_| Resolution::Absent(None)), expected(0));
    assert_eq!(spans::<Outer>(failed), expected(0));
    assert_eq!(spans::<Outer>(|_| Resolution::Wanted), expected(0));
    // The absent optional struct inside of a present one.
    assert_eq!(
        spans::<Outer>(|path| match path {
            path if path.contains("far") => Resolution::Absent(None),
            path => one(path),
        }),
        expected(0)
    );
}

#[test]
fn a_generic_struct_gives_its_fields_where_they_lie() {
    #[derive(VaultConfig)]
    #[vault(crate = "crate")]
    struct Around<T, const SIZE: usize> {
        small: u8,
        #[vault(nested)]
        nested: T,
        #[serde(deserialize_with = "zeroes")]
        array: [u8; SIZE],
    }

    fn zeroes<'de, D, const SIZE: usize>(_: D) -> Result<[u8; SIZE], D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        Ok([0; SIZE])
    }

    let spans = spans::<Around<Outer, 3>>(one);
    let nested = offset_of!(Around<Outer, 3>, nested);
    let inside: Vec<_> =
        expected(nested).into_iter().map(|(path, span)| (format!("nested.{path}"), span)).collect();
    assert_eq!(spans[0].1, at::<u8>(offset_of!(Around<Outer, 3>, small)));
    assert_eq!(spans[1..spans.len() - 1], inside);
    assert_eq!(spans[spans.len() - 1].1, at::<[u8; 3]>(offset_of!(Around<Outer, 3>, array)));
}

#[test]
fn an_optional_or_boxed_configuration_is_one_span() {
    for spans in [spans::<Option<Outer>>(one), spans::<Option<Outer>>(|_| Resolution::Absent(None))]
    {
        assert!(spans.iter().all(|(_, span)| *span == at::<Option<Outer>>(0)));
    }
    assert!(spans::<Box<Outer>>(one).iter().all(|(_, span)| *span == at::<Box<Outer>>(0)));
}

#[test]
fn a_view_and_its_span_are_the_same_bytes() {
    let leaves = plan::leaves(&Outer::schema(), None, &Variables::default());
    let slots: Slots = leaves
        .into_iter()
        .map(|leaf| Slot { resolution: one(&leaf.path), tried: Vec::new(), leaf })
        .collect();
    let mut reader = Reader::new(&slots, Purpose::Build);
    let config = Outer::__read(&mut reader).unwrap();
    let spans = reader.into_output().spans;
    let start = |index: usize| spans[index].1.start;
    let of = |at: *const u8| at.addr() - std::ptr::from_ref(&config).addr();
    assert_eq!(start(0), of(&raw const config.first));
    assert_eq!(start(2), of((&raw const config.inner.pair.left).cast()));
    assert_eq!(start(3), of((&raw const config.inner.pair.right).cast()));
    assert_eq!(start(6), of((&raw const config.r#type).cast()));
    assert_eq!(start(7), of((&raw const config.optional).cast()));
    assert_eq!(start(12), of((&raw const config.boxed).cast()));
    assert_eq!(start(22), of((&raw const config.last).cast()));
}
