//! Who follows the floating seats of an account, as a poller and [`super::follow_seats()`] see it.
//! [`crate::usage`] implements it.

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::cryptolens::WebApiRow;

/// A license that the configuration names, so that its seats are shown beside its limit. `Debug`
/// does not show the key.
#[derive(Clone)]
pub struct NamedLicense {
    /// The value of the label `license`, unique in its account.
    pub name: Arc<str>,
    /// The product that the key belongs to.
    pub product_id: i64,
    /// The license key.
    pub key: SecretString,
}

impl PartialEq for NamedLicense {
    fn eq(&self, other: &NamedLicense) -> bool {
        self.name == other.name
            && self.product_id == other.product_id
            && self.key.expose_secret() == other.key.expose_secret()
    }
}

impl Eq for NamedLicense {}

impl fmt::Debug for NamedLicense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedLicense")
            .field("name", &self.name)
            .field("product_id", &self.product_id)
            .finish_non_exhaustive()
    }
}

/// Keeps what the rows of the Web API Log of one account say about floating seats. All times are
/// Unix seconds by the server's clock.
pub trait SeatKeeper: fmt::Debug + Send + Sync {
    /// Takes rows, in any order, and perhaps some that it has already. `now` is a time at which
    /// none of them had been asked for yet: leases that ended before it never matter again.
    fn rows(&self, rows: &[WebApiRow], now: i64);

    /// A poll is complete: every row that was visible at `began` has been handed over.
    fn poll_complete(&self, began: i64);

    /// The longest lease that is known, in seconds.
    fn longest_lease(&self) -> i64;

    /// The rows before the first poll of this process were read. If `is_whole`, all leases that
    /// were in force at `began` are among them.
    fn read_back(&self, began: i64, is_whole: bool);

    /// True once the rows before the first poll were read.
    fn is_read_back(&self) -> bool;

    /// Takes the number of seats of a license; `None` if it is not limited, or not known.
    fn limit(&self, license: &NamedLicense, seats: Option<u64>);
}
