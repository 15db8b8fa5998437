//! The choice between refusing, adopting and setting aside a ledger of another API.

/// The action for a ledger that was written for the API at another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForeignLedger {
    /// Do not start.
    #[default]
    Refuse,
    /// Go on with it, and record the new address; never the demo's.
    Adopt,
    /// Move it aside, and begin a new one.
    SetAside,
}
