//! Batches: several records that talk to each other, by scripts. What one has to say to another arrives at once unless a line ends in
//! `lost`, and is said twice: the second time must change nothing that matters. A letter is reported written unless the line ends in
//! `unreported`.
//!
//! ```text
//! 0s claim u1 u2 => ..     sends by the API; also: delete u1
//! 1s wake                  whoever wants a look
//! 2s end N 200 | end N 400 request N ended so; also: park N M (M made), retry N M (unstarted if M is 0)
//! 3s set paused | set ended
//! 4s redrive u1            the last dead letter of this user
//! ```

use super::*;
use crate::engine::delivery::batch;
use crate::engine::record::{BatchPhase, Ledger};

mod world;

use world::{World, text_of, world};

fn check(max: u32, linger: &str, script: &str) -> World {
    let mut world = world(max, linger);
    world.play(script);
    world
}

#[test]
fn a_batch_goes_out_when_it_is_full_or_has_lingered() {
    let world = check(
        2,
        "1s",
        "
        0s claim u1 u2 u3 => sent u1, sent u2, sent u3, #1 u1+u2
        1s wake => #1 u3
        2s end 0 200 => u1 delivered, u2 delivered
        2s end 1 500 => u3 failed, letter u3 #1
        4s wake
        32s wake
    ",
    );
    assert_eq!(world.batches(), 0, "what has ended is gone");
    assert!(world.records.values().all(|known| known.record.pending.is_empty()));
    check(
        100,
        "30s",
        "
        0s claim u1 => sent u1
        29s claim u2 => sent u2
        29s wake
        30s wake => #1 u1+u2
        30s end 0 200 => u1 delivered, u2 delivered
        31s claim u3 => sent u3
        61s wake => #1 u3
    ",
    );
}

#[test]
fn what_is_lost_on_the_way_is_asked_for_again_in_the_same_batch() {
    // The question was lost.
    let world = check(
        3,
        "1s",
        "
        0s claim u1 lost => sent u1
        0s claim u2 => sent u2
        1s wake => #1 u2
        16s wake => #2 u2, sent u1
        16s end 0 200 => u2 delivered
        17s wake => #1 u1
        17s end 2 200 => u1 delivered
    ",
    );
    assert_eq!(world.requests[0].1, world.requests[1].1, "a take-over has the same id");
    assert_ne!(world.requests[0].1, world.requests[2].1);
    // The answer was lost: who asks again is in the batch already.
    let world = check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s end 0 200 lost => u1 delivered, u2 delivered
        3s wake => u1 delivered, u2 delivered
        33s wake
    ",
    );
    assert_eq!((world.batches(), world.requests.len()), (0, 1));
}

#[test]
fn who_asks_a_closed_batch_is_told_so_and_asks_no_more() {
    check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s park 0 1
        16s wake
        17s wake
        61s retry 0 1 => #2 u1+u2
        62s end 0 200 => u1 delivered, u2 delivered
    ",
    );
}

#[test]
fn a_user_who_is_deleted_before_it_goes_out_is_not_in_it() {
    check(
        3,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2
        0s delete u1 => u1: user_deleted
        1s wake => #1 u2
    ",
    );
    let world = check(
        3,
        "1s",
        "
        0s claim u1 => sent u1
        0s delete u1 => u1: user_deleted
        1s wake
    ",
    );
    assert_eq!(world.batches(), 0, "a batch of nobody is gone");
}

#[test]
fn a_pause_or_an_end_sends_everybody_back() {
    check(
        3,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2
        0s set paused
        1s wake
        30s wake
        31s set running
        61s wake => sent u1, sent u2
        62s wake => #1 u1+u2
    ",
    );
    check(
        3,
        "1s",
        "
        0s claim u1 => sent u1
        0s set ended
        1s wake => Ended u1
    ",
    );
    check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s park 0 1
        2s set ended
        3s retry 0 1 => Ended u1+u2
        3s end 0 400 => u1 failed, u2 failed, letter u1 #1, letter u2 #1
    ",
    );
}

#[test]
fn who_failed_in_a_batch_has_a_letter_of_their_own_and_is_sent_again_alone() {
    let world = check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s end 0 503 => u1 failed, u2 failed, letter u1 #1, letter u2 #1
        2s redrive u1 => #2 u1
        3s redrive u1 => skipped, under way
        3s redrive u2 => #2 u2
        4s end 1 200
        4s redrive u1 => skipped, already sent again or delivered
        5s end 2 503
        6s redrive u2 => skipped, already sent again or delivered
        31s wake
        32s wake
    ",
    );
    let id = |number: usize| world.requests[number].1;
    let own = |user: &str| world.letters.iter().find(|(whose, _)| **whose == *user).expect("a letter").1.entry.id;
    assert_eq!((id(1), id(2)), (own("u1"), own("u2")), "a delivery of one's own has its own id");
    assert!(id(0) != id(1) && id(0) != id(2));
    assert_eq!(world.batches(), 0);
}

#[test]
fn a_letter_that_nobody_reported_written_is_written_again() {
    let world = check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s end 0 503 unreported => u1 failed, u2 failed, letter u1 #1, letter u2 #1
        2s redrive u1 => postpone 62s
        3s wake
        16s wake unreported => u1 failed, u2 failed, letter u1 #1, letter u2 #1
        31s wake => u1 failed, u2 failed, letter u1 #1, letter u2 #1
        61s wake
        62s redrive u1 => #2 u1
        63s end 1 200
    ",
    );
    assert_eq!((world.batches(), world.letters.len() > 2), (0, true));
}

