//! Basic authentication against bcrypt hashes.
//!
//! Checking a password costs tens of milliseconds or more, which is the point of bcrypt, and
//! must not cost others anything: one password is checked at a time, on a thread of its own, and
//! outcomes are remembered, so that a scraper pays once. At most 32 requests wait for their turn;
//! further ones are answered 503. Requests with the same credentials share one check.
//!
//! A user that does not exist costs as much as one that does. Outcomes are kept under a keyed hash
//! of the credentials, never the credentials themselves, accepted and denied ones apart, so that
//! guesses cannot push out the scraper's.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use tokio::sync::Semaphore;

/// Outcomes of each kind that are remembered.
const REMEMBERED: usize = 100;

/// Requests that wait for a check of their password.
const WAITING: usize = 32;

/// The costs that the algorithm has.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// From this cost on, a check takes seconds.
const SLOW: u32 = 15;

/// The alphabet of bcrypt's own base64.
const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A bcrypt hash of a valid form.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PasswordHash {
    text: String,
    cost: u32,
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(hash of cost {})", self.cost)
    }
}

impl PasswordHash {
    /// Takes `$2y$10$` and 53 characters; `2a` and `2b` mean the same.
    pub(super) fn parse(text: &str) -> Option<PasswordHash> {
        let parts: Vec<&str> = text.split('$').collect();
        let ["", "2a" | "2b" | "2y", cost, rest] = parts[..] else { return None };
        if cost.len() != 2 || rest.len() != 53 || !rest.bytes().all(|byte| ALPHABET.contains(&byte)) {
            return None;
        }
        let cost = cost.parse().ok().filter(|cost| COSTS.contains(cost))?;
        Some(PasswordHash { text: text.to_owned(), cost })
    }

    /// A hash that no known password has.
    fn decoy(cost: u32) -> PasswordHash {
        let random: [u8; 53] = rand::random();
        let mut letters = random.map(|byte| char::from(ALPHABET[usize::from(byte % 64)]));
        // The last letters of salt and hash stand for 2 and 4 bits only; the others have to be 0.
        (letters[21], letters[52]) = ('.', '.');
        let letters: String = letters.iter().collect();
        PasswordHash { text: format!("$2b${cost:02}${letters}"), cost }
    }

    pub(super) fn cost(&self) -> u32 {
        self.cost
    }

    pub(super) fn is_slow(&self) -> bool {
        self.cost >= SLOW
    }
}

/// Who may ask; at least one.
#[derive(Debug)]
pub(super) struct Users {
    hashes: BTreeMap<String, PasswordHash>,
    decoy: PasswordHash,
}

impl Users {
    /// `None` if there are none, which means that everybody may ask.
    pub(super) fn new(hashes: BTreeMap<String, PasswordHash>) -> Option<Users> {
        let cost = hashes.values().map(PasswordHash::cost).max()?;
        Some(Users { hashes, decoy: PasswordHash::decoy(cost) })
    }
}

/// The verdict on credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CredentialVerdict {
    /// They are right.
    Accepted,
    /// They are missing or wrong.
    Denied,
    /// Too many others wait for theirs to be checked.
    Overloaded,
}

type Fingerprint = [u8; 32];

/// Checks passwords, and remembers outcomes.
#[derive(Debug)]
pub(super) struct PasswordChecker {
    /// Random for each process.
    key: hmac::Key,
    outcomes: Arc<Mutex<Outcomes>>,
    turn: Arc<Semaphore>,
    waiting: Semaphore,
}

#[derive(Debug, Default)]
struct Outcomes {
    accepted: RecentSet,
    denied: RecentSet,
}

impl Outcomes {
    fn get(&self, fingerprint: &Fingerprint) -> Option<bool> {
        if self.accepted.members.contains(fingerprint) {
            return Some(true);
        }
        self.denied.members.contains(fingerprint).then_some(false)
    }
}

/// The newest members of a set.
#[derive(Debug, Default)]
struct RecentSet {
    members: HashSet<Fingerprint>,
    order: VecDeque<Fingerprint>,
}

impl RecentSet {
    fn insert(&mut self, fingerprint: Fingerprint) {
        if !self.members.insert(fingerprint) {
            return;
        }
        self.order.push_back(fingerprint);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.members.remove(&oldest);
        }
    }
}

