//! The invented vendor: its products, its customers' license keys and the machines that use them.
//!
//! Everything follows from the seed and the request rate. A higher rate means more customers, not
//! busier ones. Machines are only numbers here: their codes, names and addresses are computed when
//! a row needs them. The behaviour of machines is in `traffic`.

use std::ops::Range;

use crate::options::InventedTexts;
use crate::random::{Random, hash_of};
use crate::row::WebApiFields;

/// The share of floating sessions in the traffic. All other methods share the rest.
pub(crate) const FLOATING_SHARE: f64 = 0.6;
/// The usual share of machines that work on a working day.
const USUAL_ATTENDANCE: f64 = 0.7;
/// The machines that work on a day of the weekend, as a share of those of a working day.
pub(crate) const WEEKEND_ATTENDANCE: f64 = 0.2;
/// The mean length of a floating session in seconds, which is the number of its rows at one
/// heartbeat a second.
const MEAN_SESSION_SECONDS: f64 = 15_600.0;

/// Every personal or secret text of the simulator contains one of these: friendly names, license
/// keys, machine codes, addresses (of the range for benchmarks, RFC 2544), names and passwords. A
/// client must not show any of them. With [`InventedTexts::Lifelike`], only addresses contain one.
pub const CANARIES: [&str; 5] = ["CANARY-", "CNARY-", "canary-", "198.18.", "198.19."];

/// The machine of a row that records none.
pub(crate) const NO_MACHINE: u32 = u32::MAX;

/// A person in the data of the Object Log.
pub(crate) const PERSON_CANARY: &str = "canary-person";
/// The secret of a product in the data of the Object Log.
pub(crate) const PASSWORD_CANARY: &str = "canary-product-password";

/// The first five letters of each license key.
const CANARY_GROUP: &str = "CNARY";

const PEOPLE: [&str; 12] =
    ["alice", "bob", "chiara", "dmitri", "elif", "farah", "gustav", "hana", "ingrid", "joao", "kofi", "lena"];
const SURNAMES: [&str; 6] = ["Andersson", "Brown", "Costa", "Mensah", "Novak", "Yilmaz"];

/// The way in which the licenses of a product are used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Policy {
    /// Floating seats, with this `share` of all floating traffic, held for `lease` seconds.
    Floating {
        lease: u32,
        overdraft: u32,
        share: f64,
    },
    NodeLocked,
}

#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) id: i64,
    pub(crate) name: &'static str,
    pub(crate) policy: Policy,
    pub(crate) popularity: u64,
    pub(crate) features: &'static [&'static str],
}

/// The products of the vendor.
pub(crate) const PRODUCTS: [Product; 6] = [
    Product {
        id: 3349,
        name: "Meridian CAD",
        policy: Policy::Floating { lease: 600, overdraft: 0, share: 0.40 },
        popularity: 30,
        features: &["YearReportGenerator", "SheetMetal", "DwgExport", "RayTracer"],
    },
    Product {
        id: 3350,
        name: "Meridian Viewer",
        policy: Policy::NodeLocked,
        popularity: 20,
        features: &["Measure", "Annotate"],
    },
    Product {
        id: 4021,
        name: "Tideline Analytics",
        policy: Policy::Floating { lease: 300, overdraft: 2, share: 0.25 },
        popularity: 18,
        features: &["Forecast", "Dashboards", "SqlConnector"],
    },
    Product {
        id: 5110,
        name: "PlateWorks",
        policy: Policy::Floating { lease: 1800, overdraft: 0, share: 0.20 },
        popularity: 12,
        features: &["Nesting", "GCode"],
    },
    Product {
        id: 6007,
        name: "Render Node",
        policy: Policy::Floating { lease: 3600, overdraft: 4, share: 0.15 },
        popularity: 8,
        features: &["Tile", "Denoise"],
    },
    Product {
        id: 7733,
        name: "Field Notes",
        policy: Policy::NodeLocked,
        popularity: 12,
        features: &["Sync", "Dictation", "MapOverlay"],
    },
];

/// A license key and what belongs to it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) product: usize,
    pub(crate) machines: Range<u32>,
    /// Seats of the license; 0 for no limit.
    pub(crate) seats: u32,
    /// The offset of the customer's office hours from UTC, in seconds.
    pub(crate) shift: i64,
}

#[derive(Debug)]
pub(crate) struct Catalogue {
    seed: u64,
    keys: Vec<Key>,
    keys_by_product: Vec<Range<u32>>,
    attendance: Vec<f64>,
    identities: InventedTexts,
}

