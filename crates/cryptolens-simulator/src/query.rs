//! The query of a request for a log, and the rows that answer it.
//!
//! It implements the documented parameters. The vendor's SDKs send 0 and "" for parameters that are
//! not set, so both count as absent. Where the documentation is silent, a comment names the choice.
//! The module knows names and values of parameters, and nothing else of HTTP.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use serde_json::Value;

use crate::catalogue::Catalogue;
use crate::log::Log;
use crate::row::Row;
use crate::store::{Direction, IdRange, LogStore, View};

const DEFAULT_LIMIT: usize = 10;
const LONGEST_EVENT_TEXT: usize = 100;

/// A parameter is not understood. The API then answers "The input parameters were incorrect."
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BadParameter;

/// Request parameters by lower-case name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parameters(HashMap<String, String>);

impl Parameters {
    /// Adds the parameters of a form-urlencoded query string or body. A later value replaces an
    /// earlier one.
    pub(crate) fn read(&mut self, encoded: &[u8]) {
        for (name, value) in url::form_urlencoded::parse(encoded) {
            self.0.insert(name.to_lowercase(), value.into_owned());
        }
    }

    /// The value, unless it is empty. `name` is in lower case.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value, unless it is empty or 0.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, BadParameter> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number: i64 = text.trim().parse().map_err(|_| BadParameter)?;
        Ok(Some(number).filter(|number| *number != 0))
    }

    /// All parameters except the token, by lower-case name.
    pub(crate) fn without_token(&self) -> BTreeMap<String, String> {
        let rest = self.0.iter().filter(|(name, _)| *name != "token");
        rest.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, BadParameter> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(BadParameter),
        }
    }
}

/// The conditions that a row has to meet.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Filter {
    product: Option<i64>,
    key: Option<String>,
    machine_code: Option<String>,
    /// In lower case.
    friendly_name: Option<String>,
    metadata: Option<String>,
    states: Option<Vec<i64>>,
    earliest: Option<i64>,
    latest: Option<i64>,
}

impl Filter {
    fn matches(&self, row: &Row, catalogue: &Catalogue) -> bool {
        let text_is = |name: &str, test: &dyn Fn(&str) -> bool| {
            row.text(name, catalogue).is_some_and(|text| test(&text))
        };
        self.earliest.is_none_or(|earliest| row.time >= earliest)
            && self.latest.is_none_or(|latest| row.time <= latest)
            && self.product.is_none_or(|product| row.product_id(catalogue) == Some(product))
            && self
                .states
                .as_ref()
                .is_none_or(|states| row.state().is_some_and(|state| states.contains(&state)))
            && self.key.as_ref().is_none_or(|key| text_is("key", &|text| text == key))
            && self.machine_code.as_ref().is_none_or(|code| text_is("machineCode", &|text| text == code))
            && self
                .friendly_name
                .as_ref()
                .is_none_or(|name| text_is("friendlyName", &|text| text.to_lowercase().contains(name)))
            && self.metadata.as_ref().is_none_or(|part| text_is("metadata", &|text| text.contains(part)))
    }

    fn read_time(&mut self, text: &str) -> Result<(), BadParameter> {
        // The documentation of GetEvents allows a bare timestamp and does not say what it means. It
        // is taken for the earliest time.
        if let Ok(since) = text.trim().parse() {
            self.earliest = Some(since);
            return Ok(());
        }
        let Ok(Value::Object(bounds)) = serde_json::from_str(text) else { return Err(BadParameter) };
        for (name, bound) in &bounds {
            let bound = bound.as_i64().ok_or(BadParameter)?;
            match name.to_ascii_lowercase().as_str() {
                "gt" => self.raise_earliest(bound.saturating_add(1)),
                "gte" => self.raise_earliest(bound),
                "lt" => self.lower_latest(bound.saturating_sub(1)),
                "lte" => self.lower_latest(bound),
                _ => return Err(BadParameter),
            }
        }
        Ok(())
    }

    fn raise_earliest(&mut self, bound: i64) {
        self.earliest = Some(self.earliest.map_or(bound, |earliest| earliest.max(bound)));
    }

