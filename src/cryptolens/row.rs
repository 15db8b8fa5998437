//! The trait of types that are read as rows of a log, and the macro that defines such types.
//!
//! A row type names the members that it keeps; every other member is skipped in the bytes and never
//! becomes a value. The row types of this module are those that are counted, and hold no personal
//! data: at most keyed hashes of license keys and machines. The reports define their own, with all
//! members.

use super::identity::IdentityHash;
use super::log_kind::LogKind;

/// One row of a log, with the members that its type keeps.
pub trait Row: Sized + Send + 'static {
    /// The log that this type is a row of.
    const LOG: LogKind;

    /// A row of which nothing but the id is known.
    fn with_id(id: i64) -> Self;

    /// Where the value of the member `name` (in any letter case) goes; `None` if it is not kept.
    fn slot(name: &str) -> Option<Slot<Self>>;

    /// The row's id, unique in its log.
    fn id(&self) -> i64;

    /// Sets the id; the decoder calls it.
    fn set_id(&mut self, id: i64);

    /// The event time in Unix seconds; `None` where the row has no positive time.
    fn time(&self) -> Option<i64>;

    /// True for a type that keeps the members that have no slot, by [`Row::keep_other`]. Only the
    /// scanner reads such members, so a page that holds one is read more slowly.
    const KEEPS_OTHERS: bool = false;

    /// Keeps a member that has no slot and is not null.
    fn keep_other(&mut self, _name: &str, _value: serde_json::Value) {}
}

/// Where the value of a member goes.
pub enum Slot<R> {
    /// It is the id, without which a row cannot be counted.
    Id,
    /// It is a whole number; `None` where the member is null, absent or of a wrong type.
    Int(fn(&mut R, Option<i64>)),
    /// It is a text; `None` as for a number.
    Text(fn(&mut R, Option<String>)),
    /// It is a license key, of which only a hash is kept; `None` as for a number, and where nobody
    /// wants hashes.
    LicenseKey(fn(&mut R, Option<IdentityHash>)),
    /// It is a machine code, of which only a hash is kept; `None` as for a license key.
    Machine(fn(&mut R, Option<IdentityHash>)),
}

impl<R> Slot<R> {
    /// True if only a hash of the member is kept.
    pub(super) const fn is_identity(&self) -> bool {
        matches!(self, Slot::LicenseKey(_) | Slot::Machine(_))
    }
}

impl<R> Clone for Slot<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Slot<R> {}

/// Defines a row type: its log, the field that holds the event time, and for each other member the
/// field, its name in JSON, its kind (a variant of [`Slot`]) and the function that turns the value,
/// which may be missing, into that of the field. The field `id` is always there. With
/// `others in FIELD` at the end, a field of that name holds every other member ([`OtherMembers`]).
macro_rules! log_row {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $row:ident of $log:ident at $time:ident {
            $(
                $(#[$field_attribute:meta])*
                $field:ident: $type:ty = $name:literal as $kind:ident by $convert:expr,
            )*
        }
        $(others in $others:ident)?
    ) => {
        $(#[$attribute])*
        $visibility struct $row {
            /// Unique in the log.
            $visibility id: i64,
            $($(#[$field_attribute])* $visibility $field: $type,)*
            $(
                /// The members that have no field, by their names.
                $visibility $others: $crate::cryptolens::row::OtherMembers,
            )?
        }

        impl $crate::cryptolens::Row for $row {
            const LOG: $crate::cryptolens::LogKind = $crate::cryptolens::LogKind::$log;

            fn with_id(id: i64) -> Self {
                Self { id, ..Self::default() }
            }

            fn slot(name: &str) -> Option<$crate::cryptolens::Slot<Self>> {
                use $crate::cryptolens::Slot;
                const SLOTS: &[(&str, Slot<$row>)] = &[
                    ("id", Slot::Id),
                    $(($name, Slot::$kind(|row, value| row.$field = ($convert)(value))),)*
                ];
                $crate::cryptolens::row::find_slot(SLOTS, name)
            }

            fn id(&self) -> i64 {
                self.id
            }

            fn set_id(&mut self, id: i64) {
                self.id = id;
            }

            fn time(&self) -> Option<i64> {
                self.$time
            }

            $(
                const KEEPS_OTHERS: bool = true;

                fn keep_other(&mut self, name: &str, value: serde_json::Value) {
                    self.$others.insert(name.to_owned(), value);
                }
            )?
        }
    };
}

pub(crate) use log_row;

/// Members of a row that its type does not name, by their names.
pub(crate) type OtherMembers = serde_json::Map<String, serde_json::Value>;

/// Finds `name` in `table`: exactly first, as the API sends it, then in any letter case.
pub(crate) fn find_slot<R>(table: &[(&str, Slot<R>)], name: &str) -> Option<Slot<R>> {
    table
        .iter()
        .find(|(known, _)| *known == name)
        .or_else(|| table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)))
        .map(|(_, slot)| *slot)
}

/// Keeps a value as it is.
pub(crate) const fn as_is<T: Copy>(value: Option<T>) -> Option<T> {
    value
}

/// Keeps a time that can be used: Unix seconds above 0.
pub(crate) fn positive(time: Option<i64>) -> Option<i64> {
    time.filter(|seconds| *seconds > 0)
}

/// Keeps a text; an empty one is the same as none.
pub(crate) fn given_text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Keeps a product id; a row that names no product has 0.
pub(crate) fn product(id: Option<i64>) -> i64 {
    id.unwrap_or(0)
}
