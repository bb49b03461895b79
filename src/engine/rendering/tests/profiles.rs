//! CleverTap's payload.

use super::*;
use crate::engine::definition::Profiles;

const ALL: Profiles = Profiles { target_id: None, key_values: Value::Null, fields: None, profile_data: None };

fn names(names: &[&str]) -> Option<Vec<Box<str>>> {
    Some(names.iter().map(|name| (*name).into()).collect())
}

/// With these traits and properties, an anonymous id and a device of which the push token comes.
fn payload(profiles: &Profiles, traits: &str, properties: &str) -> String {
    let mut case = Case::new(Body::Profiles(profiles.clone()));
    case.traits = object(traits);
    case.properties = object(properties);
    case.anonymous_id = Some("a1");
    shown_result(case.render())
}

#[test]
fn a_profile_has_what_is_known_of_the_user() {
    let check = |profiles: &Profiles, traits: &str, properties: &str, expect: &str| {
        assert_eq!(payload(profiles, traits, properties), format!("{{\"targetId\":\"cart\",\"profiles\":[{expect}]}}"), "{profiles:?}");
    };
    let ids = r#""Identity":"u1","ObjectId":"a1","Push_token":"device-1""#;
    check(
        &ALL,
        r#"{"email":"a@b.example","name":"A \"B\"","plan":{"tier":2}}"#,
        r#"{"amount":1.5,"items":[1]}"#,
        &format!(
            r#"{{"Email":"a@b.example",{ids},"ProfileData":{{"name":"A \"B\"","plan":{{"tier":2}}}},"Event_properties":{{"amount":1.5,"items":[1]}}}}"#
        ),
    );
    // No value, no key.
    check(&ALL, "{}", "{}", &format!("{{{ids}}}"));
    check(&ALL, r#"{"email":"","name":""}"#, r#"{"a":null}"#, &format!(r#"{{{ids},"ProfileData":{{"name":""}}}}"#));
    check(&ALL, r#"{"email":"a@b"}"#, r#"{"a":null,"b":0}"#, &format!(r#"{{"Email":"a@b",{ids},"Event_properties":{{"b":0}}}}"#));
    // The trait wins over the device, as everywhere.
    check(&Profiles { fields: names(&["Push_token"]), ..ALL }, r#"{"push_token":"trait"}"#, "{}", r#"{"Push_token":"trait"}"#);
    // Only some of the six, in the payload's order.
    let some = Profiles { fields: names(&["Event_properties", "Email", "ObjectId"]), ..ALL };
    check(&some, r#"{"email":"a@b","x":1}"#, r#"{"y":2}"#, r#"{"Email":"a@b","ObjectId":"a1","Event_properties":{"y":2}}"#);
    check(&Profiles { fields: names(&[]), ..ALL }, r#"{"email":"a@b"}"#, r#"{"y":2}"#, "{}");
    // Only some traits, in the order they are named; email too when it is named.
    let data = |traits: &[&str]| Profiles { fields: names(&["ProfileData"]), profile_data: names(traits), ..ALL };
    check(&data(&["y", "none", "x"]), r#"{"x":1,"y":2,"z":3}"#, "{}", r#"{"ProfileData":{"y":2,"x":1}}"#);
    check(&data(&["email"]), r#"{"email":"a@b","x":1}"#, "{}", r#"{"ProfileData":{"email":"a@b"}}"#);
    check(&data(&["none"]), r#"{"x":1}"#, "{}", "{}");
}

#[test]
fn target_and_key_values_are_templates() {
    let check = |target: Option<&str>, values: &str, expect: &str| {
        let profiles = Profiles { target_id: target.map(Into::into), key_values: json(values), fields: names(&["Identity"]), ..ALL };
        let result = payload(&profiles, r#"{"city":"서울"}"#, r#"{"amount":20,"kind":"a\"b"}"#);
        assert_eq!(result, format!(r#"{{{expect},"profiles":[{{"Identity":"u1"}}]}}"#), "{target:?} {values}");
    };
    check(None, "{}", r#""targetId":"cart""#);
    check(Some("1457431386"), "{}", r#""targetId":"1457431386""#);
    check(Some("{{ event.amount }}"), "{}", r#""targetId":20"#);
    check(Some("t-{{ event.kind }}"), "{}", r#""targetId":"t-a\"b""#);
    check(
        None,
        r#"{"a":1,"b":"{{ event.amount }}","c":"{{ user.city }}!","d":"{{ user.none | omit }}","e":{"f":["{{ event.amount }}"]}}"#,
        r#""targetId":"cart","key_values":{"a":1,"b":20,"c":"서울!","e":{"f":[20]}}"#,
    );
}

#[test]
fn problems_have_their_place() {
    let profiles = Profiles { target_id: Some("{{ usr.x }}".into()), key_values: json(r#"{"a":{"b":"{{ event.x | upcas }}"}}"#), ..ALL };
    let expect = "\
webhook.body.profiles.target_id (line 1, column 4): there is no variable `usr`; did you mean `user`?
webhook.body.profiles.key_values.a.b (line 1, column 14): there is no filter `upcas`; did you mean `upcase`?";
    assert_eq!(Case::new(Body::Profiles(profiles)).problems(), expect);
}

#[test]
fn what_is_too_large_is_held_back() {
    let traits = format!(r#"{{"x":"{}"}}"#, "x".repeat(MAX_REQUEST_BYTES));
    let expect = "render_failed: body: the rendered request is larger than 32768 bytes";
    assert_eq!(payload(&ALL, &traits, "{}"), expect);
}
