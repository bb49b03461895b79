//! One attempt: the exchange, then the lines that must be acknowledged before anything is settled.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::catalog::{Policy, Route};
use crate::engine::delivery::admission::Slot;
use crate::engine::delivery::breaker::Health;
use crate::engine::delivery::retries::{self, Retries};
use crate::engine::delivery::{self, Answer, Credentials, Failure, Meaning, Secret, SecretError, lease, wire};
use crate::engine::effect::{Decision, FailCause, Passed};
use crate::engine::id::{DeliveryId, UserId, stable_hash};
use crate::engine::record::{Ending, Pending, Phase};
use crate::engine::step::{Input, Verdict};
use crate::engine::time::Timestamp;

use super::appending::{Ack, append_surely};
use super::complaints::Complaints;
use super::counters::Counters;
use super::dispatch::{Delivery, Destinations, Parking};
use super::links::LinkCache;
use super::outcomes::{self, Attempt, AttemptResult, DeadDelivery};
use super::ports::{Append, EXCERPT_BYTES, Exchange, Future, HttpRequest, Line, Turn};
use super::retry::RetryMessage;
use super::settings::Settings;
use super::store_clock::StoreClock;

/// Resolves a secret's name at the moment of sending.
pub type Secrets = Arc<dyn Fn(&str) -> Option<Secret> + Send + Sync>;

/// How long a delivery rests whose slot came too late for its lease.
const TOO_LATE_FOR_LEASE: Duration = Duration::from_secs(1);

/// How long a delivery rests that lacks a secret.
const SHORTEST_SECRET_WAIT: Duration = Duration::from_secs(5);
const LONGEST_SECRET_WAIT: Duration = Duration::from_secs(30 * 60);

/// What an attempt needs of the world.
pub struct Outside {
    pub append: Arc<dyn Append>,
    pub exchange: Box<dyn Exchange>,
    pub clock: Arc<StoreClock>,
    pub destinations: Arc<Destinations>,
    pub links: Arc<LinkCache>,
    pub secrets: Secrets,
    pub settings: Arc<Settings>,
    pub metrics: Counters,
    pub complaints: Complaints,
    /// Attempts that hold a slot.
    pub exchanging: Cell<usize>,
}

/// How an attempt is made; from the destination's definition as it is in force when a slot is free.
#[derive(Clone, Debug)]
pub struct Manner {
    pub timeout: Duration,
    pub retries: Retries,
    /// From the first decision to the expiry.
    pub lifetime: Duration,
    pub credentials: Option<Arc<Credentials>>,
}

impl Manner {
    pub fn of(route: &Route<'_>, policy: &Policy, credentials: Option<Arc<Credentials>>) -> Manner {
        let retries = Retries { fast: route.max_retries, backoff: policy.backoff, slow: route.slow_retries.to_vec() };
        Manner { timeout: route.timeout, retries, lifetime: policy.expires, credentials }
    }
}

/// An attempt in its slot, which is given back when the exchange is over, or at once if there is none.
struct Attempting<'a> {
    outside: &'a Outside,
    delivery: Delivery,
    slot: Slot,
    number: u32,
    lease: Timestamp,
    manner: Manner,
}

/// Makes the attempt that the stored record holds, in a slot that is given back as soon as the exchange is over. Answers the input that settles
/// it, once every line it needs is acknowledged; `None` when the retry topic has it and the lease covers the wait.
pub async fn attempt(outside: &Outside, delivery: Delivery, slot: Slot, manner: Manner) -> Option<(UserId, Input)> {
    let began = outside.clock.monotonic();
    outside.exchanging.update(|exchanging| exchanging + 1);
    let release = |delivery: &Delivery, held, health| {
        outside.exchanging.update(|exchanging| exchanging - 1);
        outside.destinations.released(delivery.destination(), slot, held, health, outside.clock.now());
    };
    let unused = |delivery: &Delivery| release(delivery, Duration::ZERO, Health::Unknown);
    let Phase::Sending { attempt, lease } = delivery.entry.phase else {
        unused(&delivery);
        return None;
    };
    // While the log is away nothing is settled and every lease runs out: a take-over waits for its `sent` line, or all that is under
    // way would be sent again with each lease.
    if attempt > 1 && delivery.decided.clone().wait().await.is_err() {
        unused(&delivery);
        return None;
    }
    let exchanged = match request(outside, &delivery, attempt, &manner) {
        Some(Ok(request)) => {
            let timeout = manner.timeout;
            exchange(request, Beginning { outside, delivery: &delivery, number: attempt, lease, timeout, too_late: Cell::default() }).await
        }
        Some(Err(why)) => {
            unused(&delivery);
            return wait_for_secret(outside, delivery, manner.lifetime, &why).await;
        }
        // Somebody else has it: the retry topic.
        None => {
            unused(&delivery);
            return None;
        }
    };
    let Some(answer) = exchanged else {
        unused(&delivery);
        let until = outside.clock.now().after(TOO_LATE_FOR_LEASE);
        return park(outside, delivery, Parking::Busy(until)).await;
    };
    if answer.status == Err(Failure::Unsent) {
        unused(&delivery);
        return wait_for_room(outside, delivery, manner.lifetime).await;
    }
    release(&delivery, outside.clock.monotonic().saturating_sub(began), Health::of(&answer));
    settle(Attempting { outside, delivery, slot, number: attempt, lease, manner }, &answer).await
}

