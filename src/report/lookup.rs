//! Looks up what explains the rows of a log: names of products, license keys and their companies.
//!
//! Promises: a token that may not ask gets a report all the same, which says what it lacks; at most
//! [`MOST_KEYS`] calls of GetKey are made, or as many of GetKeys as a product has pages, whichever
//! is less; a company is asked for only where the identities of the report show it.

use std::collections::BTreeMap;

use super::document::LookupState;
use super::error::ReportError;
use super::identity::{Identities, IdentityKind};
use super::options::IdentityLevel;
use super::record::ObjectRecord;
use super::session::ReportSession;
use super::source::{Explanation, WindowReader};
use crate::cryptolens::{ApiError, Endpoint, LicenseKey, LogKind, RowFilter};

/// The most calls of GetKey of one report.
const MOST_KEYS: usize = 100;

/// A key as the identities show it; a row may name none.
pub(super) fn shown_key(key: &str, identities: &Identities) -> String {
    if key.is_empty() { "no key".to_owned() } else { identities.show(IdentityKind::Key, key) }
}

/// The answers so far.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    products: BTreeMap<i64, String>,
    licenses: BTreeMap<(i64, String), LicenseKey>,
    companies: BTreeMap<i64, String>,
    states: BTreeMap<&'static str, LookupState>,
    /// How often [`Lookup::licenses`] has called GetKeys and GetKey so far.
    calls: usize,
    /// The methods that gave the licenses; empty if none was asked or none knew any.
    pub(super) by: &'static str,
}

impl Lookup {
    /// Asks for the names of the products. Those of the configuration file win.
    pub(super) async fn products(
        &mut self,
        source: &WindowReader,
        session: &ReportSession,
    ) -> Result<(), ReportError> {
        let asked = source.asked(Endpoint::GetProducts, |client| async move { client.products().await });
        let known = self.note(Endpoint::GetProducts, asked.await?).unwrap_or_default();
        let configured = session.products.iter().cloned();
        let named = known.into_iter().chain(configured).filter(|product| !product.name.is_empty());
        self.products.extend(named.map(|product| (product.id, product.name)));
        Ok(())
    }

    /// Asks for license keys of a product; the first of them matter most.
    pub(super) async fn licenses(
        &mut self,
        source: &WindowReader,
        product: i64,
        keys: &[&str],
    ) -> Result<(), ReportError> {
        if keys.iter().all(|key| self.license(product, key).is_some()) {
            return Ok(());
        }
        let ask = |page: i64| {
            source.asked(
                Endpoint::GetKeys,
                move |client| async move { client.license_keys(product, page).await },
            )
        };
        let most = keys.len().min(MOST_KEYS.saturating_sub(self.calls));
        if most == 0 {
            return Ok(());
        }
        if let Some(first) = self.note(Endpoint::GetKeys, ask(1).await?) {
            let pages = first.pages.unwrap_or(1);
            self.keep(product, first.keys);
            if usize::try_from(pages).is_ok_and(|pages| pages <= most.max(1)) {
                for page in 2..=pages {
                    let Some(next) = self.note(Endpoint::GetKeys, ask(page).await?) else { break };
                    self.keep(product, next.keys);
                    self.calls += 1;
                }
                self.by = if self.by.ends_with("GetKey") { "GetKeys and GetKey" } else { "GetKeys" };
                return Ok(());
            }
            if keys.iter().any(|key| self.license(product, key).is_some()) {
                self.by = if self.by.ends_with("GetKey") { "GetKeys and GetKey" } else { "GetKeys" };
            }
        }
        for key in keys.iter().take(most) {
            if self.license(product, key).is_some() {
                continue;
            }
            self.calls += 1;
            let asked = source.asked(Endpoint::GetKey, |client| {
                let key = (*key).to_owned();
                async move { client.license_key(product, &key).await }
            });
            if let Some(license) = self.note(Endpoint::GetKey, asked.await?) {
                self.by = if self.by.starts_with("GetKeys") { "GetKeys and GetKey" } else { "GetKey" };
                self.keep(product, vec![license]);
            }
            if self.state(Endpoint::GetKey) == LookupState::Denied {
                break;
            }
        }
        Ok(())
    }

