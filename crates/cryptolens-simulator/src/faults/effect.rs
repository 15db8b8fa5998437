//! The means by which the table of faults changes an answer.

use std::io::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value};

use crate::Shared;
use crate::answer::{Outgoing, Page, Reply};
use crate::log::Log;
use crate::query::PageQuery;
use crate::random::Random;
use crate::row::{Row, ordinary_members, ordinary_row};
use crate::store::{LogStore, View};

pub(super) const MEBIBYTE: usize = 1024 * 1024;

/// An answer that a fault is about to change.
pub(super) struct FaultyAnswer<'a> {
    pub(super) simulator: &'a Shared,
    pub(super) reply: Reply,
    /// The fault's value, or the default of its kind.
    pub(super) value: u64,
    /// When the fault was set, Unix seconds.
    pub(super) since: i64,
    pub(super) now: i64,
    pub(super) random: Random,
}

impl FaultyAnswer<'_> {
    pub(super) fn signed_value(&self) -> i64 {
        i64::try_from(self.value).unwrap_or(i64::MAX)
    }

    pub(super) fn size(&self) -> usize {
        usize::try_from(self.value).unwrap_or(usize::MAX)
    }

    pub(super) fn status(&self) -> u16 {
        u16::try_from(self.value).unwrap_or(200)
    }

    /// An error of the API, with the fault's value as the HTTP status.
    pub(super) fn error(&self, message: &str) -> Outgoing {
        Outgoing::error(message).with_status(self.status())
    }

    /// The answer as it is without a fault.
    pub(super) fn right(self) -> Outgoing {
        self.reply.into_outgoing(self.simulator, self.now)
    }

    /// The right answer, but for a change of the page.
    pub(super) fn page(mut self, change: impl FnOnce(&mut Page, &mut Random)) -> Outgoing {
        if let Reply::Page(page) = &mut self.reply {
            change(page, &mut self.random);
        }
        self.right()
    }

    /// The page with its rows in an order that neither rises nor falls.
    pub(super) fn shuffled_page(self) -> Outgoing {
        self.page(|page, random| {
            random.shuffle(&mut page.rows);
            let (first, second, third) = (page.rows[0].id, page.rows[1].id, page.rows[2].id);
            // Two of the many orders are no disorder.
            if (first < second) == (second < third) {
                page.rows.swap(0, 1);
            }
        })
    }

    /// The answer to another question.
    pub(super) fn asked_otherwise(self, change: impl FnOnce(PageQuery) -> PageQuery) -> Outgoing {
        let (simulator, now) = (self.simulator, self.now);
        self.page(|page, _| {
            let view = simulator.log(page.log).view(now);
            *page = Page::read(simulator, page.log, change(page.query.clone()), view);
        })
    }

    /// The answer from another view of the log.
    pub(super) fn seen_otherwise(self, change: impl FnOnce(&LogStore, View) -> View) -> Outgoing {
        let (simulator, now) = (self.simulator, self.now);
        self.page(|page, _| {
            let store = simulator.log(page.log);
            let view = change(store, store.view(now));
            *page = Page::read(simulator, page.log, page.query.clone(), view);
        })
    }

    /// Adds a row to the log, made from its log, its id and its time, and then answers.
    pub(super) fn with_row(self, make: impl FnOnce(Log, i64, i64) -> Row) -> Outgoing {
        let (simulator, now) = (self.simulator, self.now);
        if let Reply::Page(page) = &self.reply {
            let log = page.log;
            simulator.log(log).insert_new(now, |id| make(log, id, now));
        }
        self.asked_otherwise(|query| query)
    }

    /// Adds an ordinary row after a change of its members.
    pub(super) fn with_wrong_row(self, spoil: impl FnOnce(&mut WrongRow)) -> Outgoing {
        self.with_row(|log, id, now| {
            let mut row = WrongRow { log, id, members: ordinary_members(log, id, now) };
            spoil(&mut row);
            Row::of_json(&Value::Object(row.members), id, now)
        })
    }

    /// Adds an ordinary row with one more member, whose value is written as it is.
    pub(super) fn with_unreadable_row(self, value: &[u8]) -> Outgoing {
        let simulator = self.simulator;
        self.with_row(|log, id, now| {
            let row = ordinary_row(log, id, now);
            let text = row.to_json(&simulator.catalogue);
            let members = text.strip_prefix('{').unwrap_or(&text).as_bytes();
            row.disguised([br#"{"note":"#, value, b",", members].concat())
        })
    }

    /// Adds to the page the newest row that will be visible after the fault's value in seconds.
    pub(super) fn with_lone_newest(self) -> Outgoing {
        let (simulator, ahead) = (self.simulator, self.now.saturating_add(self.signed_value()));
        self.page(|page, _| {
            let view = simulator.log(page.log).view(ahead);
            let newest = Page::read(simulator, page.log, page.query.clone().newest(), view).rows.pop();
            match newest.filter(|newest| page.rows.iter().all(|row| row.id < newest.id)) {
                Some(newest) if page.query.descends() => page.rows.insert(0, newest),
                Some(newest) => page.rows.push(newest),
                None => {}
            }
            page.rows.truncate(page.query.limit);
        })
    }

    /// The page of a log that began when the fault was set, and whose ids begin at its value.
    pub(super) fn of_replaced_log(self) -> Outgoing {
        let (simulator, now, first_id) = (self.simulator, self.now, self.signed_value());
        let begins = self.since.saturating_add(1);
        self.page(|page, _| {
            let store = simulator.log(page.log);
            let view = store.view(now).beginning(begins);
            let first = store.first_id_since(begins, view).unwrap_or(i64::MAX);
            let shift = first.saturating_sub(first_id);
            let query = page.query.clone().shifted(shift, first);
            let rows = Page::read(simulator, page.log, query, view).rows;
            let renumbered = rows.into_iter().map(|row| {
                let id = row.id.saturating_sub(shift);
                row.with_id(id)
            });
            page.rows = renumbered.collect();
        })
    }
}

/// A row that is about to get something wrong.
pub(super) struct WrongRow {
    log: Log,
    pub(super) id: i64,
    pub(super) members: Map<String, Value>,
}

impl WrongRow {
    /// The name of the member that holds the time.
    pub(super) fn time(&self) -> &'static str {
        match self.log {
            Log::WebApi | Log::Events => "time",
            Log::Objects => "created",
        }
    }

    /// The name of a number that clients count by.
    pub(super) fn counted(&self) -> &'static str {
        match self.log {
            Log::WebApi => "state",
            Log::Events => "value",
            Log::Objects => "resourceType",
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    /// Replaces the values of all members except the id.
    pub(super) fn replace_all(&mut self, new: impl Fn(&Value) -> Value) {
        for (_, value) in self.members.iter_mut().filter(|(name, _)| *name != "id") {
            *value = new(value);
        }
    }
}

/// A page without rows that is this many MiB long.
pub(super) fn oversized_page(mebibytes: u64) -> Vec<u8> {
    let length = usize::try_from(mebibytes).unwrap_or(1).saturating_mul(MEBIBYTE);
    let mut body = br#"{"logs":["#.to_vec();
    body.resize(length, b' ');
    body.extend_from_slice(br#"],"result":0,"message":null}"#);
    body
}

/// A page of this many MiB whose list holds zeros in place of rows.
pub(super) fn zeros(mebibytes: u64) -> Vec<u8> {
    let count = usize::try_from(mebibytes).unwrap_or(1).saturating_mul(MEBIBYTE / 2);
    let mut body = br#"{"logs":[0"#.to_vec();
    body.extend(std::iter::repeat_n(*b",0", count).flatten());
    body.extend_from_slice(br#"],"result":0,"message":null}"#);
    body
}

pub(super) fn gzipped(answer: Outgoing) -> Outgoing {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail.
    let written = encoder.write_all(&answer.body);
    debug_assert!(written.is_ok());
    let body = encoder.finish().unwrap_or_default();
    Outgoing { body, ..answer }.with_header("content-encoding", "gzip")
}

/// The time after this much more, in the form of HTTP headers.
pub(super) fn http_date(ahead: Duration) -> String {
    in_http_form(Utc::now() + ahead)
}

/// The time before this, in the form of HTTP headers.
pub(super) fn http_date_before(behind: Duration) -> String {
    in_http_form(Utc::now() - behind)
}

fn in_http_form(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
