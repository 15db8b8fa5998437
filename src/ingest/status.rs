//! The state that a poller shows while it works. It starts with the process; nothing of it is in
//! the ledger.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cryptolens::{ApiError, Endpoint};
use crate::metrics::Durations;

/// Upper bounds of request durations, in seconds.
pub const REQUEST_BOUNDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Why a log makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastError {
    /// Its last request failed; the value of the label `result`.
    Api(&'static str),
    /// The ledger can't be read or written.
    Ledger,
}

impl LastError {
    /// One word.
    pub const fn name(self) -> &'static str {
        match self {
            LastError::Api(label) => label,
            LastError::Ledger => "ledger",
        }
    }
}

/// A request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenFailure {
    /// When it happened, in Unix seconds.
    pub time: i64,
    /// Its product; `None` where the row names none.
    pub product: Option<i64>,
}

/// One log, as seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogView {
    /// True if the last request was answered well.
    pub up: bool,
    /// True once there was an answer or an error in this process.
    pub answered: bool,
    /// The current error.
    pub current_error: Option<LastError>,
    /// The last error and its time in Unix seconds; it stays after a success.
    pub last_error: Option<(LastError, i64)>,
    /// True while old rows are counted.
    pub catching_up: bool,
    /// End of the last complete poll, in Unix seconds.
    pub last_poll: Option<i64>,
    /// The newest id that the API showed.
    pub newest_id: Option<i64>,
    /// The newest failure among the requests that this process read, other than those that found no
    /// free seat; `None` in other logs.
    pub newest_failure: Option<SeenFailure>,
}

/// The status of one log, shared between its poller and those who show it.
#[derive(Debug)]
pub struct LogStatus {
    view: Mutex<LogView>,
}

impl Default for LogStatus {
    fn default() -> Self {
        let view = LogView {
            up: false,
            answered: false,
            current_error: None,
            last_error: None,
            catching_up: false,
            last_poll: None,
            newest_id: None,
            newest_failure: None,
        };
        LogStatus { view: Mutex::new(view) }
    }
}

impl LogStatus {
    /// A copy of the current values.
    pub fn view(&self) -> LogView {
        lock(&self.view).clone()
    }

    /// An error that is there after the change is the last error, with the current time.
    pub(super) fn update(&self, change: impl FnOnce(&mut LogView)) {
        let mut view = lock(&self.view);
        change(&mut view);
        if let Some(current_error) = view.current_error {
            view.last_error = Some((current_error, chrono::Utc::now().timestamp()));
        }
    }
}

/// Requests to one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointView {
    /// The number of requests by the label `result`; every value is there from the start.
    pub results: BTreeMap<&'static str, u64>,
    /// How long they took.
    pub durations: Durations,
}

impl Default for EndpointView {
    fn default() -> Self {
        let results = std::iter::once(OK).chain(ApiError::LABELS).map(|result| (result, 0)).collect();
        EndpointView { results, durations: Durations::new(REQUEST_BOUNDS) }
    }
}

/// The value of the label `result` of a request that was answered well.
pub(super) const OK: &str = "ok";

/// The requests of one account.
#[derive(Debug, Default)]
pub struct ApiStatus {
    endpoints: Mutex<BTreeMap<Endpoint, EndpointView>>,
}

impl ApiStatus {
    /// Shows an endpoint, at 0.
    pub fn expect(&self, endpoint: Endpoint) {
        lock(&self.endpoints).entry(endpoint).or_default();
    }

    /// A copy of the current values.
    pub fn view(&self) -> BTreeMap<Endpoint, EndpointView> {
        lock(&self.endpoints).clone()
    }

    /// Counts a request, by its error if it failed.
    pub fn count(&self, endpoint: Endpoint, took: Duration, error: Option<&ApiError>) {
        let label = error.map_or(OK, ApiError::label);
        let mut endpoints = lock(&self.endpoints);
        let view = endpoints.entry(endpoint).or_default();
        *view.results.entry(label).or_default() += 1;
        view.durations.observe(took);
    }
}

/// Plain data is whole even if a thread died holding it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::LogKind;

    const EVENTS: Endpoint = LogKind::Events.endpoint();

    #[test]
    fn the_last_error_stays_after_success() {
        let status = LogStatus::default();
        status.update(|view| view.current_error = Some(LastError::Api("timeout")));
        let failed = status.view();
        status.update(|view| view.current_error = None);
        let (current_error, at) = status.view().last_error.unwrap();
        assert_eq!((current_error, status.view().current_error), (LastError::Api("timeout"), None));
        assert_eq!(failed.last_error, Some((current_error, at)));
        assert!((chrono::Utc::now().timestamp() - at).abs() < 60);
        status.update(|view| view.current_error = Some(LastError::Ledger));
        assert!(matches!(status.view().last_error, Some((LastError::Ledger, _))));
    }

    #[test]
    fn requests_are_counted_by_result() {
        let status = ApiStatus::default();
        status.expect(Endpoint::GetProducts);
        status.count(EVENTS, Duration::from_millis(100), None);
        status.count(EVENTS, Duration::from_secs(31), Some(&ApiError::Timeout));
        let view = status.view();
        let events = &view[&EVENTS];
        assert_eq!((events.results["ok"], events.results["timeout"], events.results["auth"]), (1, 1, 0));
        assert_eq!(events.results.len(), 11);
        assert_eq!(events.durations.buckets, [0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((events.durations.count, events.durations.sum), (2, 31.1));
        assert_eq!(view[&Endpoint::GetProducts], EndpointView::default());
    }
}
