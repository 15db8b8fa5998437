//! The families that start with the process: the status of logs and requests, the health of the ledger,
//! the build, and the process itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{MetricFamily, MetricType};

use crate::cryptolens::{StateCode, state_code};
use crate::ingest::LogStatus;
use crate::ledger::LedgerView;
use crate::metrics::{Family, FamilyType, ProcessFamily, ProcessRegistry, ProcessValue};
use crate::tally::{families, label};

use super::Targets;

/// Registers everything that is known here.
pub(super) fn register(registry: &ProcessRegistry, ledger: LedgerView, targets: Arc<ArcSwap<Targets>>) {
    registry.register(Arc::new(move || {
        let targets = targets.load();
        let mut all = status(&targets);
        all.extend([state_info(&targets.states), build_info()]);
        all
    }));
    registry.register(Arc::new(move || health(&ledger)));
    let process = ProcessCollector::for_self();
    registry.register(Arc::new(move || process.collect().iter().filter_map(convert).collect()));
}

/// No id and no time comes near 2^53.
#[allow(clippy::cast_precision_loss)]
fn number(value: i64) -> f64 {
    value as f64
}

fn truth(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

fn status(targets: &Targets) -> Vec<ProcessFamily> {
    let mut requests = ProcessFamily::of(&families::API_REQUESTS);
    let mut durations = ProcessFamily::of(&families::API_DURATION);
    for (account, status) in &targets.accounts {
        for (endpoint, view) in status.api.view() {
            for (result, count) in view.results {
                requests.counter(&[account, endpoint.name(), result], count);
            }
            durations.push(&[account, endpoint.name()], view.durations.into());
        }
    }
    let logs = |family: &Family, value: &dyn Fn(&LogStatus) -> Option<f64>| {
        let mut shown = ProcessFamily::of(family);
        for (account, status) in &targets.accounts {
            for (log, status) in &status.logs {
                if let Some(value) = value(status) {
                    shown.gauge(&[account, log.name()], value);
                }
            }
        }
        shown
    };
    vec![
        requests,
        durations,
        logs(&families::UP, &|status| Some(truth(status.view().up))),
        logs(&families::CATCHING_UP, &|status| Some(truth(status.view().catching_up))),
        logs(&families::NEWEST_ID, &|status| status.view().newest_id.map(number)),
        logs(&families::LAST_POLL, &|status| status.view().last_poll.map(number)),
    ]
}

fn health(ledger: &LedgerView) -> Vec<ProcessFamily> {
    let health = ledger.health();
    let mut failures = ProcessFamily::of(&families::LEDGER_COMMIT_FAILURES);
    failures.counter(&[], health.failures);
    let mut foreign = ProcessFamily::of(&families::LEDGER_FOREIGN_WRITES);
    foreign.counter(&[], health.foreign_writes);
    vec![
        ProcessFamily::of(&families::LEDGER_UP).with(ProcessValue::Gauge(truth(health.up))),
        ProcessFamily::of(&families::LEDGER_COMMIT_DURATION).with(health.commits.into()),
        failures,
        foreign,
    ]
}

/// A configured text replaces the known one: it is the vendor's own.
fn state_info(configured: &BTreeMap<u16, String>) -> ProcessFamily {
    let known = state_code::DESCRIBED.iter().map(|(code, text)| (*code, (*text).to_owned()));
    let mut texts: BTreeMap<u16, String> = known.collect();
    texts.extend(configured.iter().map(|(code, text)| (*code, text.clone())));
    let mut family = ProcessFamily::of(&families::STATE_INFO);
    for (code, text) in texts {
        let Some(state) = StateCode::new(i64::from(code)) else { continue };
        let (event_type, outcome) = state.classify();
        family.gauge(&[&code.to_string(), event_type.name(), outcome.name(), &label::clean(&text)], 1.0);
    }
    family
}

fn build_info() -> ProcessFamily {
    let mut family = ProcessFamily::of(&families::BUILD_INFO);
    family.gauge(&[env!("CARGO_PKG_VERSION"), env!("CRYPTOLENS_BUILD_COMMIT")], 1.0);
    family
}

/// A family of the process collector, which has counters and gauges without labels.
fn convert(family: &MetricFamily) -> Option<ProcessFamily> {
    let value = family.get_metric().first()?;
    let (family_type, value) = match family.get_field_type() {
        MetricType::COUNTER => (FamilyType::Counter, ProcessValue::Counter(value.get_counter().get_value())),
        MetricType::GAUGE => (FamilyType::Gauge, ProcessValue::Gauge(value.get_gauge().get_value())),
        MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    let converted = ProcessFamily {
        name: family.name().to_owned().into(),
        help: family.help().to_owned().into(),
        family_type,
        labels: &[],
        points: Vec::new(),
    };
    Some(converted.with(value))
}