    /// Asks for all license keys of a product: by GetKeys, if it has no more than [`MOST_KEYS`] pages of
    /// them. True if they are known then.
    pub(super) async fn all_licenses(
        &mut self,
        source: &WindowReader,
        product: i64,
    ) -> Result<bool, ReportError> {
        let (mut page, mut pages) = (1, 1);
        while page <= pages {
            let asked = source.asked(Endpoint::GetKeys, move |client| async move {
                client.license_keys(product, page).await
            });
            let Some(answer) = self.note(Endpoint::GetKeys, asked.await?) else { return Ok(false) };
            self.keep(product, answer.keys);
            self.by = "GetKeys";
            pages = answer.pages.unwrap_or(1);
            if usize::try_from(pages).is_ok_and(|pages| pages > MOST_KEYS) {
                return Ok(false);
            }
            page += 1;
        }
        Ok(true)
    }

    /// The licenses of a product that are known.
    pub(super) fn licenses_of(&self, product: i64) -> impl Iterator<Item = &LicenseKey> {
        self.licenses.iter().filter(move |((of, _), _)| *of == product).map(|(_, license)| license)
    }

    /// Looks for a key that the rows do not have: in one product, or in all that `products` found.
    /// A whole key is one call of GetKey for each product; pseudonyms and last groups need the keys
    /// of GetKeys. Both together are [`MOST_KEYS`] calls at most.
    pub(super) async fn find_key(
        &mut self,
        source: &WindowReader,
        product: Option<i64>,
        typed: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<Vec<(i64, String)>, ReportError> {
        let products =
            product.map_or_else(|| self.products.keys().copied().collect(), |product| vec![product]);
        let mut calls = 0;
        for product in &products {
            if calls >= MOST_KEYS || self.state(Endpoint::GetKey) == LookupState::Denied {
                break;
            }
            calls += 1;
            let asked = source.asked(Endpoint::GetKey, |client| {
                let key = typed.to_owned();
                async move { client.license_key(*product, &key).await }
            });
            if let Some(license) = self.note(Endpoint::GetKey, asked.await?) {
                let found = (*product, license.key.clone());
                self.keep(*product, vec![license]);
                self.by = "GetKey";
                return Ok(vec![found]);
            }
        }
        let mut found = Vec::new();
        for product in products {
            let (mut page, mut pages) = (1, 1);
            while page <= pages && calls < MOST_KEYS && self.state(Endpoint::GetKeys) != LookupState::Denied {
                calls += 1;
                let asked = source.asked(Endpoint::GetKeys, move |client| async move {
                    client.license_keys(product, page).await
                });
                let Some(answer) = self.note(Endpoint::GetKeys, asked.await?) else { break };
                pages = answer.pages.unwrap_or(1);
                page += 1;
                let meant: Vec<LicenseKey> =
                    answer.keys.into_iter().filter(|license| is_meant(&license.key)).collect();
                found.extend(meant.iter().map(|license| (product, license.key.clone())));
                self.keep(product, meant);
                self.by = "GetKeys";
            }
        }
        Ok(found)
    }

    /// Ends a sentence on a key that neither the log nor [`Lookup::find_key`] has.
    pub(super) fn without_key(&self) -> &'static str {
        match (self.state(Endpoint::GetKeys), self.state(Endpoint::GetKey)) {
            (LookupState::Denied, LookupState::Denied) => {
                ", and the token may call neither GetKeys nor GetKey, which may know it"
            }
            (LookupState::Denied, _) => ", and neither has GetKey; the token may not call GetKeys",
            (_, LookupState::Denied) => ", and neither has GetKeys",
            _ => ", and neither have GetKey and GetKeys",
        }
    }

    /// Asks for the companies of the customers, if the identities show them.
    pub(super) async fn companies(
        &mut self,
        source: &WindowReader,
        level: IdentityLevel,
    ) -> Result<(), ReportError> {
        let is_needed = self.licenses.values().any(|license| license.customer_id.is_some());
        if level == IdentityLevel::Masked || !is_needed {
            return Ok(());
        }
        let asked = source.asked(Endpoint::GetCustomers, |client| async move { client.customers().await });
        if let Some(customers) = self.note(Endpoint::GetCustomers, asked.await?) {
            let named = customers.into_iter().filter(|customer| !customer.company.is_empty());
            self.companies.extend(named.map(|customer| (customer.id, customer.company)));
        }
        Ok(())
    }

    fn note<T>(&mut self, endpoint: Endpoint, answer: Explanation<T>) -> Option<T> {
        let (state, value) = match answer {
            Explanation::Known(value) => (LookupState::Answered, Some(value)),
            Explanation::Unknown => (LookupState::Answered, None),
            Explanation::Denied => (LookupState::Denied, None),
        };
        self.states.insert(endpoint.name(), state);
        value
    }

