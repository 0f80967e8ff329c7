//! Schemas and arrays of somebody else's making, every buffer exactly as long as it says, some with one lie in them. A length
//! that is plausible and too long is no lie here: nobody can see it.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_void};
use std::ptr;

use crate::source::Source;

#[repr(C)]
pub struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private_data: *mut c_void,
}

#[repr(C)]
pub struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private_data: *mut c_void,
}

const FORMATS: [&str; 32] = [
    "n",
    "b",
    "c",
    "S",
    "i",
    "l",
    "e",
    "g",
    "u",
    "U",
    "z",
    "Z",
    "vu",
    "vz",
    "w:3",
    "d:10,2",
    "d:60,2,256",
    "tdD",
    "tsu:UTC",
    "tin",
    "+l",
    "+L",
    "+vl",
    "+vL",
    "+w:2",
    "+s",
    "+m",
    "+r",
    "+us:0,1",
    "+ud:0,1",
    "l",
    "u",
];
const WRONG_FORMATS: [&[u8]; 12] = [
    b"",
    b"what",
    b"\xff",
    b"w:-1",
    b"w:99999999999",
    b"w:2147483647",
    b"d:200,100",
    b"d:0,0",
    b"+w:-1",
    b"+ud:",
    b"+us:0,0",
    b"tsu",
];
const LIES: [i64; 9] = [i64::MIN, -(1 << 31), -2, -1, 0, 1, 1 << 31, 1 << 62, i64::MAX];

/// A column's type.
pub struct Type {
    format: Vec<u8>,
    name: Vec<u8>,
    children: Vec<Type>,
    dictionary: Option<Box<Type>>,
}

impl Type {
    pub fn rows(source: &mut Source) -> Self {
        let children = (0..source.byte() % 4).map(|_| Self::any(source, 0)).collect();
        Self { format: b"+s".into(), name: Vec::new(), children, dictionary: None }
    }

    fn plain(format: &[u8], children: Vec<Type>) -> Self {
        Self { format: format.into(), name: b"x".into(), children, dictionary: None }
    }

    fn any(source: &mut Source, depth: usize) -> Self {
        let choice = source.byte();
        if choice >= 250 {
            return Self::plain(WRONG_FORMATS[usize::from(source.byte()) % WRONG_FORMATS.len()], Vec::new());
        }
        let simple = if depth > 2 { 20 } else { FORMATS.len() };
        let format = FORMATS[usize::from(choice) % simple].as_bytes();
        let mut child = || Self::any(source, depth + 1);
        let children = match format {
            b"+s" | b"+us:0,1" | b"+ud:0,1" => vec![child(), child()],
            b"+m" => vec![Self::plain(b"+s", vec![child(), child()])],
            b"+r" => vec![Self::plain(b"i", Vec::new()), child()],
            [b'+', ..] => vec![child()],
            _ => Vec::new(),
        };
        let mut made = Self::plain(format, children);
        if matches!(format, b"c" | b"S" | b"i" | b"l") && source.byte() % 4 == 0 {
            made.dictionary = Some(Box::new(Self::any(source, depth + 1)));
        }
        made
    }
}

/// What schemas and arrays point to, for as long as they are used.
#[derive(Default)]
pub struct Memory {
    texts: Vec<CString>,
    blocks: Vec<Box<[u8]>>,
    buffers: Vec<Box<[*const c_void]>>,
    schemas: Vec<Box<Schema>>,
    schema_lists: Vec<Box<[*mut Schema]>>,
    arrays: Vec<Box<Array>>,
    array_lists: Vec<Box<[*mut Array]>>,
    /// Roots that were given back.
    pub released: Cell<usize>,
}

unsafe extern "C" fn release_schema(schema: *mut Schema) {
    unsafe { (*schema).release = None }
}

unsafe extern "C" fn release_array(array: *mut Array) {
    unsafe {
        (*array).release = None;
        if let Some(memory) = (*array).private_data.cast::<Memory>().as_ref() {
            memory.released.set(memory.released.get() + 1);
        }
    }
}

impl Array {
    pub fn is_alive(&self) -> bool {
        self.release.is_some()
    }

    /// Unless somebody has taken it.
    pub fn release(&mut self) {
        if let Some(release) = self.release {
            unsafe { release(self) };
        }
    }
}

impl Memory {
    fn text(&mut self, bytes: &[u8]) -> *const c_char {
        let text = CString::new(bytes).unwrap_or_default();
        let at = text.as_ptr();
        self.texts.push(text);
        at
    }

