//! The products that are known: configured, in the ledger, or answered by GetProducts. A known
//! product has a label of its own, and its pairs are shown at 0.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cryptolens::Product;

/// KnownProduct products by id, with their names where one is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Products {
    known: BTreeMap<i64, KnownProduct>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct KnownProduct {
    /// By configuration: such a product is never kept out by the limit.
    configured: Option<Arc<str>>,
    /// By GetProducts; `None` if only rows name it.
    answered: Option<Arc<str>>,
    /// True if the ledger has it.
    kept: bool,
}

impl Products {
    /// Adds products by configuration, limit or not.
    pub fn configure(&mut self, products: &[Product]) {
        for product in products {
            self.known.entry(product.id).or_default().configured = Some(Arc::from(product.name.as_str()));
        }
    }

    /// Takes back a product that the ledger has.
    pub fn restore(&mut self, id: i64, name: Option<Arc<str>>) {
        let known = self.known.entry(id).or_default();
        (known.answered, known.kept) = (name, true);
    }

    /// Adds a product by GetProducts (with a name) or by a row (without), if there is room. True if
    /// the ledger does not have it like this yet; `None` if the limit keeps it out.
    pub fn admit(&mut self, id: i64, name: Option<Arc<str>>, limit: usize) -> Option<bool> {
        if let Some(known) = self.known.get_mut(&id) {
            let renamed = name.is_some() && name != known.answered;
            if renamed {
                known.answered = name;
            }
            return Some(renamed || !std::mem::replace(&mut known.kept, true));
        }
        if self.known.values().filter(|known| known.configured.is_none()).count() >= limit {
            return None;
        }
        self.known.insert(id, KnownProduct { configured: None, answered: name, kept: true });
        Some(true)
    }

    /// True if a product is known, and so has a label of its own.
    pub fn contains(&self, id: i64) -> bool {
        self.known.contains_key(&id)
    }

    /// KnownProduct products, by id, with the name to show: the configured one, else the one
    /// answered.
    pub fn iter(&self) -> impl Iterator<Item = (i64, Option<&Arc<str>>)> {
        self.known.iter().map(|(id, known)| (*id, known.configured.as_ref().or(known.answered.as_ref())))
    }

    /// The name by GetProducts, which is the one that is kept in the ledger.
    pub fn answered_name(&self, id: i64) -> Option<&Arc<str>> {
        self.known.get(&id)?.answered.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_products_are_not_limited() {
        let mut products = Products::default();
        let configured = |id| Product { id, name: "configured".to_owned() };
        products.configure(&(1..=5).map(configured).collect::<Vec<_>>());
        assert_eq!(products.admit(6, None, 1), Some(true));
        assert_eq!(products.admit(7, None, 1), None);
        assert_eq!(products.admit(5, Some("by the api".into()), 1), Some(true));
        assert_eq!(products.admit(6, None, 1), Some(false), "a row changes nothing");
        assert_eq!(products.admit(4, None, 1), Some(true), "configured, and new to the ledger");
        assert_eq!(products.admit(4, None, 1), Some(false));
        let shown: Vec<_> = products.iter().map(|(id, name)| (id, name.map(|name| &**name))).collect();
        assert_eq!(shown[4..], [(5, Some("configured")), (6, None)]);
        assert_eq!(products.answered_name(5).map(|name| &**name), Some("by the api"));
        assert!(!shown.iter().any(|(id, _)| *id == 7));
    }
}
