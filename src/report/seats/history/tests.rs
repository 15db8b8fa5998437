use proptest::prelude::*;

use super::*;
use crate::report::zone::Zone;

const WINDOW: Window = Window { from: 100, to: 200, zone: Zone::UTC };

fn lease(id: i64, time: i64, machine: &str, expires: i64) -> SeatRow {
    row(id, time, Some(machine), What::Lease { expires: Some(expires), overdraft: false })
}

fn row(id: i64, time: i64, machine: Option<&str>, what: What) -> SeatRow {
    SeatRow { id, time, what, machine: machine.map(Rc::from), name: None }
}

fn actions(history: &History) -> Vec<(i64, Action, u64)> {
    history.entries.iter().map(|entry| (entry.time, entry.action, entry.used)).collect()
}

/// The vendor's tool calls the second one a verification, and loses the gap.
#[test]
fn who_comes_back_after_the_lease_ended_activates() {
    let history = History::new(vec![lease(1, 110, "a", 120), lease(2, 130, "a", 140)], Some(2), WINDOW);
    assert_eq!(
        actions(&history),
        [
            (110, Action::Activation, 1),
            (120, Action::Expiry, 0),
            (130, Action::Activation, 1),
            (140, Action::Expiry, 0)
        ]
    );
    assert_eq!(history.steps, [(100, 0), (110, 1), (120, 0), (130, 1), (140, 0)]);
}

/// At that second the vendor's tool has the seat neither held nor free.
#[test]
fn a_lease_is_over_in_the_second_in_which_it_ends() {
    let rows = vec![lease(1, 110, "a", 120), row(2, 120, Some("b"), What::Refusal)];
    let history = History::new(rows, Some(1), WINDOW);
    assert_eq!(history.entries[1].action, Action::Expiry);
    assert_eq!(history.free(history.entries[2].used), Some(1));
    assert_eq!(history.refusals_with_free_seats(), 1);
}

/// The vendor's tool looks back 10,000 s at most, and shows what was before the window.
#[test]
fn long_leases_reach_into_the_window_and_old_rows_do_not_show() {
    let rows = vec![
        lease(1, -50_000, "a", 150),
        row(2, 50, Some("b"), What::Refusal),
        row(3, 60, Some("c"), What::Release),
        row(4, 70, Some("d"), What::Lease { expires: Some(90), overdraft: true }),
    ];
    let history = History::new(rows, Some(1), WINDOW);
    assert_eq!(actions(&history), [(150, Action::Expiry, 0)]);
    assert_eq!((history.used_at_start(), history.used_at_end(), history.most()), (1, 0, (1, 100)));
    assert_eq!(history.seconds(|used| used >= 1), 50);
    assert_eq!(history.overdraft_rows(), 0);
}

/// The vendor's tool counts each heartbeat as one overdraft, and shows negative free seats.
#[test]
fn overdraft_is_shown_in_machines_and_heartbeats() {
    let over = |id, time| row(id, time, Some("b"), What::Lease { expires: Some(time + 30), overdraft: true });
    let history = History::new(
        vec![lease(1, 110, "a", 190), over(2, 120), over(3, 130), over(4, 140)],
        Some(1),
        WINDOW,
    );
    assert_eq!((history.machines(|entry| entry.overdraft), history.overdraft_rows()), (1, 3));
    assert_eq!((history.free(2), history.over(2)), (Some(0), Some(1)));
    assert_eq!(history.seconds(|used| used > 1), 50);
    assert_eq!(history.seconds(|used| used >= 1), 80);
}

#[test]
fn an_expiry_carries_the_name_of_its_own_machine() {
    let mut rows = vec![lease(1, 110, "a", 120), lease(2, 130, "b", 140), lease(3, 115, "a", 125)];
    rows[0].name = Some("alice".into());
    rows[1].name = Some("bob".into());
    let history = History::new(rows, None, WINDOW);
    let expiries: Vec<_> = history
        .entries
        .iter()
        .filter(|entry| entry.action == Action::Expiry)
        .map(|entry| entry.name.as_deref())
        .collect();
    assert_eq!(expiries, [Some("alice"), Some("bob")]);
}

#[test]
fn odd_rows_are_reported_and_hold_no_seat() {
    let rows = vec![
        row(1, 110, None, What::Lease { expires: Some(150), overdraft: false }),
        row(2, 111, None, What::Release),
        row(3, 112, None, What::Refusal),
        row(4, 113, Some("a"), What::Lease { expires: None, overdraft: false }),
        lease(5, 114, "a", 114),
    ];
    let history = History::new(rows, Some(1), WINDOW);
    assert_eq!(actions(&history), [(112, Action::Refusal, 0)]);
    assert_eq!(history.not_counted, NotCountedRows { without_machine: 2, leases_without_end: 2 });
}

#[test]
fn rows_of_the_log_are_understood() {
    let log = RequestRecord {
        id: 1,
        time: Some(10),
        state: Some(2015),
        machine_code: Some("floating:m".to_owned()),
        floating_expires: Some(70),
        ..RequestRecord::default()
    };
    let seat = SeatRow::new(&log).unwrap();
    assert_eq!(seat, row(1, 10, Some("m"), What::Lease { expires: Some(70), overdraft: true }));
    assert_eq!(seat.lease_seconds(), Some(60));
    assert_eq!(SeatRow::new(&RequestRecord { state: Some(2010), ..log.clone() }), None);
    assert_eq!(SeatRow::new(&RequestRecord { time: None, ..log }), None);
    assert!(STATES.iter().all(|state| {
        let log = RequestRecord { state: Some(i64::from(*state)), time: Some(1), ..RequestRecord::default() };
        SeatRow::new(&log).is_some()
    }));
}

