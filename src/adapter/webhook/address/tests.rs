//! Every range by its edges, and what an allowed network exempts.

use super::*;

/// (first, last, whether the address before is public, and the one after). Written apart from the tables that are tested.
const RANGES_V4: [(&str, &str, bool, bool); 19] = [
    ("0.0.0.0", "0.255.255.255", false, true),
    ("10.0.0.0", "10.255.255.255", true, true),
    ("100.64.0.0", "100.127.255.255", true, true),
    ("127.0.0.0", "127.255.255.255", true, true),
    ("168.63.129.16", "168.63.129.16", true, true),
    ("169.254.0.0", "169.254.255.255", true, true),
    ("172.16.0.0", "172.31.255.255", true, true),
    ("192.0.0.0", "192.0.0.255", true, true),
    ("192.0.2.0", "192.0.2.255", true, true),
    ("192.31.196.0", "192.31.196.255", true, true),
    ("192.52.193.0", "192.52.193.255", true, true),
    ("192.88.99.0", "192.88.99.255", true, true),
    ("192.168.0.0", "192.168.255.255", true, true),
    ("192.175.48.0", "192.175.48.255", true, true),
    ("198.18.0.0", "198.19.255.255", true, true),
    ("198.51.100.0", "198.51.100.255", true, true),
    ("203.0.113.0", "203.0.113.255", true, true),
    ("224.0.0.0", "239.255.255.255", true, false),
    ("240.0.0.0", "255.255.255.255", false, false),
];

const RANGES_V6: [(&str, &str, bool, bool); 17] = [
    ("::", "::", false, false),
    ("::1", "::1", false, false),
    ("::2", "::fffe:ffff:ffff", false, false),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", false, false),
    ("100::", "100::ffff:ffff:ffff:ffff", false, false),
    ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", false, false),
    ("1fff::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, true),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
    ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", true, true),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
    ("4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, false),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
    ("fe80::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
];

fn check(allowed: &[&str], address: &str, expect: bool) {
    let reach = Reach::new(allowed.iter().map(|network| network.parse().unwrap()).collect());
    assert_eq!(reach.allows(address.parse().unwrap()), expect, "{address} with {allowed:?}");
}

/// An IPv4 address as itself and in every IPv6 form that holds one.
fn check_v4(bits: u32, expect: bool) {
    let v4 = Ipv4Addr::from_bits(bits);
    let [high, low] = [bits >> 16, bits & 0xffff];
    for text in [v4.to_string(), format!("::ffff:{v4}"), format!("64:ff9b::{v4}")] {
        check(&[], &text, expect);
    }
    for text in [
        format!("::{v4}"),
        format!("::ffff:0:{v4}"),
        format!("64:ff9b:1::{v4}"),
        format!("2002:{high:x}:{low:x}::1"),
        format!("2001:0:{high:x}:{low:x}::"),
        format!("2001::{:x}:{:x}", high ^ 0xffff, low ^ 0xffff),
    ] {
        check(&[], &text, false);
    }
}

#[test]
fn ranges_of_v4_end_where_they_end() {
    for (first, last, before, after) in RANGES_V4 {
        let [first, last] = [first, last].map(|text| text.parse::<Ipv4Addr>().unwrap().to_bits());
        check_v4(first, false);
        check_v4(last, false);
        check_v4(first + (last - first) / 2, false);
        first.checked_sub(1).into_iter().for_each(|bits| check_v4(bits, before));
        last.checked_add(1).into_iter().for_each(|bits| check_v4(bits, after));
    }
}

#[test]
fn ranges_of_v6_end_where_they_end() {
    for (first, last, before, after) in RANGES_V6 {
        let [first, last] = [first, last].map(|text| text.parse::<Ipv6Addr>().unwrap().to_bits());
        let check = |bits: u128, expect| check(&[], &Ipv6Addr::from_bits(bits).to_string(), expect);
        check(first, false);
        check(last, false);
        check(first + (last - first) / 2, false);
        first.checked_sub(1).into_iter().for_each(|bits| check(bits, before));
        last.checked_add(1).into_iter().for_each(|bits| check(bits, after));
    }
}

#[test]
fn public_addresses_are_allowed() {
    for address in ["1.1.1.1", "8.8.8.8", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"] {
        check(&[], address, true);
    }
}

#[test]
fn where_credentials_are_served_is_refused() {
    for address in
        ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fe80::a9fe:a9fe"]
    {
        check(&[], address, false);
    }
}

#[test]
fn an_allowed_network_is_exempt() {
    check(&["10.0.0.0/8"], "10.1.2.3", true);
    check(&["10.0.0.0/8"], "11.1.2.3", true);
    check(&["10.0.0.0/8"], "127.0.0.1", false);
    check(&["10.0.0.0/8"], "::ffff:10.1.2.3", true);
    check(&["10.0.0.0/8"], "64:ff9b::10.1.2.3", true);
    check(&["10.0.0.0/8"], "64:ff9b:1::10.1.2.3", false);
    check(&["10.0.0.0/8"], "::10.1.2.3", false);
    check(&["10.0.0.0/8"], "2002:a01:203::", false);
    check(&["64:ff9b:1::/48"], "64:ff9b:1::10.1.2.3", true);
    check(&["10.1.2.3"], "10.1.2.3", true);
    check(&["10.1.2.3"], "10.1.2.4", false);
    check(&["fd00::/8", "::1"], "fd00::1", true);
    check(&["fd00::/8", "::1"], "::1", true);
    check(&["fd00::/8", "::1"], "fc00::1", false);
    check(&["0.0.0.0/0"], "127.0.0.1", true);
    check(&["0.0.0.0/0"], "::1", false);
}

#[test]
fn networks_read_and_print() {
    for (text, expect) in [("10.0.0.0/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("::1", "::1/128"), ("fd00::/8", "fd00::/8")] {
        assert_eq!(text.parse::<Cidr>().unwrap().to_string(), expect);
    }
    for text in ["", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "localhost"] {
        assert_eq!(text.parse::<Cidr>(), Err(CidrError(text.to_owned())));
    }
}
