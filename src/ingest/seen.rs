//! The ids above the floor that were counted, as sorted batches of differences: 1 to 2 bytes an id
//! where a tree node takes 20 to 40, because all of them are kept in memory and in the ledger.
//!
//! Promises: exact for every 64-bit id; appending costs no more than the appended ids, and a late
//! id costs one batch; damaged bytes of a batch are an error or another set (which the ledger's
//! digest shows), never a panic.

use std::collections::VecDeque;

/// Most ids of one chunk.
const MOST_IDS: usize = 1024;

/// Most bytes of one chunk. With its keys it stays below 1002 bytes, the most that a row of a table
/// without row ids may have beside others in a page of 4096 bytes: the ledger never needs an
/// overflow page for a chunk.
const MOST_BYTES: usize = 900;

/// A chunk whose bytes were not written by [`SeenChunk::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seen ids from {first} to {last} cannot be decoded")]
pub struct DamagedChunk {
    /// The first id that it should have.
    pub first: i64,
    /// The last one.
    pub last: i64,
}

/// Some neighbouring seen ids: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenChunk {
    first: i64,
    last: i64,
    len: usize,
    /// For each id but the first, how many ids lie between it and the one before, as a
    /// variable-length number: seven bits a byte, the lowest first, the highest bit set in all
    /// bytes but the last.
    bytes: Vec<u8>,
}

impl SeenChunk {
    fn new(id: i64) -> SeenChunk {
        SeenChunk { first: id, last: id, len: 1, bytes: Vec::new() }
    }

    /// Decodes a chunk that the ledger has kept.
    ///
    /// # Errors
    /// The bytes are no list of ascending ids from `first` to `last`.
    pub fn decode(first: i64, last: i64, bytes: Vec<u8>) -> Result<SeenChunk, DamagedChunk> {
        let damaged = DamagedChunk { first, last };
        let (mut rest, mut id, mut len) = (&bytes[..], first, 1);
        while !rest.is_empty() {
            let between = read_number(&mut rest).ok_or(damaged)?;
            id = id_after(id, between).ok_or(damaged)?;
            len += 1;
        }
        if id == last { Ok(SeenChunk { first, last, len, bytes }) } else { Err(damaged) }
    }

    /// Puts ascending ids into as few chunks as they need, of about the same size.
    pub fn pack(ids: &[i64]) -> Vec<SeenChunk> {
        let chunks = Self::fill(ids, MOST_IDS);
        // Full chunks would be split again by the next late id.
        let even = ids.len().div_ceil(chunks.len().max(1));
        if chunks.len() > 1 { Self::fill(ids, even) } else { chunks }
    }

    fn fill(ids: &[i64], most: usize) -> Vec<SeenChunk> {
        let mut chunks = Vec::new();
        push_all(&mut chunks, ids, most, |chunks| chunks.last_mut(), Vec::push);
        chunks
    }

    /// Appends an id above the last; false if there is no room for it.
    fn push(&mut self, id: i64) -> bool {
        let between = distance(self.last, id).saturating_sub(1);
        if self.len >= MOST_IDS || self.bytes.len() + number_size(between) > MOST_BYTES {
            return false;
        }
        write_number(&mut self.bytes, between);
        self.last = id;
        self.len += 1;
        true
    }

    /// Its lowest id.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// Its highest id.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// The bytes for [`SeenChunk::decode`].
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = i64> + '_ {
        let (mut rest, mut id) = (&self.bytes[..], self.first);
        std::iter::once(self.first).chain(std::iter::from_fn(move || {
            id = id_after(id, read_number(&mut rest)?)?;
            Some(id)
        }))
    }

    /// Appends ascending ids above its last. Returns the chunks that take its place: itself, filled
    /// up, and others.
    pub fn append(self, ids: &[i64]) -> Vec<SeenChunk> {
        let mut chunks = vec![self];
        push_all(&mut chunks, ids, MOST_IDS, |chunks| chunks.last_mut(), Vec::push);
        chunks
    }

    /// Merges ascending ids into its own. Returns the chunks that take its place, and how many ids
    /// were new.
    pub fn merge(&self, ids: &[i64]) -> (Vec<SeenChunk>, usize) {
        let mut all = Vec::with_capacity(self.len + ids.len());
        let mut more = ids.iter().copied().peekable();
        for id in self.ids() {
            while let Some(new) = more.next_if(|new| *new < id) {
                all.push(new);
            }
            more.next_if_eq(&id);
            all.push(id);
        }
        all.extend(more);
        let added = all.len() - self.len;
        (Self::pack(&all), added)
    }
}

