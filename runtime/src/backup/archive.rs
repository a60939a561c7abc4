//! The archive: files one after the other, and at the end a manifest of them. `tar` is named in this file only.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{self, Read, Write};

use super::Error;

/// The name of the manifest, the last file.
const MANIFEST: &str = "MANIFEST";
/// How many files are read, at most: their names are held until the end.
const FILES_MAX: u64 = 1 << 20;
/// How many zeros may stand behind the last file: some tools fill a block of theirs.
const PADDING_MAX: u64 = 64 << 10;
/// How much longer than expected a manifest is read, to say where it differs.
const MANIFEST_SPARE: u64 = 4 << 10;

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// How many files.
    pub files: u64,
    /// Their bytes in sum.
    pub bytes: u64,
}

/// The manifest so far: what it says of the files, in order. About 60 bytes for each file of up to a MiB or more.
#[derive(Default)]
struct Manifest {
    lines: String,
    summary: Summary,
}

impl Manifest {
    fn add(&mut self, name: &str, crc: u32, length: u64) {
        // Writing to memory does not fail.
        let _written = writeln!(self.lines, "{crc:08x} {length} {name}");
        self.summary.files += 1;
        self.summary.bytes += length;
    }

    fn end(&self) -> String {
        format!("{}end {}\n", self.lines, self.summary.files)
    }
}

/// Writes an archive.
pub(crate) struct Packer<W: Write> {
    tar: tar::Builder<W>,
    manifest: Manifest,
}

impl<W: Write> Packer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { tar: tar::Builder::new(out), manifest: Manifest::default() }
    }

    /// Adds a file of exactly this length.
    pub(crate) fn add(&mut self, name: &str, length: u64, content: impl Read) -> io::Result<()> {
        let mut content = Checked::new(content.take(length));
        self.append(name, length, &mut content)?;
        if content.length < length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{name} became shorter meanwhile"),
            ));
        }
        self.manifest.add(name, content.crc.finalize(), length);
        Ok(())
    }

    /// Adds the manifest, and ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let manifest = self.manifest.end();
        self.append(MANIFEST, manifest.len() as u64, manifest.as_bytes())?;
        let mut out = self.tar.into_inner()?;
        out.flush()?;
        Ok(out)
    }

    fn append(&mut self, name: &str, length: u64, content: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(length);
        header.set_mode(0o600);
        self.tar.append_data(&mut header, name, content)
    }
}

/// Takes a file: its name, its length and its content.
pub(crate) type Visit<'a> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<(), Error> + 'a;

/// Reads an archive to its end and shows each file with its length. What was shown counts only if the answer is good.
///
/// # Errors
/// [`Error::CutOff`], [`Error::Damaged`], and those of `visit`.
pub(crate) fn unpack(from: impl Read, visit: &mut Visit<'_>) -> Result<Summary, Error> {
    let is_over = Cell::new(false);
    let mut archive = tar::Archive::new(Watched { from, is_over: &is_over });
    let unread = |files, error| unread(is_over.get(), files, error);
    let mut manifest = Manifest::default();
    let mut has_ended = false;
    // Raw: no extension of the format is understood. Names are short, and one of those would be read as a whole.
    for entry in archive.entries().map_err(Error::io("reading the backup"))?.raw(true) {
        let files = manifest.summary.files;
        let entry = entry.map_err(|error| unread(files, error))?;
        let length = entry.size();
        let name = entry.path_bytes();
        let name =
            std::str::from_utf8(&name).map_err(|_| Error::damaged("?", "its name is no text"))?.to_owned();
        if has_ended {
            return Err(Error::damaged(&name, "it stands behind the manifest"));
        }
        let mut content = Checked::new(entry);
        if name == MANIFEST {
            let (mut found, expected) = (String::new(), manifest.end());
            let most = expected.len() as u64 + MANIFEST_SPARE;
            content.by_ref().take(most).read_to_string(&mut found).map_err(|error| unread(files, error))?;
            has_ended = compare(&found, &expected)?;
            continue;
        }
        if files >= FILES_MAX {
            return Err(Error::damaged(
                &name,
                format!("it comes after {FILES_MAX} files, which is the most"),
            ));
        }
        visit(&name, length, &mut content).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
                unread(files, source)
            }
            other => other,
        })?;
        io::copy(&mut content, &mut io::sink()).map_err(|error| unread(files, error))?;
        if content.length < length {
            return Err(Error::CutOff { files });
        }
        manifest.add(&name, content.crc.finalize(), length);
    }
    let summary = manifest.summary;
    if !has_ended {
        return Err(Error::CutOff { files: summary.files });
    }
    padding(archive.into_inner())?;
    Ok(summary)
}

