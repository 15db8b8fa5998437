//! Where a report goes: standard output, or a file that is put in place when it is complete.
//!
//! Promises: what was in place of the file stays until the new content is on disk; a reader who closed the pipe had
//! enough, so that is no error.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::ReportError;

/// Fails where [`write()`] would, before the time is spent on reading what could not be written.
pub(super) fn probe(path: Option<&Path>) -> Result<(), ReportError> {
    let Some(path) = path else { return Ok(()) };
    if path.is_dir() {
        return Err(failed(path, io::Error::from(io::ErrorKind::IsADirectory)));
    }
    beside(path).map(drop).map_err(|error| failed(path, error))
}

/// Writes a whole report, to standard output if there is no path.
pub(super) fn write(path: Option<&Path>, content: &[u8]) -> Result<(), ReportError> {
    match path {
        None => written_to_stdout(to_stdout(content)),
        Some(path) => to_file(path, content).map_err(|error| failed(path, error)),
    }
}

/// What to make of the result of writing to standard output.
pub(super) fn written_to_stdout(result: io::Result<()>) -> Result<(), ReportError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ReportError::Write { path: None, error })
        }
        _ => Ok(()),
    }
}

pub(super) fn failed(path: &Path, error: io::Error) -> ReportError {
    ReportError::Write { path: Some(path.to_owned()), error }
}

fn to_stdout(content: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(content)?;
    stdout.flush()
}

fn to_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let (mut file, path) = beside(path)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}

/// An empty file that goes away by itself, and the path that it is meant for.
fn beside(path: &Path) -> io::Result<(NamedTempFile, PathBuf)> {
    let path = target(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cryptolens-report-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file: the process's umask takes away from it. An existing file keeps what it has.
        let existing = std::fs::metadata(&path).map(|metadata| metadata.permissions());
        builder.permissions(existing.unwrap_or(std::fs::Permissions::from_mode(0o666)));
    }
    let file = builder.tempfile_in(directory).map_err(without_path)?;
    Ok((file, path))
}

/// What went wrong, without the name of a file that nobody asked for.
fn without_path(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, "there is no such directory"),
        kind => kind.into(),
    }
}

/// The file that a symbolic link stands for, so that the link stays.
pub(super) fn target(path: &Path) -> io::Result<PathBuf> {
    if path.is_symlink() { std::fs::canonicalize(path) } else { Ok(path.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.txt");
        write(Some(&path), b"long old content").unwrap();
        write(Some(&path), b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn a_directory_that_does_not_exist_is_told() {
        let path = Some(Path::new("/no/such/report.txt"));
        for error in [probe(path).unwrap_err(), write(path, b"x").unwrap_err()] {
            let text = error.to_string();
            assert_eq!(text, "cannot write /no/such/report.txt: there is no such directory");
            assert_eq!(error.exit_code(), 1);
        }
        assert!(probe(Some(&std::env::temp_dir())).is_err());
    }

    #[test]
    fn a_closed_pipe_is_success() {
        assert!(written_to_stdout(Err(io::Error::from(io::ErrorKind::BrokenPipe))).is_ok());
        assert!(written_to_stdout(Err(io::Error::from(io::ErrorKind::StorageFull))).is_err());
    }
}
