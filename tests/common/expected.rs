//! The values of a page, counted from the simulator's own rows by code that shares nothing with the
//! exporter's.

use std::collections::{BTreeMap, BTreeSet};

use cryptolens_simulator::{Log, Simulator};
use serde_json::Value;

use super::page::{Page, Series};

const LEASE: &[i64] = &[60, 120, 300, 600, 1800, 3600, 10_800, 43_200, 86_400];
const DATA_OBJECT: &[i64] = &[1, 2, 5, 10, 50, 100, 500, 1000, 10_000];
const EVENT_VALUE: &[i64] = &[1, 5, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000, 1_000_000];

const RESOURCES: [&str; 7] = [
    "unspecified",
    "customer",
    "issued_license",
    "license_key",
    "license_issuance",
    "product",
    "data_object",
];
const ACTIONS: [&str; 4] = ["none", "added", "updated", "deleted"];

/// Families that follow from the rows alone.
const EXACT: [&str; 6] = [
    "cryptolens_web_api_log_entries_total",
    "cryptolens_web_api_log_states_total",
    "cryptolens_floating_lease_seconds",
    "cryptolens_data_object_int_value",
    "cryptolens_event_log_entries_total",
    "cryptolens_event_value",
];
const OBJECTS: &str = "cryptolens_object_log_entries_total";
/// Families of which only the count does: an age depends on when a row was read.
const AGES: [&str; 3] = [
    "cryptolens_web_api_log_entry_age_seconds",
    "cryptolens_event_log_entry_age_seconds",
    "cryptolens_object_log_entry_age_seconds",
];

/// Every series that must not be 0.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    account: String,
    series: BTreeMap<Series, f64>,
}