/// Reads what stands behind the last file: blocks of zeros, of which the format has two at least.
fn padding(from: impl Read) -> Result<(), Error> {
    let mut bytes = Vec::new();
    from.take(PADDING_MAX + 1).read_to_end(&mut bytes).map_err(Error::io("reading the backup"))?;
    match bytes.len() as u64 <= PADDING_MAX && bytes.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(Error::damaged("the archive", "something stands behind its end")),
    }
}

/// Whether the manifest says what was read: it does, or there is an error that names the first file that differs.
fn compare(said: &str, read: &str) -> Result<bool, Error> {
    if said == read {
        return Ok(true);
    }
    let differs = said.lines().zip(read.lines()).find(|(said, read)| said != read);
    let name = differs.and_then(|(_, read)| read.rsplit(' ').next()).unwrap_or(MANIFEST);
    Err(Error::damaged(name, "its checksum is not the manifest's"))
}

/// What a read that failed means, when the archive was read to its end or not.
fn unread(is_over: bool, files: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::CutOff { files },
        // So the reader of tar says that it does not understand what it read.
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if is_over => {
            Error::CutOff { files }
        }
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::damaged("the archive", error.to_string())
        }
        _ => Error::io("reading the backup")(error),
    }
}

/// Notes that its end was read.
struct Watched<'a, R> {
    from: R,
    is_over: &'a Cell<bool>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        if length == 0 && !buffer.is_empty() {
            self.is_over.set(true);
        }
        Ok(length)
    }
}

/// Reads, and knows checksum and length of what was read.
struct Checked<R> {
    from: R,
    crc: crc32fast::Hasher,
    length: u64,
}

impl<R: Read> Checked<R> {
    fn new(from: R) -> Self {
        Self { from, crc: crc32fast::Hasher::new(), length: 0 }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        self.crc.update(&buffer[..length]);
        self.length += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut packer = Packer::new(Vec::new());
        packer.add("one", 5, &b"first"[..]).unwrap();
        packer.add("two/three", 0, &b""[..]).unwrap();
        packer.add("two/four", 2_000, io::repeat(7)).unwrap();
        packer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<(Summary, Vec<String>), Error> {
        let mut names = Vec::new();
        let summary = unpack(bytes, &mut |name, _, _| {
            names.push(name.to_owned());
            Ok(())
        })?;
        Ok((summary, names))
    }

    #[test]
    fn what_was_packed_is_unpacked_in_order() {
        let (summary, names) = read(&archive()).unwrap();

        assert_eq!(summary, Summary { files: 3, bytes: 2_005 });
        assert_eq!(names, ["one", "two/three", "two/four"]);
    }

    #[test]
    fn wherever_an_archive_is_cut_off_it_is_refused() {
        let bytes = archive();
        // Behind the manifest there are only zeros, which end a tar archive.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();

        for length in 0..=end {
            let refused = read(&bytes[..length]).unwrap_err();
            assert!(matches!(refused, Error::CutOff { .. } | Error::Damaged { .. }), "{length}: {refused}");
        }
    }

    #[test]
    fn any_flipped_bit_of_a_file_or_its_name_is_found() {
        let bytes = archive();
        for at in [0, 1, 513, 514, 3 * 512 + 4, 5 * 512 + 77] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_archive_is_read_to_its_end_and_nothing_stands_behind_that() {
        let archive = archive();
        let mut from = archive.as_slice();

        unpack(&mut from, &mut |_, _, _| Ok(())).unwrap();

        assert!(from.is_empty(), "{} bytes are left", from.len());
        assert!(read(&[&archive[..], &[0; 9_000]].concat()).is_ok());
        assert!(read(&[&archive[..], b"more"].concat()).is_err());
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error() {
        let mut packer = Packer::new(Vec::new());

        assert!(packer.add("short", 9, &b"first"[..]).is_err());
    }
}
