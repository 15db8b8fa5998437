//! Which connections are open, and how many may be.
//!
//! At most `--web.max-connections` are open at a time, and fewer if the process may not have that
//! many descriptors: those that pollers and the ledger need are never given to clients.
//!
//! When all are taken, a further client is answered 503 (with TLS, its connection is closed),
//! unless a connection has been open for 2 s without a complete request: then that one, the oldest
//! of its kind, is closed instead. Clients that connect and stay silent therefore keep a scraper
//! out for 2 s at most, rather than for the 10 s that a header may take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Timeouts};
use super::http_connections::HttpConnections;
use super::throttle::LogThrottle;

/// How long a connection may be without a complete request before it makes room for another.
const MAKES_ROOM: Duration = Duration::from_secs(2);

/// Connections that were closed to make room, and whose descriptor may still be open.
const LEAVING: usize = 8;

/// Connections that were answered 503, and are drained so that the answer arrives.
pub(super) const DRAINED: usize = 16;

/// Descriptors that the process has without any account: standard streams, the runtime, the ledger
/// with its readers, listeners, files that are read again now and then. Measured: 20 with one
/// account, its requests included, between two scrapes.
const PROCESS: u64 = 48;

/// Descriptors for the requests of one account: three logs with four requests in flight, products.
const PER_ACCOUNT: u64 = 16;

/// However few descriptors there are, so many connections are tried.
const FEWEST: usize = 4;

/// The list of open connections.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    timeouts: Timeouts,
    counts: Arc<HttpConnections>,
    list: Mutex<ConnectionList>,
    refused: LogThrottle,
}

#[derive(Debug, Default)]
struct ConnectionList {
    open: HashMap<u64, OpenConnection>,
    next: u64,
    leaving: usize,
}

#[derive(Debug)]
struct OpenConnection {
    activity: Arc<Activity>,
    close: CancellationToken,
}

/// The right to be open. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    id: u64,
    connections: Arc<Connections>,
    pub(super) activity: Arc<Activity>,
    /// Cancelled when the connection has to make room.
    pub(super) close: CancellationToken,
}

impl Connections {
    pub(super) fn new(limit: usize, timeouts: Timeouts, counts: Arc<HttpConnections>) -> Arc<Connections> {
        let (list, refused) = (Mutex::default(), LogThrottle::default());
        Arc::new(Connections { limit, timeouts, counts, list, refused })
    }

    fn list(&self) -> MutexGuard<'_, ConnectionList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection, or returns `None` if it has to be refused.
    pub(super) fn admit(self: &Arc<Connections>) -> Option<ConnectionSlot> {
        let mut list = self.list();
        if list.open.len() >= self.limit {
            let made_room = self.make_room(&mut list);
            self.counts.reject();
            if let Some(rejected) = self.refused.count() {
                tracing::warn!(
                    limit = self.limit,
                    rejected,
                    "all connections of the web server are taken; clients are refused, or those that ask for nothing are closed"
                );
            }
            if !made_room {
                return None;
            }
        }
        let id = list.next;
        list.next += 1;
        let (activity, close) = (Activity::new(self.timeouts), CancellationToken::new());
        list.open.insert(id, OpenConnection { activity: Arc::clone(&activity), close: close.clone() });
        self.counts.set_open(list.open.len());
        drop(list);
        Some(ConnectionSlot { id, connections: Arc::clone(self), activity, close })
    }

    /// Closes the connection that has been without a request for the longest, if that is long.
    fn make_room(&self, list: &mut ConnectionList) -> bool {
        if list.leaving >= LEAVING {
            return false;
        }
        let waiting = list.open.iter().filter_map(|(id, open)| Some((open.activity.waiting_for()?, *id)));
        let Some((_, id)) = waiting.max().filter(|(waited, _)| *waited >= MAKES_ROOM) else {
            return false;
        };
        let Some(open) = list.open.remove(&id) else { return false };
        open.close.cancel();
        list.leaving += 1;
        true
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut list = self.connections.list();
        if list.open.remove(&self.id).is_none() {
            list.leaving -= 1;
        }
        self.connections.counts.set_open(list.open.len());
    }
}

