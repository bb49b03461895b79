//! One user in a turn: what was loaded, what its inputs made of it so far, and what the store was asked and answered.

use hashbrown::HashMap;

use crate::engine::effect::{Effect, Passed};
use crate::engine::id::{DeliveryId, UserId};
use crate::engine::record::BatchPhase;
use crate::engine::step::{Ask, Counter, Input, Known, bounds};
use crate::engine::time::Timestamp;
use crate::worker::cache::Remembered;
use crate::worker::ports::Token;
use crate::worker::turn::Work;

/// Whether what a lane remembers is enough to step on, though another worker may have written since: whatever comes of this input that
/// would be wrong then is found out at the commit.
pub(super) fn suffices(input: &Input, remembered: &Known) -> bool {
    match input {
        Input::Retry { .. } | Input::Redrive(_) => false,
        Input::Passed(passed) => match &**passed {
            // Whoever comes in is written. Turned away on the word of a batch that is gone, it might be in two.
            Passed::Join(_) => remembered.record.batch.as_ref().is_some_and(|batch| matches!(batch.phase, BatchPhase::Open { .. })),
            Passed::TurnedAway { id, .. } | Passed::Kept { id, .. } | Passed::Settled { id, .. } => {
                remembered.record.pending.iter().any(|entry| entry.id == *id)
            }
        },
        _ => true,
    }
}

/// The users of a batch in order of their first input, each with the positions of all its inputs.
pub(super) fn group_by_user(work: &[Work]) -> Vec<(UserId, Vec<usize>)> {
    let mut grouped: Vec<(UserId, Vec<usize>)> = Vec::new();
    let mut places: HashMap<UserId, usize> = HashMap::with_capacity(work.len());
    for (at, work) in work.iter().enumerate() {
        let place = *places.entry_ref(&work.user).or_insert(grouped.len());
        if place == grouped.len() {
            grouped.push((work.user.clone(), Vec::new()));
        }
        grouped[place].1.push(at);
    }
    grouped
}

/// A user being turned.
pub(super) struct Turning {
    pub user: UserId,
    pub token: Option<Token>,
    /// The wake that is known to be stored.
    pub wake: Option<Timestamp>,
    pub known: Known,
    pub profile_changed: bool,
    /// Something is to be written.
    pub changed: bool,
    pub effects: Vec<Effect>,
    pub held_until_read: Option<Timestamp>,
    /// What its step must know of the store first.
    pub asks: Vec<Ask>,
    /// What the store answered so far. It holds for this turn only.
    pub admitted: Vec<(Counter, bool)>,
    pub standing: Vec<(DeliveryId, bool)>,
    /// The broker time of its first event.
    pub since: Option<Timestamp>,
    /// Only walks over all users brought it here.
    pub passing: bool,
    /// Positions in the turn's work, in order of arrival.
    pub inputs: Vec<usize>,
    /// Those of them that are left for another turn.
    pub left: Vec<usize>,
}

impl Turning {
    pub fn new(user: UserId, inputs: Vec<usize>, remembered: Remembered) -> Turning {
        let Remembered { token, wake, known } = remembered;
        Turning {
            user,
            token,
            wake,
            known,
            profile_changed: false,
            changed: false,
            effects: Vec::new(),
            held_until_read: None,
            asks: Vec::new(),
            admitted: Vec::new(),
            standing: Vec::new(),
            since: None,
            passing: false,
            inputs,
            left: Vec::new(),
        }
    }

    /// Whether this one is left for another turn. Behind an event that is left all that comes from logs is, though there be room again: what
    /// is stored says how far a log is applied, and what came before that would not be; and a run finds its users as they are by then.
    pub fn leaves(&self, input: &Input, may_wait: bool) -> bool {
        let is_of_log = matches!(input, Input::Event(_) | Input::Poisoned { .. } | Input::Run { .. } | Input::Arm { .. });
        is_of_log && (!self.left.is_empty() || may_wait && bounds::is_crowded(&self.known.record))
    }

    /// Whether the store has answered this already.
    pub fn is_answered(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Admitted { counter, .. } => self.admitted.iter().any(|(asked, _)| asked == counter),
            Ask::Stands { id, .. } => self.standing.iter().any(|(asked, _)| asked == id),
        }
    }

    /// Begins again with what is stored now, and with what the store has answered.
    pub fn restart(&mut self, remembered: Remembered) {
        let (inputs, admitted) = (std::mem::take(&mut self.inputs), std::mem::take(&mut self.admitted));
        let (passing, standing) = (self.passing, std::mem::take(&mut self.standing));
        *self = Turning { admitted, standing, passing, ..Turning::new(self.user.clone(), inputs, remembered) };
    }
}
