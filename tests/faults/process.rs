//! The daemon as a process that is started bare: no waiting until it is ready, nothing between it and a signal.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::plan::within;

/// A process of ours; killed when this is dropped.
pub struct Process(Child);

impl Process {
    /// Starts this, its stderr appended to the log.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("the folder is ours");
        Self(command.stdout(Stdio::null()).stderr(file).spawn().expect("the program starts"))
    }

    /// Takes a process that was started otherwise.
    pub fn of(child: Child) -> Self {
        Self(child)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL, and its end.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Its end, if it has come.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("the child is ours")
    }

    /// Its end, if it comes in that time.
    pub async fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        within(patience, async || self.has_ended()).await
    }

    /// Ends whoever traces it, with a signal that cannot wait: strace that is asked to let go of many threads at once
    /// sometimes stands still, and so do they. Says whether nobody traces it any more.
    pub fn send_tracer_away(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map_or("0", str::trim);
        if tracer != "0" {
            // It is ours: it was started with this process, to trace it.
            let _ = Command::new("kill").args(["-KILL", tracer]).status();
        }
        tracer == "0"
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(sent.expect("there is a kill command").success(), "the process is gone");
    }

    /// SIGTERM, and its exit code.
    pub async fn stop(mut self, patience: Duration) -> i32 {
        self.signal("TERM");
        let ended = self.ended(patience).await.expect("it ends after SIGTERM");
        ended.code().unwrap_or(-1)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same command, started by another program: `strace …`, `prlimit …`.
pub fn under(wrapper: &[&str], command: &Command) -> Command {
    let (program, arguments) = wrapper.split_first().expect("a wrapper has a name");
    let mut whole = Command::new(program);
    whole.args(arguments).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        whole.env(name, value.unwrap_or_default());
    }
    whole
}

/// Whether there is such a program.
pub fn has(program: &str) -> bool {
    let found = Command::new("sh").arg("-c").arg(format!("command -v {program}")).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}
