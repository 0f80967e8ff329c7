//! Schemas and arrays of others on their way in: Arrow's own import takes on trust what is looked at here first.
//!
//! A length that is plausible and too long for its buffer shows nowhere in the C data interface. Everything else that an
//! import relies on is an error here; what the buffers hold is for [`crate::checked`].

use std::ffi::{CStr, c_char, c_void};

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use arrow_data::{ArrayData, layout};
use arrow_schema::{DataType, Schema};
use dativo_plugin::{Error, Result};

const MAX_DEPTH: usize = 64;
const MAX_FIELDS: i64 = 1 << 20;
/// What Arrow advises; a length that lies is often far above.
const MAX_ROWS: usize = i32::MAX as usize;
const MAX_BUFFER_BYTES: u64 = 1 << 58;

/// The fields of `ArrowSchema`, as the specification has them.
#[repr(C)]
struct SchemaFields {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *const *const SchemaFields,
    dictionary: *const SchemaFields,
    release: *const c_void,
    private_data: *const c_void,
}

/// The schema of a struct that somebody else filled in.
///
/// # Errors
/// A plugin error for one that was released, has a NULL where none may be, a text that is no UTF-8, or is no struct.
///
/// # Safety
/// What the struct points to is as long as it says.
pub(crate) unsafe fn schema(from: &FFI_ArrowSchema) -> Result<Schema> {
    // SAFETY: the caller's promise; both structs are the specification's.
    unsafe { check_schema(std::ptr::from_ref(from).cast(), 0) }?;
    let found = Schema::try_from(from)?;
    found.fields().iter().try_for_each(|field| check_type(field.data_type()))?;
    Ok(found)
}

/// The array that somebody else filled in, of a type that was looked at; its content is not looked at.
///
/// # Errors
/// A plugin error for one that was released, or has other children or buffers than its type demands.
///
/// # Safety
/// As of [`schema`].
pub(crate) unsafe fn array(from: FFI_ArrowArray, data_type: DataType) -> Result<ArrayData> {
    if from.is_released() {
        return Err(invalid_batch("it was released already"));
    }
    // SAFETY: the caller's promise.
    unsafe {
        check_array(&from, &data_type)?;
        Ok(from_ffi_and_data_type(from, data_type)?)
    }
}

fn invalid_schema(what: impl std::fmt::Display) -> Error {
    Error::plugin(format!("its schema is broken: {what}")).code("INVALID_SCHEMA")
}

fn invalid_batch(what: impl std::fmt::Display) -> Error {
    Error::plugin(format!("a batch is not what its schema says: {what}")).code("INVALID_BATCH")
}

unsafe fn check_schema(schema: *const SchemaFields, depth: usize) -> Result<()> {
    // SAFETY: the caller's promise, for every pointer below as well.
    let Some(schema) = (unsafe { schema.as_ref() }) else { return Err(invalid_schema("a child is NULL")) };
    if depth > MAX_DEPTH {
        return Err(invalid_schema(format!("it is nested more than {MAX_DEPTH} levels deep")));
    }
    if depth == 0 && schema.release.is_null() {
        return Err(invalid_schema("it was released already"));
    }
    if schema.format.is_null() {
        return Err(invalid_schema("a format is NULL"));
    }
    for text in [schema.format, schema.name] {
        // SAFETY: as above.
        if !text.is_null() && unsafe { CStr::from_ptr(text) }.to_str().is_err() {
            return Err(invalid_schema("a format or name is no UTF-8"));
        }
    }
    // SAFETY: as above.
    let format = unsafe { CStr::from_ptr(schema.format) }.to_bytes();
    let needed = match format {
        b"+r" => 2,
        [b'+', b'l' | b'L' | b'v' | b'w' | b'm', ..] => 1,
        _ => 0,
    };
    if !(needed..=MAX_FIELDS).contains(&schema.n_children) || (schema.n_children > 0 && schema.children.is_null()) {
        return Err(invalid_schema(format!("it has {} children", schema.n_children)));
    }
    for index in 0..schema.n_children as usize {
        // SAFETY: as above.
        unsafe { check_schema(*schema.children.add(index), depth + 1) }?;
    }
    if !schema.dictionary.is_null() {
        // SAFETY: as above.
        unsafe { check_schema(schema.dictionary, depth + 1) }?;
    }
    Ok(())
}

/// Whether arrays of a type can be: what a format says in numbers may be none.
fn check_type(data_type: &DataType) -> Result<()> {
    let is_sound = match data_type {
        DataType::FixedSizeBinary(width) | DataType::FixedSizeList(_, width) => *width >= 0,
        DataType::Dictionary(keys, _) => keys.is_dictionary_key_type(),
        DataType::RunEndEncoded(ends, _) => ends.data_type().is_run_ends_type(),
        DataType::Map(entries, _) => matches!(entries.data_type(), DataType::Struct(fields) if fields.len() == 2),
        _ => true,
    };
    if !is_sound {
        return Err(invalid_schema(format!("there is no {data_type}")));
    }
    inner(data_type).into_iter().chain(words(data_type)).try_for_each(check_type)
}

