//! A birth time is permanent: whatever happens to the process, the configuration or the version,
//! each label set has the birth that the rules give it when it is first seen, for ever.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use super::super::inline::InlineLedger;
use super::super::reader::LedgerReader;
use super::super::tests::{Failing, Version, folder, options};
use super::super::{AccountState, Committed, LedgerOptions};
use super::flaw::{self, BirthFlaw};
use crate::cryptolens::{EventRow, LogKind, ObjectRow, Product, Rows, WebApiRow};
use crate::ingest::{CheckpointStore as _, LogId, LogUpdate, Origin, PageStatistics};
use crate::ledger::ForeignLedger;
use crate::metrics::PointValue;
use crate::tally::{SeriesKey, Shown};

const ACCOUNT: &str = "default";
/// Local time when a case begins, in milliseconds: after every time in the fixtures.
const START: i64 = 1_800_000_000_000;

#[derive(Debug, Clone)]
struct RowShape {
    product: i64,
    kind: u8,
    /// Seconds before it is read; negative for a row of the future, `None` for one without a time.
    age: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    BeforeCommit,
    AfterCommit,
    /// The process is killed between the commit and its publication.
    Killed,
}

#[derive(Debug, Clone)]
enum Action {
    Wait(i64),
    /// A batch of a log; with `end`, the poll is complete.
    Batch {
        log: usize,
        rows: Vec<RowShape>,
        end: bool,
        skipped: bool,
        fault: Fault,
    },
    /// GetProducts answers.
    Answered(Vec<i64>, Fault),
    /// The configuration is read again.
    Reload(Vec<i64>),
    /// The process ends and starts.
    Restart,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::BeforeCommit),
        1 => Just(Fault::AfterCommit),
        1 => Just(Fault::Killed),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let age =
        prop_oneof![4 => (0i64..100_000).prop_map(Some), 1 => (-5000i64..0).prop_map(Some), 1 => Just(None)];
    let row = (0i64..6, 0u8..4, age).prop_map(|(product, kind, age)| RowShape { product, kind, age });
    let rows = prop::collection::vec(row, 0..4);
    let products = || prop::collection::vec(1i64..8, 0..3);
    prop_oneof![
        2 => (1i64..5_000_000).prop_map(Action::Wait),
        8 => (0usize..3, rows, any::<bool>(), prop::bool::weighted(0.2), fault())
            .prop_map(|(log, rows, end, skipped, fault)| Action::Batch { log, rows, end, skipped, fault }),
        1 => (products(), fault()).prop_map(|(products, fault)| Action::Answered(products, fault)),
        1 => products().prop_map(Action::Reload),
        1 => Just(Action::Restart),
    ]
}

