//! Who changed what in the vendor's account: customers, licenses, products. The rows carry personal
//! data on purpose.

use std::sync::Arc;

use super::{Draft, Span, spikes};
use crate::catalogue::Catalogue;
use crate::random::Random;
use crate::row::{Fields, ObjectFields};

const CUSTOMER: i64 = 1;
const PRODUCT: i64 = 5;
/// Resource type, counted from 0, and how often out of 100.
const TYPES: [(i64, u64); 7] = [(CUSTOMER, 20), (2, 12), (3, 45), (4, 8), (PRODUCT, 4), (6, 10), (9, 1)];
const ADDED: i64 = 1;
const UPDATED: i64 = 2;
const DELETED: i64 = 3;

pub(super) fn draft(
    span: Span,
    seed: u64,
    catalogue: &Catalogue,
    random: &mut Random,
    drafts: &mut Vec<Draft>,
) {
    for _ in 0..span.count(1.0, random) {
        let fields = one_change(catalogue, random);
        drafts.push(Draft { time: span.moment(random), fields: Fields::Object(Arc::new(fields)) });
    }
    // A log of no traffic is empty.
    if span.rows_per_second > 0.0 {
        drafts.extend(spikes::changes(span, seed));
    }
}

/// A product begins to refuse licenses that are expired, or no longer does.
pub(super) fn blocks_expired_licenses(product: i64, blocks: bool, performed_by: i64) -> ObjectFields {
    ObjectFields {
        resource_type: PRODUCT,
        resource_action: UPDATED,
        affected: product,
        performed_by,
        data: format!(r#"{{"BlockExpiredLicenses":[{},{blocks}]}}"#, !blocks),
    }
}

fn one_change(catalogue: &Catalogue, random: &mut Random) -> ObjectFields {
    let (resource_type, _) = TYPES[random.weighted(TYPES.iter().map(|(_, weight)| *weight))];
    let resource_action = [ADDED, UPDATED, UPDATED, UPDATED, DELETED][random.index(5)];
    let affected = random.between(400, 90_000);
    let person = catalogue.person(affected);
    let mail = person.to_lowercase().replace(' ', ".");
    let data = match (resource_type, resource_action) {
        (CUSTOMER, UPDATED) => {
            format!(r#"{{"Email":["{mail}-{affected}@old.example","{mail}-{affected}@example.com"]}}"#)
        }
        (CUSTOMER, _) => format!(
            r#"{{"Id":{affected},"Name":"{person} {affected}","Email":"{mail}-{affected}@example.com","CompanyName":"Example {affected} Ltd"}}"#
        ),
        (PRODUCT, UPDATED) => r#"{"Description":["","New description"]}"#.to_owned(),
        (_, UPDATED) => {
            format!(r#"{{"MaxNoOfMachines":[5,{}],"Notes":["","call {person}"]}}"#, random.between(6, 40))
        }
        _ => format!(r#"{{"Id":{affected},"Notes":"for {person} {affected}"}}"#),
    };
    ObjectFields {
        resource_type,
        resource_action,
        affected,
        performed_by: [18, 18, 22, 31][random.index(4)],
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::PERSON_CANARY;

    #[test]
    fn data_is_json_and_carries_canaries() {
        let mut random = Random::for_stream(&[1]);
        let catalogue = Catalogue::new(1, 1.0);
        let changes: Vec<ObjectFields> = (0..200).map(|_| one_change(&catalogue, &mut random)).collect();
        assert!(changes.iter().all(|change| serde_json::from_str::<serde_json::Value>(&change.data).is_ok()));
        assert!(changes.iter().any(|change| change.data.contains(PERSON_CANARY)));
    }
}