    fn block(&mut self, bytes: Vec<u8>) -> *const c_void {
        let block = bytes.into_boxed_slice();
        let at = block.as_ptr().cast();
        self.blocks.push(block);
        at
    }

    pub fn schema(&mut self, of: &Type, source: &mut Source) -> *mut Schema {
        let children: Vec<_> = of.children.iter().map(|child| self.schema(child, source)).collect();
        let dictionary = of.dictionary.as_deref().map_or(ptr::null_mut(), |words| self.schema(words, source));
        let n_children = children.len() as i64;
        let mut list = children.into_boxed_slice();
        let mut made = Schema {
            format: self.text(&of.format),
            name: self.text(&of.name),
            metadata: ptr::null(),
            flags: 2,
            n_children,
            children: list.as_mut_ptr(),
            dictionary,
            release: Some(release_schema),
            private_data: ptr::null_mut(),
        };
        if source.byte() >= 240 {
            match source.byte() % 8 {
                0 => made.format = ptr::null(),
                1 => made.name = self.text(b"\xff\xfe"),
                2 => made.name = ptr::null(),
                3 => made.n_children = lie_about(n_children, source),
                4 => made.children = ptr::null_mut(),
                5 if n_children > 0 => list[0] = ptr::null_mut(),
                6 => made.metadata = self.block((source.number() as i32).min(0).to_ne_bytes().into()).cast(),
                _ => made.release = None,
            }
        }
        self.schema_lists.push(list);
        self.schemas.push(Box::new(made));
        ptr::from_mut(self.schemas.last_mut().expect("pushed").as_mut())
    }

    /// Rows of a type; released, they count.
    pub fn batch(&mut self, of: &Type, source: &mut Source) -> &'static mut Array {
        let root = unsafe { &mut *self.array(of, usize::from(source.byte() % 40), source) };
        root.private_data = ptr::from_mut(self).cast();
        if source.byte() > 250 {
            root.release = None;
        }
        root
    }

    fn array(&mut self, of: &Type, rows: usize, source: &mut Source) -> *mut Array {
        let offset = usize::from(source.byte() % 8).saturating_sub(4);
        let end = rows + offset; // of what its buffers hold
        let mut buffers = Vec::new();
        let has_nulls = !matches!(of.format.as_slice(), [b'n', ..] | [b'+', b'u' | b'r', ..]);
        if has_nulls {
            let nulls = (source.byte() % 3 > 0).then(|| random(end.div_ceil(8), source));
            buffers.push(nulls.map_or(ptr::null(), |nulls| self.block(nulls)));
        }
        let mut inner = vec![end; of.children.len()];
        match of.format.as_slice() {
            b"u" | b"z" => buffers.extend(self.texts::<i32>(end, source)),
            b"U" | b"Z" => buffers.extend(self.texts::<i64>(end, source)),
            b"vu" | b"vz" => buffers.extend(self.views(end, source)),
            b"+l" | b"+m" => {
                buffers.push(self.numbers::<i32>(end + 1, source));
                inner = vec![usize::from(source.byte() % 50)];
            }
            b"+L" => {
                buffers.push(self.numbers::<i64>(end + 1, source));
                inner = vec![usize::from(source.byte() % 50)];
            }
            b"+vl" => buffers.extend([self.numbers::<i32>(end, source), self.numbers::<i32>(end, source)]),
            b"+vL" => buffers.extend([self.numbers::<i64>(end, source), self.numbers::<i64>(end, source)]),
            b"+w:2" => inner = vec![2 * end],
            b"+us:0,1" => buffers.push(self.block(random(end, source).iter().map(|byte| byte % 3).collect())),
            b"+ud:0,1" => {
                buffers.push(self.block(random(end, source).iter().map(|byte| byte % 3).collect()));
                buffers.push(self.numbers::<i32>(end, source));
            }
            b"+r" => inner = vec![usize::from(source.byte() % 20); 2],
            other => {
                if let Some(bytes) = bytes_of(other, end) {
                    buffers.push(self.block(random(bytes, source)));
                }
            }
        }
        let children: Vec<_> =
            of.children.iter().zip(inner).map(|(child, rows)| self.array(child, rows, source)).collect();
        let dictionary =
            of.dictionary.as_deref().map(|words| self.array(words, usize::from(source.byte() % 9), source));
        let (n_buffers, n_children) = (buffers.len() as i64, children.len() as i64);
        let (mut buffers, mut children) = (buffers.into_boxed_slice(), children.into_boxed_slice());
        let mut made = Array {
            length: rows as i64,
            null_count: source.maybe(|_| -1).unwrap_or_else(|| source.number()),
            offset: offset as i64,
            n_buffers,
            n_children,
            buffers: buffers.as_mut_ptr(),
            children: children.as_mut_ptr(),
            dictionary: dictionary.unwrap_or(ptr::null_mut()),
            release: Some(release_array),
            private_data: ptr::null_mut(),
        };
        if source.byte() >= 240 {
            let far = [LIES[0], LIES[1], LIES[2], LIES[3], LIES[6], LIES[7], LIES[8]][usize::from(source.byte()) % 7];
            match source.byte() % 9 {
                0 => made.length = far,
                1 => made.offset = far,
                2 => made.n_buffers = lie_about(n_buffers, source),
                3 => made.n_children = lie_about(n_children, source),
                4 => made.buffers = ptr::null_mut(),
                5 if n_buffers > 0 => buffers[usize::from(source.byte()) % buffers.len()] = ptr::null(),
                6 => made.children = ptr::null_mut(),
                7 if n_children > 0 => children[usize::from(source.byte()) % children.len()] = ptr::null_mut(),
                _ => made.dictionary = ptr::null_mut(),
            }
        }
        self.buffers.push(buffers);
        self.array_lists.push(children);
        self.arrays.push(Box::new(made));
        ptr::from_mut(self.arrays.last_mut().expect("pushed").as_mut())
    }

    /// Numbers, mostly ascending from zero, as offsets and sizes are.
    fn numbers<N: Number>(&mut self, count: usize, source: &mut Source) -> *const c_void {
        let numbers = ascending(count, source);
        self.block(numbers.into_iter().flat_map(N::bytes).collect())
    }

    /// Offsets and values: as many bytes as the last offset says, where it says a number.
    fn texts<N: Number>(&mut self, count: usize, source: &mut Source) -> [*const c_void; 2] {
        let mut offsets = ascending(count + 1, source);
        let end = &mut offsets[count];
        *end = (*end).min(1 << 12);
        let values = random(usize::try_from(*end).unwrap_or(0), source);
        [self.block(offsets.into_iter().flat_map(N::bytes).collect()), self.block(values)]
    }

    fn views(&mut self, count: usize, source: &mut Source) -> Vec<*const c_void> {
        let sizes: Vec<_> = (0..source.byte() % 3).map(|_| usize::from(source.byte() % 30)).collect();
        let views = (0..count).flat_map(|_| {
            let length = i32::from(source.byte() % 20);
            let place = [source.number() as i32, i32::from(source.byte() % 3), i32::from(source.byte() % 20)];
            [length, place[0], place[1], place[2]].into_iter().flat_map(i32::to_ne_bytes).collect::<Vec<_>>()
        });
        let views = views.collect();
        let mut buffers = vec![self.block(views)];
        buffers.extend(sizes.iter().map(|size| self.block(random(*size, source))));
        let told = sizes.iter().map(|size| if source.byte() > 250 { source.number().min(0) } else { *size as i64 });
        let told = told.flat_map(i64::to_ne_bytes).collect();
        buffers.push(self.block(told));
        buffers
    }
}

