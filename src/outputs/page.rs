//! Renders a snapshot as a page in pieces, so that an unchanged chunk of points is rendered once
//! and compressed once, however many pages it is on and however many readers have them.
//!
//! A page is a list of pieces that share their bytes: a reader that takes nothing holds no copy of
//! its own. When the pieces that are held take more than 64 MiB beyond the newest page, which takes
//! many slow readers in the middle of many commits, readers get a page that is up to 5 s old.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crc32fast::Hasher;

use crate::metrics::{BirthTime, Family, FamilyType, Point, PointChunk, ProcessFamily, ProcessPoint};
use crate::snapshot::{CommittedPart, PointGroup, Snapshot};

use super::gzip::{self, Deflated, Deflater};

/// Bytes of pieces that are held, beside those of the newest page, before readers share pages.
const PLENTY: usize = 64 << 20;
/// How old a shared page may be.
const OLDEST: Duration = Duration::from_secs(5);

/// The description of a family in a format.
#[derive(Debug, Clone, Copy)]
pub struct FamilyHead<'a> {
    /// The name.
    pub name: &'a str,
    /// The help text.
    pub help: &'a str,
    /// The type.
    pub family_type: FamilyType,
}

/// From this many chunks on, rendering takes longer than starting a thread does: some 0.3 ms for 8
/// chunks of 96 points. So many are new in the first scrape after a start.
const MANY_CHUNKS: usize = 16;

/// A format of `/metrics`.
pub trait ExpositionFormat: Send + Sync + 'static {
    /// Writes what comes before the points of a family, which take `points` bytes.
    fn head(&self, out: &mut Vec<u8>, head: FamilyHead<'_>, points: usize);

    /// Writes a point of the ledger.
    fn point(&self, out: &mut Vec<u8>, family: &Family, account: Option<&str>, point: &Point);

    /// Writes a point of the process, which started at `born`.
    fn process_point(&self, out: &mut Vec<u8>, family: &ProcessFamily, point: &ProcessPoint, born: BirthTime);

    /// Writes what ends a page.
    fn end(&self, _out: &mut Vec<u8>) {}
}

/// A page, as pieces that follow one another.
#[derive(Debug, Clone, Default)]
pub struct RenderedPage {
    /// The pieces; none is empty.
    pub pieces: Vec<Bytes>,
    /// Their length together.
    pub length: usize,
}

impl RenderedPage {
    fn push(&mut self, piece: &Bytes) {
        if !piece.is_empty() {
            self.length += piece.len();
            self.pieces.push(piece.clone());
        }
    }

    /// All of it in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

/// Bytes that are counted for as long as somebody holds them.
struct Held {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl Held {
    fn hold(bytes: Vec<u8>, held: &Arc<AtomicUsize>) -> Bytes {
        held.fetch_add(bytes.len(), Ordering::AcqRel);
        Bytes::from_owner(Held { bytes, held: Arc::clone(held) })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::AcqRel);
    }
}

/// A piece of a page, compressed when it is first asked for.
struct Piece {
    plain: Bytes,
    deflated: OnceLock<Deflated>,
}

impl Piece {
    fn new(plain: Bytes) -> Arc<Piece> {
        Arc::new(Piece { plain, deflated: OnceLock::new() })
    }
}

/// Neighbouring pieces of one account and family, or one of its own.
struct PieceGroup {
    pieces: Vec<Arc<Piece>>,
    length: usize,
    /// The checksum of all pieces, once they are compressed.
    checksum: OnceLock<Hasher>,
}

impl PieceGroup {
    fn new(pieces: Vec<Arc<Piece>>) -> Arc<PieceGroup> {
        let length = pieces.iter().map(|piece| piece.plain.len()).sum();
        Arc::new(PieceGroup { pieces, length, checksum: OnceLock::new() })
    }
}

/// A family on a page.
struct FamilyPage {
    name: String,
    groups: Vec<Arc<PieceGroup>>,
}

/// A group of the last committed part, by family and account.
struct KnownGroup {
    chunks: Vec<Arc<PointChunk>>,
    group: Arc<PieceGroup>,
}

impl KnownGroup {
    fn new(key: &GroupKey, group: &PointGroup, pieces: &Pieces) -> KnownGroup {
        let of_chunk = |chunk| pieces.get(&(key.clone(), Arc::as_ptr(chunk))).cloned();
        let of_group = group.chunks.iter().filter_map(of_chunk);
        KnownGroup { chunks: group.chunks.clone(), group: PieceGroup::new(of_group.collect()) }
    }

