//! Compares the newest settled day of an account with the vendor's own counts and with the ledger, at
//! the start and then at an interval, and shows the differences.
//!
//! Promises: what is shown is a comparison of one whole day; what the token may not ask for is not
//! shown, nor is anything of an account that is compared no longer. A comparison that fails for
//! another reason leaves the last one. Each kind of trouble has one line in the log.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::config::ReconcileSettings;
use crate::cryptolens::{ApiError, Client, Concurrency, Endpoint, Outcome};
use crate::ingest::ApiStatus;
use crate::metrics::{ProcessFamily, ProcessSource};
use crate::report::{
    DayDifference, LedgerSide, Progress, ReportError, RequestCounter, WindowReader, settled_day,
};
use crate::tally::families;

const DAY: i64 = 86_400;

/// A day that ended so long ago does not change any more: the vendor counts some time after the fact.
const SETTLED_AFTER: TimeDelta = TimeDelta::hours(48);

/// The values of the label `against`.
const VENDOR: &str = "vendor";
const LEDGER: &str = "ledger";

/// Settings of the comparison of one account.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReconcilerSettings {
    pub(super) account: Arc<str>,
    pub(super) settings: ReconcileSettings,
    /// The directory of the ledger.
    pub(super) storage_path: PathBuf,
}

