//! Paths as conditions follow them: as [`Object::lookup`], and through arrays of objects into every element
//! (`items.sku` means the `sku` of any item).

use crate::engine::value::{Object, Value};

/// Shows each value at the path until one is accepted; answers whether one was. A property whose full name has the dot wins.
pub fn any_at(object: &Object, path: &str, accept: &mut dyn FnMut(&Value) -> bool) -> bool {
    visit(object, path, accept) == Visit::Accepted
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// There is nothing at this path: another reading of its dots may find something.
    Nothing,
    Seen,
    Accepted,
}

/// Recurses at most as deep as the object is nested.
fn visit(object: &Object, path: &str, accept: &mut dyn FnMut(&Value) -> bool) -> Visit {
    if let Some(value) = object.get(path) {
        return if accept(value) { Visit::Accepted } else { Visit::Seen };
    }
    for (dot, _) in path.match_indices('.') {
        let visited = match object.get(&path[..dot]) {
            Some(Value::Object(inner)) => visit(inner, &path[dot + 1..], accept),
            Some(Value::List(items)) => visit_items(items, &path[dot + 1..], accept),
            _ => Visit::Nothing,
        };
        if visited != Visit::Nothing {
            return visited;
        }
    }
    Visit::Nothing
}

fn visit_items(items: &[Value], path: &str, accept: &mut dyn FnMut(&Value) -> bool) -> Visit {
    let mut sum = Visit::Nothing;
    for inner in items.iter().filter_map(Value::as_object) {
        match visit(inner, path, accept) {
            Visit::Accepted => return Visit::Accepted,
            Visit::Seen => sum = Visit::Seen,
            Visit::Nothing => {}
        }
    }
    sum
}
