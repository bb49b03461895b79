//! Days, weeks and months of a zone's calendar as spans of time, for caps that count per calendar period.

use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};

use super::Zone;
use crate::engine::time::Timestamp;

/// What a cap counts within. A week begins on Monday (ISO 8601).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Day,
    Week,
    Month,
}

/// The calendar period that contains an instant: from its start to the start of the next, which is no longer in it. The periods
/// of a zone tile time without gap or overlap. Where the clock goes back over midnight, what then comes a second time belongs to
/// the new day.
pub fn window(period: Period, now: Timestamp, zone: &Zone) -> Range<Timestamp> {
    let mut first = period.first_day(zone.local(now).date());
    loop {
        let start = zone.instant(first.to_datetime(Time::midnight()));
        let Some(next) = period.next(first) else { return start..Timestamp::MAX };
        let end = zone.instant(next.to_datetime(Time::midnight()));
        if now < end {
            return start..end;
        }
        first = next;
    }
}

impl Period {
    fn first_day(self, day: Date) -> Date {
        match self {
            Period::Day => day,
            Period::Week => day.saturating_sub(i64::from(day.weekday().to_monday_zero_offset()).days()),
            Period::Month => day.first_of_month(),
        }
    }

    fn next(self, first: Date) -> Option<Date> {
        let length = match self {
            Period::Day => 1.day(),
            Period::Week => 1.week(),
            Period::Month => 1.month(),
        };
        first.checked_add(length).ok()
    }
}
