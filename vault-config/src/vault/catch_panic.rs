use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::error::{Cause, ErrorKind};

/// Runs a request and turns a panic in it into an error. A request runs code of the user, such as the
/// resolver of the HTTP client or a login method, and a panic there must not end the task that refreshes
/// everything else.
pub(crate) async fn catch_panic<O>(request: impl Future<Output = O>) -> Result<O, Cause> {
    let mut request = pin!(request);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(context)));
        polled.map_or_else(|_| Poll::Ready(Err(panicked())), |polled| polled.map(Ok))
    })
    .await
}

fn panicked() -> Cause {
    Cause::new(
        ErrorKind::Runtime,
        "the request panicked",
        "see the panic's message: code of the HTTP client, such as its resolver, may have panicked",
    )
}
