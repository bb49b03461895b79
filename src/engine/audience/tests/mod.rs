//! Rules over a profile.

mod past;

use super::*;
use crate::engine::condition::notation::{condition, object};
use crate::engine::definition::Rule;
use crate::engine::profile::Profile;
use crate::engine::time::Timestamp;

fn user(json: &str) -> Rule {
    Rule::User(condition(json))
}

fn not(rule: Rule) -> Rule {
    Rule::Not(Box::new(rule))
}

fn profile() -> Profile {
    let mut profile = Profile::default();
    profile
        .merge(&object(r#"{"country":"KR","plan":"gold","age":31,"tags":["vip"],"address":{"city":"Seoul"},"cart":"C1"}"#), Timestamp(1));
    profile
}

#[test]
fn a_rule_includes_whom_it_says() {
    let (profile, cohorts) = (profile(), Cohorts::default());
    let event = object(r#"{"cart":"C1","minimum":30}"#);
    let scope = Scope {
        event: Some(&event),
        user: Some(&profile),
        user_id: "u1",
        now: Timestamp(0),
        zone: "UTC",
        history: None,
        cohorts: &cohorts,
    };
    let check = |rule: Rule, expect: bool| assert_eq!(includes(&rule, &scope), expect, "{rule:?}");
    check(Rule::All(vec![]), true);
    check(Rule::Any(vec![]), false);
    check(user("{}"), true);
    check(user(r#"{"country":"KR","plan":["gold","vip"]}"#), true);
    check(user(r#"{"country":"US"}"#), false);
    check(user(r#"{"missing":{"ne":1}}"#), true);
    check(user(r#"{"address.city":"Seoul","tags":"vip"}"#), true);
    check(user(r#"{"id":"u1"}"#), true);
    check(user(r#"{"id":["u2","u3"]}"#), false);
    check(user(r#"{"id":{"starts_with":"u"}}"#), true);
    check(user(r#"{"push_token":{"exists":true}}"#), false);
    check(user(r#"{"push_token":{"exists":false}}"#), true);
    check(user(r#"{"cart":{"eq":{"event":"cart"}}}"#), true);
    check(user(r#"{"age":{"gt":{"event":"minimum"}}}"#), true);
    check(user(r#"{"age":{"lt":{"event":"minimum"}}}"#), false);
    check(not(user(r#"{"country":"KR"}"#)), false);
    check(not(user(r#"{"country":"US"}"#)), true);
    check(Rule::All(vec![user(r#"{"country":"KR"}"#), not(user(r#"{"plan":"free"}"#))]), true);
    check(Rule::All(vec![user(r#"{"country":"KR"}"#), user(r#"{"plan":"free"}"#)]), false);
    check(Rule::Any(vec![user(r#"{"country":"US"}"#), user(r#"{"plan":"gold"}"#)]), true);
    check(Rule::Any(vec![user(r#"{"country":"US"}"#), user(r#"{"plan":"free"}"#)]), false);
}

#[test]
fn the_push_token_is_the_trait_or_the_last_device() {
    let (rule, cohorts) = (user(r#"{"push_token":"t1"}"#), Cohorts::default());
    for (trait_, device, expect) in
        [(None, None, false), (None, Some("t1"), true), (Some("t1"), Some("t2"), true), (Some("t2"), Some("t1"), false)]
    {
        let mut profile = Profile::default();
        profile.note_device(None, device, Timestamp(1));
        if let Some(token) = trait_ {
            profile.merge(&object(&format!(r#"{{"push_token":"{token}"}}"#)), Timestamp(1));
        }
        let scope =
            Scope { event: None, user: Some(&profile), user_id: "u1", now: Timestamp(0), zone: "UTC", history: None, cohorts: &cohorts };
        assert_eq!(includes(&rule, &scope), expect, "trait {trait_:?}, device {device:?}");
    }
}

#[test]
fn without_a_user_or_event_what_needs_them_includes_nobody() {
    let (profile, cohorts) = (profile(), Cohorts::default());
    let no_event =
        Scope { event: None, user: Some(&profile), user_id: "u1", now: Timestamp(0), zone: "UTC", history: None, cohorts: &cohorts };
    let no_user = Scope { user: None, ..no_event };
    let cart = user(r#"{"cart":{"eq":{"event":"cart"}}}"#);
    assert!(!includes(&cart, &no_event));
    assert!(!includes(&not(cart), &no_event));
    assert!(!includes(&user(r#"{"country":"KR"}"#), &no_user));
    assert!(!includes(&not(user(r#"{"country":"KR"}"#)), &no_user));
    assert!(includes(&Rule::All(vec![]), &no_user));
}
