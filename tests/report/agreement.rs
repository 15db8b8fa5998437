//! What a document says twice, it says with the same number: figures, titles and headlines against the
//! rows of their tables.

use cryptolens_simulator::LicenseTerms;
use serde_json::{Value, json};

use super::incident::{block, item, key, logs, requests};
use super::stub::{Logs, Stub};
use super::{MONDAY, shown};

/// The morning of `incident` with requests that name no machine or no key, seats that are refused, and
/// changes by nobody.
fn stub() -> Stub {
    let mut rows = requests();
    for (number, row) in rows.iter_mut().enumerate() {
        if number % 7 == 0 {
            row["machineCode"] = Value::Null;
        }
        if number % 50 == 1 {
            row["key"] = Value::Null;
        }
    }
    let seat = |number: i64| {
        json!({
            "id": 90_000 + number, "productId": 3349, "key": key(usize::try_from(6 + number % 3).unwrap()),
            "time": MONDAY + 10 * 3600 + number * 400, "state": if number % 4 == 0 { 2014 } else { 2024 },
            "machineCode": if number % 5 == 0 { Value::Null } else { format!("canary-{}", number % 3).into() },
            "floatingExpires": MONDAY + 86_400,
        })
    };
    rows.extend((0..40).map(seat));
    let change = |number: i64| {
        let user = if number % 4 == 0 { Value::Null } else { format!("{}", 20 + number % 2).into() };
        json!({
            "id": 70 + number, "created": MONDAY + number * 3600, "resourceType": 3 + number % 3,
            "resourceAction": 1 + number % 3, "affectedObjectId": 3349, "performedByUserId": user,
            "data": r#"{"MaxNoOfMachines":[4,5]}"#,
        })
    };
    let mut logs = Logs { requests: rows, ..logs() };
    logs.objects.extend((0..20).map(change));
    logs.details.push((
        3349,
        "CNARY-SPARE-LICEN-SEATX".to_owned(),
        LicenseTerms { seats: 3, ..LicenseTerms::default() },
    ));
    Stub::start(logs)
}

fn report(stub: &Stub, words: &str) -> Value {
    let words: Vec<&str> = words.split(' ').chain(["--day=2026-01-05", "--format=json"]).collect();
    serde_json::from_str(&shown(stub, &words)).unwrap()
}

fn rows<'a>(report: &'a Value, table: &str) -> &'a Vec<Value> {
    block(report, table)["rows"].as_array().unwrap_or_else(|| panic!("no table {table}"))
}

fn sum(report: &Value, table: &str, column: &str) -> u64 {
    rows(report, table).iter().map(|row| row[column].as_u64().unwrap_or(0)).sum()
}

/// The figure, and the table with as many rows, or the column with the same sum.
type SameNumber<'a> = (&'a str, &'a str, Option<&'a str>);

#[test]
fn a_figure_and_its_table_agree_in_every_document() {
    let stub = stub();
    let customer = format!("report customer {}", key(0));
    let reports: [(&str, &[SameNumber]); 5] = [
        ("report incident", &[("customers_hit", "customers", None)]),
        (&customer, &[("machines", "machines", None)]),
        (
            "report summary",
            &[
                ("requests", "products", Some("requests")),
                ("active_keys", "products", Some("active_keys")),
                ("refusals", "seat_limits", Some("refused")),
            ],
        ),
        (
            "report changes",
            &[
                ("changes", "changes", None),
                ("changes", "users", Some("entries")),
                ("changes", "resources", Some("entries")),
                ("added", "users", Some("added")),
            ],
        ),
        ("audit seats --product=3349", &[("refusals", "keys", Some("refused"))]),
    ];
    for (words, same) in reports {
        let report = report(&stub, words);
        for (figure, table, column) in same {
            let value = item(&report, "figures", figure)["value"].as_u64().unwrap();
            let of_table = match column {
                Some(column) => sum(&report, table, column),
                None => u64::try_from(rows(&report, table).len()).unwrap(),
            };
            assert!(value > 0, "{words}: {figure} is 0, which shows nothing");
            assert_eq!(value, of_table, "{words}: {figure} and {table}");
        }
        let blocks = report["blocks"].as_array().unwrap();
        for table in blocks.iter().filter(|block| block["type"] == "table") {
            let title = table["title"].as_str().unwrap();
            let number =
                title.strip_suffix(')').and_then(|title| title.rsplit_once('(')).map(|(_, number)| number);
            if let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) {
                assert_eq!(number, table["rows"].as_array().unwrap().len(), "{words}: {title}");
            }
        }
    }
}
