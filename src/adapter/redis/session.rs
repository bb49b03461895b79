//! One session: an incarnation, its connections, and what it was last told by each group. `commit` says how operations and
//! unknown replies are dealt with.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use crate::engine::id::UserId;
use crate::engine::time::Timestamp;
use crate::worker::ports::{
    Admit, Change, Committed, Cursor, Documents, Future, Identity, Loaded, Page, Partition, Put, Spend, State, StateError, Stored,
};

use super::Shared;
use super::commit::{self, Outcome, Part, Standing};
use super::keys;
use super::link::{Fault, JOIN, PUT_DOCUMENTS, TAKE_DUE};
use super::nodes::{Batch, Nodes};
use super::reply;
use super::spanning::{self, Stand};

/// How often a commit is sent at most before its outcome is given up as unknown.
const COMMIT_ATTEMPTS: u32 = 5;

/// Users whose record and profile are asked for by one command: bounds what Redis does without a break.
const LOAD_USERS: usize = 128;

pub(super) struct Session {
    shared: Arc<Shared>,
    nodes: Nodes,
    incarnation: u64,
    /// The last operation number that was taken.
    operation: u64,
    groups: Vec<Group>,
    /// The group that is asked first for what is due.
    first_due: usize,
    /// Once the store is known to have lost writes nothing this session says is worth anything.
    rolled_back: Option<String>,
}

/// What a session knows of a group.
#[derive(Default)]
struct Group {
    /// The last operation acknowledged in it; 0 = none.
    acknowledged: u64,
    /// The highest sequence seen in it.
    seen: u64,
    /// Loaded from since the last commit.
    read: bool,
}

impl Session {
    /// Takes an incarnation and the sequences as they are now.
    pub(super) async fn join(shared: Arc<Shared>, mut nodes: Nodes) -> Result<Session, StateError> {
        let mut call = JOIN.call(&[shared.keys.store(keys::STORE)]);
        call.arg(&shared.id);
        let incarnation = match nodes.run_one(shared.keys.store_slot(), call).await? {
            Value::Nil => return Err(StateError::RolledBack(format!("the store {} is gone: it was emptied or replaced", shared.id))),
            digits => reply::number(digits)?,
        };
        let groups = (0..shared.keys.groups()).map(|_| Group::default()).collect();
        let mut session = Session { shared, nodes, incarnation, operation: 0, groups, first_due: 0, rolled_back: None };
        session.store_identity().await?;
        Ok(session)
    }

    async fn load_users(&mut self, users: &[UserId]) -> Result<Loaded, StateError> {
        self.usable()?;
        let mut by_group = vec![Vec::new(); self.groups.len()];
        for (position, user) in users.iter().enumerate() {
            by_group[self.shared.keys.group_of(user)].push(position);
        }
        let chunks: Vec<(usize, &[usize])> = by_group
            .iter()
            .enumerate()
            .flat_map(|(group, positions)| positions.chunks(LOAD_USERS).map(move |positions| (group, positions)))
            .collect();
        let keys = &self.shared.keys;
        let mut commands = Batch::with_capacity(1 + chunks.len());
        commands.add(chunks.first().map_or(keys.store_slot(), |&(group, _)| keys.slot(group)), redis::cmd("TIME"));
        for &(group, positions) in &chunks {
            commands.add(keys.slot(group), self.load_command(group, positions.iter().map(|&position| &users[position])));
        }

        let mut replies = self.nodes.run(&commands).await?.into_iter();
        let now = time(replies.next().unwrap_or(Value::Nil))?;
        let mut loaded = vec![None; users.len()];
        for ((group, positions), values) in chunks.into_iter().zip(replies) {
            let mut values = reply::list(values)?.into_iter();
            self.see(group, reply::number(values.next().unwrap_or(Value::Nil))?)?;
            self.groups[group].read = true;
            for &position in positions {
                loaded[position] = stored(values.next(), values.next())?;
            }
        }
        Ok(Loaded { now, users: loaded })
    }

