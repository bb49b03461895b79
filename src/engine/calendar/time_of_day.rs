//! A time of day as definitions write it: `09:00`.

use std::fmt;

use jiff::civil::{Date, DateTime, Time};

/// Hours and minutes of a 24-hour clock, `00:00` to `23:59`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay {
    hour: u8,
    minute: u8,
}

impl TimeOfDay {
    /// Reads `HH:MM`, both with two digits; nothing else (`9:00`, `24:00`, `09:00:00`, `9 am`).
    pub fn parse(text: &str) -> Option<TimeOfDay> {
        let &[h1, h2, b':', m1, m2] = text.as_bytes() else { return None };
        let two = |tens: u8, ones: u8| (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'));
        let (hour, minute) = (two(h1, h2)?, two(m1, m2)?);
        (hour < 24 && minute < 60).then_some(TimeOfDay { hour, minute })
    }

    /// So many minutes after midnight; what is beyond a day begins the next.
    pub fn of_minutes(minutes: u16) -> TimeOfDay {
        TimeOfDay { hour: (minutes / 60 % 24) as u8, minute: (minutes % 60) as u8 }
    }

    /// This time on a day, as the clock reads it.
    pub(super) fn on(self, day: Date) -> DateTime {
        day.at(self.hour as i8, self.minute as i8, 0, 0)
    }

    /// Whether a clock reads this time or a later one of the same day.
    pub(super) fn reached(self, clock: Time) -> bool {
        (clock.hour(), clock.minute()) >= (self.hour as i8, self.minute as i8)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}
