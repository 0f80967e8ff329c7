//! Python's dates and times as Arrow counts them: by the thousand, so they are read from where CPython keeps them.
//!
//! The stable ABI has no access to them but attribute by attribute, which takes ten times as long. Where they are kept is
//! not promised, so it is looked at once, on values that are known; where it differs, attributes it is.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDate, PyDateTime, PyTzInfo};

/// Behind the head of every object: a hash, then whether there is a time zone, then the value itself.
const HAS_ZONE: usize = 3 * size_of::<usize>();
const DATE: usize = HAS_ZONE + 1;
/// Two bytes of the year, month, day; hour, minute, second, three bytes of the microsecond.
const TIME_BYTES: usize = 10;
const DATE_BYTES: usize = 4;

/// Tells dates and times in numbers.
pub(crate) struct Moments {
    is_direct: bool,
    time_origin: Py<PyAny>,
    date_origin: Py<PyAny>,
}

impl Moments {
    /// Looks at where this Python keeps them.
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        let utc = PyTzInfo::utc(py)?.to_owned();
        let time = |zone| PyDateTime::new(py, 0x0708, 9, 10, 11, 12, 13, 0x0E0F10, zone);
        let (plain, zoned) = (time(None)?, time(Some(&utc))?);
        let date = PyDate::new(py, 0x0708, 9, 10)?;
        let size =
            |object: &Bound<'_, PyAny>| object.get_type().getattr(intern!(py, "__basicsize__"))?.extract::<usize>();
        let is_large = size(&plain)? >= DATE + TIME_BYTES && size(&date)? >= DATE + DATE_BYTES;
        // SAFETY: the objects are alive and of types whose own size reaches as far.
        let is_direct = is_large
            && unsafe {
                let known = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
                value_bytes::<TIME_BYTES>(&plain) == Some(known)
                    && value_bytes::<TIME_BYTES>(&zoned).is_none()
                    && date_bytes(&date) == known[..DATE_BYTES]
            };
        let time_origin = PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, None)?.into_any().unbind();
        Ok(Self { is_direct, time_origin, date_origin: PyDate::new(py, 1970, 1, 1)?.into_any().unbind() })
    }

    /// Microseconds since 1970 of a `datetime` without a time zone; `None` for anything else, subclasses too.
    #[inline]
    pub(crate) fn microseconds(&self, value: &Bound<'_, PyAny>) -> Option<i64> {
        if !value.is_exact_instance_of::<PyDateTime>() {
            return None;
        }
        if !self.is_direct {
            return self.by_attributes(value);
        }
        // SAFETY: an object of exactly this type has its value where the known one had it.
        let [.., hour, minute, second, high, middle, low] = unsafe { value_bytes::<TIME_BYTES>(value) }?;
        // SAFETY: as above.
        let days = days_of(unsafe { date_bytes(value) });
        let seconds = ((i64::from(days) * 24 + i64::from(hour)) * 60 + i64::from(minute)) * 60 + i64::from(second);
        Some(seconds * 1_000_000 + i64::from(u32::from_be_bytes([0, high, middle, low])))
    }

    /// Days since 1970 of a `date` that is no `datetime`; `None` for anything else.
    #[inline]
    pub(crate) fn days(&self, value: &Bound<'_, PyAny>) -> Option<i32> {
        if !value.is_exact_instance_of::<PyDate>() {
            return None;
        }
        if !self.is_direct {
            return value.sub(&self.date_origin).ok()?.getattr(intern!(value.py(), "days")).ok()?.extract().ok();
        }
        // SAFETY: an object of exactly this type has its value where the known one had it.
        Some(days_of(unsafe { date_bytes(value) }))
    }

    fn by_attributes(&self, value: &Bound<'_, PyAny>) -> Option<i64> {
        // Refused where the value has a zone.
        let since = value.sub(&self.time_origin).ok()?;
        let part = |name: &str| since.getattr(name).ok()?.extract::<i64>().ok();
        Some((part("days")? * 86_400 + part("seconds")?) * 1_000_000 + part("microseconds")?)
    }
}

/// The value of an object without a time zone.
///
/// # Safety
/// The object reaches as far.
#[inline]
unsafe fn value_bytes<const N: usize>(object: &Bound<'_, PyAny>) -> Option<[u8; N]> {
    let start = object.as_ptr().cast::<u8>();
    // SAFETY: the caller's promise. The bytes never change: these objects are immutable.
    unsafe { (start.add(HAS_ZONE).read() == 0).then(|| start.add(DATE).cast::<[u8; N]>().read()) }
}

/// The date of an object, which has no use for whether there is a zone.
///
/// # Safety
/// The object reaches as far.
#[inline]
unsafe fn date_bytes(object: &Bound<'_, PyAny>) -> [u8; DATE_BYTES] {
    // SAFETY: the caller's promise.
    unsafe { object.as_ptr().cast::<u8>().add(DATE).cast::<[u8; DATE_BYTES]>().read() }
}

/// Days since 1970 of a date of the calendar that Python takes for that of all years.
fn days_of([high, low, month, day]: [u8; DATE_BYTES]) -> i32 {
    // Years that begin in March end with the day that some don't have.
    let month = i32::from(month);
    let year = i32::from(u16::from_be_bytes([high, low])) - i32::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i32::from(day) - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}