    /// The group's sequence, then record and profile of each user, all at one moment.
    fn load_command<'a>(&self, group: usize, users: impl Iterator<Item = &'a UserId>) -> Cmd {
        let keys = &self.shared.keys;
        let mut command = redis::cmd("MGET");
        command.arg(keys.group(group, keys::SEQUENCE));
        for user in users {
            command.arg(keys.user(group, keys::RECORD, user)).arg(keys.user(group, keys::PROFILE, user));
        }
        command
    }

    async fn commit_changes(&mut self, changes: &[Change]) -> Result<Committed, StateError> {
        self.usable()?;
        self.operation += 1;
        let mut also: Vec<usize> = (0..self.groups.len()).filter(|&group| self.groups[group].read).collect();
        if also.is_empty() && changes.is_empty() {
            also.push(0);
        }
        let parts = commit::parts(&self.shared.keys, changes, also.into_iter());
        let calls = commit::calls(&self.shared.keys, &parts, changes, |group| Standing {
            incarnation: self.incarnation,
            operation: self.operation,
            acknowledged: self.groups[group].acknowledged,
            seen: self.groups[group].seen,
        });

        let mut attempt = 1;
        loop {
            match self.attempt(&calls).await {
                Ok(replies) => return self.settle(&parts, replies),
                Err(Fault::Lost(why) | Fault::Passing(why) | Fault::Demoted(why)) if attempt < COMMIT_ATTEMPTS => {
                    tracing::warn!(attempt, operation = self.operation, error = %why, "commit has no answer, repeating it");
                    attempt += 1;
                }
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    async fn attempt(&mut self, calls: &Batch) -> Result<Vec<Value>, Fault> {
        let replies = self.nodes.run(calls).await?;
        self.nodes.replicated(self.shared.replicas).await?;
        Ok(replies)
    }

    fn settle(&mut self, parts: &[Part], replies: Vec<Value>) -> Result<Committed, StateError> {
        let mut committed =
            Committed { now: Timestamp::MIN, sequence: 0, token: keys::token(self.incarnation, self.operation), conflicts: Vec::new() };
        for (part, value) in parts.iter().zip(replies) {
            match commit::outcome(part, value)? {
                Outcome::Behind { operation, sequence } => return Err(self.behind(part.group, operation, sequence)),
                Outcome::Done { sequence, now, conflicts } => {
                    self.see(part.group, sequence)?;
                    let group = &mut self.groups[part.group];
                    (group.acknowledged, group.read) = (self.operation, false);
                    committed.now = committed.now.max(now);
                    committed.conflicts.extend(conflicts);
                }
            }
        }
        committed.conflicts.sort_by_key(|(position, _)| *position);
        committed.sequence = self.sequence();
        Ok(committed)
    }

    async fn confirm_groups(&mut self) -> Result<(), StateError> {
        self.usable()?;
        let touched: Vec<usize> = (0..self.groups.len()).filter(|&group| self.groups[group].acknowledged > 0).collect();
        let keys = &self.shared.keys;
        let mut commands = Batch::with_capacity(2 * touched.len());
        for &group in &touched {
            let mut entry = redis::cmd("HGET");
            entry.arg(keys.group(group, keys::LEDGER)).arg(self.incarnation);
            commands.add(keys.slot(group), entry);
            commands.also(get(keys.group(group, keys::SEQUENCE)));
        }
        if touched.is_empty() {
            return Ok(());
        }
        let mut replies = self.nodes.run(&commands).await?.into_iter();
        while let (Some(entry), Some(sequence)) = (replies.next(), replies.next()) {
            let group = touched[touched.len() - 1 - replies.len() / 2];
            let operation = ledger_operation(entry)?;
            let sequence = reply::number(sequence)?;
            if operation < self.groups[group].acknowledged || operation > self.operation {
                return Err(self.behind(group, operation, sequence));
            }
            self.see(group, sequence)?;
        }
        Ok(())
    }

    /// Asks all groups for an equal share, then those that had theirs in full for the rest. The first group changes from call to
    /// call, so that none is always served last.
    async fn take_due_users(&mut self, now: Timestamp, limit: usize, hide: Duration) -> Result<Vec<UserId>, StateError> {
        self.usable()?;
        let count = self.groups.len();
        let share = limit.div_ceil(count);
        let order: Vec<usize> = (0..count).map(|turn| (self.first_due + turn) % count).collect();
        self.first_due = (self.first_due + 1) % count;
        let (asked, others) = order.split_at(limit.checked_div(share).unwrap_or(0).min(count));
        let shares: Vec<(usize, usize)> = asked.iter().map(|&group| (group, share)).collect();

        let until = now.after(hide);
        let mut due = Vec::new();
        let full = self.take_from(&shares, now, until, &mut due).await?;
        for &group in full.iter().chain(others) {
            if due.len() < limit {
                self.take_from(&[(group, limit - due.len())], now, until, &mut due).await?;
            }
        }
        Ok(due)
    }

    /// Takes up to so many from each of these groups and answers which of them had as many.
    async fn take_from(
        &mut self,
        shares: &[(usize, usize)],
        now: Timestamp,
        until: Timestamp,
        due: &mut Vec<UserId>,
    ) -> Result<Vec<usize>, StateError> {
        let keys = &self.shared.keys;
        let mut commands = Batch::with_capacity(shares.len());
        for &(group, part) in shares {
            let mut call = TAKE_DUE.call(&[keys.group(group, keys::WAKE)]);
            call.arg(now.0).arg(part).arg(until.0);
            commands.add(keys.slot(group), call);
        }
        if shares.is_empty() {
            return Ok(Vec::new());
        }
        let mut full = Vec::new();
        for (&(group, part), users) in shares.iter().zip(self.nodes.run(&commands).await?) {
            let users = reply::list(users)?;
            if users.len() == part {
                full.push(group);
            }
            for user in users {
                due.push(UserId::from(reply::text(user)?));
            }
        }
        Ok(full)
    }

    async fn users_from(&mut self, cursor: Option<&Cursor>, limit: usize) -> Result<Page, StateError> {
        self.usable()?;
        let (keys, groups) = (&self.shared.keys, self.groups.len());
        let stand = Stand::read(cursor)?;
        if stand.group >= groups {
            return Err(StateError::Refused(format!("a walk over all users stands in group {} of {groups}", stand.group)));
        }
        if let Some(page) = stand.page(groups, self.nodes.run(&stand.commands(keys, limit)).await?)? {
            return Ok(page);
        }
        tracing::info!(group = stand.group, "redis is not the process that a walk over all users was begun on: its group is walked again");
        let stand = stand.again();
        let page = stand.page(groups, self.nodes.run(&stand.commands(keys, limit)).await?)?;
        page.ok_or_else(|| StateError::Unavailable("redis was restarted twice during one question".into()))
    }

    async fn admit_users(&mut self, asked: &[Admit]) -> Result<Vec<bool>, StateError> {
        self.usable()?;
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let (calls, positions) = spanning::admissions(&self.shared.keys, asked);
        let answers = spanning::admitted(&positions, self.nodes.run(&calls).await?)?;
        self.nodes.replicated(self.shared.replicas).await?;
        Ok(answers)
    }

    async fn spend_budgets(&mut self, wanted: &[Spend]) -> Result<Vec<u32>, StateError> {
        self.usable()?;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.nodes.run(&spanning::wishes(&self.shared.keys, wanted)).await?.into_iter().map(reply::number).collect()
    }

    async fn stored_documents(&mut self, known: Option<u64>) -> Result<Option<Documents>, StateError> {
        let (slot, key) = (self.shared.keys.store_slot(), self.shared.keys.store(keys::DOCUMENTS));
        if let Some(known) = known {
            let mut get = redis::cmd("HGET");
            get.arg(&key).arg("revision");
            if reply::number::<u64>(self.nodes.run_one(slot, get).await?)? == known {
                return Ok(None);
            }
        }
        let mut get = redis::cmd("HMGET");
        get.arg(&key).arg("revision").arg("body");
        let [revision, body] = reply::array(self.nodes.run_one(slot, get).await?)?;
        Ok(Some(Documents { revision: reply::number(revision)?, body: reply::bytes(body)?.unwrap_or_default() }))
    }

    /// Sent once only: after an unknown reply the caller reads what is stored.
    async fn replace_documents(&mut self, expected: u64, body: &[u8]) -> Result<Put, StateError> {
        let mut call = PUT_DOCUMENTS.call(&[self.shared.keys.store(keys::DOCUMENTS)]);
        call.arg(expected).arg(body);
        let [ours, revision] = reply::array(self.nodes.run_one(self.shared.keys.store_slot(), call).await?)?;
        let revision = reply::number(revision)?;
        if reply::number::<u8>(ours)? == 0 {
            return Ok(Put::Conflict { revision });
        }
        self.nodes.replicated(self.shared.replicas).await?;
        Ok(Put::Stored { revision })
    }

    async fn exchange_positions(&mut self, ours: &[(Partition, Timestamp)]) -> Result<Vec<(Partition, Timestamp)>, StateError> {
        let (slot, key) = (self.shared.keys.store_slot(), self.shared.keys.store(keys::READ));
        let mut commands = Batch::with_capacity(2);
        if !ours.is_empty() {
            let mut set = redis::cmd("HSET");
            set.arg(&key);
            for (partition, read_to) in ours {
                set.arg(format!("{}/{}", partition.number, partition.topic)).arg(read_to.0);
            }
            commands.add(slot, set);
        }
        let mut all = redis::cmd("HGETALL");
        all.arg(&key);
        commands.add(slot, all);
        let entries = reply::pairs(self.nodes.run(&commands).await?.pop().unwrap_or(Value::Nil))?;
        entries.into_iter().map(|(field, read_to)| Ok((partition(&reply::text(field)?)?, Timestamp(reply::number(read_to)?)))).collect()
    }

    async fn store_identity(&mut self) -> Result<Identity, StateError> {
        self.usable()?;
        let keys = &self.shared.keys;
        let mut id = redis::cmd("HGET");
        id.arg(keys.store(keys::STORE)).arg("id");
        let mut commands = Batch::with_capacity(1 + self.groups.len());
        commands.add(keys.store_slot(), id);
        for group in 0..self.groups.len() {
            commands.add(keys.slot(group), get(keys.group(group, keys::SEQUENCE)));
        }
        let mut replies = self.nodes.run(&commands).await?.into_iter();
        let id = replies.next().map(reply::bytes).transpose()?.flatten();
        if id.as_deref() != Some(self.shared.id.as_bytes()) {
            return Err(self.roll_back(format!("the store {} is gone: it was emptied or replaced", self.shared.id)));
        }
        for (group, sequence) in replies.enumerate() {
            self.see(group, reply::number(sequence)?)?;
        }
        Ok(Identity { id: self.shared.id.clone(), sequence: self.sequence() })
    }

    /// The store's sequence as far as this session knows: never more than it is, and never less than it was told before.
    fn sequence(&self) -> u64 {
        self.groups.iter().map(|group| group.seen).sum()
    }

    fn see(&mut self, group: usize, sequence: u64) -> Result<(), StateError> {
        if sequence < self.groups[group].seen {
            return Err(self.roll_back(format!("group {group} has sequence {sequence} where {} was seen", self.groups[group].seen)));
        }
        self.groups[group].seen = sequence;
        Ok(())
    }

    fn behind(&mut self, group: usize, operation: u64, sequence: u64) -> StateError {
        let Group { acknowledged, seen, .. } = self.groups[group];
        self.roll_back(format!(
            "group {group} has operation {operation} of this session where {acknowledged} was acknowledged, sequence {sequence} where {seen} was seen"
        ))
    }

    fn roll_back(&mut self, why: String) -> StateError {
        self.rolled_back = Some(why.clone());
        StateError::RolledBack(why)
    }

    fn usable(&self) -> Result<(), StateError> {
        self.rolled_back.clone().map_or(Ok(()), |why| Err(StateError::RolledBack(why)))
    }
}

impl State for Session {
    fn load<'a>(&'a mut self, users: &'a [UserId]) -> Future<'a, Result<Loaded, StateError>> {
        Box::pin(self.load_users(users))
    }

    fn commit<'a>(&'a mut self, changes: &'a [Change]) -> Future<'a, Result<Committed, StateError>> {
        Box::pin(self.commit_changes(changes))
    }

    fn confirm(&mut self) -> Future<'_, Result<(), StateError>> {
        Box::pin(self.confirm_groups())
    }

    fn take_due(&mut self, now: Timestamp, limit: usize, hide: Duration) -> Future<'_, Result<Vec<UserId>, StateError>> {
        Box::pin(self.take_due_users(now, limit, hide))
    }

    fn users<'a>(&'a mut self, cursor: Option<&'a Cursor>, limit: usize) -> Future<'a, Result<Page, StateError>> {
        Box::pin(self.users_from(cursor, limit))
    }

    fn admit<'a>(&'a mut self, asked: &'a [Admit]) -> Future<'a, Result<Vec<bool>, StateError>> {
        Box::pin(self.admit_users(asked))
    }

    fn spend<'a>(&'a mut self, wanted: &'a [Spend]) -> Future<'a, Result<Vec<u32>, StateError>> {
        Box::pin(self.spend_budgets(wanted))
    }

    fn documents(&mut self, known: Option<u64>) -> Future<'_, Result<Option<Documents>, StateError>> {
        Box::pin(self.stored_documents(known))
    }

    fn put_documents<'a>(&'a mut self, expected: u64, body: &'a [u8]) -> Future<'a, Result<Put, StateError>> {
        Box::pin(self.replace_documents(expected, body))
    }

    fn read_positions<'a>(&'a mut self, ours: &'a [(Partition, Timestamp)]) -> Future<'a, Result<Vec<(Partition, Timestamp)>, StateError>> {
        Box::pin(self.exchange_positions(ours))
    }

    fn identity(&mut self) -> Future<'_, Result<Identity, StateError>> {
        Box::pin(self.store_identity())
    }
}