/// The last row before `(time, id)` that says something about the seat of a machine.
fn last_word<'a>(rows: &'a [SeatRow], machine: &str, (time, id): (i64, i64)) -> Option<&'a SeatRow> {
    let speaks = |row: &&SeatRow| {
        let counts = match row.what {
            What::Lease { expires, .. } => expires.is_some_and(|expires| expires > row.time),
            What::Release => true,
            What::Refusal => false,
        };
        counts && row.machine.as_deref() == Some(machine) && (row.time, row.id) < (time, id)
    };
    rows.iter().filter(speaks).max_by_key(|row| (row.time, row.id))
}

/// Whether a machine holds a seat at `time`, by what its rows before `(time, id)` say: the
/// definition, looked up anew for each second.
fn holds(rows: &[SeatRow], machine: &str, time: i64, id: i64) -> bool {
    last_word(rows, machine, (time, id))
        .is_some_and(|row| matches!(row.what, What::Lease { expires: Some(expires), .. } if expires > time))
}

fn used(rows: &[SeatRow], time: i64, id: i64) -> u64 {
    count(["a", "b", "c", "d"].into_iter().filter(|machine| holds(rows, machine, time, id)))
}

fn any_row() -> impl Strategy<Value = (i64, Option<&'static str>, What)> {
    let machine =
        prop_oneof![9 => prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(Some), 1 => Just(None)];
    let time = 60_i64..210;
    (time, machine, 0..8, prop::option::weighted(0.95, -2_i64..60)).prop_map(
        |(time, machine, kind, length)| {
            let what = match kind {
                0 => What::Refusal,
                1 => What::Release,
                _ => What::Lease { expires: length.map(|length| time + length), overdraft: kind == 2 },
            };
            (time, machine, what)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_agrees_with_looking_up_every_second(
        drawn in prop::collection::vec(any_row(), 0..60),
        limit in prop::option::of(0_u64..4),
    ) {
        // Ids in any relation to times, as rows that became visible late.
        let rows: Vec<SeatRow> =
            (1..).zip(&drawn).map(|(id, (time, machine, what))| row(id, *time, *machine, *what)).collect();
        let history = History::new(rows.clone(), limit, WINDOW);

        let by_second: Vec<u64> = (WINDOW.from..WINDOW.to).map(|time| used(&rows, time, i64::MAX)).collect();
        let by_steps: Vec<u64> = (WINDOW.from..WINDOW.to)
            .map(|time| history.steps.iter().rev().find(|(start, _)| *start <= time).unwrap().1)
            .collect();
        prop_assert_eq!(&by_steps, &by_second);
        prop_assert_eq!(history.most().0, by_second.iter().copied().max().unwrap());
        let seconds = |matches: &dyn Fn(u64) -> bool| {
            i64::try_from(by_second.iter().filter(|used| matches(**used)).count()).unwrap()
        };
        let limit_or = limit.unwrap_or(2);
        prop_assert_eq!(history.seconds(|used| used >= limit_or), seconds(&|used| used >= limit_or));
        prop_assert_eq!(history.seconds(|used| used > limit_or), seconds(&|used| used > limit_or));
        let sum: u64 = by_second.iter().sum();
        prop_assert!((history.average() * 100.0 - f64::from(u32::try_from(sum).unwrap())).abs() < 1e-6);

        // Each row of the window, and what it must have been.
        let mut ordered: Vec<&SeatRow> = rows.iter().filter(|row| WINDOW.contains(row.time)).collect();
        ordered.sort_by_key(|row| (row.time, row.id));
        let mut expected = Vec::new();
        for row in ordered {
            let Some(machine) = row.machine.as_deref() else {
                if row.what == What::Refusal {
                    expected.push((row.time, Action::Refusal, used(&rows, row.time, row.id)));
                }
                continue;
            };
            let held = holds(&rows, machine, row.time, row.id);
            let action = match row.what {
                What::Lease { expires: Some(expires), .. } if expires > row.time => {
                    if held { Action::Verification } else { Action::Activation }
                }
                What::Lease { .. } => continue,
                What::Release => Action::Deactivation,
                What::Refusal => Action::Refusal,
            };
            expected.push((row.time, action, used(&rows, row.time, row.id + 1)));
        }
        let replayed: Vec<_> = actions(&history).into_iter().filter(|(_, action, _)| *action != Action::Expiry).collect();
        prop_assert_eq!(replayed, expected);

        // Each second in which a lease ended without being moved or released before.
        let mut expiries = Vec::new();
        for time in WINDOW.from..WINDOW.to {
            for machine in ["a", "b", "c", "d"] {
                if let Some(SeatRow { what: What::Lease { expires: Some(expires), .. }, .. }) =
                    last_word(&rows, machine, (time, i64::MIN))
                    && *expires == time
                {
                    expiries.push(time);
                }
            }
        }
        let replayed: Vec<i64> =
            history.entries.iter().filter(|entry| entry.action == Action::Expiry).map(|entry| entry.time).collect();
        prop_assert_eq!(replayed, expiries);
        prop_assert!(history.entries.is_sorted_by_key(|entry| entry.time));
        prop_assert_eq!(count(history.holders.iter()), history.used_at_end());
    }
}