/// The number of connections that leave pollers and the ledger their descriptors. Raises the
/// process's own limit first, as far as the system allows, if that is too low.
pub(super) fn affordable(wanted: usize, accounts: usize) -> usize {
    let reserved = reserved(accounts);
    let needed = reserved.saturating_add(u64::try_from(wanted).unwrap_or(u64::MAX));
    let limit = raised(needed);
    let connections = connections_within(limit, reserved, wanted);
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            descriptors = limit,
            "the limit of open files (ulimit -n) is too low for --web.max-connections; fewer connections are open at a time"
        );
    }
    connections
}

fn reserved(accounts: usize) -> u64 {
    let accounts = u64::try_from(accounts).unwrap_or(u64::MAX);
    let passing = u64::try_from(LEAVING + DRAINED).unwrap_or(u64::MAX);
    PROCESS.saturating_add(passing).saturating_add(accounts.saturating_mul(PER_ACCOUNT))
}

fn connections_within(limit: Option<u64>, reserved: u64, wanted: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    let left = usize::try_from(limit.saturating_sub(reserved)).unwrap_or(usize::MAX);
    wanted.min(left.max(FEWEST))
}

/// The limit of open files, raised to what is needed where the system allows; `None` for no limit.
fn raised(needed: u64) -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let current = now.current?;
    if current >= needed {
        return Some(current);
    }
    let raised = now.maximum.map_or(needed, |maximum| maximum.min(needed)).max(current);
    let limit = Rlimit { current: Some(raised), maximum: now.maximum };
    Some(if setrlimit(Resource::Nofile, limit).is_ok() { raised } else { current })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(limit: usize) -> (Arc<Connections>, Arc<HttpConnections>) {
        let counts = Arc::new(HttpConnections::default());
        (Connections::new(limit, Timeouts::default(), Arc::clone(&counts)), counts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_over_the_limit_is_refused_and_a_closed_one_makes_room() {
        let (connections, counts) = connections(2);
        let (first, second) = (connections.admit().unwrap(), connections.admit().unwrap());
        assert!(connections.admit().is_none());
        assert_eq!((counts.open(), counts.rejected()), (2, 1));
        drop(first);
        assert_eq!(counts.open(), 1);
        let third = connections.admit().unwrap();
        drop((second, third));
        assert_eq!((counts.open(), counts.rejected()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_asks_for_nothing_for_the_longest_makes_room_after_two_seconds() {
        let (connections, counts) = connections(3);
        let busy = connections.admit().unwrap();
        let _request = busy.activity.begin();
        let silent = connections.admit().unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let younger = connections.admit().unwrap();
        assert!(connections.admit().is_none(), "too early");
        tokio::time::advance(Duration::from_secs(1)).await;
        let admitted = connections.admit().unwrap();
        assert_eq!(
            [&busy, &silent, &younger, &admitted].map(|slot| slot.close.is_cancelled()),
            [false, true, false, false]
        );
        assert_eq!((counts.open(), counts.rejected()), (3, 2));
        drop(silent);
        assert_eq!(counts.open(), 3, "its slot was given away already");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_descriptors_than_a_few_are_open_beyond_the_limit() {
        let (connections, _) = connections(100);
        let silent: Vec<_> = (0..100).map(|_| connections.admit().unwrap()).collect();
        tokio::time::advance(MAKES_ROOM).await;
        let admitted: Vec<_> = std::iter::from_fn(|| connections.admit()).collect();
        assert_eq!(admitted.len(), LEAVING, "their streams are not closed yet");
        drop(silent);
        assert!(connections.admit().is_some());
    }

    #[test]
    fn pollers_keep_their_descriptors_first() {
        assert_eq!(connections_within(None, reserved(1), 256), 256);
        assert_eq!(connections_within(Some(1024), reserved(1), 256), 256);
        assert_eq!(connections_within(Some(128), reserved(1), 256), 40);
        assert_eq!(connections_within(Some(64), reserved(1), 256), FEWEST);
        assert_eq!(connections_within(Some(64), reserved(1), 2), 2);
    }
}
