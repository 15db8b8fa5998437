//! Label values: what a row says, made fit to be a label.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::text;

/// The label value for everything that a limit kept out.
pub const OTHER: &str = "other";

/// The label value of an event or feature without a name.
pub const UNNAMED: &str = "unnamed";

/// The longest label value, in characters.
const MAX_CHARS: usize = 100;

/// Cuts a text to 100 characters and shows, replaces or leaves out what is not seen in it, so that
/// it can be a label value: `text::fit` says how. Values that the ledger holds are not made anew
/// by later rules.
pub fn clean(text: &str) -> Arc<str> {
    Arc::from(&*text::fit(text, MAX_CHARS))
}

/// As [`clean`]; an empty text is [`UNNAMED`].
pub fn name(text: &str) -> Arc<str> {
    if text.is_empty() { Arc::from(UNNAMED) } else { clean(text) }
}

/// The currency's code in capitals, whatever case and blanks it was sent with, else [`OTHER`].
pub fn currency(currency: &str) -> Cow<'_, str> {
    text::currency_code(currency).unwrap_or(Cow::Borrowed(OTHER))
}

/// The label `product_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProductLabel {
    /// A product; 0 where the row names none.
    Id(i64),
    /// A product past the limit.
    Other,
}

impl ProductLabel {
    /// The product with this label value.
    pub fn parse(text: &str) -> Option<ProductLabel> {
        if text == OTHER { Some(ProductLabel::Other) } else { text.parse().ok().map(ProductLabel::Id) }
    }

    /// True for the id of a product: only known products have a label of their own, and their pairs
    /// are created at 0 in advance.
    pub fn is_product(self) -> bool {
        matches!(self, ProductLabel::Id(id) if id > 0)
    }

    /// The label value.
    pub(super) fn text(self) -> Arc<str> {
        match self {
            ProductLabel::Id(id) => id.to_string().into(),
            ProductLabel::Other => OTHER.into(),
        }
    }
}

impl fmt::Display for ProductLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProductLabel::Id(id) => id.fmt(f),
            ProductLabel::Other => f.write_str(OTHER),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_cut_at_characters() {
        assert_eq!(&*clean("plain"), "plain");
        assert_eq!(clean(&"é".repeat(101)).chars().count(), 100);
        assert_eq!(&*clean("a\nb\u{7}\u{85}"), "a\u{fffd}b\u{fffd}\u{fffd}");
        assert_eq!(&*name(""), "unnamed");
    }

    #[test]
    fn labels_hide_nothing() {
        for unseen in
            ["\u{200b}", "\u{200d}", "\u{2028}", "\u{202e}", "\u{2065}", "\u{2069}", "\u{3164}", "\u{feff}"]
        {
            assert_eq!(*clean(&format!("a{unseen}b")), *"a\u{fffd}b", "{unseen:?}");
        }
        for seen in [
            "\u{2010}",
            "\u{2027}",
            "\u{202f}",
            "עברית",
            "👩🏽",
            "می\u{200c}خواهم",
            "👩\u{200d}💻",
            "क\u{94d}\u{200d}ष",
        ] {
            assert_eq!(&*clean(seen), seen);
        }
    }

    #[test]
    fn a_currency_is_three_letters_shown_as_capitals() {
        for text in ["USD", "usd", " uSd "] {
            assert_eq!(currency(text), "USD");
        }
        for odd in ["", "US", "USDT", "U5D", "ÜS"] {
            assert_eq!(currency(odd), "other", "{odd}");
        }
    }

    proptest! {
        #[test]
        fn every_text_becomes_a_fit_label(text in any::<String>()) {
            let label = clean(&text);
            prop_assert!(label.chars().count() <= 100);
            prop_assert_eq!(clean(&label), label);
        }

        #[test]
        fn product_labels_round_trip(id in any::<i64>()) {
            let label = ProductLabel::Id(id);
            prop_assert_eq!(ProductLabel::parse(&label.to_string()), Some(label));
        }
    }
}
