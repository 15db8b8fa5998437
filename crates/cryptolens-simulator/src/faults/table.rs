//! The table of faults: one row per kind with its name, when it can happen, its parameter, and
//! what it does, in words and in code.
//!
//! The parsers of the command line and of `PUT /simulator/faults`, the help text, the control page
//! and the documentation of [`FaultKind`] come from these rows. A new fault is one more row.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::FaultError;
use super::Happens::{
    Always, OnReusedConnections, ToFullPages, ToPages, ToRows, ToShortPages, WithGoneCursors,
    WithLongCursors, WithOrder, WithUnknownCursors, WithoutOrder,
};
use super::effect::{FaultyAnswer, MEBIBYTE, gzipped, http_date, http_date_before, oversized_page, zeros};
use super::parameter::{Parameter, future_seconds, id, mebibytes, milliseconds, number, seconds, status};
use crate::answer::{
    ACCESS_DENIED, BAD_PARAMETERS, Delivery, List, NO_SUBSCRIPTION, NOT_ENOUGH_PERMISSION, Outgoing,
    REDIRECT_TARGET, SOMETHING_WENT_WRONG, UNABLE_TO_AUTHENTICATE, pascal_case,
};
use crate::log::Log;
use crate::row::{Row, ordinary_row};

const PROXY_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in to use the \
                          network.</body></html>\n";

/// One row of the table.
pub(super) struct FaultRow {
    /// The name in JSON and on the command line, then other names that are understood.
    pub(super) names: &'static [&'static str],
    pub(super) happens: super::Happens,
    /// The meaning of the value that a fault of this kind may have.
    pub(super) parameter: Option<Parameter>,
    pub(super) help: &'static str,
    /// Makes the answer.
    pub(super) effect: fn(FaultyAnswer<'_>) -> Outgoing,
}

/// Makes the enumeration and the table of these rows.
macro_rules! fault_table {
    ($($kind:ident: $names:expr, $happens:expr, $parameter:expr, $help:literal, $effect:expr;)+) => {
        /// The kinds of faults.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum FaultKind {
            $(#[doc = $help] $kind,)+
        }

        impl FaultKind {
            /// All kinds.
            pub const ALL: &[FaultKind] = &[$(FaultKind::$kind),+];
        }

        /// In the order of the enumeration.
        static TABLE: &[FaultRow] = &[$(FaultRow {
            names: &$names,
            happens: $happens,
            parameter: $parameter,
            help: $help,
            effect: $effect,
        }),+];
    };
}

