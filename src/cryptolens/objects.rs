//! The rows of the Object Log (vendor page V3/model/ObjectLog), with the members that are counted.
//! Their member `data` is never read: it can hold whole customers.

use super::row::{as_is, log_row, positive};

log_row! {
    /// One change that a team member made.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct ObjectRow of Objects at created {
        /// Unix seconds.
        created: Option<i64> = "created" as Int by positive,
        /// The raw code; whether the first is 0 or 1 is not documented.
        resource_type: Option<i64> = "resourceType" as Int by as_is,
        /// The raw code; whether the first is 0 or 1 is not documented.
        resource_action: Option<i64> = "resourceAction" as Int by as_is,
    }
}