/// An account, and the side that its log is compared with.
type Comparison = (Arc<str>, &'static str);

/// The differences of all accounts, as they are shown.
#[derive(Debug, Default)]
pub(super) struct ReconcileDifferences {
    shown: Mutex<BTreeMap<Comparison, Vec<DayDifference>>>,
}

impl ReconcileDifferences {
    fn show(&self, account: &Arc<str>, against: &'static str, differences: Vec<DayDifference>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert((Arc::clone(account), against), differences);
    }

    fn hide(&self, account: &Arc<str>, against: &'static str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.remove(&(Arc::clone(account), against));
    }
}

impl ProcessSource for ReconcileDifferences {
    fn collect(&self) -> Vec<ProcessFamily> {
        let mut family = ProcessFamily::of(&families::RECONCILE_DIFFERENCE);
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for ((account, against), differences) in &*shown {
            for difference in differences {
                let product = difference.product.to_string();
                for (outcome, value) in [
                    (Outcome::Success, difference.success),
                    (Outcome::Failure, difference.failure),
                    (Outcome::Unknown, difference.unknown),
                ] {
                    // No count of a day comes near 2^53.
                    #[allow(clippy::cast_precision_loss)]
                    family.gauge(&[account, &product, outcome.name(), against], value as f64);
                }
            }
        }
        vec![family]
    }
}

/// Hides an account at the end of its task, however that ends.
struct ShownAccount {
    account: Arc<str>,
    differences: Arc<ReconcileDifferences>,
}

impl Drop for ShownAccount {
    fn drop(&mut self) {
        for against in [VENDOR, LEDGER] {
            self.differences.hide(&self.account, against);
        }
    }
}

/// Compares until the shutdown signal.
pub(super) async fn compare_settled_days(
    own: ReconcilerSettings,
    (client, api): (Client, Arc<ApiStatus>),
    differences: Arc<ReconcileDifferences>,
    shutdown: CancellationToken,
) {
    let ReconcilerSettings { account, settings, storage_path } = own;
    let shown = ShownAccount { account: Arc::clone(&account), differences };
    api.expect(Endpoint::GetDailyAggregates);
    let source = WindowReader {
        client,
        // Nobody waits for it.
        concurrency: Concurrency::ONE,
        progress: Progress::hidden(),
        requests: RequestCounter::new(move |endpoint, took, error| api.count(endpoint, took, error)),
        stop: shutdown.clone(),
    };
    let mut log = ComparisonLog::new(Arc::clone(&account));
    loop {
        let now = Utc::now();
        let day = newest_settled_day(now);
        let today = now.timestamp().div_euclid(DAY);
        let ledger = match LedgerSide::read(storage_path.clone(), &account, today).await {
            Ok(ledger) => Some(ledger),
            // A new ledger, whose first poll is still to come.
            Err(ReportError::NotInLedger { .. }) => None,
            Err(error) => {
                log.failed(LEDGER, day, &error);
                None
            }
        };
        match settled_day(&source, day, &settings.excluded_keys, ledger.as_ref()).await {
            Ok(found) => {
                if ledger.is_some() {
                    log.compared(LEDGER, day, &found.ledger);
                    shown.differences.show(&account, LEDGER, found.ledger);
                }
                match found.vendor {
                    Ok(vendor) => {
                        log.compared(VENDOR, day, &vendor);
                        shown.differences.show(&account, VENDOR, vendor);
                    }
                    Err(error) => {
                        log.failed(VENDOR, day, &error);
                        if is_refused(&error) {
                            shown.differences.hide(&account, VENDOR);
                        }
                    }
                }
            }
            Err(ReportError::Interrupted) => return,
            Err(error) => log.failed(VENDOR, day, &error),
        }
        tokio::select! {
            () = tokio::time::sleep(settings.interval) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// A class of trouble, to tell whether it is the same as before.
type Trouble = (Discriminant<ReportError>, Option<Discriminant<ApiError>>);

/// Writes down what a comparison found, once for each day, and each kind of trouble once.
struct ComparisonLog {
    account: Arc<str>,
    days: BTreeMap<&'static str, NaiveDate>,
    troubles: BTreeMap<&'static str, Trouble>,
}

impl ComparisonLog {
    const fn new(account: Arc<str>) -> ComparisonLog {
        ComparisonLog { account, days: BTreeMap::new(), troubles: BTreeMap::new() }
    }

    fn compared(&mut self, against: &'static str, day: NaiveDate, found: &[DayDifference]) {
        self.troubles.remove(against);
        if self.days.insert(against, day) == Some(day) {
            return;
        }
        let (account, products) = (&*self.account, found.len());
        let differing = found.iter().filter(|difference| !difference.is_none()).count();
        if differing == 0 {
            tracing::info!(account, against, %day, products, "the counts of a day agree with the log");
        } else {
            tracing::warn!(
                account,
                against,
                %day,
                products,
                differing,
                "the counts of a day differ from the log; cryptolens-exporter reconcile shows where"
            );
        }
    }

    fn failed(&mut self, against: &'static str, day: NaiveDate, error: &ReportError) {
        let trouble = trouble(error);
        if self.troubles.insert(against, trouble) != Some(trouble) {
            let account = &*self.account;
            tracing::warn!(
                account,
                against,
                %day,
                %error,
                "the counts of a day were not compared with the log; trying again at the next interval"
            );
        }
    }
}

/// The last day in UTC that is settled.
fn newest_settled_day(now: DateTime<Utc>) -> NaiveDate {
    let unsettled = (now - SETTLED_AFTER).date_naive();
    unsettled.checked_sub_days(Days::new(1)).unwrap_or(unsettled)
}

fn trouble(error: &ReportError) -> Trouble {
    let answer = match error {
        ReportError::Api { error, .. } => Some(discriminant(error)),
        _ => None,
    };
    (discriminant(error), answer)
}

/// Whether the token may not ask.
fn is_refused(error: &ReportError) -> bool {
    matches!(
        error,
        ReportError::Api { error: ApiError::Denied | ApiError::Auth | ApiError::Subscription, .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_settled_48_hours_after_its_end() {
        let newest = |now: &str| newest_settled_day(now.parse().unwrap()).to_string();
        assert_eq!(newest("2026-01-10T00:00:00Z"), "2026-01-07");
        assert_eq!(newest("2026-01-09T23:59:59Z"), "2026-01-06");
    }

    #[test]
    fn an_account_is_shown_by_outcome_and_hidden_when_its_task_ends() {
        let differences = Arc::new(ReconcileDifferences::default());
        let shown = ShownAccount { account: Arc::from("shop"), differences: Arc::clone(&differences) };
        assert!(differences.collect()[0].points.is_empty());
        let difference = DayDifference { product: 3349, success: 2, failure: -1, unknown: 0 };
        differences.show(&shown.account, VENDOR, vec![difference]);
        differences.show(&shown.account, LEDGER, vec![difference]);
        let points = &differences.collect()[0].points;
        let labels: Vec<String> = points.iter().map(|point| point.labels.join(",")).collect();
        let expected = ["ledger", "vendor"].map(|against| {
            ["success", "failure", "unknown"].map(|outcome| format!("shop,3349,{outcome},{against}"))
        });
        assert_eq!(labels, expected.concat());
        drop(shown);
        assert!(differences.collect()[0].points.is_empty());
    }

    #[test]
    fn a_refusal_differs_from_trouble_that_passes() {
        let error = |error| ReportError::Api { endpoint: Endpoint::GetDailyAggregates, error };
        assert!(is_refused(&error(ApiError::Denied)) && !is_refused(&error(ApiError::Timeout)));
        assert_ne!(trouble(&error(ApiError::Denied)), trouble(&error(ApiError::Timeout)));
        assert_eq!(trouble(&error(ApiError::Timeout)), trouble(&error(ApiError::Timeout)));
    }
}
