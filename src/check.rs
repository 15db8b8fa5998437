//! `check`: asks each log of each account for one row, and says what works and what to do about what doesn't.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use crate::config::{Account, Settings};
use crate::cryptolens::{ApiError, Client, EventRow, LogKind, ObjectRow, PageQuery, Row, WebApiRow};
use crate::daemon::{self, DaemonError};

/// What was found.
#[derive(Debug)]
pub struct Findings {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    account: String,
    method: &'static str,
    /// False for what counting goes on without.
    needed: bool,
    result: Result<(), ApiError>,
}

impl Findings {
    /// True if all that counting needs works.
    pub fn all_well(&self) -> bool {
        self.lines.iter().all(|line| line.result.is_ok() || !line.needed)
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["ACCOUNT", "METHOD", "RESULT", "WHAT TO DO"]);
        for line in &self.lines {
            let (result, todo) = match &line.result {
                Ok(()) => ("ok".to_owned(), String::new()),
                Err(ApiError::Denied) if !line.needed => {
                    ("denied".to_owned(), "nothing: products are then shown by id, not by name".to_owned())
                }
                Err(error) => (format!("{}: {error}", error.label()), error.advice().to_owned()),
            };
            table.add_row([line.account.as_str(), line.method, &result, &todo]);
        }
        let mut text = String::new();
        for line in table.lines() {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{}", line.trim());
        }
        text
    }
}

/// Tries everything out, one request each.
///
/// # Errors
/// [`DaemonError`] where no client could be made.
pub async fn run(settings: &Settings) -> Result<Findings, DaemonError> {
    let clients = daemon::clients(settings)?;
    let mut lines = Vec::new();
    for (account, (client, _)) in settings.accounts.iter().zip(clients) {
        for log in &account.logs {
            let result = match log {
                LogKind::WebApi => ask::<WebApiRow>(&client).await,
                LogKind::Events => ask::<EventRow>(&client).await,
                LogKind::Objects => ask::<ObjectRow>(&client).await,
            };
            lines.push(line(account, log.endpoint().name(), true, result));
        }
        let products = client.products().await.map(|_| ());
        lines.push(line(account, crate::cryptolens::Endpoint::GetProducts.name(), false, products));
    }
    Ok(Findings { lines })
}

async fn ask<R: Row>(client: &Client) -> Result<(), ApiError> {
    let query = PageQuery { starting_after: 0, limit: 1, newest_first: false };
    client.page::<R>(query).await.map(|_| ())
}

fn line(account: &Account, method: &'static str, needed: bool, result: Result<(), ApiError>) -> Line {
    Line { account: account.name.to_string(), method, needed, result }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(results: [Result<(), ApiError>; 2]) -> Findings {
        let [log, products] = results;
        let line = |method, needed, result| Line { account: "default".to_owned(), method, needed, result };
        Findings { lines: vec![line("GetEvents", true, log), line("GetProducts", false, products)] }
    }

    #[test]
    fn what_counting_needs_decides() {
        assert!(findings([Ok(()), Ok(())]).all_well());
        assert!(findings([Ok(()), Err(ApiError::Denied)]).all_well());
        assert!(!findings([Err(ApiError::Denied), Ok(())]).all_well());
    }

    #[test]
    fn the_table_says_what_to_do() {
        let table = findings([Err(ApiError::Auth), Err(ApiError::Denied)]).table();
        assert!(table.contains("auth: the api refused the token"), "{table}");
        assert!(table.contains("check the token"), "{table}");
        assert!(table.contains("products are then shown by id"), "{table}");
    }
}