/// A set of ids; see the head of this file.
#[derive(Debug, Clone, Default)]
pub struct SeenIds {
    /// Ascending, and none reaches into the next.
    chunks: VecDeque<SeenChunk>,
    len: u64,
}

/// The same ids are the same set, however they are cut into chunks.
impl PartialEq for SeenIds {
    fn eq(&self, other: &SeenIds) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for SeenIds {}

impl FromIterator<i64> for SeenIds {
    fn from_iter<T: IntoIterator<Item = i64>>(ids: T) -> SeenIds {
        let ids: Vec<i64> = ids.into_iter().collect();
        let mut seen = SeenIds::default();
        seen.insert_sorted(&ids);
        seen
    }
}

impl SeenIds {
    /// How many ids it has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The highest id.
    pub fn last(&self) -> Option<i64> {
        self.chunks.back().map(|chunk| chunk.last)
    }

    /// All ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.chunks.iter().flat_map(SeenChunk::ids)
    }

    /// The bytes that it takes beside itself.
    pub fn heap_bytes(&self) -> usize {
        let bytes: usize = self.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        self.chunks.capacity() * size_of::<SeenChunk>() + bytes
    }

    /// True if it has this id.
    pub fn contains(&self, id: i64) -> bool {
        self.unseen(&[id]) == [false]
    }

    /// For each of some ascending ids, whether it is not here. Each chunk is decoded once at most.
    pub fn unseen(&self, ids: &[i64]) -> Vec<bool> {
        let mut unseen = vec![true; ids.len()];
        let mut next = 0;
        while let Some(id) = ids.get(next) {
            let at = self.chunks.partition_point(|chunk| chunk.last < *id);
            let Some(chunk) = self.chunks.get(at) else { break };
            let mut known = chunk.ids().peekable();
            while let (Some(id), Some(is_unseen)) = (ids.get(next), unseen.get_mut(next)) {
                if *id > chunk.last {
                    break;
                }
                while known.next_if(|known| known < id).is_some() {}
                *is_unseen = known.peek() != Some(id);
                next += 1;
            }
        }
        unseen
    }

    /// Adds ascending ids. Returns how many of them were new.
    pub fn insert_sorted(&mut self, ids: &[i64]) -> u64 {
        let sorted: Vec<i64>;
        let mut rest = ids;
        if !ids.is_sorted_by(|one, next| one < next) {
            let set: std::collections::BTreeSet<i64> = ids.iter().copied().collect();
            sorted = set.into_iter().collect();
            rest = &sorted;
        }
        let before = self.len;
        while let Some(id) = rest.first() {
            if self.last().is_none_or(|last| *id > last) {
                self.append(rest);
                break;
            }
            let at = self.chunks.partition_point(|chunk| chunk.first <= *id).saturating_sub(1);
            let Some(chunk) = self.chunks.get(at) else { break };
            let belongs = match self.chunks.get(at + 1) {
                Some(next) => rest.partition_point(|id| *id < next.first),
                None => rest.partition_point(|id| *id <= chunk.last),
            };
            let (here, after) = rest.split_at(belongs);
            let (merged, added) = chunk.merge(here);
            if added > 0 {
                self.chunks.remove(at);
                for (offset, chunk) in merged.into_iter().enumerate() {
                    self.chunks.insert(at + offset, chunk);
                }
                self.len += size(added);
            }
            rest = after;
        }
        self.len - before
    }

    fn append(&mut self, ids: &[i64]) {
        push_all(&mut self.chunks, ids, MOST_IDS, VecDeque::back_mut, VecDeque::push_back);
        self.len += size(ids.len());
    }

    /// Adds a chunk above all others, as the ledger has it.
    ///
    /// # Errors
    /// It is not above all others.
    pub fn push_chunk(&mut self, chunk: SeenChunk) -> Result<(), DamagedChunk> {
        if self.last().is_some_and(|last| last >= chunk.first) {
            return Err(DamagedChunk { first: chunk.first, last: chunk.last });
        }
        self.len += size(chunk.len);
        self.chunks.push_back(chunk);
        Ok(())
    }