    fn lower_latest(&mut self, bound: i64) {
        self.latest = Some(self.latest.map_or(bound, |latest| latest.min(bound)));
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Id,
    Time,
}

/// The request for one page of a log.
#[derive(Debug, Clone)]
pub(crate) struct PageQuery {
    pub(crate) limit: usize,
    /// True if rows get the members of `AnomalyClassification`.
    pub(crate) anomalies: bool,
    filter: Filter,
    range: IdRange,
    order: Order,
    direction: Direction,
    has_order: bool,
}

impl PageQuery {
    pub(crate) fn read(log: Log, parameters: &Parameters) -> Result<Self, BadParameter> {
        let mut query = Self {
            limit: read_limit(log, parameters)?,
            anomalies: false,
            filter: Filter::default(),
            range: IdRange::ALL,
            order: Order::Id,
            direction: Direction::Ascending,
            has_order: false,
        };
        parameters.integer("v")?;
        query.range.above = parameters.integer("startingafter")?.unwrap_or(i64::MIN);
        if log == Log::Objects {
            return Ok(query);
        }
        if let Some(before) = parameters.integer("endingbefore")? {
            // The documentation does not say what both cursors together mean. Here both bounds
            // hold.
            query.range.below = before;
            query.direction = Direction::Descending;
        }
        query.filter = read_filter(log, parameters)?;
        if log == Log::WebApi {
            query.anomalies = parameters.flag("anomalyclassification")?;
            if let Some(order) = parameters.text("orderby") {
                (query.order, query.direction) = read_order(order)?;
                query.has_order = true;
            }
        }
        Ok(query)
    }

    /// True if a cursor is too large for a server that keeps it in 32 bits.
    pub(crate) fn has_long_cursor(&self) -> bool {
        let is_long = |id: i64| id != i64::MAX && id > i64::from(i32::MAX);
        is_long(self.range.above) || is_long(self.range.below)
    }

    pub(crate) fn has_order(&self) -> bool {
        self.has_order
    }

    /// True if the server chooses the order.
    pub(crate) fn is_unordered(&self) -> bool {
        !self.has_order && self.range == IdRange::ALL
    }

    /// The id that all rows of the answer are above.
    pub(crate) fn cursor(&self) -> Option<i64> {
        Some(self.range.above).filter(|id| *id != i64::MIN)
    }

    /// True if the first row of the answer has the highest id.
    pub(crate) fn descends(&self) -> bool {
        self.direction == Direction::Descending
    }

    /// The same request for the newest row alone.
    pub(crate) fn newest(mut self) -> Self {
        self.limit = 1;
        self.newest_first()
    }

    /// The same request to a log whose ids are higher by `shift` and begin at `first`.
    pub(crate) fn shifted(mut self, shift: i64, first: i64) -> Self {
        let shifted = |id: i64| id.saturating_add(shift);
        self.range.above = self.cursor().map_or(first.saturating_sub(1), shifted);
        if self.range.below != i64::MAX {
            self.range.below = shifted(self.range.below);
        }
        self
    }

    /// The same request to a server that does not know `OrderBy`.
    pub(crate) fn without_order(mut self) -> Self {
        self.order = Order::Id;
        self.direction =
            if self.range.below == i64::MAX { Direction::Ascending } else { Direction::Descending };
        self
    }

    /// The same request to a server that begins with the newest row.
    pub(crate) fn newest_first(mut self) -> Self {
        self.direction = Direction::Descending;
        self
    }

