//! License keys and customers, as GetKeys, GetKey and GetCustomers give them. Only members that a
//! report shows are read: never a name of a person, an address or a note.

use super::bounds::MAX_TYPED;
use super::scan::{self, Broken, Scanner, Value};
use super::{BodyError, DecodeFault, Envelope, NOT_JSON, scanned, trimmed};

/// The most keys or customers of one answer that are kept.
const MOST: usize = 100_000;

/// The members of a license key that reports use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LicenseKey {
    /// The number of the key in its product.
    pub id: i64,
    /// The number of the key in the whole service; the Object Log may name it.
    pub global_id: Option<i64>,
    /// The key itself.
    pub key: String,
    /// Unix seconds.
    pub expires: Option<i64>,
    /// True if the vendor blocked it.
    pub is_blocked: bool,
    /// As the API gives it: 0 or less where the number is not limited.
    pub max_machines: Option<i64>,
    /// The number of its customer.
    pub customer_id: Option<i64>,
    /// The company of its customer, where the answer names it.
    pub company: Option<String>,
}

/// A page of GetKeys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LicenseKeyPage {
    /// The keys of the page.
    pub keys: Vec<LicenseKey>,
    /// How many pages there are; none where the answer does not say.
    pub pages: Option<i64>,
}

/// A customer of the vendor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CustomerCompany {
    /// Unique in the account.
    pub id: i64,
    /// The name of the company; empty where it has none.
    pub company: String,
}

/// Reads a page of GetKeys.
///
/// # Errors
/// As [`super::page_within`].
pub fn license_keys(body: &[u8]) -> Result<LicenseKeyPage, BodyError> {
    let mut scanner = Scanner::new(trimmed(body)?);
    let mut pages = None;
    let envelope = scanned(&mut scanner, |name, scanner, envelope: &mut Envelope<Vec<LicenseKey>>| {
        if name.eq_ignore_ascii_case("pageCount") {
            pages = scan::int(scanner.value()?);
            return Ok(true);
        }
        let is_list = name.eq_ignore_ascii_case("licenseKeys") && scanner.take(b'[');
        if is_list {
            envelope.take_list(0, Some(list(scanner, license_key)?));
        }
        Ok(is_list)
    });
    let keys = envelope.map_err(|_| NOT_JSON)?.into_list()?;
    Ok(LicenseKeyPage { keys: keys.into_iter().filter(|key| !key.key.is_empty()).collect(), pages })
}

/// Reads the answer of GetKey.
///
/// # Errors
/// As [`super::page_within`]; also where the answer holds no key.
pub fn one_license_key(body: &[u8]) -> Result<LicenseKey, BodyError> {
    let mut scanner = Scanner::new(trimmed(body)?);
    let envelope = scanned(&mut scanner, |name, scanner, envelope| {
        let is_key = name.eq_ignore_ascii_case("licenseKey") && scanner.peek() == Some(b'{');
        if is_key {
            envelope.take_list(0, license_key(scanner)?);
        }
        Ok(is_key)
    });
    let key: LicenseKey = envelope.map_err(|_| NOT_JSON)?.into_list()?;
    if key.key.is_empty() { Err(BodyError::Fault(DecodeFault::NoList)) } else { Ok(key) }
}

/// Reads the answer of GetCustomers; customers without an id are left out.
///
/// # Errors
/// As [`super::page_within`].
pub fn customers(body: &[u8]) -> Result<Vec<CustomerCompany>, BodyError> {
    let mut scanner = Scanner::new(trimmed(body)?);
    let envelope = scanned(&mut scanner, |name, scanner, envelope| {
        let is_list = name.eq_ignore_ascii_case("customers") && scanner.take(b'[');
        if is_list {
            envelope.take_list(0, Some(list(scanner, customer)?));
        }
        Ok(is_list)
    });
    let mut customers: Vec<CustomerCompany> = envelope.map_err(|_| NOT_JSON)?.into_list()?;
    customers.retain(|customer| customer.id > 0);
    Ok(customers)
}

