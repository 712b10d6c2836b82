//! Collects the mistakes in a struct, so that one compilation reports them all.

use std::fmt::Display;

use quote::ToTokens;

#[derive(Default)]
pub(crate) struct ErrorCollector(Option<syn::Error>);

impl ErrorCollector {
    /// Reports `message` where `tokens` stand in the user's code.
    pub(crate) fn report_at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.report(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn report(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    pub(crate) fn into_result(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
