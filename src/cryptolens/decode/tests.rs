use proptest::prelude::*;

use super::*;
use crate::cryptolens::{EventRow, ObjectRow, WebApiRow};

const SAMPLE: &str = r#"{"logs":[
{"id":48210331,"productId":3349,"key":"ICVLD-VVSZR-ZTICT-YKGXL","ip":"81.227.14.0","time":1767225600,"state":2014,"machineCode":"289jf2afs3","friendlyName":"alice-laptop","floatingExpires":1767225900,"doIntValue":0,"doId":0},
{"id":48210360,"productId":3349,"key":"MTMPW-VZERP-JZVNZ-SCPZM","ip":"203.0.113.0","time":1767225750,"state":8010,"machineCode":null,"friendlyName":null,"floatingExpires":0,"doIntValue":5,"doId":70311}
],"result":0,"message":null}"#;

fn rows(body: &str) -> Vec<WebApiRow> {
    page(body.as_bytes()).unwrap().rows
}

fn fault(body: &str) -> BodyError {
    page::<WebApiRow>(body.as_bytes()).unwrap_err()
}

#[test]
fn the_documented_page_is_read() {
    let expected = vec![
        WebApiRow {
            id: 48_210_331,
            product_id: 3349,
            time: Some(1_767_225_600),
            state: Some(2014),
            floating_expires: Some(1_767_225_900),
            do_int_value: Some(0),
        },
        WebApiRow {
            id: 48_210_360,
            product_id: 3349,
            time: Some(1_767_225_750),
            state: Some(8010),
            floating_expires: Some(0),
            do_int_value: Some(5),
        },
    ];
    assert_eq!(rows(SAMPLE), expected);
    assert_eq!(rows(SAMPLE)[0].lease_seconds(), Some(300));
    assert_eq!(rows(SAMPLE)[1].lease_seconds(), None);
}

#[test]
fn names_match_in_any_case_and_the_list_under_any_name() {
    let expected = rows(SAMPLE);
    assert_eq!(rows(&SAMPLE.to_uppercase().replace("NULL", "null")), expected);
    assert_eq!(rows(&SAMPLE.replace("logs", "events")), expected);
    assert_eq!(rows(&SAMPLE.replace("logs", "Objects")), expected);
    assert_eq!(rows(&SAMPLE.replace("\"message\":null", "\"message\":\"\"")), expected);
    assert_eq!(rows(&SAMPLE.replace("productId", "product\\u0049d")), expected);
    assert_eq!(rows(&format!("\u{feff}{SAMPLE}\n")), expected);
    assert_eq!(rows(r#"{"events":null,"logs":[{"id":1}],"objects":[]}"#).len(), 1);
}

#[test]
fn escapes_in_texts_are_resolved() {
    let body = r#"{"events":[{"id":1,"eventName":"caf\u00e9 \ud83d\ude00 \"x\"\n","featureName":"a\\b","value":"25","currency":"USD"}],"result":0}"#;
    let row = &page::<EventRow>(body.as_bytes()).unwrap().rows[0];
    assert_eq!(row.event_name, "café 😀 \"x\"\n");
    assert_eq!(row.feature_name, "a\\b");
    assert_eq!(row.value, Some(25));
}

#[test]
fn half_a_surrogate_pair_spoils_no_row() {
    let body = r#"{"events":[{"id":1,"eventName":"cut \ud83d","currency":"EUR"},{"id":2,"eventName":"\\ud83d \ude00x \ud83d\ude00"}],"result":0}"#;
    let rows = page::<EventRow>(body.as_bytes()).unwrap().rows;
    assert_eq!(rows[0].event_name, "cut \u{fffd}");
    assert_eq!(rows[0].currency, "EUR");
    assert_eq!(rows[1].event_name, "\\ud83d \u{fffd}x 😀");
}

#[test]
fn a_row_is_skipped_only_if_it_has_no_id() {
    let body = r#"{"logs":[{"id":null},{"state":2010},7,null,"x",[{"id":3}],{"id":[4]},{"id":"abc"},
        {"id":9223372036854775808},{"id":1.5},{"id":5},{"id":"6"},{"id":7.0},{"id":9223372036854775807},
        {"id":8,"state":{"a":[1,{}]},"time":true,"productId":null,"doIntValue":1e999,"floatingExpires":"soon"}],"result":0}"#;
    let page = page::<WebApiRow>(body.as_bytes()).unwrap();
    let ids: Vec<i64> = page.rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, [5, 6, 7, i64::MAX, 8]);
    assert_eq!(page.without_id.len(), 10);
    assert_eq!(page.listed(), 15);
    assert_eq!(page.rows[4], WebApiRow::with_id(8));
}

