//! The answer to a request that nothing goes wrong with: parameters in, rows or an error out, as
//! JSON. Knows no connections and no faults.
//!
//! Where the vendor's documentation is silent the most common behaviour is chosen, with a comment
//! at the place.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::aggregates::daily_aggregates;
use crate::catalogue::{Catalogue, Key, PRODUCTS, Product};
use crate::log::Log;
use crate::method::Method;
use crate::query::{BadParameter, PageQuery, Parameters, read_event};
use crate::row::{Fields, Row, SeatMembers, WebApiFields};
use crate::store::{Direction, IdRange, View};
use crate::{LicenseTerms, Shared};

pub(crate) const UNABLE_TO_AUTHENTICATE: &str = "Unable to authenticate.";
pub(crate) const ACCESS_DENIED: &str = "Access denied.";
pub(crate) const NO_SUBSCRIPTION: &str = "No active subscription found. Please contact support.";
pub(crate) const BAD_PARAMETERS: &str = "The input parameters were incorrect.";
pub(crate) const SOMETHING_WENT_WRONG: &str =
    "Something went wrong. Please contact support@cryptolens.io and we will try to fix it.";
pub(crate) const NOT_ENOUGH_PERMISSION: &str = "Not enough permission and/or key not found.";
const NO_PRODUCT: &str = "Could not find the product.";
const NO_KEY: &str = "Could not find the key.";

const BAD_GATEWAY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad \
                           Gateway</h1></center>\r\n</body>\r\n</html>\r\n";
/// The path that the redirect faults point to; requests to it are counted.
pub(crate) const REDIRECT_TARGET: &str = "/simulator/redirected";
/// Stands for the index of a key that is not in the catalogue.
const NO_KEY_INDEX: u32 = u32::MAX - 1;
/// Keys on a page of GetKeys (V3/GetKeys).
const KEYS_PER_PAGE: usize = 99;
/// The id of the customer of the first key.
const FIRST_CUSTOMER: i64 = 400;
/// The longest time that a floating seat is held without a heartbeat.
const LONGEST_LEASE: i64 = 3600;

/// An answer, ready for the wire.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) header: Option<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delivery: Delivery,
}

/// How an answer gets to the client, or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Delivery {
    AtOnce,
    After(Duration),
    /// The connection breaks in the middle of the body.
    Cut,
    /// The connection is closed without a word.
    Closed,
    Never,
}

impl Outgoing {
    pub(crate) fn json(body: impl Into<Vec<u8>>) -> Self {
        let content_type = "application/json; charset=utf-8";
        Self { status: 200, content_type, header: None, body: body.into(), delivery: Delivery::AtOnce }
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/html", ..Self::json(body) }
    }

