//! Rules and cohorts that are refused, or do probably not mean what was meant.

use super::{API, HOOK, refused};

const FIRST: &str = "is true also of who did it before this was first asked, and again since (help: read past events with `campanile backfill`: then their first time is known)";
const WINDOW: &str = "(help: say which past with `in_last`: then the answer is right once that much is known)";

#[test]
fn rules() {
    #[rustfmt::skip]
    let cases: Vec<(&str, String)> = vec![
        ("{cohort: [a, b]}", "5:20: error: `cohort` must be one key, not a list (help: for one of several write `any: [{cohort: a}, {cohort: b}]`)".into()),
        ("{cohort: Big Spenders}", "5:20: error: `Big Spenders` cannot be a key (help: at most 63 lower-case letters, digits and hyphens, the first no hyphen: `big-spenders`?)".into()),
        ("{did: purchase}", "5:17: error: `did` must be a map, not text (help: write {event: purchase})".into()),
        ("{did: {}}", "5:17: error: `did` needs `event` (help: the name of the event, such as purchase)".into()),
        ("{did: {event: e, count: 3}}", "5:35: error: `count` must be a map, not a number (help: write {gte: 3} or {eq: 3})".into()),
        ("{did: {event: e, count: {}}}", "5:35: error: `count` compares with nothing (help: say what it must be, such as `gte: 3`: eq, ne, gt, gte, lt, lte, between)".into()),
        ("{did: {event: e, count: {gte: '3'}}}", "5:41: error: `gte` must be a number, not text (help: remove the quotes: 3)".into()),
        ("{did: {event: e, count: {get: 3}}}", String::from("5:35: error: `count` compares with nothing (help: say what it must be, such as `gte: 3`: eq, ne, gt, gte, lt, lte, between)\n\
          5:36: error: unknown key `get` in `count` (help: did you mean `gt`?)")),
        ("{did: {event: e, count: {gte: 3}, sum: {property: a, gte: 1}}}", "5:45: error: `did` measures one thing (help: write another rule for the other: a list means all of them)".into()),
        ("{did: {event: e, count: {gte: 3000}, in_last: 7d}}", "5:41: error: over a window `gte` compares with at most 1000, not 3000".into()),
        ("{did: {event: e, count: {gte: 3000}}}", String::new()),
        ("{did: {event: e, count: {between: [3, 1]}}}", "5:45: error: nothing is between 3 and 1 (help: write [1, 3])".into()),
        ("{did: {event: e, count: {between: [3]}}}", "5:45: error: `between` needs two numbers, not 1".into()),
        ("{did: {event: e, sum: amount}}", "5:33: error: `sum` must be a map, not text (help: write {property: amount, gte: ...})".into()),
        ("{did: {event: e, sum: {gte: 3}}}", "5:33: error: `sum` needs `property` (help: the property that is measured, such as amount)".into()),
        ("{did: {event: e, sum: {property: amount}}}", "5:33: error: `sum` compares with nothing (help: say what it must be, such as `gte: 3`: eq, ne, gt, gte, lt, lte, between)".into()),
        ("{did: {event: e, first: 30d}}", "5:35: error: `first` must be a map, not text (help: write {in_last: 30d})".into()),
        ("{did: {event: e, first: {}}}", "5:35: error: `first` needs `in_last` or `between` (help: such as {in_last: 30d})".into()),
        ("{did: {event: e, first: {in_last: 30d}, in_last: 7d}}", "5:51: error: `first` and `last` have a window of their own (help: write it inside: {first: {in_last: 30d}})".into()),
        ("{did: {event: e, in_last: 7d, between: [2026-11-01T00:00:00Z, 2026-12-01T00:00:00Z]}}", "5:41: error: `in_last` excludes `between` (help: keep the one that is meant)".into()),
        ("{did: {event: e, between: [2026-11-01, 2026-12-01]}}", String::from("5:38: error: `between` must be an instant with its offset, not `2026-11-01` (help: such as 2026-11-01T09:00:00+09:00 or 2026-11-01T00:00:00Z)\n\
          5:50: error: `between` must be an instant with its offset, not `2026-12-01` (help: such as 2026-11-01T09:00:00+09:00 or 2026-11-01T00:00:00Z)")),
        ("{did: {event: e, between: [2026-12-01T00:00:00Z, 2026-11-01T00:00:00Z]}}", "5:37: error: `between` ends before it begins (help: write the earlier instant first)".into()),
        ("{did: {event: e, last: {in_lst: 7d}}}", String::from("5:34: error: `last` needs `in_last` or `between` (help: such as {in_last: 30d})\n\
          5:35: error: unknown key `in_lst` in `last` (help: did you mean `in_last`?)")),
        ("{did: {event: $snet}}", "5:25: error: no event can be named `$snet` (help: did you mean `$sent`?)".into()),
        ("{did: {event: e, in_lats: 7d}}", "5:28: error: unknown key `in_lats` in `did` (help: did you mean `in_last`?)".into()),
        ("{did_not: {event: e}}", format!("5:21: warning: `did_not` without a window is true of who did nothing since this was first asked {WINDOW}")),
        ("{not: {did: {event: e}}}", "5:23: warning: `did` without a window is true of who did nothing since this was first asked (help: say which past with `in_last`: then the answer is right once that much is known)".into()),
        ("{did: {event: e, count: {lt: 3}}}", "5:17: warning: `did` without a window is true of who did nothing since this was first asked (help: say which past with `in_last`: then the answer is right once that much is known)".into()),
        ("{not: {did: {event: e, count: {lt: 3}}}}", String::new()),
        ("{did_not: {event: e, count: {lt: 3}}}", String::new()),
        ("{did: {event: e, sum: {property: a, lte: 3}}}", "5:17: warning: `did` without a window is true of who did nothing since this was first asked (help: say which past with `in_last`: then the answer is right once that much is known)".into()),
        ("{did: {event: e, distinct: {property: a, eq: 0}}}", "5:17: warning: `did` without a window is true of who did nothing since this was first asked (help: say which past with `in_last`: then the answer is right once that much is known)".into()),
        ("{did: {event: e, max: {property: a, lt: 3}}}", String::new()),
        ("{did: {event: e, first: {in_last: 3d}}}", format!("5:17: warning: `did` with `first` {FIRST}")),
        ("{did: {event: e, first: {between: [2026-11-01T00:00:00Z, 2026-12-01T00:00:00Z]}}}", format!("5:17: warning: `did` with `first` {FIRST}")),
        ("{did: {event: e, last: {in_last: 3d}}}", String::new()),
        ("{not: {did: {event: e, first: {in_last: 3d}}}}", "5:23: warning: `did` without a window is true of who did nothing since this was first asked (help: say which past with `in_last`: then the answer is right once that much is known)".into()),
    ];
    for (written, expect) in cases {
        refused(&format!("kind: campaign\nkey: k\n{API}\n{HOOK}\naudience: {written}"), &expect);
    }
}

