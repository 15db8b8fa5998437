//! How many requests for the pages of one log may be under way at the same time.

/// The most requests for one log while far behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency(u8);

impl Concurrency {
    /// One request after the other.
    pub const ONE: Concurrency = Concurrency(1);

    /// The default.
    pub const DEFAULT: Concurrency = Concurrency(4);

    /// The most that may be configured: more would hardly be faster, and would look like an attack.
    pub const MOST: u8 = 32;

    /// So many requests; `None` for 0 and above [`Concurrency::MOST`].
    pub const fn new(requests: u8) -> Option<Concurrency> {
        if requests >= 1 && requests <= Concurrency::MOST { Some(Concurrency(requests)) } else { None }
    }

    /// The number of requests.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}
