//! Campaigns that are refused: document, identity, status, fatigue, audience.

use super::{API, HOOK, refused};

#[test]
fn documents() {
    #[rustfmt::skip]
    let cases = [
        ("kind: campain", "1:7: error: unknown kind `campain` (help: did you mean `campaign`?)"),
        ("kind: cohort", "1:7: error: `cohort` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("key: x", "1:1: error: a document needs `kind` (help: one of campaign, destination, workspace)"),
        ("[1, 2]", "1:1: error: a document must be a map, not a list"),
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
        ("control: {percent: 10}",
         "5:1: error: `control` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("limit: 100", "5:1: error: `limit` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("goal: {event: purchase}",
         "5:1: error: `goal` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("active: {from: 2026-11-01T00:00:00Z}",
         "5:1: error: `active` is not supported by this version yet (help: remove it, or wait for a later version)"),
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
        ("fatigue: {per: [order_id]}",
         "5:11: error: `per` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("fatigue: {on_cap: drop, quiet_hours: true, refund_on_failure: true}",
         "5:11: error: `on_cap` is not supported by this version yet (help: remove it, or wait for a later version)\n\
          5:25: error: `quiet_hours` is not supported by this version yet (help: remove it, or wait for a later version)\n\
          5:44: error: `refund_on_failure` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("fatigue: {frequency_cap: no}", "5:26: error: `frequency_cap` must be true or false, not text"),
        ("fatigue: {frequency_caps: true}",
         "5:11: error: unknown key `frequency_caps` in `fatigue` (help: did you mean `frequency_cap`?)"),
        ("audience: vip", "5:11: error: `audience` must be a rule, not text (help: such as {user: {country: KR}}, or `everyone`)"),
        ("audience: {country: KR}",
         "5:12: error: unknown kind of rule `country` (help: for a property of the user write {user: {country: ...}})"),
        ("audience: {cohort: vip}",
         "5:12: error: `cohort` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("audience: {did: {event: purchase}}",
         "5:12: error: `did` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("audience: {did_nt: {event: purchase}}", "5:12: error: unknown kind of rule `did_nt` (help: did you mean `did_not`?)"),
        ("audience: {user: {a: 1}, not: {user: {b: 2}}}",
         "5:26: error: a rule has one kind (help: to combine rules write a list, `all: [...]` or `any: [...]`)"),
        ("audience: {user: {a: null}, not: {user: {b: {gt: x}}}}",
         "5:22: error: null means missing and cannot be compared with (help: write a: {exists: false})\n\
          5:29: error: a rule has one kind (help: to combine rules write a list, `all: [...]` or `any: [...]`)\n\
          5:50: error: `gt` needs a number, not `x`"),
        ("audience: {}", "5:11: error: `audience` says nothing (help: for everyone write `everyone`, or leave `audience` out)"),
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