#[test]
fn cohorts() {
    #[rustfmt::skip]
    let cases = [
        ("", "1:1: error: a cohort needs one of `where`, `users` and `users_file` (help: a rule, such as `where: {user: {country: KR}}`, or a list, such as `users: [u1, u2]`)"),
        ("where: everyone\nusers: [a]", "4:1: error: a cohort needs one of `where`, `users` and `users_file` (help: a rule, such as `where: {user: {country: KR}}`, or a list, such as `users: [u1, u2]`)"),
        ("users: vip", r#"3:8: error: `users` must be a list, not text (help: write it in brackets: ["vip"])"#),
        ("users: [1.5]", "3:9: error: an item of `users` must be text, not a number (help: put it in quotes)"),
        ("users: ['']", "3:9: error: an item of `users` must not be empty"),
        ("users: [\"\\u0001run\"]", "3:9: error: a user id does not begin with a control character"),
        ("users_file: 5", r#"3:13: error: `users_file` must be text, not a number (help: put it in quotes: "5")"#),
        ("user: [a]", "1:1: error: a cohort needs one of `where`, `users` and `users_file` (help: a rule, such as `where: {user: {country: KR}}`, or a list, such as `users: [u1, u2]`)\n\
          3:1: error: unknown key `user` in a cohort (help: did you mean `users`?)"),
        ("where: {country: KR}", "3:9: error: unknown kind of rule `country` (help: for a property of the user write {user: {country: ...}})"),
        ("where: {}", "3:8: error: `where` says nothing (help: for everyone write `everyone`)"),
    ];
    for (written, expect) in cases {
        refused(&format!("kind: cohort\nkey: c\n{written}"), expect);
    }
}
