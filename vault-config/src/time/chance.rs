use std::sync::{Arc, Mutex, PoisonError};

/// The one generator of a connection: every jitter comes from it, so that a run with a given seed can be repeated.
#[derive(Debug, Clone)]
pub(crate) struct Chance(Arc<Mutex<fastrand::Rng>>);

impl Chance {
    #[cfg(test)]
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// In `0.0..1.0`.
    pub(crate) fn fraction(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let chance = Chance::seeded(seed);
            let same_generator = chance.clone();
            [chance.fraction(), same_generator.fraction(), chance.fraction()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let [first, second, third] = draw(7);
        assert!(first != second && second != third, "the clones share one sequence");
    }
}
