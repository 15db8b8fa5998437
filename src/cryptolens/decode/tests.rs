use proptest::prelude::*;

use super::*;
use crate::cryptolens::{EventRow, IdentityHash, ObjectRow, WebApiRow};

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
            ..WebApiRow::default()
        },
        WebApiRow {
            id: 48_210_360,
            product_id: 3349,
            time: Some(1_767_225_750),
            state: Some(8010),
            floating_expires: Some(0),
            do_int_value: Some(5),
            ..WebApiRow::default()
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
        {"id":9223372036854775808},{"id":1.5},{"id":5},{"id":"6"},{"id":7.0},{"id":9007199254740992},
        {"id":8,"state":{"a":[1,{}]},"time":true,"productId":null,"doIntValue":1e999,"floatingExpires":"soon"}],"result":0}"#;
    let page = page::<WebApiRow>(body.as_bytes()).unwrap();
    let ids: Vec<i64> = page.rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, [5, 6, 7, 1 << 53, 8]);
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
fn errors_are_classified_by_their_message() {
    assert_eq!(fault(r#"{"result":1,"message":"Access denied."}"#), BodyError::Reported(ApiError::Denied));
    assert_eq!(fault(r#"{"Result":"1","Message":"access denied"}"#), BodyError::Reported(ApiError::Denied));
    assert_eq!(fault(r#"{"result":1}"#), BodyError::Reported(ApiError::Api));
    assert_eq!(fault(r#"{"result":1,"message":"?","logs":[]}"#), BodyError::Reported(ApiError::Api));
    let server = BodyError::Reported(ApiError::Server { status: None, retry_after: None, html: false });
    assert_eq!(fault(r#"{"message":"An error has occurred."}"#), server);
    assert_eq!(fault(r#"{"message":"Unable to authenticate"}"#), BodyError::Reported(ApiError::Auth));
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

/// Pieces of JSON, and bytes that are none, to damage a page with.
const PIECES: [&[u8]; 36] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"1",
    b"-0",
    b"007",
    b"1.0",
    b"1e3",
    b"9007199254740993",
    b"99999999999999999999",
    b"\"id\":",
    b"\"ID\":\"5\"",
    b"\"x\":{\"id\":3}",
    b"\\u00e9",
    b"\\ud83d",
    b"\\q",
    b"\x01",
    b"\xff",
    b" ",
    b"\n",
    b"\x0c",
    b"\"time\":-5",
    b"\"logs\":[",
    b"\"events\":[]",
    b"\"result\":1",
    b"\"message\":\"Access denied\"",
    b"{\"id\":7}",
    b"\"eventName\":\"caf\xc3\xa9\"",
    b"\"currency\":null",
];

const EVENTS: &str = r#"{"events":[
{"id":7,"productId":3349,"key":"ICVLD","machineCode":"m1","featureName":"export","eventName":"used","value":25,"currency":"USD","time":1767225600,"metadata":"{\"a\":1}"},
{"id":9,"productId":3349,"key":"ICVLD","machineCode":null,"featureName":"","eventName":"opened","value":0,"currency":null,"time":1767225700,"metadata":null}
],"result":0,"message":""}"#;

/// True if the shortcut gives no page, or the same as the scanner.
fn shortcut_agrees<R: Row + PartialEq + fmt::Debug>(body: &[u8], limit: u16) -> bool {
    let Ok(body) = trimmed(body) else { return true };
    [None, Some(&Lengths as &dyn IdentityHasher)].into_iter().all(|hasher| {
        let Some(envelope) = plain::page::<R>(body, limit, hasher) else { return true };
        let page = |kept: Kept<R>| kept.page().ok_or(BodyError::Fault(DecodeFault::Order));
        envelope.into_list().and_then(page) == scanned_with(body, limit, hasher)
    })
}

/// Gives each identity a number that shows its kind and its text.
#[derive(Debug)]
struct Lengths;

impl IdentityHasher for Lengths {
    fn hash(&self, kind: HashedKind, text: &str) -> Option<IdentityHash> {
        let base = if kind == HashedKind::Machine { 1_000_000 } else { 0 };
        let sum: u64 = text.bytes().map(u64::from).sum();
        (!text.is_empty()).then(|| IdentityHash::new(base + sum))
    }
}

#[test]
fn identities_are_hashed_where_they_are_read_and_nowhere_else() {
    let row = |members: &str, hasher: Option<&dyn IdentityHasher>| {
        let body = format!(r#"{{"logs":[{{"id":7,{members}}}],"result":0}}"#);
        let row = page_with_hashes::<WebApiRow>(body.as_bytes(), 1000, hasher).unwrap().rows.remove(0);
        [row.license_key, row.machine].map(|hash| hash.map(IdentityHash::get))
    };
    let on = |members: &str| row(members, Some(&Lengths));
    let usual = r#""key":"A","machineCode":"B""#;
    assert_eq!(on(usual), [Some(65), Some(1_000_066)]);
    assert_eq!(row(usual, None), [None, None], "without a hasher");
    assert_eq!(on(r#""Key":"\u0041","MACHINECODE":"B""#), [Some(65), Some(1_000_066)], "with an escape");
    assert_eq!(on(r#""key":1,"machineCode":null"#), [Some(49), None], "a number as it is written");
    assert_eq!(on(r#""key":"","friendlyName":"B""#), [None, None]);
    let body = EVENTS.as_bytes();
    assert_eq!(page_with_hashes::<EventRow>(body, 100, Some(&Lengths)), page::<EventRow>(body));
}

#[test]
fn the_usual_pages_take_the_shortcut() {
    assert!(plain::page::<WebApiRow>(SAMPLE.as_bytes(), 1000, None).is_some());
    assert!(plain::page::<EventRow>(EVENTS.as_bytes(), 100, None).is_some());
    let odd = SAMPLE.replace("3349", "\"3349\"");
    assert!(plain::page::<WebApiRow>(odd.as_bytes(), 1000, None).is_none(), "a number as a text is unusual");
    assert_eq!(rows(&odd), rows(SAMPLE));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// However a page is damaged, the shortcut gives the page of the scanner or none.
    #[test]
    fn the_shortcut_gives_the_page_of_the_scanner_or_none(
        events in any::<bool>(),
        limit in 1u16..4,
        damages in prop::collection::vec(
            (any::<prop::sample::Index>(), 0usize..12, any::<prop::sample::Index>()),
            0..4,
        ),
    ) {
        let mut body = if events { EVENTS } else { SAMPLE }.as_bytes().to_vec();
        for (at, removed, piece) in damages {
            let at = at.index(body.len());
            let end = (at + removed).min(body.len());
            body.splice(at..end, piece.get(&PIECES).iter().copied());
        }
        let shown = String::from_utf8_lossy(&body);
        prop_assert!(shortcut_agrees::<WebApiRow>(&body, limit), "{shown}");
        prop_assert!(shortcut_agrees::<EventRow>(&body, limit), "{shown}");
        prop_assert!(shortcut_agrees::<ObjectRow>(&body, limit), "{shown}");
    }
}

proptest! {
    /// A row with an integer id is read whatever its other members hold, and its good members
    /// with it.
    #[test]
    fn members_are_independent(id in i64::MIN..=MAX_ID, odd in prop::collection::vec(any_json(), 5), state in any::<i64>()) {
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
}

#[test]
fn the_seats_of_a_key() {
    let body =
        br#"{"LicenseKey":{"id":1,"key":"A","maxNoOfMachines":5},"metadata":null,"result":0,"message":""}"#;
    assert_eq!(max_machines(body), Ok(5));
    let refused = br#"{"licenseKey":null,"result":1,"message":"Access denied."}"#;
    assert_eq!(max_machines(refused), Err(BodyError::Reported(ApiError::Denied)));
    for odd in [
        &br#"{"result":0}"#[..],
        br#"{"licenseKey":{"id":1},"result":0}"#,
        br#"{"licenseKey":[],"result":0}"#,
    ] {
        assert_eq!(max_machines(odd), Err(BodyError::Fault(DecodeFault::NoList)));
    }
    for odd in [&b"{"[..], b"[]", br#"{"licenseKey":{"maxNoOfMachines":5"#] {
        assert_eq!(max_machines(odd), Err(BodyError::Fault(DecodeFault::NotJson)));
    }
}

#[test]
fn the_last_row_can_be_peeked_at() {
    let id = |body: &str| last_row::<WebApiRow>(body.as_bytes()).map(|row| row.id);
    assert_eq!(id(SAMPLE), Some(48_210_360));
    assert_eq!(id(r#"{"logs":[],"result":0}"#), None);
    assert_eq!(id(r#"{"logs":[{"id":1,"friendlyName":"a{b"}]}"#), None);
    assert_eq!(id("<html>"), None);
}

/// Reads a page by the scanner, whether or not the typed parser could.
fn scanned<R: Row>(body: &[u8], limit: u16) -> Result<Page<R>, BodyError> {
    scanned_with(body, limit, None)
}

fn scanned_with<R: Row>(
    body: &[u8],
    limit: u16,
    hasher: Option<&dyn IdentityHasher>,
) -> Result<Page<R>, BodyError> {
    let envelope = scanned_page(trimmed(body)?, limit, hasher)?;
    envelope.into_list()?.page().ok_or(BodyError::Fault(DecodeFault::Order))
}

/// Reads a page by the typed parser alone; `None` where it can't.
fn typed<R: Row>(body: &str, limit: u16) -> Option<Result<Page<R>, BodyError>> {
    let envelope = typed_page(body.trim_ascii(), limit).ok()?;
    let page = |kept: Kept<R>| kept.page().ok_or(BodyError::Fault(DecodeFault::Order));
    Some(envelope.into_list().and_then(page))
}

fn page_of_rows(rows: &[&str]) -> String {
    format!(r#"{{"logs":[{}],"result":0,"message":null}}"#, rows.join(",\n"))
}

fn ids(body: &[u8]) -> Vec<i64> {
    page::<WebApiRow>(body).unwrap().rows.iter().map(|row| row.id).collect()
}

/// Issue 9, line 14: each of these rows stopped its log for ever.
#[test]
fn a_row_that_is_not_json_counts() {
    let odd_members: [&[u8]; 22] = [
        b"\"friendlyName\":\"a\nb\tc\x01\"",
        br#""friendlyName":"C:\queue \x41 \u12""#,
        br#""machineCode":"cut \ud83d""#,
        b"\"key\":\"\xff\xfe\xe2\x28\"",
        br#""doIntValue":NaN"#,
        br#""doIntValue":-Infinity"#,
        br#""doIntValue":undefined"#,
        br#""doIntValue":"#,
        br#""doIntValue":0x1F"#,
        br#""doIntValue":+7e"#,
        br#""doIntValue":1,5"#,
        br#""doIntValue":True"#,
        br#""doIntValue":'single'"#,
        br#""x":[1,2,],"y":{"z":1,},"#,
        br#""x":1,,"y":2"#,
        br#""a\qb":1"#,
        br#""friendlyName":"},{""#,
        br#""friendlyName":"}],\"result\":0}""#,
        // Damaged quotes.
        br#""friendlyName":"Bob "the builder" Smith""#,
        br#""friendlyName":"a 5" disk""#,
        br#""friendlyName":"C:\Users\""#,
        br#""friendlyName":"no end"#,
    ];
    for member in odd_members {
        for comes_last in [false, true] {
            let shown = String::from_utf8_lossy(member).into_owned();
            let mut body = br#"{"logs":[{"id":1,"state":2010},{"id":2,"time":7,"state":2014,"#.to_vec();
            body.extend_from_slice(member);
            body.extend_from_slice(if comes_last { b"}" } else { b"},{\"id\":3,\"state\":2024}" });
            body.extend_from_slice(br#"],"result":0,"message":null}"#);
            let page = page::<WebApiRow>(&body).unwrap_or_else(|error| panic!("{shown}: {error:?}"));
            let states: Vec<_> = page.rows.iter().map(|row| (row.id, row.state)).collect();
            let mut expected = vec![(1, Some(2010)), (2, Some(2014)), (3, Some(2024))];
            expected.truncate(if comes_last { 2 } else { 3 });
            assert_eq!(states, expected, "{shown}");
            assert_eq!(page.rows[1].time, Some(7), "{shown}");
            assert_eq!(page.without_id, [], "{shown}");
        }
    }
}

#[test]
fn a_row_without_a_readable_state_or_time_counts_as_unknown() {
    let body = br#"{"logs":[{"id":1,"state":NaN,"time":Infinity,"floatingExpires":5},{"id":2,"time":-1},{"id":3,"time":0}],"result":0}"#;
    let rows = page::<WebApiRow>(body).unwrap().rows;
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!((row.state, row.time, row.lease_seconds()), (None, None, None));
        assert_eq!(crate::cryptolens::state_code::classify(row.state).0.name(), "unknown");
    }
}

/// A damaged row whose id stands behind the damage.
#[test]
fn the_id_behind_a_damage_is_found_if_there_is_only_one() {
    let body = |row: &str| page_of_rows(&[r#"{"id":1}"#, row, r#"{"id":9}"#]);
    assert_eq!(ids(body(r#"{"x":"a"b","ID" : "2","state":2010}"#).as_bytes()), [1, 2, 9]);
    let two = page::<WebApiRow>(body(r#"{"x":"a"b","y":{"id":7},"id":2}"#).as_bytes()).unwrap();
    assert_eq!((two.rows.len(), two.without_id), (2, vec![Some(1)]));
}

#[test]
fn an_id_that_no_float_holds_is_no_id() {
    let body = r#"{"logs":[{"id":9007199254740992},{"id":9007199254740993},{"id":9223372036854775807},{"id":"9223372036854775807"}],"result":0}"#;
    for page in [page::<WebApiRow>(body.as_bytes()), scanned(body.as_bytes(), 1000)] {
        let page = page.unwrap();
        assert_eq!((page.rows.len(), page.without_id.len()), (1, 3));
    }
}

/// A row in which two quotes are wrong, so that a text holds bytes that look like another row.
#[test]
fn a_damaged_row_never_swallows_another() {
    for last in [r#""x":"abc"#, r#""x":"abc\"#, r#""x":[{"a":1"#, r#""x":{"#, r#""x":["#] {
        let damaged = format!(r#"{{"id":2,{last}}}"#);
        let body = page_of_rows(&[r#"{"id":1}"#, &damaged, r#"{"id":3}"#, r#"{"id":4}"#]);
        if let Ok(page) = page::<WebApiRow>(body.as_bytes()) {
            let ids: Vec<i64> = page.rows.iter().map(|row| row.id).collect();
            assert!(ids.ends_with(&[3, 4]) && ids.starts_with(&[1]), "{last}: {ids:?}");
        }
    }
}

/// A part of a damaged row could be taken for the rest of the page, were its end not looked for as
/// far as the end of the answer.
#[test]
fn a_part_of_a_damaged_row_is_no_row() {
    let damaged = r#"{"id":2,"x":"a"b","y":[{"z":1},{"id":7}],"state":1}"#;
    let body = page_of_rows(&[r#"{"id":1}"#, damaged, r#"{"id":3}"#]);
    let page = page::<WebApiRow>(body.as_bytes());
    assert!(page.is_err() || page.is_ok_and(|page| page.rows.iter().all(|row| row.id != 7)));
}

/// A body that is damaged and cut short as well, at a place where its brackets happen to be closed.
#[test]
fn a_cut_page_is_an_error_where_a_row_is_damaged_too() {
    let body = r#"{"logs":[{"id":1,"n":"a"b"},{"id":2,"a":{"x":[{"b":1},{"id":3}],"d":1},"e":0}],"result":0,"message":null}"#;
    assert_eq!(ids(body.as_bytes()), [1, 2]);
    for cut in 0..body.len() {
        assert!(page::<WebApiRow>(&body.as_bytes()[..cut]).is_err(), "{}", &body[..cut]);
    }
    // An inner list that ends just as the list of rows would.
    let body = r#"{"logs":[{"id":1,"x":"a"b","a":{"y":[{"b":1},{"id":3}],"d":1}"#;
    assert!(page::<WebApiRow>(body.as_bytes()).is_err());
}

/// Issue 9, line 17.
#[test]
fn numbers_and_objects_are_taken_where_a_text_is_documented() {
    let body = r#"{"events":[
        {"id":1,"eventName":42,"featureName":-1.50,"currency":true,"value":"7"},
        {"id":2,"eventName":{"a": [1, "\u00e9"]},"featureName":[],"currency":null},
        {"id":3,"eventName":18446744073709551616,"featureName":"","currency":false},
        {"id":4,"eventName":NaN,"featureName":undefined}],"result":0}"#;
    let rows = page::<EventRow>(body.as_bytes()).unwrap().rows;
    let texts: Vec<_> =
        rows.iter().map(|row| (&*row.event_name, &*row.feature_name, &*row.currency)).collect();
    let expected = [
        ("42", "-1.50", "true"),
        (r#"{"a": [1, "\u00e9"]}"#, "[]", ""),
        ("18446744073709551616", "", "false"),
        ("", "", ""),
    ];
    assert_eq!(texts, expected);
    let named =
        products(br#"{"products":[{"id":"5","name":2000},{"id":6,"name":{"en":"x"}}],"result":0}"#).unwrap();
    let names: Vec<_> = named.iter().map(|product| (product.id, &*product.name)).collect();
    assert_eq!(names, [(5, "2000"), (6, r#"{"en":"x"}"#)]);
    assert_eq!(max_machines(br#"{"licenseKey":{"maxNoOfMachines":"5","notes":"\q"},"result":"0"}"#), Ok(5));
}

/// Issue 9, line 12.
#[test]
fn of_a_long_text_and_of_deep_nesting_nothing_is_kept_and_the_row_counts() {
    let event = |name: &str| format!(r#"{{"events":[{{"id":1,"eventName":{name},"value":3}}],"result":0}}"#);
    let kept = |name: &str| {
        let row = page::<EventRow>(event(name).as_bytes()).unwrap().rows.remove(0);
        assert_eq!((row.id, row.value), (1, Some(3)));
        row.event_name.len()
    };
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(kept(&nested(64)), 128);
    assert_eq!(kept(&nested(65)), 0);
    assert_eq!(kept(&nested(1_000_000)), 0);
    for (long, is_kept) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        let plain = format!("\"{}\"", "x".repeat(long));
        let escaped = format!("\"\\n{}\"", "x".repeat(long - 1));
        for name in [plain, escaped] {
            assert_eq!(kept(&name) > 0, is_kept);
            let scanned = scanned::<EventRow>(event(&name).as_bytes(), 100).unwrap();
            assert_eq!(!scanned.rows[0].event_name.is_empty(), is_kept);
        }
    }
    assert_eq!(kept(&"9".repeat(2 << 20)), 0);
}

/// Issue 9, line 12: 16.7 million zeros took 1.58 GB.
#[test]
fn a_list_is_stopped_at_twice_the_limit() {
    let list = |elements: &[String]| format!(r#"{{"logs":[{}],"result":0}}"#, elements.join(","));
    let rows =
        |ids: &mut dyn Iterator<Item = i64>| ids.map(|id| format!(r#"{{"id":{id}}}"#)).collect::<Vec<_>>();
    let read = |elements: &[String], limit| {
        let body = list(elements);
        let page = page_within::<WebApiRow>(body.as_bytes(), limit);
        assert_eq!(page, scanned(body.as_bytes(), limit));
        page
    };
    let zeros = vec!["0".to_owned(); 100_000];
    let page = read(&zeros, 1000).unwrap();
    assert_eq!((page.rows.len(), page.without_id.len()), (0, 2000), "full, and no empty page");
    // Rows behind an element that is no row are not lost.
    let mut mixed = zeros.clone();
    mixed.extend(rows(&mut (1..=3)));
    assert_eq!(read(&mixed, 10).unwrap().rows.len(), 3);
    // The rest of an ascending (or descending) list is asked for with the next request.
    let page = read(&rows(&mut (1..=50)), 10).unwrap();
    assert_eq!((page.rows.len(), page.rows[19].id), (20, 20));
    let page = read(&rows(&mut (1..=50).rev()), 10).unwrap();
    assert_eq!((page.rows.len(), page.rows[19].id), (20, 31));
    // Rows that the next request would jump over.
    let jumping = rows(&mut (10..=40).chain([5]));
    assert_eq!(read(&jumping, 10), Err(BodyError::Fault(DecodeFault::Order)));
    // Kept rows may come again.
    assert_eq!(read(&rows(&mut (1..=40).chain([5, 7])), 10).unwrap().rows.len(), 20);
}

#[test]
fn texts_of_a_page_are_bounded_and_the_rest_is_asked_for_later() {
    let text = "x".repeat(1 << 20);
    let rows: Vec<String> = (1..=20).map(|id| format!(r#"{{"id":{id},"eventName":"{text}"}}"#)).collect();
    let body = format!(r#"{{"events":[{}],"result":0}}"#, rows.join(","));
    let page = page::<EventRow>(body.as_bytes()).unwrap();
    let ids: Vec<i64> = page.rows.iter().map(|row| row.id).collect();
    assert!(ids.len() >= 8 && ids.len() < 12, "{}", ids.len());
    assert!(ids.iter().copied().eq(1..=i64::try_from(ids.len()).unwrap()));
}

#[test]
fn a_beginning_shows_whether_it_is_that_of_a_page() {
    assert!(opens_a_list(br#" {"message":null,"result":0,"logs":[{"id":1,"x":"aaaa"#));
    assert!(opens_a_list(br#"{"Events":[{"#));
    for no_page in [
        &br#"{"result":1,"message":"aaaaaa"#[..],
        br#"{"message":"aaaaaa"#,
        br#"{"result":1,"logs":["#,
        br#"{"logs":null,"x":["#,
        b"<html>",
        b"[{",
        b"",
    ] {
        assert!(!opens_a_list(no_page), "{}", String::from_utf8_lossy(no_page));
    }
}

fn any_row() -> impl Strategy<Value = serde_json::Value> {
    let names = prop::sample::select(vec![
        "id",
        "ID",
        "productId",
        "time",
        "state",
        "floatingExpires",
        "doIntValue",
        "eventName",
        "featureName",
        "value",
        "currency",
        "created",
        "resourceType",
        "resourceAction",
        "x",
        "data",
    ]);
    let members = prop::collection::vec((names, any_json()), 0..6);
    let row = (prop::option::weighted(0.9, 1i64..1_000_000), members).prop_map(|(id, members)| {
        let mut row = serde_json::Map::new();
        members.into_iter().for_each(|(name, value)| drop(row.insert(name.to_owned(), value)));
        if let Some(id) = id {
            row.insert("id".to_owned(), id.into());
        }
        serde_json::Value::Object(row)
    });
    prop_oneof![9 => row, 1 => any_json()]
}

fn any_page() -> impl Strategy<Value = Vec<String>> {
    let shown = (any_row(), any::<bool>())
        .prop_map(|(row, is_wide)| if is_wide { format!("{row:#}") } else { row.to_string() });
    prop::collection::vec(shown, 0..8)
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(usize, u8),
    Insert(usize, u8),
    Remove(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(br#""\{}[],: 0x"#.to_vec())];
    prop_oneof![
        (any::<usize>(), byte()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<usize>(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<usize>().prop_map(Mutation::Remove),
    ]
}

fn mutate(row: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        if row.is_empty() {
            return;
        }
        match *mutation {
            Mutation::Set(at, byte) => {
                let at = at % row.len();
                row[at] = byte;
            }
            Mutation::Insert(at, byte) => row.insert(at % (row.len() + 1), byte),
            Mutation::Remove(at) => drop(row.remove(at % row.len())),
        }
    }
}

/// Rows like those of the three logs, as applications fill them.
fn fixture_row(id: usize) -> String {
    let texts = ["alice-laptop", r#"a \"quoted\" {name}, [x]: y"#, r"C:\\dir\\", "},{", "żółć 😀"];
    let (text, state) = (texts[id % texts.len()], 2010 + id % 5);
    format!(
        r#"{{"id":{id},"productId":3349,"key":"K-{id}","time":{},"state":{state},"machineCode":"{text}","x":{{"l":[{{"a":1}},{{"b":"{text}"}}]}},"friendlyName":"{text}","floatingExpires":0,"doIntValue":0}}"#,
        1_767_225_600 + id
    )
}

proptest! {
    /// Wherever the typed parser can read a page, the scanner reads the same.
    #[test]
    fn the_scanner_agrees_with_the_typed_parser(rows in any_page(), limit in prop_oneof![Just(1u16), Just(2), Just(1000)]) {
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let body = page_of_rows(&rows);
        if let Some(typed) = typed::<WebApiRow>(&body, limit) {
            prop_assert_eq!(scanned::<WebApiRow>(body.as_bytes(), limit), typed);
        }
        if let Some(typed) = typed::<EventRow>(&body, limit) {
            prop_assert_eq!(scanned::<EventRow>(body.as_bytes(), limit), typed);
        }
        if let Some(typed) = typed::<ObjectRow>(&body, limit) {
            prop_assert_eq!(scanned::<ObjectRow>(body.as_bytes(), limit), typed);
        }
        prop_assert!(scanned::<EventRow>(body.as_bytes(), limit).is_ok() || limit < 1000);
    }

    /// No beginning of a valid page is a page, whichever way it is read.
    #[test]
    fn a_page_cut_anywhere_is_an_error(rows in any_page(), cut in any::<prop::sample::Index>()) {
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let body = page_of_rows(&rows);
        let cut = cut.index(body.len());
        prop_assert!(page::<EventRow>(&body.as_bytes()[..cut]).is_err());
        prop_assert!(scanned::<EventRow>(&body.as_bytes()[..cut], 100).is_err());
    }

    /// If the bytes of one row are damaged, the others are read as they are, or the page is
    /// refused.
    #[test]
    fn damage_to_one_row_changes_no_other(
        damaged in 0usize..5,
        mutations in prop::collection::vec(mutation(), 1..8),
    ) {
        let mut rows: Vec<Vec<u8>> = (1..=5).map(|id| fixture_row(id * 10).into_bytes()).collect();
        mutate(&mut rows[damaged], &mutations);
        let mut body = br#"{"logs":["#.to_vec();
        body.extend(rows.join(&b","[..]));
        body.extend_from_slice(br#"],"result":0,"message":null}"#);
        if let Ok(page) = page::<WebApiRow>(&body) {
            let others = |id: i64| id % 10 == 0 && (1..=5).contains(&(id / 10)) && id != (damaged as i64 + 1) * 10;
            let read: Vec<_> = page.rows.into_iter().filter(|row| others(row.id)).collect();
            let undamaged: Vec<String> = (1..=5).filter(|number| *number != damaged + 1).map(|number| fixture_row(number * 10)).collect();
            let undamaged: Vec<&str> = undamaged.iter().map(String::as_str).collect();
            let expected = typed::<WebApiRow>(&page_of_rows(&undamaged), 1000).unwrap().unwrap().rows;
            // A mutation may have given the damaged row the id of another.
            let read: Vec<_> = read.into_iter().filter(|row| expected.contains(row)).collect();
            prop_assert_eq!(read, expected);
        }
    }

    /// One wrong byte in a text makes no page unreadable.
    #[test]
    fn damage_within_a_text_refuses_no_page(damaged in 0usize..5, byte in any::<u8>(), at in 0usize..12) {
        let mut rows: Vec<Vec<u8>> = (0..5).map(|_| fixture_row(50).into_bytes()).collect();
        for (index, row) in rows.iter_mut().enumerate() {
            *row = fixture_row(index * 5 + 5).into_bytes();
        }
        let text = rows[damaged].windows(12).rposition(|bytes| bytes == b"alice-laptop").unwrap();
        rows[damaged][text + at] = byte;
        let mut body = br#"{"logs":["#.to_vec();
        body.extend(rows.join(&b","[..]));
        body.extend_from_slice(br#"],"result":0,"message":null}"#);
        let page = page::<WebApiRow>(&body).unwrap();
        prop_assert_eq!(page.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [5, 10, 15, 20, 25]);
        prop_assert!(page.rows.iter().all(|row| row.state.is_some() && row.time.is_some()));
    }
}
