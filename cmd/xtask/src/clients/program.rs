//! Programs that are here or not, run to their end or to a deadline.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::fleet::until;

/// Longer than any program here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Checks that programs are here, and names the packages of all that are not.
pub(super) fn needs(programs: &[(&str, &str)]) -> Result<()> {
    let is_here = |program: &str| {
        let asked =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok()
    };
    let mut missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !is_here(program)).map(|&(_, package)| package).collect();
    missing.sort_unstable();
    missing.dedup();
    ensure!(missing.is_empty(), "not here: apt-get install {}", missing.join(" "));
    Ok(())
}

/// Returns the first line that a program says about itself.
pub(super) fn version(program: &str) -> Result<String> {
    let said = run(Command::new(program).arg("--version"))?;
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

/// Runs a program and returns what it printed.
///
/// # Errors
/// It failed, and what it said; or it was not done in time.
pub(super) fn run(command: &mut Command) -> Result<String> {
    run_within(command, LIMIT)
}

/// As [`run`], with another deadline.
pub(super) fn run_within(command: &mut Command, limit: Duration) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (out, err) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    command.stdin(Stdio::null()).stdout(out.reopen()?).stderr(err.reopen()?);
    let mut child = Kept(command.spawn().with_context(|| name.clone())?);
    let status =
        until("end of the program", limit, || Ok(child.0.try_wait()?)).with_context(|| name.clone())?;
    let text = |file: &tempfile::NamedTempFile| -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(file.path())?).into_owned())
    };
    let (out, err) = (text(&out)?, text(&err)?);
    let last = err.trim().lines().last().unwrap_or_default();
    ensure!(status.success(), "{name} ended with {status}: {} {last}", out.trim());
    Ok(out)
}

/// A child that does not outlive its handle.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // Already gone is fine; there is nobody left to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