/// The elements of a list whose opening bracket is consumed.
pub(super) fn list<T>(
    scanner: &mut Scanner<'_>,
    read: impl Fn(&mut Scanner<'_>) -> Result<Option<T>, Broken>,
) -> Result<Vec<T>, Broken> {
    let (mut list, begin) = (Vec::new(), scanner.position());
    while scanner.element()? {
        let element = read(scanner)?;
        if list.len() < MOST && scanner.position().saturating_sub(begin) < 4 * MAX_TYPED {
            list.extend(element);
        }
    }
    Ok(list)
}

/// Reads the members of an object; `None` for anything else.
pub(super) fn object<'a>(
    scanner: &mut Scanner<'a>,
    mut member: impl FnMut(&str, Value<'a>),
) -> Result<Option<()>, Broken> {
    if !scanner.take(b'{') {
        return scanner.value().map(|_| None);
    }
    while let Some(name) = scanner.name()? {
        let (name, value) = (scan::name_text(name), scanner.value()?);
        member(&name.to_ascii_lowercase(), value);
    }
    scanner.closed()?;
    Ok(Some(()))
}

fn license_key(scanner: &mut Scanner<'_>) -> Result<Option<LicenseKey>, Broken> {
    let mut key = LicenseKey::default();
    let is_object = object(scanner, |name, value| match name {
        "id" => key.id = scan::int(value).unwrap_or(0),
        "globalid" => key.global_id = scan::int(value),
        "key" => key.key = scan::as_text(value).unwrap_or_default(),
        "expires" => key.expires = time(value),
        "block" => {
            key.is_blocked = scan::as_text(value).is_some_and(|text| text.eq_ignore_ascii_case("true"))
        }
        "maxnoofmachines" => key.max_machines = scan::int(value),
        "customerid" => key.customer_id = key.customer_id.or(scan::int(value)),
        "customer" => {
            let Value::Nested(bytes, _) = value else { return };
            if let Some(found) = nested_customer(bytes) {
                key.customer_id = Some(found.id);
                key.company = Some(found.company).filter(|company| !company.is_empty());
            }
        }
        _ => {}
    })?;
    Ok(is_object.map(|()| key))
}

/// The customer within a license key.
fn nested_customer(bytes: &[u8]) -> Option<CustomerCompany> {
    // The scanner wants something behind a value.
    let closed = [bytes, b","].concat();
    customer(&mut Scanner::new(&closed)).ok().flatten().filter(|customer| customer.id > 0)
}

fn customer(scanner: &mut Scanner<'_>) -> Result<Option<CustomerCompany>, Broken> {
    let mut customer = CustomerCompany::default();
    let is_object = object(scanner, |name, value| match name {
        "id" => customer.id = scan::int(value).unwrap_or(0),
        "companyname" => customer.company = scan::only_text(value).unwrap_or_default().trim().to_owned(),
        _ => {}
    })?;
    Ok(is_object.map(|()| customer))
}

/// A time: Unix seconds as in the signed form, or a text as in the plain one. Which of them an
/// account gets is not documented.
fn time(value: Value<'_>) -> Option<i64> {
    if let Some(seconds) = scan::int(value) {
        return Some(seconds).filter(|seconds| *seconds > 0);
    }
    let text = scan::only_text(value)?;
    let with_offset = chrono::DateTime::parse_from_rfc3339(&text).map(|time| time.timestamp());
    let naive = || chrono::NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f");
    let date = || chrono::NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let naive = || naive().ok().or_else(date).map(|time| time.and_utc().timestamp());
    with_offset.ok().or_else(naive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_keys_in_every_shape() {
        let body = br#"{"LicenseKeys":[
            {"productId":3349,"Id":7,"key":"A-B","expires":"2026-11-02T10:00:00.5","block":false,"globalId":12,
             "maxNoOfMachines":5,"notes":"call Bob","customer":{"Id":479,"Name":"Bob","CompanyName":" Example Ltd "}},
            {"key":"C-D","expires":1767225600,"block":true,"customer":null,"activatedMachines":[{"mid":"x"}]},
            {"key":null},7
        ],"returned":2,"total":100,"pageCount":2,"result":0,"message":""}"#;
        let page = license_keys(body).unwrap();
        assert_eq!(page.pages, Some(2));
        let first = LicenseKey {
            id: 7,
            global_id: Some(12),
            key: "A-B".to_owned(),
            expires: Some(1_793_613_600),
            is_blocked: false,
            max_machines: Some(5),
            customer_id: Some(479),
            company: Some("Example Ltd".to_owned()),
        };
        assert_eq!(page.keys.len(), 2);
        assert_eq!(page.keys[0], first);
        assert_eq!((page.keys[1].expires, page.keys[1].is_blocked), (Some(1_767_225_600), true));
        for broken in [&body[..40], br#"{"result":1,"message":"Access denied."}"#, b"{}"] {
            assert!(license_keys(broken).is_err());
        }
    }

    #[test]
    fn one_key_and_customers() {
        let body = br#"{"licenseKey":{"id":1,"key":"A","maxNoOfMachines":0},"metadata":null,"result":0}"#;
        assert_eq!(one_license_key(body).unwrap().max_machines, Some(0));
        assert!(one_license_key(br#"{"licenseKey":"base64","result":0}"#).is_err());
        let body = br#"{"customers":[{"id":4,"name":"Bob","companyName":null},{"id":5,"companyName":"X"},{"name":"?"}],"result":0}"#;
        let found: Vec<(i64, String)> =
            customers(body).unwrap().into_iter().map(|customer| (customer.id, customer.company)).collect();
        assert_eq!(found, [(4, String::new()), (5, "X".to_owned())]);
    }
}