    /// Drops ids up to and including `floor`.
    pub fn forget_through(&mut self, floor: i64) {
        while self.chunks.front().is_some_and(|chunk| chunk.first <= floor) {
            let Some(chunk) = self.chunks.pop_front() else { break };
            self.len = self.len.saturating_sub(size(chunk.len));
            if chunk.last > floor {
                let left: Vec<i64> = chunk.ids().filter(|id| *id > floor).collect();
                self.len += size(left.len());
                SeenChunk::pack(&left).into_iter().rev().for_each(|chunk| self.chunks.push_front(chunk));
                break;
            }
        }
        if self.chunks.capacity() > 64 && self.chunks.capacity() / 4 > self.chunks.len() {
            self.chunks.shrink_to_fit();
        }
    }

    /// How many ids are higher than `id`.
    pub fn count_above(&self, id: i64) -> u64 {
        let at = self.chunks.partition_point(|chunk| chunk.last <= id);
        let mut count = 0;
        for chunk in self.chunks.range(at..) {
            count += size(if chunk.first > id {
                chunk.len
            } else {
                chunk.ids().filter(|other| *other > id).count()
            });
        }
        count
    }
}

/// Puts ascending ids into the last of some chunks, and into new ones when it is full.
fn push_all<C>(
    chunks: &mut C,
    ids: &[i64],
    most: usize,
    last: impl Fn(&mut C) -> Option<&mut SeenChunk>,
    push: impl Fn(&mut C, SeenChunk),
) {
    for id in ids {
        if last(chunks).is_some_and(|chunk| chunk.len < most && chunk.push(*id)) {
            continue;
        }
        if let Some(full) = last(chunks) {
            full.bytes.shrink_to_fit();
        }
        push(chunks, SeenChunk::new(*id));
    }
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// `to - from` for ascending ids; between the extremes it does not fit an `i64`.
fn distance(from: i64, to: i64) -> u64 {
    to.wrapping_sub(from).cast_unsigned()
}

/// The id that lies `between` ids above `id`.
fn id_after(id: i64, between: u64) -> Option<i64> {
    id.checked_add_unsigned(between.checked_add(1)?)
}

fn number_size(number: u64) -> usize {
    let bits = usize::try_from(u64::BITS - number.leading_zeros()).unwrap_or(64);
    bits.div_ceil(7).max(1)
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(low_bits(number) | 0x80);
        number >>= 7;
    }
    bytes.push(low_bits(number));
}

fn low_bits(number: u64) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or_default()
}

