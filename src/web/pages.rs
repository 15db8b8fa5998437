//! Hands out `/metrics`: chooses the encoding that the reader asks for, has the page rendered on a
//! thread that does not poll, and sends it in the pieces that all readers share.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::outputs::text::{self, TextFormat};
use crate::outputs::{RenderedPage, Renderer};
use crate::snapshot::Snapshots;

/// Renders the pages of `/metrics`.
pub(super) struct MetricsPages {
    snapshots: Arc<Snapshots>,
    text: Renderer<TextFormat>,
}

impl MetricsPages {
    pub(super) fn new(snapshots: Arc<Snapshots>) -> MetricsPages {
        MetricsPages { snapshots, text: Renderer::new(TextFormat) }
    }

    /// The answer to a request with these headers.
    pub(super) async fn answer(self: Arc<Self>, headers: &HeaderMap) -> Response {
        let gzip = takes_gzip(headers);
        let pages = Arc::clone(&self);
        let page =
            tokio::task::spawn_blocking(move || pages.text.render(|| pages.snapshots.snapshot(), gzip));
        let page = match page.await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "metrics could not be rendered; please report this");
                return (StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be rendered\n")
                    .into_response();
            }
        };
        let common = [(CONTENT_TYPE, text::CONTENT_TYPE), (VARY, "accept-encoding")];
        let body = Body::new(PieceBody::new(page));
        if gzip {
            return (common, [(CONTENT_ENCODING, "gzip")], body).into_response();
        }
        (common, body).into_response()
    }
}

/// Prometheus asks for `gzip`; a weight of 0 means "not that".
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight =
            parts.find_map(|part| part.strip_prefix("q=")).and_then(|weight| weight.parse::<f32>().ok());
        is_gzip && weight != Some(0.0)
    })
}

/// A body of a known length that is sent piece by piece.
struct PieceBody {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl PieceBody {
    fn new(page: RenderedPage) -> PieceBody {
        let left = u64::try_from(page.length).unwrap_or(u64::MAX);
        PieceBody { pieces: page.pieces.into_iter(), left }
    }
}

impl hyper::body::Body for PieceBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.pieces.next();
        if let Some(piece) = &next {
            self.left = self.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_ask() {
        let asks = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            takes_gzip(&headers)
        };
        assert!(asks("gzip"));
        assert!(asks("br, GZIP;q=0.5"));
        assert!(!asks("gzip;q=0"));
        assert!(!asks("br"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_body_is_all_of_the_page_and_says_how_long_it_is() {
        let pieces = vec![Bytes::from_static(b"one "), Bytes::from_static(b"two")];
        let body = Body::new(PieceBody::new(RenderedPage { pieces, length: 7 }));
        assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(7));
        assert_eq!(axum::body::to_bytes(body, 100).await.unwrap(), "one two");
    }
}