    /// True if these are the chunks of the group.
    fn is_of(&self, group: &PointGroup) -> bool {
        self.chunks.len() == group.chunks.len()
            && self.chunks.iter().zip(&group.chunks).all(|(known, chunk)| Arc::ptr_eq(known, chunk))
    }
}

/// Pieces by group and address of their chunk: groups may share one and show it with other labels.
type Pieces = HashMap<(GroupKey, *const PointChunk), Arc<Piece>>;

/// A chunk that no piece shows yet.
struct FreshChunk<'a> {
    family: &'static Family,
    account: &'a Option<Arc<str>>,
    chunk: &'a Arc<PointChunk>,
}

type GroupKey = (&'static str, Option<Arc<str>>);

#[derive(Default)]
struct Cache {
    part: Option<Arc<CommittedPart>>,
    families: Vec<FamilyPage>,
    groups: HashMap<GroupKey, KnownGroup>,
    /// Heads of families and families of the process, by name.
    small: HashMap<(bool, String), Arc<PieceGroup>>,
    end: Option<Arc<PieceGroup>>,
    /// The last page of each kind (plain, compressed), and when it was rendered.
    last: [Option<(Instant, RenderedPage)>; 2],
}

/// Renders pages of one format.
pub struct Renderer<F> {
    format: F,
    held: Arc<AtomicUsize>,
    state: Mutex<(Cache, Option<Deflater>)>,
}

impl<F: ExpositionFormat> Renderer<F> {
    /// A renderer that has rendered nothing yet.
    pub fn new(format: F) -> Renderer<F> {
        Renderer { format, held: Arc::default(), state: Mutex::default() }
    }

    /// The page of a snapshot, compressed or not. It takes the processor for as long as it takes to
    /// render and compress what changed: not for a thread that polls.
    pub fn render(&self, snapshot: impl FnOnce() -> Snapshot, gzip: bool) -> RenderedPage {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (cache, deflater) = &mut *state;
        if let Some(page) = self.shared(cache, gzip) {
            return page;
        }
        let snapshot = snapshot();
        self.render_committed(cache, snapshot.committed.as_ref());
        let process = self.render_process(cache, &snapshot);
        let end = cache.end.get_or_insert_with(|| {
            let mut end = Vec::new();
            self.format.end(&mut end);
            self.group_of(end)
        });
        let groups = merged(&cache.families, &process).chain(std::iter::once(&*end));
        let page = if gzip {
            let deflater = deflater.get_or_insert_with(Deflater::new);
            self.compressed(groups, deflater)
        } else {
            let mut page = RenderedPage::default();
            groups.flat_map(|group| &group.pieces).for_each(|piece| page.push(&piece.plain));
            page
        };
        if let Some(last) = cache.last.get_mut(usize::from(gzip)) {
            *last = Some((Instant::now(), page.clone()));
        }
        page
    }

    /// The last page, where too many bytes are held to make another.
    fn shared(&self, cache: &Cache, gzip: bool) -> Option<RenderedPage> {
        let newest: usize = cache.last.iter().flatten().map(|(_, page)| page.length).sum();
        if self.held.load(Ordering::Acquire) < PLENTY + newest {
            return None;
        }
        let (at, page) = cache.last.get(usize::from(gzip))?.as_ref()?;
        (at.elapsed() < OLDEST).then(|| page.clone())
    }

    fn group_of(&self, bytes: Vec<u8>) -> Arc<PieceGroup> {
        PieceGroup::new(vec![Piece::new(Held::hold(bytes, &self.held))])
    }

    /// Renders the groups of which a chunk changed.
    fn render_committed(&self, cache: &mut Cache, part: Option<&Arc<CommittedPart>>) {
        let is_known = match (&cache.part, part) {
            (Some(known), Some(part)) => Arc::ptr_eq(known, part),
            (None, None) => true,
            _ => false,
        };
        if is_known {
            return;
        }
        let pieces = self.render_changed(cache, part);
        let mut groups = HashMap::new();
        let mut families = Vec::new();
        for family in part.iter().flat_map(|part| &part.families) {
            let mut rendered = Vec::new();
            for group in &family.groups {
                let key = (family.family.name, group.account.clone());
                let known = match cache.groups.remove(&key).filter(|known| known.is_of(group)) {
                    Some(known) => known,
                    None => KnownGroup::new(&key, group, &pieces),
                };
                rendered.push(Arc::clone(&known.group));
                groups.insert(key, known);
            }
            let length = rendered.iter().map(|group| group.length).sum();
            let Family { name, help, family_type, .. } = *family.family;
            let head = self.render_head(cache, FamilyHead { name, help, family_type }, length);
            families.push(FamilyPage {
                name: name.to_owned(),
                groups: std::iter::once(head).chain(rendered).collect(),
            });
        }
        (cache.part, cache.families, cache.groups) = (part.cloned(), families, groups);
    }

    /// The pieces of all groups that changed, those of chunks that did not change among them.
    fn render_changed(&self, cache: &Cache, part: Option<&Arc<CommittedPart>>) -> Pieces {
        let mut pieces = Pieces::new();
        let mut fresh = Vec::new();
        for family in part.iter().flat_map(|part| &part.families) {
            for group in &family.groups {
                let key = (family.family.name, group.account.clone());
                let known = cache.groups.get(&key);
                if known.is_some_and(|known| known.is_of(group)) {
                    continue;
                }
                if let Some(known) = known {
                    let chunks = known.chunks.iter().map(|chunk| (key.clone(), Arc::as_ptr(chunk)));
                    pieces.extend(chunks.zip(known.group.pieces.iter().cloned()));
                }
                let is_fresh =
                    |chunk: &&Arc<PointChunk>| !pieces.contains_key(&(key.clone(), Arc::as_ptr(chunk)));
                let chunks = group.chunks.iter().filter(is_fresh);
                let account = &group.account;
                fresh.extend(chunks.map(|chunk| FreshChunk { family: family.family, account, chunk }));
            }
        }
        let rendered = self.render_chunks(&fresh);
        let keys =
            fresh.iter().map(|fresh| ((fresh.family.name, fresh.account.clone()), Arc::as_ptr(fresh.chunk)));
        pieces.extend(keys.zip(rendered));
        pieces
    }

    /// The pieces of chunks, in their order; half of many on a thread of its own.
    fn render_chunks(&self, fresh: &[FreshChunk<'_>]) -> Vec<Arc<Piece>> {
        let render = |half: &[FreshChunk<'_>]| {
            let mut bytes = Vec::new();
            half.iter().map(|fresh| self.render_chunk(fresh, &mut bytes)).collect()
        };
        if fresh.len() < MANY_CHUNKS {
            return render(fresh);
        }
        let (lower, upper) = fresh.split_at(fresh.len() / 2);
        std::thread::scope(|scope| {
            let beside = std::thread::Builder::new().spawn_scoped(scope, || render(upper));
            let mut pieces: Vec<Arc<Piece>> = render(lower);
            let others = beside.ok().and_then(|beside| beside.join().ok());
            pieces.extend(others.unwrap_or_else(|| render(upper)));
            pieces
        })
    }

    /// Renders a chunk in `bytes`, which grows to the size of the largest one. The piece is a copy, as
    /// the buffer itself could be half empty for as long as the piece is kept.
    fn render_chunk(&self, fresh: &FreshChunk<'_>, bytes: &mut Vec<u8>) -> Arc<Piece> {
        bytes.clear();
        for point in fresh.chunk.iter() {
            self.format.point(bytes, fresh.family, fresh.account.as_deref(), point);
        }
        Piece::new(Held::hold(bytes.as_slice().into(), &self.held))
    }

    fn render_head(&self, cache: &mut Cache, head: FamilyHead<'_>, points: usize) -> Arc<PieceGroup> {
        let mut bytes = Vec::new();
        self.format.head(&mut bytes, head, points);
        self.small(cache, (true, head.name.to_owned()), bytes)
    }

    /// The piece that is known under a key if it is equal, else a new one in its place.
    fn small(&self, cache: &mut Cache, key: (bool, String), bytes: Vec<u8>) -> Arc<PieceGroup> {
        if let Some(known) = cache.small.get(&key)
            && known.pieces.first().is_some_and(|piece| *piece.plain == *bytes)
        {
            return Arc::clone(known);
        }
        let group = self.group_of(bytes);
        cache.small.insert(key, Arc::clone(&group));
        group
    }

    fn render_process(&self, cache: &mut Cache, snapshot: &Snapshot) -> Vec<FamilyPage> {
        let mut pages = Vec::new();
        for family in &snapshot.process.families {
            let mut points = Vec::new();
            for point in &family.points {
                self.format.process_point(&mut points, family, point, snapshot.process.born);
            }
            let mut bytes = Vec::new();
            let head = FamilyHead { name: &family.name, help: &family.help, family_type: family.family_type };
            self.format.head(&mut bytes, head, points.len());
            bytes.append(&mut points);
            let group = self.small(cache, (false, family.name.to_string()), bytes);
            pages.push(FamilyPage { name: family.name.to_string(), groups: vec![group] });
        }
        pages
    }

    /// The groups as one member.
    fn compressed<'a>(
        &self,
        groups: impl Iterator<Item = &'a Arc<PieceGroup>>,
        deflater: &mut Deflater,
    ) -> RenderedPage {
        let mut page = RenderedPage::default();
        let (mut checksum, mut length) = (Hasher::new(), 0);
        page.push(&Bytes::from_static(gzip::HEADER));
        for group in groups {
            for piece in &group.pieces {
                let deflated = piece.deflated.get_or_init(|| {
                    let deflated = deflater.deflate(&piece.plain);
                    Deflated { bytes: Held::hold(deflated.bytes.into(), &self.held), ..deflated }
                });
                page.push(&deflated.bytes);
            }
            let of_group = group.checksum.get_or_init(|| {
                let mut of_group = Hasher::new();
                for deflated in group.pieces.iter().filter_map(|piece| piece.deflated.get()) {
                    of_group.combine(&deflated.checksum);
                }
                of_group
            });
            checksum.combine(of_group);
            length += group.length;
        }
        page.push(&gzip::trailer(checksum, length));
        page
    }
}

/// The groups of both parts in the order of the names of their families. No family is in both.
fn merged<'a>(
    committed: &'a [FamilyPage],
    process: &'a [FamilyPage],
) -> impl Iterator<Item = &'a Arc<PieceGroup>> {
    let (mut committed, mut process) = (committed.iter().peekable(), process.iter().peekable());
    let next = move || match (committed.peek(), process.peek()) {
        (Some(one), Some(other)) if one.name <= other.name => committed.next(),
        (Some(_), None) => committed.next(),
        _ => process.next(),
    };
    std::iter::from_fn(next).flat_map(|family| &family.groups)
}

#[cfg(test)]
mod tests;
