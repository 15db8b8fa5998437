//! The methods of the Web API that this product calls. All of them only read.

use super::log_kind::LogKind;

/// A method of the Web API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// Pages through a log.
    Log(LogKind),
    /// Lists the vendor's products, for their names.
    GetProducts,
    /// Shows one license key, for its number of seats.
    GetKey,
    /// Pages through the license keys of a product.
    GetKeys,
    /// Lists the vendor's customers, for the names of their companies.
    GetCustomers,
    /// Pages through the vendor's own daily counts of the Web API Log.
    GetDailyAggregates,
}

impl Endpoint {
    /// The method's name as the vendor writes it; the value of the label `method`.
    pub const fn name(self) -> &'static str {
        match self {
            Endpoint::Log(log) => log.method(),
            Endpoint::GetProducts => "GetProducts",
            Endpoint::GetKey => "GetKey",
            Endpoint::GetKeys => "GetKeys",
            Endpoint::GetCustomers => "GetCustomers",
            Endpoint::GetDailyAggregates => "GetDailyAggregates",
        }
    }

    /// The part of the path before the name.
    pub(super) const fn group(self) -> &'static str {
        match self {
            Endpoint::Log(_) | Endpoint::GetDailyAggregates => "ai",
            Endpoint::GetProducts | Endpoint::GetKeys => "product",
            Endpoint::GetCustomers => "customer",
            Endpoint::GetKey => "key",
        }
    }
}

impl LogKind {
    /// The method that pages through this log.
    pub const fn endpoint(self) -> Endpoint {
        Endpoint::Log(self)
    }
}
