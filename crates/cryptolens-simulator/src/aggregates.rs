//! GetDailyAggregates: the vendor's own counts of the Web API Log, per product and day.
//!
//! The documentation says that they are updated asynchronously and leave out keys that are marked
//! as test. Which time zone a day has, and whether `End` belongs to the time that is asked for, is
//! not documented: UTC unless an option shifts it, and yes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use chrono::{DateTime, NaiveDate};
use serde_json::{Value, json};

use crate::Shared;
use crate::log::Log;
use crate::options::seconds;
use crate::query::{BadParameter, Parameters};
use crate::store::{Direction, IdRange, View};

const DAY: i64 = 86_400;
const DEFAULT_LIMIT: i64 = 100;
const MOST: i64 = 1000;
/// Products for which a day has ids.
const IDS_PER_DAY: i64 = 10_000;

/// The counts of one product on one day.
#[derive(Debug, Default)]
struct DayCounts {
    total: u64,
    successful: u64,
    failed: u64,
    keys: BTreeSet<String>,
    devices: BTreeSet<String>,
}

impl DayCounts {
    fn count(&mut self, state: i64) {
        self.total += 1;
        match state % 100 / 10 {
            1 => self.successful += 1,
            2 => self.failed += 1,
            _ => {}
        }
    }
}

/// The answer to a request.
pub(crate) fn daily_aggregates(
    simulator: &Shared,
    parameters: &Parameters,
    now: i64,
) -> Result<Value, BadParameter> {
    let date = |name: &str| match parameters.text(name) {
        None => Ok(None),
        Some(text) => NaiveDate::parse_from_str(text, "%Y-%m-%d").map(Some).map_err(|_| BadParameter),
    };
    let (start, end) = (date("start")?, date("end")?);
    let product = parameters.integer("productid")?;
    let limit = parameters.integer("limit")?.unwrap_or(DEFAULT_LIMIT).clamp(1, MOST);
    let after = parameters.integer("startingafter")?.unwrap_or(0);
    let before = parameters.integer("endingbefore")?;
    let wanted = |(id, product_id, date, _): &(i64, i64, NaiveDate, DayCounts)| {
        start.is_none_or(|start| *date >= start)
            && end.is_none_or(|end| *date <= end)
            && product.is_none_or(|product| *product_id == product)
            && before.map_or(*id > after, |before| *id < before)
    };
    let mut days: Vec<_> = counted(simulator, now).into_iter().filter(wanted).collect();
    // EndingBefore wins, and turns the order.
    if before.is_some() {
        days.reverse();
    }
    days.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let aggregate = |(id, product_id, date, counts): &(i64, i64, NaiveDate, DayCounts)| {
        json!({
            "id": id, "productId": product_id, "date": format!("{date}T00:00:00"),
            "totalRequestsLogged": counts.total, "successful": counts.successful, "failed": counts.failed,
            "activeDevices": counts.devices.len(), "activeKeys": counts.keys.len(), "activeCustomers": counts.keys.len(),
        })
    };
    let aggregates: Vec<Value> = days.iter().map(aggregate).collect();
    Ok(json!({ "aggregates": aggregates, "result": 0, "message": null }))
}

