//! The plan of a read: dialect, columns and types from a sample over the whole input, then splits.

use std::collections::HashSet;

use arrow_schema::DataType;
use dativo_plugin::{Error, Kind, ReadContext, ReadPlan, ReadRequest, Result, Split, is_remote, parse_type, type_name};

use crate::blocks::{Blocks, Taken};
use crate::boundary::Search;
use crate::charset::Charset;
use crate::columns::{Column, is_parsed};
use crate::dialect::Dialect;
use crate::fields::{Field, Tokens};
use crate::head::{Head, header_error};
use crate::infer::Candidates;
use crate::input::{DETECTION_BYTES, Input, Seen};
use crate::options::CsvOptions;
use crate::stream::{Part, Payload, schema_of};
use crate::tokens::Limits;
use crate::words::Words;

/// Files of which a sample is taken, at most.
const SAMPLED_FILES: usize = 16;
/// Places in one file at which a sample is taken, at most.
const SAMPLED_PLACES: usize = 16;
const SAMPLE_BLOCK_BYTES: usize = 256 << 10;
/// Of a sample in all, about at most: rows of a thousand columns are sampled in smaller numbers.
const SAMPLE_BYTES: usize = 8 << 20;
const MIN_SPLIT_BYTES: u64 = 4 << 20;
const MAX_SPLIT_BYTES: u64 = 128 << 20;
/// Places at which a large file can be cut, for each thread.
const PIECES_PER_THREAD: u64 = 64;

/// A file as it is when the read is planned.
struct Planned {
    path: String,
    seen: Seen,
    /// Record starts; the first one is 0, the file's beginning.
    starts: Vec<u64>,
}

/// Plans a read of `files`.
pub fn plan(
    files: &[String],
    input: &Input,
    request: &ReadRequest,
    context: &ReadContext,
    split_bytes: Option<u64>,
) -> Result<ReadPlan> {
    let Some(first) = files.first() else {
        return Err(Error::configuration("rust_csv has no files to read").hint("name them in source.files"));
    };
    let looked = input.look_at(files, context.parallelism)?;
    let planned = |(path, seen): (&String, Seen)| Planned { path: path.clone(), seen, starts: vec![0] };
    let mut planned: Vec<_> = files.iter().zip(looked).map(planned).collect();
    let mut notes = Vec::new();

    let (dialect, names) = structure(&planned, input, request)?;
    let names = names.ok_or_else(|| header_error(first))?;
    let filled = planned.iter().find(|file| file.seen.size > 0).unwrap_or(&planned[0]);
    notes.push(describe(filled, &dialect, &names, input)?);

    let total: u64 = planned.iter().map(|file| file.seen.size).sum();
    let threads = context.parallelism.max(1) as u64;
    // A place to cut costs a request where the file is elsewhere.
    let least = if files.iter().any(|path| is_remote(path)) { MAX_SPLIT_BYTES / 4 } else { MIN_SPLIT_BYTES };
    let piece = (total / (PIECES_PER_THREAD * threads)).clamp(least, MAX_SPLIT_BYTES / 4);
    let piece_bytes = split_bytes.unwrap_or(piece);
    // A limited read stops soon: looking for places to cut would cost more than it gains.
    let cuts =
        |file: &Planned| request.limit.is_none() && file.seen.plain && file.seen.size >= piece_bytes.saturating_mul(2);
    let mut guess = None;
    if request.guess && planned.iter().any(cuts) {
        for file in planned.iter_mut().filter(|file| cuts(file)) {
            cut(file, &dialect, input, &names, context, |search, range| {
                search.likely_starts(range, piece_bytes).map(Some)
            })?;
        }
        guess = Some(sample(&planned, &dialect, input, &names, context)?).filter(|sample| !sample.lines_in_fields);
    }
    let guessed = guess.is_some();
    let candidates = match guess {
        Some(sample) => sample.candidates,
        None => {
            for file in planned.iter_mut().filter(|file| cuts(file)) {
                file.starts.truncate(1);
                // A proof reads all of the file: not twice over a network.
                let is_cut = !is_remote(&file.path)
                    && cut(file, &dialect, input, &names, context, |search, range| {
                        search.record_starts(range, piece_bytes, context.parallelism)
                    })?;
                if !is_cut {
                    notes.push(format!("{} is read as one split: its quotes don't tell where records end", file.path));
                }
            }
            sample(&planned, &dialect, input, &names, context)?.candidates
        }
    };
    let columns = choose(&names, &candidates, &input.options, request, &mut notes)?;
    let schema = schema_of(&columns)?;
    // Large splits first, small ones last: no thread is left with much to do when the others have ended.
    let next_bytes = |left: u64| match (request.limit, split_bytes) {
        // Its rows are counted where they are read, from the first one on.
        (Some(_), _) => u64::MAX,
        (None, Some(bytes)) => bytes,
        (None, None) => (left / (2 * threads)).clamp(piece_bytes, MAX_SPLIT_BYTES),
    };
    let idle_threads = planned.len() < context.parallelism && planned.iter().all(|file| !file.seen.plain);
    let splits = divide(planned, total, next_bytes, |parts| Payload {
        dialect,
        names: names.clone(),
        columns: columns.clone(),
        parts,
        limit: request.limit,
        idle_threads,
    })?;
    let mut applied = vec!["columns".to_owned(), "limit".to_owned()];
    if request.schema.is_some() {
        applied.push("schema".to_owned());
    }
    Ok(ReadPlan { splits, schema: Some(schema), cursor: None, applied, notes, guessed })
}

