//! The seat audit as a value: what `--format=json` gives, and what every other format draws from.
//!
//! Its members are a contract, described in docs/report-schema.md: a change of meaning raises
//! [`SCHEMA_VERSION`].

use serde::Serialize;

use super::chart::seats_over_time;
use super::history::{Action, History, SeatEntry};
use crate::report::document::{ChartBlock, Moment};
use crate::report::identity::{Identities, IdentityKind};
use crate::report::source::ReadingSummary;
use crate::report::window::ShownWindow;

const SCHEMA: &str = "cryptolens-exporter/audit/seats";
const SCHEMA_VERSION: u32 = 1;

/// The whole audit.
#[derive(Debug, Clone, Serialize)]
pub(in crate::report) struct Audit {
    pub(super) schema: &'static str,
    pub(super) schema_version: u32,
    pub(super) account: String,
    pub(super) window: ShownWindow,
    pub(super) product_id: i64,
    pub(super) key: String,
    /// `masked` or `full`
    pub(super) identities: &'static str,
    pub(super) seats: Seats,
    pub(super) read: ShownSeatsReading,
    pub(super) used: Used,
    /// None without a limit.
    pub(super) seconds_at_limit: Option<i64>,
    pub(super) seconds_over_limit: Option<i64>,
    pub(super) counts: SeatCounts,
    pub(super) refused: RefusedRequest,
    pub(super) overdraft: Overdraft,
    pub(super) not_counted: ShownNotCounted,
    pub(super) holders: Vec<Holder>,
    pub(super) steps: Vec<SeatStep>,
    pub(super) history: Vec<Line>,
    #[serde(skip)]
    pub(super) over_time: ChartBlock,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct Seats {
    /// None without a limit.
    pub(super) limit: Option<u64>,
    /// `GetKey` (the limit of now) or `--max-machines`
    pub(super) source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct ShownSeatsReading {
    pub(super) rows: u64,
    pub(super) pages: u64,
    pub(super) rows_without_id: u64,
    pub(super) rows_met_again: u64,
    pub(super) oldest: Option<Moment>,
    /// The longest lease met. Rows were read at least this far back from the beginning of the
    /// window.
    pub(super) longest_lease_seconds: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct Used {
    pub(super) at_start: u64,
    pub(super) at_end: u64,
    pub(super) most: u64,
    pub(super) most_since: Moment,
    pub(super) average: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct SeatCounts {
    pub(super) activations: u64,
    pub(super) verifications: u64,
    pub(super) deactivations: u64,
    pub(super) expiries: u64,
    pub(super) refusals: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct RefusedRequest {
    pub(super) machines: u64,
    /// Refusals while seats were free by this history: a sign that the limit was another one then.
    pub(super) with_free_seats: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct Overdraft {
    pub(super) machines: u64,
    pub(super) heartbeats: u64,
    /// Most seats beyond the limit at a time; none without a limit.
    pub(super) most: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct ShownNotCounted {
    pub(super) rows_without_machine: u64,
    pub(super) rows_without_time: u64,
    pub(super) leases_without_end: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct Holder {
    pub(super) machine: String,
    pub(super) friendly_name: Option<String>,
    pub(super) since: Moment,
    pub(super) expires: Moment,
    pub(super) overdraft: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct SeatStep {
    pub(super) time: Moment,
    pub(super) used: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::report) struct Line {
    pub(super) time: Moment,
    pub(super) action: &'static str,
    pub(super) machine: Option<String>,
    pub(super) friendly_name: Option<String>,
    pub(super) expires: Option<Moment>,
    pub(super) overdraft: bool,
    pub(super) used: u64,
    pub(super) free: Option<u64>,
    pub(super) over: Option<u64>,
}

/// The inputs of an audit beside the history.
pub(in crate::report) struct SeatsContext<'a> {
    pub(in crate::report) account: String,
    pub(in crate::report) product_id: i64,
    pub(in crate::report) key: &'a str,
    pub(in crate::report) limit_source: &'static str,
    pub(in crate::report) identities: &'a Identities,
    pub(in crate::report) reading: ReadingSummary,
    pub(in crate::report) oldest: Option<i64>,
    pub(in crate::report) longest_lease: Option<i64>,
    pub(in crate::report) without_time: u64,
}

impl Audit {
    pub(in crate::report) fn new(history: &History, context: &SeatsContext<'_>) -> Audit {
        let zone = history.window.zone;
        let time = |at| Moment { at, zone };
        let (most, most_since) = history.most();
        let show = |kind, identity: &Option<std::rc::Rc<str>>| {
            identity.as_deref().map(|identity| context.identities.show(kind, identity))
        };
        let limit = history.limit;
        let key = context.identities.show(IdentityKind::Key, context.key);
        Audit {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            account: context.account.clone(),
            window: history.window.shown(),
            product_id: context.product_id,
            over_time: seats_over_time(history, &key),
            key,
            identities: context.identities.name(),
            seats: Seats { limit, source: context.limit_source },
            read: ShownSeatsReading {
                rows: context.reading.rows,
                pages: context.reading.pages,
                rows_without_id: context.reading.without_id,
                rows_met_again: context.reading.duplicates,
                oldest: context.oldest.map(time),
                longest_lease_seconds: context.longest_lease,
            },
            used: Used {
                at_start: history.used_at_start(),
                at_end: history.used_at_end(),
                most,
                most_since: time(most_since),
                average: history.average(),
            },
            seconds_at_limit: limit.map(|limit| history.seconds(|used| used >= limit)),
            seconds_over_limit: limit.map(|limit| history.seconds(|used| used > limit)),
            counts: SeatCounts {
                activations: history.count(Action::Activation),
                verifications: history.count(Action::Verification),
                deactivations: history.count(Action::Deactivation),
                expiries: history.count(Action::Expiry),
                refusals: history.count(Action::Refusal),
            },
            refused: RefusedRequest {
                machines: history.machines(|entry| entry.action == Action::Refusal),
                with_free_seats: history.refusals_with_free_seats(),
            },
            overdraft: Overdraft {
                machines: history.machines(|entry| entry.overdraft),
                heartbeats: history.overdraft_rows(),
                most: history.over(most),
            },
            not_counted: ShownNotCounted {
                rows_without_machine: history.not_counted.without_machine,
                rows_without_time: context.without_time,
                leases_without_end: history.not_counted.leases_without_end,
            },
            holders: history
                .holders
                .iter()
                .map(|(machine, seat)| Holder {
                    machine: context.identities.show(IdentityKind::Machine, machine),
                    friendly_name: show(IdentityKind::Name, &seat.name),
                    since: time(seat.since),
                    expires: time(seat.expires),
                    overdraft: seat.overdraft,
                })
                .collect(),
            steps: history.steps.iter().map(|(at, used)| SeatStep { time: time(*at), used: *used }).collect(),
            history: history
                .entries
                .iter()
                .map(|entry: &SeatEntry| Line {
                    time: time(entry.time),
                    action: entry.action.name(),
                    machine: show(IdentityKind::Machine, &entry.machine),
                    friendly_name: show(IdentityKind::Name, &entry.name),
                    expires: entry.expires.map(time),
                    overdraft: entry.overdraft,
                    used: entry.used,
                    free: history.free(entry.used),
                    over: history.over(entry.used),
                })
                .collect(),
        }
    }

    /// Lines that change who holds a seat, and refusals: what a reader looks for among the
    /// heartbeats.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Line> {
        self.history.iter().filter(|line| line.action != Action::Verification.name())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.history.is_empty() && self.used.most == 0
    }
}
