//! gzip in pieces: each piece of a page is compressed once, and pieces are joined into one member.
//!
//! A piece ends with a sync flush, so it ends at a whole byte, and refers to nothing before it. The
//! checksum of the whole is combined from those of the pieces.

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

/// Magic number, deflate, no flags, no time, no level, unknown system.
pub(super) const HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An empty last block.
const END: &[u8] = &[3, 0];

/// One piece, compressed.
#[derive(Debug, Clone)]
pub(super) struct Deflated {
    pub(super) bytes: Bytes,
    /// The checksum of the piece with its length.
    pub(super) checksum: Hasher,
}

/// Compresses pieces, one after the other, without anything in common.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Deflater {
        Deflater(Compress::new(Compression::fast(), false))
    }

    /// One piece, on its own.
    pub(super) fn deflate(&mut self, piece: &[u8]) -> Deflated {
        let mut checksum = Hasher::new();
        checksum.update(piece);
        // The compressor has no reason to give up; a page that is larger than need be is still
        // right.
        let bytes = self.compress(piece).unwrap_or_else(|| stored(piece));
        Deflated { bytes: bytes.into(), checksum }
    }

    fn compress(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        self.0.reset();
        let mut out = Vec::with_capacity(piece.len() / 6 + 64);
        loop {
            let read = usize::try_from(self.0.total_in()).ok()?;
            self.0.compress_vec(piece.get(read..)?, &mut out, FlushCompress::Sync).ok()?;
            if out.len() == out.capacity() {
                // More may wait to be written.
                out.reserve(out.capacity());
            } else {
                // It is kept as long as its piece.
                out.shrink_to_fit();
                return (usize::try_from(self.0.total_in()) == Ok(piece.len())).then_some(out);
            }
        }
    }
}

/// Blocks that hold the bytes as they are.
fn stored(piece: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len() + piece.len() / 1000 + 16);
    for block in piece.chunks(usize::from(u16::MAX)) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out
}

/// The end of a member whose pieces have this checksum and length.
pub(super) fn trailer(checksum: Hasher, length: usize) -> Bytes {
    // The length is kept modulo 2^32, by definition.
    #[allow(clippy::cast_possible_truncation)]
    let length = length as u32;
    [END, &checksum.finalize().to_le_bytes(), &length.to_le_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn joined(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut deflater = Deflater::new();
        let (mut member, mut checksum, mut length) = (HEADER.to_vec(), Hasher::new(), 0);
        for piece in pieces {
            let deflated = deflater.deflate(piece);
            member.extend_from_slice(&deflated.bytes);
            checksum.combine(&deflated.checksum);
            length += piece.len();
        }
        member.extend_from_slice(&trailer(checksum, length));
        member
    }

    fn unpacked(member: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        // A single member: what follows it would be an error of the test below.
        flate2::bufread::GzDecoder::new(member).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn a_large_piece_is_whole() {
        let piece: Vec<u8> =
            (0..300_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
        assert_eq!(unpacked(&joined(&[piece.clone(), piece.clone()])), [piece.clone(), piece].concat());
    }

    #[test]
    fn a_stored_piece_is_whole() {
        let piece = vec![7; 200_000];
        let mut member = HEADER.to_vec();
        member.extend_from_slice(&stored(&piece));
        let mut checksum = Hasher::new();
        checksum.update(&piece);
        member.extend_from_slice(&trailer(checksum, piece.len()));
        assert_eq!(unpacked(&member), piece);
    }

    proptest! {
        #[test]
        fn pieces_join_to_one_member(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
            prop_assert_eq!(unpacked(&joined(&pieces)), pieces.concat());
        }
    }
}
