//! The sources of configuration: variables and files, behind a trait so that tests can use a map.
//!
//! Promises that nothing else in [`crate::config`] touches the process environment or the disk.

use std::io;
use std::path::Path;

use crate::text_file;

/// Variables and files that configuration may come from.
pub trait Environment {
    /// The value of a variable, if it is set.
    fn var(&self, name: &str) -> Option<String>;

    /// The text of a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not UTF-8 text.
    fn read_file(&self, path: &Path) -> io::Result<String>;

    /// The name of this host, if it has one.
    fn host_name(&self) -> Option<String> {
        None
    }
}

/// The environment of this process, and its disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        // A value that is no UTF-8 becomes one that validation refuses, rather than one that seems
        // absent.
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        text_file::read(path)
    }

    fn host_name(&self) -> Option<String> {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Some(name).filter(|name| !name.is_empty())
    }
}

/// A set variable; one that is set to nothing counts as absent, as templates of charts and units
/// leave such behind.
pub(super) fn set_variable(environment: &dyn Environment, name: &str) -> Option<String> {
    environment.var(name).filter(|value| !value.is_empty())
}

/// The reason that a file cannot be read, in the same words on every system where that is possible.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// An environment of these variables, without a file or a name.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Variables(std::collections::BTreeMap<&'static str, &'static str>);

#[cfg(test)]
impl From<&[(&'static str, &'static str)]> for Variables {
    fn from(variables: &[(&'static str, &'static str)]) -> Variables {
        Variables(variables.iter().copied().collect())
    }
}

#[cfg(test)]
impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn read_file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}
