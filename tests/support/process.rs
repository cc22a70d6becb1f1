//! What the system says about a process: processor time and memory, from `/proc`.

use core::time::Duration;
use std::fs::read_to_string;

use crate::BoxError;

/// A tick of processor time in `/proc`. Linux promises programs 100 a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// Where the two times stand behind the name of the program: user and system, of all threads.
const USER_TIME_FIELD: usize = 11;
const SYSTEM_TIME_FIELD: usize = 12;

/// Processor time that a process has used so far, in whole ticks of 10 ms.
pub fn processor_time(pid: u32) -> Result<Duration, BoxError> {
    let stat = read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks_in(&stat).ok_or_else(|| format!("/proc/{pid}/stat has another form: {stat}"))?;
    Ok(TICK.saturating_mul(ticks))
}

fn ticks_in(stat: &str) -> Option<u32> {
    // The name stands in parentheses and may itself hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<u32>().ok();
    field(USER_TIME_FIELD)?.checked_add(field(SYSTEM_TIME_FIELD)?)
}

/// Memory of a process that is in use, in KiB.
pub fn resident_kib(pid: u32) -> Result<u64, BoxError> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    kib_in(&status).ok_or_else(|| format!("/proc/{pid}/status names no VmRSS").into())
}

fn kib_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_system_writes() {
        let stat = "17 (a (strange) name) S 1 17 17 0 -1 4194560 5120 0 3 0 250 125 0 0 20 0 9 0 4711 1 2";
        assert_eq!(ticks_in(stat), Some(375));
        assert_eq!(ticks_in("17 (short) S 1"), None);
        assert_eq!(kib_in("Name:\tx\nVmRSS:\t  181248 kB\nThreads:\t9\n"), Some(181_248));
        assert_eq!(kib_in("Name:\tx\n"), None);
    }

    #[test]
    fn knows_this_very_process() {
        let pid = std::process::id();
        assert!(resident_kib(pid).expect("it runs") > 0);
        processor_time(pid).expect("it runs");
    }
}
