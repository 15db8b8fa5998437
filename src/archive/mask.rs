//! Which members of a row name somebody, and what stands there instead.

use super::columns::ArchivedRow;
use super::rows::{ArchivedEvent, ArchivedObject, ArchivedRequest};
use crate::identity::{Identities, IdentityKind};

/// A row that can be written without naming anybody.
pub(crate) trait MaskedRow: ArchivedRow {
    /// Replaces what names a customer or a machine by pseudonyms, unless identities are shown.
    fn mask(&mut self, identities: &Identities);

    /// Removes every member that may name somebody.
    fn strip(&mut self);
}

impl MaskedRow for ArchivedRequest {
    fn mask(&mut self, identities: &Identities) {
        identities.replace(IdentityKind::Key, &mut self.key);
        identities.replace(IdentityKind::Address, &mut self.ip);
        identities.replace(IdentityKind::Machine, &mut self.machine_code);
        identities.replace(IdentityKind::Name, &mut self.friendly_name);
        identities.other_members(&mut self.extra);
    }

    fn strip(&mut self) {
        (self.key, self.ip, self.machine_code, self.friendly_name) = (None, None, None, None);
        self.extra.clear();
    }
}

impl MaskedRow for ArchivedEvent {
    fn mask(&mut self, identities: &Identities) {
        identities.replace(IdentityKind::Key, &mut self.key);
        identities.replace(IdentityKind::Machine, &mut self.machine_code);
        self.metadata = self.metadata.as_deref().map(|metadata| identities.json_text(metadata));
        identities.other_members(&mut self.extra);
    }

    fn strip(&mut self) {
        (self.key, self.machine_code, self.metadata) = (None, None, None);
        self.extra.clear();
    }
}

impl MaskedRow for ArchivedObject {
    fn mask(&mut self, identities: &Identities) {
        self.performed_by_user_id = self.performed_by_user_id.as_deref().map(|user| identities.user(user));
        self.data = self.data.as_deref().map(|data| identities.json_text(data));
        identities.other_members(&mut self.extra);
    }

    fn strip(&mut self) {
        (self.performed_by_user_id, self.data) = (None, None);
        self.extra.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;
    use serde_json::json;

    #[test]
    fn members_that_are_unknown_today_name_nobody() {
        let identities = Identities::masked(&SecretString::from("token"));
        let extra = json!({
            "mail": "alice@example.com", "born": "1990-01-31", "isAnomaly": true, "groups": 3,
            "owner": {"alice@example.com": "Bob", "Id": 7}, "seen": ["Bob"],
        });
        let mut row = ArchivedRequest { extra: extra.as_object().cloned().unwrap(), ..Default::default() };
        let before = row.clone();
        row.mask(&Identities::Full);
        assert_eq!(row, before);
        row.mask(&identities);
        let shown = row.extra().unwrap();
        for secret in ["alice", "1990", "Bob"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert_eq!((&row.extra["isAnomaly"], &row.extra["groups"]), (&json!(true), &json!(3)));
        assert_eq!(row.extra["owner"]["Id"], 7);
        row.strip();
        assert_eq!(row.extra(), None);
    }
}
