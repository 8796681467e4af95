//! Unpacking of layers: decompression and digest on one thread, files on another.

mod files;
mod view;

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest as _, Sha256};

pub use view::{Found, View, opaque};
pub(crate) use view::{is_whiteout, steps};

use crate::{Digest, Error, Result};

/// What came out of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest of the plain tar.
    pub diff_id: Digest,
    /// Entries.
    pub entries: u64,
}

/// Unpacks a layer (plain, gzip or zstd; told by its first bytes) into the empty directory `root`,
/// in overlayfs' form: a whiteout becomes a character device 0/0, an opaque directory gets
/// `trusted.overlay.opaque`. `below` is what lies under it.
pub fn layer(blob: impl Read + Send, root: &Path, below: &View) -> Result<Unpacked> {
    run(blob, root, below, files::Whiteouts::Convert)
}

/// Unpacks an archive that is no layer (a build context, an `ADD`): names that look like whiteouts
/// are plain names.
pub fn archive(blob: impl Read + Send, root: &Path) -> Result<Unpacked> {
    run(blob, root, &View::new(Vec::new()), files::Whiteouts::Keep)
}

fn run(
    blob: impl Read + Send,
    root: &Path,
    below: &View,
    whiteouts: files::Whiteouts,
) -> Result<Unpacked> {
    let (sender, receiver) = sync_channel(16);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || read(blob, &sender));
        let mut stream = Chunks { receiver, chunk: Vec::new(), at: 0 };
        let written = files::unpack(&mut stream, root, below, whiteouts);
        // What follows the end of the archive counts for the digest.
        let written = written.and_then(|entries| {
            io::copy(&mut stream, &mut io::sink())
                .map_err(|e| Error::invalid(e.to_string()))
                .map(|_| entries)
        });
        drop(stream);
        let diff_id = reading.join().map_err(|_| Error::invalid("the decompressor failed"))?;
        Ok(Unpacked { entries: written?, diff_id })
    })
}

/// Whether it is a tar, compressed or not.
pub(crate) fn is_tar(blob: impl Read + Send) -> io::Result<bool> {
    let mut head = Vec::new();
    // What cannot be decompressed is none.
    let read = decompress(blob)?.take(512).read_to_end(&mut head);
    Ok(read.is_ok() && head.get(257..262) == Some(b"ustar"))
}

/// First bytes of a gzip stream.
pub const GZIP: [u8; 2] = [0x1f, 0x8b];
/// First bytes of a zstd stream.
pub const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The plain bytes of a stream.
pub fn decompress<'a>(blob: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut blob = BufReader::with_capacity(256 << 10, blob);
    let head = blob.fill_buf()?;
    Ok(if head.starts_with(&GZIP) {
        Box::new(flate2::bufread::MultiGzDecoder::new(blob))
    } else if head.starts_with(&ZSTD) {
        Box::new(zstd::stream::read::Decoder::with_buffer(blob)?)
    } else {
        Box::new(blob)
    })
}

fn read(blob: impl Read + Send, sender: &SyncSender<io::Result<Vec<u8>>>) -> Digest {
    let mut hash = Sha256::new();
    let failed = (|| -> io::Result<()> {
        let mut plain = decompress(blob)?;
        loop {
            let mut chunk = Vec::with_capacity(256 << 10);
            plain.by_ref().take(256 << 10).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                return Ok(());
            }
            hash.update(&chunk);
            if sender.send(Ok(chunk)).is_err() {
                // The writer gave up and says why.
                return Ok(());
            }
        }
    })();
    if let Err(e) = failed {
        let _ = sender.send(Err(e));
    }
    Digest::from_hash(hash)
}

/// The reading thread's chunks as a stream.
struct Chunks {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk?, 0),
                Err(_) => return Ok(0),
            }
        }
        let n = out.len().min(self.chunk.len() - self.at);
        out[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
