//! SPDY/3.1 frames, as far as clients of Kubernetes use them. They do not line up with the pieces
//! that they come in. No I/O.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Control frames that matter here (draft-mbelshe-httpbis-spdy-00, 2.6).
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;

const VERSION: u16 = 0x8003;
const FLAG_FIN: u32 = 1 << 24;
const LENGTH: u32 = 0x00ff_ffff;

/// A frame larger than this is no frame of a client of ours.
const MAX_FRAME: usize = 1 << 20;
/// Header blocks are a few hundred bytes.
const MAX_HEADERS: usize = 16 << 10;

/// What the other side sent.
#[derive(Debug, PartialEq)]
pub(in crate::streams) enum Frame {
    /// A new stream; names of headers are in lower case.
    Open { id: u32, headers: HashMap<String, String> },
    /// Data, perhaps the last.
    Data { id: u32, data: Bytes, last: bool },
    /// The stream is no more.
    Reset { id: u32 },
    /// To be sent back as it is.
    Ping(Bytes),
    /// Windows, settings and the like.
    Other,
}

/// The bytes are no SPDY.
#[derive(Debug, thiserror::Error)]
#[error("malformed SPDY: {0}")]
pub(in crate::streams) struct SpdyError(String);

/// Bytes to frames. Header blocks share one zlib state for the life of the connection.
pub(in crate::streams) struct Decoder {
    buffer: BytesMut,
    inflate: Decompress,
}

/// Frames to bytes.
pub(in crate::streams) struct Encoder {
    deflate: Compress,
}

fn malformed(what: impl ToString) -> SpdyError {
    SpdyError(what.to_string())
}

impl SpdyError {
    /// A client that opens streams without end.
    pub(in crate::streams) fn too_many_streams(most: usize) -> Self {
        malformed(format!("more than {most} streams at a time"))
    }
}

impl Decoder {
    pub(in crate::streams) fn new() -> Self {
        Self { buffer: BytesMut::new(), inflate: Decompress::new(true) }
    }

    pub(in crate::streams) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(in crate::streams) fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        let Some(mut header) = self.buffer.get(..8) else { return Ok(None) };
        let (first, second) = (header.get_u32(), header.get_u32());
        let length = (second & LENGTH) as usize;
        if length > MAX_FRAME {
            return Err(malformed(format!("a frame of {length} bytes")));
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        let whole = self.buffer.split_to(8 + length).freeze();
        let mut body = whole.slice(8..);
        if first & 0x8000_0000 == 0 {
            let last = second & FLAG_FIN != 0;
            return Ok(Some(Frame::Data { id: first, data: body, last }));
        }
        let frame = match (first & 0xffff) as u16 {
            SYN_STREAM if body.len() >= 10 => {
                let id = body.get_u32() & 0x7fff_ffff;
                // The associated stream, the priority and the slot.
                body.advance(6);
                Frame::Open { id, headers: self.headers(&body)? }
            }
            RST_STREAM if body.len() >= 4 => Frame::Reset { id: body.get_u32() & 0x7fff_ffff },
            PING => Frame::Ping(whole),
            SYN_STREAM | RST_STREAM => return Err(malformed("a frame that is too short")),
            _ => Frame::Other,
        };
        Ok(Some(frame))
    }

    fn headers(&mut self, block: &[u8]) -> Result<HashMap<String, String>, SpdyError> {
        let mut plain = Vec::with_capacity(MAX_HEADERS);
        let begin = self.inflate.total_in();
        loop {
            let done = (self.inflate.total_in() - begin) as usize;
            let rest = block.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let before = plain.len();
            match self.inflate.decompress_vec(rest, &mut plain, FlushDecompress::Sync) {
                Ok(_) if plain.len() == plain.capacity() => {
                    return Err(malformed("too many headers"));
                }
                // Nothing more comes of what is left.
                Ok(_)
                    if (self.inflate.total_in() - begin) as usize == done
                        && plain.len() == before =>
                {
                    break;
                }
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&dictionary()).map_err(malformed)?;
                }
                Err(error) => return Err(malformed(error)),
            }
        }
        let mut plain = Bytes::from(plain);
        let mut headers = HashMap::new();
        for _ in 0..number(&mut plain)? {
            let name = text(&mut plain)?;
            headers.insert(name.to_ascii_lowercase(), text(&mut plain)?);
        }
        Ok(headers)
    }
}

fn number(bytes: &mut Bytes) -> Result<usize, SpdyError> {
    if bytes.len() < 4 {
        return Err(malformed("headers that end too early"));
    }
    Ok(bytes.get_u32() as usize)
}

fn text(bytes: &mut Bytes) -> Result<String, SpdyError> {
    let length = number(bytes)?;
    if bytes.len() < length {
        return Err(malformed("headers that end too early"));
    }
    Ok(String::from_utf8_lossy(&bytes.split_to(length)).into_owned())
}

impl Encoder {
    pub(in crate::streams) fn new() -> Result<Self, SpdyError> {
        let mut deflate = Compress::new(Compression::default(), true);
        deflate.set_dictionary(&dictionary()).map_err(malformed)?;
        Ok(Self { deflate })
    }

    /// Accepts a stream.
    pub(in crate::streams) fn reply(&mut self, id: u32) -> Result<Bytes, SpdyError> {
        let mut block = Vec::with_capacity(256);
        let none = 0_u32.to_be_bytes();
        self.deflate.compress_vec(&none, &mut block, FlushCompress::Sync).map_err(malformed)?;
        let mut frame = BytesMut::with_capacity(block.len() + 12);
        frame.put_u16(VERSION);
        frame.put_u16(SYN_REPLY);
        frame.put_u32((block.len() + 4) as u32);
        frame.put_u32(id);
        frame.put_slice(&block);
        Ok(frame.freeze())
    }
}

