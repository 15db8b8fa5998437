//! The expected counts: those of a client that missed nothing, from the simulator's own rows. Tests
//! compare with them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::catalogue::Catalogue;
use crate::store::{Direction, IdRange, LogStore, View};

/// The rows of one log that have been visible, each id once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// How many different ids there are.
    pub rows: u64,
    /// The highest of them.
    pub highest_id: Option<i64>,
    /// Rows without an id that can be read.
    pub without_id: u64,
    /// Rows that repeat the id of another.
    pub repeated: u64,
    /// The Web API Log's `rows` by product id (0 for none) and state (`None` where it is missing or
    /// no whole number); empty for the other logs.
    #[serde(serialize_with = "as_list")]
    pub states: BTreeMap<(i64, Option<i64>), u64>,
}

fn as_list<S: Serializer>(
    states: &BTreeMap<(i64, Option<i64>), u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Entry {
        product_id: i64,
        state: Option<i64>,
        rows: u64,
    }
    let mut list = serializer.serialize_seq(Some(states.len()))?;
    for (&(product_id, state), &rows) in states {
        list.serialize_element(&Entry { product_id, state, rows })?;
    }
    list.end()
}

impl Truth {
    /// Counts what is in view, up to and including an id.
    pub(crate) fn of(
        store: &LogStore,
        catalogue: &Catalogue,
        now: i64,
        up_to_id: i64,
        with_states: bool,
    ) -> Truth {
        let mut truth = Truth::default();
        let range = IdRange { below: up_to_id.saturating_add(1), ..IdRange::ALL };
        store.scan(range, Direction::Ascending, View::ever(now), |row| {
            if !row.has_id() {
                truth.without_id += 1;
            } else if truth.highest_id == Some(row.id) {
                truth.repeated += 1;
            } else {
                truth.rows += 1;
                truth.highest_id = Some(row.id);
                if with_states {
                    let product = row.product_id(catalogue).unwrap_or(0);
                    *truth.states.entry((product, row.state())).or_default() += 1;
                }
            }
            ControlFlow::Continue(())
        });
        truth
    }
}
