//! State codes of the Web API Log: which method a request called, and how it ended.
//!
//! A code has four digits: the first two name the method, the third the outcome, the fourth a
//! detail (vendor page V3/model/WebAPILog). Codes that no vendor source confirms are classified by
//! their digits and get no description: a guessed name would be believed.

/// The method behind a row, from the first two digits of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventType {
    /// 10xx
    Validation,
    /// 20xx
    Activation,
    /// 30xx
    KeyGeneration,
    /// 40xx, legacy
    OptionalField,
    /// 50xx
    NoRequest,
    /// 60xx
    Deactivation,
    /// 70xx
    LicenseChange,
    /// 80xx
    DataObject,
    /// Everything else, and rows without a state.
    Unknown,
}

impl EventType {
    /// The eight methods that the vendor documents, in the order of their codes.
    pub const KNOWN: [EventType; 8] = [
        EventType::Validation,
        EventType::Activation,
        EventType::KeyGeneration,
        EventType::OptionalField,
        EventType::NoRequest,
        EventType::Deactivation,
        EventType::LicenseChange,
        EventType::DataObject,
    ];

    /// The value of the label `event_type`.
    pub const fn name(self) -> &'static str {
        match self {
            EventType::Validation => "validation",
            EventType::Activation => "activation",
            EventType::KeyGeneration => "key_generation",
            EventType::OptionalField => "optional_field",
            EventType::NoRequest => "no_request",
            EventType::Deactivation => "deactivation",
            EventType::LicenseChange => "license_change",
            EventType::DataObject => "data_object",
            EventType::Unknown => "unknown",
        }
    }

    /// The event type with this label value.
    pub fn from_name(name: &str) -> Option<EventType> {
        EventType::KNOWN.into_iter().chain([EventType::Unknown]).find(|event_type| event_type.name() == name)
    }
}

