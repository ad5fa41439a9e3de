//! What goes to stdout and stderr: one JSON document for programs, short aligned text for people.

use std::io::{self, Write};

use serde::Serialize;

/// How results are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// One JSON document on stdout.
    pub(crate) json: bool,
    /// No progress, no remarks.
    pub(crate) quiet: bool,
}

impl Output {
    /// Shows a result.
    pub(crate) fn show<T: Serialize>(self, result: &T, people: impl FnOnce(&T) -> String) {
        match self.json {
            true => document(result),
            false => text(&people(result)),
        }
    }
}

/// Writes one JSON document to stdout.
pub(crate) fn document<T: Serialize>(value: &T) {
    match serde_json::to_string(value) {
        Ok(line) => text(&line),
        Err(error) => aside(&format!("error: the result is no JSON: {error}")),
    }
}

/// Writes text to stdout and ends its line.
pub(crate) fn text(text: &str) {
    write(io::stdout().lock(), text);
}

/// Writes a line to stderr.
pub(crate) fn aside(text: &str) {
    write(io::stderr().lock(), text);
}

fn write(mut to: impl Write, text: &str) {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    // A reader that has seen enough (`pop list | head -1`) is no failure of the command.
    let _ = write!(to, "{text}{end}").and_then(|()| to.flush());
}

/// Returns a URL as people read it: an address that stands for all says so.
pub(crate) fn url(url: &str) -> String {
    match url.contains("//0.0.0.0:") || url.contains("//[::]:") {
        true => format!("{url} (all addresses)"),
        false => url.to_owned(),
    }
}

/// Aligns rows into columns, two spaces apart.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width =
        |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Aligns names and values.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["key", "size"], &rows), "key   size\na     1\nlong  2\n");
        assert_eq!(fields(&[("a", "x".to_owned()), ("bc", "y".to_owned())]), "a   x\nbc  y\n");
    }
}
