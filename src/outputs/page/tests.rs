//! Pages that are put together from known pieces equal pages that are rendered as a whole.

use std::borrow::Cow;
use std::io::Read as _;

use proptest::prelude::*;

use super::*;
use crate::metrics::{Histogram, PointValue, ProcessPart, ProcessValue};
use crate::outputs::text::TextFormat;
use crate::snapshot::SnapshotFamily;
use crate::tally::families::{self, EVENT_ENTRIES, LEASE};

fn counter(label: &str, value: u64) -> Point {
    let labels = ["1", label, "f"].map(Arc::from).into();
    Point { labels, value: PointValue::Counter(value), born: BirthTime::UNKNOWN, entry_id: None }
}

fn histogram(value: i64) -> Point {
    let mut histogram = Histogram::default();
    histogram.observe(LEASE.bounds(), value);
    let labels = ["1", "activation", "success"].map(Arc::from).into();
    let value = PointValue::Histogram(Arc::new(histogram));
    Point { labels, value, born: BirthTime::UNKNOWN, entry_id: None }
}

fn process(value: f64) -> ProcessPart {
    let family = |name: &'static str, value| {
        let help = Cow::Borrowed("Help.");
        ProcessFamily {
            name: Cow::Borrowed(name),
            help,
            family_type: FamilyType::Gauge,
            labels: &[],
            points: vec![],
        }
        .with(ProcessValue::Gauge(value))
    };
    ProcessPart { families: vec![family("a", 1.0), family("cryptolens_z", value)], born: BirthTime::UNKNOWN }
}

/// Two accounts with chunks of counters, one of them with a histogram.
fn part(chunks: &[Arc<PointChunk>]) -> Arc<CommittedPart> {
    let group = |account: &str, chunks: &[Arc<PointChunk>]| PointGroup {
        account: Some(account.into()),
        chunks: chunks.to_vec(),
    };
    let (one, two) = chunks.split_at(chunks.len() / 2);
    let groups = [("one", one), ("two", two)];
    let groups = groups.into_iter().filter(|(_, chunks)| !chunks.is_empty()).map(|(name, c)| group(name, c));
    let leases = vec![group("one", &[Arc::new(vec![histogram(70)])])];
    Arc::new(CommittedPart {
        families: vec![
            SnapshotFamily { family: &EVENT_ENTRIES, groups: groups.collect() },
            SnapshotFamily { family: &LEASE, groups: leases },
        ],
    })
}

fn snapshot(chunks: &[Arc<PointChunk>], value: f64) -> Snapshot {
    Snapshot { committed: Some(part(chunks)), process: process(value) }
}

fn unpacked(page: &RenderedPage) -> Vec<u8> {
    let mut text = Vec::new();
    flate2::bufread::GzDecoder::new(&page.to_vec()[..]).read_to_end(&mut text).unwrap();
    text
}

fn chunk(values: &[u64]) -> Arc<PointChunk> {
    Arc::new(values.iter().map(|value| counter(&format!("e{value}"), *value)).collect())
}

proptest! {
    #[test]
    fn a_page_of_known_pieces_equals_one_that_is_rendered_as_a_whole(
        states in prop::collection::vec((prop::collection::vec(0usize..6, 0..8), 0u8..3, any::<bool>()), 1..12),
    ) {
        let known: Vec<_> = (0..6).map(|n| chunk(&(0..=n).collect::<Vec<u64>>())).collect();
        let renderer = Renderer::new(TextFormat);
        for (chunks, value, gzip) in states {
            let mut chunks = chunks;
            chunks.sort_unstable();
            chunks.dedup();
            let chunks: Vec<_> = chunks.into_iter().map(|at| Arc::clone(&known[at])).collect();
            let snapshot = snapshot(&chunks, f64::from(value));
            let page = renderer.render(|| snapshot.clone(), gzip);
            prop_assert_eq!(page.length, page.pieces.iter().map(Bytes::len).sum::<usize>());
            let whole = Renderer::new(TextFormat).render(|| snapshot, false).to_vec();
            prop_assert_eq!(if gzip { unpacked(&page) } else { page.to_vec() }, whole);
        }
    }
}