    /// An error of the API.
    pub(crate) fn error(message: &str) -> Self {
        Self::json(json!({ "result": 1, "message": message }).to_string())
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn with_header(self, name: &'static str, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }

    pub(crate) fn delivered(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// The answer of a gateway that finds no API behind a path.
    pub(crate) fn bad_gateway() -> Self {
        Self::html(502, BAD_GATEWAY)
    }

    /// The answer of a web server to a path that it does not know.
    pub(crate) fn not_found() -> Self {
        Self::html(404, "<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n")
    }

    /// The answer of the API when it fails.
    pub(crate) fn something_went_wrong() -> Self {
        Self::error(SOMETHING_WENT_WRONG).with_status(500)
    }
}

/// The content of an answer.
pub(crate) enum Reply {
    Page(Box<Page>),
    /// The members of an event, which is registered once no fault prevents the answer.
    Event(Vec<(&'static str, Value)>),
    Body(Value),
    Error(&'static str),
}

/// The reply to a request that nothing goes wrong with.
pub(crate) fn reply(simulator: &Shared, method: Method, parameters: &Parameters, now: i64) -> Reply {
    understood(simulator, method, parameters, now).unwrap_or(Reply::Error(BAD_PARAMETERS))
}

fn understood(
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
        // The text of this error is not documented; the vendor's FAQ connects this one with key locks.
        return Ok(Reply::Error(NOT_ENOUGH_PERMISSION));
    }
    if let Some(log) = method.log() {
        let query = PageQuery::read(log, parameters)?;
        let view = simulator.log(log).view(now);
        return Ok(Reply::Page(Box::new(Page::read(simulator, log, query, view))));
    }
    Ok(match method {
        Method::GetProducts => Reply::Body(products(&simulator.catalogue)),
        Method::RegisterEvent => Reply::Event(read_event(parameters)?),
        Method::GetKeys => get_keys(simulator, parameters, now)?,
        Method::GetCustomers => Reply::Body(customers(simulator)),
        Method::GetDailyAggregates => Reply::Body(daily_aggregates(simulator, parameters, now)?),
        _ => get_key(simulator, parameters, now)?,
    })
}

impl Reply {
    pub(crate) fn into_outgoing(self, simulator: &Shared, now: i64) -> Outgoing {
        match self {
            Reply::Page(page) => Outgoing::json(page.body(simulator)),
            Reply::Event(members) => {
                simulator.register(members, now);
                Outgoing::json(json!({ "result": 0, "message": null }).to_string())
            }
            Reply::Body(body) => Outgoing::json(body.to_string()),
            Reply::Error(message) => Outgoing::error(message),
        }
    }
}

/// The list of a page.
pub(crate) enum List {
    Rows,
    Missing,
    Null,
}

/// A page of a log: the question, its rows and the members around them.
pub(crate) struct Page {
    pub(crate) log: Log,
    pub(crate) query: PageQuery,
    pub(crate) rows: Vec<Row>,
    pub(crate) list_name: &'static str,
    /// As JSON. The documentation has null on success, captured answers have "".
    pub(crate) message: &'static str,
    pub(crate) list: List,
}

impl Page {
    pub(crate) fn read(simulator: &Shared, log: Log, query: PageQuery, view: View) -> Page {
        let rows = query.rows(simulator.log(log), &simulator.catalogue, view);
        let list_name = if log == Log::WebApi { "logs" } else { "events" };
        Page { log, query, rows, list_name, message: "null", list: List::Rows }
    }

    fn body(&self, simulator: &Shared) -> Vec<u8> {
        let name = self.list_name;
        let mut body = Vec::with_capacity(64 + self.rows.len() * 320);
        body.push(b'{');
        match self.list {
            List::Missing => {}
            List::Null => body.extend_from_slice(format!("\"{name}\":null,").as_bytes()),
            List::Rows => {
                body.extend_from_slice(format!("\"{name}\":[").as_bytes());
                for (position, row) in self.rows.iter().enumerate() {
                    if position > 0 {
                        body.push(b',');
                    }
                    if self.query.anomalies {
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

pub(crate) fn pascal_case(body: Vec<u8>) -> Vec<u8> {
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
    // An added row may hold a number beyond a double, which cannot be written again.
    serde_json::from_slice(&body).map_or(body, |value| renamed(value).to_string().into_bytes())
}

fn products(catalogue: &Catalogue) -> Value {
    let product = |product: &Product| {
        json!({
            "id": product.id,
            "name": product.name,
            "creationDate": "2019-03-04T09:12:44.417",
            "description": format!("{} for teams", product.name),
            "password": catalogue.password(product),
            "isPublic": false,
            "keyAlgorithm": 1,
            "featureDefinitions": {
                "f1": { "name": "Pro", "type": 0 },
                "f2": { "name": "Trial", "type": 1 },
                "allLicensesTimeLimited": false,
                "blockExpiredLicenses": false,
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
    let licenses = simulator.licenses.lock().unwrap_or_else(PoisonError::into_inner);
    let details = licenses.get(&(product_id, text.to_owned())).cloned();
    drop(licenses);
    let added = details.as_ref().map(|license| added_key(text, license));
    if added.is_none() && PRODUCTS.iter().all(|product| product.id != product_id) {
        return Ok(Reply::Error(NO_PRODUCT));
    }
    let known = simulator.catalogue.find_key(product_id, text);
    // No machine of the catalogue has the index of an added license.
    let Some((index, key)) = added.as_ref().map(|key| (NO_KEY_INDEX, key)).or(known) else {
        return Ok(Reply::Error(NO_KEY));
    };
    let interval = parameters.integer("floatingtimeinterval")?.filter(|seconds| *seconds > 0);
    let seats = held_seats(simulator, index, interval, now);
    let with_metadata = parameters.flag("metadata")?;
    let signed = parameters.flag("sign")? && parameters.integer("signmethod")? == Some(1);
    let mut license = license(simulator, product_id, index, key, &seats, now);
    let mut used = seats.len();
    if let Some(details) = details {
        details.write(&mut license, &simulator.catalogue);
        let machines = added_seats(simulator, (product_id, text), interval, now);
        used = machines.len();
        license["activatedMachines"] = machines.into();
    }
    let license = if signed {
        // The vendor's SDKs decode this form. It has no signature: only the vendor can make one.
        Value::from(BASE64_STANDARD.encode(pascal_case(license.to_string().into_bytes())))
    } else {
        license
    };
    let metadata = with_metadata.then(|| {
        json!({
            "activatedMachines": used,
            "usedFloatingMachines": used,
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

fn added_key(text: &str, license: &LicenseTerms) -> Key {
    Key { text: text.to_owned(), product: 0, machines: 0..0, seats: license.seats, shift: 0 }
}

/// The license keys of a product, 99 on a page. The seats that are held are left out.
fn get_keys(simulator: &Shared, parameters: &Parameters, now: i64) -> Result<Reply, BadParameter> {
    let product_id = parameters.integer("productid")?.ok_or(BadParameter)?;
    let Some(product) = PRODUCTS.iter().position(|product| product.id == product_id) else {
        return Ok(Reply::Error(NO_PRODUCT));
    };
    let none = BTreeMap::new();
    let catalogue = &simulator.catalogue;
    let mut keys: Vec<Value> = catalogue
        .keys_of(product)
        .map(|index| license(simulator, product_id, index, catalogue.key(index), &none, now))
        .collect();
    let added = simulator.licenses.lock().unwrap_or_else(PoisonError::into_inner);
    for ((_, text), details) in added.iter().filter(|((product, _), _)| *product == product_id) {
        let mut key = license(simulator, product_id, NO_KEY_INDEX, &added_key(text, details), &none, now);
        details.write(&mut key, &simulator.catalogue);
        keys.push(key);
    }
    drop(added);
    let page = usize::try_from(parameters.integer("page")?.unwrap_or(1).max(1)).map_err(|_| BadParameter)?;
    let (total, pages) = (keys.len(), keys.len().div_ceil(KEYS_PER_PAGE));
    let keys: Vec<Value> =
        keys.into_iter().skip((page - 1).saturating_mul(KEYS_PER_PAGE)).take(KEYS_PER_PAGE).collect();
    Ok(Reply::Body(json!({
        "licenseKeys": keys, "returned": keys.len(), "total": total, "pageCount": pages, "result": 0, "message": "",
    })))
}

/// The customers of all keys: of the catalogue, and of added licenses.
fn customers(simulator: &Shared) -> Value {
    let mut customers: BTreeMap<i64, Value> = BTreeMap::new();
    for index in PRODUCTS.iter().enumerate().flat_map(|(product, _)| simulator.catalogue.keys_of(product)) {
        let customer = customer(&simulator.catalogue, i64::from(index) + FIRST_CUSTOMER, &company(index));
        customers.insert(i64::from(index) + FIRST_CUSTOMER, customer);
    }
    let added = simulator.licenses.lock().unwrap_or_else(PoisonError::into_inner);
    for (id, name) in added.values().filter_map(|license| license.customer.as_ref()) {
        customers.insert(*id, customer(&simulator.catalogue, *id, name));
    }
    let customers: Vec<Value> = customers.into_values().collect();
    json!({ "customers": customers, "result": 0, "message": "" })
}

/// A customer as the API gives it: a person of a company.
pub(crate) fn customer(catalogue: &Catalogue, id: i64, company: &str) -> Value {
    let person = catalogue.person(id);
    let mail = person.to_lowercase().replace(' ', ".");
    json!({
        "id": id, "name": format!("{person} {id}"), "email": format!("{mail}-{id}@example.com"),
        "companyName": company, "created": 1_600_000_000,
    })
}

/// An invented company for a key of the catalogue.
fn company(key: u32) -> String {
    const FIRST: [&str; 12] = [
        "Alder", "Birch", "Calder", "Dunmore", "Eastgate", "Fenwick", "Halden", "Kestrel", "Marlow", "Ostra",
        "Rowan", "Vantage",
    ];
    const SECOND: [&str; 9] = [
        "Shipyards",
        "Design Studio",
        "Interiors",
        "Werke",
        "Architects",
        "Robotics",
        "Civil",
        "Structures",
        "Metal",
    ];
    let (first, second) = (key as usize % FIRST.len(), key as usize / FIRST.len() % SECOND.len());
    match key as usize / (FIRST.len() * SECOND.len()) {
        0 => format!("{} {}", FIRST[first], SECOND[second]),
        number => format!("{} {} {}", FIRST[first], SECOND[second], number + 1),
    }
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
    let is_expired = index != NO_KEY_INDEX && catalogue.is_expired(index);
    // Two years before the log begins, and then for one.
    let age = if is_expired { 730 } else { 0 };
    let period = if is_expired { 365 } else { 3650 };
    let created = simulator.options.start - age * 86_400;
    let mut license = json!({
        "productId": product_id, "id": u64::from(index) + 1, "key": key.text,
        // Unix seconds, as in the signed form; whether the plain form has texts here is not documented.
        "created": created, "expires": created + period * 86_400, "signDate": now, "period": period,
        "notes": null, "block": false, "globalId": 100_000 + u64::from(index),
        "customer": customer(&simulator.catalogue, i64::from(index) + FIRST_CUSTOMER, &company(index)),
        "activatedMachines": machines, "trialActivation": false, "maxNoOfMachines": key.seats,
        "allowedMachines": null, "dataObjects": [],
    });
    for feature in 1..=8 {
        license[format!("f{feature}")] = (feature == 1).into();
    }
    license
}

/// The machines that hold a seat of an added license, by the rows that were added for its key: the row
/// with the highest id of each machine.
fn added_seats(
    simulator: &Shared,
    (product_id, key): (i64, &str),
    interval: Option<i64>,
    now: i64,
) -> Vec<Value> {
    let mut latest: BTreeMap<String, (i64, SeatMembers)> = BTreeMap::new();
    let store = simulator.log(Log::WebApi);
    store.scan(IdRange::ALL, Direction::Descending, store.view(now), |row| {
        if let Some(seat) = row.added_seat()
            && (seat.product_id, &*seat.key) == (product_id, key)
        {
            latest.entry(seat.machine.clone()).or_insert((row.time, seat.clone()));
        }
        ControlFlow::Continue(())
    });
    let held = latest.into_iter().filter_map(|(machine, (time, seat))| {
        let lease = interval.map(|interval| time + interval).or(seat.expires);
        let expires = lease.filter(|expires| seat.state != 6011 && *expires > now)?;
        Some(json!({ "mid": format!("floating:{machine}"), "time": time, "floatingExpires": expires }))
    });
    held.collect()
}

/// The machines that hold a seat of the key, with the time of their last heartbeat. Does not look at
/// rows that a test added.
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
