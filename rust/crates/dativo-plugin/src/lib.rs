//! What a Dativo plugin is: traits over Arrow data and JSON control, nothing else.
//!
//! A reader implements [`SimpleReader`], or [`ReaderPlugin`] and [`Reader`]; a file format [`FileFormat`] and [`FileSink`].
//! No pointer, no Python and no foreign function appears here, so `cargo test` alone tests a plugin; `dativo-plugin-ffi`
//! exports it.
#![forbid(unsafe_code)]

mod cancel;
mod error;
mod format;
mod guard;
mod reader;
mod simple;
mod storage;
mod types;

pub use cancel::CancelToken;
pub use error::{Error, Kind, Result};
pub use format::{FileFormat, FileInfo, FileSink, WriteContext};
pub use guard::guard;
pub use reader::{
    BatchStream, Check, Discovery, ReadContext, ReadPlan, ReadRequest, Reader, ReaderPlugin, SourceConfig, Split,
};
pub use schemars;
pub use simple::{Simple, SimpleReader};
pub use storage::{InputFile, RemoteFile, RemoteFiles, Storage, Version, is_remote};
pub use types::{parse_type, type_name};

/// The plugin API version these traits belong to: the same integer as the Python SDK's `API_VERSION`.
pub const API_VERSION: u32 = 1;

/// The oldest plugin API version that a plugin made with these traits works with.
pub const MIN_API_VERSION: u32 = 1;