impl Catalogue {
    pub(crate) fn new(seed: u64, requests_per_minute: f64) -> Self {
        let mut catalogue = Self {
            seed,
            keys: Vec::new(),
            keys_by_product: Vec::new(),
            attendance: Vec::new(),
            identities: InventedTexts::Canaries,
        };
        for (index, product) in PRODUCTS.iter().enumerate() {
            let first = catalogue.keys.len() as u32;
            let attendance = match product.policy {
                Policy::Floating { lease, share, .. } => {
                    catalogue.add_floating_keys(index, lease, share * FLOATING_SHARE * requests_per_minute)
                }
                Policy::NodeLocked => catalogue.add_node_locked_keys(index, requests_per_minute),
            };
            catalogue.attendance.push(attendance);
            catalogue.keys_by_product.push(first..catalogue.keys.len() as u32);
        }
        catalogue
    }

    /// The same catalogue with other personal texts. Only they differ, and no count with them.
    pub(crate) fn with_identities(mut self, identities: InventedTexts) -> Self {
        self.identities = identities;
        if identities == InventedTexts::Lifelike {
            for (number, key) in (0_u64..).zip(&mut self.keys) {
                let mut random = Random::for_stream(&[self.seed, 0x4e7, number]);
                key.text.replace_range(..CANARY_GROUP.len(), &key_group(&mut random));
            }
        }
        self
    }

    /// Adds the machines that make this rate. Returns the share of them that works on a working
    /// day.
    fn add_floating_keys(&mut self, product: usize, lease: u32, requests_per_minute: f64) -> f64 {
        let rows_per_day = requests_per_minute * 1440.0;
        let rows_per_session = MEAN_SESSION_SECONDS / (f64::from(lease) * 0.475) + 1.0;
        let days_per_day = (5.0 + 2.0 * WEEKEND_ATTENDANCE) / 7.0;
        let machines = (rows_per_day / (rows_per_session * days_per_day * USUAL_ATTENDANCE)).ceil().max(1.0);
        let mut random = Random::for_stream(&[self.seed, 0xca7a, product as u64]);
        let mut left = machines as u32;
        while left > 0 {
            let count = (random.between(4, 25) as u32).min(left);
            let seats = (f64::from(count) * (0.5 + 0.4 * random.unit())).ceil() as u32;
            self.add_key(product, count, seats, &mut random);
            left -= count;
        }
        (rows_per_day / (machines * rows_per_session * days_per_day)).min(0.95)
    }

    fn add_node_locked_keys(&mut self, product: usize, requests_per_minute: f64) -> f64 {
        let mut random = Random::for_stream(&[self.seed, 0xca7a, product as u64]);
        for _ in 0..(10.0 + requests_per_minute).clamp(10.0, 5000.0) as u32 {
            let machines = random.between(1, 9) as u32;
            let seats = if random.chance(0.2) { 0 } else { machines + random.below(3) as u32 };
            self.add_key(product, machines, seats, &mut random);
        }
        USUAL_ATTENDANCE
    }

    fn add_key(&mut self, product: usize, machines: u32, seats: u32, random: &mut Random) {
        let first = self.keys.last().map_or(0, |key| key.machines.end);
        let hour = 3600;
        let shift = [0, 0, 0, 0, hour, -hour, 2 * hour, 5 * hour][random.index(8)];
        let text = key_text(random);
        self.keys.push(Key { text, product, machines: first..first + machines, seats, shift });
    }

    /// The key with this index. An index comes from this catalogue, so that the first key is never
    /// used in place of another.
    pub(crate) fn key(&self, index: u32) -> &Key {
        &self.keys[(index as usize).min(self.keys.len() - 1)]
    }

    pub(crate) fn keys_of(&self, product: usize) -> Range<u32> {
        self.keys_by_product[product].clone()
    }

    /// True for every fourth license of a product, the first one included: past its expiry date,
    /// and in use all the same, as long as the product does not refuse such licenses.
    pub(crate) fn is_expired(&self, key: u32) -> bool {
        (key - self.keys_of(self.key(key).product).start).is_multiple_of(4)
    }