impl Expected {
    /// Of an account that counted everything the simulator has shown so far.
    pub(crate) fn of(simulator: &Simulator, account: &str) -> Expected {
        let mut expected = Expected { account: account.to_owned(), series: BTreeMap::new() };
        for log in Log::ALL {
            let mut met = BTreeSet::new();
            for line in simulator.rows_as_lines(log).lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                if !met.insert(row["id"].as_i64().unwrap()) {
                    continue;
                }
                match log {
                    Log::WebApi => expected.web_api(&row),
                    Log::Events => expected.event(&row),
                    Log::Objects => expected.object(&row),
                }
            }
        }
        expected
    }

    /// The same, of another account that reads the same log.
    pub(crate) fn as_account(&self, account: &str) -> Expected {
        let rename = |(series, value): (&Series, &f64)| {
            let mut series = series.clone();
            series.labels.insert("account".to_owned(), account.to_owned());
            (series, *value)
        };
        Expected { account: account.to_owned(), series: self.series.iter().map(rename).collect() }
    }

    /// How many rows, by family and so by log.
    pub(crate) fn total(&self, family: &str) -> f64 {
        self.series.iter().filter(|(series, _)| series.name == family).map(|(_, value)| value).sum()
    }

    fn add(&mut self, name: &str, labels: &[(&str, &str)], value: i64) {
        let mut series = Series::new(name, labels);
        series.labels.insert("account".to_owned(), self.account.clone());
        *self.series.entry(series).or_default() += value as f64;
    }

    fn observe(&mut self, name: &str, labels: &[(&str, &str)], bounds: &[i64], value: i64) {
        for bound in bounds.iter().filter(|bound| value <= **bound) {
            let bound = bound.to_string();
            self.add(&format!("{name}_bucket"), &[labels, &[("le", &bound)]].concat(), 1);
        }
        self.add(&format!("{name}_bucket"), &[labels, &[("le", "+Inf")]].concat(), 1);
        self.add(&format!("{name}_sum"), labels, value);
        self.add(&format!("{name}_count"), labels, 1);
    }

    fn age(&mut self, name: &str, labels: &[(&str, &str)], time: &Value) {
        if time.as_i64() > Some(0) {
            self.add(&format!("{name}_count"), labels, 1);
            self.add(&format!("{name}_bucket"), &[labels, &[("le", "+Inf")]].concat(), 1);
        }
    }

    fn web_api(&mut self, row: &Value) {
        let product = row["productId"].as_i64().unwrap_or(0).to_string();
        let state = row["state"].as_i64();
        let (event_type, outcome) = method_and_outcome(state);
        let shown = state.filter(|state| (1000..=8999).contains(state));
        let state = shown.map_or_else(|| "other".to_owned(), |state| state.to_string());
        let three = [("product_id", product.as_str()), ("event_type", event_type), ("outcome", outcome)];
        self.add("cryptolens_web_api_log_entries_total", &three, 1);
        let four = [three.as_slice(), &[("state", &state)]].concat();
        self.add("cryptolens_web_api_log_states_total", &four, 1);

        let (time, expires) = (row["time"].as_i64().unwrap_or(0), row["floatingExpires"].as_i64());
        if let Some(expires) = expires.filter(|expires| time > 0 && *expires > time) {
            self.observe("cryptolens_floating_lease_seconds", &three, LEASE, expires - time);
        }
        if let Some(value) =
            row["doIntValue"].as_i64().filter(|value| *value > 0 && event_type == "data_object")
        {
            let labels = [("product_id", product.as_str()), ("state", &state)];
            self.observe("cryptolens_data_object_int_value", &labels, DATA_OBJECT, value);
        }
        self.age(AGES[0], &[("event_type", event_type), ("outcome", outcome)], &row["time"]);
    }

    fn event(&mut self, row: &Value) {
        let product = row["productId"].as_i64().unwrap_or(0).to_string();
        let name = |member: &str| row[member].as_str().filter(|name| !name.is_empty()).unwrap_or("unnamed");
        let (event, feature) = (name("eventName"), name("featureName"));
        let labels = [("product_id", product.as_str()), ("event_name", event), ("feature_name", feature)];
        self.add("cryptolens_event_log_entries_total", &labels, 1);
        if let Some(value) = row["value"].as_i64().filter(|value| *value > 0) {
            let currency = row["currency"].as_str().unwrap_or("other");
            let labels = [("product_id", product.as_str()), ("event_name", event), ("currency", currency)];
            self.observe("cryptolens_event_value", &labels, EVENT_VALUE, value);
        }
        self.age(AGES[1], &[], &row["time"]);
    }

    fn object(&mut self, row: &Value) {
        let name = |names: &[&'static str], member: &str| {
            let code = row[member].as_u64().and_then(|code| usize::try_from(code).ok());
            code.and_then(|code| names.get(code).copied()).unwrap_or("unknown")
        };
        let (resource, action) = (name(&RESOURCES, "resourceType"), name(&ACTIONS, "resourceAction"));
        self.add(OBJECTS, &[("resource_type", resource), ("action", action)], 1);
        self.age(AGES[2], &[], &row["created"]);
    }

    /// Where the page says something else; empty if it is right.
    pub(crate) fn differences(&self, page: &Page) -> Vec<String> {
        let mut differences = Vec::new();
        for (series, value) in page.samples.iter().filter(|(series, _)| self.covers(series)) {
            let expected = self.series.get(series).copied().unwrap_or(0.0);
            if expected != *value {
                differences.push(format!("{series:?}: {value}, not {expected}"));
            }
        }
        for series in self.series.keys().filter(|series| !page.samples.contains_key(series)) {
            differences.push(format!("{series:?} is missing"));
        }
        differences
    }

    fn covers(&self, series: &Series) -> bool {
        let suffix_of = |family: &&str| {
            let suffix = series.name.strip_prefix(*family)?;
            ["", "_bucket", "_sum", "_count"].contains(&suffix).then_some(suffix)
        };
        let exact = EXACT.iter().chain([&OBJECTS]).any(|family| suffix_of(family).is_some());
        let all_ages = series.labels.get("le").is_none_or(|bound| bound == "+Inf");
        let counted = AGES.iter().find_map(suffix_of).is_some_and(|suffix| suffix != "_sum" && all_ages);
        series.labels.get("account") == Some(&self.account) && (exact || counted)
    }
}

/// By the digits of a code, as the vendor's pages explain them.
fn method_and_outcome(state: Option<i64>) -> (&'static str, &'static str) {
    let state = state.map(|state| state.to_string()).unwrap_or_default();
    if state.len() != 4 {
        return ("unknown", "unknown");
    }
    let event_type = match &state[..2] {
        "10" => "validation",
        "20" => "activation",
        "30" => "key_generation",
        "40" => "optional_field",
        "50" => "no_request",
        "60" => "deactivation",
        "70" => "license_change",
        "80" => "data_object",
        _ => "unknown",
    };
    let outcome = match &state[2..3] {
        "1" => "success",
        "2" => "failure",
        _ => "unknown",
    };
    (event_type, outcome)
}