#[test]
fn a_letter_of_a_batch_counts_as_little_as_others_once_its_claim_is_forgotten() {
    let script = "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s end 0 503 => u1 failed, u2 failed, letter u1 #1, letter u2 #1
        2s delete u1
        3s redrive u1 => skipped, user deleted or claim forgotten
        3s set ended
        4s redrive u2 => skipped, campaign ended
    ";
    assert_eq!(check(2, "1s", script).requests.len(), 1);
    // A ledger that began anew does not know the claim; who was never deleted still is refused.
    let mut world = check(2, "1s", script.split_once("2s").unwrap().0);
    world.records.get_mut(&UserId::from("u1")).unwrap().record.ledger = Ledger::default();
    world.play("2s redrive u1 => skipped, user deleted or claim forgotten");
}

#[test]
fn a_batch_that_was_never_started_is_dissolved_when_its_claims_are_old() {
    let world = check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s park 0 0
        30s retry 0 0 => #1 u1+u2
        31s park 1 0
        90s retry 1 0 => sent u1, sent u2, #1 u1+u2
        91s end 2 200 => u1 delivered, u2 delivered
    ",
    );
    assert_eq!(world.requests.len(), 3);
}

#[test]
fn a_batch_is_closed_before_it_is_too_large() {
    let mut world = world(1000, "1s");
    let mut closed_at = None;
    for number in 0..1000 {
        let user = format!("{number:0>250}");
        let shown = world.line(&format!("0s claim {user}"));
        if shown.len() > 1 {
            closed_at = Some(number);
            break;
        }
    }
    let closed_at = closed_at.expect("closed before a thousand");
    let (_, _, request) = world.requests.last().expect("a request");
    assert!((100..=closed_at).contains(&closed_at) && request.weight() <= batch::MAX_BATCH_BYTES, "{} of {closed_at}", request.weight());
    assert!(request.weight() * 2 > batch::MAX_BATCH_BYTES / 2, "{}", request.weight());
    assert_eq!(world.batches(), 2, "who found no room is in another");
    for known in world.records.values() {
        assert!(codec::encode(&known.record).len() <= crate::engine::step::bounds::RECORD_HARD_BYTES);
    }
}

#[test]
fn only_equal_requests_are_shared() {
    let mut world = world(10, "1s");
    world.campaign.webhook.params = vec![("u".into(), Value::text("{{ user.id }}"))];
    world.assemble();
    world.play(
        "
        0s claim u1 u2 => sent u1, sent u2
        0s wake
    ",
    );
    assert_eq!(world.batches(), 2);
    let shown = world.line("1s wake");
    assert_eq!(shown.iter().filter(|shown| shown.starts_with("#1")).count(), 2, "{shown:?}");
    for (user, known) in world.records.iter().filter(|(id, _)| batch::is_id(id)) {
        let found = known.record.batch.as_ref().expect("a batch");
        assert_eq!((found.members.len(), &found.phase), (1, &BatchPhase::Closed), "{user:?}");
    }
}

/// Everybody reaches the receiver, by one batch only, however messages between the records get lost and whatever is parked, taken over or
/// answered late; and alone only who failed with it. (What was never started may be dissolved: nobody has seen its id.)
#[test]
fn whatever_is_lost_everybody_is_in_one_request() {
    for seed in 0..100_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let mut world = world(3, "2s");
        let mut claimed = 0;
        let mut second = 0;
        for _ in 0..60 {
            second += below(6);
            let lost = ["", "", "", " lost", " unreported"][below(5) as usize];
            let number = below(world.requests.len().max(1) as u64);
            let line = match below(8) {
                0..3 => {
                    claimed += 1;
                    format!("claim u{}", below(8))
                }
                3 => "wake".to_owned(),
                4 if !world.letters.is_empty() => {
                    let letter = below(world.letters.len() as u64) as usize;
                    format!("redrive {}", &*world.letters[letter].0)
                }
                _ if world.requests.is_empty() => "idle".to_owned(),
                5 => format!("end {number} 200"),
                6 => format!("end {number} 503"),
                _ => format!("park {number} 1"),
            };
            world.line(&format!("{second}s {line}{lost}"));
        }
        world.end_all(second);
        check_reached(&world, claimed, &format!("seed {seed}"));
    }
}

fn check_reached(world: &World, claimed: usize, context: &str) {
    let failed: BTreeSet<DeliveryId> = world.letters.iter().map(|(_, dead)| dead.entry.id).collect();
    let mut shared: BTreeMap<String, BTreeSet<DeliveryId>> = BTreeMap::new();
    let mut alone: BTreeMap<String, DeliveryId> = BTreeMap::new();
    for (user, id, request) in &world.requests {
        let body: serde_json::Value = serde_json::from_str(&text_of(request)).expect("JSON");
        for one in body["profiles"].as_array().expect("profiles") {
            let claim = one["Event_properties"]["claim"].as_str().expect("a claim").to_owned();
            if batch::is_id(user) {
                shared.entry(claim).or_default().insert(*id);
            } else {
                assert!(failed.contains(id), "{context}: {claim} was alone and has not failed");
                assert_eq!(*alone.entry(claim).or_insert(*id), *id, "{context}: alone under two ids");
            }
        }
    }
    assert_eq!(shared.len(), claimed, "{context}: somebody was not reached");
    assert!(shared.values().all(|ids| ids.len() == 1), "{context}: {shared:?}");
    assert!(alone.keys().all(|claim| shared.contains_key(claim)), "{context}");
    assert_eq!(world.batches(), 0, "{context}");
    assert!(world.records.values().all(|known| known.record.pending.is_empty()), "{context}");
}
