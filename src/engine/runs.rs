//! A campaign's walks over all users: the runs of a schedule, and the pass that arms the dates and memberships of a campaign that
//! has started. What is known of them is an [`Agenda`], kept like a user's record under an id that is no user's; here is what
//! becomes of it as time and definitions go on. Nothing is walked here: that is the worker's, who asks and reports.
//!
//! **One run for all zones at one local time.** Where each user's own zone counts, a run is an instant and the local time that it is
//! somewhere then: zones that come to the same local time at different instants have a run each, and a user is decided by the
//! one that is the user's own (`step`). Runs are in order of instant, then of local time.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calendar::{self, Zone, next_after};
use super::catalog::InForce;
use super::definition::{Campaign, Definition, Document, Problem, Schedule, Severity, Status, Trigger, ZoneChoice};
use super::id::UserId;
use super::step::Run;
use super::time::Timestamp;

/// What is known of a campaign's walks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agenda {
    /// The revision of the definitions it was last looked at with; who is behind it leaves it alone.
    definitions: u64,
    /// The campaign's version that its users were armed for, or are being armed for.
    armed: Option<u32>,
    /// The last run that was begun or passed over; at first the start of the campaign.
    after: Run,
    /// The run that follows it. Another one than the schedule now says: the schedule was edited.
    next: Option<Run>,
    pub walk: Option<Walk>,
}

/// A walk in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// `None`: an arming pass.
    pub run: Option<Run>,
    /// Where it stands, in the store's own bytes; `None` = at the beginning.
    pub cursor: Option<Vec<u8>>,
    /// Users that were handed out so far.
    pub users: u64,
    /// When somebody last was at it.
    pub moved: Timestamp,
}

/// What is to be done about an agenda now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Keep it as it is here and look again then.
    Rest { agenda: Agenda, wake: Timestamp },
    /// Go on with its walk, which is there.
    Walk(Agenda),
    /// It is of no use any more, or never was.
    Nothing,
    /// These definitions are older than those it was looked at with, or do not tell: others know more.
    Leave,
}

/// Runs that were not begun in time, or not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    pub run: Run,
    /// Users of it that had been handed out before; `None`: it was never begun. With it went all runs that were as late.
    pub users: Option<u64>,
}

/// How often the agenda of a campaign that is held is looked at, and one that has nothing left to do: changed definitions are
/// noticed at once, this only catches what was missed.
const HELD_LOOK: Duration = Duration::from_secs(60);
const IDLE_LOOK: Duration = Duration::from_secs(86_400);

/// What the ids of agendas begin with: as no id from outside does ([`super::id::PSEUDO`]).
const ID_PREFIX: &str = "\u{1}run/";

/// The id under which a campaign's agenda is kept.
pub fn id(campaign: &str) -> UserId {
    format!("{ID_PREFIX}{campaign}").into()
}

/// The campaign whose agenda is kept under this id; `None` for a user.
pub fn campaign_of(id: &str) -> Option<&str> {
    id.strip_prefix(ID_PREFIX)
}

/// Whether the campaign walks over users at all.
pub fn walks(campaign: &Campaign) -> bool {
    matches!(campaign.trigger, Trigger::Schedule(_) | Trigger::UserDate(_) | Trigger::Cohort { .. })
}

/// When the schedule of a campaign next runs, at or after this instant, were it running. `None` without a schedule, when no run comes
/// before the campaign's own end, and of one that has ended: that is final.
pub fn next_run(in_force: &InForce, campaign: &Campaign, now: Timestamp) -> Option<Timestamp> {
    let Trigger::Schedule(schedule) = &campaign.trigger else { return None };
    if campaign.status == Some(Status::Ended) {
        return None;
    }
    let times = Occurrences::of(schedule, in_force)?;
    let from = campaign.active.from.map_or(now, |from| from.max(now));
    // Asked from the minute's beginning, so that who asks again finds the answer remembered.
    let mut run = times.next(&before(Timestamp(from.0 - from.0.rem_euclid(60_000))))?;
    while run.due < from {
        run = times.next(&run)?;
    }
    Some(run.due).filter(|due| campaign.active.until.is_none_or(|until| *due < until))
}

