//! Bounds what pages take while nobody reads them.
//!
//! A page is rendered for each request, and held until its reader has it. When the pages that are
//! held take more than 64 MiB (readers that take nothing hold theirs for 30 s), requests share a
//! page that is up to 5 s old instead of adding one each, however many they are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Bytes of pages that are held before requests share.
const PLENTY: usize = 64 << 20;
/// How old a shared page may be.
const OLDEST: Duration = Duration::from_secs(5);

/// The pages of one kind (one encoding) that are on their way.
#[derive(Debug, Default)]
pub(super) struct Pages {
    held: Arc<AtomicUsize>,
    shared: Mutex<Option<(Instant, Bytes)>>,
}

/// A page that is counted for as long as somebody holds it.
struct Held {
    page: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.page
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.page.len(), Ordering::AcqRel);
    }
}

impl Pages {
    /// A fresh page, or a shared one where too many are held.
    pub(super) fn get<E>(&self, render: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Bytes, E> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if self.held.load(Ordering::Acquire) < PLENTY {
            *shared = None;
            drop(shared);
            return render().map(|page| self.hold(page));
        }
        if let Some((at, page)) = &*shared
            && at.elapsed() < OLDEST
        {
            return Ok(page.clone());
        }
        let page = self.hold(render()?);
        *shared = Some((Instant::now(), page.clone()));
        Ok(page)
    }

    fn hold(&self, page: Vec<u8>) -> Bytes {
        self.held.fetch_add(page.len(), Ordering::AcqRel);
        Bytes::from_owner(Held { page, held: Arc::clone(&self.held) })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn pages_that_nobody_reads_are_shared_beyond_a_bound() {
        let pages = Pages::default();
        let mut rendered = 0;
        let mut get = || {
            let page = pages.get(|| {
                rendered += 1;
                Ok::<_, Infallible>(vec![0; 1 << 20])
            });
            page.unwrap_or_default()
        };
        let unread: Vec<Bytes> = (0..1000).map(|_| get()).collect();
        assert_eq!(pages.held.load(Ordering::Acquire), 65 << 20);
        drop(unread);
        let fresh = (get(), get());
        drop(fresh);
        assert_eq!(pages.held.load(Ordering::Acquire), 0, "all of it comes back");
        assert_eq!(rendered, 65 + 2, "each has its own while there is room");
    }
}
