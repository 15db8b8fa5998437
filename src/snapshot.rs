//! What is shown at one moment: the committed state of the ledger, joined with what the process knows of itself, as
//! text in the Prometheus exposition format.
//!
//! Promises: families kept in the ledger come from one commit, are rendered once per commit, and are absent until the
//! ledger could be read; nothing here waits for the network or the disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use prometheus::TextEncoder;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;

use crate::cryptolens::{LogKind, StateCode, state_code};
use crate::ingest::{ApiStatus, LogStatus};
use crate::ledger::{Committed, LedgerView, LogState};
use crate::tally::catalogue::{self, Family};
use crate::tally::exposition::{self, Sample, float};
use crate::tally::{AccountExhibit, Exhibit, Limits, label};

/// The status of one account.
#[derive(Debug, Clone, Default)]
pub struct AccountStatus {
    /// Its requests.
    pub api: Arc<ApiStatus>,
    /// Its logs that are polled.
    pub logs: BTreeMap<LogKind, Arc<LogStatus>>,
}

/// Who is polled, and how it is shown. Replaced as a whole when the configuration is read again.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// By name.
    pub accounts: BTreeMap<Arc<str>, AccountStatus>,
    /// Texts for state codes, by configuration.
    pub states: BTreeMap<u16, String>,
    /// The number by which the Object Log calls the first resource type and action.
    pub first_object_code: i64,
    /// The limits of each account.
    pub limits: Limits,
}

/// Renders the page.
pub struct Exposition {
    ledger: LedgerView,
    board: ArcSwap<Board>,
    process: ProcessCollector,
    rendered: Mutex<Option<Rendered>>,
}

/// Text by family name, of one commit under one board.
struct Rendered {
    committed: Option<Arc<Committed>>,
    board: Arc<Board>,
    families: Arc<BTreeMap<String, String>>,
}

impl Exposition {
    /// Shows a ledger.
    pub fn new(ledger: LedgerView, board: Board) -> Exposition {
        Exposition {
            ledger,
            board: ArcSwap::from_pointee(board),
            process: ProcessCollector::for_self(),
            rendered: Mutex::new(None),
        }
    }

    /// Who is polled.
    pub fn board(&self) -> Arc<Board> {
        self.board.load_full()
    }

    /// Shows others from now on.
    pub fn show(&self, board: Board) {
        self.board.store(Arc::new(board));
    }

    /// What is committed; `None` until the ledger could be read.
    pub fn committed(&self) -> Option<Arc<Committed>> {
        self.ledger.committed()
    }

    /// The whole page.
    ///
    /// # Errors
    /// By the `prometheus` crate, on a family that its format can't hold.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let board = self.board();
        let kept = self.kept(&board)?;
        let fresh = text(self.fresh(&board))?;
        let size = kept.values().chain(fresh.values()).map(String::len).sum();
        let mut page = String::with_capacity(size);
        // Both are sorted, and no family is in both.
        let all: BTreeMap<&String, &String> = kept.iter().chain(&fresh).collect();
        all.into_values().for_each(|family| page.push_str(family));
        Ok(page)
    }

    /// What changes with a commit or the board only.
    fn kept(&self, board: &Arc<Board>) -> Result<Arc<BTreeMap<String, String>>, prometheus::Error> {
        let committed = self.ledger.committed();
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = rendered.as_ref() {
            let same_commit = match (&last.committed, &committed) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                _ => false,
            };
            if same_commit && Arc::ptr_eq(&last.board, board) {
                return Ok(Arc::clone(&last.families));
            }
        }
        let mut families = vec![state_info(&board.states), build_info()];
        if let Some(committed) = &committed {
            families.extend(ledger_families(committed, board)?.into_iter().map(Some));
        }
        let families = Arc::new(text(families.into_iter().flatten().collect())?);
        *rendered = Some(Rendered { committed, board: Arc::clone(board), families: Arc::clone(&families) });
        Ok(families)
    }

    /// What can change at any time.
    fn fresh(&self, board: &Board) -> Vec<MetricFamily> {
        let mut requests = Vec::new();
        let mut durations = Vec::new();
        for (account, status) in &board.accounts {
            for (endpoint, view) in status.api.view() {
                for (result, count) in view.results {
                    let labels = [account, endpoint.name(), result];
                    requests.push(exposition::counter(&catalogue::API_REQUESTS, &labels, count));
                }
                let took = view.durations;
                durations.push(exposition::observations(
                    &catalogue::API_DURATION,
                    &[account, endpoint.name()],
                    &took.buckets,
                    took.count,
                    took.sum,
                ));
            }
        }
        let health = self.ledger.health();
        let none: [&str; 0] = [];
        let logs = |family: &Family, value: &dyn Fn(&LogStatus) -> Option<f64>| {
            let samples = board.accounts.iter().flat_map(|(account, status)| {
                status.logs.iter().filter_map(move |(log, status)| {
                    Some(exposition::gauge(family, &[account, log.name()], value(status)?))
                })
            });
            exposition::family(family, samples.collect())
        };
        let one = |family: &Family, sample: Sample| exposition::family(family, vec![sample]);
        let commits = &catalogue::LEDGER_COMMIT_DURATION;
        let took = health.commits;
        let families = [
            exposition::family(&catalogue::API_REQUESTS, requests),
            exposition::family(&catalogue::API_DURATION, durations),
            logs(&catalogue::UP, &|status| Some(truth(status.view().up))),
            logs(&catalogue::CATCHING_UP, &|status| Some(truth(status.view().catching_up))),
            logs(&catalogue::NEWEST_ID, &|status| status.view().newest_id.map(float)),
            logs(&catalogue::LAST_POLL, &|status| status.view().last_poll.map(float)),
            one(&catalogue::LEDGER_UP, exposition::gauge(&catalogue::LEDGER_UP, &none, truth(health.up))),
            one(
                &catalogue::LEDGER_COMMIT_FAILURES,
                exposition::counter(&catalogue::LEDGER_COMMIT_FAILURES, &none, health.failures),
            ),
            one(
                &catalogue::LEDGER_FOREIGN_WRITES,
                exposition::counter(&catalogue::LEDGER_FOREIGN_WRITES, &none, health.foreign_writes),
            ),
            one(commits, exposition::observations(commits, &none, &took.buckets, took.count, took.sum)),
        ];
        families.into_iter().flatten().chain(self.process.collect()).collect()
    }
}