impl Default for PasswordChecker {
    fn default() -> PasswordChecker {
        PasswordChecker {
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<Fingerprint>()),
            outcomes: Arc::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Semaphore::new(WAITING),
        }
    }
}

impl PasswordChecker {
    /// Judges the value of an `Authorization` header.
    pub(super) async fn check(
        &self,
        users: &Users,
        authorization: Option<&HeaderValue>,
    ) -> CredentialVerdict {
        let Some((name, password)) = authorization.and_then(credentials) else {
            return CredentialVerdict::Denied;
        };
        let known = users.hashes.get(&name);
        let hash = known.unwrap_or(&users.decoy);
        let fingerprint = self.fingerprint(&name, hash, &password);
        let outcome = lock(&self.outcomes).get(&fingerprint);
        let matches = match outcome {
            Some(matches) => matches,
            None => {
                let Ok(_waiting) = self.waiting.try_acquire() else { return CredentialVerdict::Overloaded };
                self.matches(hash.clone(), password, fingerprint).await
            }
        };
        if matches && known.is_some() { CredentialVerdict::Accepted } else { CredentialVerdict::Denied }
    }

    async fn matches(&self, hash: PasswordHash, password: Vec<u8>, fingerprint: Fingerprint) -> bool {
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return false };
        // The one before may have had the same credentials.
        if let Some(matches) = lock(&self.outcomes).get(&fingerprint) {
            return matches;
        }
        let outcomes = Arc::clone(&self.outcomes);
        let checked = tokio::task::spawn_blocking(move || {
            // A client that leaves cannot end the check: its turn lasts until it is over.
            let _turn = turn;
            let matches = bcrypt::verify(password, &hash.text).unwrap_or(false);
            let mut outcomes = lock(&outcomes);
            let kept = if matches { &mut outcomes.accepted } else { &mut outcomes.denied };
            kept.insert(fingerprint);
            matches
        });
        checked.await.unwrap_or(false)
    }

    fn fingerprint(&self, name: &str, hash: &PasswordHash, password: &[u8]) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name.as_bytes(), hash.text.as_bytes(), password] {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }
}

fn lock(outcomes: &Mutex<Outcomes>) -> MutexGuard<'_, Outcomes> {
    outcomes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// User and password of `Basic` and base64.
