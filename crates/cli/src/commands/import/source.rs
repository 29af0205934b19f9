//! What is imported: a file or standard input, gzipped or not, as numbered lines. Knows how far the
//! file has been read and what it is recognised by.

use crate::exit::Usage;
use crate::input::BOM;
use anyhow::{Context as _, Result, bail};
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An import is recognised by so much of the beginning of what it reads.
const FINGERPRINT_BYTES: u64 = 64 * 1_024;

/// An event has at most 16 MiB, and as base64 with its escapes not four times as much.
const LINE_BYTES_MAX: u64 = 64 * 1_024 * 1_024;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The first 16 bytes of the SHA-256 of the first [`FINGERPRINT_BYTES`] of the content, or of all.
pub(super) type Fingerprint = [u8; 16];

/// The lines of a file.
pub(super) struct Source {
    reader: Box<dyn BufRead + Send>,
    fingerprint: Fingerprint,
    consumed: Arc<AtomicU64>,
    size: Option<u64>,
    lines: Lines,
}

/// Lines that were read, and the hash of them: of their bytes, each with one `\n` at the end.
#[derive(Clone)]
pub(super) struct Lines {
    pub(super) count: u64,
    hash: Sha256,
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Self::read(io::stdin(), None).context("read standard input");
        }
        let named = |error: io::Error| Usage::new(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(named)?;
        let metadata = file.metadata().map_err(named)?;
        if metadata.is_dir() {
            return Err(named(io::ErrorKind::IsADirectory.into()).into());
        }
        let size = metadata.is_file().then_some(metadata.len());
        Self::read(file, size).with_context(|| format!("read {}", path.display()))
    }

    fn read(from: impl Read + Send + 'static, size: Option<u64>) -> Result<Self> {
        let consumed = Arc::new(AtomicU64::new(0));
        let counting = Counting {
            from,
            consumed: Arc::clone(&consumed),
        };
        let mut raw = BufReader::with_capacity(64 * 1_024, counting);
        let is_gzip = starts_with_magic(&mut raw)?;
        let mut content: Box<dyn Read + Send> = if is_gzip {
            Box::new(MultiGzDecoder::new(raw))
        } else {
            Box::new(raw)
        };
        let beginning = without_bom(&mut content)?;
        let hash = Sha256::digest(&beginning);
        let fingerprint = hash[..16].try_into().context("cut the hash")?;
        let reader = Cursor::new(beginning).chain(content);
        Ok(Self {
            reader: Box::new(BufReader::with_capacity(256 * 1_024, reader)),
            fingerprint,
            consumed,
            size,
            lines: Lines::none(),
        })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Bytes of the file as it lies on disk, where that is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes of them that were read.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    /// The lines that were read so far.
    pub(super) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Reads the next line to the end of `text`, with one `\n` at its end; `false` at the end.
    pub(super) fn next_line(&mut self, text: &mut Vec<u8>) -> Result<bool> {
        let (start, number) = (text.len(), self.lines.count + 1);
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', text);
        let read = read.with_context(|| format!("the file breaks off in line {number}"))?;
        if read == 0 {
            return Ok(false);
        }
        if text.last() != Some(&b'\n') {
            if read as u64 == LINE_BYTES_MAX {
                bail!("line {number} is longer than {LINE_BYTES_MAX} bytes");
            }
            text.push(b'\n');
        }
        self.lines.add(&text[start..]);
        Ok(true)
    }
}

/// The beginning of the content, without the byte order mark that some programs put before UTF-8.
fn without_bom(content: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    let mut read = |count, beginning: &mut Vec<u8>| content.take(count).read_to_end(beginning);
    read(BOM.len() as u64, &mut beginning)?;
    if beginning == BOM {
        beginning.clear();
    }
    read(FINGERPRINT_BYTES - beginning.len() as u64, &mut beginning)?;
    Ok(beginning)
}

fn starts_with_magic(raw: &mut impl BufRead) -> io::Result<bool> {
    Ok(raw.fill_buf()?.starts_with(&GZIP_MAGIC))
}

impl Lines {
    pub(super) fn none() -> Self {
        Self {
            count: 0,
            hash: Sha256::new(),
        }
    }

    /// Adds whole lines.
    pub(super) fn add(&mut self, text: &[u8]) {
        self.count += text.split_inclusive(|byte| *byte == b'\n').count() as u64;
        self.hash.update(text);
    }

    /// The hash of all lines so far, in hexadecimal digits.
    pub(super) fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes all text");
    }
    text
}

/// Counts what is read.
struct Counting<R> {
    from: R,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.consumed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn source(bytes: &[u8]) -> Source {
        Source::read(Cursor::new(bytes.to_vec()), None).unwrap()
    }

    fn lines(mut source: Source) -> (Vec<String>, String) {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            if !source.next_line(&mut line).unwrap() {
                return (lines, source.lines().sha256());
            }
            lines.push(String::from_utf8(line).unwrap());
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn the_same_content_is_the_same_import_gzipped_or_not() {
        let text = "a\n\nb".repeat(50_000);
        let (plain, gzipped) = (source(text.as_bytes()), source(&gzip(text.as_bytes())));
        assert_eq!(plain.fingerprint(), gzipped.fingerprint());
        let read = lines(plain);
        assert_eq!(read.0[..3], ["a\n", "\n", "ba\n"]);
        assert_eq!(read, lines(gzipped));
        assert_ne!(source(b"a").fingerprint(), source(b"b").fingerprint());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_content() {
        let text = "a\nb".repeat(50_000);
        let marked = ["\u{feff}", &text].concat();
        for marked in [source(marked.as_bytes()), source(&gzip(marked.as_bytes()))] {
            let plain = source(text.as_bytes());
            assert_eq!(marked.fingerprint(), plain.fingerprint());
            assert_eq!(lines(marked), lines(plain));
        }
        assert_eq!(lines(source("\u{feff}".as_bytes())).0.len(), 0);
        assert_eq!(lines(source(b"a")).0, ["a\n"]);
    }

    #[test]
    fn the_hash_is_that_of_the_lines_however_they_are_added() {
        let (_, hash) = lines(source(b"a\nb\nc"));
        let mut added = Lines::none();
        added.add(b"a\nb\n");
        added.add(b"c\n");
        assert_eq!((added.count, added.sha256()), (3, hash));
    }

    #[test]
    fn a_cut_gzip_file_is_an_error_that_names_the_line() {
        let text: Vec<_> = (0..100_000).map(|n| n.to_string()).collect();
        let whole = gzip(text.join("\n").as_bytes());
        let mut source = source(&whole[..whole.len() - 1_000]);
        let mut line = Vec::new();
        let error = loop {
            line.clear();
            match source.next_line(&mut line) {
                Ok(true) => {}
                Ok(false) => panic!("it ended"),
                Err(error) => break format!("{error:#}"),
            }
        };
        assert!(error.starts_with("the file breaks off in line "), "{error}");
    }
}
