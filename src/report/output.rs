//! Where an answer goes: standard output, a file that is put in place when it is complete, or
//! something that is no file.
//!
//! Promises: what was in place of a file stays until the new content is on disk. What is no regular
//! file (a device, a FIFO, `/dev/stdout`, `>(...)`) is opened and written to, and never replaced. A
//! file that cannot be replaced because it is mounted by itself is written in place from the
//! finished temporary file, which goes when the copy is on disk. Files with full identities are
//! readable by their owner only. A reader who closed the pipe had enough, so that is no error.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::error::ReportError;

/// How often a FIFO is looked at until somebody reads it.
const FIFO_POLL: Duration = Duration::from_millis(50);

/// Where an answer goes.
#[derive(Debug, Clone)]
pub(super) struct Output {
    /// As it was typed; none for standard output.
    path: Option<PathBuf>,
    destination: Destination,
    /// Readable by the owner only.
    private: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Destination {
    Stdout,
    Stderr,
    /// Something that exists and is no regular file, or a descriptor of this process.
    Stream(PathBuf),
    /// A regular file, or none yet. Links are resolved, so that they stay.
    File(PathBuf),
}

impl Output {
    /// Looks at the path, and fails where [`Output::write`] would, before the time is spent on
    /// reading what could not be written. `private` makes a file that only its owner may read.
    pub(super) fn new(path: Option<&Path>, private: bool) -> Result<Output, ReportError> {
        let Some(path) = path else {
            return Ok(Output { path: None, destination: Destination::Stdout, private });
        };
        let destination = destination(path).map_err(|error| failed(path, error))?;
        let output = Output { path: Some(path.to_owned()), destination, private };
        if let Destination::File(target) = &output.destination {
            probe(target).map_err(|error| failed(path, error))?;
        }
        Ok(output)
    }

    /// The regular file to write; none for a stream.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.destination {
            Destination::File(path) => Some(path),
            Destination::Stdout | Destination::Stderr | Destination::Stream(_) => None,
        }
    }

    /// True for a file that only its owner may read.
    pub(super) const fn is_private(&self) -> bool {
        self.private
    }

    /// Writes a whole answer.
    pub(super) async fn write(&self, content: &[u8]) -> Result<(), ReportError> {
        match &self.destination {
            Destination::File(target) => {
                to_file(target, content, self.private).map_err(|error| self.failed(error))
            }
            _ => {
                let mut stream = self.stream().await?;
                self.streamed(stream.write_all(content).and_then(|()| stream.flush()))
            }
        }
    }

    /// The stream, where there is no file to put in place.
    pub(super) async fn stream(&self) -> Result<Box<dyn Write>, ReportError> {
        match &self.destination {
            Destination::Stdout => Ok(Box::new(io::stdout())),
            Destination::Stderr => Ok(Box::new(io::stderr())),
            Destination::Stream(path) | Destination::File(path) => {
                let stream = open_stream(path).await.map_err(|error| self.failed(error))?;
                Ok(Box::new(stream))
            }
        }
    }

    /// Judges the result of writing to a stream.
    pub(super) fn streamed(&self, result: io::Result<()>) -> Result<(), ReportError> {
        match result {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    pub(super) fn failed(&self, error: io::Error) -> ReportError {
        ReportError::Write { path: self.path.clone(), error }
    }
}

pub(super) fn failed(path: &Path, error: io::Error) -> ReportError {
    ReportError::Write { path: Some(path.to_owned()), error }
}

/// The kind of thing that a path names. A descriptor of a process is recognised by its name,
/// because it may stand for a regular file: to replace the file behind `/dev/stdout` would take it
/// from those who write there too.
fn destination(path: &Path) -> io::Result<Destination> {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Some(descriptor) = descriptor(&at) {
            return Ok(match descriptor {
                Some(1) => Destination::Stdout,
                Some(2) => Destination::Stderr,
                _ => Destination::Stream(at),
            });
        }
        if !at.is_symlink() {
            break;
        }
        let link = std::fs::read_link(&at)?;
        at = directory_of(&at).join(link);
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => Ok(Destination::Stream(path.to_owned())),
        Ok(_) if path.is_symlink() => std::fs::canonicalize(path).map(Destination::File),
        // A link to a file that is still to be made.
        Err(_) if path.is_symlink() => Ok(Destination::File(at)),
        _ => Ok(Destination::File(path.to_owned())),
    }
}

/// As many as Linux follows.
const MOST_LINKS: u32 = 40;

/// If the path names a descriptor: its number, where it is one of this process.
fn descriptor(path: &Path) -> Option<Option<u32>> {
    let directory = std::fs::canonicalize(directory_of(path)).ok()?;
    let number: u32 = path.file_name()?.to_str()?.parse().ok()?;
    let process = directory.strip_prefix("/proc").ok()?;
    if !process.ends_with("fd") {
        return None;
    }
    let own = process.starts_with(std::process::id().to_string());
    Some(Some(number).filter(|_| own))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens what is no regular file. To open a FIFO blocks until somebody reads it, and nothing could
/// end that.
async fn open_stream(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A descriptor that stands for a regular file is written to at its end.
    options.append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};

        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        if std::fs::metadata(path)?.file_type().is_fifo() {
            let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
            options.custom_flags(flags);
            let fifo = loop {
                match options.open(path) {
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
                        tokio::time::sleep(FIFO_POLL).await;
                    }
                    opened => break opened?,
                }
            };
            fcntl_setfl(&fifo, fcntl_getfl(&fifo)? - OFlags::NONBLOCK)?;
            return Ok(fifo);
        }
    }
    options.open(path)
}