/// `None` at the end, for a number that is cut short, has no place in 64 bits, or is longer than it
/// need be.
fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits.leading_zeros() < shift {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            let is_shortest = shift == 0 || bits > 0;
            return is_shortest.then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Ids near each other, near the ends, and anywhere.
    fn id() -> impl Strategy<Value = i64> {
        prop_oneof![
            8 => -30i64..300,
            1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(i64::MIN + 1), Just(i64::MAX - 1)],
            1 => any::<i64>(),
        ]
    }

    fn ids(most: usize) -> impl Strategy<Value = Vec<i64>> {
        let spread = prop::collection::btree_set(id(), 0..most).prop_map(|ids| ids.into_iter().collect());
        // A stretch like a page of the API, which fills chunks.
        let page = (-3000i64..3000, prop::collection::vec(1i64..400, 0..1500)).prop_map(|(first, gaps)| {
            gaps.into_iter()
                .scan(first, |id, gap| {
                    *id += gap;
                    Some(*id)
                })
                .collect()
        });
        prop_oneof![3 => spread, 1 => page]
    }

    #[derive(Debug, Clone)]
    enum Action {
        Insert(Vec<i64>),
        Forget(i64),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![4 => ids(60).prop_map(Action::Insert), 1 => id().prop_map(Action::Forget)]
    }

    fn check(seen: &SeenIds, truth: &BTreeSet<i64>, questions: &[i64]) -> Result<(), TestCaseError> {
        prop_assert_eq!(seen.len(), size(truth.len()));
        prop_assert_eq!(seen.is_empty(), truth.is_empty());
        prop_assert_eq!(seen.last(), truth.last().copied());
        prop_assert!(seen.iter().eq(truth.iter().copied()));
        let unseen: Vec<bool> = questions.iter().map(|id| !truth.contains(id)).collect();
        prop_assert_eq!(seen.unseen(questions), unseen);
        for id in questions {
            prop_assert_eq!(seen.contains(*id), truth.contains(id));
            let above = (std::ops::Bound::Excluded(*id), std::ops::Bound::Unbounded);
            prop_assert_eq!(seen.count_above(*id), size(truth.range(above).count()));
        }
        let mut end = None;
        for chunk in &seen.chunks {
            prop_assert!(end.is_none_or(|end| end < chunk.first));
            prop_assert!(chunk.len <= MOST_IDS && chunk.bytes.len() <= MOST_BYTES);
            prop_assert_eq!(chunk.ids().count(), chunk.len);
            prop_assert_eq!(chunk.ids().last(), Some(chunk.last));
            end = Some(chunk.last);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_the_ids_that_were_added(
            actions in prop::collection::vec(action(), 0..12),
            questions in prop::collection::btree_set(id(), 0..40),
        ) {
            let questions: Vec<i64> = questions.into_iter().collect();
            let (mut seen, mut truth) = (SeenIds::default(), BTreeSet::new());
            for action in actions {
                match action {
                    Action::Insert(ids) => {
                        let new = ids.iter().filter(|id| truth.insert(**id)).count();
                        prop_assert_eq!(seen.insert_sorted(&ids), size(new));
                    }
                    Action::Forget(floor) => {
                        seen.forget_through(floor);
                        truth.retain(|id| *id > floor);
                    }
                }
                check(&seen, &truth, &questions)?;
            }
            let again: SeenIds = truth.iter().copied().collect();
            prop_assert_eq!(&again, &seen, "the cut into chunks makes no difference");
        }

        #[test]
        fn a_chunk_comes_back_from_its_bytes(ids in ids(300)) {
            let mut seen = SeenIds::default();
            for chunk in SeenChunk::pack(&ids) {
                let decoded = SeenChunk::decode(chunk.first(), chunk.last(), chunk.bytes().to_vec());
                prop_assert_eq!(decoded.as_ref(), Ok(&chunk));
                prop_assert_eq!(seen.push_chunk(chunk), Ok(()));
            }
            prop_assert!(seen.iter().eq(ids.iter().copied()));
        }

        #[test]
        fn damaged_bytes_are_an_error_or_other_ids(
            ids in prop::collection::btree_set(id(), 1..60),
            at in any::<prop::sample::Index>(),
            flip in 1u8..=255,
        ) {
            let ids: Vec<i64> = ids.into_iter().collect();
            for chunk in SeenChunk::pack(&ids).into_iter().filter(|chunk| !chunk.bytes.is_empty()) {
                let mut bytes = chunk.bytes.clone();
                bytes[at.index(chunk.bytes.len())] ^= flip;
                match SeenChunk::decode(chunk.first, chunk.last, bytes) {
                    Ok(other) => prop_assert_ne!(other, chunk),
                    Err(damaged) => {
                        prop_assert_eq!(damaged, DamagedChunk { first: chunk.first, last: chunk.last })
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(first in id(), last in id(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(chunk) = SeenChunk::decode(first, last, bytes) {
                prop_assert_eq!(chunk.ids().count(), chunk.len);
                prop_assert!(chunk.ids().is_sorted_by(|one, next| one < next));
            }
        }
    }

    #[test]
    fn a_million_ids_take_two_bytes_each_at_most() {
        for (gap, most) in [(1, 1.2), (90, 1.2), (1000, 2.3)] {
            let mut seen = SeenIds::default();
            for page in 0..1000 {
                let ids: Vec<i64> = (0..1000).map(|id| (page * 1000 + id) * gap).collect();
                assert_eq!(seen.insert_sorted(&ids), 1000);
            }
            let each = seen.heap_bytes() as f64 / 1e6;
            assert!(each < most, "{each} bytes an id at a distance of {gap}");
            seen.forget_through(999_000 * gap);
            assert_eq!(seen.len(), 999);
            assert!(seen.heap_bytes() < 20_000, "{} bytes for 999 ids", seen.heap_bytes());
        }
    }

    #[test]
    fn late_ids_everywhere_leave_the_chunks_well_filled() {
        let mut seen: SeenIds = (0..100_000).map(|id| id * 10).collect();
        let late: Vec<i64> = (0..100_000).map(|id| id * 10 + 5).collect();
        for some in late.chunks(7) {
            seen.insert_sorted(some);
        }
        assert_eq!(seen.len(), 200_000);
        assert!(seen.heap_bytes() < 700_000, "{} bytes", seen.heap_bytes());
    }

    #[test]
    fn ids_in_disorder_are_taken_all_the_same() {
        let mut seen = SeenIds::default();
        assert_eq!(seen.insert_sorted(&[5, 3, 3, 9]), 3);
        assert_eq!(seen.insert_sorted(&[9, 4]), 1);
        assert!(seen.iter().eq([3, 4, 5, 9]));
    }
}