fn open(file: &Planned, input: &Input) -> Result<Blocks> {
    let (text, mark) =
        if file.seen.plain { input.open_plain(&file.path, file.seen.size)? } else { input.open(&file.path)? };
    let mut blocks = Blocks::new(text, &file.path, mark, SAMPLE_BLOCK_BYTES);
    blocks.skip_lines(input.options.skip_rows)?;
    Ok(blocks)
}

/// The dialect and the column names, both of the first file that has anything in it; no names where none has.
fn structure(files: &[Planned], input: &Input, request: &ReadRequest) -> Result<(Dialect, Option<Vec<String>>)> {
    let declared: Option<Vec<String>> =
        request.schema.as_ref().map(|schema| schema.fields().iter().map(|field| field.name().clone()).collect());
    let mut dialect = Dialect::detect(&input.options, b"", true);
    for file in files.iter().filter(|file| file.seen.size > 0) {
        let mut blocks = open(file, input)?;
        let mut sample = blocks.peek(DETECTION_BYTES)?.to_vec();
        let whole = sample.len() < DETECTION_BYTES;
        if whole {
            sample.push(b'\n');
        }
        dialect = Dialect::detect(&input.options, &sample, whole);
        let first = Head::names(&mut blocks, &dialect, &input.options)?;
        let Some(first) = first else { continue };
        let width = first.len();
        let names = match &input.options.column_names {
            Some(given) if given.len() != width => {
                return Err(Error::configuration(format!(
                    "options.column_names has {} names, but {} has {width} columns",
                    given.len(),
                    file.path
                ))
                .at("file", file.path.as_str()));
            }
            Some(given) => given.clone(),
            None if dialect.header => first,
            None => match &declared {
                Some(declared) if declared.len() == width => declared.clone(),
                _ => (1..=width).map(|number| format!("column_{number}")).collect(),
            },
        };
        Head::check_names(&file.path, &names)?;
        return Ok((dialect, Some(names)));
    }
    Ok((dialect, input.options.column_names.clone().or(declared)))
}

/// What the files look like, and how much of that was found rather than given.
fn describe(first: &Planned, dialect: &Dialect, names: &[String], input: &Input) -> Result<String> {
    let shown = |byte: Option<u8>| match byte {
        None => "none".to_owned(),
        Some(b'\t') => "tab".to_owned(),
        Some(other) => format!("{:?}", char::from(other)),
    };
    let how = |given: bool| if given { "given" } else { "detected" };
    let mut text = format!(
        "{} columns, delimiter {} ({})",
        names.len(),
        shown(Some(dialect.delimiter)),
        how(input.options.delimiter.character().is_some())
    );
    if input.options.quote_char.given().is_none() {
        text += &format!(", quote {} (detected)", shown(dialect.quote));
    }
    if input.options.escape_char.given().is_none() {
        text += &format!(", escape {} (detected)", shown(dialect.escape));
    }
    if input.options.header.given().is_none() {
        text += if dialect.header { ", header (detected)" } else { ", no header (detected)" };
    }
    if Charset::named(&input.options.encoding)?.is_none() {
        text += &format!(", encoding {} (detected)", input.charset(&first.path)?.name());
    }
    Ok(text)
}