/// What is judged just before a request is written.
struct Beginning<'a> {
    outside: &'a Outside,
    delivery: &'a Delivery,
    number: u32,
    lease: Timestamp,
    timeout: Duration,
    /// The lease is too short by now.
    too_late: Cell<bool>,
}

/// `None` when it was too late to begin.
async fn exchange(request: HttpRequest, beginning: Beginning<'_>) -> Option<Answer> {
    let Outside { exchange, destinations, .. } = beginning.outside;
    if destinations.has_rate(beginning.delivery.destination()) {
        let answer = exchange.exchange_in_turn(request, &beginning).await;
        return (!beginning.too_late.get()).then_some(answer);
    }
    if beginning.may_begin().await { Some(exchange.exchange(request).await) } else { None }
}

impl Beginning<'_> {
    /// Waits until the destination's rate, if it has one, allows another request; whether the lease then still does.
    async fn may_begin(&self) -> bool {
        let Beginning { outside, delivery, lease, timeout, .. } = *self;
        let latest = lease.before(lease::needed(timeout));
        let turn = outside.destinations.may_begin(delivery.destination(), latest, outside.clock.now());
        let is_late = match turn {
            Some(turn) => turn.await.is_err(),
            None => false,
        };
        if is_late || !lease::may_start(outside.clock.now(), lease, timeout) {
            self.too_late.set(true);
            return false;
        }
        if let Some(since) = delivery.since.filter(|_| self.number == 1) {
            outside.metrics.event_to_request(outside.clock.now().since(since));
        }
        true
    }
}

impl Turn for Beginning<'_> {
    fn comes(&self) -> Future<'_, bool> {
        Box::pin(self.may_begin())
    }
}

/// Gives a delivery to the retry topic without using its attempt.
pub async fn park(outside: &Outside, delivery: Delivery, parking: Parking) -> Option<(UserId, Input)> {
    let made = delivery.entry.phase.attempt().saturating_sub(1);
    let mut message = RetryMessage::of(&delivery, made, outside.clock.now())?;
    message.unstarted = true;
    message.park(parking, outside.clock.now());
    let until = message.not_before;
    confirm_decided(outside, &delivery).await;
    // Where it cannot be written, the record keeps the request, and the delivery comes up again when its lease ends.
    append_surely(&*outside.append, vec![message.line(&outside.settings.topics, outside.clock.now())]).await.ok()?;
    outside.metrics.retry_scheduled();
    Some((delivery.user, Input::Parked { id: delivery.entry.id, attempt: made, until, unstarted: true }))
}

/// Writes the last lines of a delivery that is over without another attempt.
pub async fn give_up(outside: &Outside, delivery: Delivery, cause: FailCause) -> (UserId, Input) {
    let cause = match cause {
        FailCause::Expired => "expired",
        FailCause::Ended => "ended",
    };
    fail(outside, delivery, cause, None, None).await
}

/// Writes the dead letter of a delivery that failed with the batch that made its request: so that it can be sent again alone, as the
/// attempt after the batch's last.
pub async fn bury(outside: &Outside, mut delivery: Delivery, ending: Ending) -> (UserId, Input) {
    let Ending { attempt, status, cause, .. } = ending;
    let lease = outside.clock.now();
    delivery.entry.phase = Phase::Sending { attempt, lease };
    write_letter(outside, &delivery, Vec::new(), cause.as_deref().unwrap_or_default(), status).await;
    (delivery.user, Input::Attempted { id: delivery.entry.id, attempt, verdict: Verdict::Failed, status, cause })
}

