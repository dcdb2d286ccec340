//! Where CLOCK_MONOTONIC stands on the UNIX time scale, and UTC in file names; no other clock work.
use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

const NS_PER_S: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// The offset from CLOCK_MONOTONIC to UNIX time, measured once per life of the logger: one offset
/// keeps the order of all its files even while the wall clock is being corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixOffset {
    /// UNIX time less CLOCK_MONOTONIC, ns.
    pub offset_ns: i64,
}

impl UnixOffset {
    /// Measures the offset: of several readings the one with the shortest interval.
    ///
    /// # Errors
    /// When a clock cannot be read.
    pub fn measure() -> Result<Self> {
        let mut best: Option<(i64, i64)> = None;
        for _ in 0..16 {
            let before_ns = read_ns(ClockId::CLOCK_MONOTONIC)?;
            let unix_ns = read_ns(ClockId::CLOCK_REALTIME)?;
            let after_ns = read_ns(ClockId::CLOCK_MONOTONIC)?;
            let width_ns = after_ns - before_ns;
            let offset_ns = unix_ns - (before_ns + width_ns / 2);
            if best.is_none_or(|(narrowest_ns, _)| width_ns < narrowest_ns) {
                best = Some((width_ns, offset_ns));
            }
        }
        let (_, offset_ns) = best.context("no clock reading")?;
        Ok(Self { offset_ns })
    }

    /// A CLOCK_MONOTONIC time on the UNIX time scale, ns; saturates.
    #[must_use]
    pub fn unix_ns(self, monotonic_ns: u64) -> u64 {
        monotonic_ns.saturating_add_signed(self.offset_ns)
    }
}

/// UNIX time now, s.
///
/// # Errors
/// When the clock cannot be read.
pub fn unix_now_s() -> Result<i64> {
    Ok(read_ns(ClockId::CLOCK_REALTIME)? / NS_PER_S)
}

fn read_ns(clock: ClockId) -> Result<i64> {
    let time = clock_gettime(clock).with_context(|| format!("cannot read clock {clock}"))?;
    Ok(time.tv_sec() * NS_PER_S + time.tv_nsec())
}

/// A UNIX time as `20260131T235959Z`.
#[must_use]
pub fn utc_compact(unix_s: i64) -> String {
    let days = unix_s.div_euclid(SECONDS_PER_DAY);
    let second = unix_s.rem_euclid(SECONDS_PER_DAY);
    // Days to a civil date in eras of 400 years that begin on 1 March (Howard Hinnant, chrono-
    // compatible low-level date algorithms).
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_dates_match_known_instants() {
        assert_eq!(utc_compact(0), "19700101T000000Z");
        assert_eq!(utc_compact(951_782_400), "20000229T000000Z");
        assert_eq!(utc_compact(1_767_225_599), "20251231T235959Z");
        assert_eq!(utc_compact(4_107_542_400), "21000301T000000Z");
    }

    #[test]
    fn the_offset_leads_from_the_monotonic_clock_to_the_wall_clock() {
        let offset = UnixOffset { offset_ns: 5 };
        assert_eq!(offset.unix_ns(10), 15);
        assert_eq!(offset.unix_ns(u64::MAX), u64::MAX);
        assert_eq!(UnixOffset { offset_ns: -20 }.unix_ns(10), 0);
    }
}