/// Family and labels of a counted series.
type SeriesName = (&'static str, Vec<String>);

/// The births of all counted series of an account, each with its log.
fn births(account: &AccountState) -> BTreeMap<SeriesName, (LogKind, i64)> {
    let mut all = BTreeMap::new();
    for counted in account.tally.families() {
        for point in counted.chunks.iter().flat_map(|chunk| chunk.iter()) {
            let labels: Vec<String> = point.labels.iter().map(|label| (**label).to_owned()).collect();
            let log = match counted.shown {
                Shown::Rows(log) => log,
                Shown::Reading => LogKind::from_name(&labels[0]).unwrap(),
                Shown::Summed => crate::tally::LimitedFamily::from_labels(&[labels[0].as_str().into()])
                    .unwrap()
                    .log()
                    .unwrap(),
            };
            assert!(!matches!(point.value, PointValue::Gauge(_)));
            all.insert((counted.family.name, labels), (log, point.born.millis()));
        }
    }
    all
}

struct Case {
    folder: tempfile::TempDir,
    version: Version,
    failing: Failing,
    ledger: Option<InlineLedger>,
    configured: Vec<i64>,
    marks: [i64; 3],
    now: i64,
    skew: i64,
    /// The instants of the origins, as far as they are decided.
    origins: [Option<i64>; 3],
    known: BTreeMap<SeriesName, (LogKind, i64)>,
    complete: [bool; 3],
}

impl Case {
    fn options(&self) -> LedgerOptions {
        let products = self.configured.iter().map(|id| Product { id: *id, name: format!("P{id}") });
        LedgerOptions {
            configured: BTreeMap::from([(Arc::from(ACCOUNT), products.collect())]),
            foreign: ForeignLedger::Adopt,
            ..options(self.folder.path())
        }
    }

    fn start(version: Version, marks: [i64; 3], skew: i64) -> Case {
        let folder = folder();
        version.put(folder.path());
        let mut case = Case {
            folder,
            version,
            failing: Failing::default(),
            ledger: None,
            configured: vec![7],
            marks,
            now: START,
            skew,
            origins: [None; 3],
            known: BTreeMap::new(),
            complete: [false; 3],
        };
        case.open();
        case
    }

    fn open(&mut self) {
        self.ledger = None;
        self.failing.clock.store(self.now, Ordering::SeqCst);
        self.ledger = Some(InlineLedger::open_with(self.options(), self.failing.clone()));
    }

    fn ledger(&self) -> &InlineLedger {
        self.ledger.as_ref().unwrap()
    }

    fn committed(&self) -> Arc<Committed> {
        self.ledger().view().committed().unwrap()
    }

    fn set_fault(&self, fault: Fault) {
        self.failing.before_commit.store(u32::from(fault == Fault::BeforeCommit), Ordering::SeqCst);
        let after = matches!(fault, Fault::AfterCommit | Fault::Killed);
        self.failing.after_commit.store(u32::from(after), Ordering::SeqCst);
    }

    /// After a fault the next request opens the ledger again, as a poller does.
    async fn recover(&mut self, fault: Fault) {
        self.set_fault(Fault::None);
        self.now += 40;
        self.failing.clock.store(self.now, Ordering::SeqCst);
        if fault == Fault::Killed {
            self.open();
        } else {
            let id = LogId { account: ACCOUNT.into(), log: LogKind::WebApi };
            self.ledger().open(&id).await.unwrap();
        }
        self.now -= 40;
        self.failing.clock.store(self.now, Ordering::SeqCst);
    }

    async fn run(&mut self, action: Action) -> Result<(), TestCaseError> {
        self.failing.clock.store(self.now, Ordering::SeqCst);
        let read_at = self.now / 1000 + self.skew;
        // The moment that label sets are born at if they are created now, and not in a first poll.
        let mut moment = self.now;
        let mut batch_of = None;
        match action {
            Action::Wait(millis) => self.now += millis,
            Action::Batch { log, rows, end, skipped, fault } => {
                let kind = LogKind::ALL[log];
                let id = LogId { account: ACCOUNT.into(), log: kind };
                let origin = Origin { id: 0, mark: self.marks[log], since: "since".to_owned() };
                let opened = match self.ledger().open(&id).await.unwrap() {
                    Some(opened) => opened,
                    None => self.ledger().begin(&id, origin).await.unwrap(),
                };
                if rows.is_empty() && !skipped && (!end || opened.first_poll_complete) {
                    return Ok(());
                }
                let cursor = opened.position.cursor();
                let counted: Vec<i64> = (1..).take(rows.len()).map(|n| cursor + n).collect();
                let times: Vec<_> = rows.iter().map(|row| row.age.map(|age| read_at - age)).collect();
                let update = LogUpdate {
                    rows: wrap(kind, &counted, &rows, &times),
                    read_at,
                    statistics: PageStatistics { no_id: u64::from(skipped), ..PageStatistics::default() },
                    floor: opened.position.floor(),
                    cursor: counted.last().copied().unwrap_or(cursor),
                    watermark: read_at,
                    counted,
                    without_id: None,
                    newest_entry: None,
                    poll_end: end.then_some(read_at),
                    seal_until: None,
                    more_follows: false,
                };
                moment = moment.min(read_at * 1000);
                let first = times
                    .iter()
                    .flatten()
                    .next()
                    .map_or(moment, |time| (*time.min(&read_at) * 1000).min(moment));
                batch_of = Some((log, first));
                self.set_fault(fault);
                let done = self.ledger().submit(&id, opened.epoch, update).await.unwrap().done().await;
                prop_assert_eq!(done.is_err(), fault != Fault::None);
                if fault != Fault::None {
                    self.recover(fault).await;
                }
            }
            Action::Answered(ids, fault) => {
                let products = ids.iter().map(|id| Product { id: *id, name: format!("Q{id}") }).collect();
                self.set_fault(fault);
                let done = self.ledger().products(&Arc::from(ACCOUNT), products).await;
                if done.is_err() {
                    self.recover(fault).await;
                }
                self.set_fault(Fault::None);
            }
            Action::Reload(ids) => {
                self.configured = ids;
                self.ledger().configure(self.options().configured).unwrap();
            }
            Action::Restart => self.open(),
        }
        self.look(moment, batch_of)
    }

    /// Compares what is published with the rules.
    fn look(&mut self, moment: i64, batch_of: Option<(usize, i64)>) -> Result<(), TestCaseError> {
        let committed = self.committed();
        let nothing = AccountState::default();
        let account = committed.accounts.get(ACCOUNT).unwrap_or(&nothing);
        let shown = births(account);
        for (series, known) in &self.known {
            prop_assert_eq!(shown.get(series), Some(known), "{:?} has another birth", series);
        }
        for (series, (log, born)) in &shown {
            if self.known.contains_key(series) {
                continue;
            }
            let at = LogKind::ALL.iter().position(|kind| kind == log).unwrap();
            let expected = if self.complete[at] {
                moment
            } else {
                let of_origin = || match self.marks[at] {
                    0 => batch_of.filter(|(log, _)| *log == at).map(|(_, first)| first),
                    mark => Some(mark * 1000),
                };
                if self.origins[at].is_none() {
                    self.origins[at] = of_origin();
                }
                self.origins[at].unwrap_or(-1)
            };
            prop_assert_eq!(*born, expected, "{:?}", series);
        }
        self.known = shown;
        for (at, kind) in LogKind::ALL.iter().enumerate() {
            self.complete[at] = account.logs.get(kind).is_some_and(|log| log.first_poll_complete);
        }
        // A log whose first poll is complete has every label set that is shown at 0.
        prop_assert!(account.at_zero().is_empty());
        Ok(())
    }
}

fn wrap(kind: LogKind, ids: &[i64], rows: &[RowShape], times: &[Option<i64>]) -> Rows {
    let all = ids.iter().zip(rows).zip(times);
    match kind {
        LogKind::WebApi => Rows::WebApi(
            all.map(|((id, row), time)| WebApiRow {
                id: *id,
                product_id: row.product,
                time: *time,
                state: Some([2010, 2024, 9999, 8010][usize::from(row.kind)]),
                do_int_value: Some(5),
                floating_expires: time.map(|time| time + 60),
                ..WebApiRow::default()
            })
            .collect(),
        ),
        LogKind::Events => Rows::Events(
            all.map(|((id, row), time)| EventRow {
                id: *id,
                product_id: row.product,
                time: *time,
                event_name: format!("e{}", row.kind),
                value: Some(i64::from(row.kind)),
                currency: "EUR".to_owned(),
                ..EventRow::default()
            })
            .collect(),
        ),
        LogKind::Objects => Rows::Objects(
            all.map(|((id, row), time)| ObjectRow {
                id: *id,
                created: *time,
                resource_type: Some(row.product),
                resource_action: Some(i64::from(row.kind)),
            })
            .collect(),
        ),
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A version of the ledger, the marks of the origins, the seconds that the server is ahead, and
/// what happens.
type Life = (Version, [i64; 3], i64, Vec<Action>);

fn lives() -> impl Strategy<Value = Life> {
    (
        prop_oneof![3 => Just(Version::None), 1 => Just(Version::First), 1 => Just(Version::Second)],
        prop::array::uniform3(prop_oneof![Just(0i64), 1_700_000_000i64..1_799_000_000]),
        prop_oneof![Just(0i64), -5000i64..5000],
        prop::collection::vec(action(), 1..25),
    )
}

/// Kill, restart, reload, new products, failing and ambiguous commits, an upgrade from each earlier
/// version: every series is born once, at the moment that the rules name.
fn is_born_once((version, marks, skew, actions): Life) -> Result<(), TestCaseError> {
    let mut case = Case::start(version, marks, skew);
    // All that a ledger of an earlier version holds, or showed at 0, is as old as its origin.
    let migrated = births(&case.committed().accounts[ACCOUNT]);
    let kept = case.committed().accounts[ACCOUNT].logs.clone();
    prop_assert_eq!(migrated.is_empty(), version == Version::None);
    for (series, (log, born)) in &migrated {
        prop_assert_eq!(*born, kept[log].origin.mark * 1000, "{:?}", series);
    }
    case.known = migrated;
    for (at, kind) in LogKind::ALL.iter().enumerate() {
        if let Some(log) = kept.get(kind) {
            case.complete[at] = log.first_poll_complete;
            case.marks[at] = log.origin.mark;
        }
    }
    for action in actions {
        block_on(case.run(action))?;
    }
    // The file holds exactly the published values.
    let published = case.committed();
    let reader = LedgerReader::open(case.folder.path()).unwrap();
    let kept = reader.accounts().unwrap();
    let uuid = reader.instance_id().unwrap();
    for (name, account) in &kept {
        prop_assert_eq!(&account.tally, &published.accounts[name].tally);
    }
    case.open();
    prop_assert_eq!(LedgerReader::open(case.folder.path()).unwrap().instance_id().unwrap(), uuid);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_series_is_born_once(life in lives()) {
        is_born_once(life)?;
    }
}

/// The property is able to fail: it finds a life that shows each wrong rule.
#[test]
fn each_wrong_rule_gives_a_series_another_birth() {
    let config = ProptestConfig {
        cases: 500,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    for flaw in BirthFlaw::ALL {
        let mut runner =
            TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let found = flaw::with(flaw, || runner.run(&lives(), is_born_once));
        assert!(matches!(found, Err(TestError::Fail(..))), "{flaw:?} is not noticed: {found:?}");
    }
}

/// The newest id of failures, and only of failures, through a restart.
#[test]
fn failure_counters_know_their_newest_row() {
    let mut case = Case::start(Version::None, [0; 3], 0);
    let rows = |kinds: &[u8]| {
        kinds.iter().map(|kind| RowShape { product: 1, kind: *kind, age: Some(5) }).collect::<Vec<_>>()
    };
    for kinds in [&[1, 0, 1, 0][..], &[0], &[1, 0]] {
        let batch =
            Action::Batch { log: 0, rows: rows(kinds), end: true, skipped: false, fault: Fault::None };
        block_on(case.run(batch)).unwrap();
    }
    for _ in 0..2 {
        let committed = case.committed();
        let tally = &committed.accounts[ACCOUNT].tally;
        let newest: Vec<_> = tally
            .entries
            .points()
            .chain(tally.states.points())
            .filter(|point| point.value != PointValue::Counter(0))
            .map(|point| (point.labels[2].to_string(), point.entry_id))
            .collect();
        let (failure, success) = (("failure".to_owned(), Some(6)), ("success".to_owned(), None));
        assert_eq!(newest, [success.clone(), failure.clone(), success, failure]);
        block_on(case.run(Action::Restart)).unwrap();
    }
}

/// A ledger that was migrated, or not, is one and the same to whoever asks for its identity.
#[test]
fn a_ledger_has_one_identity() {
    let identities: Vec<String> = [Version::None, Version::First, Version::Second]
        .into_iter()
        .map(|version| {
            let case = Case::start(version, [0; 3], 0);
            assert_eq!(case.version, version);
            let id = |path: &Path| LedgerReader::open(path).unwrap().instance_id().unwrap();
            let first = id(case.folder.path());
            assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 4);
            first
        })
        .collect();
    assert!(identities[0] != identities[1] && identities[1] != identities[2]);
}