fn get(key: String) -> Cmd {
    let mut command = redis::cmd("GET");
    command.arg(key);
    command
}

/// Record and profile as `MGET` answers them.
fn stored(value: Option<Value>, profile: Option<Value>) -> Result<Option<Stored>, StateError> {
    let profile = reply::bytes(profile.unwrap_or(Value::Nil))?;
    reply::bytes(value.unwrap_or(Value::Nil))?.map(|value| keys::decode(value, profile)).transpose()
}

/// The reply to `TIME`: seconds and microseconds.
fn time(value: Value) -> Result<Timestamp, StateError> {
    let [seconds, micros] = reply::array(value)?;
    Ok(Timestamp(reply::number::<i64>(seconds)?.saturating_mul(1000).saturating_add(reply::number::<i64>(micros)? / 1000)))
}

/// The operation of a ledger entry (`<operation> <second>`); 0 = no entry.
fn ledger_operation(entry: Value) -> Result<u64, StateError> {
    let entry = reply::bytes(entry)?.unwrap_or_default();
    let operation = entry.split(|&byte| byte == b' ').next().unwrap_or_default();
    if operation.is_empty() { Ok(0) } else { reply::number(Value::BulkString(operation.to_vec())) }
}

/// The partition that a field of the read positions names (`<number>/<topic>`).
fn partition(field: &str) -> Result<Partition, StateError> {
    let named = field.split_once('/').and_then(|(number, topic)| Some((number.parse().ok()?, topic)));
    let (number, topic) =
        named.ok_or_else(|| StateError::Refused(format!("the read positions hold `{field}`, which names no partition")))?;
    Ok(Partition { topic: topic.into(), number })
}
