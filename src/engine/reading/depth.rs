//! How deep a JSON text nests, without recursion.

/// Whether objects and lists nest deeper than `limit`. The text is known to be JSON.
pub fn exceeds(json: &[u8], limit: usize) -> bool {
    // Nearly every text has fewer openings than the limit, and counting them takes a fraction of walking through it.
    // Both brackets differ from one another in one bit, and from all else in the rest.
    let openings = json.iter().filter(|byte| **byte | 0x20 == b'{').count();
    openings > limit && deepest(json) > limit
}

fn deepest(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
