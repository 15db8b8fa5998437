//! The rows of one page of any log, and the way from a log to the type of its rows.

use super::log_kind::LogKind;
use super::logs::for_each_log;
use super::row::Row;

/// A row that is counted.
pub trait CountedRow: Row {
    /// Rows of this type, as rows of any log.
    fn wrap(rows: Vec<Self>) -> Rows;
}

/// Work that is the same for each log but for the type of its rows; see [`LogKind::visit`].
pub trait LogVisitor {
    /// The result of the work.
    type Output;

    /// Does the work for the log that `R` is a row of.
    fn visit<R: CountedRow>(self) -> Self::Output;
}

macro_rules! rows {
    ($(
        $(#[$doc:meta])*
        $kind:ident {
            name: $name:literal,
            title: $title:literal,
            method: $method:literal,
            max_limit: $max_limit:literal,
            newest_first: $newest_first:literal,
            times: $times:ident,
            row: $module:ident::$row:ident,
        }
    )*) => {
        /// The rows of one page, of any log.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Rows {
            $($(#[$doc])* $kind(Vec<super::$module::$row>),)*
        }

        impl Rows {
            /// The number of rows.
            pub fn len(&self) -> usize {
                match self { $(Rows::$kind(rows) => rows.len(),)* }
            }

            /// True if there is no row.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The log that these are rows of.
            pub const fn log(&self) -> LogKind {
                match self { $(Rows::$kind(_) => LogKind::$kind,)* }
            }
        }

        $(
            impl CountedRow for super::$module::$row {
                fn wrap(rows: Vec<Self>) -> Rows {
                    Rows::$kind(rows)
                }
            }
        )*

        impl LogKind {
            /// Does the visitor's work for the rows of this log.
            pub fn visit<V: LogVisitor>(self, visitor: V) -> V::Output {
                match self { $(LogKind::$kind => visitor.visit::<super::$module::$row>(),)* }
            }
        }
    };
}

for_each_log!(rows);
