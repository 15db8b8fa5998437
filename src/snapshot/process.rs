//! The families that start with the process: the status of logs and requests, the health of the
//! ledger, the build, and the process itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use procfs::process::{LimitValue, Process};

use crate::cryptolens::{LogKind, StateCode, state_code};
use crate::ingest::LogStatus;
use crate::ledger::{AccountState, LedgerView};
use crate::metrics::{Family, FamilyType, ProcessFamily, ProcessRegistry, ProcessValue};
use crate::tally::label::ProductLabel;
use crate::tally::{families, label};
use crate::usage::{SeatCount, SeatsInUse};

use super::Targets;

/// Registers everything that is known here.
pub(super) fn register(registry: &ProcessRegistry, ledger: LedgerView, targets: Arc<ArcSwap<Targets>>) {
    let view = ledger.clone();
    registry.register(Arc::new(move || {
        let targets = targets.load();
        let mut all = status(&targets);
        all.extend([state_info(&targets.states), build_info()]);
        all.extend(seats(&targets, &view));
        all
    }));
    registry.register(Arc::new(move || health(&ledger)));
    let started = start_time();
    registry.register(Arc::new(move || own_process(started)));
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

/// The floating seats of the accounts whose Web API Log is not far behind.
fn seats(targets: &Targets, ledger: &LedgerView) -> [ProcessFamily; 4] {
    let mut used = ProcessFamily::of(&families::FLOATING_SEATS);
    let mut overdraft = ProcessFamily::of(&families::FLOATING_SEATS_OVERDRAFT);
    let mut of_license = ProcessFamily::of(&families::LICENSE_SEATS);
    let mut limit = ProcessFamily::of(&families::LICENSE_SEATS_LIMIT);
    // No number of seats comes near 2^53.
    #[allow(clippy::cast_precision_loss)]
    let size = |seats: u64| seats as f64;
    let committed = ledger.committed();
    for (account, status) in &targets.accounts {
        let log = status.logs.get(&LogKind::WebApi).filter(|log| !log.view().catching_up);
        let in_use = status.seats.as_ref().zip(log).and_then(|(seats, _)| seats.in_use(Instant::now()));
        let Some(in_use) = in_use else { continue };
        let state = committed.as_ref().and_then(|committed| committed.accounts.get(account));
        for (product, seats) in seats_by_label(&in_use, state) {
            let product = product.to_string();
            used.gauge(&[account, &product], size(seats.used));
            overdraft.gauge(&[account, &product], size(seats.overdraft));
        }
        for license in &in_use.licenses {
            let product = license.product_id.to_string();
            of_license.gauge(&[account, &product, &license.name], size(license.used));
            if let Some(seats) = license.limit {
                limit.gauge(&[account, &product, &license.name], size(seats));
            }
        }
    }
    [used, overdraft, of_license, limit]
}

/// The seats by the products that have a label of their own. Products whose leases were ever
/// counted are shown at 0.
fn seats_by_label(in_use: &SeatsInUse, state: Option<&AccountState>) -> BTreeMap<ProductLabel, SeatCount> {
    let leases = state.into_iter().flat_map(|state| state.tally.lease.iter());
    let mut seats: BTreeMap<ProductLabel, SeatCount> =
        leases.map(|(key, _)| (key.0.product, SeatCount::default())).collect();
    let known: Option<BTreeSet<i64>> = state.map(|state| state.products.iter().map(|(id, _)| id).collect());
    for (id, of_product) in &in_use.products {
        // A number that can't be a product has the label 0.
        let is_known = *id <= 0 || known.as_ref().is_none_or(|known| known.contains(id));
        let label = if is_known { ProductLabel::Id((*id).max(0)) } else { ProductLabel::Other };
        let sum = seats.entry(label).or_default();
        sum.used += of_product.used;
        sum.overdraft += of_product.overdraft;
    }
    seats
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

/// When the process started, Unix seconds.
fn start_time() -> Option<f64> {
    let since_boot = whole(Process::myself().and_then(|process| process.stat()).ok()?.starttime);
    Some(whole(procfs::boot_time_secs().ok()?) + since_boot / whole(procfs::ticks_per_second()))
}

fn whole(value: u64) -> f64 {
    number(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The families that every exporter has about its process. What /proc does not show is left out.
fn own_process(started: Option<f64>) -> Vec<ProcessFamily> {
    let Ok(process) = Process::myself() else { return Vec::new() };
    let stat = process.stat().ok();
    let stat = stat.as_ref();
    let most_files = process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
        LimitValue::Value(most) => Some(whole(most)),
        LimitValue::Unlimited => None,
    });
    let cpu = stat.map(|stat| whole(stat.utime + stat.stime) / whole(procfs::ticks_per_second()));
    let open_files = process.fd_count().ok().and_then(|count| u64::try_from(count).ok());
    let resident = stat.map(|stat| whole(stat.rss.saturating_mul(procfs::page_size())));
    let gauges = [
        ("process_open_fds", "Number of open file descriptors.", open_files.map(whole)),
        ("process_max_fds", "Maximum number of open file descriptors.", most_files),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", stat.map(|stat| whole(stat.vsize))),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", resident),
        ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", started),
        (
            "process_threads",
            "Number of OS threads in the process.",
            stat.map(|stat| number(stat.num_threads)),
        ),
    ];
    let cpu = cpu.map(|seconds| {
        let help = "Total user and system CPU time spent in seconds.";
        unlabelled("process_cpu_seconds_total", help, FamilyType::Counter)
            .with(ProcessValue::Counter(seconds))
    });
    let gauges = gauges.into_iter().filter_map(|(name, help, value)| {
        Some(unlabelled(name, help, FamilyType::Gauge).with(ProcessValue::Gauge(value?)))
    });
    cpu.into_iter().chain(gauges).collect()
}

fn unlabelled(name: &'static str, help: &'static str, family_type: FamilyType) -> ProcessFamily {
    ProcessFamily { name: name.into(), help: help.into(), family_type, labels: &[], points: Vec::new() }
}
