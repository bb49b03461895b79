//! Local time: every rule that asks what a clock or a calendar on a user's wall shows (contract, section 3).
//!
//! One definition carries all of it: **the instant of a local time is the first at which the clock reads it or later.** So a
//! time that a clock change skips is the first valid instant after it, and a time that comes twice is its first coming. The rules
//! that watch the clock as it runs instead (quiet hours, a cron of every hour) say so.
//!
//! Never: a clock read; the zone of the machine; an error. Beyond the years -9999 to 9999 the nearest instant stands in.

mod cron;
mod date;
mod quiet_hours;
mod schedule;
mod time_of_day;
mod window;
mod zone;

pub use cron::{Cron, CronProblem};
pub use date::{DateValue, FIRST_MILLISECONDS, Yearly, due, next_yearly, read_date};
pub use quiet_hours::{ends, inside};
pub use schedule::{DayOfMonth, Schedule, next_after, occurrences};
pub use time_of_day::TimeOfDay;
pub use window::{Period, window};
pub use zone::Zone;

#[cfg(test)]
mod tests;