#[test]
fn a_chunk_of_another_account_has_labels_of_its_own() {
    let (first, shared, last) = (chunk(&[1]), chunk(&[2]), chunk(&[3]));
    let renderer = Renderer::new(TextFormat);
    renderer.render(|| snapshot(&[Arc::clone(&shared), last], 0.0), false);
    let page = renderer.render(|| snapshot(&[first, shared], 0.0), false);
    let text = String::from_utf8(page.to_vec()).unwrap();
    assert!(text.contains("{account=\"two\",product_id=\"1\",event_name=\"e2\""), "{text}");
    assert!(!text.contains("{account=\"one\",product_id=\"1\",event_name=\"e2\""), "{text}");
}

#[test]
fn many_new_chunks_at_once_are_rendered_as_one_after_the_other() {
    let chunks: Vec<_> = (0..u64::try_from(MANY_CHUNKS * 3).unwrap()).map(|n| chunk(&[n, n + 1])).collect();
    let by_and_by = Renderer::new(TextFormat);
    for some in 1..chunks.len() {
        by_and_by.render(|| snapshot(&chunks[..some], 0.0), false);
    }
    let at_once = Renderer::new(TextFormat).render(|| snapshot(&chunks, 0.0), false);
    assert_eq!(at_once.to_vec(), by_and_by.render(|| snapshot(&chunks, 0.0), false).to_vec());
    assert!(at_once.pieces.len() > MANY_CHUNKS * 3);
}

#[test]
fn families_of_both_parts_are_in_order() {
    let page = Renderer::new(TextFormat).render(|| snapshot(&[chunk(&[1]), chunk(&[2])], 0.5), false);
    let text = String::from_utf8(page.to_vec()).unwrap();
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(
        names,
        [
            "a gauge",
            "cryptolens_event_log_entries_total counter",
            "cryptolens_floating_lease_seconds histogram",
            "cryptolens_z gauge"
        ]
    );
    assert_eq!(families::FAMILIES.iter().filter(|family| family.name.starts_with("cryptolens_z")).count(), 0);
}

#[test]
fn a_commit_renders_the_chunks_that_it_changed_and_no_others() {
    let renderer = Renderer::new(TextFormat);
    let mut chunks: Vec<_> = (0..10).map(|n| chunk(&[n])).collect();
    for gzip in [false, true] {
        let before = renderer.render(|| snapshot(&chunks, 0.0), gzip);
        chunks[3] = chunk(&[77, 78]);
        let after = renderer.render(|| snapshot(&chunks, 0.0), gzip);
        let bytes = |page: &RenderedPage| page.pieces.iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>();
        let (before, after) = (bytes(&before), bytes(&after));
        let fresh = after.iter().filter(|piece| !before.contains(piece)).count();
        // Beside the chunk itself, the histogram that this test makes anew, and what ends the
        // member.
        assert_eq!(fresh, if gzip { 3 } else { 2 });
    }
}

#[test]
fn readers_that_take_nothing_share_pages_beyond_a_bound() {
    let renderer = Renderer::new(TextFormat);
    let page = |n: u64| {
        let large =
            Point { labels: ["1", &"x".repeat(1 << 20), "f"].map(Arc::from).into(), ..counter("", n) };
        renderer.render(|| snapshot(&[Arc::new(vec![large])], 0.0), false)
    };
    let unread: Vec<_> = (0..1000).map(page).collect();
    let held = renderer.held.load(Ordering::Acquire);
    assert!((64 << 20..72 << 20).contains(&held), "{held}");
    assert_eq!(unread[998].to_vec(), unread[999].to_vec());
    drop(unread);
    let fresh = page(1000);
    assert!(
        String::from_utf8(fresh.to_vec()).unwrap().contains("} 1000\n"),
        "each is of now while there is room"
    );
    assert!(renderer.held.load(Ordering::Acquire) < 8 << 20);
}
