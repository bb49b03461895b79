//! Comparisons in `if`, `unless` and `case`. As everywhere in the language nothing is converted: "20" is not 20, 1 is 1.0, only
//! `true` is `true`. (The crate's own would call any text equal to `true`.) What is missing is empty: equal to "", `nil`,
//! `empty` and `blank`.

use std::cmp::Ordering;

use liquid_core::ValueView;
use liquid_core::model::State;

pub fn equal(a: &dyn ValueView, b: &dyn ValueView) -> bool {
    match (a.as_state(), b.as_state()) {
        (Some(state), None) => return b.query_state(state),
        (None, Some(state)) => return a.query_state(state),
        (Some(a), Some(b)) => return a == b,
        (None, None) => {}
    }
    match (a.is_nil(), b.is_nil()) {
        (true, true) => return true,
        (true, false) => return is_empty_text(b),
        (false, true) => return is_empty_text(a),
        (false, false) => {}
    }
    if let (Some(a), Some(b)) = (a.as_array(), b.as_array()) {
        return a.size() == b.size() && a.values().zip(b.values()).all(|(a, b)| equal(a, b));
    }
    if let (Some(a), Some(b)) = (a.as_object(), b.as_object()) {
        return a.size() == b.size() && a.iter().all(|(key, value)| b.get(&key).is_some_and(|other| equal(value, other)));
    }
    match (a.as_scalar(), b.as_scalar()) {
        (Some(a), Some(b)) => match (a.to_bool(), b.to_bool()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => a == b,
            _ => false,
        },
        _ => false,
    }
}

/// The order of two numbers or two texts; `None` for everything else.
pub fn order(a: &dyn ValueView, b: &dyn ValueView) -> Option<Ordering> {
    if a.is_nil() || b.is_nil() {
        return None;
    }
    let (a, b) = (a.as_scalar()?, b.as_scalar()?);
    if a.to_bool().is_some() { None } else { a.partial_cmp(&b) }
}

/// A part of a text, an element of a list, a key of an object.
pub fn contains(whole: &dyn ValueView, part: &dyn ValueView) -> bool {
    if whole.is_nil() || part.is_nil() {
        false
    } else if let Some(items) = whole.as_array() {
        items.values().any(|item| equal(item, part))
    } else if let Some(object) = whole.as_object() {
        object.contains_key(&part.to_kstr())
    } else {
        whole.to_kstr().contains(part.to_kstr().as_str())
    }
}

pub fn is_true(value: &dyn ValueView) -> bool {
    value.query_state(State::Truthy)
}

fn is_empty_text(value: &dyn ValueView) -> bool {
    value.type_name() == "string" && value.query_state(State::Empty)
}
