//! Compression of pages, with what each codec can keep from page to page.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use flate2::write::GzEncoder;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use zstd::bulk::Compressor as Zstd;
use zstd::zstd_safe::{CParameter, ParamSwitch};

use super::neighbours::Neighbours;

/// Bytes of a page that are compressed to see what it is worth.
const SAMPLE_BYTES: usize = 32 << 10;

enum Codec {
    None,
    Snappy(Box<snap::raw::Encoder>),
    /// At the level that was asked for.
    Zstd(Zstd<'static>),
    /// At the level that each chunk pays for.
    Adaptive(Box<Adaptive>),
    Lz4,
    Gzip(u32),
}

struct Adaptive {
    full: Zstd<'static>,
    light: Zstd<'static>,
    neighbours: Neighbours,
}

/// What is done for the pages of a chunk, as a first one showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// No page was seen yet.
    #[default]
    Open,
    /// What the codec can do.
    Full,
    /// Matches are looked for in the text before alone.
    Neighbours,
    /// No matches are looked for: frequent bytes take fewer bits.
    Light,
    /// Nothing.
    Stored,
}

/// Compresses pages.
pub struct Compressor {
    codec: Codec,
    /// Room for the worst case, kept between pages.
    room: BytesMut,
}

impl Compressor {
    /// adaptive: zstd may do less than its level where that costs little. Raises an error for codecs that the options do
    /// not offer.
    pub fn new(compression: Compression, adaptive: bool) -> Result<Self> {
        let codec = match compression {
            Compression::UNCOMPRESSED => Codec::None,
            Compression::SNAPPY => Codec::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::ZSTD(level) if adaptive => {
                let level = level.compression_level();
                let no_matches = [
                    CParameter::HashLog(6),
                    CParameter::TargetLength(1 << 17),
                    CParameter::LiteralCompressionMode(ParamSwitch::Enable),
                ];
                Codec::Adaptive(Box::new(Adaptive {
                    // Tables that fit the first cache beside the page: as small a file, 5 to 10 % faster.
                    full: zstd(level, &[CParameter::HashLog(12)])?,
                    light: zstd(level, &no_matches)?,
                    neighbours: Neighbours::new(level)?,
                }))
            }
            Compression::ZSTD(level) => Codec::Zstd(zstd(level.compression_level(), &[])?),
            Compression::LZ4_RAW => Codec::Lz4,
            Compression::GZIP(level) => Codec::Gzip(level.compression_level()),
            other => return Err(ParquetError::NYI(format!("compression {other}"))),
        };
        Ok(Self { codec, room: BytesMut::new() })
    }

    /// Hands out levels and the values behind them, and whether the values are compressed. texts: the lengths of texts
    /// that end the values, one behind the other.
    pub fn page<T>(
        &mut self,
        levels: &[u8],
        values: &[u8],
        texts: &[i32],
        effort: &mut Effort,
        write: impl FnOnce(Bytes, bool) -> Result<T>,
    ) -> Result<T> {
        let packed = self.smaller(levels.len(), values, texts, effort)?;
        let end = levels.len() + packed.unwrap_or(values.len());
        self.make_room(end);
        self.room[..levels.len()].copy_from_slice(levels);
        if packed.is_none() {
            self.room[levels.len()..end].copy_from_slice(values);
        }
        self.lend(end, |page| write(page, packed.is_some()))
    }

    /// Hands out a page as the codec makes it, be it larger.
    pub fn always<T>(&mut self, page: &[u8], write: impl FnOnce(Bytes) -> Result<T>) -> Result<T> {
        if matches!(self.codec, Codec::None) {
            return write(Bytes::copy_from_slice(page));
        }
        let length = self.pack(0, page, &[], Effort::Full)?;
        self.lend(length, write)
    }

    /// Compresses into the room from `start` on; the length, or `None` where it does not pay.
    fn smaller(&mut self, start: usize, page: &[u8], texts: &[i32], effort: &mut Effort) -> Result<Option<usize>> {
        if page.is_empty() || matches!(self.codec, Codec::None) {
            return Ok(None);
        }
        if *effort == Effort::Open {
            *effort = self.effort(start, page, texts)?;
        }
        if *effort == Effort::Stored {
            return Ok(None);
        }
        let length = self.pack(start, page, texts, *effort)?;
        if !self.pays(length, page.len()) {
            *effort = Effort::Stored;
            return Ok(None);
        }
        Ok(Some(length))
    }

    /// Whether a page got so much smaller that it is worth the time of making it and of reading it. Who asks for a fast
    /// codec wants it where it does much: numbers get little smaller, at half the speed of texts.
    fn pays(&self, packed: usize, plain: usize) -> bool {
        let percent = if matches!(self.codec, Codec::Snappy(_) | Codec::Lz4) { 70 } else { 97 };
        packed * 100 <= plain * percent
    }