    pub(crate) fn rows(&self, store: &LogStore, catalogue: &Catalogue, view: View) -> Vec<Row> {
        // The times of generated rows rise with their ids. Only rows that a test adds need sorting.
        if self.order == Order::Time && !store.is_generated() {
            return self.rows_by_time(store, catalogue, view);
        }
        let mut rows = Vec::new();
        store.scan(self.range, self.direction, view, |row| {
            if self.is_past(row) {
                return ControlFlow::Break(());
            }
            if self.filter.matches(row, catalogue) {
                rows.push(row.clone());
            }
            if rows.len() < self.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        rows
    }

    /// True if all rows from here on, in the direction of the scan, are outside the time filter.
    fn is_past(&self, row: &Row) -> bool {
        let is_generated = !matches!(row.fields, super::row::Fields::Appended(_));
        is_generated
            && match self.direction {
                Direction::Ascending => {
                    self.filter.latest.is_some_and(|latest| row.time > latest + MOST_DISORDER)
                }
                Direction::Descending => {
                    self.filter.earliest.is_some_and(|earliest| row.time < earliest - MOST_DISORDER)
                }
            }
    }

    fn rows_by_time(&self, store: &LogStore, catalogue: &Catalogue, view: View) -> Vec<Row> {
        let mut rows = Vec::new();
        store.scan(self.range, Direction::Ascending, view, |row| {
            if self.filter.matches(row, catalogue) {
                rows.push(row.clone());
            }
            ControlFlow::Continue(())
        });
        rows.sort_by_key(|row| (row.time, row.id));
        if self.direction == Direction::Descending {
            rows.reverse();
        }
        rows.truncate(self.limit);
        rows
    }
}

/// The most seconds by which the times of generated rows and of rows that are added at run time may
/// fall while their ids rise.
const MOST_DISORDER: i64 = 3600;

fn read_limit(log: Log, parameters: &Parameters) -> Result<usize, BadParameter> {
    match parameters.integer("limit")? {
        None => Ok(DEFAULT_LIMIT),
        Some(limit) => {
            usize::try_from(limit).map(|limit| limit.min(log.largest_page())).map_err(|_| BadParameter)
        }
    }
}

fn read_filter(log: Log, parameters: &Parameters) -> Result<Filter, BadParameter> {
    let text = |name| parameters.text(name).map(str::to_owned);
    let mut filter =
        Filter { product: parameters.integer("productid")?, key: text("key"), ..Filter::default() };
    if filter.key.is_some() && filter.product.is_none() {
        return Err(BadParameter);
    }
    if let Some(time) = parameters.text("time") {
        filter.read_time(time)?;
    }
    match log {
        Log::WebApi => {
            filter.machine_code = text("machinecode");
            filter.friendly_name = text("friendlyname").map(|name| name.to_lowercase());
            filter.states =
                parameters.text("states").map(read_states).transpose()?.filter(|states| !states.is_empty());
        }
        _ => filter.metadata = text("metadata"),
    }
    Ok(filter)
}

fn read_states(text: &str) -> Result<Vec<i64>, BadParameter> {
    serde_json::from_str(text).map_err(|_| BadParameter)
}

fn read_order(text: &str) -> Result<(Order, Direction), BadParameter> {
    let text = text.to_ascii_lowercase();
    let mut words = text.split_whitespace();
    let order = match words.next() {
        Some("id") => Order::Id,
        Some("time") => Order::Time,
        _ => return Err(BadParameter),
    };
    let direction = match words.next() {
        None | Some("ascending") => Direction::Ascending,
        Some("descending") => Direction::Descending,
        Some(_) => return Err(BadParameter),
    };
    if words.next().is_some() { Err(BadParameter) } else { Ok((order, direction)) }
}

/// The members of a row from the parameters of `RegisterEvent`.
pub(crate) fn read_event(parameters: &Parameters) -> Result<Vec<(&'static str, Value)>, BadParameter> {
    let product = parameters.integer("productid")?;
    if parameters.text("key").is_some() && product.is_none() {
        return Err(BadParameter);
    }
    let text = |name: &str| parameters.text(name).map_or(Value::Null, Value::from);
    for name in ["featurename", "eventname"] {
        if parameters.text(name).is_some_and(|value| value.chars().count() > LONGEST_EVENT_TEXT) {
            return Err(BadParameter);
        }
    }
    Ok(vec![
        ("productId", Value::from(product.unwrap_or(0))),
        ("key", text("key")),
        ("machineCode", text("machinecode")),
        ("featureName", text("featurename")),
        ("eventName", text("eventname")),
        ("value", Value::from(parameters.integer("value")?.unwrap_or(0))),
        ("currency", text("currency")),
        ("metadata", text("metadata")),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn parameters(encoded: &str) -> Parameters {
        let mut parameters = Parameters::default();
        parameters.read(encoded.as_bytes());
        parameters
    }

    /// Twenty rows with the ids 10, 20 to 200 and the time 1000 + id. The times of 50 and 60 are
    /// swapped.
    fn store() -> LogStore {
        let store = LogStore::new(None, None);
        let rows = (1..=20).map(|number: i64| {
            let id = number * 10;
            let time = 1000
                + match id {
                    50 => 60,
                    60 => 50,
                    other => other,
                };
            let row = json!({
                "id": id,
                "time": time,
                "productId": if number % 2 == 0 { 7 } else { 8 },
                "state": if number % 5 == 0 { 2024 } else { 2014 },
                "key": format!("KEY-{}", number % 4),
                "machineCode": format!("Machine{}", number % 3),
                "friendlyName": if number == 3 { Value::Null } else { format!("Alice-{number}").into() },
            });
            to_raw_value(&row).unwrap()
        });
        store.append(rows.collect(), 0, 0);
        store
    }

    fn ask(log: Log, encoded: &str) -> Result<Vec<i64>, BadParameter> {
        let query = PageQuery::read(log, &parameters(encoded))?;
        let store = store();
        let rows = query.rows(&store, &Catalogue::new(1, 1.0), store.view(5000));
        Ok(rows.iter().map(|row| row.id).collect())
    }

    fn web_api(encoded: &str) -> Vec<i64> {
        ask(Log::WebApi, encoded).unwrap()
    }

    #[test]
    fn without_a_cursor_the_oldest_ten_come_first() {
        assert_eq!(web_api(""), (1..=10).map(|number| number * 10).collect::<Vec<_>>());
    }

    #[test]
    fn zero_and_empty_mean_absent() {
        assert_eq!(
            web_api("ProductId=0&Key=&StartingAfter=0&EndingBefore=0&OrderBy=&Limit=0&States=&Time="),
            web_api("")
        );
    }

    #[test]
    fn names_are_case_insensitive() {
        assert_eq!(web_api("LIMIT=2&startingAFTER=30"), [40, 50]);
    }

    #[test]
    fn cursors_are_exclusive_and_ending_before_descends() {
        assert_eq!(web_api("StartingAfter=30&Limit=2"), [40, 50]);
        assert_eq!(web_api("StartingAfter=35&Limit=1"), [40]);
        assert_eq!(web_api("EndingBefore=50&Limit=3"), [40, 30, 20]);
        assert_eq!(web_api("StartingAfter=20&EndingBefore=50"), [40, 30]);
        assert!(web_api("StartingAfter=200").is_empty());
        assert!(web_api("StartingAfter=50&EndingBefore=20").is_empty());
    }

    #[test]
    fn order_by_id_and_time() {
        assert_eq!(web_api("OrderBy=Id descending&Limit=2"), [200, 190]);
        assert_eq!(web_api("OrderBy=time&StartingAfter=30&Limit=3"), [40, 60, 50]);
        assert_eq!(web_api("OrderBy=Time+descending&EndingBefore=70&Limit=2"), [50, 60]);
        assert_eq!(web_api("OrderBy=Id&EndingBefore=40"), [10, 20, 30]);
        assert_eq!(ask(Log::WebApi, "OrderBy=Key"), Err(BadParameter));
        assert_eq!(ask(Log::WebApi, "OrderBy=Id sideways"), Err(BadParameter));
    }

    #[test]
    fn limits_are_clamped() {
        let limit = |log, encoded| PageQuery::read(log, &parameters(encoded)).unwrap().limit;
        assert_eq!(limit(Log::WebApi, "Limit=5000"), 1000);
        assert_eq!(limit(Log::Events, "Limit=5000"), 100);
        assert_eq!(limit(Log::Objects, "Limit=5000"), 100);
        assert_eq!(limit(Log::WebApi, ""), 10);
        assert_eq!(ask(Log::WebApi, "Limit=-1"), Err(BadParameter));
        assert_eq!(ask(Log::WebApi, "Limit=many"), Err(BadParameter));
    }

    #[test]
    fn filters() {
        assert_eq!(web_api("ProductId=7&Limit=2"), [20, 40]);
        assert_eq!(web_api("ProductId=7&Key=KEY-2"), [20, 60, 100, 140, 180]);
        assert_eq!(ask(Log::WebApi, "Key=KEY-2"), Err(BadParameter));
        assert_eq!(web_api("MachineCode=Machine0&Limit=2"), [30, 60]);
        assert!(web_api("MachineCode=machine0").is_empty());
        assert_eq!(web_api("FriendlyName=aLICE-1&Limit=3"), [10, 100, 110]);
        assert_eq!(web_api("States=[2024,9999]"), [50, 100, 150, 200]);
        assert_eq!(ask(Log::WebApi, "States=2024;"), Err(BadParameter));
    }

    #[test]
    fn time_filters() {
        assert_eq!(web_api(r#"Time={"gt":1030,"lte":1060}"#), [40, 50, 60]);
        assert_eq!(web_api(r#"Time={"gte":1030,"lt":1040}"#), [30]);
        assert_eq!(web_api("Time=1190"), [190, 200]);
        assert_eq!(ask(Log::WebApi, "Time=[1]"), Err(BadParameter));
        assert_eq!(ask(Log::WebApi, r#"Time={"around":1}"#), Err(BadParameter));
    }

    #[test]
    fn events_take_no_order_and_objects_only_limit_and_starting_after() {
        assert_eq!(ask(Log::Events, "OrderBy=nonsense&Limit=1"), Ok(vec![10]));
        assert_eq!(ask(Log::Events, "EndingBefore=50&Limit=1"), Ok(vec![40]));
        assert_eq!(
            ask(Log::Objects, "EndingBefore=50&Key=x&Time=nonsense&StartingAfter=10&Limit=1"),
            Ok(vec![20])
        );
    }

    #[test]
    fn cursors_past_31_bits_are_recognised() {
        let query = |encoded| PageQuery::read(Log::WebApi, &parameters(encoded)).unwrap();
        assert!(!query("").has_long_cursor());
        assert!(!query("StartingAfter=2147483647").has_long_cursor());
        assert!(query("StartingAfter=2147483648").has_long_cursor());
        assert_eq!(ask(Log::WebApi, "StartingAfter=99999999999999999999"), Err(BadParameter));
    }

    #[test]
    fn an_event_needs_a_product_for_its_key() {
        assert!(read_event(&parameters("FeatureName=a&Value=12")).is_ok());
        assert!(read_event(&parameters("Key=K")).is_err());
        assert!(read_event(&parameters(&format!("EventName={}", "x".repeat(101)))).is_err());
    }
}
