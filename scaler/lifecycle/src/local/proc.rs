//! What `/proc` says of the processes of this machine.

use std::fs;
use std::io::Read;

use nix::unistd::Pid;

/// Longest environment that is read: the kernel's limit for one string is 128 KiB, and ours comes within
/// what an exec takes.
const MAX_ENVIRONMENT: u64 = 2 << 20;

/// The part of `/proc/<pid>/stat` that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Neither zombie nor dead.
    pub(super) alive: bool,
    pub(super) group: i32,
    /// Ticks from boot to its start; with the PID it names a process of this boot for good.
    pub(super) start: u64,
}

/// All processes we may see.
pub(super) fn pids() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

pub(super) fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, spaces and brackets too; what follows its last bracket does not.
    let after = text.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(&text[after..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    // Field 22 of proc_pid_stat(5); the state is field 3 and the group field 5.
    let start = fields.nth(16)?.parse().ok()?;
    Some(Stat {
        alive: !matches!(state, "Z" | "X" | "x"),
        group,
        start,
    })
}

/// The value of a variable in the environment a process was started with.
pub(super) fn variable(pid: Pid, name: &str) -> Option<String> {
    let mut environ = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(MAX_ENVIRONMENT).read_to_end(&mut environ).ok()?;
    environ.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

/// Differs for each boot, so that PIDs of an earlier one are never taken for ours.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_alive_and_has_its_start() {
        let stat = stat(Pid::this()).unwrap();
        assert!(stat.alive && stat.start > 0);
        assert_eq!(stat.group, nix::unistd::getpgrp().as_raw());
        assert!(pids().contains(&Pid::this()));
        assert_eq!(variable(Pid::this(), "NO_SUCH_VARIABLE"), None);
    }
}
