//! Every operator against every kind of value it may meet.

use super::notation::{condition, object};
use super::*;
use Truth::{False, True, Unknown};

const NOW: &str = "2026-11-20T10:00:00Z";

/// Judges with a user and an event at hand, in Seoul, at [`NOW`].
fn truth(where_: &str, properties: &str) -> Truth {
    let event = object(r#"{"amount":50,"tags":["a","b"],"sku":"S-1","at":"2026-11-19","nothing":null,"version":"2.0"}"#);
    let mut user = Profile::default();
    user.merge(&object(r#"{"country":"KR","limit":100,"plans":["gold","vip"],"home":{"city":"Seoul"}}"#), Timestamp(0));
    user.note_device(None, Some("device-1"), Timestamp(0));
    let now = Timestamp::parse(NOW).unwrap();
    let scope = Scope { event: Some(&event), user: Some(&user), user_id: "u1", now, zone: "Asia/Seoul" };
    judge(&condition(where_), &object(properties), &scope)
}

fn check(where_: &str, properties: &str, expect: Truth) {
    assert_eq!(truth(where_, properties), expect, "{where_} on {properties}");
}

/// For each: the properties that meet the condition, and those that do not.
fn table(rows: &[(&str, &[&str], &[&str])]) {
    for (where_, met, unmet) in rows {
        met.iter().for_each(|properties| check(where_, properties, True));
        unmet.iter().for_each(|properties| check(where_, properties, False));
    }
}

#[test]
fn equality_and_membership() {
    table(&[
        ("{}", &["{}", r#"{"a":1}"#], &[]),
        (
            r#"{"a":1}"#,
            &[r#"{"a":1}"#, r#"{"a":1.0}"#, r#"{"a":[3,1]}"#, r#"{"a":[1.0]}"#, r#"{"a":1e0}"#],
            &["{}", r#"{"a":2}"#, r#"{"a":"1"}"#, r#"{"a":true}"#, r#"{"a":null}"#, r#"{"a":[]}"#, r#"{"a":[2,"1"]}"#, r#"{"a":{"a":1}}"#],
        ),
        (r#"{"a":"20"}"#, &[r#"{"a":"20"}"#, r#"{"a":["x","20"]}"#], &[r#"{"a":20}"#, r#"{"a":"20 "}"#, r#"{"a":"2"}"#, r#"{"a":[20]}"#]),
        (r#"{"a":true}"#, &[r#"{"a":true}"#, r#"{"a":[false,true]}"#], &[r#"{"a":false}"#, r#"{"a":1}"#, r#"{"a":"true"}"#]),
        (r#"{"a":false}"#, &[r#"{"a":false}"#], &["{}", r#"{"a":null}"#, r#"{"a":0}"#, r#"{"a":""}"#]),
        (r#"{"a":""}"#, &[r#"{"a":""}"#], &["{}", r#"{"a":null}"#, r#"{"a":" "}"#]),
        (r#"{"a":{"eq":"é"}}"#, &[r#"{"a":"é"}"#, r#"{"a":"\u00e9"}"#], &[r#"{"a":"e"}"#, r#"{"a":"É"}"#]),
        (
            r#"{"a":{"ne":1}}"#,
            &["{}", r#"{"a":2}"#, r#"{"a":"1"}"#, r#"{"a":null}"#, r#"{"a":[]}"#, r#"{"a":[2,3]}"#],
            &[r#"{"a":1}"#, r#"{"a":1.0}"#, r#"{"a":[2,1]}"#],
        ),
        (
            r#"{"a":["x",2]}"#,
            &[r#"{"a":"x"}"#, r#"{"a":2}"#, r#"{"a":2.0}"#, r#"{"a":["y","x"]}"#],
            &["{}", r#"{"a":"2"}"#, r#"{"a":"X"}"#, r#"{"a":["y"]}"#, r#"{"a":null}"#],
        ),
        (r#"{"a":{"in":["x","y"]}}"#, &[r#"{"a":"y"}"#], &[r#"{"a":"z"}"#, r#"{"a":["z"]}"#]),
        (r#"{"a":{"in":[]}}"#, &[], &["{}", r#"{"a":1}"#, r#"{"a":[]}"#]),
        (
            r#"{"a":{"not_in":["x","y"]}}"#,
            &["{}", r#"{"a":"z"}"#, r#"{"a":null}"#, r#"{"a":["z","w"]}"#, r#"{"a":7}"#],
            &[r#"{"a":"x"}"#, r#"{"a":["z","y"]}"#],
        ),
        (r#"{"a":{"not_in":[]}}"#, &["{}", r#"{"a":1}"#], &[]),
    ]);
}

#[test]
fn numbers() {
    table(&[
        (
            r#"{"a":{"gt":5}}"#,
            &[r#"{"a":6}"#, r#"{"a":5.01}"#, r#"{"a":[1,9]}"#, r#"{"a":18446744073709551615}"#, r#"{"a":1e300}"#],
            &["{}", r#"{"a":5}"#, r#"{"a":5.0}"#, r#"{"a":"6"}"#, r#"{"a":null}"#, r#"{"a":true}"#, r#"{"a":[]}"#, r#"{"a":{"b":6}}"#],
        ),
        (r#"{"a":{"gte":5}}"#, &[r#"{"a":5}"#, r#"{"a":5.0}"#, r#"{"a":6}"#], &[r#"{"a":4.999}"#, r#"{"a":"5"}"#]),
        (r#"{"a":{"lt":5}}"#, &[r#"{"a":4}"#, r#"{"a":-1e9}"#, r#"{"a":[9,1]}"#], &["{}", r#"{"a":5}"#, r#"{"a":null}"#, r#"{"a":[9]}"#]),
        (r#"{"a":{"lte":5}}"#, &[r#"{"a":5}"#, r#"{"a":5.0}"#, r#"{"a":-5}"#], &[r#"{"a":5.0001}"#, r#"{"a":""}"#]),
        (r#"{"a":{"gt":9007199254740992}}"#, &[r#"{"a":9007199254740993}"#], &[r#"{"a":9007199254740992}"#, r#"{"a":9007199254740992.0}"#]),
        (
            r#"{"a":{"between":[1,3]}}"#,
            &[r#"{"a":1}"#, r#"{"a":3}"#, r#"{"a":3.0}"#, r#"{"a":[0,2]}"#],
            &["{}", r#"{"a":0.99}"#, r#"{"a":3.01}"#, r#"{"a":"2"}"#, r#"{"a":[0,4]}"#],
        ),
        (r#"{"a":{"between":[3,1]}}"#, &[], &[r#"{"a":2}"#, r#"{"a":1}"#]),
        (r#"{"a":{"gte":2,"lt":4}}"#, &[r#"{"a":2}"#, r#"{"a":3.9}"#], &[r#"{"a":4}"#, r#"{"a":1}"#]),
        (r#"{"a":{"gt":"5"}}"#, &[], &[r#"{"a":6}"#, r#"{"a":"6"}"#]),
        (
            r#"{"a":{"multiple_of":5}}"#,
            &[r#"{"a":0}"#, r#"{"a":5}"#, r#"{"a":-10}"#, r#"{"a":15.0}"#, r#"{"a":[1,10]}"#, r#"{"a":18446744073709551615}"#],
            &["{}", r#"{"a":6}"#, r#"{"a":5.5}"#, r#"{"a":"5"}"#, r#"{"a":null}"#],
        ),
        (
            r#"{"a":{"multiple_of":0.01}}"#,
            &[r#"{"a":19.99}"#, r#"{"a":0.03}"#, r#"{"a":1}"#, r#"{"a":0}"#],
            &[r#"{"a":0.005}"#, r#"{"a":19.995}"#],
        ),
        (r#"{"a":{"multiple_of":0}}"#, &[], &[r#"{"a":0}"#, r#"{"a":5}"#, r#"{"a":0.5}"#]),
        (r#"{"a":{"multiple_of":0.0}}"#, &[], &[r#"{"a":0}"#, r#"{"a":0.5}"#]),
        (r#"{"a":{"multiple_of":5e-324}}"#, &[], &[r#"{"a":1e300}"#]),
    ]);
}

#[test]
fn text() {
    table(&[
        (
            r#"{"a":{"contains":"oo"}}"#,
            &[r#"{"a":"boots"}"#, r#"{"a":"oo"}"#, r#"{"a":["x","oo"]}"#],
            &["{}", r#"{"a":"bots"}"#, r#"{"a":"OO"}"#, r#"{"a":["boots"]}"#, r#"{"a":null}"#, r#"{"a":{"oo":1}}"#],
        ),
        (r#"{"a":{"contains":5}}"#, &[r#"{"a":[1,5.0]}"#], &[r#"{"a":5}"#, r#"{"a":"5"}"#, r#"{"a":["5"]}"#]),
        (r#"{"a":{"contains":""}}"#, &[r#"{"a":""}"#, r#"{"a":"x"}"#, r#"{"a":[""]}"#], &["{}", r#"{"a":[]}"#, r#"{"a":1}"#]),
        (
            r#"{"a":{"not_contains":"oo"}}"#,
            &["{}", r#"{"a":"bots"}"#, r#"{"a":["boots"]}"#, r#"{"a":5}"#, r#"{"a":null}"#],
            &[r#"{"a":"boots"}"#, r#"{"a":["oo"]}"#],
        ),
        (
            r#"{"a":{"starts_with":"ab"}}"#,
            &[r#"{"a":"abc"}"#, r#"{"a":"ab"}"#, r#"{"a":["x","abc"]}"#],
            &["{}", r#"{"a":"a"}"#, r#"{"a":"Abc"}"#, r#"{"a":1}"#, r#"{"a":["x"]}"#],
        ),
        (r#"{"a":{"ends_with":"bc"}}"#, &[r#"{"a":"abc"}"#, r#"{"a":["abc"]}"#], &["{}", r#"{"a":"abcd"}"#, r#"{"a":"ABC"}"#]),
        (
            r#"{"a":{"matches":"^[A-Z]{2}-\\d+"}}"#,
            &[r#"{"a":"AB-12x"}"#, r#"{"a":["","AB-1"]}"#],
            &["{}", r#"{"a":"xAB-1"}"#, r#"{"a":12}"#],
        ),
        (r#"{"a":{"matches":"b"}}"#, &[r#"{"a":"abc"}"#], &[r#"{"a":"ac"}"#, r#"{"a":null}"#]),
        (
            r#"{"a":{"ieq":"straße"}}"#,
            &[r#"{"a":"STRAßE"}"#, r#"{"a":"Straße"}"#, r#"{"a":["x","straße"]}"#],
            &["{}", r#"{"a":"strasse"}"#, r#"{"a":"straß"}"#, r#"{"a":1}"#],
        ),
        (r#"{"a":{"ieq":"ΟΔΟΣ"}}"#, &[r#"{"a":"οδος"}"#, r#"{"a":"οδοσ"}"#], &[r#"{"a":"οδο"}"#]),
        (
            r#"{"a":{"icontains":"OO"}}"#,
            &[r#"{"a":"boots"}"#, r#"{"a":["x","oO"]}"#],
            &["{}", r#"{"a":"bots"}"#, r#"{"a":["boots"]}"#, r#"{"a":5}"#],
        ),
        (r#"{"a":{"icontains":5}}"#, &[], &[r#"{"a":5}"#, r#"{"a":"5"}"#]),
        (
            r#"{"a":{"istarts_with":"AB"}}"#,
            &[r#"{"a":"abc"}"#, r#"{"a":"aB"}"#, r#"{"a":["Abx"]}"#],
            &["{}", r#"{"a":"a"}"#, r#"{"a":"xab"}"#, r#"{"a":7}"#],
        ),
        (
            r#"{"a":{"iends_with":"Σ"}}"#,
            &[r#"{"a":"οδος"}"#, r#"{"a":"οδοσ"}"#, r#"{"a":"ΟΔΟΣ"}"#],
            &["{}", r#"{"a":"σο"}"#, r#"{"a":""}"#],
        ),
    ]);
}

#[test]
fn presence_paths_and_arrays() {
    table(&[
        (
            r#"{"a":{"exists":true}}"#,
            &[r#"{"a":0}"#, r#"{"a":""}"#, r#"{"a":false}"#, r#"{"a":[]}"#, r#"{"a":{}}"#],
            &["{}", r#"{"a":null}"#, r#"{"b":1}"#],
        ),
        (r#"{"a":{"exists":false}}"#, &["{}", r#"{"a":null}"#], &[r#"{"a":0}"#, r#"{"a":[]}"#]),
        (r#"{"a.b":1}"#, &[r#"{"a":{"b":1}}"#, r#"{"a.b":1}"#, r#"{"a.b":1,"a":{"b":2}}"#], &[r#"{"a.b":2,"a":{"b":1}}"#, r#"{"a":1}"#]),
        (r#"{"a.b":1}"#, &[], &[r#"{"a.b":null,"a":{"b":1}}"#, r#"{"a":{"b":null}}"#, r#"{"a":"b"}"#, r#"{"a":{"c":1}}"#]),
        (r#"{"a.b.c":1}"#, &[r#"{"a.b":{"c":1}}"#, r#"{"a":{"b.c":1}}"#, r#"{"a":{"x":0},"a.b":{"c":1}}"#], &[r#"{"a":{"b":{"c":2}}}"#]),
        (
            r#"{"items.sku":"S1"}"#,
            &[r#"{"items":[{"sku":"S0"},{"sku":"S1"}]}"#, r#"{"items":[{"sku":["S1"]}]}"#, r#"{"items":{"sku":"S1"}}"#],
            &[r#"{"items":[]}"#, r#"{"items":[{"sku":"S2"}]}"#, r#"{"items":["S1"]}"#, r#"{"items":[[{"sku":"S1"}]]}"#],
        ),
        (r#"{"items.sku":{"ne":"S1"}}"#, &[r#"{"items":[{"sku":"S0"}]}"#, "{}"], &[r#"{"items":[{"sku":"S0"},{"sku":"S1"}]}"#]),
        (r#"{"items.price":{"gt":10}}"#, &[r#"{"items":[{"price":5},{"price":11}]}"#], &[r#"{"items":[{"price":5},{"price":"11"}]}"#]),
        (r#"{"a.0":1}"#, &[r#"{"a":{"0":1}}"#], &[r#"{"a":[1]}"#]),
        (r#"{"":1}"#, &[r#"{"":1}"#], &["{}"]),
        (r#"{".":1}"#, &[r#"{".":1}"#, r#"{"":{"":1}}"#], &["{}", r#"{"":1}"#]),
    ]);
}

#[test]
fn combinations() {
    table(&[
        (r#"{"a":1,"b":2}"#, &[r#"{"a":1,"b":2}"#], &[r#"{"a":1}"#, r#"{"b":2}"#, "{}"]),
        (r#"{"any":[{"a":1},{"b":2}]}"#, &[r#"{"a":1}"#, r#"{"b":2}"#], &["{}", r#"{"a":2,"b":1}"#]),
        (r#"{"any":[]}"#, &[], &["{}"]),
        (r#"{"all":[]}"#, &["{}"], &[]),
        (r#"{"all":[{"a":1},{"any":[{"b":1},{"b":2}]}]}"#, &[r#"{"a":1,"b":2}"#], &[r#"{"a":1}"#, r#"{"a":1,"b":3}"#]),
        (r#"{"not":{"a":1}}"#, &["{}", r#"{"a":2}"#], &[r#"{"a":1}"#]),
        (r#"{"not":{"a":{"gt":5}}}"#, &["{}", r#"{"a":5}"#, r#"{"a":"x"}"#], &[r#"{"a":6}"#]),
        (r#"{"not":{"not":{"a":1}}}"#, &[r#"{"a":1}"#], &["{}"]),
        (r#"{"not":{"a":1,"b":2}}"#, &[r#"{"a":1}"#, "{}"], &[r#"{"a":1,"b":2}"#]),
    ]);
}

#[test]
fn instants() {
    table(&[
        (
            r#"{"a":{"before":"2026-11-20T10:00:00Z"}}"#,
            &[
                r#"{"a":"2026-11-20T09:59:59.999Z"}"#,
                r#"{"a":"2026-11-20T18:59:00+09:00"}"#,
                r#"{"a":"2026-11-20T18:59:00"}"#,
                r#"{"a":"2026-11-20"}"#,
                r#"{"a":1700000000}"#,
                r#"{"a":1700000000000}"#,
                r#"{"a":1700000000.5}"#,
                r#"{"a":-1}"#,
                r#"{"a":["x","2026-01-01"]}"#,
            ],
            &[
                "{}",
                r#"{"a":"2026-11-20T10:00:00Z"}"#,
                r#"{"a":"2026-11-20T19:00:00"}"#,
                r#"{"a":"2026-11-21"}"#,
                r#"{"a":"1700000000"}"#,
                r#"{"a":"yesterday"}"#,
                r#"{"a":""}"#,
                r#"{"a":true}"#,
                r#"{"a":null}"#,
                r#"{"a":1900000000}"#,
                r#"{"a":1900000000000}"#,
                r#"{"a":"2026-02-30"}"#,
                r#"{"a":"2026-11-20T09:00:00+99:00"}"#,
                r#"{"a":"2026-11-20T09:00:00[Nowhere/City]"}"#,
            ],
        ),
        (
            r#"{"a":{"after":"2026-11-20"}}"#,
            &[r#"{"a":"2026-11-19T15:00:00.001Z"}"#, r#"{"a":"2026-11-20T00:00:01"}"#, r#"{"a":"2026-11-21"}"#, r#"{"a":9e18}"#],
            &[r#"{"a":"2026-11-19T15:00:00Z"}"#, r#"{"a":"2026-11-20"}"#, r#"{"a":"2026-11-19"}"#, "{}"],
        ),
        (r#"{"a":{"after":"soon"}}"#, &[], &[r#"{"a":"2026-11-20"}"#, "{}"]),
        (
            r#"{"a":{"in_last":"1d"}}"#,
            &[r#"{"a":"2026-11-20T10:00:00Z"}"#, r#"{"a":"2026-11-19T10:00:00.001Z"}"#, r#"{"a":"2026-11-20"}"#, r#"{"a":1795168799}"#],
            &["{}", r#"{"a":"2026-11-19T10:00:00Z"}"#, r#"{"a":"2026-11-20T10:00:00.001Z"}"#, r#"{"a":"2026-11-18"}"#, r#"{"a":"x"}"#],
        ),
        (
            r#"{"a":{"in_next":"1d"}}"#,
            &[r#"{"a":"2026-11-20T10:00:00Z"}"#, r#"{"a":"2026-11-21T09:59:59.999Z"}"#, r#"{"a":"2026-11-21"}"#],
            &["{}", r#"{"a":"2026-11-21T10:00:00Z"}"#, r#"{"a":"2026-11-20T09:59:59.999Z"}"#, r#"{"a":"2026-11-20"}"#],
        ),
    ]);
}

#[test]
fn an_instant_in_a_skipped_hour_is_the_first_after_it() {
    let new_york = |text: &str| instant::of(&Value::text(text), "America/New_York").map(|at| at.to_string());
    assert_eq!(new_york("2026-03-08T02:30:00").as_deref(), Some("2026-03-08T07:00:00.000Z"));
    assert_eq!(new_york("2026-11-01T01:30:00").as_deref(), Some("2026-11-01T05:30:00.000Z"));
    let no_midnight = instant::of(&Value::text("2018-11-04"), "America/Sao_Paulo").map(|at| at.to_string());
    assert_eq!(no_midnight.as_deref(), Some("2018-11-04T03:00:00.000Z"));
    let unknown_zone = instant::of(&Value::text("2026-01-01"), "Mars/Base").map(|at| at.to_string());
    assert_eq!(unknown_zone.as_deref(), Some("2026-01-01T00:00:00.000Z"));
}

#[test]
fn versions() {
    table(&[
        (
            r#"{"a":{"version_gt":"2.9"}}"#,
            &[
                r#"{"a":"2.10"}"#,
                r#"{"a":"v2.9.1"}"#,
                r#"{"a":"3"}"#,
                r#"{"a":3}"#,
                r#"{"a":"2.9.0.1"}"#,
                r#"{"a":"2.10-rc.1"}"#,
                r#"{"a":["1","2.10"]}"#,
                r#"{"a":"99999999999999999999999.0"}"#,
            ],
            &[
                "{}",
                r#"{"a":"2.9"}"#,
                r#"{"a":"2.9.0"}"#,
                r#"{"a":"2.8.99"}"#,
                r#"{"a":"2.9+build7"}"#,
                r#"{"a":"2.9-rc.1"}"#,
                r#"{"a":3.1}"#,
                r#"{"a":"latest"}"#,
                r#"{"a":""}"#,
                r#"{"a":"3."}"#,
                r#"{"a":"3-"}"#,
                r#"{"a":"-3"}"#,
                r#"{"a":-3}"#,
                r#"{"a":null}"#,
            ],
        ),
        (r#"{"a":{"version_gte":"2.9"}}"#, &[r#"{"a":"2.09.0"}"#, r#"{"a":"2.10"}"#], &[r#"{"a":"2.9-beta"}"#, r#"{"a":"2.8"}"#]),
        (r#"{"a":{"version_lt":"2.10"}}"#, &[r#"{"a":"2.9"}"#, r#"{"a":"2.10.0-alpha"}"#], &[r#"{"a":"2.10"}"#, r#"{"a":"2.1000"}"#, "{}"]),
        (r#"{"a":{"version_lte":"1"}}"#, &[r#"{"a":"1.0.0"}"#, r#"{"a":"0.9"}"#], &[r#"{"a":"1.0.1"}"#]),
        (r#"{"a":{"version_gt":2.9}}"#, &[], &[r#"{"a":"3"}"#]),
    ]);
    // The chain of Semantic Versioning 2.0.0, section 11.
    let chain = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"];
    for (at, own) in chain.iter().enumerate() {
        for (other_at, other) in chain.iter().enumerate() {
            assert_eq!(version::compare(&Value::text(*own), &Value::text(*other)), Some(at.cmp(&other_at)), "{own} {other}");
        }
    }
}

#[test]
fn operands_of_the_event_and_the_user() {
    table(&[
        (r#"{"a":{"eq":{"event":"amount"}}}"#, &[r#"{"a":50}"#, r#"{"a":[50.0]}"#], &["{}", r#"{"a":51}"#]),
        (r#"{"a":{"eq":{"event":"missing"}}}"#, &[], &["{}", r#"{"a":1}"#, r#"{"a":null}"#]),
        (r#"{"a":{"eq":{"event":"nothing"}}}"#, &[], &["{}", r#"{"a":null}"#]),
        (r#"{"a":{"ne":{"event":"missing"}}}"#, &["{}", r#"{"a":1}"#], &[]),
        (r#"{"a":{"ne":{"event":"amount"}}}"#, &["{}", r#"{"a":51}"#], &[r#"{"a":50}"#]),
        (r#"{"a":{"eq":{"event":"tags"}}}"#, &[r#"{"a":["a","b"]}"#], &[r#"{"a":"a"}"#]),
        (r#"{"a":{"in":[{"event":"tags"}]}}"#, &[r#"{"a":"a"}"#, r#"{"a":["z","b"]}"#], &[r#"{"a":"c"}"#, "{}"]),
        (r#"{"a":{"in":{"user":"plans"}}}"#, &[r#"{"a":"vip"}"#], &[r#"{"a":"free"}"#]),
        (r#"{"a":{"not_in":{"user":"plans"}}}"#, &[r#"{"a":"free"}"#, "{}"], &[r#"{"a":"vip"}"#]),
        (r#"{"a":{"in":["x",{"user":"country"}]}}"#, &[r#"{"a":"KR"}"#, r#"{"a":"x"}"#], &[r#"{"a":"US"}"#]),
        (r#"{"a":{"gte":{"user":"limit"}}}"#, &[r#"{"a":100}"#], &[r#"{"a":99}"#]),
        (r#"{"a":{"between":[{"event":"amount"},{"user":"limit"}]}}"#, &[r#"{"a":75}"#], &[r#"{"a":101}"#, r#"{"a":49}"#]),
        (r#"{"a":{"between":[{"event":"missing"},{"user":"limit"}]}}"#, &[], &[r#"{"a":75}"#]),
        (r#"{"a":{"eq":{"user":"home.city"}}}"#, &[r#"{"a":"Seoul"}"#], &[r#"{"a":"Busan"}"#]),
        (r#"{"a":{"eq":{"user":"id"}}}"#, &[r#"{"a":"u1"}"#], &[r#"{"a":"u2"}"#]),
        (r#"{"a":{"eq":{"user":"push_token"}}}"#, &[r#"{"a":"device-1"}"#], &[r#"{"a":"device-2"}"#]),
        (r#"{"a":{"ieq":{"user":"country"}}}"#, &[r#"{"a":"kr"}"#], &[r#"{"a":"us"}"#]),
        (r#"{"a":{"after":{"event":"at"}}}"#, &[r#"{"a":"2026-11-20"}"#], &[r#"{"a":"2026-11-18"}"#]),
        (r#"{"a":{"after":{"event":"missing"}}}"#, &[], &[r#"{"a":"2026-11-20"}"#]),
        (r#"{"a":{"version_gt":{"event":"version"}}}"#, &[r#"{"a":"2.0.1"}"#], &[r#"{"a":"1.9"}"#]),
        (r#"{"a":{"starts_with":{"event":"sku"}}}"#, &[r#"{"a":"S-1-red"}"#], &[r#"{"a":"S-2"}"#]),
        (r#"{"a":{"contains":{"event":"sku"}}}"#, &[r#"{"a":["S-1"]}"#, r#"{"a":"xS-1"}"#], &[r#"{"a":["S"]}"#]),
        (r#"{"a":{"multiple_of":{"event":"amount"}}}"#, &[r#"{"a":150}"#], &[r#"{"a":149}"#]),
    ]);
}

#[test]
fn what_needs_an_absent_user_is_unknown_unless_the_rest_decides() {
    let event = object(r#"{"amount":50}"#);
    let scope = Scope { event: None, user: None, user_id: "", now: Timestamp(0), zone: "UTC" };
    for (where_, expect) in [
        (r#"{"amount":{"gt":{"user":"limit"}}}"#, Unknown),
        (r#"{"amount":{"ne":{"user":"limit"}}}"#, Unknown),
        (r#"{"amount":{"eq":{"event":"limit"}}}"#, Unknown),
        (r#"{"amount":{"between":[1,{"user":"limit"}]}}"#, Unknown),
        (r#"{"amount":{"before":{"user":"limit"}}}"#, Unknown),
        (r#"{"amount":{"not_in":{"user":"limit"}}}"#, Unknown),
        (r#"{"other":{"gt":{"user":"limit"}}}"#, False),
        (r#"{"other":{"between":[1,{"user":"limit"}]}}"#, False),
        (r#"{"other":{"after":{"user":"limit"}}}"#, False),
        (r#"{"other":{"ne":{"user":"limit"}}}"#, True),
        (r#"{"amount":{"in":[50,{"user":"limit"}]}}"#, True),
        (r#"{"amount":{"in":[51,{"user":"limit"}]}}"#, Unknown),
        (r#"{"amount":{"gt":{"user":"limit"},"lt":10}}"#, False),
        (r#"{"amount":{"gt":{"user":"limit"},"lt":60}}"#, Unknown),
        (r#"{"any":[{"amount":50},{"amount":{"eq":{"user":"limit"}}}]}"#, True),
        (r#"{"any":[{"amount":51},{"amount":{"gt":{"user":"limit"}}}]}"#, Unknown),
        (r#"{"not":{"amount":{"gt":{"user":"limit"}}}}"#, Unknown),
    ] {
        assert_eq!(judge(&condition(where_), &event, &scope), expect, "{where_}");
    }
    assert_eq!(judge_user(&Condition::ALWAYS, &scope), Unknown);
}
