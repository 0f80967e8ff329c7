//! Compression of pages, with what each codec can keep from page to page.

use std::io::Write;

use flate2::write::GzEncoder;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};

enum Codec {
    None,
    Snappy(Box<snap::raw::Encoder>),
    Zstd(zstd::bulk::Compressor<'static>),
    Lz4,
    Gzip(u32),
}

/// Compresses pages of one column.
pub struct Compressor {
    codec: Codec,
    /// Room for the worst case, kept between pages.
    room: Vec<u8>,
}

impl Compressor {
    /// Raises an error for codecs that the options do not offer.
    pub fn new(compression: Compression) -> Result<Self> {
        let codec = match compression {
            Compression::UNCOMPRESSED => Codec::None,
            Compression::SNAPPY => Codec::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::ZSTD(level) => Codec::Zstd(zstd::bulk::Compressor::new(level.compression_level())?),
            Compression::LZ4_RAW => Codec::Lz4,
            Compression::GZIP(level) => Codec::Gzip(level.compression_level()),
            other => return Err(ParquetError::NYI(format!("compression {other}"))),
        };
        Ok(Self { codec, room: Vec::new() })
    }

    /// A page compressed; `None` when that does not make it 3 % smaller.
    pub fn compress(&mut self, page: &[u8]) -> Result<Option<&[u8]>> {
        if matches!(self.codec, Codec::None) {
            return Ok(None);
        }
        let packed = self.packed(page)?;
        Ok((packed.len() * 100 <= page.len() * 97).then_some(packed))
    }

    /// A page as the codec makes it, be it larger.
    pub fn always<'a>(&'a mut self, page: &'a [u8]) -> Result<&'a [u8]> {
        if matches!(self.codec, Codec::None) { Ok(page) } else { self.packed(page) }
    }

    fn packed(&mut self, page: &[u8]) -> Result<&[u8]> {
        let failed = |error: &dyn std::fmt::Display| ParquetError::General(format!("compression: {error}"));
        let bound = match &self.codec {
            Codec::Snappy(_) => snap::raw::max_compress_len(page.len()),
            Codec::Zstd(_) => zstd::zstd_safe::compress_bound(page.len()),
            Codec::Lz4 => lz4_flex::block::get_maximum_output_size(page.len()),
            Codec::None | Codec::Gzip(_) => 0,
        };
        if self.room.len() < bound {
            self.room.resize(bound, 0);
        }
        let length = match &mut self.codec {
            Codec::None => 0,
            Codec::Snappy(encoder) => encoder.compress(page, &mut self.room).map_err(|error| failed(&error))?,
            Codec::Zstd(compressor) => compressor.compress_to_buffer(page, self.room.as_mut_slice())?,
            Codec::Lz4 => lz4_flex::block::compress_into(page, &mut self.room).map_err(|error| failed(&error))?,
            Codec::Gzip(level) => {
                self.room.clear();
                let mut encoder = GzEncoder::new(&mut self.room, flate2::Compression::new(*level));
                encoder.write_all(page)?;
                encoder.finish()?.len()
            }
        };
        Ok(&self.room[..length])
    }
}
