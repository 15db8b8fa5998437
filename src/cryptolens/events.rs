//! The rows of the Events Log (vendor page V3/model/EventObject), with the members that are
//! counted.

use super::row::{as_is, log_row, positive, product};

log_row! {
    /// One event that an application registered.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct EventRow of Events at time {
        /// 0 where the row names no product.
        product_id: i64 = "productId" as Int by product,
        /// Unix seconds.
        time: Option<i64> = "time" as Int by positive,
        /// The event; empty where not given.
        event_name: String = "eventName" as Text by beginning,
        /// The feature that it is about; empty where not given.
        feature_name: String = "featureName" as Text by beginning,
        /// In the unit that the API gives: the vendor's pages contradict each other on whether that
        /// is the minor unit.
        value: Option<i64> = "value" as Int by as_is,
        /// As registered; empty where not given.
        currency: String = "currency" as Text by beginning,
    }
}

/// Keeps several times as much of a text as a label can need. A text can have 1 MiB, and many pages
/// may wait to be counted.
fn beginning(text: Option<String>) -> String {
    const CHARACTERS: usize = 1000;
    let text = text.unwrap_or_default();
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}