/// How a request ended, from the third digit of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// Third digit 1.
    Success,
    /// Third digit 2.
    Failure,
    /// Any other digit, and rows without a state.
    Unknown,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Outcome; 3] = [Outcome::Success, Outcome::Failure, Outcome::Unknown];

    /// The value of the label `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Unknown => "unknown",
        }
    }

    /// The outcome with this label value.
    pub fn from_name(name: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// A four-digit state code that gets a label value of its own: 1000 to 8999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateCode(u16);

impl StateCode {
    /// The range of codes that are shown raw; others share the label value `other`.
    pub const RANGE: std::ops::RangeInclusive<i64> = 1000..=8999;

    /// `None` outside [`StateCode::RANGE`].
    pub fn new(raw: i64) -> Option<StateCode> {
        if StateCode::RANGE.contains(&raw) { u16::try_from(raw).ok().map(StateCode) } else { None }
    }

    /// The code, 1000 to 8999.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Method and outcome by the digits.
    pub fn classify(self) -> (EventType, Outcome) {
        classify(Some(i64::from(self.0)))
    }
}

/// Method and outcome of a raw state; `None` (no state in the row) is unknown in both.
///
/// The outcome follows the vendor's own arithmetic, `state % 100 / 10`
/// (support.serialkeymanager.com/kb/data-analysis), for every number of at most four digits;
/// anything else is no state code.
pub fn classify(raw: Option<i64>) -> (EventType, Outcome) {
    let Some(state @ 0..=9999) = raw else {
        return (EventType::Unknown, Outcome::Unknown);
    };
    let event_type = match state / 100 {
        10 => EventType::Validation,
        20 => EventType::Activation,
        30 => EventType::KeyGeneration,
        40 => EventType::OptionalField,
        50 => EventType::NoRequest,
        60 => EventType::Deactivation,
        70 => EventType::LicenseChange,
        80 => EventType::DataObject,
        _ => EventType::Unknown,
    };
    let outcome = match state % 100 / 10 {
        1 => Outcome::Success,
        2 => Outcome::Failure,
        _ => Outcome::Unknown,
    };
    (event_type, outcome)
}

/// The state of a floating activation that found no free seat.
pub const NO_FREE_SEAT: i64 = 2024;

/// The state of a floating activation or a heartbeat: it takes a seat for as long as its lease.
pub const SEAT_TAKEN: i64 = 2014;

/// The same beyond the limit of the license, within its overdraft.
pub const SEAT_OVERDRAFT: i64 = 2015;

/// The state of a deactivation that gives a floating seat back.
pub const SEAT_RETURNED: i64 = 6011;

/// The states that say who holds floating seats.
pub const OF_SEATS: [u16; 3] = [2014, 2015, 6011];

/// True if a row with this state shows that its license key and its machine are in use: a
/// validation, an activation, a deactivation or a data object request that succeeded.
/// Administration, such as the creation of a key, does not.
pub fn shows_use(raw: Option<i64>) -> bool {
    use EventType::{Activation, DataObject, Deactivation, Validation};
    matches!(classify(raw), (Validation | Activation | Deactivation | DataObject, Outcome::Success))
}

/// Codes with a meaning that a vendor source confirms, with that meaning. Exported at 0 for every
/// known product.
pub const DESCRIBED: [(u16, &str); 11] = [
    (2010, "activation, not floating"),
    (2011, "activation, not floating (detail 1)"),
    (2012, "activation, not floating (detail 2)"),
    (2013, "activation, not floating (detail 3)"),
    (2014, "floating activation or heartbeat"),
    (2015, "floating activation beyond the limit (overdraft)"),
    (2020, "activation failed"),
    (2024, "floating activation refused: no free seat"),
    (3010, "key created"),
    (6010, "deactivation"),
    (6011, "floating seat released"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The digits read as text, which is how the vendor describes them: a second way to the same
    /// answer.
    fn by_text(state: i64) -> (&'static str, &'static str) {
        let text = format!("{state:04}");
        let event_type = match &text[..2] {
            "10" => "validation",
            "20" => "activation",
            "30" => "key_generation",
            "40" => "optional_field",
            "50" => "no_request",
            "60" => "deactivation",
            "70" => "license_change",
            "80" => "data_object",
            _ => "unknown",
        };
        let outcome = match &text[2..3] {
            "1" => "success",
            "2" => "failure",
            _ => "unknown",
        };
        (event_type, outcome)
    }

    #[test]
    fn every_code_of_four_digits_is_classified() {
        for state in 0..=9999 {
            let (event_type, outcome) = classify(Some(state));
            assert_eq!((event_type.name(), outcome.name()), by_text(state), "state {state}");
        }
    }

    #[test]
    fn what_is_no_state_code_is_unknown() {
        for raw in [None, Some(-1), Some(10_000), Some(20_100), Some(i64::MAX), Some(i64::MIN)] {
            assert_eq!(classify(raw), (EventType::Unknown, Outcome::Unknown), "{raw:?}");
        }
    }

    #[test]
    fn only_codes_in_range_are_shown_raw() {
        assert_eq!(StateCode::new(999), None);
        assert_eq!(StateCode::new(1000).map(StateCode::get), Some(1000));
        assert_eq!(StateCode::new(8999).map(StateCode::get), Some(8999));
        assert_eq!(StateCode::new(9000), None);
    }

    #[test]
    fn described_codes_are_codes_of_known_types() {
        for (code, text) in DESCRIBED {
            let (event_type, outcome) = classify(Some(i64::from(code)));
            assert_ne!(event_type, EventType::Unknown, "{code} {text}");
            assert_ne!(outcome, Outcome::Unknown, "{code} {text}");
        }
    }

    #[test]
    fn names_round_trip() {
        for event_type in EventType::KNOWN {
            assert_eq!(EventType::from_name(event_type.name()), Some(event_type));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_name(outcome.name()), Some(outcome));
        }
    }

    #[test]
    fn use_is_a_success_of_four_methods() {
        let used: Vec<i64> = (0..10_000).filter(|state| shows_use(Some(*state))).collect();
        let expected = [1010, 2010, 6010, 8010].into_iter().flat_map(|first| first..first + 10);
        assert_eq!(used, expected.collect::<Vec<_>>());
        assert!(!shows_use(None) && !shows_use(Some(NO_FREE_SEAT)));
    }
}
