//! What somebody asks for, and waits for.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Task;
use crate::VaultConfig;
use crate::error::Problem;
use crate::live::clock::Reading;
use crate::live::source::{Source, Trouble};

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    pub(super) fn refresh(&mut self, now: Reading, asked: oneshot::Sender<Vec<Problem>>) {
        for source in &mut self.sources {
            source.hurry(now);
        }
        self.token.hurry();
        let all: BTreeSet<usize> = (0..self.sources.len()).collect();
        match all.is_empty() {
            true => drop(asked.send(Vec::new())),
            false => self.awaited.push((all, asked)),
        }
    }

    /// There is nothing to do for this source at the moment: what was asked for is done. A renewal
    /// that led to a rotation was waited for.
    pub(super) fn tell_who_waits(&mut self, index: usize, now: Reading) {
        if self.awaited.is_empty() {
            return;
        }
        let leaving = self.token.is_leaving();
        let later = |source: &Source| source.wait(now, leaving).is_some_and(|wait| wait.is_zero());
        if leaving && self.sources.get(index).is_some_and(later) {
            return;
        }
        for (waited_for, _) in &mut self.awaited {
            waited_for.remove(&index);
        }
        let problems: Vec<Problem> = self
            .sources
            .iter()
            .filter_map(|source| {
                let trouble = source.wrong()?;
                let cause = Arc::clone(&trouble.cause);
                Some(Problem::of_field(&source.names.join(", "), "", Vec::new(), cause))
            })
            .collect();
        for (_, asked) in self.awaited.extract_if(.., |(waited_for, _)| waited_for.is_empty()) {
            let _ = asked.send(problems.clone());
        }
    }

    pub(super) fn tell_all_who_wait(&mut self) {
        for (_, asked) in std::mem::take(&mut self.awaited) {
            let _ = asked.send(self.token.trouble().into_iter().map(problem).collect());
        }
    }
}

fn problem(trouble: &Trouble) -> Problem {
    Problem::general_of(Arc::clone(&trouble.cause))
}
