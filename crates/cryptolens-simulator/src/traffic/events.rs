//! Events that the vendor's applications register: features used, purchases, and the operating
//! system of an activation.

use std::sync::Arc;

use super::background::pick_user;
use super::{Draft, Span};
use crate::catalogue::{Catalogue, PRODUCTS};
use crate::random::Random;
use crate::row::{EventFields, Fields};

const SYSTEMS: [(&str, &str); 4] =
    [("Windows", "10.0.22631"), ("Windows", "10.0.19045"), ("Unix", "6.8.0"), ("MacOS", "14.5")];
const USES: [&str; 4] = ["start", "start", "stop", "export"];
const PRICES: [i64; 5] = [900, 2530, 4900, 19_900, 99_000];
const CURRENCIES: [&str; 3] = ["USD", "EUR", "SEK"];

pub(super) fn draft(span: Span, catalogue: &Catalogue, random: &mut Random, drafts: &mut Vec<Draft>) {
    for _ in 0..span.count(1.0, random) {
        let product = random.weighted(PRODUCTS.iter().map(|product| product.popularity));
        let fields = one_event(catalogue, product, random);
        drafts.push(Draft { time: span.moment(random), fields: Fields::Event(Arc::new(fields)) });
    }
}

fn one_event(catalogue: &Catalogue, product: usize, random: &mut Random) -> EventFields {
    let user = pick_user(catalogue, product, random);
    let mut fields = EventFields {
        key: user.key,
        machine: user.machine,
        feature: "",
        event: "",
        value: 0,
        currency: None,
        metadata: None,
    };
    match random.below(100) {
        0..78 => {
            let features = PRODUCTS[product].features;
            fields.feature = features[random.index(features.len())];
            fields.event = USES[random.index(USES.len())];
        }
        78..84 => {
            fields.event = "purchase";
            fields.value = PRICES[random.index(PRICES.len())];
            fields.currency = Some(CURRENCIES[random.index(CURRENCIES.len())]);
            fields.metadata = Some(format!(r#"{{"order":"A-{}"}}"#, random.between(1000, 100_000)));
        }
        _ => {
            let (name, version) = SYSTEMS[random.index(SYSTEMS.len())];
            fields.metadata =
                Some(format!(r#"{{"OSName":"{name}","OSVersion":"{version}","Is64Bit":true}}"#));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purchases_have_a_value_and_a_currency() {
        let catalogue = Catalogue::new(1, 12.0);
        let mut random = Random::for_stream(&[1]);
        let events: Vec<EventFields> = (0..500).map(|_| one_event(&catalogue, 0, &mut random)).collect();
        let purchases: Vec<_> = events.iter().filter(|event| event.event == "purchase").collect();
        assert!(purchases.len() > 10);
        assert!(purchases.iter().all(|event| event.value > 0 && event.currency.is_some()));
        assert!(
            events.iter().any(|event| event.metadata.as_deref().is_some_and(|text| text.contains("OSName")))
        );
    }
}
