//! Everything in the Web API Log that is not a floating session: node-locked activations, failures,
//! key creations, deactivations, validations, data objects, and now and then a code that no
//! documentation names.

use super::{Draft, Span};
use crate::catalogue::{Catalogue, FLOATING_SHARE, NO_MACHINE, PRODUCTS, Policy};
use crate::random::Random;
use crate::row::{Fields, WebApiFields};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Of a product whose licenses are bound to machines.
    NodeLocked,
    /// Of any product, by a machine.
    Machine,
    /// Of any product, by the vendor: no machine recorded.
    Vendor,
    DataObject,
}

/// State code, how often out of 1000, and who causes it.
const KINDS: [(u16, u64, Kind); 31] = [
    (2010, 340, Kind::NodeLocked),
    (2011, 34, Kind::NodeLocked),
    (2012, 12, Kind::NodeLocked),
    (2013, 18, Kind::NodeLocked),
    (2020, 70, Kind::Machine),
    (2021, 2, Kind::NodeLocked),
    (2022, 2, Kind::Machine),
    (2023, 1, Kind::Machine),
    (1010, 180, Kind::Machine),
    (1020, 22, Kind::Machine),
    (3010, 36, Kind::Vendor),
    (3011, 6, Kind::Machine),
    (3020, 3, Kind::Vendor),
    (4010, 2, Kind::Machine),
    (4020, 1, Kind::Machine),
    (5010, 2, Kind::Vendor),
    (6010, 40, Kind::NodeLocked),
    (6020, 2, Kind::Machine),
    (7010, 28, Kind::Vendor),
    (7011, 6, Kind::Vendor),
    (7020, 2, Kind::Vendor),
    (8010, 120, Kind::DataObject),
    (8011, 34, Kind::DataObject),
    (8012, 16, Kind::DataObject),
    (8013, 8, Kind::DataObject),
    (8020, 6, Kind::DataObject),
    (2030, 1, Kind::Machine),
    (2016, 1, Kind::Machine),
    (1230, 1, Kind::Machine),
    (9010, 1, Kind::Vendor),
    (2099, 1, Kind::Machine),
];

pub(super) fn draft(span: Span, catalogue: &Catalogue, random: &mut Random, drafts: &mut Vec<Draft>) {
    for _ in 0..span.count(1.0 - FLOATING_SHARE, random) {
        let (state, _, kind) = KINDS[random.weighted(KINDS.iter().map(|(_, weight, _)| *weight))];
        let product = pick_product(kind, random);
        let mut fields = pick_user(catalogue, product, random);
        fields.state = state;
        match kind {
            Kind::Vendor => fields.machine = NO_MACHINE,
            Kind::DataObject => add_data_object(&mut fields, random),
            Kind::NodeLocked | Kind::Machine => {}
        }
        drafts.push(Draft { time: span.moment(random), fields: Fields::WebApi(fields) });
    }
}

fn pick_product(kind: Kind, random: &mut Random) -> usize {
    let weights = PRODUCTS.iter().map(move |product| {
        let suits = kind != Kind::NodeLocked || product.policy == Policy::NodeLocked;
        if suits { product.popularity } else { 0 }
    });
    random.weighted(weights)
}

/// A random machine of the product and its key. A few requests carry no machine code.
pub(super) fn pick_user(catalogue: &Catalogue, product: usize, random: &mut Random) -> WebApiFields {
    let keys = catalogue.keys_of(product);
    let key = random.between(i64::from(keys.start), i64::from(keys.end)) as u32;
    let machines = &catalogue.key(key).machines;
    let machine = random.between(i64::from(machines.start), i64::from(machines.end)) as u32;
    let machine = if random.chance(0.02) { NO_MACHINE } else { machine };
    WebApiFields { state: 0, key, machine, lease: 0, data_object_value: 0, data_object_id: 0 }
}

fn add_data_object(fields: &mut WebApiFields, random: &mut Random) {
    let magnitude = random.below(4) as u32;
    fields.data_object_value = 1 + random.below(u64::from(10_u32.pow(magnitude) * 5)) as i32;
    fields.data_object_id = 70_000 + fields.key * 3 + random.below(3) as u32;
    if random.chance(0.5) {
        fields.machine = NO_MACHINE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_holds_what_a_vendor_sees() {
        let catalogue = Catalogue::new(1, 600.0);
        let mut drafts = Vec::new();
        let noon = 1_767_571_200 + 12 * 3600;
        let span = Span { from: noon, to: noon + 3600, rows_per_second: 10.0 };
        draft(span, &catalogue, &mut Random::for_stream(&[1]), &mut drafts);
        let fields: Vec<WebApiFields> = drafts
            .iter()
            .filter_map(|draft| match draft.fields {
                Fields::WebApi(fields) => Some(fields),
                _ => None,
            })
            .collect();
        for state in [2010, 2011, 2012, 2013, 2020, 3010, 6010, 1010, 1020, 7010, 8010] {
            assert!(fields.iter().any(|row| row.state == state), "{state}");
        }
        for row in &fields {
            assert_eq!(row.data_object_value > 0, row.state / 100 == 80);
            let node_locked = catalogue.product_of_key(row.key).policy == Policy::NodeLocked;
            assert!(node_locked || !(2010..2014).contains(&row.state));
        }
    }
}
