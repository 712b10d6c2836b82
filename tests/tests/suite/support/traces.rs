use std::fmt::{Debug, Write as _};
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Id, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use vault_config::Error;

use super::every_rendering;

/// Lets `layer` see what this thread traces, until the guard is dropped.
pub(crate) fn listen(layer: impl Layer<Registry> + Send + Sync) -> DefaultGuard {
    // With one subscriber alone, tracing caches for each event whether the first thread that reaches it is
    // interested, and that may be the thread of another test.
    static ANOTHER: LazyLock<Dispatch> =
        LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&ANOTHER);
    tracing::subscriber::set_default(tracing_subscriber::registry().with(layer))
}

/// Everything that any crate traces, at every level, fields included.
#[derive(Clone, Default)]
pub(crate) struct TraceRecorder(Arc<Mutex<String>>);

impl TraceRecorder {
    /// Records what this thread traces, until the guard is dropped.
    pub(crate) fn of_this_thread(&self) -> impl Sized + use<> {
        listen(self.clone())
    }

    /// How many lines contain this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.0.lock().unwrap().lines().filter(|line| line.contains(text)).count()
    }
}

impl Visit for TraceRecorder {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

impl<S: Subscriber> Layer<S> for TraceRecorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
        writeln!(self.0.lock().unwrap(), "in {}", event.metadata().target()).unwrap();
    }

    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        span.record(&mut self.clone());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

/// Neither an error nor a trace contains one of these secrets.
pub(crate) fn assert_no_secret(errors: &[Error], traces: &TraceRecorder, secrets: &[&str]) {
    let traces = traces.0.lock().unwrap();
    for secret in secrets {
        for error in errors {
            assert!(!every_rendering(error).contains(secret), "{secret} in {error}");
        }
        let leak = traces.lines().find(|line| line.contains(secret));
        assert_eq!(leak, None, "{secret}");
    }
}

/// The events of the library from `info` up, a line each: the level, then the fields.
#[derive(Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<Vec<String>>>);

impl LogLines {
    /// The lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct LogLine(String);

impl Visit for LogLine {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl<S: Subscriber> Layer<S> for LogLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target().starts_with("vault_config") && *metadata.level() <= Level::INFO {
            let mut line = LogLine(metadata.level().to_string());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }
}

/// What a load logs on this thread.
pub(crate) async fn logged<F: Future>(load: F) -> Vec<String> {
    let lines = LogLines::default();
    let guard = listen(lines.clone());
    load.await;
    drop(guard);
    lines.take()
}
