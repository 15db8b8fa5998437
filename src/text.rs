//! Texts for people: on pages, in labels, in reports.

mod visible;

use std::borrow::Cow;

pub(crate) use visible::{fit, is_unseen};

/// As `1,234,567`.
pub(crate) fn thousands(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A currency code in capitals, without the blanks around it; `None` for what is not three letters
/// from A to Z.
pub(crate) fn currency_code(text: &str) -> Option<Cow<'_, str>> {
    let code = text.trim();
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_capital = code.bytes().all(|byte| byte.is_ascii_uppercase());
    let capitals = || if is_capital { Cow::Borrowed(code) } else { Cow::Owned(code.to_ascii_uppercase()) };
    is_code.then(capitals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    /// Issue 9, line 18: the metrics summed `usd` and `eur` as `other`, the report named them.
    #[test]
    fn a_currency_in_small_letters_or_with_blanks_is_the_same_currency() {
        for text in ["USD", "usd", " Usd ", "\tusd\n", "\u{a0}USD"] {
            assert_eq!(currency_code(text).as_deref(), Some("USD"), "{text:?}");
        }
        for odd in ["", "  ", "US", "USDT", "U5D", "U D", "ÜS", "$", "ＵＳＤ", "uſd"] {
            assert_eq!(currency_code(odd), None, "{odd:?}");
        }
    }
}