/// Another count: none that is plausible and too high.
fn lie_about(count: i64, source: &mut Source) -> i64 {
    let lie = LIES[usize::from(source.byte()) % LIES.len()];
    if (0..1 << 21).contains(&lie) { lie.min(count) } else { lie }
}

trait Number {
    fn bytes(number: i64) -> Vec<u8>;
}

impl Number for i32 {
    fn bytes(number: i64) -> Vec<u8> {
        (number as i32).to_ne_bytes().into()
    }
}

impl Number for i64 {
    fn bytes(number: i64) -> Vec<u8> {
        number.to_ne_bytes().into()
    }
}

fn ascending(count: usize, source: &mut Source) -> Vec<i64> {
    let mut last = 0;
    let next = |_| match source.byte() {
        odd @ 248.. => LIES[usize::from(odd) % LIES.len()],
        step => {
            last += i64::from(step % 4);
            last
        }
    };
    (0..count).map(next).collect()
}

fn random(bytes: usize, source: &mut Source) -> Vec<u8> {
    (0..bytes).map(|_| source.byte()).collect()
}

fn bytes_of(format: &[u8], rows: usize) -> Option<usize> {
    let width = match format {
        b"b" => return Some(rows.div_ceil(8)),
        b"c" => 1,
        b"S" | b"e" => 2,
        b"w:3" => 3,
        b"i" | b"tdD" => 4,
        b"l" | b"g" | b"tsu:UTC" => 8,
        b"d:60,2,256" => 32,
        b"d:10,2" | b"tin" | b"d:200,100" | b"d:0,0" => 16,
        _ => return None,
    };
    Some(rows * width)
}