/// Notes the places at which a file can be cut; whether there is a way to tell them.
fn cut(
    file: &mut Planned,
    dialect: &Dialect,
    input: &Input,
    names: &[String],
    context: &ReadContext,
    find: impl FnOnce(&Search, (u64, u64)) -> Result<Option<Vec<u64>>>,
) -> Result<bool> {
    let mut blocks = open(file, input)?;
    if dialect.header {
        match Head::names(&mut blocks, dialect, &input.options)? {
            // Another order of columns: only a split that reads the header can know it.
            Some(header) if input.options.column_names.is_none() && header != names => return Ok(true),
            None => return Ok(true),
            Some(_) => {}
        }
    }
    blocks.peek(1)?;
    let start = blocks.offset().min(file.seen.size);
    let search = Search { storage: &input.storage, path: &file.path, dialect: *dialect, cancel: &context.cancel };
    let Some(starts) = find(&search, (start, file.seen.size))? else { return Ok(false) };
    file.starts.extend(starts.into_iter().skip(1));
    Ok(true)
}

/// What rows at places spread over the whole input tell.
struct Sample {
    /// What the columns could be.
    candidates: Vec<Candidates>,
    /// Whether newlines stand in fields, or records of another length hint at it.
    lines_in_fields: bool,
}

fn sample(
    files: &[Planned],
    dialect: &Dialect,
    input: &Input,
    names: &[String],
    context: &ReadContext,
) -> Result<Sample> {
    let mut candidates = vec![Candidates::default(); names.len()];
    let mut lines_in_fields = false;
    if !input.options.infer_types && files.iter().all(|file| file.starts.len() == 1) {
        return Ok(Sample { candidates, lines_in_fields });
    }
    let words = Words::new(&input.options)?;
    let chosen: Vec<&Planned> = spread(files, SAMPLED_FILES).filter(|file| file.seen.size > 0).collect();
    let places: usize = chosen.iter().map(|file| file.starts.len().min(SAMPLED_PLACES)).sum();
    let rows_each = (input.options.infer_rows / places.max(1)).max(1);
    let bytes_each = SAMPLE_BYTES / places.max(1);
    let mut tokens = Tokens::default();
    let mut scratch = Vec::new();
    for file in chosen {
        for &start in spread(&file.starts, SAMPLED_PLACES) {
            context.cancel.check()?;
            let mut positions: Vec<usize> = (0..names.len()).collect();
            let mut blocks = if start == 0 {
                let mut blocks = open(file, input)?;
                if dialect.header {
                    let header = Head::names(&mut blocks, dialect, &input.options)?.unwrap_or_default();
                    if input.options.column_names.is_none() {
                        let place = |name: &String| header.iter().position(|other| other == name);
                        positions = names.iter().map(|name| place(name).unwrap_or(usize::MAX)).collect();
                    }
                }
                blocks
            } else {
                let text = input.open_range(&file.path, start, file.seen.size)?;
                Blocks::new(text, &file.path, start, SAMPLE_BLOCK_BYTES)
            };
            let (mut left, mut seen) = (rows_each, 0);
            while left > 0 && seen < bytes_each {
                let limits = Limits {
                    width: None,
                    max_field_bytes: input.options.max_field_bytes,
                    skip_bad: true,
                    max_rows: left,
                };
                // What can't be read or taken apart is reported when it is read, with its place.
                let bytes = match blocks.next(dialect, &limits, &mut tokens) {
                    Ok(Some(Taken::Records(bytes))) => bytes,
                    Err(error) if error.kind != Kind::ValidationError => return Err(error),
                    _ => break,
                };
                seen += bytes;
                for row in 0..tokens.rows() {
                    let fields = tokens.row(row);
                    let has_line = |field: &Field| {
                        field.is_quoted() && memchr::memchr2(b'\n', b'\r', field.text(blocks.current())).is_some()
                    };
                    lines_in_fields |= fields.len() != names.len() || fields.iter().any(has_line);
                    for (candidate, position) in candidates.iter_mut().zip(&positions) {
                        let Some(field) = fields.get(*position) else { continue };
                        if let Some(text) = words.text(dialect, blocks.current(), *field, &mut scratch) {
                            candidate.add(text, &words);
                        }
                    }
                }
                left = left.saturating_sub(tokens.rows());
            }
        }
    }
    Ok(Sample { candidates, lines_in_fields })
}