fault_table! {
    // Errors of the API, as it words them.
    UnableToAuthenticate: ["unable_to_authenticate"], Always, status(200),
        "\"Unable to authenticate.\"",
        |answer| answer.error(UNABLE_TO_AUTHENTICATE);
    AccessDenied: ["access_denied"], Always, status(200),
        "\"Access denied.\"",
        |answer| answer.error(ACCESS_DENIED);
    NoSubscription: ["no_subscription"], Always, status(200),
        "\"No active subscription found. Please contact support.\"",
        |answer| answer.error(NO_SUBSCRIPTION);
    BadParameters: ["bad_parameters"], Always, status(200),
        "\"The input parameters were incorrect.\"",
        |answer| answer.error(BAD_PARAMETERS);
    SomethingWentWrong: ["something_went_wrong"], Always, status(200),
        "\"Something went wrong ...\": the API's transient error",
        |answer| answer.error(SOMETHING_WENT_WRONG);
    NotEnoughPermission: ["not_enough_permission"], Always, status(200),
        "\"Not enough permission and/or key not found.\"",
        |answer| answer.error(NOT_ENOUGH_PERMISSION);
    MessageOnly: ["message_only"], Always, status(200),
        "A body with a message and no result, as after a server error",
        |answer| Outgoing::json(r#"{"message":"An error has occurred."}"#).with_status(answer.status());

    // Answers of a gateway or proxy, and of a server under load.
    RateLimited: ["rate_limited"], Always, seconds(1, 0),
        "429 with Retry-After in seconds",
        |answer| too_many_requests().with_header("retry-after", answer.value.to_string());
    RateLimitedDate: ["rate_limited_date"], Always, seconds(1, 0),
        "429 with Retry-After as an HTTP date that is so many seconds ahead",
        // A date has whole seconds. Rounded down it would ask for less than was meant.
        |answer| too_many_requests()
            .with_header("retry-after", http_date(Duration::from_secs(answer.value) + Duration::from_millis(999)));
    RateLimitedBare: ["rate_limited_bare"], Always, None,
        "429 without Retry-After",
        |_| too_many_requests();
    BadGatewayHtml: ["bad_gateway_html"], Always, status(502),
        "502 with an HTML body",
        |answer| Outgoing::bad_gateway().with_status(answer.status());
    ProxyPage: ["proxy_page"], Always, None,
        "200 with the HTML page of a proxy",
        |_| Outgoing::html(200, PROXY_PAGE);
    EmptyBody: ["empty_body"], Always, None,
        "200 with an empty body, as from the license server",
        |_| Outgoing::json("");
    Redirect: ["redirect"], Always, None,
        "302 to another path, which counts who follows",
        |_| Outgoing::html(302, "").with_header("location", REDIRECT_TARGET);
    RedirectKeepingMethod: ["redirect_keeping_method"], Always, None,
        "307 to another path, which keeps method and body, and so the token",
        |_| Outgoing::html(307, "").with_header("location", REDIRECT_TARGET);

    // Connections and bodies that break, hang or are too large.
    TruncatedJson: ["truncated_json"], Always, None,
        "The first half of the JSON, as a complete HTTP response",
        |answer| {
            let mut right = answer.right();
            right.body.truncate(right.body.len() / 2);
            right
        };
    CutBody: ["cut_body"], Always, None,
        "The connection is closed in the middle of the body",
        |answer| answer.right().delivered(Delivery::Cut);
    Hang: ["hang"], Always, None,
        "No answer, ever",
        |_| Outgoing::json("").delivered(Delivery::Never);
    Slow: ["slow"], Always, milliseconds(1000),
        "The right answer, later",
        |answer| {
            let delay = Duration::from_millis(answer.value);
            answer.right().delivered(Delivery::After(delay))
        };
    Unanswered: ["unanswered"], Always, None,
        "The connection is closed without an answer",
        |_| Outgoing::json("").delivered(Delivery::Closed);
    StaleConnection: ["stale_connection"], OnReusedConnections, None,
        "The same, but never for the first request of a connection: a server that has given up an idle connection",
        |_| Outgoing::json("").delivered(Delivery::Closed);
    OversizedBody: ["oversized_body"], Always, mebibytes(33),
        "A body that is too large",
        |answer| Outgoing::json(oversized_page(answer.value));
    GzipBomb: ["gzip_bomb"], Always, mebibytes(64),
        "A small gzip body that becomes too large",
        |answer| gzipped(Outgoing::json(oversized_page(answer.value)));
    Gzip: ["gzip"], Always, None,
        "The right answer, compressed",
        |answer| gzipped(answer.right());
    GzipZeros: ["gzip_zeros"], Always, mebibytes(31),
        "A small gzip body whose list holds nothing but zeros",
        |answer| gzipped(Outgoing::json(zeros(answer.value)));
    DateAhead: ["date_ahead"], Always, seconds(3600, 0),
        "The right answer with a Date header that is ahead",
        |answer| {
            let date = http_date(Duration::from_secs(answer.value));
            answer.right().with_header("date", date)
        };
    DateBehind: ["date_behind"], Always, seconds(3600, 0),
        "The right answer with a Date header that is behind",
        |answer| {
            let date = http_date_before(Duration::from_secs(answer.value));
            answer.right().with_header("date", date)
        };

    // Pages with rows in the wrong place, or too few of them.
    DuplicateAdjacent: ["duplicate_adjacent"], ToRows(1), None,
        "Some row twice in a row",
        |answer| answer.page(|page, random| {
            let place = random.index(page.rows.len());
            page.rows.extend_from_within(place..=place);
            page.rows[place..].rotate_right(1);
        });
    DuplicateApart: ["duplicate_apart"], ToRows(2), None,
        "Some row once more at the end of the page",
        |answer| answer.page(|page, random| {
            let place = random.index(page.rows.len() - 1);
            page.rows.extend_from_within(place..=place);
        });
    DescendingPage: ["descending_page"], ToRows(2), None,
        "The page's rows in descending order",
        |answer| answer.page(|page, _| page.rows.sort_by_key(|row| std::cmp::Reverse(row.id)));
    ShuffledFullPage: ["shuffled_full_page"], ToFullPages, None,
        "A full page in disorder",
        |answer| answer.shuffled_page();
    ShuffledShortPage: ["shuffled_short_page"], ToShortPages, None,
        "A page with fewer rows than asked for, in disorder",
        |answer| answer.shuffled_page();
    NewestFirst: ["newest_first"], WithoutOrder, None,
        "A request without cursor and order gets the newest rows first",
        |answer| answer.asked_otherwise(|query| query.newest_first());
    IgnoredOrder: ["ignored_order"], WithOrder, None,
        "OrderBy is ignored",
        |answer| answer.asked_otherwise(|query| query.without_order());
    CappedPage: ["capped_page"], ToPages, number("rows", 100, 1, 1000),
        "At most this many rows, whatever the Limit",
        |answer| {
            let most = usize::try_from(answer.value).unwrap_or(usize::MAX);
            answer.page(|page, _| page.rows.truncate(most))
        };
    EmptyList: ["empty_list"], ToPages, None,
        "Success with an empty list",
        |answer| answer.page(|page, _| page.rows.clear());
    MissingList: ["missing_list", "lost"], ToPages, None,
        "Success without a list",
        |answer| answer.page(|page, _| page.list = List::Missing);
    NullList: ["null_list"], ToPages, None,
        "Success with null for the list",
        |answer| answer.page(|page, _| page.list = List::Null);
    OtherListName: ["other_list_name"], ToPages, None,
        "The list under a name of another method: `events`, and `objects` for the Object Log",
        |answer| answer.page(|page, _| page.list_name = match page.log {
            Log::WebApi => "events",
            Log::Events => "logs",
            Log::Objects => "objects",
        });
    PascalCase: ["pascal_case"], ToPages, None,
        "Names in PascalCase",
        |answer| {
            let right = answer.right();
            Outgoing { body: pascal_case(right.body), ..right }
        };
    EmptyMessage: ["empty_message"], ToPages, None,
        "The message is \"\" instead of null",
        |answer| answer.page(|page, _| page.message = "\"\"");

    // Cursors that the server does not take.
    ShortCursor: ["short_cursor"], WithLongCursors, None,
        "A cursor above 2147483647 is an incorrect parameter",
        |_| Outgoing::error(BAD_PARAMETERS);
    GoneCursor: ["gone_cursor"], WithGoneCursors, None,
        "A cursor below the oldest row that is left is an incorrect parameter",
        |_| Outgoing::error(BAD_PARAMETERS);
    UnknownCursor: ["unknown_cursor"], WithUnknownCursors, None,
        "A cursor that is no row's id, or is no longer, is an incorrect parameter",
        |_| Outgoing::error(BAD_PARAMETERS);

    // Rows that are wrong. They are added to the log, and so are in the truth as well.
    MalformedNullState: ["malformed_null_state"], ToPages, None,
        "Adds a row to the log whose state (or value, or resource type) is null",
        |answer| answer.with_wrong_row(|row| row.set(row.counted(), Value::Null));
    MalformedTextState: ["malformed_text_state"], ToPages, None,
        "Adds a row to the log whose state (or value, or resource type) is a text",
        |answer| answer.with_wrong_row(|row| row.set(row.counted(), "many".into()));
    MalformedTextId: ["malformed_text_id"], ToPages, None,
        "Adds a row to the log whose id is a text",
        |answer| answer.with_wrong_row(|row| row.set("id", row.id.to_string().into()));
    MalformedFractionalId: ["malformed_fractional_id"], ToPages, None,
        "Adds a row to the log whose id is a fraction",
        |answer| answer.with_wrong_row(|row| row.set("id", (row.id as f64 + 0.5).into()));
    MalformedMissingId: ["malformed_missing_id"], ToPages, None,
        "Adds a row to the log without id",
        |answer| answer.with_wrong_row(|row| row.members.retain(|name, _| name != "id"));
    MalformedMissingFields: ["malformed_missing_fields"], ToPages, None,
        "Adds a row to the log with nothing but an id",
        |answer| answer.with_wrong_row(|row| row.members.retain(|name, _| name == "id"));
    MalformedWrongTypes: ["malformed_wrong_types"], ToPages, None,
        "Adds a row to the log whose members have wrong types, except for the id",
        |answer| answer.with_wrong_row(|row| row.replace_all(|_| json!([{ "wrong": true }])));
    MalformedNegativeTime: ["malformed_negative_time"], ToPages, None,
        "Adds a row to the log with a negative time",
        |answer| answer.with_wrong_row(|row| row.set(row.time(), (-5).into()));
    MalformedHugeNumbers: ["malformed_huge_numbers"], ToPages, None,
        "Adds a row to the log with numbers beyond 64 bits, except for the id",
        |answer| answer.with_wrong_row(|row| {
            row.replace_all(|value| if value.is_number() { json!(1e30) } else { value.clone() });
        });
    MalformedNotAnObject: ["malformed_not_an_object"], ToPages, None,
        "Adds a row to the log that is not an object",
        |answer| answer.with_row(|_, id, now| Row::of_json(&json!(42), id, now));
    MalformedControlCharacter: ["malformed_control_character"], ToPages, None,
        "Adds a row to the log that is not JSON: a line feed within a text",
        |answer| answer.with_unreadable_row(b"\"two\nlines\"");
    MalformedEscape: ["malformed_escape"], ToPages, None,
        "Adds a row to the log that is not JSON: `\\q` within a text",
        |answer| answer.with_unreadable_row(br#""C:\queue""#);
    MalformedNotANumber: ["malformed_not_a_number"], ToPages, None,
        "Adds a row to the log that is not JSON: NaN for a number",
        |answer| answer.with_unreadable_row(b"NaN");
    MalformedUtf8: ["malformed_utf8"], ToPages, None,
        "Adds a row to the log that is not UTF-8",
        |answer| answer.with_unreadable_row(b"\"caf\xe9\"");
    OversizedRow: ["oversized_row"], ToPages, mebibytes(33),
        "Adds a row to the log with a text that is too large",
        |answer| {
            let text = "x".repeat(answer.size().saturating_mul(MEBIBYTE));
            answer.with_unreadable_row(format!("\"{text}\"").as_bytes())
        };
    DeepRow: ["deep_row"], ToPages, number("levels", 200, 1, 1_000_000),
        "Adds a row to the log with lists in lists in lists",
        |answer| {
            let (open, close) = ("[".repeat(answer.size()), "]".repeat(answer.size()));
            answer.with_unreadable_row((open + &close).as_bytes())
        };
    HighestId: ["highest_id"], ToPages, id(i64::MAX.unsigned_abs()),
        "Adds a row to the log whose id is the highest there can be",
        |answer| {
            let id = answer.signed_value();
            answer.with_row(move |log, _, now| ordinary_row(log, id, now))
        };

    // Pages as other servers see the log.
    LaggingReplica: ["lagging_replica"], ToPages, seconds(120, 1),
        "The page of a replica that lags behind",
        |answer| {
            let behind = answer.now.saturating_sub(answer.signed_value());
            answer.seen_otherwise(|store, _| store.view(behind))
        };
    FrozenReplica: ["frozen_replica"], ToPages, None,
        "The page of a replica that has stood still since the fault was set",
        |answer| {
            let since = answer.since;
            answer.seen_otherwise(|store, _| store.view(since))
        };
    LeadingReplica: ["leading_replica"], ToPages, future_seconds(60),
        "The page of a replica that shows rows before the others do",
        |answer| {
            let ahead = answer.now.saturating_add(answer.signed_value());
            answer.seen_otherwise(|store, _| store.view(ahead))
        };
    LoneNewest: ["lone_newest"], ToPages, future_seconds(60),
        "The newest row of the near future, and none of those between",
        |answer| answer.with_lone_newest();
    StallingWriter: ["stalling_writer"], ToPages, number("seconds between bursts", 600, 1, 86_400_000),
        "Rows since the fault was set show up in bursts, within 5 s and out of order",
        |answer| {
            let (since, seconds) = (answer.since, answer.signed_value());
            answer.seen_otherwise(|_, view| view.stalling(since, seconds))
        };
    ReplacedLog: ["replaced_log"], ToPages, id(1),
        "The log of another account, or of one made anew: rows since the fault was set, with ids that start here",
        |answer| answer.of_replaced_log();
}

fn too_many_requests() -> Outgoing {
    Outgoing::error("Too many requests.").with_status(429)
}

impl FaultKind {
    pub(super) fn row(self) -> &'static FaultRow {
        &TABLE[self as usize]
    }

    /// The name in JSON and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().names[0]
    }

    /// The kind with this name, in any letter case.
    ///
    /// # Errors
    /// [`FaultError::UnknownKind`].
    pub fn from_name(name: &str) -> Result<FaultKind, FaultError> {
        let has_name =
            |kind: &&FaultKind| kind.row().names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let kind = FaultKind::ALL.iter().find(has_name);
        kind.copied().ok_or_else(|| FaultError::UnknownKind(name.to_owned()))
    }

    /// One line of help, with the meaning of the value and its default in parentheses.
    #[must_use]
    pub fn help(self) -> String {
        let FaultRow { help, parameter, .. } = self.row();
        match parameter {
            Some(Parameter { meaning, default, .. }) => format!("{help} ({meaning}, {default})"),
            None => (*help).to_owned(),
        }
    }
}

impl TryFrom<String> for FaultKind {
    type Error = FaultError;

    fn try_from(name: String) -> Result<FaultKind, FaultError> {
        FaultKind::from_name(&name)
    }
}

impl From<FaultKind> for &'static str {
    fn from(kind: FaultKind) -> &'static str {
        kind.name()
    }
}
