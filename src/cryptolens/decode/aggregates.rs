//! The vendor's own counts, as GetDailyAggregates gives them.

use chrono::{DateTime, NaiveDate};

use super::licenses::{list, object};
use super::scan::{self, Broken, Scanner};
use super::{BodyError, Envelope, NOT_JSON, scanned, trimmed};

/// The vendor's counts of one product and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyAggregate {
    /// Unique; pages are asked for by it.
    pub id: i64,
    /// The product.
    pub product_id: i64,
    /// The day. The vendor does not document in which time zone.
    pub date: NaiveDate,
    /// The rows of the Web API Log.
    pub total: u64,
    /// Those that succeeded.
    pub successful: u64,
    /// Those that failed.
    pub failed: u64,
    /// License keys that were in use, as the vendor defines it.
    pub active_keys: u64,
    /// Machines that were in use, as the vendor defines it.
    pub active_devices: u64,
}

/// Reads a page of GetDailyAggregates. An element without an id, a product or a date is left out.
///
/// # Errors
/// As [`super::page_within`].
pub fn daily_aggregates(body: &[u8]) -> Result<Vec<DailyAggregate>, BodyError> {
    let mut scanner = Scanner::new(trimmed(body)?);
    let envelope = scanned(&mut scanner, |name, scanner, envelope: &mut Envelope<_>| {
        let is_list = name.eq_ignore_ascii_case("aggregates") && scanner.take(b'[');
        if is_list {
            envelope.take_list(0, Some(list(scanner, aggregate)?));
        }
        Ok(is_list)
    });
    envelope.map_err(|_| NOT_JSON)?.into_list()
}

fn aggregate(scanner: &mut Scanner<'_>) -> Result<Option<DailyAggregate>, Broken> {
    let (mut id, mut product_id, mut date) = (None, None, None);
    let [mut total, mut successful, mut failed, mut active_keys, mut active_devices] = [0; 5];
    let is_object = object(scanner, |name, value| {
        let count = || scan::int(value).and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        match name {
            "id" => id = scan::int(value),
            "productid" => product_id = scan::int(value),
            "date" => date = scan::int(value).map_or_else(|| day(&scan::as_text(value)?), at),
            "totalrequestslogged" => total = count(),
            "successful" => successful = count(),
            "failed" => failed = count(),
            "activekeys" => active_keys = count(),
            "activedevices" => active_devices = count(),
            _ => {}
        }
    })?;
    let (Some(()), Some(id), Some(product_id), Some(date)) = (is_object, id, product_id, date) else {
        return Ok(None);
    };
    Ok(Some(DailyAggregate { id, product_id, date, total, successful, failed, active_keys, active_devices }))
}

/// The day of a date or of a time, whose offset says nothing about the day that is meant.
fn day(text: &str) -> Option<NaiveDate> {
    text.trim().get(..10)?.parse().ok()
}

fn at(seconds: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp(seconds, 0).map(|time| time.date_naive())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::decode::DecodeFault;

    #[test]
    fn counts_are_read_in_any_letter_case_and_dates_in_any_form() {
        let body = r#"{"aggregates":[
            {"id":1,"productId":3349,"date":"2026-11-28T00:00:00","totalRequestsLogged":7,"successful":5,"failed":1,"activeDevices":3,"activeKeys":2,"activeCustomers":1},
            {"Id":2,"ProductId":3349,"Date":"2026-11-29","TotalRequestsLogged":"8","Successful":null,"Failed":-1},
            {"id":3,"productId":1,"date":1764460800,"totalRequestsLogged":1},
            {"id":4,"productId":1},{"id":5,"productId":1,"date":"soon"},7],"result":0,"message":""}"#;
        let aggregates = daily_aggregates(body.as_bytes()).unwrap();
        let date = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
        let expected = DailyAggregate {
            id: 1,
            product_id: 3349,
            date: date(28),
            total: 7,
            successful: 5,
            failed: 1,
            active_keys: 2,
            active_devices: 3,
        };
        assert_eq!(aggregates[0], expected);
        assert_eq!((aggregates[1].date, aggregates[1].total, aggregates[1].failed), (date(29), 8, 0));
        assert_eq!((aggregates[2].date.to_string(), aggregates.len()), ("2025-11-30".to_owned(), 3));
    }

    #[test]
    fn an_answer_without_a_list_is_no_empty_one() {
        assert_eq!(daily_aggregates(br#"{"aggregates":[],"result":0}"#), Ok(Vec::new()));
        let none = daily_aggregates(br#"{"result":0,"message":""}"#);
        assert_eq!(none, Err(BodyError::Fault(DecodeFault::NoList)));
    }
}
