//! Becomes another program that the kernel ends when its parent does.
//!
//! A testbed that is killed with SIGKILL can clean up nothing. The parts are therefore started through
//! this: the request for a signal at the parent's death survives `exec`.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

/// The subcommand of the `testbed` binary that does it.
pub const COMMAND: &str = "launch";

/// Replaces this process; returns only what went wrong.
///
/// `parent` is the process that asked: it may have died before the kernel was told to watch it.
pub fn launch(parent: i32, program: &OsString, args: &[OsString]) -> io::Error {
    if let Err(error) = set_pdeathsig(Signal::SIGKILL) {
        return error.into();
    }
    if getppid().as_raw() != parent {
        return io::Error::other("the testbed has ended");
    }
    Command::new(program).args(args).exec()
}
