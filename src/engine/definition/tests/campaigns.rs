//! Campaigns that are refused: document, identity, status, fatigue, audience.

use super::{API, HOOK, refused};

#[test]
fn documents() {
    #[rustfmt::skip]
    let cases = [
        ("{kind: campain, key: x, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}", "1:8: error: unknown kind `campain` (help: did you mean `campaign`?)"),
        ("{kind: cohrt, key: x, users: [a]}", "1:8: error: unknown kind `cohrt` (help: did you mean `cohort`?)"),
        ("key: x", "1:1: error: a document needs `kind` (help: one of campaign, cohort, destination, workspace)"),
        ("[1, {kind: cohrt, key: x, users: [a]}]", "1:2: error: a document must be a map, not a number\n\
          1:12: error: unknown kind `cohrt` (help: did you mean `cohort`?)"),
        ("[[]]", "1:2: error: a document must be a map, not a list"),
        ("kind: 3", r#"1:7: error: `kind` must be text, not a number (help: put it in quotes: "3")"#),
        ("text", "1:1: error: a document must be a map, not text"),
        ("kind: campaign", "1:1: error: a campaign needs `key` (help: a name of its own: lower-case letters, digits and hyphens)\n\
          1:1: error: a campaign needs `trigger` (help: what starts a send: {action: {event: ...}}, {inaction: ...} or {api: {}})\n\
          1:1: error: a campaign needs `webhook` (help: where to send it: {url: \"https://...\"})"),
    ];
    for (written, expect) in cases {
        refused(written, expect);
    }
}

#[test]
fn keys() {
    #[rustfmt::skip]
    let cases = [
        ("''", "2:6: error: `` cannot be a key (help: at most 63 lower-case letters, digits and hyphens, the first no hyphen)"),
        ("Cart",
         "2:6: error: `Cart` cannot be a key (help: at most 63 lower-case letters, digits and hyphens, the first no hyphen: `cart`?)"),
        ("Cart Abandoned",
         "2:6: error: `Cart Abandoned` cannot be a key (help: at most 63 lower-case letters, digits and hyphens, the first no hyphen: `cart-abandoned`?)"),
        ("-a", "2:6: error: `-a` cannot be a key (help: at most 63 lower-case letters, digits and hyphens, the first no hyphen: `a`?)"),
        ("ü", "2:6: error: `ü` cannot be a key (help: at most 63 lower-case letters, digits and hyphens, the first no hyphen)"),
        ("3", r#"2:6: error: `key` must be text, not a number (help: put it in quotes: "3")"#),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "2:6: error: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` cannot be a key (help: at most 63 lower-case letters, digits and hyphens, the first no hyphen)"),
    ];
    for (written, expect) in cases {
        refused(&format!("kind: campaign\nkey: {written}\n{API}\n{HOOK}"), expect);
    }
}

#[test]
fn fields() {
    #[rustfmt::skip]
    let cases = [
        ("key: k", "5:1: error: the key `key` comes twice (help: the first is on line 2)"),
        ("titel: x", "5:1: error: unknown key `titel` in a campaign (help: did you mean `title`?)"),
        ("control: 10", "5:10: error: `control` must be a map, not a number (help: write `control: {percent: 10}`)"),
        ("control: {percent: 101}", "5:20: error: `percent` must be from 0 to 100 with at most two decimals, not 101"),
        ("control: {percent: 0.001}", "5:20: error: `percent` must be from 0 to 100 with at most two decimals, not 0.001"),
        ("control: {percent: '10'}", "5:20: error: `percent` must be a number, not text (help: remove the quotes: 10)"),
        ("control: {}", "5:10: error: `control` needs `percent` (help: the share of users who get nothing, such as {percent: 10})"),
        ("limit: 0", "5:8: error: `limit` must be at least 1, not 0"),
        ("limit: 1.5", "5:8: error: `limit` must be a whole number, not 1.5"),
        ("limit: {users: 5, per: day}", "5:24: error: `per` cannot be `day` (help: one of: run)"),
        ("limit: {users: 5, per: run}", "5:19: error: only a schedule has runs (help: remove `per`: the limit then holds for the whole campaign)"),
        ("limit: {per: run}", "5:8: error: `limit` needs `users` (help: how many distinct users at most: {users: 1000})\n\
          5:9: error: only a schedule has runs (help: remove `per`: the limit then holds for the whole campaign)"),
        ("goal: {event: purchase}", "5:7: error: `goal` needs `within` (help: how long after the send it counts, such as 7d)"),
        ("goal: {within: 7d}", "5:7: error: `goal` needs `event` (help: the name of the event, such as purchase)"),
        ("goal: purchase", "5:7: error: `goal` must be a map, not text"),
        ("active: {from: 2026-11-01}", "5:16: error: `from` must be an instant with its offset, not `2026-11-01` (help: such as 2026-11-01T09:00:00+09:00 or 2026-11-01T00:00:00Z)"),
        ("active: {from: 2026-11-01T00:00:00Z, until: 2026-10-01T00:00:00Z}", "5:45: error: `until` is not after `from`: nothing would ever be sent (help: exchange the two, or correct the year)"),
        ("active: {until: 2026-10-01T00:00:00}", "5:17: error: `until` must be an instant with its offset, not `2026-10-01T00:00:00` (help: such as 2026-11-01T09:00:00+09:00 or 2026-11-01T00:00:00Z)"),
        ("active: {to: 2026-10-01T00:00:00Z}", "5:10: error: unknown key `to` in `active` (help: known keys: from, until)"),
        ("status: started", "5:9: error: `status` cannot be `started` (help: one of: ready, running, paused, ended)"),
        ("status: paussed", "5:9: error: `status` cannot be `paussed` (help: did you mean `paused`?)"),
        ("tags: cart", r#"5:7: error: `tags` must be a list, not text (help: write it in brackets: ["cart"])"#),
        ("tags: [a, a]", "5:11: error: the tag `a` comes twice"),
        ("tags: [1]", r#"5:8: error: an item of `tags` must be text, not a number (help: put it in quotes: "1")"#),
        ("tags: ['']", "5:8: error: an item of `tags` must not be empty"),
        ("channel: 3", r#"5:10: error: `channel` must be text, not a number (help: put it in quotes: "3")"#),
        ("priority: high", "5:11: error: `priority` must be a whole number, not text"),
        ("priority: 1.5", "5:11: error: `priority` must be a whole number, not 1.5"),
        ("title: 2026", r#"5:8: error: `title` must be text, not a number (help: put it in quotes: "2026")"#),
        ("description: [a]", "5:14: error: `description` must be text, not a list"),
        ("fatigue: never", "5:10: error: `fatigue` must be a map, not text"),
        ("fatigue: {resend: 7d}", "5:19: error: `resend` cannot be `7d` (help: write {after: 7d})"),
        ("fatigue: {resend: alway}", "5:19: error: `resend` cannot be `alway` (help: did you mean `always`?)"),
        ("fatigue: {resend: {after: 7}}",
         "5:27: error: `after` must be a duration with its unit, not a number (help: write 7s, 7m, 7h or 7d)"),
        ("fatigue: {resend: {after: 0s}}", "5:27: error: `after` must be from 1ms to 3650d, not 0s"),
        ("fatigue: {resend: {after: 11000d}}", "5:27: error: `after` must be from 1ms to 3650d, not 11000d"),
        ("fatigue: {resend: {}}", "5:19: error: `resend` needs `after` (help: how long after the last send, such as {after: 7d})"),
        ("fatigue: {resend: {for: 7d}}", "5:19: error: `resend` needs `after` (help: how long after the last send, such as {after: 7d})\n\
          5:20: error: unknown key `for` in `resend` (help: known keys: after)"),
        ("fatigue: {per: order_id}", r#"5:16: error: `per` must be a list, not text (help: write it in brackets: ["order_id"])"#),
        ("fatigue: {per: [order_id, order_id]}", "5:27: warning: this item of `per` is there already (help: remove it)"),
        ("fatigue: {per: [event.order_id]}", "5:17: warning: `event.order_id` is looked up as a property of that whole name, or as `order_id` within an object `event` (help: did you mean `order_id`? what it is a property of follows from where it stands)"),
        ("fatigue: {per: ['{{ event.order_id }}']}", "5:17: error: `{{ event.order_id }}` is no property's name (help: write the bare name, without braces)"),
        ("fatigue: {per: [a, b, c, d, e, f, g, h, i]}", "5:41: error: `per` has at most 8 items"),
        ("fatigue: {on_cap: defer}", "5:19: error: `on_cap` cannot be `defer` (help: say how long: {defer: 2h})"),
        ("fatigue: {on_cap: 2h}", "5:19: error: `on_cap` cannot be `2h` (help: write {defer: 2h})"),
        ("fatigue: {on_cap: {defer: 31d}}", "5:27: error: `defer` must be from 1s to 30d, not 31d"),
        ("fatigue: {on_cap: {}}", "5:19: error: `on_cap` needs `defer` (help: how long it may wait, such as {defer: 2h})"),
        ("fatigue: {frequency_cap: false, on_cap: {defer: 2h}}", "5:33: warning: `on_cap` has no effect here (help: `frequency_cap: false`: no cap stops it)"),
        ("fatigue: {quiet_hours: off, refund_on_failure: 1}", "5:24: error: `quiet_hours` must be true or false, not text (help: write false: YAML 1.2 reads off as text)\n\
          5:48: error: `refund_on_failure` must be true or false, not a number"),
        ("fatigue: {frequency_cap: no}", "5:26: error: `frequency_cap` must be true or false, not text (help: write false: YAML 1.2 reads no as text)"),
        ("fatigue: {frequency_caps: true}",
         "5:11: error: unknown key `frequency_caps` in `fatigue` (help: did you mean `frequency_cap`?)"),
        ("audience: vip", "5:11: error: `audience` must be a rule, not text (help: such as {user: {country: KR}}, or `everyone`)"),
        ("audience: {country: KR}",
         "5:12: error: unknown kind of rule `country` (help: for a property of the user write {user: {country: ...}})"),
        ("audience: {did_nt: {event: purchase}}", "5:12: error: unknown kind of rule `did_nt` (help: did you mean `did_not`?)"),
        ("audience: {user: {a: 1}, not: {user: {b: 2}}}",
         "5:26: error: a rule has one kind (help: to combine rules write a list, `all: [...]` or `any: [...]`)"),
        ("audience: {user: {a: null}, not: {user: {b: {gt: x}}}}",
         "5:22: error: null means missing and cannot be compared with (help: write a: {exists: false})\n\
          5:29: error: a rule has one kind (help: to combine rules write a list, `all: [...]` or `any: [...]`)\n\
          5:50: error: `gt` needs a number, not `x`"),
        ("audience: {}", "5:11: error: `audience` says nothing (help: for everyone write `everyone`)"),
        ("audience: {any: []}", "5:17: error: `any` needs at least one rule"),
        ("audience: {all: {user: {a: 1}}}", "5:17: error: `all` must be a list, not a map"),
        ("audience: [{user: {a: 1}}, vip]",
         "5:28: error: an item of `audience` must be a rule, not text (help: such as {user: {country: KR}}, or `everyone`)"),
        ("audience: {user: [a, b]}",
         "5:18: error: `user` must be a map, not a list (help: write the properties in one map; to combine alternatives, `any: [...]`)"),
        ("audience: {user: {a: {gt: '3'}}}",
         "5:27: error: `gt` needs a number, not `3` (help: remove the quotes: 3; nothing is converted, so the property must be a number too)"),
    ];
    for (written, expect) in cases {
        refused(&format!("kind: campaign\nkey: k\n{API}\n{HOOK}\n{written}"), expect);
    }
}

#[test]
fn what_a_trigger_asks_of_the_rest() {
    #[rustfmt::skip]
    let cases = [
        ("{schedule: {cron: 0 9 * * MON}}", "", "4:1: error: a recurring trigger needs `fatigue.resend` (help: write `fatigue: {resend: never}` for once per user ever, `always` for every time, or {after: 7d})\n\
          4:1: error: a schedule needs `audience` (help: write who gets it: `audience: everyone` if it is for all users)"),
        ("{schedule: {cron: 0 9 * * MON}}", "audience: everyone", "4:1: error: a recurring trigger needs `fatigue.resend` (help: write `fatigue: {resend: never}` for once per user ever, `always` for every time, or {after: 7d})"),
        ("{schedule: {monthly: {day: 1, at: '09:00'}}}", "audience: everyone\nfatigue: {frequency_cap: true}", "4:1: error: a recurring trigger needs `fatigue.resend` (help: write `fatigue: {resend: never}` for once per user ever, `always` for every time, or {after: 7d})"),
        ("{schedule: {at: 2026-12-01T09:00:00}}", "", "4:1: error: a schedule needs `audience` (help: write who gets it: `audience: everyone` if it is for all users)"),
        ("{schedule: {at: 2026-12-01T09:00:00}}", "audience: everyone", ""),
        ("{date: {user: birthday, yearly: true}}", "", "4:1: error: a recurring trigger needs `fatigue.resend` (help: write `fatigue: {resend: never}` for once per user ever, `always` for every time, or {after: 7d})"),
        ("{date: {user: expires_at}}", "fatigue: {resend: }", "4:1: error: a recurring trigger needs `fatigue.resend` (help: write `fatigue: {resend: never}` for once per user ever, `always` for every time, or {after: 7d})"),
        ("{date: {event: e, offset: 1d}}", "", ""),
        ("{schedule: {at: 2026-12-01T09:00:00}}", "audience: everyone\nfatigue: {per: [order_id]}", "6:11: error: `per` needs a trigger with an event (help: remove `per`: no event starts it, so there are no event properties)"),
        ("{cohort: {entered: vip}}", "fatigue: {per: [order_id]}", "5:11: error: `per` needs a trigger with an event (help: remove `per`: no event starts it, so there are no event properties)"),
        ("{api: {}}", "fatigue: {per: [order_id]}", ""),
    ];
    for (trigger, rest, expect) in cases {
        refused(&format!("kind: campaign\nkey: k\n{HOOK}\ntrigger: {trigger}\n{rest}"), expect);
    }
}
