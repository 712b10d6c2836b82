//! The manual.
//!
//! * [`tutorial`]: from nothing to a rotating pool, in steps.
//! * [`attributes`]: every attribute, with an example of each.
//! * [`provenance`]: which source wins, and how to see where a value came from.
//! * [`connecting`]: every way to log in, and what it trusts.
//! * [`engines`]: every engine, its field, its policy and the administrator's commands.
//! * [`errors`]: what a failed load prints.
//! * [`rotation`]: how a watched configuration stays fresh, and what happens when something fails.
//! * [`threat_model`]: what protects a secret, and what is left to you.
//! * [`testing`]: your own tests, with and without a Vault.
//! * [`performance`]: how many requests a load sends, and what it costs.

// The pages are Markdown, so that they can also be read in a browser of the repository. At its end, each page defines its
// links as paths of files. In Markdown the first definition of a label counts, so the definitions before the page lead
// rustdoc to items instead. Tests leave them out: rustdoc names a test by the first file of its page.

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[doc = include_str!("attributes.md")]
pub mod attributes {}

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[cfg_attr(feature = "aws", doc = "[`AwsIam`]: crate::auth::AwsIam")]
#[cfg_attr(not(feature = "aws"), doc = "[`AwsIam`]: #aws")]
#[doc = include_str!("connecting.md")]
pub mod connecting {}

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[cfg_attr(feature = "pki", doc = "[`Certificate`]: crate::Certificate")]
#[cfg_attr(not(feature = "pki"), doc = "[`Certificate`]: #pki")]
#[cfg_attr(feature = "ssh", doc = "[`SignedSshKey`]: crate::SignedSshKey")]
#[cfg_attr(not(feature = "ssh"), doc = "[`SignedSshKey`]: #ssh")]
// Its examples use the types of both features.
#[cfg_attr(any(not(doctest), all(feature = "pki", feature = "ssh")), doc = include_str!("engines.md"))]
pub mod engines {}

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[doc = include_str!("errors.md")]
pub mod errors {}

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[doc = include_str!("performance.md")]
pub mod performance {}

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[doc = include_str!("provenance.md")]
pub mod provenance {}

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[doc = include_str!("rotation.md")]
pub mod rotation {}

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[cfg_attr(not(doctest), doc = include_str!("links.txt"))]
#[doc = include_str!("tutorial.md")]
pub mod tutorial {}
