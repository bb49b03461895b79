//! Inputs as they are written by Segment, RudderStack, Jitsu and by mistake.

use proptest::prelude::*;

use super::*;
use crate::engine::condition::notation::object;

const LIMITS: Limits = Limits { max_lateness: Duration::from_secs(72 * 3600) };

fn place() -> Place<'static> {
    let broker_time = Timestamp::parse("2026-11-20T12:00:00Z").unwrap();
    Place { source: SourceId::of("events", 1, 3), topic: "events", partition: 3, generation: 1, offset: 42, broker_time }
}

fn read(json: &[u8]) -> Result<Event, Unreadable> {
    header(json)?.into_event(&place(), &LIMITS)
}

fn event(json: &str) -> Event {
    read(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// The event that a JSON text reads as, changed from a bare one.
fn check(json: &str, expect: Event) {
    assert_eq!(event(json), expect, "{json}");
}

/// An event of `u1` without anything, at the broker's time.
fn bare(body: Body) -> Event {
    Event {
        user: "u1".into(),
        message_id: "events/3/42".into(),
        timestamp: place().broker_time,
        position: Position { source: SourceId::of("events", 1, 3), offset: 42, broker_time: place().broker_time },
        anonymous_id: None,
        device_token: None,
        context_traits: Object::new(),
        body,
    }
}

fn track(name: &str, properties: &str) -> Body {
    Body::Track { name: name.into(), properties: object(properties) }
}

fn refused(json: &str, reason: &str) {
    match read(json.as_bytes()) {
        Ok(event) => panic!("{json} was read as {event:?}"),
        Err(error) => assert_eq!(error.reason, reason, "{json}: {error}"),
    }
}

#[test]
fn a_message_without_an_id_is_known_by_its_place() {
    let check = |generation, expect: &str| {
        let place = Place { generation, ..place() };
        let read = header(br#"{"type":"delete","userId":"u1"}"#).unwrap().into_event(&place, &LIMITS).unwrap();
        assert_eq!(&*read.message_id, expect);
    };
    check(1, "events/3/42");
    check(2, "events/2/3/42");
}

#[test]
fn each_kind() {
    let purchase = r#"{"type":"track","messageId":"m1","userId":"u1","event":"purchase","timestamp":"2026-11-20T10:00:00Z","properties":{"amount":120}}"#;
    let at = Timestamp::parse("2026-11-20T10:00:00Z").unwrap();
    check(purchase, Event { message_id: "m1".into(), timestamp: at, ..bare(track("purchase", r#"{"amount":120}"#)) });
    check(
        r#"{"type":"identify","userId":"u1","traits":{"name":"John","a":null}}"#,
        bare(Body::Identify { traits: object(r#"{"name":"John","a":null}"#) }),
    );
    check(r#"{"type":"delete","userId":"u1"}"#, bare(Body::Delete));
    let send = r#"{"type":"send","campaign":"points","userId":"u1","messageId":"s1","properties":{"points":5},"traits":{"n":1}}"#;
    let body = Body::Send { campaign: "points".into(), properties: object(r#"{"points":5}"#), traits: object(r#"{"n":1}"#) };
    check(send, Event { message_id: "s1".into(), ..bare(body) });
    for kind in ["alias", "group"] {
        let json = format!(r#"{{"type":"{kind}","previousId":"x"}}"#);
        let header = header(json.as_bytes()).unwrap();
        assert_eq!((header.kind(), header.event_name(), header.user()), (Kind::Ignored, None, ""));
        refused(&json, UNSUPPORTED_TYPE);
    }
}

#[test]
fn the_header_alone_says_what_it_is() {
    for (json, kind, name) in [
        (r#"{"type":"track","userId":"u1","event":"e"}"#, Kind::Track, Some("e")),
        (r#"{"type":"track","userId":"u1","event":"\u00e9 \"x\""}"#, Kind::Track, Some("é \"x\"")),
        (r#"{"type":"tr\u0061ck","us\u0065rId":"u1","event":"e"}"#, Kind::Track, Some("e")),
        (r#"{"type":"page","userId":"u1"}"#, Kind::Track, Some("page")),
        (r#"{"type":"screen","userId":"u1","name":"Home"}"#, Kind::Track, Some("screen")),
        (r#"{"type":"identify","userId":"u1"}"#, Kind::Identify, None),
        (r#"{"type":"delete","userId":"u1"}"#, Kind::Delete, None),
        (r#"{"type":"send","campaign":"c","userId":"u1"}"#, Kind::Send, None),
    ] {
        let header = header(json.as_bytes()).unwrap();
        assert_eq!((header.kind(), header.event_name(), header.user()), (kind, name, "u1"), "{json}");
    }
}

#[test]
fn the_user_is_the_user_id_else_the_anonymous_id() {
    let of = |ids: &str| {
        let event = event(&format!(r#"{{"type":"delete",{ids}}}"#));
        (event.user.to_string(), event.anonymous_id.map(String::from))
    };
    let named = |user: &str, beside: Option<&str>| (user.to_owned(), beside.map(String::from));
    assert_eq!(of(r#""userId":"u1","anonymousId":"a1""#), named("u1", Some("a1")));
    assert_eq!(of(r#""anonymousId":"a1""#), named("a1", Some("a1")));
    assert_eq!(of(r#""userId":null,"anonymousId":"a1""#), named("a1", Some("a1")));
    assert_eq!(of(r#""userId":"","anonymousId":"a1""#), named("a1", Some("a1")));
    assert_eq!(of(r#""userId":42"#), named("42", None));
    assert_eq!(of(r#""userId":12345678901234567890123"#), named("12345678901234567890123", None));
    assert_eq!(of(r#""userId":1.50,"anonymousId":7"#), named("1.50", Some("7")));
    assert_eq!(of(r#""userId":"\uD83D\uDE00""#), named("😀", None));
    let longest = "x".repeat(MAX_ID_BYTES);
    assert_eq!(of(&format!(r#""userId":"{longest}""#)), named(&longest, None));
}

#[test]
fn nobody_is_called_as_the_worker_calls_its_own_notes() {
    for ids in [
        r#""userId":"\u0001workers""#,
        r#""userId":"\u0001""#,
        r#""anonymousId":"\u0001run/c""#,
        r#""userId":"u1","anonymousId":"\u0001stats/c""#,
    ] {
        for kind in [r#""type":"track","event":"e""#, r#""type":"identify""#, r#""type":"delete""#, r#""type":"send","campaign":"c""#] {
            refused(&format!("{{{kind},{ids}}}"), NO_USER);
        }
    }
    assert_eq!(&*event(r#"{"type":"delete","userId":"u\u0001"}"#).user, "u\u{1}");
}

#[test]
fn name_and_category_join_the_properties_of_pages_and_screens_only() {
    for (json, name, properties) in [
        (
            r#""type":"page","name":"Home","category":"Docs","properties":{"url":"/x"}"#,
            "page",
            r#"{"url":"/x","name":"Home","category":"Docs"}"#,
        ),
        (r#""type":"screen","name":"Home""#, "screen", r#"{"name":"Home"}"#),
        (r#""type":"p\u0061ge","name":"Home""#, "page", r#"{"name":"Home"}"#),
        (r#""type":"page","name":"Home","properties":{"name":"other"}"#, "page", r#"{"name":"Home"}"#),
        (
            r#""type":"page","name":null,"category":"","properties":{"name":"own","category":"c"}"#,
            "page",
            r#"{"name":"own","category":"c"}"#,
        ),
        (r#""type":"page","event":"ignored","properties":null"#, "page", "{}"),
        (r#""type":"track","event":"page","name":"Home","category":"x""#, "page", "{}"),
    ] {
        check(&format!(r#"{{"userId":"u1",{json}}}"#), bare(track(name, properties)));
    }
}

#[test]
fn the_context_gives_traits_and_the_device_token() {
    let of = |context: &str| {
        let event = event(&format!(r#"{{"type":"track","userId":"u1","event":"e","context":{context}}}"#));
        (event.context_traits.len(), event.device_token.map(String::from))
    };
    assert_eq!(of(r#"{"traits":{"plan":"gold"},"device":{"token":"t1","id":"d"},"ip":"1.2.3.4"}"#), (1, Some("t1".into())));
    assert_eq!(of(r#"{"device":{"token":"t\u0031"}}"#), (0, Some("t1".into())));
    let too_long = format!(r#"{{"device":{{"token":"{}"}}}}"#, "x".repeat(MAX_TOKEN_BYTES + 1));
    for lenient in ["null", "{}", "[]", "\"x\"", "5", r#"{"traits":null,"device":null}"#, r#"{"traits":"x","device":[]}"#, &too_long] {
        assert_eq!(of(lenient), (0, None), "{lenient}");
    }
    for token in ["null", "5", "\"\"", "{}"] {
        assert_eq!(of(&format!(r#"{{"device":{{"token":{token}}}}}"#)), (0, None), "{token}");
    }
}

#[test]
fn properties_are_an_object_or_nothing() {
    for (properties, expect) in [("null", "{}"), ("{}", "{}"), ("[]", "{}"), ("[ ]", "{}"), (r#"{"a":1,"a":2}"#, r#"{"a":2}"#)] {
        check(&format!(r#"{{"type":"track","userId":"u1","event":"e","properties":{properties}}}"#), bare(track("e", expect)));
    }
    for properties in ["5", "\"x\"", "true", "[1]", "[[]]"] {
        refused(&format!(r#"{{"type":"track","userId":"u1","event":"e","properties":{properties}}}"#), NOT_JSON);
        refused(&format!(r#"{{"type":"identify","userId":"u1","traits":{properties}}}"#), NOT_JSON);
    }
}

#[test]
fn timestamps() {
    let read_at = |timestamp: &str| {
        let json = format!(r#"{{"type":"delete","userId":"u1","timestamp":{timestamp}}}"#);
        let header = header(json.as_bytes()).map_err(|error| error.reason)?;
        let ahead = header.is_ahead(&place());
        header.into_event(&place(), &LIMITS).map(|event| (event.timestamp.to_string(), ahead)).map_err(|error| error.reason)
    };
    for (timestamp, expect, ahead) in [
        ("null", "2026-11-20T12:00:00.000Z", false),
        (r#""2026-11-20T10:00:00Z""#, "2026-11-20T10:00:00.000Z", false),
        (r#""2026-11-20T10:00:00.123456Z""#, "2026-11-20T10:00:00.123Z", false),
        (r#""2026-11-20T19:00:00+09:00""#, "2026-11-20T10:00:00.000Z", false),
        (r#""2026-11-20T10:00:00+0000""#, "2026-11-20T10:00:00.000Z", false),
        (r#""2026-11-20T10:00:00""#, "2026-11-20T10:00:00.000Z", false),
        (r#""2026-11-20 10:00:00.5""#, "2026-11-20T10:00:00.500Z", false),
        (r#""2026-11-20T12:05:00Z""#, "2026-11-20T12:05:00.000Z", false),
        (r#""2026-11-20T12:05:00.001Z""#, "2026-11-20T12:00:00.000Z", true),
        (r#""2031-01-01T00:00:00Z""#, "2026-11-20T12:00:00.000Z", true),
        (r#""2026-11-17T12:00:00Z""#, "2026-11-17T12:00:00.000Z", false),
    ] {
        assert_eq!(read_at(timestamp), Ok((expect.to_owned(), ahead)), "{timestamp}");
    }
    for (timestamp, reason) in [
        (r#""2026-11-17T11:59:59.999Z""#, TOO_LATE),
        (r#""1970-01-01T00:00:00Z""#, TOO_LATE),
        (r#""-009998-01-01T00:00:00Z""#, TOO_LATE),
        (r#""2026-11-20""#, BAD_TIMESTAMP),
        (r#""2026-02-30T10:00:00Z""#, BAD_TIMESTAMP),
        (r#""2026-11-20T25:00:00Z""#, BAD_TIMESTAMP),
        (r#""2026-11-20T10:00:00+99:00""#, BAD_TIMESTAMP),
        (r#""2026-11-20T10:00:00[Asia/Seoul]""#, BAD_TIMESTAMP),
        (r#""Fri, 20 Nov 2026 10:00:00 GMT""#, BAD_TIMESTAMP),
        (r#""yesterday""#, BAD_TIMESTAMP),
        (r#""1795168800""#, BAD_TIMESTAMP),
        (r#""""#, BAD_TIMESTAMP),
        ("1795168800", BAD_TIMESTAMP),
        ("1795168800000", BAD_TIMESTAMP),
        ("true", BAD_TIMESTAMP),
        ("{}", BAD_TIMESTAMP),
    ] {
        assert_eq!(read_at(timestamp), Err(reason), "{timestamp}");
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let long = "x".repeat(MAX_ID_BYTES + 1);
    for (json, reason) in [
        ("", NOT_JSON),
        (" ", NOT_JSON),
        ("null", NOT_JSON),
        ("[]", NOT_JSON),
        (r#"["track","u1","a1"]"#, NOT_JSON),
        ("\"track\"", NOT_JSON),
        ("{", NOT_JSON),
        (r#"{"type":"track""#, NOT_JSON),
        (r#"{"type":"delete","userId":"u1"}x"#, NOT_JSON),
        (r#"{"type":"delete","userId":"u1"}{}"#, NOT_JSON),
        ("\u{feff}{\"type\":\"delete\",\"userId\":\"u1\"}", NOT_JSON),
        (r#"{"type":"delete","userId":"u1","userId":"u2"}"#, NOT_JSON),
        (r#"{"type":"delete","userId":"u1",}"#, NOT_JSON),
        (r#"{'type':'delete','userId':'u1'}"#, NOT_JSON),
        ("{\"type\":\"delete\",\"userId\":\"a\nb\"}", NOT_JSON),
        (r#"{"type":"delete","userId":"\uD800"}"#, NOT_JSON),
        (r#"{"type":"track","event":"e","userId":"u1","properties":{"a":"\uDC00"}}"#, NOT_JSON),
        (r#"{"type":"track","event":"e","userId":"u1","properties":{"a":1e999}}"#, NOT_JSON),
        (r#"{"type":"track","event":"e","userId":"u1","context":{"device":{},"device":{}}}"#, NOT_JSON),
        (r#"{"type":"delete","userId":"u1","messageId":{}}"#, NOT_JSON),
        ("{}", UNSUPPORTED_TYPE),
        (r#"{"type":null,"userId":"u1"}"#, UNSUPPORTED_TYPE),
        (r#"{"type":5,"userId":"u1"}"#, UNSUPPORTED_TYPE),
        (r#"{"type":"Track","userId":"u1","event":"e"}"#, UNSUPPORTED_TYPE),
        (r#"{"type":"record","userId":"u1"}"#, UNSUPPORTED_TYPE),
        (r#"{"type":"delete"}"#, NO_USER),
        (r#"{"type":"delete","userId":""}"#, NO_USER),
        (r#"{"type":"delete","userId":null,"anonymousId":null}"#, NO_USER),
        (r#"{"type":"delete","userId":true,"anonymousId":"a1"}"#, NO_USER),
        (r#"{"type":"delete","userId":"u1","anonymousId":[]}"#, NO_USER),
        (r#"{"type":"track","userId":"u1"}"#, NO_EVENT),
        (r#"{"type":"track","userId":"u1","event":""}"#, NO_EVENT),
        (r#"{"type":"track","userId":"u1","event":null}"#, NO_EVENT),
        (r#"{"type":"track","userId":"u1","event":7}"#, NO_EVENT),
        (r#"{"type":"send","userId":"u1"}"#, NO_EVENT),
        (r#"{"type":"track","userId":"u1","event":"$sent"}"#, RESERVED_NAME),
        (r#"{"type":"track","userId":"u1","event":"\u0024sent"}"#, RESERVED_NAME),
        (&format!(r#"{{"type":"delete","userId":"{long}"}}"#), TOO_LARGE),
        (&format!(r#"{{"type":"delete","userId":"u1","anonymousId":"{long}"}}"#), TOO_LARGE),
        (&format!(r#"{{"type":"delete","userId":"u1","messageId":"{long}"}}"#), TOO_LARGE),
        (&format!(r#"{{"type":"track","userId":"u1","event":"{long}"}}"#), TOO_LARGE),
        (&" ".repeat(MAX_INPUT_BYTES + 1), TOO_LARGE),
    ] {
        refused(json, reason);
    }
    for bytes in [&b"\xff"[..], b"{\"type\":\"delete\",\"userId\":\"\xc3\x28\"}", b"\xef\xbb\xbf{}", b"\0"] {
        assert_eq!(read(bytes).unwrap_err().reason, NOT_JSON, "{bytes:?}");
    }
}

#[test]
fn size_and_depth_are_accepted_up_to_their_bounds() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"type":"track","userId":"u1","event":"e","properties":{{"a":{open}{close},"b":"[[[\"[[["}}}}"#)
    };
    event(&nested(MAX_DEPTH - 2));
    refused(&nested(MAX_DEPTH - 1), TOO_DEEP);
    refused(&nested(500_000), TOO_DEEP);
    refused(&format!(r#"{{"type":"delete","userId":"u1","unknown":{}{}}}"#, "[".repeat(9999), "]".repeat(9999)), TOO_DEEP);
    // Many openings, few levels; and brackets within text.
    let wide =
        format!(r#"{{"type":"track","userId":"u1","event":"e","properties":{{"a":[{}[]],"b":"{}"}}}}"#, "[],".repeat(500), "[".repeat(500));
    event(&wide);
    let frame = r#"{"type":"delete","userId":"u1","unknown":""}"#.len();
    let padded = |bytes: usize| format!(r#"{{"type":"delete","userId":"u1","unknown":"{}"}}"#, "x".repeat(bytes - frame));
    event(&padded(MAX_INPUT_BYTES));
    refused(&padded(MAX_INPUT_BYTES + 1), TOO_LARGE);
}

#[test]
fn errors_quote_little_and_whole_characters() {
    let error = read(format!(r#"{{"type":"{}"}}"#, "é".repeat(1000)).as_bytes()).unwrap_err();
    assert!(error.error.len() < 250, "{error}");
    assert!(error.error.starts_with("`type` is `éé"), "{error}");
}

#[test]
fn real_shapes_are_accepted() {
    let segment = r#"{"anonymousId":"23adfd82-aa0f-45a7-a756-24f2a7a4c895","context":{"library":{"name":"analytics.js","version":"2.11.1"},
        "page":{"path":"/academy/","referrer":"","search":"","title":"Academy","url":"https://x.example/academy/"},
        "userAgent":"Mozilla/5.0","ip":"108.0.78.21","campaign":{"name":"TPS","source":"Newsletter"}},"event":"Course Clicked",
        "integrations":{"All":true,"Mixpanel":false},"messageId":"ajs-f8ca1e4de5024d9430b3928bd8ac6b96","_metadata":{"bundled":["x"]},
        "properties":{"title":"Intro","price":19.5},"receivedAt":"2026-11-20T11:59:59.000Z","sentAt":"2026-11-20T11:59:58.000Z",
        "timestamp":"2026-11-20T11:59:57.866Z","originalTimestamp":"2026-11-20T11:59:56.000Z","type":"track","userId":"AiUGstSDIg",
        "version":2,"channel":"server","projectId":"abc","writeKey":"k"}"#;
    let read = event(segment);
    assert_eq!((&*read.user, &*read.message_id), ("AiUGstSDIg", "ajs-f8ca1e4de5024d9430b3928bd8ac6b96"));
    assert_eq!(read.body, track("Course Clicked", r#"{"title":"Intro","price":19.5}"#));

    // The traits of a RudderStack identify are in its context.
    let rudderstack = r#"{"type":"identify","channel":"web","userId":"","anonymousId":"0d6b","rudderId":"8d33","messageId":"6d1c","event":"",
        "context":{"traits":{"email":"j@x.example","plan":"gold"},"device":{"id":"d1","token":"fcm-1"},"sessionId":1},
        "originalTimestamp":"2026-11-20T11:00:00.000Z","sentAt":"2026-11-20T11:00:01.000Z","receivedAt":"2026-11-20T20:00:01.000+09:00",
        "request_ip":"1.2.3.4","integrations":{"All":true},"timestamp":"2026-11-20T20:00:00.500+09:00","properties":null}"#;
    let read = event(rudderstack);
    assert_eq!((&*read.user, read.device_token.as_deref(), read.context_traits.len()), ("0d6b", Some("fcm-1"), 2));
    assert_eq!(read.timestamp.to_string(), "2026-11-20T11:00:00.500Z");

    let jitsu = r#"{"type":"page","name":"Pricing","properties":{"path":"/pricing","hash":""},"userId":null,"anonymousId":"IFZ","groupId":null,
        "timestamp":"2026-11-20T11:10:00.000Z","sentAt":"2026-11-20T11:10:00.100Z","messageId":"8a2","writeKey":"s2s","event":null,
        "context":{"library":{"name":"@jitsu/js","version":"1.9.0"},"traits":{},"clientIds":{"ga4":{"clientId":"1"}}},"requestIp":"::1"}"#;
    assert_eq!(event(jitsu).body, track("page", r#"{"path":"/pricing","hash":"","name":"Pricing"}"#));
}

/// Any JSON text, in compact form.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        prop::sample::select(vec!["1e999", "-0", "0.1e-9", "\"\\uD800\"", "\"2026-11-20T10:00:00Z\"", "\"\\\\\"", "\"$x\""])
            .prop_map(String::from),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("[a-z.]{0,3}", inner), 0..6).prop_map(|pairs| {
                let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
}

/// An object with any of the fields that are read, holding anything.
fn any_input() -> impl Strategy<Value = String> {
    const FIELDS: [&str; 11] =
        ["userId", "anonymousId", "messageId", "timestamp", "event", "campaign", "name", "category", "context", "properties", "traits"];
    let kind = prop::sample::select(vec!["track", "page", "screen", "identify", "delete", "send", "alias", "group", "other"]);
    (kind, prop::collection::vec(prop::option::of(any_json()), FIELDS.len())).prop_map(|(kind, values)| {
        let pairs: Vec<String> =
            FIELDS.iter().zip(&values).filter_map(|(field, value)| value.as_ref().map(|value| format!("\"{field}\":{value}"))).collect();
        format!("{{\"type\":\"{kind}\"{}{}}}", if pairs.is_empty() { "" } else { "," }, pairs.join(","))
    })
}

/// Reads to the end; whatever comes must keep the promises about events.
fn check_promises(bytes: &[u8]) {
    match read(bytes) {
        Ok(event) => {
            assert!((1..=MAX_ID_BYTES).contains(&event.user.len()));
            assert!(event.timestamp <= event.position.broker_time.after(MAX_AHEAD));
            assert!(event.timestamp >= event.position.broker_time.before(LIMITS.max_lateness));
            let reserved = matches!(&event.body, Body::Track { name, .. } if name.starts_with('$') || name.is_empty());
            assert!(!reserved, "{event:?}");
        }
        Err(error) => assert!(!error.error.is_empty() && !error.reason.is_empty()),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_promises(&bytes);
    }

    #[test]
    fn any_json_is_read_or_refused(json in any_json()) {
        check_promises(json.as_bytes());
    }

    #[test]
    fn any_fields_are_read_or_refused(json in any_input(), cut in any::<prop::sample::Index>(), flip in any::<(prop::sample::Index, u8)>()) {
        check_promises(json.as_bytes());
        check_promises(&json.as_bytes()[..cut.index(json.len())]);
        let mut damaged = json.into_bytes();
        let at = flip.0.index(damaged.len());
        damaged[at] = flip.1;
        check_promises(&damaged);
    }
}