    /// The same request by a machine of an expired license next to its own.
    pub(crate) fn expired_instead(&self, fields: WebApiFields) -> WebApiFields {
        let first = self.keys_of(self.key(fields.key).product).start;
        let expired = fields.key - (fields.key - first) % 4;
        let (own, machines) = (&self.key(fields.key).machines, &self.key(expired).machines);
        let machine = match fields.machine {
            NO_MACHINE => NO_MACHINE,
            machine => machines.start + (machine - own.start) % (machines.end - machines.start).max(1),
        };
        WebApiFields { key: expired, machine, ..fields }
    }

    pub(crate) fn product_of(&self, key: &Key) -> &'static Product {
        &PRODUCTS[key.product]
    }

    pub(crate) fn product_of_key(&self, index: u32) -> &'static Product {
        self.product_of(self.key(index))
    }

    /// The probability that a machine of the product works on a working day.
    pub(crate) fn attendance(&self, product: usize) -> f64 {
        self.attendance[product]
    }

    /// The approximate share of the product in all requests, 0 to 1.
    pub(crate) fn share_of(product: usize) -> f64 {
        let Product { policy, popularity, .. } = PRODUCTS[product];
        let floating = match policy {
            Policy::Floating { share, .. } => share,
            Policy::NodeLocked => 0.0,
        };
        let everything: u64 = PRODUCTS.iter().map(|product| product.popularity).sum();
        floating * FLOATING_SHARE + (1.0 - FLOATING_SHARE) * popularity as f64 / everything as f64
    }

    /// The floating key with the most machines beyond its seats.
    pub(crate) fn crowded_key(&self) -> &Key {
        let floating = |key: &&Key| matches!(PRODUCTS[key.product].policy, Policy::Floating { .. });
        let beyond = |key: &&Key| key.machines.len().saturating_sub(key.seats as usize);
        self.keys.iter().filter(floating).max_by_key(beyond).unwrap_or(&self.keys[0])
    }

    /// The key with this text, and its index.
    pub(crate) fn find_key(&self, product_id: i64, text: &str) -> Option<(u32, &Key)> {
        let found = |key: &&Key| key.text == text && PRODUCTS[key.product].id == product_id;
        (0_u32..).zip(&self.keys).find(|(_, key)| found(key))
    }

    pub(crate) fn machine_code(&self, machine: u32) -> Option<String> {
        let hash = hash_of(&[self.seed, 0xc0de, u64::from(machine)]);
        (machine != NO_MACHINE).then(|| match self.identities {
            InventedTexts::Canaries => format!("canary-{hash:016x}"),
            InventedTexts::Lifelike => format!("{hash:016x}"),
        })
    }

    pub(crate) fn friendly_name(&self, machine: u32) -> Option<String> {
        const DEVICES: [&str; 6] = ["laptop", "workstation", "ws-04", "desktop", "vm", "build"];
        const COMPANIES: [&str; 5] =
            ["example.com", "example.org", "acme.example", "nordwerk.example", "ktk.example"];
        if machine == NO_MACHINE {
            return None;
        }
        let hash = hash_of(&[self.seed, 0xf41e, u64::from(machine)]);
        let pick = |shift: u32, count: usize| (hash >> shift) as usize % count;
        let person = PEOPLE[pick(8, PEOPLE.len())];
        let prefix = match self.identities {
            InventedTexts::Canaries => "CANARY-",
            InventedTexts::Lifelike => "",
        };
        match hash % 100 {
            0..15 => None,
            15..55 => Some(format!("{prefix}{person}.{}@{}", machine, COMPANIES[pick(24, COMPANIES.len())])),
            _ => Some(format!("{prefix}{person}-{}", DEVICES[pick(24, DEVICES.len())])),
        }
    }

    /// The name of a person in the data of the Object Log.
    pub(crate) fn person(&self, object: i64) -> String {
        match self.identities {
            InventedTexts::Canaries => PERSON_CANARY.to_owned(),
            InventedTexts::Lifelike => {
                let hash = hash_of(&[self.seed, 0x9e5, object.unsigned_abs()]);
                let first = PEOPLE[hash as usize % PEOPLE.len()];
                let last = SURNAMES[(hash >> 16) as usize % SURNAMES.len()];
                format!("{}{} {last}", first[..1].to_uppercase(), &first[1..])
            }
        }
    }

    /// The secret of a product.
    pub(crate) fn password(&self, product: &Product) -> String {
        match self.identities {
            InventedTexts::Canaries => format!("{PASSWORD_CANARY}-{}", product.id),
            InventedTexts::Lifelike => {
                format!("{:016x}", hash_of(&[self.seed, 0x9a55, product.id.unsigned_abs()]))
            }
        }
    }

    /// An address with its last part masked, as the API stores it.
    pub(crate) fn masked_ip(&self, key: u32, machine: u32) -> String {
        let owner = if machine == NO_MACHINE { u64::from(key) << 32 } else { u64::from(machine / 4) };
        let hash = hash_of(&[self.seed, 0x1b, owner]);
        format!("198.{}.{}.0", 18 + hash % 2, (hash >> 16) % 256)
    }
}