fn truth(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

fn text(families: Vec<MetricFamily>) -> Result<BTreeMap<String, String>, prometheus::Error> {
    let encoder = TextEncoder::new();
    let encode = |family: MetricFamily| {
        let mut text = String::new();
        encoder.encode_utf8(std::slice::from_ref(&family), &mut text)?;
        Ok((family.name().to_owned(), text))
    };
    families.into_iter().map(encode).collect()
}

fn ledger_families(committed: &Committed, board: &Board) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let nothing = crate::ledger::AccountState::default();
    let mut exhibits = Vec::new();
    let (mut cursors, mut origins, mut newest) = (Vec::new(), Vec::new(), Vec::new());
    for (name, status) in &board.accounts {
        let account = committed.accounts.get(name).unwrap_or(&nothing);
        let complete = |log: &LogKind| account.logs.get(log).is_some_and(|log| log.first_poll_complete);
        exhibits.push(AccountExhibit {
            name: name.to_string(),
            tally: Arc::clone(&account.tally),
            products: Arc::clone(&account.products),
            logs: status.logs.keys().map(|log| (*log, complete(log))).collect(),
        });
        for log in status.logs.keys() {
            let Some(LogState { origin, cursor, last_entry, .. }) = account.logs.get(log) else { continue };
            let labels = [name, log.name()];
            cursors.push(exposition::gauge(&catalogue::CURSOR, &labels, float(*cursor)));
            origins.push(exposition::gauge(&catalogue::ORIGIN, &labels, float(origin.mark)));
            newest.extend(
                last_entry.map(|time| exposition::gauge(&catalogue::LAST_ENTRY, &labels, float(time))),
            );
        }
    }
    let none: [&str; 0] = [];
    let resets = exposition::counter(&catalogue::LEDGER_RESETS, &none, committed.resets);
    let mut families = Exhibit::new(exhibits, board.limits, board.first_object_code)?.collect();
    let others = [
        exposition::family(&catalogue::CURSOR, cursors),
        exposition::family(&catalogue::ORIGIN, origins),
        exposition::family(&catalogue::LAST_ENTRY, newest),
        exposition::family(&catalogue::LEDGER_RESETS, vec![resets]),
    ];
    families.extend(others.into_iter().flatten());
    Ok(families)
}

/// A configured text replaces the known one: it is the vendor's own.
fn state_info(configured: &BTreeMap<u16, String>) -> Option<MetricFamily> {
    let family = &catalogue::STATE_INFO;
    let known = state_code::DESCRIBED.iter().map(|(code, text)| (*code, (*text).to_owned()));
    let mut texts: BTreeMap<u16, String> = known.collect();
    texts.extend(configured.iter().map(|(code, text)| (*code, text.clone())));
    let sample = |(code, text): (u16, String)| {
        let (event_type, outcome) = StateCode::new(i64::from(code))?.classify();
        let labels = [&*code.to_string(), event_type.name(), outcome.name(), &*label::clean(&text)];
        Some(exposition::gauge(family, &labels, 1.0))
    };
    exposition::family(family, texts.into_iter().filter_map(sample).collect())
}

fn build_info() -> Option<MetricFamily> {
    let family = &catalogue::BUILD_INFO;
    let labels = [env!("CARGO_PKG_VERSION"), env!("CRYPTOLENS_BUILD_COMMIT")];
    exposition::family(family, vec![exposition::gauge(family, &labels, 1.0)])
}
