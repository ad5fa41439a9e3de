//! The file `config.toml`: written with every setting explained, edited without losing a comment.

use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, value};

use super::layer::{ConfigError, row};
use super::{ROWS, Row};
use crate::repo::write_private;

/// Why the file cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The key or the value is wrong, or the file is.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Writes `path` with every setting explained and commented out, and with `chosen` ones set.
///
/// # Errors
/// A chosen key or value is wrong, or the file cannot be written.
pub fn write_default_commented(path: &Path, chosen: &[(&str, String)]) -> Result<(), WriteError> {
    let mut text = String::from(
        "# Settings of this pop. A line without # is chosen, the others show the default.\n\
         # POP_* variables and flags of `pop start` come after this file.\n",
    );
    for (key, _) in chosen {
        row(key, "choices")?;
    }
    for row in ROWS {
        text.push('\n');
        row.doc.lines().for_each(|line| text.push_str(&format!("#{line}\n")));
        match chosen.iter().find(|(key, _)| *key == row.key) {
            Some((_, value)) => text.push_str(&format!("{} = {}\n", row.key, checked(row, value)?)),
            None => text.push_str(&format!("# {} = {}\n", row.key, item(row, row.default))),
        }
    }
    write_private(path, text.as_bytes()).map_err(|source| WriteError::Io { path: path.to_owned(), source })
}

/// Sets one key of the file, all or nothing, and keeps everything else in it as it is.
///
/// # Errors
/// The key or the value is wrong, or the file cannot be read or written.
pub fn set(path: &Path, key: &str, text: &str) -> Result<(), WriteError> {
    let io = |source| WriteError::Io { path: path.to_owned(), source };
    let row = row(&key.replace('-', "_"), "config.toml")?;
    let chosen = checked(row, text)?;
    let old = match std::fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(io(error)),
    };
    let mut document: DocumentMut =
        old.parse().map_err(|error: toml_edit::TomlError| ConfigError::Syntax(error.to_string()))?;
    match document.get_mut(row.key).and_then(Item::as_value_mut) {
        // Keeps a comment behind the old value.
        Some(old) => {
            let decor = old.decor().clone();
            *old = chosen;
            *old.decor_mut() = decor;
        }
        None => document[row.key] = value(chosen),
    }
    write_private(path, document.to_string().as_bytes()).map_err(io)
}

fn checked(row: &Row, text: &str) -> Result<toml_edit::Value, ConfigError> {
    row.check(text).map_err(|why| ConfigError::BadValue {
        key: row.key,
        origin: super::Origin::File,
        why,
    })?;
    Ok(item(row, text))
}

fn item(row: &Row, text: &str) -> toml_edit::Value {
    match row.many {
        true => {
            let parts = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty());
            parts.collect::<Array>().into()
        }
        false => text.into(),
    }
}