fn to_file(target: &Path, content: &[u8], private: bool) -> io::Result<()> {
    let mut file = temporary(target, private)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    let (_, finished) = file.keep().map_err(|error| error.error)?;
    let put = put_in_place(&finished, target, private);
    if put.is_err() && !target.is_file() {
        let _ = std::fs::remove_file(&finished);
    }
    put
}

/// Renames a finished file, which is on disk, over the target, or copies it where that is
/// impossible. It goes when it is in place; where the copy fails, it stays, and the error says
/// where.
pub(super) fn put_in_place(finished: &Path, target: &Path, private: bool) -> io::Result<()> {
    let renamed = std::fs::rename(finished, target);
    if renamed.is_ok() {
        // The name of a file is kept by its directory.
        return File::open(directory_of(target)).and_then(|directory| directory.sync_all());
    }
    if !target.is_file() {
        return renamed;
    }
    let copied = copy_in_place(finished, target, private);
    if let Err(error) = copied {
        let kept = format!("{error}; the complete content is kept in {}", finished.display());
        return Err(io::Error::new(error.kind(), kept));
    }
    std::fs::remove_file(finished)
}

fn copy_in_place(finished: &Path, target: &Path, private: bool) -> io::Result<()> {
    let mut from = File::open(finished)?;
    let to = OpenOptions::new().write(true).open(target)?;
    if private {
        make_private(&to)?;
    }
    let length = io::copy(&mut from, &mut &to)?;
    to.set_len(length)?;
    to.sync_all()
}

/// Takes an open file from everybody but its owner.
pub(super) fn make_private(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// Fails where [`temporary`] would. What it makes has no name, and goes even if the process is
/// killed.
fn probe(target: &Path) -> io::Result<()> {
    match tempfile::tempfile_in(directory_of(target)) {
        Err(_) => temporary(target, true).map(drop),
        Ok(_) => Ok(()),
    }
}

/// An empty file that goes away by itself: beside the target, or, where nothing can be made there,
/// where the target can be written in place, among the system's temporary files.
fn temporary(target: &Path, private: bool) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cryptolens-report-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file: the process's umask takes away from it. An existing file keeps what it
        // has.
        let existing = std::fs::metadata(target).map(|metadata| metadata.permissions());
        let usual = existing.unwrap_or(Permissions::from_mode(0o666));
        builder.permissions(if private { Permissions::from_mode(0o600) } else { usual });
    }
    let beside = builder.tempfile_in(directory_of(target));
    if beside.is_err() && target.is_file() && OpenOptions::new().write(true).open(target).is_ok() {
        return builder.tempfile().map_err(without_path);
    }
    beside.map_err(without_path)
}

/// The error without the name of a temporary file, which the user did not ask for.
fn without_path(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, "there is no such directory"),
        kind => kind.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, content: &[u8], private: bool) -> Result<(), ReportError> {
        let output = Output::new(Some(path), private)?;
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(output.write(content))
    }

    fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.txt");
        write(&path, b"long old content", false).unwrap();
        write(&path, b"new", false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn a_directory_that_does_not_exist_is_reported() {
        let path = Path::new("/no/such/report.txt");
        let error = Output::new(Some(path), false).unwrap_err();
        assert_eq!(error.to_string(), "cannot write /no/such/report.txt: there is no such directory");
        assert_eq!(error.exit_code(), 1);
        assert!(Output::new(Some(&std::env::temp_dir()), false).is_err());
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let output = Output::new(None, false).unwrap();
        assert!(output.streamed(Err(io::Error::from(io::ErrorKind::BrokenPipe))).is_ok());
        assert!(output.streamed(Err(io::Error::from(io::ErrorKind::StorageFull))).is_err());
    }

    #[test]
    fn a_file_with_full_identities_is_for_its_owner_only_even_where_a_wider_one_is_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.txt");
        write(&path, b"new", true).unwrap();
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write(&path, b"masked", false).unwrap();
        assert_eq!(mode(&path), 0o644);
        write(&path, b"full", true).unwrap();
        assert_eq!(mode(&path), 0o600);
        // Where it is written in place too.
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let finished = directory.path().join("finished");
        std::fs::write(&finished, b"full").unwrap();
        copy_in_place(&finished, &path, true).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn what_names_a_descriptor_or_a_device_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        for (path, expected) in [
            ("/dev/stdout", Destination::Stdout),
            ("/dev/fd/1", Destination::Stdout),
            ("/proc/self/fd/2", Destination::Stderr),
            ("/dev/null", Destination::Stream("/dev/null".into())),
        ] {
            assert_eq!(destination(Path::new(path)).unwrap(), expected, "{path}");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(path, &link).unwrap();
            let by_link = destination(&link).unwrap();
            assert!(by_link == expected || by_link == Destination::Stream(link.clone()), "{path}");
        }
        let file = directory.path().join("1");
        assert_eq!(destination(&file).unwrap(), Destination::File(file.clone()));
        // A link to what is not there yet is followed, and stays.
        let dangling = directory.path().join("dangling");
        std::os::unix::fs::symlink("1", &dangling).unwrap();
        write(&dangling, b"x", false).unwrap();
        assert!(dangling.is_symlink() && file.is_file());
    }

    #[test]
    fn a_file_that_cannot_be_renamed_over_is_written_in_place_from_the_finished_one() {
        let directory = tempfile::tempdir().unwrap();
        let (finished, target) = (directory.path().join("finished"), directory.path().join("target"));
        std::fs::write(&finished, b"new").unwrap();
        std::fs::write(&target, b"long old content").unwrap();
        copy_in_place(&finished, &target, false).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert!(finished.exists(), "it goes when the copy is on disk");
        // Another file system, where there is one: a rename gives EXDEV.
        let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
        let target = elsewhere.path().join("target");
        std::fs::write(&target, b"long old content").unwrap();
        put_in_place(&finished, &target, false).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert!(!finished.exists());
    }
}
