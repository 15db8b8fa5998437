//! The time by the server's clock, by which the rows of its logs have theirs.

use chrono::Utc;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Client, CountedRow, LogKind, LogVisitor, PageQuery, RowFilter};

/// The difference that is none, in seconds: the header has whole ones, and an answer takes a while.
const TOLERANCE: u64 = 2;

/// The time by the server's clock, in Unix seconds, from one request for a row of a log. Where the
/// server gives no time, or no answer (the reading will say why), it is the time of this machine.
pub async fn server_time(client: &Client, log: LogKind) -> i64 {
    let answered = log.visit(DateQuestion(client.clone())).await;
    let here = Utc::now().timestamp();
    answered.filter(|server| server.abs_diff(here) > TOLERANCE).unwrap_or(here)
}

/// Asks for one row, for the date of the answer.
struct DateQuestion(Client);

impl LogVisitor for DateQuestion {
    type Output = BoxFuture<'static, Option<i64>>;

    fn visit<R: CountedRow>(self) -> Self::Output {
        let ask = async move {
            let (query, filter) = (PageQuery::after(0, 1), RowFilter::default());
            self.0.answered_page::<R>(query, &filter, |_| {}).await.ok()?.server_time
        };
        ask.boxed()
    }
}
