//! What the API answers to a request, with or without a fault. Knows parameters, rows and JSON, but no connections.
//!
//! Where the documentation is silent the choice is the most common one and is noted at its place.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use crate::Log;

use super::Shared;
use super::catalogue::{Key, PASSWORD_CANARY, PRODUCTS};
use super::faults::{FaultKind, Hit, Lot};
use super::method::Method;
use super::query::{BadParameter, PageQuery, Parameters, read_event};
use super::random::Random;
use super::row::{Fields, Row, WebApiFields, ordinary_members};
use super::store::{Direction, IdRange, View};

const UNABLE_TO_AUTHENTICATE: &str = "Unable to authenticate.";
const ACCESS_DENIED: &str = "Access denied.";
const NO_SUBSCRIPTION: &str = "No active subscription found. Please contact support.";
const BAD_PARAMETERS: &str = "The input parameters were incorrect.";
const SOMETHING_WENT_WRONG: &str =
    "Something went wrong. Please contact support@cryptolens.io and we will try to fix it.";
const NOT_ENOUGH_PERMISSION: &str = "Not enough permission and/or key not found.";
const NO_PRODUCT: &str = "Could not find the product.";
const NO_KEY: &str = "Could not find the key.";

const BAD_GATEWAY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad \
                           Gateway</h1></center>\r\n</body>\r\n</html>\r\n";
const PROXY_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in to use the \
                          network.</body></html>\n";
/// Where the redirect faults point to; who follows is counted.
pub(super) const REDIRECT_TARGET: &str = "/simulator/redirected";
const MEBIBYTE: usize = 1024 * 1024;
/// The longest time that a floating seat is held without a heartbeat.
const LONGEST_LEASE: i64 = 3600;

/// An answer, ready for the wire.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) header: Option<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) delivery: Delivery,
}

/// How an answer gets to the client, or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Delivery {
    AtOnce,
    After(Duration),
    /// The connection breaks in the middle of the body.
    Cut,
    /// The connection is closed without a word.
    Closed,
    Never,
}

impl Outgoing {
    fn json(body: Vec<u8>) -> Self {
        let content_type = "application/json; charset=utf-8";
        Self { status: 200, content_type, header: None, body, delivery: Delivery::AtOnce }
    }

    fn html(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/html", ..Self::json(body.as_bytes().to_vec()) }
    }

    fn told(message: &str) -> Self {
        Self::json(json!({ "result": 1, "message": message }).to_string().into_bytes())
    }

    fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    fn with_header(self, name: &'static str, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }

    fn gzipped(self) -> Self {
        let body = gzip(&self.body);
        Self { body, ..self }.with_header("content-encoding", "gzip")
    }

    /// What a gateway says that finds no API behind a path.
    pub(super) fn bad_gateway() -> Self {
        Self::html(502, BAD_GATEWAY)
    }

    /// What a web server says about a path that it does not know.
    pub(super) fn not_found() -> Self {
        Self::html(404, "<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n")
    }

    /// What the API says when it stumbles.
    pub(super) fn something_went_wrong() -> Self {
        Self::told(SOMETHING_WENT_WRONG).with_status(500)
    }
}

/// What a request would get without faults.
enum Reply {
    Page {
        log: Log,
        query: PageQuery,
        rows: Vec<Row>,
    },
    /// The members of an event that is registered once the answer is certain.
    Event(Vec<(&'static str, Value)>),
    Body(Value),
    Error(&'static str),
}

/// Answers a request: the simulator's whole behaviour, but for what happens to the connection.
/// `reused` says whether the connection had a request before.
pub(super) fn answer(
    simulator: &Shared,
    method: Method,
    parameters: &Parameters,
    lot: Lot,
    reused: bool,
) -> Outgoing {
    let now = simulator.clock.now();
    let reply = reply(simulator, method, parameters, now).unwrap_or(Reply::Error(BAD_PARAMETERS));
    let applies = |kind| match kind {
        FaultKind::StaleConnection => reused,
        FaultKind::GoneCursor | FaultKind::UnknownCursor => reply.has_lost_its_cursor(simulator, kind, now),
        kind => reply.can_suffer(kind),
    };
    match simulator.faults.choose(lot, now, applies) {
        None => plain(simulator, reply, now),
        Some(hit) => faulty(simulator, reply, &hit, simulator.faults.random(lot), now),
    }
}

fn reply(
    simulator: &Shared,
    method: Method,
    parameters: &Parameters,
    now: i64,
) -> Result<Reply, BadParameter> {
    let options = &simulator.options;
    let given = parameters.text("token");
    if given.is_none() || options.token.as_deref().is_some_and(|token| given != Some(token)) {
        return Ok(Reply::Error(UNABLE_TO_AUTHENTICATE));
    }
    if options.denied.contains(&method) {
        return Ok(Reply::Error(ACCESS_DENIED));
    }
    let locked = options.key_lock && method == Method::GetWebApiLog;
    if locked && (parameters.integer("productid")?.is_none() || parameters.text("key").is_none()) {
        // Which text the API gives then is not documented; this is the one that its FAQ connects with key locks.
        return Ok(Reply::Error(NOT_ENOUGH_PERMISSION));
    }
    if let Some(log) = method.log() {
        let query = PageQuery::read(log, parameters)?;
        let rows = simulator.rows(log, &query, now);
        return Ok(Reply::Page { log, query, rows });
    }
    Ok(match method {
        Method::GetProducts => Reply::Body(products()),
        Method::RegisterEvent => Reply::Event(read_event(parameters)?),
        _ => get_key(simulator, parameters, now)?,
    })
}

impl Reply {
    /// Whether this kind of fault would make a difference to this answer.
    fn can_suffer(&self, kind: FaultKind) -> bool {
        use FaultKind::*;
        let Reply::Page { query, rows, .. } = self else { return !kind.is_about_pages() };
        match kind {
            DuplicateAdjacent => !rows.is_empty(),
            DuplicateApart | DescendingPage => rows.len() > 1,
            ShuffledFullPage => rows.len() > 2 && rows.len() == query.limit,
            ShuffledShortPage => rows.len() > 2 && rows.len() < query.limit,
            NewestFirst => query.is_unordered(),
            IgnoredOrder => query.has_order(),
            ShortCursor => query.has_long_cursor(),
            _ => true,
        }
    }

    /// Whether a server that looks for the row of a cursor does not find it.
    fn has_lost_its_cursor(&self, simulator: &Shared, kind: FaultKind, now: i64) -> bool {
        let Reply::Page { log, query, .. } = self else { return false };
        let Some(cursor) = query.cursor() else { return false };
        let store = simulator.log(*log);
        let view = store.view(now);
        match kind {
            FaultKind::GoneCursor => store.lowest_id(view).is_none_or(|lowest| cursor < lowest),
            _ => !store.shows(cursor, view),
        }
    }
}

fn plain(simulator: &Shared, reply: Reply, now: i64) -> Outgoing {
    match reply {
        Reply::Page { log, query, rows } => Outgoing::json(Envelope::of(log).body(simulator, &query, &rows)),
        Reply::Event(members) => {
            simulator.register(members, now);
            Outgoing::json(json!({ "result": 0, "message": null }).to_string().into_bytes())
        }
        Reply::Body(body) => Outgoing::json(body.to_string().into_bytes()),
        Reply::Error(message) => Outgoing::told(message),
    }
}

fn faulty(simulator: &Shared, reply: Reply, hit: &Hit, random: Random, now: i64) -> Outgoing {
    use FaultKind::*;
    let fault = &hit.fault;
    let value = fault.value.or(fault.kind.default_value()).unwrap_or_default();
    let status = u16::try_from(value).unwrap_or(200);
    let told = |message| Outgoing::told(message).with_status(status);
    let limited = Outgoing::told("Too many requests.").with_status(429);
    match fault.kind {
        UnableToAuthenticate => told(UNABLE_TO_AUTHENTICATE),
        AccessDenied => told(ACCESS_DENIED),
        NoSubscription => told(NO_SUBSCRIPTION),
        BadParameters => told(BAD_PARAMETERS),
        SomethingWentWrong => told(SOMETHING_WENT_WRONG),
        NotEnoughPermission => told(NOT_ENOUGH_PERMISSION),
        MessageOnly => {
            Outgoing::json(br#"{"message":"An error has occurred."}"#.to_vec()).with_status(status)
        }
        RateLimited => limited.with_header("retry-after", value.to_string()),
        RateLimitedDate => {
            // A date has whole seconds; rounding down would ask for less than was meant.
            let wait = Duration::from_secs(value) + Duration::from_millis(999);
            let date = (chrono::Utc::now() + wait).format("%a, %d %b %Y %H:%M:%S GMT");
            limited.with_header("retry-after", date.to_string())
        }
        RateLimitedBare => limited,
        BadGatewayHtml => Outgoing::bad_gateway().with_status(status),
        ProxyPage => Outgoing::html(200, PROXY_PAGE),
        EmptyBody => Outgoing::json(Vec::new()),
        TruncatedJson => {
            let mut answer = plain(simulator, reply, now);
            answer.body.truncate(answer.body.len() / 2);
            answer
        }
        CutBody => Outgoing { delivery: Delivery::Cut, ..plain(simulator, reply, now) },
        Hang => Outgoing { delivery: Delivery::Never, ..Outgoing::json(Vec::new()) },
        Slow => Outgoing {
            delivery: Delivery::After(Duration::from_millis(value)),
            ..plain(simulator, reply, now)
        },
        Redirect => Outgoing::html(302, "").with_header("location", REDIRECT_TARGET),
        RedirectKeepingMethod => Outgoing::html(307, "").with_header("location", REDIRECT_TARGET),
        OversizedBody => Outgoing::json(padded(value)),
        GzipBomb => Outgoing::json(padded(value)).gzipped(),
        Gzip => plain(simulator, reply, now).gzipped(),
        GzipZeros => Outgoing::json(zeros(value)).gzipped(),
        Unanswered | StaleConnection => Outgoing { delivery: Delivery::Closed, ..Outgoing::json(Vec::new()) },
        DateAhead => dated(plain(simulator, reply, now), value.try_into().unwrap_or_default()),
        DateBehind => dated(plain(simulator, reply, now), -i64::try_from(value).unwrap_or_default()),
        _ => match reply {
            Reply::Page { log, query, rows } => {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                match elsewhere(simulator, log, &query, hit, value, now) {
                    Some(page) => page,
                    None => faulty_page(simulator, log, query, rows, (fault.kind, value), random, now),
                }
            }
            other => plain(simulator, other, now),
        },
    }
}

/// An answer from a server whose clock differs by so many seconds.
fn dated(answer: Outgoing, ahead: i64) -> Outgoing {
    let date = chrono::Utc::now().checked_add_signed(chrono::TimeDelta::seconds(ahead));
    let date = date.unwrap_or_default().format("%a, %d %b %Y %H:%M:%S GMT");
    answer.with_header("date", date.to_string())
}

/// The page as it is seen at another time or place: by a replica, behind a log writer that stalls,
/// in another log.
fn elsewhere(
    simulator: &Shared,
    log: Log,
    query: &PageQuery,
    hit: &Hit,
    value: i64,
    now: i64,
) -> Option<Outgoing> {
    use FaultKind::*;
    let store = simulator.log(log);
    let view: View = match hit.fault.kind {
        LaggingReplica => store.view(now.saturating_sub(value)),
        FrozenReplica => store.view(hit.since),
        LeadingReplica => store.view(now.saturating_add(value)),
        StallingWriter => store.view(now).stalling(hit.since, value),
        LoneNewest => {
            let mut rows = simulator.rows(log, query, now);
            let ahead = store.view(now.saturating_add(value));
            let newest = simulator.rows_in(log, &query.clone().newest(), ahead).pop();
            let newest = newest.filter(|newest| rows.iter().all(|row| row.id < newest.id));
            match newest {
                Some(newest) if query.descends() => rows.insert(0, newest),
                Some(newest) => rows.push(newest),
                None => {}
            }
            rows.truncate(query.limit);
            return Some(Outgoing::json(Envelope::of(log).body(simulator, query, &rows)));
        }
        ReplacedLog => {
            let begins = hit.since.saturating_add(1);
            let view = store.view(now).beginning(begins);
            let first = store.first_id_since(begins, view).unwrap_or(i64::MAX);
            let shift = first.saturating_sub(value);
            let rows = simulator.rows_in(log, &query.clone().shifted(shift, first), view);
            let renamed = |row: Row| {
                let id = row.id.saturating_sub(shift);
                row.with_id(id)
            };
            let rows: Vec<Row> = rows.into_iter().map(renamed).collect();
            return Some(Outgoing::json(Envelope::of(log).body(simulator, query, &rows)));
        }
        _ => return None,
    };
    let rows = simulator.rows_in(log, query, view);
    Some(Outgoing::json(Envelope::of(log).body(simulator, query, &rows)))
}

fn faulty_page(
    simulator: &Shared,
    log: Log,
    mut query: PageQuery,
    mut rows: Vec<Row>,
    (kind, value): (FaultKind, i64),
    mut random: Random,
    now: i64,
) -> Outgoing {
    use FaultKind::*;
    let mut envelope = Envelope::of(log);
    match kind {
        DuplicateAdjacent => {
            let place = random.index(rows.len());
            let row = rows[place].clone();
            rows.insert(place, row);
        }
        DuplicateApart => {
            let row = rows[random.index(rows.len() - 1)].clone();
            rows.push(row);
        }
        DescendingPage => rows.sort_by_key(|row| std::cmp::Reverse(row.id)),
        ShuffledFullPage | ShuffledShortPage => {
            random.shuffle(&mut rows);
            let (first, second, third) = (rows[0].id, rows[1].id, rows[2].id);
            // The one or two orders among many that are no disorder.
            if (first < second) == (second < third) {
                rows.swap(0, 1);
            }
        }
        NewestFirst => {
            query = query.newest_first();
            rows = simulator.rows(log, &query, now);
        }
        IgnoredOrder => {
            query = query.without_order();
            rows = simulator.rows(log, &query, now);
        }
        ShortCursor | GoneCursor | UnknownCursor => return Outgoing::told(BAD_PARAMETERS),
        CappedPage => rows.truncate(usize::try_from(value).unwrap_or(usize::MAX)),
        EmptyList => rows.clear(),
        HighestId => {
            simulator.log(log).insert(ordinary(log, value, now));
            rows = simulator.rows(log, &query, now);
        }
        OtherListName => {
            envelope.list_name = match log {
                Log::WebApi => "events",
                Log::Events => "logs",
                Log::Objects => "objects",
            };
        }
        EmptyMessage => envelope.message = "\"\"",
        MissingList => envelope.list = List::Missing,
        NullList => envelope.list = List::Null,
        _ => {
            if let Some(bytes) = unreadable(kind, value) {
                simulator.log(log).insert_new(now, |id| {
                    let row = ordinary(log, id, now);
                    let text = row.to_json(&simulator.catalogue);
                    row.disguised(with_member(&text, &bytes))
                });
                rows = simulator.rows(log, &query, now);
            } else if let Some(make) = malformed(kind, log, now) {
                simulator.log(log).insert_new(now, make);
                rows = simulator.rows(log, &query, now);
            }
        }
    }
    let body = envelope.body(simulator, &query, &rows);
    Outgoing::json(if kind == PascalCase { pascal_case(body) } else { body })
}

enum List {
    There,
    Missing,
    Null,
}

/// What stands around the rows of a page.
struct Envelope {
    list_name: &'static str,
    /// As JSON. Null on success by the documentation, "" in what was captured.
    message: &'static str,
    list: List,
}

impl Envelope {
    fn of(log: Log) -> Self {
        let list_name = if log == Log::WebApi { "logs" } else { "events" };
        Self { list_name, message: "null", list: List::There }
    }

    fn body(&self, simulator: &Shared, query: &PageQuery, rows: &[Row]) -> Vec<u8> {
        let name = self.list_name;
        let mut body = Vec::with_capacity(64 + rows.len() * 320);
        body.push(b'{');
        match self.list {
            List::Missing => {}
            List::Null => body.extend_from_slice(format!("\"{name}\":null,").as_bytes()),
            List::There => {
                body.extend_from_slice(format!("\"{name}\":[").as_bytes());
                for (position, row) in rows.iter().enumerate() {
                    if position > 0 {
                        body.push(b',');
                    }
                    if query.anomalies {
                        let text = row.to_json_with(&simulator.catalogue, &row.anomaly_members());
                        body.extend_from_slice(text.as_bytes());
                    } else {
                        row.render(&simulator.catalogue, &mut body);
                    }
                }
                body.extend_from_slice(b"],");
            }
        }
        body.extend_from_slice(format!("\"result\":0,\"message\":{}}}", self.message).as_bytes());
        body
    }
}

/// A maker of a row that is wrong in this way. The row stays in the log, so that it is in the truth as well.
fn malformed(kind: FaultKind, log: Log, now: i64) -> Option<impl FnOnce(i64) -> Row> {
    use FaultKind::*;
    let (time, counted) = match log {
        Log::WebApi => ("time", "state"),
        Log::Events => ("time", "value"),
        Log::Objects => ("created", "resourceType"),
    };
    let spoil: fn(&mut Map<String, Value>, i64, &str, &str) = match kind {
        MalformedNullState => |row, _, _, counted| drop(row.insert(counted.to_owned(), Value::Null)),
        MalformedTextState => |row, _, _, counted| drop(row.insert(counted.to_owned(), "many".into())),
        MalformedTextId => |row, id, _, _| drop(row.insert("id".to_owned(), id.to_string().into())),
        MalformedFractionalId => |row, id, _, _| drop(row.insert("id".to_owned(), (id as f64 + 0.5).into())),
        MalformedMissingId => |row, _, _, _| drop(row.remove("id")),
        MalformedMissingFields => |row, _, _, _| row.retain(|name, _| name == "id"),
        MalformedWrongTypes => |row, _, _, _| replace_all(row, |_| json!([{ "wrong": true }])),
        MalformedHugeNumbers => {
            |row, _, _, _| replace_all(row, |old| if old.is_number() { json!(1e30) } else { old.clone() })
        }
        MalformedNegativeTime => |row, _, time, _| drop(row.insert(time.to_owned(), (-5).into())),
        MalformedNotAnObject => |row, _, _, _| row.clear(),
        _ => return None,
    };
    Some(move |id| {
        let mut members = ordinary_members(log, id, now);
        spoil(&mut members, id, time, counted);
        let row = if members.is_empty() { json!(42) } else { Value::Object(members) };
        // A JSON value always has a text.
        Row::appended(to_raw_value(&row).unwrap_or_default(), id, now, now)
    })
}

/// A row with nothing wrong.
fn ordinary(log: Log, id: i64, now: i64) -> Row {
    // A JSON value always has a text.
    Row::appended(to_raw_value(&ordinary_members(log, id, now)).unwrap_or_default(), id, now, now)
}

/// The value of one more member that makes a row a nuisance, or no JSON at all.
fn unreadable(kind: FaultKind, value: i64) -> Option<Vec<u8>> {
    use FaultKind::*;
    let size = usize::try_from(value).unwrap_or_default();
    Some(match kind {
        MalformedControlCharacter => b"\"two\nlines\"".to_vec(),
        MalformedEscape => br#""C:\queue""#.to_vec(),
        MalformedNotANumber => b"NaN".to_vec(),
        MalformedUtf8 => b"\"caf\xe9\"".to_vec(),
        OversizedRow => [b"\"", "x".repeat(size.saturating_mul(MEBIBYTE)).as_bytes(), b"\""].concat(),
        DeepRow => ["[".repeat(size), "]".repeat(size)].concat().into_bytes(),
        _ => return None,
    })
}

/// The text of a JSON object with one more member in front, byte for byte.
fn with_member(object: &str, value: &[u8]) -> Vec<u8> {
    let members = object.strip_prefix('{').unwrap_or(object).as_bytes();
    [br#"{"note":"#, value, b",", members].concat()
}

fn replace_all(row: &mut Map<String, Value>, new: impl Fn(&Value) -> Value) {
    for (_, value) in row.iter_mut().filter(|(name, _)| *name != "id") {
        *value = new(value);
    }
}

fn pascal_case(body: Vec<u8>) -> Vec<u8> {
    fn renamed(value: Value) -> Value {
        match value {
            Value::Array(items) => items.into_iter().map(renamed).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(name, value)| (capitalised(&name), renamed(value))).collect()
            }
            other => other,
        }
    }
    fn capitalised(name: &str) -> String {
        // As the vendor's own models spell them; its SDKs insist.
        if matches!(name, "id" | "ip") {
            return name.to_uppercase();
        }
        let mut letters = name.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
    }
    // A handed-in row may hold a number beyond a double, which cannot be rewritten.
    serde_json::from_slice(&body).map_or(body, |value| renamed(value).to_string().into_bytes())
}

/// A page without rows, but of this many MiB.
fn padded(mebibytes: u64) -> Vec<u8> {
    let length = usize::try_from(mebibytes).unwrap_or(1).saturating_mul(MEBIBYTE);
    let mut body = br#"{"logs":["#.to_vec();
    body.resize(length, b' ');
    body.extend_from_slice(br#"],"result":0,"message":null}"#);
    body
}

/// A page of so many MiB, whose list holds zeros in place of rows.
fn zeros(mebibytes: u64) -> Vec<u8> {
    let count = usize::try_from(mebibytes).unwrap_or(1).saturating_mul(MEBIBYTE / 2);
    let mut body = br#"{"logs":[0"#.to_vec();
    body.extend(std::iter::repeat_n(*b",0", count).flatten());
    body.extend_from_slice(br#"],"result":0,"message":null}"#);
    body
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory has no way to fail.
    let written = encoder.write_all(body);
    debug_assert!(written.is_ok());
    encoder.finish().unwrap_or_default()
}

fn products() -> Value {
    let product = |product: &super::catalogue::Product| {
        json!({
            "id": product.id,
            "name": product.name,
            "creationDate": "2019-03-04T09:12:44.417",
            "description": format!("{} for teams", product.name),
            "password": format!("{PASSWORD_CANARY}-{}", product.id),
            "isPublic": false,
            "keyAlgorithm": 1,
            "featureDefinitions": {
                "f1": { "name": "Pro", "type": 0 },
                "f2": { "name": "Trial", "type": 1 },
                "allLicensesTimeLimited": false,
                "blockExpiredLicenses": true,
            },
            "dataObjects": [],
        })
    };
    let products: Vec<Value> = PRODUCTS.iter().map(product).collect();
    json!({ "products": products, "result": 0, "message": "" })
}

fn get_key(simulator: &Shared, parameters: &Parameters, now: i64) -> Result<Reply, BadParameter> {
    let (Some(product_id), Some(text)) = (parameters.integer("productid")?, parameters.text("key")) else {
        return Err(BadParameter);
    };
    if PRODUCTS.iter().all(|product| product.id != product_id) {
        return Ok(Reply::Error(NO_PRODUCT));
    }
    let Some((index, key)) = simulator.catalogue.find_key(product_id, text) else {
        return Ok(Reply::Error(NO_KEY));
    };
    let interval = parameters.integer("floatingtimeinterval")?.filter(|seconds| *seconds > 0);
    let seats = held_seats(simulator, index, interval, now);
    let with_metadata = parameters.flag("metadata")?;
    let signed = parameters.flag("sign")? && parameters.integer("signmethod")? == Some(1);
    let license = license(simulator, product_id, index, key, &seats, now);
    let license = if signed {
        // The vendor's SDKs decode this form. The signature is none: nobody but the vendor can make one.
        Value::from(BASE64_STANDARD.encode(pascal_case(license.to_string().into_bytes())))
    } else {
        license
    };
    let metadata = with_metadata.then(|| {
        json!({
            "activatedMachines": seats.len(),
            "usedFloatingMachines": seats.len(),
            "licenseStatus": {
                "isValid": true, "reasonForInvalidity": 0, "trial": false, "timeLimited": false, "timeLeft": null,
            },
        })
    });
    let mut body = json!({ "licenseKey": license, "metadata": metadata, "result": 0, "message": "" });
    if signed {
        body["signature"] = "".into();
    }
    Ok(Reply::Body(body))
}

fn license(
    simulator: &Shared,
    product_id: i64,
    index: u32,
    key: &Key,
    seats: &BTreeMap<u32, (i64, WebApiFields)>,
    now: i64,
) -> Value {
    let catalogue = &simulator.catalogue;
    let machines: Vec<Value> = seats
        .iter()
        .map(|(machine, (time, fields))| {
            json!({
                "mid": format!("floating:{}", catalogue.machine_code(*machine).unwrap_or_default()),
                "ip": catalogue.masked_ip(fields.key, *machine),
                "time": time,
                "friendlyName": catalogue.friendly_name(*machine),
                "floatingExpires": time + i64::from(fields.lease),
            })
        })
        .collect();
    let created = simulator.options.start;
    let mut license = json!({
        "productId": product_id, "id": index + 1, "key": key.text,
        // Unix seconds, as in the signed form; whether the plain form has texts here is not documented.
        "created": created, "expires": created + 3650 * 86_400, "signDate": now, "period": 3650,
        "notes": null, "block": false, "globalId": 100_000 + index, "customer": null,
        "activatedMachines": machines, "trialActivation": false, "maxNoOfMachines": key.seats,
        "allowedMachines": null, "dataObjects": [],
    });
    for feature in 1..=8 {
        license[format!("f{feature}")] = (feature == 1).into();
    }
    license
}

/// The machines that hold a seat of the key, with the time of their last heartbeat. Rows that were handed in are not
/// looked at.
fn held_seats(
    simulator: &Shared,
    key: u32,
    interval: Option<i64>,
    now: i64,
) -> BTreeMap<u32, (i64, WebApiFields)> {
    let reach = interval.unwrap_or(0).max(LONGEST_LEASE);
    let mut latest: BTreeMap<u32, (i64, WebApiFields)> = BTreeMap::new();
    let store = simulator.log(Log::WebApi);
    store.scan(IdRange::ALL, Direction::Descending, store.view(now), |row| {
        if let Fields::WebApi(fields) = row.fields
            && fields.key == key
            && matches!(fields.state, 2014 | 2015 | 6011)
        {
            latest.entry(fields.machine).or_insert((row.time, fields));
        }
        if row.time < now - reach { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    latest.retain(|_, (time, fields)| {
        fields.state != 6011 && *time + interval.unwrap_or(i64::from(fields.lease)) > now
    });
    latest
}