fn key_text(random: &mut Random) -> String {
    format!("{CANARY_GROUP}-{}-{}-{}", key_group(random), key_group(random), key_group(random))
}

fn key_group(random: &mut Random) -> String {
    (0..5).map(|_| char::from(b'A' + random.below(26) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_like_license_keys_and_are_unique() {
        let catalogue = Catalogue::new(1, 600.0);
        let mut texts: Vec<&str> = catalogue.keys.iter().map(|key| key.text.as_str()).collect();
        assert!(texts.iter().all(|text| text.len() == 23 && text.split('-').all(|group| group.len() == 5)));
        texts.sort_unstable();
        let count = texts.len();
        texts.dedup();
        assert_eq!(texts.len(), count);
    }

    #[test]
    fn a_higher_rate_means_more_customers() {
        let machines = |rate| Catalogue::new(1, rate).keys.last().unwrap().machines.end;
        assert!(machines(1200.0) > 20 * machines(12.0));
        assert!(machines(0.1) > 0);
    }

    #[test]
    fn some_friendly_names_are_mail_addresses() {
        let catalogue = Catalogue::new(1, 12.0);
        let names: Vec<_> = (0..200).map(|machine| catalogue.friendly_name(machine)).collect();
        assert!(names.iter().any(Option::is_none));
        let addresses = names.iter().flatten().filter(|name| name.contains('@')).count();
        assert!((40..130).contains(&addresses), "{addresses}");
    }

    #[test]
    fn whatever_is_personal_can_be_recognised() {
        let catalogue = Catalogue::new(3, 12.0);
        let texts = (0..200).flat_map(|machine| {
            let key = catalogue.key(machine);
            let texts = [catalogue.machine_code(machine), catalogue.friendly_name(machine)];
            texts.into_iter().flatten().chain([catalogue.masked_ip(1, machine), key.text.clone()])
        });
        for text in texts.chain([PERSON_CANARY.to_owned(), PASSWORD_CANARY.to_owned()]) {
            assert!(CANARIES.iter().any(|canary| text.contains(canary)), "{text}");
        }
    }

    #[test]
    fn lifelike_texts_carry_no_canary_and_change_no_count() {
        let canaries = Catalogue::new(3, 12.0);
        let lifelike = Catalogue::new(3, 12.0).with_identities(InventedTexts::Lifelike);
        let texts = (0..200).flat_map(|machine| {
            let texts = [lifelike.machine_code(machine), lifelike.friendly_name(machine)];
            let person = lifelike.person(i64::from(machine));
            texts.into_iter().flatten().chain([lifelike.key(machine).text.clone(), person])
        });
        for text in texts.chain([lifelike.password(&PRODUCTS[0])]) {
            assert!(!CANARIES.iter().any(|canary| text.contains(canary)), "{text}");
        }
        let counts = |catalogue: &Catalogue| -> Vec<_> {
            catalogue
                .keys
                .iter()
                .map(|key| (key.product, key.machines.clone(), key.seats, key.shift))
                .collect()
        };
        assert_eq!(counts(&canaries), counts(&lifelike));
        let mut keys: Vec<&str> = lifelike.keys.iter().map(|key| key.text.as_str()).collect();
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn the_crowded_key_has_more_machines_than_seats() {
        for seed in 0..20 {
            let catalogue = Catalogue::new(seed, 15.0);
            let key = catalogue.crowded_key();
            assert!(key.machines.len() > key.seats as usize + 2, "{key:?}");
        }
    }

    #[test]
    fn the_floating_shares_add_up() {
        let total: f64 = PRODUCTS
            .iter()
            .map(|product| match product.policy {
                Policy::Floating { share, .. } => share,
                Policy::NodeLocked => 0.0,
            })
            .sum();
        assert!((total - 1.0).abs() < 1e-9);
        let shares: f64 = (0..PRODUCTS.len()).map(Catalogue::share_of).sum();
        assert!((shares - 1.0).abs() < 1e-9);
    }
}
