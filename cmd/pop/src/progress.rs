//! How far a command is: a bar on a terminal, JSON lines with `--json`, a line for each stage otherwise; all on stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pop_rpc::Progress;

use crate::output::{self, Output};

/// The pause between two JSON lines of one stage: programs want to know, not to drown.
const PAUSE: Duration = Duration::from_millis(200);

/// Shows the progress of one command.
pub(crate) struct Meter {
    form: Form,
    stage: String,
    told: Option<Instant>,
}

enum Form {
    Silent,
    Json,
    Lines,
    Bar(ProgressBar),
}

impl Meter {
    pub(crate) fn new(output: Output) -> Self {
        let form = match (output.quiet, output.json, std::io::stderr().is_terminal()) {
            (true, _, _) => Form::Silent,
            (_, true, _) => Form::Json,
            (_, _, false) => Form::Lines,
            (_, _, true) => Form::Bar(empty_bar()),
        };
        Self { form, stage: String::new(), told: None }
    }

    /// Shows a bar where there is a terminal, and nothing anywhere else.
    pub(crate) fn bar_only(output: Output) -> Self {
        let mut meter = Self::new(output);
        if !matches!(meter.form, Form::Bar(_)) {
            meter.form = Form::Silent;
        }
        meter
    }

    /// Takes one report.
    pub(crate) fn on_progress(&mut self, report: Progress) {
        let new = self.stage != report.stage;
        if new {
            self.stage.clone_from(&report.stage);
        }
        match &self.form {
            Form::Silent => {}
            Form::Json => self.tell_json(new, &report),
            Form::Lines => match &report.note {
                Some(note) => output::aside(note),
                None if new => output::aside(&report.stage),
                None => {}
            },
            Form::Bar(bar) => draw(bar, new, &report),
        }
    }

    fn tell_json(&mut self, new: bool, report: &Progress) {
        let ends = report.total == Some(report.done);
        let due = self.told.is_none_or(|told| told.elapsed() >= PAUSE);
        if (new || ends || due || report.note.is_some())
            && let Ok(line) = serde_json::to_string(report)
        {
            output::aside(&line);
            self.told = Some(Instant::now());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

/// Makes a bar that shows nothing until the first stage says what there is to show.
fn empty_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

fn draw(bar: &ProgressBar, new: bool, report: &Progress) {
    if let Some(note) = &report.note {
        bar.println(note);
        return;
    }
    if new {
        let template = match report.total {
            Some(_) => {
                "{msg:10} [{bar:30}] {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta}"
            }
            None => "{msg:10} {spinner} {binary_bytes}  {binary_bytes_per_sec}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(report.stage.clone());
        bar.reset();
    }
    if let Some(total) = report.total {
        bar.set_length(total);
    }
    bar.set_position(report.done);
}
