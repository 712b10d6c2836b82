use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::error::{Cause, ErrorKind};

/// A request runs code of the user's, such as a resolver of the HTTP client: a panic there is a failure of
/// that request, and of nothing else.
pub(crate) async fn contained<O>(request: impl Future<Output = O>) -> Result<O, Cause> {
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
        "see the panic's own message: code of the HTTP client panicked, such as its resolver",
    )
}
