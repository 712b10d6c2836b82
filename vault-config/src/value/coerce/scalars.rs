//! Booleans and numbers, which text may hold too.

use serde::de::Visitor;

use super::Fault;

/// Methods of a `Deserializer` that parse a number or a text as the first type that fits.
macro_rules! numbers {
    ($($method:ident => $($parse:ty : $visit:ident),+;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let value = self.present()?;
            if let Value::Number(text) | Value::Text(text) = value {
                $(if let Ok(number) = text.trim().parse::<$parse>() {
                    self.keep(|| Value::Number(Zeroizing::new(number.to_string())));
                    return visitor.$visit(number);
                })+
            }
            self.deserialize_any(visitor)
        }
    )*};
}

pub(super) use numbers;

/// Reads a text as a boolean.
pub(super) fn switch(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.trim().eq_ignore_ascii_case(word));
    if is(&["true", "1", "yes", "on"]) {
        return Some(true);
    }
    is(&["false", "0", "no", "off"]).then_some(false)
}

/// Shows a number to the visitor as the first type that fits.
pub(super) fn visit_number<'de, V: Visitor<'de>>(
    text: &str,
    visitor: V,
) -> Result<V::Value, Fault> {
    if let Ok(number) = text.parse::<u64>() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return visitor.visit_i64(number);
    }
    match text.parse::<f64>() {
        Ok(number) => visitor.visit_f64(number),
        Err(_) => visitor.visit_str(text),
    }
}
