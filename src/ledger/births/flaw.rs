//! Rules that look right and give a wrong birth: each is the real rule with one idea missing. The
//! property test must fail with each of them, or it proves nothing. For tests only.

use std::cell::Cell;

/// A wrong rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BirthFlaw {
    /// Label sets of the first poll are born when they are committed.
    FirstPollAtCommit,
    /// Label sets that come later are as old as the origin, too.
    LaterAtOrigin,
    /// A log that counts from its first row is as old as the reading of that row.
    FirstRowWhenRead,
    /// Only the clock of this machine counts, although the rows may have been read before, by that
    /// of the server.
    LocalClock,
}

impl BirthFlaw {
    /// All of them.
    pub(super) const ALL: [BirthFlaw; 4] = [
        BirthFlaw::FirstPollAtCommit,
        BirthFlaw::LaterAtOrigin,
        BirthFlaw::FirstRowWhenRead,
        BirthFlaw::LocalClock,
    ];
}

thread_local! {
    // The ledger of the tests works on the thread that asks it.
    static CURRENT: Cell<Option<BirthFlaw>> = const { Cell::new(None) };
}

/// True while this rule is in force on this thread.
pub(super) fn is(flaw: BirthFlaw) -> bool {
    CURRENT.get() == Some(flaw)
}

/// Works with a wrong rule.
pub(super) fn with<T>(flaw: BirthFlaw, work: impl FnOnce() -> T) -> T {
    CURRENT.set(Some(flaw));
    let done = work();
    CURRENT.set(None);
    done
}