/// A warning for each campaign whose schedule names one instant only, and a past one: it never runs. Of the zones that may be meant the
/// last one counts.
pub fn past_schedules(documents: &[Document], now: Timestamp) -> Vec<Problem> {
    let workspace = documents.iter().find_map(|document| match &document.definition {
        Definition::Workspace(workspace) => Some(workspace.timezone.as_deref().and_then(Zone::find).unwrap_or(Zone::UTC)),
        Definition::Campaign(_) | Definition::Cohort(_) | Definition::Destination(_) => None,
    });
    let past = |document: &Document| {
        let Definition::Campaign(campaign) = &document.definition else { return None };
        let Trigger::Schedule(Schedule { times: calendar::Schedule::At(at), zone }) = &campaign.trigger else { return None };
        let zone = match zone {
            ZoneChoice::User => None,
            ZoneChoice::Workspace => workspace.clone(),
            ZoneChoice::Named(name) => Zone::find(name),
        };
        let last = zone.map_or_else(|| ZONES.iter().map(|zone| at.instant(zone)).max(), |zone| Some(at.instant(&zone)))?;
        let is_past = last < now && campaign.status != Some(Status::Ended);
        is_past.then(|| Problem { severity: Severity::Warning, ..document.error("trigger", format!("the schedule is past since {last}")) })
    };
    documents.iter().filter_map(past).map(|problem| problem.help("it never runs: name a time to come, or end the campaign")).collect()
}

/// What is to be done about a campaign's agenda. Asking early, again or in several places changes nothing.
pub fn look(agenda: Option<&Agenda>, key: &str, in_force: &InForce, now: Timestamp) -> (Next, Option<Stale>) {
    if agenda.is_some_and(|agenda| agenda.definitions > in_force.revision) {
        return (Next::Leave, None);
    }
    let Some(campaign) = in_force.by_key(key).map(|campaign| &campaign.definition) else {
        // Where a definition had to be left out (a newer language), the campaign may be that.
        return (if in_force.left_out.is_empty() { Next::Nothing } else { Next::Leave }, None);
    };
    let status = campaign.status.unwrap_or(Status::Ready);
    let begun = agenda.is_some() || status == Status::Running;
    if !begun || status == Status::Ended || !walks(campaign) {
        return (Next::Nothing, None);
    }
    let fresh = agenda.is_none();
    let mut agenda = agenda.cloned().unwrap_or_else(|| Agenda::begin(campaign.since.unwrap_or(now)));
    agenda.definitions = in_force.revision;
    if let Trigger::Schedule(schedule) = &campaign.trigger {
        agenda.follow(schedule, in_force, now, fresh);
    } else if agenda.armed != Some(campaign.version) && status == Status::Running {
        agenda.armed = Some(campaign.version);
        agenda.walk = Some(Walk::begin(None, now));
    }
    if status != Status::Running {
        return (Next::Rest { agenda, wake: now.after(HELD_LOOK) }, None);
    }
    agenda.go_on(campaign, in_force, now)
}

impl Agenda {
    /// Of a campaign that has just started, however late that is noticed: nothing before its start is run, something just then is.
    fn begin(start: Timestamp) -> Agenda {
        Agenda { definitions: 0, armed: None, after: before(start), next: None, walk: None }
    }

    /// This page of the walk is handed out for good.
    pub fn walked(mut self, cursor: Option<Vec<u8>>, users: usize, now: Timestamp) -> Agenda {
        self.walk = self.walk.filter(|_| cursor.is_some()).map(|walk| Walk {
            cursor,
            users: walk.users.saturating_add(users as u64),
            moved: now,
            ..walk
        });
        self
    }

    /// Somebody is at the walk and waits for the users before to be done with.
    pub fn waited(mut self, now: Timestamp) -> Agenda {
        if let Some(walk) = &mut self.walk {
            walk.moved = now;
        }
        self
    }

    /// Recomputes what comes next. When that is not what it was, the schedule was edited: it counts from now, and a walk of a run
    /// that it does not name any more is given up.
    fn follow(&mut self, schedule: &Schedule, in_force: &InForce, now: Timestamp, fresh: bool) {
        let Some(times) = Occurrences::of(schedule, in_force) else {
            (self.next, self.walk) = (None, None);
            return;
        };
        let next = times.next(&self.after);
        if fresh || next == self.next {
            self.next = next;
        } else {
            self.after = self.after.clone().max(before(now));
            self.next = times.next(&self.after);
        }
        let named = |run: &Run| times.next(&before(run.due)).is_some_and(|first| first.due == run.due);
        self.walk = self.walk.take().filter(|walk| walk.run.as_ref().is_some_and(named));
    }