/// The request for the wire, signed and with its secrets; `None` for an entry whose request is in the retry topic.
fn request(outside: &Outside, delivery: &Delivery, number: u32, manner: &Manner) -> Option<Result<HttpRequest, SecretError>> {
    let frozen = delivery.entry.request.as_ref()?;
    let attempt = wire::Attempt { id: delivery.entry.id, number, at: outside.clock.now() };
    let prepared = wire::prepare(frozen, &attempt, manner.credentials.as_deref(), &*outside.secrets);
    Some(prepared.and_then(|wire::Prepared { url, headers, body, ca }| {
        let ca = ca.filter(|_| outside.exchange.trusts()).transpose()?;
        let body = body.map(String::into_bytes);
        Ok(HttpRequest { method: frozen.method, url, headers, body, ca, timeout: manner.timeout, keep_bytes: EXCERPT_BYTES })
    }))
}

/// A delivery that lacks a usable secret waits, without using an attempt: the secret may be mounted, or mended, a minute from
/// now. In the end it expires.
async fn wait_for_secret(outside: &Outside, delivery: Delivery, lifetime: Duration, why: &SecretError) -> Option<(UserId, Input)> {
    outside.complaints.hear(delivery.destination(), why, outside.clock.monotonic());
    wait_as_long_again(outside, delivery, lifetime).await
}

/// A delivery for which this machine had no connection waits likewise: it is not the destination that failed.
async fn wait_for_room(outside: &Outside, delivery: Delivery, lifetime: Duration) -> Option<(UserId, Input)> {
    outside.complaints.no_room(outside.clock.monotonic());
    wait_as_long_again(outside, delivery, lifetime).await
}

async fn wait_as_long_again(outside: &Outside, delivery: Delivery, lifetime: Duration) -> Option<(UserId, Input)> {
    let now = outside.clock.now();
    let wait = secret_wait(delivery.entry.expires.since(now), lifetime);
    park(outside, delivery, Parking::Busy(now.after(wait))).await
}

/// As long again as it has waited since its first decision, so that an hour without a secret costs each delivery about ten looks. Its claim does
/// not tell: a first attempt that is late claims again.
fn secret_wait(left: Duration, lifetime: Duration) -> Duration {
    lifetime.saturating_sub(left).clamp(SHORTEST_SECRET_WAIT, LONGEST_SECRET_WAIT)
}

/// Judges the answer and has it written.
async fn settle(attempting: Attempting<'_>, answer: &Answer) -> Option<(UserId, Input)> {
    let Attempting { outside, delivery, slot, number, lease, manner } = attempting;
    let now = outside.clock.now();
    let status = answer.status.ok();
    let hint = match delivery::meaning(answer, now) {
        Meaning::Delivered => return Some(delivered(outside, delivery, number, status, answer.latency).await),
        Meaning::Failed => return Some(fail(outside, delivery, &delivery::cause(answer), status, Some(answer.latency)).await),
        // Parked before it came here.
        Meaning::Unsent => None,
        Meaning::Retry { hint } => hint,
    };
    let spread = stable_hash(&[&delivery.entry.id.0, &number.to_le_bytes()]);
    // A probe was sent for the destination's sake: it is never the delivery's last attempt.
    let next =
        manner.retries.after(number.saturating_sub(delivery.before), hint, spread).or(slot.probe.then(|| retries::halted(1, spread)));
    let Some(wait) = next else {
        return Some(fail(outside, delivery, &delivery::cause(answer), status, Some(answer.latency)).await);
    };
    let mut message = RetryMessage::of(&delivery, number, now.after(wait))?;
    let until = message.not_before;
    message.leased = lease::fits(now, wait, lease, manner.timeout);
    let leased = message.leased;
    let mut lines =
        attempt_lines(outside, &delivery, AttemptResult::Retrying, status, Some(&delivery::cause(answer)), Some(answer.latency));
    lines.push(message.line(&outside.settings.topics, now));
    confirm_decided(outside, &delivery).await;
    // As with `park`.
    append_surely(&*outside.append, lines).await.ok()?;
    outside.metrics.retry_scheduled();
    (!leased).then_some((delivery.user, Input::Parked { id: delivery.entry.id, attempt: number, until, unstarted: false }))
}