#[test]
fn an_odd_value_costs_its_member_and_nothing_else() {
    let body = r#"{"logs":[{"id":1,"productId":2,"time":1e999,"state":2024},{"id":2,"state":-1e999,"time":10}],"result":0}"#;
    let rows = rows(body);
    assert_eq!(rows[0], WebApiRow { id: 1, product_id: 2, state: Some(2024), ..WebApiRow::default() });
    assert_eq!(rows[1], WebApiRow { id: 2, time: Some(10), ..WebApiRow::default() });
}

#[test]
fn bytes_that_are_no_utf8_cost_no_row() {
    let mut body = br#"{"events":[{"id":1,"eventName":"a"#.to_vec();
    body.extend_from_slice(b"\xff\xfe");
    body.extend_from_slice(br#"b"},{"id":2}],"result":0}"#);
    let rows = page::<EventRow>(&body).unwrap().rows;
    assert_eq!(rows[0].event_name, "a\u{fffd}\u{fffd}b");
    assert_eq!(rows.len(), 2);
}

#[test]
fn what_is_no_page_is_never_an_empty_page() {
    assert_eq!(fault(""), BodyError::Fault(DecodeFault::Empty));
    assert_eq!(fault(" \r\n"), BodyError::Fault(DecodeFault::Empty));
    assert_eq!(fault("<!DOCTYPE html><p>"), BodyError::Fault(DecodeFault::Html));
    assert_eq!(fault("Bad Gateway"), BodyError::Fault(DecodeFault::NotJson));
    assert_eq!(fault("[]"), BodyError::Fault(DecodeFault::NotJson));
    assert_eq!(fault(&SAMPLE[..SAMPLE.len() / 2]), BodyError::Fault(DecodeFault::NotJson));
    assert_eq!(fault(r#"{"logs":[],"result":0} trailing"#), BodyError::Fault(DecodeFault::NotJson));
    assert_eq!(fault(r#"{"result":0,"message":null}"#), BodyError::Fault(DecodeFault::NoList));
    assert_eq!(fault(r#"{"result":0,"logs":null}"#), BodyError::Fault(DecodeFault::NoList));
    assert_eq!(fault(r#"{"result":0,"logs":{}}"#), BodyError::Fault(DecodeFault::NoList));
    assert_eq!(fault("{}"), BodyError::Fault(DecodeFault::NoList));
    let page = page::<WebApiRow>(br#"{"logs":[],"result":0,"message":null}"#).unwrap();
    assert_eq!(page, Page { rows: vec![], without_id: vec![] });
}

#[test]
fn errors_are_told_by_their_message() {
    assert_eq!(fault(r#"{"result":1,"message":"Access denied."}"#), BodyError::Told(ApiError::Denied));
    assert_eq!(fault(r#"{"Result":"1","Message":"access denied"}"#), BodyError::Told(ApiError::Denied));
    assert_eq!(fault(r#"{"result":1}"#), BodyError::Told(ApiError::Api));
    assert_eq!(fault(r#"{"result":1,"message":"?","logs":[]}"#), BodyError::Told(ApiError::Api));
    let server = BodyError::Told(ApiError::Server { status: None, retry_after: None, html: false });
    assert_eq!(fault(r#"{"message":"An error has occurred."}"#), server);
    assert_eq!(fault(r#"{"message":"Unable to authenticate"}"#), BodyError::Told(ApiError::Auth));
}

#[test]
fn the_object_log_is_read() {
    let body = r#"{"events":[{"id":5011,"created":1767225600,"resourceType":3,"resourceAction":2,"affectedObjectId":24966,"performedByUserId":"18","data":"{\"MaxNoOfMachines\":[5,10]}"}],"result":0}"#;
    let expected = ObjectRow {
        id: 5011,
        created: Some(1_767_225_600),
        resource_type: Some(3),
        resource_action: Some(2),
    };
    assert_eq!(page::<ObjectRow>(body.as_bytes()).unwrap().rows, [expected]);
}

#[test]
fn products_keep_id_and_name_only() {
    let body = r#"{"products":[{"id":3349,"name":"Editor \"Pro\"","password":"secret"},{"Id":2,"Name":null},{"name":"x"}],"result":0}"#;
    let expected =
        vec![Product { id: 3349, name: "Editor \"Pro\"".to_owned() }, Product { id: 2, name: String::new() }];
    assert_eq!(products(body.as_bytes()).unwrap(), expected);
    assert_eq!(products(br#"{"logs":[],"result":0}"#), Err(BodyError::Fault(DecodeFault::NoList)));
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map("[a-zA-Z]{1,6}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever stands in the other members, a row with an integer id is read, and its good members with it.
    #[test]
    fn members_are_independent(id in any::<i64>(), odd in prop::collection::vec(any_json(), 5), state in any::<i64>()) {
        let body = serde_json::json!({"logs": [{
            "productId": odd[0], "time": odd[1], "floatingExpires": odd[2], "doIntValue": odd[3], "key": odd[4],
            "id": id, "state": state,
        }], "result": 0});
        let rows = rows(&body.to_string());
        prop_assert_eq!(rows.len(), 1);
        prop_assert_eq!(rows[0].id, id);
        prop_assert_eq!(rows[0].state, Some(state));
    }

    /// A page cut anywhere is an error: no prefix of it counts.
    #[test]
    fn a_cut_page_is_an_error(cut in 0..SAMPLE.len()) {
        prop_assert!(page::<WebApiRow>(&SAMPLE.as_bytes()[..cut]).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = page::<EventRow>(&body);
        let _ = products(&body);
    }

    /// Both ways of reading a row agree where both can read it.
    #[test]
    fn the_careful_way_agrees_with_the_fast_one(value in any_json(), id in any::<i64>()) {
        let fast = serde_json::json!({"events": [{"id": id, "eventName": value, "value": value}], "result": 0}).to_string();
        let careful = fast.replace("\"result\":0", "\"result\":0,\"x\":1").replacen("{\"eventName\"", "{\"time\":1e999,\"eventName\"", 1);
        prop_assert_eq!(
            page::<EventRow>(fast.as_bytes()).unwrap().rows,
            page::<EventRow>(careful.as_bytes()).unwrap().rows
        );
    }
}

#[test]
fn the_seats_of_a_key() {
    let body =
        br#"{"LicenseKey":{"id":1,"key":"A","maxNoOfMachines":5},"metadata":null,"result":0,"message":""}"#;
    assert_eq!(max_machines(body), Ok(5));
    let told = br#"{"licenseKey":null,"result":1,"message":"Access denied."}"#;
    assert_eq!(max_machines(told), Err(BodyError::Told(ApiError::Denied)));
    for odd in [
        &br#"{"result":0}"#[..],
        br#"{"licenseKey":{"id":1},"result":0}"#,
        br#"{"licenseKey":[],"result":0}"#,
        b"[]",
    ] {
        assert_eq!(max_machines(odd), Err(BodyError::Fault(DecodeFault::NoList)));
    }
    assert_eq!(max_machines(b"{"), Err(BodyError::Fault(DecodeFault::NotJson)));
}

#[test]
fn the_last_row_can_be_peeked_at() {
    let id = |body: &str| last_row::<WebApiRow>(body.as_bytes()).map(|row| row.id);
    assert_eq!(id(SAMPLE), Some(48_210_360));
    assert_eq!(id(r#"{"logs":[],"result":0}"#), None);
    assert_eq!(id(r#"{"logs":[{"id":1,"friendlyName":"a{b"}]}"#), None);
    assert_eq!(id("<html>"), None);
}
