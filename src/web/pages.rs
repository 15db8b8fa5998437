//! Hands out `/metrics`: chooses the format and the encoding that the reader asks for, has the page
//! rendered on a thread that does not poll, and sends it in the pieces that all readers share.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::outputs::openmetrics::{self, OpenMetricsFormat};
use crate::outputs::protobuf::{self, ProtobufFormat};
use crate::outputs::text::{self, TextFormat};
use crate::outputs::{RenderedPage, Renderer};
use crate::snapshot::Snapshots;

/// Renders the pages of `/metrics`.
pub(super) struct MetricsPages {
    snapshots: Arc<Snapshots>,
    text: Renderer<TextFormat>,
    openmetrics: Renderer<OpenMetricsFormat>,
    protobuf: Renderer<ProtobufFormat>,
}

impl MetricsPages {
    /// With `created`, OpenMetrics text has `_created` lines.
    pub(super) fn new(snapshots: Arc<Snapshots>, created: bool) -> MetricsPages {
        MetricsPages {
            snapshots,
            text: Renderer::new(TextFormat),
            openmetrics: Renderer::new(OpenMetricsFormat { created }),
            protobuf: Renderer::new(ProtobufFormat),
        }
    }

    /// The answer to a request with these headers.
    pub(super) async fn answer(self: Arc<Self>, headers: &HeaderMap) -> Response {
        let gzip = takes_gzip(headers);
        let wanted = WantedFormat::of(headers);
        let pages = Arc::clone(&self);
        let page = tokio::task::spawn_blocking(move || {
            let snapshot = || pages.snapshots.snapshot();
            match wanted.format {
                MetricsFormat::Text => pages.text.render(snapshot, gzip),
                MetricsFormat::OpenMetrics => pages.openmetrics.render(snapshot, gzip),
                MetricsFormat::Protobuf => pages.protobuf.render(snapshot, gzip),
            }
        });
        let page = match page.await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "metrics could not be rendered; please report this");
                return (StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be rendered\n")
                    .into_response();
            }
        };
        let common = [(CONTENT_TYPE, &*wanted.content_type()), (VARY, "accept, accept-encoding")];
        let body = Body::new(PieceBody::new(page));
        if gzip {
            return (common, [(CONTENT_ENCODING, "gzip")], body).into_response();
        }
        (common, body).into_response()
    }
}

/// A format of `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricsFormat {
    Text,
    OpenMetrics,
    Protobuf,
}

/// The format that a reader asks for, and the escaping of names that it names. No name here needs
/// any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WantedFormat {
    format: MetricsFormat,
    escaping: Option<&'static str>,
}

/// The schemes of Prometheus.
const ESCAPINGS: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

impl WantedFormat {
    /// By weight, then by order. Whoever asks for nothing that there is gets the text format, as
    /// every reader of metrics knows it.
    fn of(headers: &HeaderMap) -> WantedFormat {
        let mut best: Option<(f32, WantedFormat)> = None;
        for range in header_parts(headers, &ACCEPT) {
            let Some((weight, wanted)) = WantedFormat::of_range(range) else { continue };
            if weight > 0.0 && best.is_none_or(|(known, _)| weight > known) {
                best = Some((weight, wanted));
            }
        }
        best.map_or(WantedFormat { format: MetricsFormat::Text, escaping: None }, |(_, wanted)| wanted)
    }

    fn of_range(range: &str) -> Option<(f32, WantedFormat)> {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next()?.to_ascii_lowercase();
        let parameters: Vec<(&str, &str)> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
            .collect();
        let parameter = |name: &str| {
            parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
        };
        let is_version = |version: &str| parameter("version").is_none_or(|asked| asked == version);
        let format = match &*media_type {
            "*/*" | "text/*" => MetricsFormat::Text,
            "text/plain" if is_version("0.0.4") => MetricsFormat::Text,
            "application/openmetrics-text" if is_version("1.0.0") => MetricsFormat::OpenMetrics,
            "application/vnd.google.protobuf"
                if parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && parameter("encoding") == Some("delimited") =>
            {
                MetricsFormat::Protobuf
            }
            _ => return None,
        };
        let asked = parameter("escaping");
        let escaping = ESCAPINGS.into_iter().find(|known| Some(*known) == asked);
        let weight = parameter("q").map_or(Some(1.0), |weight| weight.parse().ok())?;
        Some((weight, WantedFormat { format, escaping }))
    }

    fn content_type(self) -> String {
        let content_type = match self.format {
            MetricsFormat::Text => text::CONTENT_TYPE,
            MetricsFormat::OpenMetrics => openmetrics::CONTENT_TYPE,
            MetricsFormat::Protobuf => protobuf::CONTENT_TYPE,
        };
        match self.escaping {
            Some(escaping) => format!("{content_type}; escaping={escaping}"),
            None => content_type.to_owned(),
        }
    }
}

/// The parts of a header that is a list, however often it is there.
fn header_parts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(','))
}

/// Prometheus asks for `gzip`; a weight of 0 means "not that".
fn takes_gzip(headers: &HeaderMap) -> bool {
    header_parts(headers, &ACCEPT_ENCODING).any(|coding| {
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

    #[test]
    fn readers_get_the_format_that_they_ask_for() {
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, value.parse().unwrap());
            WantedFormat::of(&headers)
        };
        let openmetrics = "application/openmetrics-text;version=1.0.0";
        let protobuf =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, format) in [
            ("*/*".to_owned(), MetricsFormat::Text),
            ("text/html, application/xml;q=0.9, */*;q=0.8".to_owned(), MetricsFormat::Text),
            ("application/json".to_owned(), MetricsFormat::Text),
            (openmetrics.to_owned(), MetricsFormat::OpenMetrics),
            ("application/openmetrics-text; version=0.0.1".to_owned(), MetricsFormat::Text),
            (
                format!("{protobuf};q=0.6,{openmetrics};q=0.5,text/plain;version=0.0.4;q=0.2"),
                MetricsFormat::Protobuf,
            ),
            (format!("{protobuf};q=0.1,{openmetrics};q=0.5,*/*;q=0.2"), MetricsFormat::OpenMetrics),
            (format!("{openmetrics};q=0"), MetricsFormat::Text),
            ("application/vnd.google.protobuf;encoding=text".to_owned(), MetricsFormat::Text),
            (format!("text/plain;version=1.0.0;q=0.9,{openmetrics};q=0.3"), MetricsFormat::OpenMetrics),
        ] {
            assert_eq!(asked(&accept).format, format, "{accept}");
        }
        assert_eq!(WantedFormat::of(&HeaderMap::new()).content_type(), text::CONTENT_TYPE);
        let escaped = asked(&format!("{openmetrics};escaping=allow-utf-8;q=0.5"));
        assert_eq!(
            escaped.content_type(),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
        );
        assert_eq!(asked("text/plain;escaping=morse").content_type(), text::CONTENT_TYPE);
    }

    #[tokio::test]
    async fn a_body_is_all_of_the_page_and_says_how_long_it_is() {
        let pieces = vec![Bytes::from_static(b"one "), Bytes::from_static(b"two")];
        let body = Body::new(PieceBody::new(RenderedPage { pieces, length: 7 }));
        assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(7));
        assert_eq!(axum::body::to_bytes(body, 100).await.unwrap(), "one two");
    }
}
