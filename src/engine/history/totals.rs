//! Adding numbers up: how many, their sum, the least and the greatest.

use crate::engine::record::Totals;

/// Of no numbers.
pub const NONE: Totals = Totals { count: 0, sum: 0.0, rest: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

pub fn add(totals: &mut Totals, value: f64) {
    totals.count = totals.count.saturating_add(1);
    add_to_sum(totals, value);
    totals.min = totals.min.min(value);
    totals.max = totals.max.max(value);
}

pub fn merge(totals: &mut Totals, other: &Totals) {
    totals.count = totals.count.saturating_add(other.count);
    add_to_sum(totals, other.sum);
    totals.rest += other.rest;
    totals.min = totals.min.min(other.min);
    totals.max = totals.max.max(other.max);
}

/// The sum as near as a float can say it.
pub fn sum(totals: &Totals) -> f64 {
    let sum = totals.sum + totals.rest;
    // Beyond the largest float what was lost is no number.
    if sum.is_nan() { totals.sum } else { sum }
}

/// Neumaier's compensated summation: what rounding loses is kept apart, so sums of prices do not drift.
fn add_to_sum(totals: &mut Totals, value: f64) {
    let sum = totals.sum + value;
    totals.rest += if totals.sum.abs() >= value.abs() { (totals.sum - sum) + value } else { (value - sum) + totals.sum };
    totals.sum = sum;
}
