//! How much one user's record may hold. What would go over is refused as `state_full`: a stuck user never sticks a lane.

use crate::engine::id::CampaignId;
use crate::engine::record::codec::size;
use crate::engine::record::{Happened, Pending, Phase, Record, Request, Timer, TimerKind};

/// New clocks and sends stop when the record without its frozen requests is this large, in bytes.
pub const RECORD_SOFT_BYTES: usize = 64 * 1024;

/// Nothing makes a record larger than this, in bytes.
pub const RECORD_HARD_BYTES: usize = 256 * 1024;

/// Deliveries under way, per user.
pub const MAX_PENDING: usize = 32;

/// The frozen requests of all deliveries that are not settled, in bytes.
pub const MAX_PENDING_BYTES: usize = 128 * 1024;

/// Deliveries that wait in a retry topic or in a batch, per user. Where there are so many, or their requests take half of the bytes, a campaign
/// that has some among them gets no more in: one whose endpoint is away must not keep out those whose endpoints answer.
pub const MAX_WAITING: usize = 128;

/// With so many under way a record is crowded (see [`is_crowded`]): the rest is for events that start several campaigns.
pub const CROWDED: usize = 24;

/// Clocks that run, per user.
pub const MAX_TIMERS: usize = 64;

/// What a record takes besides its lists, and what a claim adds to it besides the request: ids, labels, times, in bytes.
const CLAIM_BYTES: usize = 1024;

/// What an exposure of the control arm and its goal add, in bytes.
const EXPOSURE_BYTES: usize = 128;

/// Whether a clock can join; `instead` when it takes another's place.
pub(super) fn has_room_for_timer(record: &Record, timer: &Timer, instead: Option<&Timer>) -> bool {
    if instead.is_none() && record.timers.len() >= MAX_TIMERS {
        return false;
    }
    size_without_requests(record) + size(timer) <= RECORD_SOFT_BYTES + instead.map_or(0, size)
}

/// Whether an event can join those that are collected.
pub(super) fn has_room_for_happened(record: &Record, happened: &Happened) -> bool {
    size_without_requests(record) + size(happened) <= RECORD_SOFT_BYTES
}

/// Whether a new delivery of this campaign can join.
pub(super) fn has_room_for_claim(record: &Record, campaign: CampaignId, request: &Request) -> bool {
    let waiting = || record.pending.iter().filter(|entry| waits(entry));
    let (count, bytes) = waiting().fold((0, 0), |(count, bytes), entry| (count + 1, bytes + request_weight(entry)));
    let no_more_wait = count >= MAX_WAITING || bytes > MAX_PENDING_BYTES / 2;
    record.pending.len() - count < MAX_PENDING
        && request_bytes(record) + request.weight() <= MAX_PENDING_BYTES
        && size_without_requests(record) + CLAIM_BYTES <= RECORD_SOFT_BYTES
        && !(no_more_wait && waiting().any(|entry| entry.campaign == campaign))
}

/// Deliveries under way.
pub(super) fn under_way(record: &Record) -> usize {
    record.pending.len() - waiting(record)
}

/// Deliveries that wait elsewhere.
pub(super) fn waiting(record: &Record) -> usize {
    record.pending.iter().filter(|entry| waits(entry)).count()
}

fn waits(entry: &Pending) -> bool {
    matches!(entry.phase, Phase::Parked { .. } | Phase::Batched { .. })
}

/// Whether further events of this user had better wait for one of its deliveries to end: they might find no room. Sends that wait for their
/// linked content will be deliveries.
pub fn is_crowded(record: &Record) -> bool {
    let wishes = record.timers.iter().filter(|timer| matches!(timer.kind, TimerKind::Linking { .. })).count();
    under_way(record) + wishes >= CROWDED || request_bytes(record) > MAX_PENDING_BYTES / 2
}

/// Whether what was held out can be noted, its exposure and its goal.
pub(super) fn has_room_for_exposure(record: &Record) -> bool {
    size_without_requests(record) + EXPOSURE_BYTES <= RECORD_SOFT_BYTES
}

/// Whether a parked delivery's request can come back. Refused only by the hard bound: the delivery is decided.
pub(super) fn has_room_for_request(record: &Record, request: &Request) -> bool {
    size(record) + size(request) <= RECORD_HARD_BYTES
}

fn size_without_requests(record: &Record) -> usize {
    size(record).saturating_sub(request_bytes(record))
}

fn request_bytes(record: &Record) -> usize {
    record.pending.iter().map(request_weight).sum()
}

fn request_weight(entry: &Pending) -> usize {
    entry.request.as_deref().map_or(0, Request::weight)
}
