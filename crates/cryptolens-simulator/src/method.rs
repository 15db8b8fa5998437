//! The methods of the Web API that the simulator answers, by path and by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::log::Log;

/// A method of the simulated Web API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Method {
    /// A page of the Web API Log.
    GetWebApiLog,
    /// A page of the Events Log.
    GetEvents,
    /// A page of the Object Log.
    GetObjectLog,
    /// The vendor's products.
    GetProducts,
    /// One license key.
    GetKey,
    /// The license keys of a product.
    GetKeys,
    /// The vendor's customers.
    GetCustomers,
    /// The vendor's own daily counts of the Web API Log.
    GetDailyAggregates,
    /// Adds a row to the Events Log.
    RegisterEvent,
}

impl Method {
    /// All methods.
    pub const ALL: [Method; 9] = [
        Method::GetWebApiLog,
        Method::GetEvents,
        Method::GetObjectLog,
        Method::GetProducts,
        Method::GetKey,
        Method::GetKeys,
        Method::GetCustomers,
        Method::GetDailyAggregates,
        Method::RegisterEvent,
    ];

    /// The name as the vendor writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Method::GetWebApiLog => "GetWebAPILog",
            Method::GetEvents => "GetEvents",
            Method::GetObjectLog => "GetObjectLog",
            Method::GetProducts => "GetProducts",
            Method::GetKey => "GetKey",
            Method::GetKeys => "GetKeys",
            Method::GetCustomers => "GetCustomers",
            Method::GetDailyAggregates => "GetDailyAggregates",
            Method::RegisterEvent => "RegisterEvent",
        }
    }

    const fn group(self) -> &'static str {
        match self {
            Method::GetProducts | Method::GetKeys => "product",
            Method::GetCustomers => "customer",
            Method::GetKey => "key",
            _ => "ai",
        }
    }

    /// The log that this method pages through, if it does.
    pub const fn log(self) -> Option<Log> {
        match self {
            Method::GetWebApiLog => Some(Log::WebApi),
            Method::GetEvents => Some(Log::Events),
            Method::GetObjectLog => Some(Log::Objects),
            _ => None,
        }
    }

    /// The method at this path, in any letter case and whatever the number of slashes between its
    /// parts or at its end: SDKs call `/api/ai/getwebapilog/` and even
    /// `/api//product/getproducts/`.
    pub(crate) fn at_path(path: &str) -> Option<Method> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let (api, group, name) = (parts.next()?, parts.next()?, parts.next()?);
        let method = Method::from_str(name).ok()?;
        let known = api.eq_ignore_ascii_case("api") && group.eq_ignore_ascii_case(method.group());
        (known && parts.next().is_none()).then_some(method)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a method that the simulator does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no method {0:?}; there are GetWebAPILog, GetEvents, GetObjectLog, GetProducts, GetKey, GetKeys, GetCustomers, GetDailyAggregates, RegisterEvent"
)]
pub struct UnknownMethod(String);

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Method, UnknownMethod> {
        let known = Method::ALL.into_iter().find(|method| method.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| UnknownMethod(name.to_owned()))
    }
}

impl TryFrom<String> for Method {
    type Error = UnknownMethod;

    fn try_from(name: String) -> Result<Method, UnknownMethod> {
        name.parse()
    }
}

impl From<Method> for &'static str {
    fn from(method: Method) -> &'static str {
        method.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_any_case_with_or_without_a_slash() {
        for path in [
            "/api/ai/GetWebAPILog",
            "/API/AI/getwebapilog/",
            "/api/Ai/GETWEBAPILOG",
            "/api//ai/GetWebAPILog/",
        ] {
            assert_eq!(Method::at_path(path), Some(Method::GetWebApiLog), "{path}");
        }
        for path in [
            "/ai/GetWebAPILog",
            "/api/key/GetWebAPILog",
            "/api/ai/GetWebAPILog/x",
            "/api/ai",
            "",
            "/api/ai/x",
        ] {
            assert_eq!(Method::at_path(path), None, "{path}");
        }
    }
}