async fn delivered(outside: &Outside, delivery: Delivery, attempt: u32, status: Option<u16>, latency: Duration) -> (UserId, Input) {
    let lines = attempt_lines(outside, &delivery, AttemptResult::Delivered, status, None, Some(latency));
    report(outside, lines).await;
    confirm_decided(outside, &delivery).await;
    (delivery.user, Input::Attempted { id: delivery.entry.id, attempt, verdict: Verdict::Delivered, status, cause: None })
}

/// `took` is nothing where no request was made.
async fn fail(outside: &Outside, delivery: Delivery, cause: &str, status: Option<u16>, took: Option<Duration>) -> (UserId, Input) {
    let attempt = delivery.entry.phase.attempt();
    let lines = attempt_lines(outside, &delivery, AttemptResult::Failed, status, Some(cause), took);
    // Who shared it has a dead letter of their own, when their records know.
    if delivery.members.is_empty() {
        write_letter(outside, &delivery, lines, cause, status).await;
    } else {
        report(outside, lines).await;
    }
    confirm_decided(outside, &delivery).await;
    (delivery.user, Input::Attempted { id: delivery.entry.id, attempt, verdict: Verdict::Failed, status, cause: Some(cause.into()) })
}

/// Who has lines of a delivery: its user, or all who share its request.
fn whose(delivery: &Delivery) -> Vec<(&UserId, DeliveryId)> {
    match &delivery.members[..] {
        [] => vec![(&delivery.user, delivery.entry.id)],
        members => members.iter().map(|member| (&member.user, member.id)).collect(),
    }
}

/// The line of an attempt, or those of all who shared its request. For metrics it is one request, or none where none `took` any time.
fn attempt_lines(
    outside: &Outside,
    delivery: &Delivery,
    result: AttemptResult,
    status: Option<u16>,
    cause: Option<&str>,
    took: Option<Duration>,
) -> Vec<Line> {
    let destination = delivery.destination();
    if let Some(took) = took {
        outside.metrics.attempted(destination, result, took);
    }
    let at = outside.clock.now();
    let line = |(user_id, delivery_id): (&UserId, DeliveryId)| {
        let attempt = Attempt {
            at,
            campaign: &delivery.entry.claim.campaign,
            user_id,
            delivery_id,
            request_id: delivery.entry.id,
            destination,
            attempt: delivery.entry.phase.line_number(),
            result,
            status,
            latency_ms: outcomes::latency_ms(took.unwrap_or_default()),
            cause: cause.map(str::to_owned),
            error: (result == AttemptResult::Failed).then(|| format!("{}: {}", outcomes::FAILED, cause.unwrap_or_default())),
        };
        outcomes::attempt(&outside.settings.topics, &attempt)
    };
    whose(delivery).into_iter().map(line).collect()
}

/// Writes these lines and what is kept of a delivery that failed for good.
async fn write_letter(outside: &Outside, delivery: &Delivery, mut lines: Vec<Line>, cause: &str, status: Option<u16>) {
    let dead = DeadDelivery { at: outside.clock.now(), user: &delivery.user, entry: &delivery.entry, cause, status };
    lines.push(outcomes::dead_delivery(&outside.settings.topics, &dead));
    if append_surely(&*outside.append, lines).await.is_err() {
        // It is the request that makes a letter large. Without it the letter cannot be sent again, but it tells.
        let bare = Pending { request: None, ..delivery.entry.as_ref().clone() };
        report(outside, vec![outcomes::dead_delivery(&outside.settings.topics, &DeadDelivery { entry: &bare, ..dead })]).await;
    }
    outside.metrics.dead(cause);
}

/// A delivery is settled only when its `sent` line is acknowledged; one that was not is written again from the claim. Before a retry message,
/// not after it: whoever reads that goes on with the delivery and does not repeat the line, which only a take-over does.
/// What is shared has none of its own, see [`confirm_announced`].
async fn confirm_decided(outside: &Outside, delivery: &Delivery) {
    if delivery.members.is_empty() && delivery.decided.clone().wait().await.is_err() {
        let decision = Decision::sent(&delivery.user, &delivery.entry.claim, delivery.entry.id);
        report(outside, outcomes::decision(&outside.settings, &decision).into_iter().collect()).await;
    }
}