    /// What to do for a chunk that begins with a page.
    fn effort(&mut self, start: usize, page: &[u8], texts: &[i32]) -> Result<Effort> {
        // The end, for what comes before texts are their lengths.
        let (mut size, mut first) = (page.len().min(SAMPLE_BYTES), texts.len());
        if !texts.is_empty() {
            let mut whole = 0;
            while first > 0 && whole + texts[first - 1] as usize <= SAMPLE_BYTES {
                first -= 1;
                whole += texts[first] as usize;
            }
            size = if whole == 0 { size } else { whole };
        }
        let (sample, texts) = (&page[page.len() - size..], &texts[first..]);
        let full = self.pack(start, sample, &[], Effort::Full)?;
        if !matches!(self.codec, Codec::Adaptive(_)) {
            return Ok(if self.pays(full, sample.len()) { Effort::Full } else { Effort::Stored });
        }
        let light = self.pack(start, sample, &[], Effort::Light)?;
        let near = if texts.is_empty() { usize::MAX } else { self.pack(start, sample, texts, Effort::Neighbours)? };
        // To look for matches everywhere takes two to three times as long: they have to save much.
        Ok(match light.min(near) {
            quick if !self.pays(full.min(quick), sample.len()) => Effort::Stored,
            quick if full * 10 <= quick * if near < light { 6 } else { 7 } => Effort::Full,
            _ if near < light / 10 * 9 => Effort::Neighbours,
            _ => Effort::Light,
        })
    }

    fn pack(&mut self, start: usize, page: &[u8], texts: &[i32], effort: Effort) -> Result<usize> {
        let failed = |error: &dyn std::fmt::Display| ParquetError::General(format!("compression: {error}"));
        let bound = match &self.codec {
            Codec::Snappy(_) => snap::raw::max_compress_len(page.len()),
            Codec::Zstd(_) | Codec::Adaptive(_) => zstd::zstd_safe::compress_bound(page.len()),
            Codec::Lz4 => lz4_flex::block::get_maximum_output_size(page.len()),
            Codec::None | Codec::Gzip(_) => 0,
        };
        self.make_room(start + bound);
        let room = &mut self.room[start..];
        Ok(match &mut self.codec {
            Codec::None => 0,
            Codec::Snappy(encoder) => encoder.compress(page, room).map_err(|error| failed(&error))?,
            Codec::Zstd(zstd) => zstd.compress_to_buffer(page, room)?,
            Codec::Adaptive(zstd) => {
                let near =
                    if effort == Effort::Neighbours { zstd.neighbours.compress(page, texts, room) } else { None };
                match near {
                    Some(length) => length,
                    None if effort == Effort::Light => zstd.light.compress_to_buffer(page, room)?,
                    None => zstd.full.compress_to_buffer(page, room)?,
                }
            }
            Codec::Lz4 => lz4_flex::block::compress_into(page, room).map_err(|error| failed(&error))?,
            Codec::Gzip(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(*level));
                encoder.write_all(page)?;
                let packed = encoder.finish()?;
                self.make_room(start + packed.len());
                self.room[start..start + packed.len()].copy_from_slice(&packed);
                packed.len()
            }
        })
    }

    fn make_room(&mut self, bytes: usize) {
        if self.room.len() < bytes {
            self.room.resize(bytes, 0);
        }
    }

    /// Hands out the start of the room, and takes it back.
    fn lend<T>(&mut self, length: usize, write: impl FnOnce(Bytes) -> Result<T>) -> Result<T> {
        let whole = std::mem::take(&mut self.room).freeze();
        let written = write(whole.slice(..length));
        self.room = whole.try_into_mut().unwrap_or_default();
        written
    }
}

fn zstd(level: i32, parameters: &[CParameter]) -> Result<Zstd<'static>> {
    let mut made = Zstd::new(level)?;
    parameters.iter().try_for_each(|parameter| made.set_parameter(*parameter))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;

    use parquet::basic::ZstdLevel;

    use super::*;

    fn zstd_of_one() -> Compression {
        Compression::ZSTD(ZstdLevel::try_new(1).expect("a level"))
    }

    fn effort_of(compression: Compression, adaptive: bool, page: &[u8], texts: &[i32]) -> Effort {
        let mut effort = Effort::Open;
        let mut compressor = Compressor::new(compression, adaptive).expect("a codec");
        let is_smaller = compressor.page(b"levels", page, texts, &mut effort, |buf, packed| {
            assert!(buf.starts_with(b"levels") && (packed || buf[6..] == *page));
            Ok(buf.len() < page.len())
        });
        assert_eq!(is_smaller.expect("a page"), effort != Effort::Stored);
        effort
    }

    #[test]
    fn a_codec_does_what_pays_for_the_page() {
        let chance = RandomState::new();
        let mixed = |number: u32| chance.hash_one(number);
        let text: Vec<u8> = (0..20_000).flat_map(|row| format!("{row}, regular ideas sleep ").into_bytes()).collect();
        let cents: Vec<u8> =
            (0..20_000).flat_map(|row| ((mixed(row) % 10_000_000) as f64 / 100.).to_le_bytes()).collect();
        let noise: Vec<u8> = (0..20_000).flat_map(|row| mixed(row).to_le_bytes()).collect();
        assert_eq!(effort_of(zstd_of_one(), true, &cents, &[]), Effort::Light);
        assert_eq!(effort_of(zstd_of_one(), false, &cents, &[]), Effort::Full);
        assert_eq!(effort_of(Compression::SNAPPY, true, &cents, &[]), Effort::Stored);
        let names: Vec<String> = (0..20_000).map(|row| format!("user {}", mixed(row) % 1_000_000)).collect();
        let lengths: Vec<i32> = names.iter().map(|name| name.len() as i32).collect();
        assert_eq!(effort_of(zstd_of_one(), true, names.concat().as_bytes(), &lengths), Effort::Neighbours);
        for codec in [zstd_of_one(), Compression::SNAPPY, Compression::LZ4_RAW] {
            assert_ne!(effort_of(codec, true, &text, &[]), Effort::Stored);
            assert_eq!(effort_of(codec, true, &noise, &[]), Effort::Stored);
        }
    }
}