/// Id, product, day and counts, in the order of the ids.
fn counted(simulator: &Shared, now: i64) -> Vec<(i64, i64, NaiveDate, DayCounts)> {
    let options = &simulator.options.aggregates;
    let shift = i64::from(options.day_offset_hours) * 3600;
    let catalogue = &simulator.catalogue;
    let mut days: BTreeMap<(i64, i64), DayCounts> = BTreeMap::new();
    let mut last_id = None;
    let view = View::ever(now.saturating_sub(seconds(options.lag)));
    simulator.log(Log::WebApi).scan(IdRange::ALL, Direction::Ascending, view, |row| {
        let key = row.text("key", catalogue).unwrap_or_default();
        let is_excluded = options.excluded_keys.iter().any(|excluded| *excluded == key);
        if !row.has_id() || last_id == Some(row.id) || row.time <= 0 || is_excluded {
            return ControlFlow::Continue(());
        }
        last_id = Some(row.id);
        let Some(product) = row.product_id(catalogue) else { return ControlFlow::Continue(()) };
        let counts = days.entry(((row.time + shift).div_euclid(DAY), product)).or_default();
        counts.count(row.state().unwrap_or(0));
        if !key.is_empty() {
            counts.keys.insert(key.into_owned());
        }
        let device = row.text("machineCode", catalogue).unwrap_or_default();
        if !device.is_empty() {
            counts.devices.insert(device.into_owned());
        }
        ControlFlow::Continue(())
    });
    for request in &options.unlogged {
        let counts = days.entry(((request.time + shift).div_euclid(DAY), request.product)).or_default();
        counts.count(request.state);
    }
    let (mut first, mut place) = (i64::MIN, 0);
    let numbered = days.into_iter().filter_map(|((day, product), counts)| {
        place = if first == day { place + 1 } else { 1 };
        first = day;
        let date = DateTime::from_timestamp(day * DAY, 0)?.date_naive();
        Some((day * IDS_PER_DAY + place, product, date, counts))
    });
    numbered.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::value::to_raw_value;

    use super::*;
    use crate::{AggregateOptions, Options, Simulator, UnloggedRequest};

    /// 2026-01-05.
    const MONDAY: i64 = 1_767_571_200;

    /// Two rows of a Monday, one of them of a key for tests and 10 minutes before its end, and one
    /// that became visible on Tuesday.
    fn simulator(aggregates: AggregateOptions) -> Simulator {
        let simulator = Simulator::new(Options { aggregates, ..Options::empty() });
        let row = |id: i64, key: &str, time: i64, state: i64, visible_at: i64| {
            let row = json!({ "id": id, "productId": 7, "key": key, "time": time, "state": state, "machineCode": "m" });
            simulator.append(Log::WebApi, vec![to_raw_value(&row).unwrap()], Some(visible_at));
        };
        row(1, "KEY", MONDAY + 5, 2014, MONDAY + 5);
        row(2, "TEST", MONDAY + DAY - 600, 2020, MONDAY + DAY - 600);
        row(3, "KEY", MONDAY + DAY + 5, 2030, MONDAY + DAY + 3600);
        simulator
    }

    fn counts(aggregates: AggregateOptions, now: i64, query: &[u8]) -> Vec<(String, u64, u64, u64)> {
        let simulator = simulator(aggregates);
        let mut parameters = Parameters::default();
        parameters.read(query);
        let answer = daily_aggregates(&simulator.shared, &parameters, now).unwrap();
        let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
        let count = |row: &Value| {
            let date = row["date"].as_str().unwrap().get(..10).unwrap().to_owned();
            (date, number(row, "totalRequestsLogged"), number(row, "successful"), number(row, "failed"))
        };
        answer["aggregates"].as_array().unwrap().iter().map(count).collect()
    }

    fn day(date: &str, total: u64, successful: u64, failed: u64) -> (String, u64, u64, u64) {
        (date.to_owned(), total, successful, failed)
    }

    #[test]
    fn rows_are_counted_by_day_once_the_lag_is_over() {
        let wednesday = MONDAY + 2 * DAY;
        let all = [day("2026-01-05", 2, 1, 1), day("2026-01-06", 1, 0, 0)];
        assert_eq!(counts(AggregateOptions::default(), wednesday, b""), all);
        assert_eq!(counts(AggregateOptions::default(), MONDAY + DAY, b""), [day("2026-01-05", 1, 1, 0)]);
        let lag = Duration::from_secs(2 * 86_400);
        let lagging = AggregateOptions { lag, ..AggregateOptions::default() };
        assert_eq!(counts(lagging, wednesday, b""), Vec::new());
        let usual = AggregateOptions::default;
        assert_eq!(counts(usual(), wednesday, b"Start=2026-01-06&End=2026-01-06"), all[1..]);
        assert_eq!(counts(usual(), wednesday, b"Limit=1"), all[..1]);
        assert_eq!(counts(usual(), wednesday, b"ProductId=8"), Vec::new());
    }

    #[test]
    fn keys_for_tests_other_days_and_lost_requests_are_as_the_options_say() {
        let wednesday = MONDAY + 2 * DAY;
        let with = |options: AggregateOptions| counts(options, wednesday, b"");
        let excluded_keys = vec!["TEST".to_owned()];
        let without = with(AggregateOptions { excluded_keys, ..AggregateOptions::default() });
        assert_eq!(without, [day("2026-01-05", 1, 1, 0), day("2026-01-06", 1, 0, 0)]);
        let shifted = with(AggregateOptions { day_offset_hours: 1, ..AggregateOptions::default() });
        assert_eq!(shifted, [day("2026-01-05", 1, 1, 0), day("2026-01-06", 2, 0, 1)]);
        let unlogged = vec![UnloggedRequest { product: 7, time: MONDAY, state: 2010 }];
        let more = with(AggregateOptions { unlogged, ..AggregateOptions::default() });
        assert_eq!(more, [day("2026-01-05", 3, 2, 1), day("2026-01-06", 1, 0, 0)]);
    }
}
