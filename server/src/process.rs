//! What the server's process takes of its machine, as figures for operators. Only Linux says how much
//! memory; elsewhere those are left out.

use rustix::time::{ClockId, clock_gettime};
use std::fs;

/// Names and values; the last word of a name is the unit.
pub(crate) fn figures() -> Vec<(String, u64)> {
    let mut figures = vec![("process_cpu_us".to_owned(), cpu_us())];
    // Not there on every system; a figure less is no failure.
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let names = [
            ("VmRSS:", "process_resident_bytes"),
            ("VmHWM:", "process_resident_max_bytes"),
        ];
        figures.extend(names.iter().filter_map(|(field, name)| {
            let value = status.lines().find_map(|line| line.strip_prefix(field))?;
            let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(((*name).to_owned(), kib * 1_024))
        }));
    }
    figures
}

/// CPU time of all threads since the process began, in microseconds.
fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let micros = i128::from(time.tv_sec) * 1_000_000 + i128::from(time.tv_nsec) / 1_000;
    u64::try_from(micros).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_the_process_grows() {
        let before = cpu_us();
        let mut sum = 0_u64;
        while cpu_us() < before + 1_000 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(figures()[0].1 > before);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_told() {
        let names: Vec<_> = figures().into_iter().map(|(name, _)| name).collect();
        let memory = ["process_resident_bytes", "process_resident_max_bytes"];
        assert!(
            memory.iter().all(|name| names.iter().any(|n| n == name)),
            "{names:?}"
        );
    }
}