/// The types of an array's children.
fn inner(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}

/// The type of an array's dictionary.
fn words(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Dictionary(_, words) => Some(words),
        _ => None,
    }
}

unsafe fn check_array(array: &FFI_ArrowArray, data_type: &DataType) -> Result<()> {
    let (length, offset) = (array.len(), array.offset());
    if length > MAX_ROWS || offset > MAX_ROWS {
        return Err(invalid_batch(format!("it has length {} and offset {}", length as i64, offset as i64)));
    }
    // SAFETY: the caller's promise.
    unsafe { check_buffers(array, data_type, length + offset) }?;
    let inner = inner(data_type);
    if array.num_children() != inner.len() {
        return Err(invalid_batch(format!("it has {} children, not {}", array.num_children() as i64, inner.len())));
    }
    // SAFETY: the struct is the specification's, and a pointer to it leads to as many children as it says.
    let children = unsafe { (*std::ptr::from_ref(array).cast::<ArrayFields>()).children };
    for (index, inner) in inner.into_iter().enumerate() {
        // SAFETY: as above.
        let child = if children.is_null() { None } else { unsafe { (*children.add(index)).as_ref() } };
        // SAFETY: the caller's promise.
        unsafe { check_array(child.ok_or_else(|| invalid_batch("a child is NULL"))?, inner) }?;
    }
    match (words(data_type), array.dictionary()) {
        (None, None) => Ok(()),
        // SAFETY: the caller's promise.
        (Some(words), Some(dictionary)) => unsafe { check_array(dictionary, words) },
        (Some(_), None) => Err(invalid_batch("its dictionary is NULL")),
        (None, Some(_)) => Err(invalid_batch(format!("{data_type} has no dictionary"))),
    }
}

/// The fields of `ArrowArray`, as the specification has them.
#[repr(C)]
struct ArrayFields {
    numbers: [i64; 5],
    buffers: *const *const c_void,
    children: *const *const FFI_ArrowArray,
    dictionary: *const FFI_ArrowArray,
    release: *const c_void,
    private_data: *const c_void,
}

unsafe fn check_buffers(array: &FFI_ArrowArray, data_type: &DataType, rows: usize) -> Result<()> {
    let layout = layout(data_type);
    let fixed = layout.buffers.len() + usize::from(layout.can_contain_null_mask) + usize::from(layout.variadic);
    let found = array.num_buffers();
    let is_right = match data_type {
        DataType::Null => found == 0,
        _ if layout.variadic => (fixed..=MAX_FIELDS as usize).contains(&found),
        _ => found == fixed,
    };
    // SAFETY: the struct is the specification's.
    let buffers = unsafe { (*std::ptr::from_ref(array).cast::<ArrayFields>()).buffers };
    if !is_right || (found > 0 && buffers.is_null()) {
        return Err(invalid_batch(format!("{data_type} has {fixed} buffers, not {}", found as i64)));
    }
    match data_type {
        DataType::FixedSizeBinary(width) if rows as u64 * u64::from(width.unsigned_abs()) > MAX_BUFFER_BYTES => {
            Err(invalid_batch(format!("it has {rows} rows of {width} bytes")))
        }
        // SAFETY: the caller's promise: as many offsets as rows, and one more.
        DataType::Utf8 | DataType::Binary => unsafe { check_end(array.buffer(1).cast::<i32>(), array, rows) },
        // SAFETY: as above.
        DataType::LargeUtf8 | DataType::LargeBinary => unsafe { check_end(array.buffer(1).cast::<i64>(), array, rows) },
        DataType::Utf8View | DataType::BinaryView if found > fixed => {
            let sizes = array.buffer(found - 1).cast::<i64>();
            // SAFETY: the caller's promise: one size for each of the buffers between the views and the sizes.
            let size = |index| unsafe { sizes.add(index).read_unaligned() };
            if sizes.is_null() || (0..found - fixed).any(|index| size(index) < 0) {
                return Err(invalid_batch("its buffers' sizes are NULL or negative"));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether the last offset is one: the import takes it for the size of the values.
unsafe fn check_end<O: Copy + Into<i64>>(offsets: *const O, array: &FFI_ArrowArray, rows: usize) -> Result<()> {
    if rows == 0 {
        return Ok(());
    }
    if offsets.is_null() {
        return Err(invalid_batch("its offsets are NULL"));
    }
    // SAFETY: the caller's promise.
    let end: i64 = unsafe { offsets.add(rows).read_unaligned() }.into();
    if end < 0 || (end > 0 && array.buffer(2).is_null()) {
        return Err(invalid_batch(format!("its values end at {end}")));
    }
    Ok(())
}