    fn keep(&mut self, product: i64, keys: Vec<LicenseKey>) {
        self.licenses.extend(keys.into_iter().map(|license| ((product, license.key.clone()), license)));
    }

    /// The name of a product, or its number.
    pub(super) fn product_name(&self, product: i64) -> String {
        match (product, self.products.get(&product)) {
            (0, _) => "no product".to_owned(),
            (_, Some(name)) => name.clone(),
            (_, None) => format!("product {product}"),
        }
    }

    /// As `Meridian CAD customers`, or `customers of product 3349`.
    pub(super) fn customers_of(&self, product: i64, number: usize) -> String {
        let noun = if number == 1 { "customer" } else { "customers" };
        match self.products.get(&product) {
            Some(name) => format!("{name} {noun}"),
            None => format!("{noun} of {}", self.product_name(product)),
        }
    }

    /// Whether the API or the configuration knows a product; none where the API was not asked.
    pub(super) fn knows_product(&self, product: i64) -> Option<bool> {
        let is_known = self.products.contains_key(&product);
        (is_known || self.state(Endpoint::GetProducts) == LookupState::Answered).then_some(is_known)
    }

    pub(super) fn license(&self, product: i64, key: &str) -> Option<&LicenseKey> {
        self.licenses.get(&(product, key.to_owned()))
    }

    /// The company of a license, or the number of its customer.
    pub(super) fn customer(&self, license: &LicenseKey, level: IdentityLevel) -> Option<String> {
        let id = license.customer_id?;
        let company = self.companies.get(&id).or(license.company.as_ref());
        match company {
            Some(company) if level != IdentityLevel::Masked => Some(company.clone()),
            _ => Some(format!("customer {id}")),
        }
    }

    /// The customer of a key as far as the identities name one, else the key as they show it.
    pub(super) fn customer_or_key(&self, (product, key): (i64, &str), identities: &Identities) -> String {
        let customer =
            self.license(product, key).and_then(|license| self.customer(license, identities.level()));
        customer.unwrap_or_else(|| shown_key(key, identities))
    }

    pub(super) fn state(&self, endpoint: Endpoint) -> LookupState {
        self.states.get(endpoint.name()).copied().unwrap_or(LookupState::NotAsked)
    }

    /// The rows of the Object Log from `begin` to `end` that are wanted; none if the token may not
    /// ask for them.
    pub(super) async fn changes(
        &mut self,
        source: &WindowReader,
        begin: i64,
        end: i64,
        is_wanted: impl Fn(&ObjectRecord) -> bool,
    ) -> Result<Vec<ObjectRecord>, ReportError> {
        let filter = RowFilter::default();
        let mut changes = Vec::new();
        let work = async {
            let start = source.start::<ObjectRecord>(&filter, begin).await?;
            let add = |rows: Vec<ObjectRecord>| {
                changes.extend(rows.into_iter().filter(|row| is_wanted(row)));
                Ok(())
            };
            source.oldest_first(&filter, start, end, add).await
        };
        let state = match work.await {
            Ok(_) => LookupState::Answered,
            Err(ReportError::Api { error: ApiError::Denied, .. }) => LookupState::Denied,
            Err(error) => return Err(error),
        };
        self.states.insert(LogKind::Objects.endpoint().name(), state);
        Ok(changes)
    }

    /// The methods that explain rows, as a document shows them.
    pub(super) fn states(&self) -> Vec<(&'static str, LookupState)> {
        let usual = [Endpoint::GetProducts, Endpoint::GetKeys, Endpoint::GetCustomers];
        let mut states: Vec<_> =
            usual.iter().map(|endpoint| (endpoint.name(), self.state(*endpoint))).collect();
        let others =
            self.states.iter().filter(|(name, _)| usual.iter().all(|endpoint| endpoint.name() != **name));
        states.extend(others.map(|(name, state)| (*name, *state)));
        states
    }

    /// A sentence on what the token may not ask; empty if it may ask everything.
    pub(super) fn denied(&self) -> String {
        let denied = self.states.iter().filter(|(_, state)| **state == LookupState::Denied);
        let names: Vec<&str> = denied.map(|(name, _)| *name).collect();
        match names.as_slice() {
            [] => String::new(),
            names => format!(
                "The token may not call {}, so what it would explain is missing here.",
                names.join(", ")
            ),
        }
    }
}
