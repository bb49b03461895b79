//! For tests of a store: its calls without an executor around each.

use super::{Change, Committed, ProfileChange, State, Store, Stored, Token};
use crate::engine::catalog::{Apply, Catalog, apply};
use crate::engine::definition::{ReadOptions, Reading, read};
use crate::engine::id::UserId;
use crate::engine::time::Timestamp;

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn session(store: &dyn Store) -> Box<dyn State> {
    block_on(store.session()).unwrap()
}

/// A write of a user that was loaded with `expected`.
pub fn change(user: &str, expected: Option<Token>, record: &str) -> Change {
    let record = Some(record.as_bytes().to_vec());
    Change { user: user.into(), expected, record, profile: ProfileChange::Keep, wake: Some(Timestamp(10)) }
}

pub fn commit(session: &mut dyn State, changes: &[Change]) -> Committed {
    block_on(session.commit(changes)).unwrap()
}

pub fn load(session: &mut dyn State, user: &str) -> Option<Stored> {
    block_on(session.load(&[UserId::from(user)])).unwrap().users.remove(0)
}

/// Puts definitions, as they are written in a file, into a store that has none.
pub fn define(store: &dyn Store, definitions: &str, now: Timestamp) {
    let Reading { documents, problems, .. } = read("definitions.yaml", definitions, &ReadOptions::default());
    assert!(problems.is_empty(), "{problems:?}");
    let (catalog, _) = apply(&Catalog::default(), documents, &Apply::default(), now).unwrap();
    block_on(session(store).put_documents(0, &catalog.encode())).unwrap();
}
