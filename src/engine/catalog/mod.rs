//! The catalog: what is stored of the definitions, how it changes, and what of it is in force. `definition` checks documents
//! one by one, `rendering` compiles templates, `matching` finds candidates; here they are put together. Nothing is loaded or
//! stored here: a catalog is bytes in and bytes out, under a revision that the state store keeps.

mod apply;
mod backfill;
mod destinations;
mod in_force;
mod lifecycle;
mod secrets;

pub use apply::{Apply, Change, What, apply, check};
pub use backfill::{Backfill, Unfinished};
pub use destinations::{DEFAULT_MAX_IN_FLIGHT, Route};
pub use in_force::{CampaignInForce, InForce, Policy};
pub use lifecycle::{Act, Refusal, act, delete};
pub use secrets::{secrets_of, secrets_wrong};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::definition::{Kind, Status};
use super::history::Asked;
use super::id::TrackerId;
use super::time::Timestamp;

/// The format that this version writes; it reads all up to this one.
const FORMAT: u32 = 1;

/// All documents of a deployment under one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// As the state store counts; 0 = none were ever put.
    pub revision: u64,
    /// Sorted by kind and key. An ended campaign stays: its key is never used again.
    pub documents: Vec<Document>,
    /// Since when each tracker of the history has been asked for, by its id: what happened before is not known.
    pub tracked: BTreeMap<TrackerId, Timestamp>,
    /// The revision with which each of them was asked for, see [`Asked`].
    pub asked: Asked,
    /// Backfills that began and did not end.
    pub backfills: Vec<Backfill>,
}

/// One stored document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub kind: Kind,
    pub key: Box<str>,
    /// From 1; every edit bumps it.
    pub version: u32,
    /// Campaigns have one, others do not.
    pub status: Option<Status>,
    /// When a campaign became what it is: created, edited, or first started. `None` = not known (others have none, and neither had versions
    /// before this was kept).
    pub since: Option<Timestamp>,
    /// See [`super::definition::Document::canonical`].
    pub canonical: String,
}

/// Why stored bytes are no catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the stored definitions have format {0}, this version reads up to {FORMAT}: upgrade campanile on this worker")]
    NewerFormat(u32),
    #[error("the stored definitions cannot be read: {0}; apply the definitions again to a new `state.prefix`, or restore the store")]
    Damaged(String),
}

impl Catalog {
    /// The body to store. The revision is the store's and not part of it.
    pub fn encode(&self) -> Vec<u8> {
        let documents = self.documents.iter().filter_map(|document| {
            let Document { kind, key, version, status, since, canonical } = document;
            // Stored documents are JSON by construction.
            let document = serde_json::from_str(canonical).ok()?;
            Some(Stored { kind: *kind, key, version: *version, status: *status, since_ms: since.map(|since| since.0), document })
        });
        let file = StoredFile {
            format: FORMAT,
            documents: documents.collect(),
            tracked: self.tracked.iter().map(|(id, since)| (id.0, *since)).collect(),
            asked: self.asked.iter().map(|(id, revision)| (id.0, *revision)).collect(),
            backfills: self.backfills.clone(),
        };
        serde_json::to_vec(&file).unwrap_or_default()
    }

    /// Reads what [`Catalog::encode`] made; no bytes are an empty catalog.
    pub fn decode(revision: u64, body: &[u8]) -> Result<Catalog, DecodeError> {
        if body.is_empty() {
            return Ok(Catalog { revision, ..Catalog::default() });
        }
        let damaged = |error: serde_json::Error| DecodeError::Damaged(error.to_string());
        // The format first: what a newer one looks like is unknown.
        let Format { format } = serde_json::from_slice(body).map_err(damaged)?;
        if format > FORMAT {
            return Err(DecodeError::NewerFormat(format));
        }
        let file: StoredFile<'_> = serde_json::from_slice(body).map_err(damaged)?;
        let documents = file.documents.into_iter().map(|stored| Document {
            kind: stored.kind,
            key: stored.key.into(),
            version: stored.version,
            status: stored.status,
            since: stored.since_ms.map(Timestamp),
            canonical: stored.document.get().to_owned(),
        });
        Ok(Catalog {
            revision,
            documents: documents.collect(),
            tracked: file.tracked.into_iter().map(|(id, since)| (TrackerId(id), since)).collect(),
            asked: file.asked.into_iter().map(|(id, revision)| (TrackerId(id), revision)).collect(),
            backfills: file.backfills,
        })
    }

    /// Takes every campaign as begun then, and everything that is asked for as tracked since: where past events are run from there, or a
    /// scenario begins.
    pub fn begin_at(&mut self, begin: Timestamp) {
        self.tracked.values_mut().for_each(|known| *known = begin);
        self.documents.iter_mut().filter(|document| document.status.is_some()).for_each(|campaign| campaign.since = Some(begin));
    }

    /// The stored document of this name.
    pub fn get(&self, kind: Kind, key: &str) -> Option<&Document> {
        self.documents.iter().find(|document| document.kind == kind && &*document.key == key)
    }
}

impl Document {
    /// When it became what it is with this status and, perhaps, another text; `None` = as unknown as before.
    fn since_as(&self, status: Option<Status>, edited: bool, now: Timestamp) -> Option<Timestamp> {
        let begins = edited || (self.status, status) == (Some(Status::Ready), Some(Status::Running));
        if begins { status.map(|_| now) } else { self.since }
    }

    /// How problems of a stored document are headed, which has no file any more.
    pub fn shown_as(&self) -> String {
        format!("(stored {} {})", self.kind, self.key)
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredFile<'a> {
    format: u32,
    #[serde(borrow)]
    documents: Vec<Stored<'a>>,
    /// Ids as text: JSON has no other keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tracked: BTreeMap<u64, Timestamp>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    asked: BTreeMap<u64, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    backfills: Vec<Backfill>,
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    kind: Kind,
    key: &'a str,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// A number: where past events are run, it is the beginning of time, which no date names.
    since_ms: Option<i64>,
    #[serde(borrow)]
    document: &'a RawValue,
}

#[cfg(test)]
mod tests;