/// A data frame; `data` has less than 16 MiB.
pub(in crate::streams) fn data(id: u32, data: &[u8], last: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(data.len() + 8);
    frame.put_u32(id);
    frame.put_u32((data.len() as u32 & LENGTH) | if last { FLAG_FIN } else { 0 });
    frame.put_slice(data);
    frame.freeze()
}

/// The zlib dictionary of SPDY/3 (2.6.10.1): names with their lengths, then text.
fn dictionary() -> Vec<u8> {
    const NAMES: &str = "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|\
        accept-language|accept-ranges|age|allow|authorization|cache-control|connection|\
        content-base|content-encoding|content-language|content-length|content-location|\
        content-md5|content-range|content-type|date|etag|expect|expires|from|host|if-match|\
        if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|\
        max-forwards|pragma|proxy-authenticate|proxy-authorization|range|referer|retry-after|\
        server|te|trailer|transfer-encoding|upgrade|user-agent|vary|via|warning|\
        www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie|\
        keep-alive|origin";
    const TEXT: &str = "10010120120220520630030230330430530630740240540640740840941041141241341441\
        5416417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 \
        Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not \
        Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec \
        00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,\
        image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivate\
        max-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let mut bytes = Vec::with_capacity(1423);
    for name in NAMES.split('|') {
        bytes.put_u32(name.len() as u32);
        bytes.put_slice(name.as_bytes());
    }
    bytes.put_slice(TEXT.as_bytes());
    bytes
}

/// The client's side, for tests.
#[cfg(test)]
pub(in crate::streams) mod testing {
    use super::*;

    pub(in crate::streams) struct Client(Compress);

    impl Client {
        pub(in crate::streams) fn new() -> Self {
            let mut deflate = Compress::new(Compression::default(), true);
            deflate.set_dictionary(&dictionary()).unwrap();
            Self(deflate)
        }

        /// A new stream.
        pub(in crate::streams) fn open(&mut self, id: u32, headers: &[(&str, &str)]) -> Vec<u8> {
            let mut plain = Vec::new();
            plain.put_u32(headers.len() as u32);
            for text in headers.iter().flat_map(|(name, value)| [name, value]) {
                plain.put_u32(text.len() as u32);
                plain.put_slice(text.as_bytes());
            }
            self.raw(id, &plain)
        }

        /// A new stream with this in the place of its headers.
        pub(in crate::streams) fn raw(&mut self, id: u32, plain: &[u8]) -> Vec<u8> {
            let mut block = Vec::with_capacity(plain.len() + 1024);
            self.0.compress_vec(plain, &mut block, FlushCompress::Sync).unwrap();
            let mut frame = Vec::new();
            frame.put_u16(VERSION);
            frame.put_u16(SYN_STREAM);
            frame.put_u32(block.len() as u32 + 10);
            frame.put_u32(id);
            frame.put_slice(&[0; 6]);
            frame.put_slice(&block);
            frame
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Client;
    use super::*;

    /// Adler-32 (RFC 1950), which zlib names the dictionary by.
    fn adler(bytes: &[u8]) -> u32 {
        let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        b << 16 | a
    }

    #[test]
    fn the_dictionary_is_that_of_the_draft() {
        assert_eq!((dictionary().len(), adler(&dictionary())), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn bombs_are_no_frames() {
        let read = |bytes: &[u8]| {
            let mut decoder = Decoder::new();
            decoder.push(bytes);
            decoder.next().map(drop).map_err(|error| error.to_string())
        };
        // A few bytes that become a million, in one header or in many, and a count of them that
        // nothing follows.
        let long = "x".repeat(1 << 20);
        let one = Client::new().open(1, &[("streamtype", &long)]);
        assert!(one.len() < 4 << 10, "{}", one.len());
        assert_eq!(read(&one), Err("malformed SPDY: too many headers".to_owned()));
        let many = Client::new().open(1, &vec![("", ""); 100_000]);
        assert_eq!(read(&many), Err("malformed SPDY: too many headers".to_owned()));
        let none = Client::new().raw(1, &u32::MAX.to_be_bytes());
        assert_eq!(read(&none), Err("malformed SPDY: headers that end too early".to_owned()));
        let text = Client::new().raw(1, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(read(&text), Err("malformed SPDY: headers that end too early".to_owned()));
        // A frame that would have to be kept until it is whole.
        assert!(read(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]).is_err());
        assert!(read(&[0x80, 3, 0, 1, 0, 0x10, 0, 1]).is_err());
    }

    #[test]
    fn frames_come_in_any_pieces() {
        let mut client = Client::new();
        let mut bytes = client.open(1, &[("streamType", "error"), ("port", "80")]);
        bytes.extend(client.open(3, &[("streamtype", "data"), ("port", "80")]));
        bytes.extend(data(3, b"hello", true));
        for size in [1, 7, 1000] {
            let mut decoder = Decoder::new();
            let mut frames = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    frames.push(frame);
                }
            }
            let Frame::Open { id: 3, headers } = &frames[1] else { panic!("{frames:?}") };
            assert_eq!(headers["streamtype"], "data");
            let hello = Frame::Data { id: 3, data: "hello".into(), last: true };
            assert_eq!((frames.len(), &frames[2]), (3, &hello));
        }
        let mut decoder = Decoder::new();
        decoder.push(&[0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, 9]);
        assert!(decoder.next().is_err());
    }
}