/// At most `count` items, evenly spread, the first one included.
fn spread<T>(items: &[T], count: usize) -> impl Iterator<Item = &T> {
    let step = items.len().div_ceil(count).max(1);
    items.iter().step_by(step)
}

fn choose(
    names: &[String],
    candidates: &[Candidates],
    options: &CsvOptions,
    request: &ReadRequest,
    notes: &mut Vec<String>,
) -> Result<Vec<Column>> {
    let wanted = request.columns.as_deref().unwrap_or(names);
    let mut columns = Vec::with_capacity(wanted.len());
    let mut seen = HashSet::new();
    for name in wanted {
        let Some(position) = names.iter().position(|other| other == name) else {
            return Err(Error::validation(format!("there is no column {name:?}"))
                .hint(format!("the columns are: {}", names.join(", ")))
                .at("column", name.as_str()));
        };
        if !seen.insert(name) {
            continue;
        }
        let widened = request.widen.get(name).map(|name| parse_type(name)).transpose()?;
        let asked = request.schema.as_ref().and_then(|schema| schema.field_with_name(name).ok());
        let (data_type, declared) = match (widened, asked) {
            (Some(widened), _) => (widened, true),
            (None, Some(field)) => (field.data_type().clone(), true),
            (None, None) if options.infer_types => (candidates[position].data_type(), false),
            (None, None) => (DataType::Utf8, false),
        };
        let data_type = if is_parsed(&data_type) {
            data_type
        } else {
            notes.push(format!("column {name} is read as string: {data_type} is left to the contract"));
            DataType::Utf8
        };
        let type_name = type_name(&data_type).unwrap_or_else(|| "string".to_owned());
        columns.push(Column { name: name.clone(), position, type_name, declared });
    }
    Ok(columns)
}

/// Splits of about `next_bytes` of the bytes left: parts of large files, or several small ones together.
fn divide(
    files: Vec<Planned>,
    mut left: u64,
    next_bytes: impl Fn(u64) -> u64,
    payload: impl Fn(Vec<Part>) -> Payload,
) -> Result<Vec<Split>> {
    let mut splits = Vec::new();
    let mut parts = Vec::new();
    let mut bytes = 0;
    let mut close = |parts: &mut Vec<Part>, bytes: &mut u64| -> Result<()> {
        if parts.is_empty() {
            return Ok(());
        }
        let payload = serde_json::to_value(payload(std::mem::take(parts)))
            .map_err(|error| Error::plugin(format!("a split as JSON: {error}")))?;
        let id = format!("{:05}", splits.len());
        splits.push(Split { id, payload, rows: None, bytes: Some(std::mem::take(bytes)) });
        Ok(())
    };
    for file in files {
        for (index, &start) in file.starts.iter().enumerate() {
            let end = file.starts.get(index + 1).copied().unwrap_or(file.seen.size);
            let wanted = next_bytes(left);
            if bytes > 0 && bytes + (end - start) > wanted.saturating_mul(3) / 2 {
                left = left.saturating_sub(bytes);
                close(&mut parts, &mut bytes)?;
            }
            match parts.last_mut() {
                Some(last) if last.path == file.path && last.end == Some(start) => last.end = Some(end),
                _ => parts.push(Part {
                    path: file.path.clone(),
                    start,
                    end: file.seen.plain.then_some(end),
                    version: file.seen.version,
                }),
            }
            bytes += end - start;
            if bytes >= wanted {
                left = left.saturating_sub(bytes);
                close(&mut parts, &mut bytes)?;
            }
        }
    }
    close(&mut parts, &mut bytes)?;
    Ok(splits)
}