fn credentials(authorization: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = authorization.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, password) = decoded.split_at(colon);
    // A name that is no text belongs to nobody, and takes as long as any other.
    let name = String::from_utf8_lossy(name).into_owned();
    Some((name, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn basic(name: &str, password: &str) -> HeaderValue {
        let encoded = BASE64_STANDARD.encode(format!("{name}:{password}"));
        format!("Basic {encoded}").parse().unwrap()
    }

    fn hash(password: &str, cost: u32) -> PasswordHash {
        PasswordHash::parse(&bcrypt::hash(password, cost).unwrap()).unwrap()
    }

    fn users(users: &[(&str, &str)]) -> Users {
        let hashes = users.iter().map(|(name, password)| ((*name).to_owned(), hash(password, 4)));
        Users::new(hashes.collect()).unwrap()
    }

    #[test]
    fn only_hashes_of_the_usual_form_are_taken() {
        let good = "$2y$10$qRTBuFoULoYNA7AQ/F3ck.trZBPyjV64.oA4ZsSBCIWvXuvQlQTuu";
        assert_eq!(PasswordHash::parse(good).unwrap().cost(), 10);
        assert!(!format!("{:?}", PasswordHash::parse(good)).contains("qRTB"));
        for bad in [
            "doe",
            "",
            &good[1..],
            &good[..59],
            &good.replace("$10$", "$03$"),
            &good.replace("$10$", "$32$"),
            &good.replace("2y", "3y"),
            &good.replace("qR", "q!"),
        ] {
            assert_eq!(PasswordHash::parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn right_credentials_are_accepted_and_all_others_denied() {
        let (checker, users) = (PasswordChecker::default(), users(&[("alice", "one:two"), ("bob", "")]));
        for _ in 0..2 {
            for (name, password, verdict) in [
                ("alice", "one:two", CredentialVerdict::Accepted),
                ("bob", "", CredentialVerdict::Accepted),
                ("alice", "one", CredentialVerdict::Denied),
                ("bob", "one:two", CredentialVerdict::Denied),
                ("carol", "one:two", CredentialVerdict::Denied),
                ("", "", CredentialVerdict::Denied),
                ("alice", "", CredentialVerdict::Denied),
            ] {
                assert_eq!(checker.check(&users, Some(&basic(name, password))).await, verdict, "{name}");
            }
        }
        for header in ["", "Basic", "Basic !", "Basic YWxpY2U=", "Bearer b25l"] {
            assert_eq!(
                checker.check(&users, Some(&header.parse().unwrap())).await,
                CredentialVerdict::Denied
            );
        }
        assert_eq!(checker.check(&users, None).await, CredentialVerdict::Denied);
        let lower = basic("bob", "").to_str().unwrap().replace("Basic", "bASIC");
        assert_eq!(checker.check(&users, Some(&lower.parse().unwrap())).await, CredentialVerdict::Accepted);
    }

    #[tokio::test]
    async fn a_changed_hash_forgets_the_old_password() {
        let (checker, old) = (PasswordChecker::default(), users(&[("alice", "old")]));
        assert_eq!(checker.check(&old, Some(&basic("alice", "old"))).await, CredentialVerdict::Accepted);
        let new = users(&[("alice", "new")]);
        assert_eq!(checker.check(&new, Some(&basic("alice", "old"))).await, CredentialVerdict::Denied);
    }

    #[test]
    fn the_decoy_costs_a_whole_check() {
        for _ in 0..200 {
            let decoy = PasswordHash::decoy(4);
            assert_eq!(PasswordHash::parse(&decoy.text).as_ref(), Some(&decoy));
            assert_eq!(bcrypt::verify("guess", &decoy.text).ok(), Some(false), "{}", decoy.text);
        }
        let mut hashes = BTreeMap::new();
        hashes.insert("alice".to_owned(), hash("one", 5));
        assert_eq!(Users::new(hashes).unwrap().decoy.cost(), 5);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_check_at_a_time_and_one_for_the_same_credentials() {
        let checker = Arc::new(PasswordChecker::default());
        let mut hashes = BTreeMap::new();
        hashes.insert("alice".to_owned(), hash("one", 10));
        let users = Arc::new(Users::new(hashes).unwrap());
        let began = Instant::now();
        let one = checker.check(&users, Some(&basic("alice", "one"))).await;
        let took = began.elapsed();
        assert_eq!(one, CredentialVerdict::Accepted);
        // A second's worth of checks if each had its own.
        let mut guesses = tokio::task::JoinSet::new();
        for _ in 0..WAITING {
            let (checker, users) = (Arc::clone(&checker), Arc::clone(&users));
            guesses.spawn(async move { checker.check(&users, Some(&basic("alice", "two"))).await });
        }
        assert!(guesses.join_all().await.iter().all(|verdict| *verdict == CredentialVerdict::Denied));
        assert_eq!(lock(&checker.outcomes).denied.order.len(), 1);
        assert!(took > Duration::ZERO);
        assert_eq!(checker.turn.available_permits(), 1);
    }

    #[tokio::test]
    async fn guesses_push_out_neither_the_scraper_nor_memory() {
        let (checker, users) = (PasswordChecker::default(), users(&[("alice", "one")]));
        checker.check(&users, Some(&basic("alice", "one"))).await;
        for guess in 0..REMEMBERED + 20 {
            checker.check(&users, Some(&basic("alice", &guess.to_string()))).await;
        }
        let outcomes = lock(&checker.outcomes);
        assert_eq!((outcomes.accepted.members.len(), outcomes.denied.members.len()), (1, REMEMBERED));
        assert_eq!(outcomes.denied.order.len(), REMEMBERED);
    }

    #[tokio::test]
    async fn too_many_that_wait_are_answered_at_once() {
        let (checker, users) = (PasswordChecker::default(), users(&[("alice", "one")]));
        let turn = Arc::clone(&checker.turn).acquire_owned().await.unwrap();
        let others = checker.waiting.try_acquire_many(u32::try_from(WAITING).unwrap()).unwrap();
        assert_eq!(checker.check(&users, Some(&basic("alice", "one"))).await, CredentialVerdict::Overloaded);
        drop((turn, others));
        assert_eq!(checker.check(&users, Some(&basic("alice", "one"))).await, CredentialVerdict::Accepted);
    }
}
