//! The simulator with handmade logs, in a runtime of its own, for tests that wait for a process.

use cryptolens_simulator::{
    AggregateOptions, Fault, FaultKind, LicenseTerms, Log, Method, Options, PlannedIncident, ReceivedRequest,
    Running, Spike, start,
};
use serde_json::Value;
use serde_json::value::to_raw_value;

pub(crate) const TOKEN: &str = "test-token";

/// The logs of a stub, and its faults.
#[derive(Default)]
pub(crate) struct Logs {
    pub(crate) requests: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) objects: Vec<Value>,
    /// Product, key and number of seats of each license.
    pub(crate) licenses: Vec<(i64, &'static str, u32)>,
    /// Product, key and details of each license that has some.
    pub(crate) details: Vec<(i64, String, LicenseTerms)>,
    /// Methods that the token may not call.
    pub(crate) denied: Vec<Method>,
    /// Faults that hit one request each, with its number from 1.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// Faults that hit every request from the one with this number on.
    pub(crate) faults_from: Vec<(u64, Fault)>,
    /// The most rows of a page.
    pub(crate) page: Option<u64>,
    /// The vendor's own daily counts.
    pub(crate) aggregates: AggregateOptions,
}

/// A simulator that serves until it is dropped.
pub(crate) struct Stub {
    pub(crate) url: String,
    pub(crate) logs: Logs,
    running: Running,
    _runtime: tokio::runtime::Runtime,
}

impl Stub {
    pub(crate) fn start(logs: Logs) -> Stub {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let once = logs.faults.iter().map(|(number, fault)| fault.clone().after(number - 1).count(1));
        let from = logs.faults_from.iter().map(|(number, fault)| fault.clone().after(number - 1));
        let page = logs.page.map(|rows| Fault::new(FaultKind::CappedPage).value(rows));
        let faults = once.chain(from).chain(page).collect();
        let denied = logs.denied.clone();
        let aggregates = logs.aggregates.clone();
        let options =
            Options { token: Some(TOKEN.to_owned()), faults, denied, aggregates, ..Options::empty() };
        let running = runtime.block_on(start(options)).unwrap();
        for (log, rows) in
            [(Log::WebApi, &logs.requests), (Log::Events, &logs.events), (Log::Objects, &logs.objects)]
        {
            let rows = rows.iter().map(|row| to_raw_value(row).unwrap()).collect();
            running.simulator.append(log, rows, None);
        }
        for (product, key, seats) in &logs.licenses {
            running.simulator.add_license(*product, key, *seats);
        }
        for (product, key, license) in &logs.details {
            running.simulator.add_license_with(*product, key, license.clone());
        }
        Stub { url: running.url(), logs, running, _runtime: runtime }
    }

    /// A simulator with traffic of its own.
    pub(crate) fn of_traffic(options: Options) -> Stub {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let running = runtime.block_on(start(Options { token: Some(TOKEN.to_owned()), ..options })).unwrap();
        Stub { url: running.url(), logs: Logs::default(), running, _runtime: runtime }
    }

    /// Stops the clock of the simulator.
    pub(crate) fn freeze(&self, time: i64) {
        self.running.simulator.freeze(Some(time));
    }

    /// Faults of all requests from now on, in the words of `simulate --fault`.
    pub(crate) fn set_faults(&self, faults: &[&str]) {
        self.running.simulator.set_faults(faults.iter().map(|fault| fault.parse().unwrap()).collect());
    }

    pub(crate) fn planned_incidents(&self, from: i64, to: i64) -> Vec<PlannedIncident> {
        self.running.simulator.planned_incidents(from, to)
    }

    /// Starts a spike at run time.
    pub(crate) fn spike(&self, spike: Spike) -> PlannedIncident {
        self.running.simulator.spike(spike).unwrap().incident
    }

    /// All rows of the Web API Log so far.
    pub(crate) fn web_api_rows(&self) -> Vec<Value> {
        let lines = self.running.simulator.rows_as_lines(Log::WebApi);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The number of requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.running.simulator.requests().values().sum()
    }

    /// The latest requests.
    pub(crate) fn asked(&self) -> Vec<ReceivedRequest> {
        self.running.simulator.latest_requests()
    }
}
