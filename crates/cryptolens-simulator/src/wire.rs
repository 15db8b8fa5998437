//! Puts an answer on its connection, or breaks the connection.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use futures_util::{StreamExt as _, stream};

use crate::answer::{Delivery, Outgoing};
use crate::connection::Connection;

/// Long enough for what was written before to leave the machine.
const BEFORE_THE_CUT: Duration = Duration::from_millis(50);

/// `connection` is what the request came on, where that is known.
pub(crate) async fn send(outgoing: Outgoing, connection: Option<&Connection>) -> Response<Body> {
    match outgoing.delivery {
        Delivery::AtOnce | Delivery::Cut => {}
        Delivery::Closed => {
            connection.inspect(|connection| connection.close());
            std::future::pending().await
        }
        Delivery::After(delay) => tokio::time::sleep(delay).await,
        // The connection's task goes away together with the client.
        Delivery::Never => std::future::pending().await,
    }
    let length = outgoing.body.len();
    let body = if outgoing.delivery == Delivery::Cut {
        cut_in_half(outgoing.body)
    } else {
        Body::from(outgoing.body)
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(outgoing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(outgoing.content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some((name, value)) = outgoing.header
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        headers.insert(name, value);
    }
    response
}

/// Half of what was promised, and then the end of the connection.
fn cut_in_half(mut body: Vec<u8>) -> Body {
    body.truncate(body.len() / 2);
    let half = stream::iter([Ok(Bytes::from(body))]);
    let cut = stream::once(async {
        tokio::time::sleep(BEFORE_THE_CUT).await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Body::from_stream(half.chain(cut))
}
