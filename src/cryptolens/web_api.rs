//! The rows of the Web API Log (vendor page V3/model/WebAPILog), with the members that are counted.

use super::identity::IdentityHash;
use super::row::{as_is, log_row, positive, product};

log_row! {
    /// One request that a vendor's customer made.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct WebApiRow of WebApi at time {
        /// 0 where the row names no product.
        product_id: i64 = "productId" as Int by product,
        /// Unix seconds.
        time: Option<i64> = "time" as Int by positive,
        /// The raw state code.
        state: Option<i64> = "state" as Int by as_is,
        /// The end of the floating lease, in Unix seconds.
        floating_expires: Option<i64> = "floatingExpires" as Int by as_is,
        /// The whole number passed to a data object method.
        do_int_value: Option<i64> = "doIntValue" as Int by as_is,
        /// The license key, where hashes are wanted.
        license_key: Option<IdentityHash> = "key" as LicenseKey by as_is,
        /// The machine, where hashes are wanted.
        machine: Option<IdentityHash> = "machineCode" as Machine by as_is,
    }
}

impl WebApiRow {
    /// Seconds from the request to the end of its floating lease, above 0.
    pub fn lease_seconds(&self) -> Option<i64> {
        let lease = self.floating_expires?.checked_sub(self.time?)?;
        (lease > 0).then_some(lease)
    }
}
