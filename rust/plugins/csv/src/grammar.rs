//! The types' grammars, one each. Not closures: what a column's loop calls for every value has to be inlined there.

use std::marker::PhantomData;

use arrow_buffer::ArrowNativeType;

use crate::span::Span;
use crate::times;
use crate::values;
use crate::words::Words;

/// What texts mean in a type.
pub trait Grammar {
    /// A value of the type.
    type Value: ArrowNativeType;

    /// The value that a text means. No text that begins with a quote means one.
    fn parse(&self, text: Span) -> Option<Self::Value>;
}

/// Nothing at all.
pub struct Nothing;

impl Grammar for Nothing {
    type Value = u8;

    #[inline(always)]
    fn parse(&self, _: Span) -> Option<u8> {
        None
    }
}

/// Integers with a sign, of at most so many digits.
pub struct Signed<T>(pub usize, pub PhantomData<T>);

impl<T: ArrowNativeType + TryFrom<i64>> Grammar for Signed<T> {
    type Value = T;

    #[inline(always)]
    fn parse(&self, text: Span) -> Option<T> {
        T::try_from(values::signed(text, self.0)?).ok()
    }
}

/// Integers without a sign, be it that of a zero.
pub struct Unsigned<T>(pub usize, pub PhantomData<T>);

impl<T: ArrowNativeType + TryFrom<u64>> Grammar for Unsigned<T> {
    type Value = T;

    #[inline(always)]
    fn parse(&self, text: Span) -> Option<T> {
        match values::integer(text, self.0)? {
            (true, _) => None,
            (false, value) => T::try_from(value).ok(),
        }
    }
}

/// Floats of 32 bits.
pub struct Single;

impl Grammar for Single {
    type Value = f32;

    #[inline(always)]
    fn parse(&self, text: Span) -> Option<f32> {
        values::single(text)
    }
}

/// Floats of 64 bits.
pub struct Double;

impl Grammar for Double {
    type Value = f64;

    #[inline(always)]
    fn parse(&self, text: Span) -> Option<f64> {
        values::float(text, values::DOUBLE_DIGITS)
    }
}

/// Decimals of a precision and a scale.
pub struct Decimal(pub u8, pub i8);

impl Grammar for Decimal {
    type Value = i128;

    #[inline(always)]
    fn parse(&self, text: Span) -> Option<i128> {
        values::decimal(text.text(), self.0, self.1)
    }
}

/// Numbers with the job's separators.
pub struct Separated<'a, G>(pub &'a Words, pub G);

impl<G: Grammar> Grammar for Separated<'_, G> {
    type Value = G::Value;

    fn parse(&self, text: Span) -> Option<G::Value> {
        self.0.number(text, |plain| self.1.parse(plain))
    }
}

/// Truth values, as 0 and 1.
pub struct Truth<'a>(pub &'a Words);

impl Grammar for Truth<'_> {
    type Value = u8;

    #[inline(always)]
    fn parse(&self, text: Span) -> Option<u8> {
        self.0.truth(text).map(u8::from)
    }
}

/// Days.
pub struct Date<'a>(pub &'a Words);

impl Grammar for Date<'_> {
    type Value = i32;

    #[inline(always)]
    fn parse(&self, text: Span) -> Option<i32> {
        self.0.date(text.text())
    }
}

/// Times of day, in units of which a second has so many.
pub struct Clock<T, const PER_SECOND: i64>(pub PhantomData<T>);

impl<T: ArrowNativeType + TryFrom<i64>, const PER_SECOND: i64> Grammar for Clock<T, PER_SECOND> {
    type Value = T;

    #[inline(always)]
    fn parse(&self, text: Span) -> Option<T> {
        let (nanos, digits) = times::time(text.text())?;
        let value = (digits <= digits_of(PER_SECOND)).then_some(nanos / (1_000_000_000 / PER_SECOND))?;
        T::try_from(value).ok()
    }
}

/// Points in time, in units of which a second has so many; with a zone or without.
pub struct Moment<'a, const PER_SECOND: i64>(pub &'a Words, pub bool);

impl<const PER_SECOND: i64> Grammar for Moment<'_, PER_SECOND> {
    type Value = i64;

    #[inline(always)]
    fn parse(&self, text: Span) -> Option<i64> {
        let Self(words, zoned) = self;
        match times::whole_seconds(text.text()) {
            Some(seconds) if !zoned => seconds.checked_mul(PER_SECOND),
            _ => any_moment::<PER_SECOND>(words, *zoned, text.text()),
        }
    }
}

#[inline(never)]
fn any_moment<const PER_SECOND: i64>(words: &Words, zoned: bool, text: &[u8]) -> Option<i64> {
    let instant = words.instant(text)?;
    let fits = instant.zoned == zoned && instant.digits <= digits_of(PER_SECOND);
    if fits { instant.in_units(PER_SECOND) } else { None }
}

/// Digits of a fraction of a second that a unit keeps.
fn digits_of(per_second: i64) -> usize {
    per_second.ilog10() as usize
}
