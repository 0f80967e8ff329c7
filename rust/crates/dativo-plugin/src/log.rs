//! Lines for a person who looks at a run.

use std::fmt;
use std::sync::Arc;

/// How much a line matters; the numbers are those of Python's logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not shown unless somebody asks for it.
    Debug = 10,
    /// What happens.
    Info = 20,
    /// What a person should look at.
    Warning = 30,
    /// What went wrong.
    Error = 40,
}

type Sink = dyn Fn(Level, &str) + Send + Sync;

/// The run's log, as the host lends it; without a host, lines go nowhere. Any thread may write. Not for rows: a line takes
/// microseconds.
#[derive(Clone, Default)]
pub struct Log(Option<Arc<Sink>>);

impl Log {
    /// A log that hands each line to `sink`.
    pub fn to(sink: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }

    /// Writes a line. Secrets of the job's connection and credentials show as `***`.
    pub fn line(&self, level: Level, text: impl AsRef<str>) {
        if let Some(sink) = &self.0 {
            sink(level, text.as_ref());
        }
    }

    /// Writes what is not shown unless somebody asks for it.
    pub fn debug(&self, text: impl AsRef<str>) {
        self.line(Level::Debug, text);
    }

    /// Writes what happens.
    pub fn info(&self, text: impl AsRef<str>) {
        self.line(Level::Info, text);
    }

    /// Writes what a person should look at.
    pub fn warning(&self, text: impl AsRef<str>) {
        self.line(Level::Warning, text);
    }

    /// Writes what went wrong.
    pub fn error(&self, text: impl AsRef<str>) {
        self.line(Level::Error, text);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Log" } else { "Log(nowhere)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn lines_go_to_the_sink_or_nowhere() {
        let lines: Arc<Mutex<Vec<(Level, String)>>> = Arc::default();
        let kept = lines.clone();
        let log = Log::to(move |level, text| kept.lock().expect("not poisoned").push((level, text.to_owned())));
        log.clone().warning("no header");
        log.debug(String::from("3 pages"));
        Log::default().error("unheard");
        let found = lines.lock().expect("not poisoned");
        assert_eq!(*found, [(Level::Warning, "no header".to_owned()), (Level::Debug, "3 pages".to_owned())]);
    }
}