/// The same for those who ask to share a request: nobody does before their own line is acknowledged.
pub async fn confirm_announced(outside: &Outside, passed: &[(UserId, Box<Passed>)], decided: Ack) {
    if decided.wait().await.is_ok() {
        return;
    }
    let line = |(_, passed): &(UserId, Box<Passed>)| match &**passed {
        Passed::Join(joining) if joining.announced => {
            let decision = Decision::sent(&joining.member.user, &joining.claim, joining.member.id);
            outcomes::decision(&outside.settings, &decision)
        }
        Passed::Join(_) | Passed::TurnedAway { .. } | Passed::Kept { .. } | Passed::Settled { .. } => None,
    };
    let lines: Vec<Line> = passed.iter().filter_map(line).collect();
    if !lines.is_empty() {
        report(outside, lines).await;
    }
}

/// Writes lines that only tell: what goes on does so without those that are refused, too.
async fn report(outside: &Outside, lines: Vec<Line>) {
    let _ = append_surely(&*outside.append, lines).await;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::engine::id::CampaignId;
    use crate::engine::record::{Claim, Counts};
    use crate::simulator;
    use crate::simulator::endpoints::Endpoints;
    use crate::simulator::ports::{MemoryLog, MemoryStore, OpenStore, SharedFaults, VirtualClock};
    use crate::telemetry::metrics::{CampaignLabel, Metrics};
    use crate::worker::ports::Clock;

    /// Lines and a letter tell of it; the metrics of attempts do not, as no request was made.
    #[test]
    fn what_is_given_up_is_no_attempt() {
        let now = Timestamp(1_795_000_000_000);
        let clock = VirtualClock::new(now);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let log = MemoryLog::new(1, shared.clone(), SharedFaults::default());
        let store: Arc<dyn OpenStore> = Arc::new(MemoryStore::new("s", shared.clone(), SharedFaults::default()));
        let endpoints = Endpoints::new(Vec::new(), Vec::new(), simulator::endpoints::Secrets::default());
        let metrics = Arc::new(Metrics::new(CampaignLabel::Auto).unwrap());
        let outside = Outside {
            append: Arc::new(log.clone()),
            exchange: Box::new(endpoints.exchange(&store, &clock)),
            clock: Arc::new(StoreClock::new(shared)),
            destinations: Arc::new(Destinations::new(Vec::new(), 1, false)),
            links: Arc::default(),
            secrets: endpoints.secrets(),
            settings: Arc::new(Settings::of_one_lane()),
            metrics: Counters::new(metrics.clone()),
            complaints: Complaints::default(),
            exchanging: Cell::default(),
        };
        let entry = Pending {
            id: DeliveryId([1; 16]),
            campaign: CampaignId::of("c"),
            claim: Arc::new(Claim::of_test("c", now)),
            counts: Counts::default(),
            expires: now,
            phase: Phase::Failing { attempt: 1, cause: FailCause::Expired, again: now },
            origin: None,
            request: None,
        };
        let delivery = Delivery::new("u1".into(), entry, Ack::done());
        give_up(&outside, delivery, FailCause::Expired).now_or_never().unwrap();
        assert_eq!((log.records("campanile.outcomes").len(), log.records("campanile.dead").len()), (1, 1));
        let shown = prometheus::TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
        assert!(shown.contains(r#"campanile_dead_total{reason="expired"} 1"#), "{shown}");
        assert!(!shown.contains("campanile_attempts_total{") && !shown.contains("campanile_attempt_seconds_count{"), "{shown}");
    }

    #[test]
    fn who_lacks_a_secret_waits_as_long_again() {
        const LIFETIME: Duration = Duration::from_secs(24 * 3600);
        let check = |waited: u64, expect: u64| {
            let left = LIFETIME.saturating_sub(Duration::from_secs(waited));
            assert_eq!(secret_wait(left, LIFETIME), Duration::from_secs(expect), "after {waited} s");
        };
        check(0, 5);
        check(5, 5);
        check(10, 10);
        check(600, 600);
        check(1800, 1800);
        check(80_000, 1800);
        // The setting was shortened meanwhile.
        assert_eq!(secret_wait(LIFETIME, LIFETIME / 2), Duration::from_secs(5));
    }
}