    fn go_on(mut self, campaign: &Campaign, in_force: &InForce, now: Timestamp) -> (Next, Option<Stale>) {
        let max_overdue = in_force.policy.max_overdue;
        let mut stale = None;
        if let Some(Walk { run: Some(run), users, moved, .. }) = &self.walk
            && now.since(*moved) > max_overdue
        {
            stale = Some(Stale { run: run.clone(), users: Some(*users) });
            self.walk = None;
        }
        let Trigger::Schedule(schedule) = &campaign.trigger else { return (self.walk_or_rest(now), stale) };
        if self.walk.is_some() {
            return (Next::Walk(self), stale);
        }
        let Some(times) = Occurrences::of(schedule, in_force) else { return (self.walk_or_rest(now), stale) };
        if let Some(late) = self.next.take_if(|next| now.since(next.due) > max_overdue) {
            stale = stale.or(Some(Stale { run: late, users: None }));
            // All that are as late are passed over at once: there may be very many.
            self.after = before(now.before(max_overdue));
            self.next = times.next(&self.after);
        }
        if let Some(due) = self.next.take_if(|next| next.due <= now) {
            self.next = times.next(&due);
            self.after = due.clone();
            self.walk = Some(Walk::begin(Some(due), now));
        }
        (self.walk_or_rest(now), stale)
    }

    fn walk_or_rest(self, now: Timestamp) -> Next {
        if self.walk.is_some() {
            return Next::Walk(self);
        }
        let wake = self.next.as_ref().map_or(now.after(IDLE_LOOK), |next| next.due);
        Next::Rest { agenda: self, wake }
    }
}

impl Walk {
    fn begin(run: Option<Run>, now: Timestamp) -> Walk {
        Walk { run, cursor: None, users: 0, moved: now }
    }
}

/// Every zone that a user may be in.
static ZONES: LazyLock<Vec<Zone>> = LazyLock::new(|| Zone::all().collect());

/// A schedule in every zone, a run, and the run after it.
type Remembered = (calendar::Schedule, Run, Option<Run>);

static REMEMBERED: Mutex<VecDeque<Remembered>> = Mutex::new(VecDeque::new());

/// Some for each schedule of a deployment that follows its users' zones.
const MAX_REMEMBERED: usize = 64;

/// The runs of a schedule in the zones that count.
struct Occurrences<'a> {
    schedule: calendar::Schedule,
    zones: Cow<'a, [Zone]>,
}

impl Occurrences<'_> {
    /// `None` where a zone is none, which no checked definition has.
    fn of(schedule: &Schedule, in_force: &InForce) -> Option<Self> {
        let zones = match &schedule.zone {
            ZoneChoice::User => Cow::Borrowed(ZONES.as_slice()),
            ZoneChoice::Workspace => vec![Zone::find(in_force.zone())?].into(),
            ZoneChoice::Named(name) => vec![Zone::find(name)?].into(),
        };
        Some(Occurrences { schedule: schedule.times, zones })
    }

    /// The first run after this one, over all zones. Six hundred zones take milliseconds, and each look at an agenda asks the same
    /// again: the last answers are remembered. They depend on nothing but the question.
    fn next(&self, after: &Run) -> Option<Run> {
        if self.zones.len() == 1 {
            return self.search(after);
        }
        let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., next)) = remembered.iter().find(|(schedule, asked, _)| *schedule == self.schedule && asked == after) {
            return next.clone();
        }
        let next = self.search(after);
        remembered.truncate(MAX_REMEMBERED - 1);
        remembered.push_front((self.schedule, after.clone(), next.clone()));
        next
    }

    fn search(&self, after: &Run) -> Option<Run> {
        let just_before = before(after.due).due;
        let mut runs = BTreeSet::new();
        for zone in self.zones.iter() {
            let run = |due: Timestamp| Run { due, name: zone.local(due).to_string().into() };
            // Another local time may be run at the very same instant.
            let at_once = next_after(&self.schedule, zone, just_before).map(run).filter(|run| run > after);
            runs.extend(at_once.or_else(|| next_after(&self.schedule, zone, after.due).map(run)));
        }
        runs.pop_first()
    }
}

/// Comes before every run of this instant, and after all earlier ones.
fn before(due: Timestamp) -> Run {
    Run { due: Timestamp(due.0.saturating_sub(1)), name: "".into() }
}

#[cfg(test)]
mod tests;
