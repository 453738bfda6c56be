use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::{runtime::Handle, time::timeout};

use crate::review::ports::LookupError;

/// How many look-ups may be under way at once.
const LIMIT: usize = 256;
/// How long one look-up may take, whoever waits for it.
const LONGEST: Duration = Duration::from_secs(10);

type Answer<V> = Result<V, LookupError>;
type Flight<V> = Shared<BoxFuture<'static, Answer<V>>>;

/// Look-ups that are under way: one for each key, however many wait for it.
///
/// A look-up runs on our own runtime and goes on when those who wait have left, so that a retry may
/// find its answer. It ends after ten seconds at the latest.
pub(super) struct Flights<K, V> {
    runtime: Handle,
    under_way: Arc<Mutex<HashMap<K, Flight<V>>>>,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, under_way: Arc::default() }
    }

    /// The answer for `key`: of the look-up that is under way, or of `look_up`, which is begun if there
    /// is none.
    pub(super) async fn join<F>(&self, key: K, look_up: impl FnOnce() -> F) -> Answer<V>
    where
        F: Future<Output = Answer<V>> + Send + 'static,
    {
        self.board(key, look_up)?.await
    }

    fn board<F>(&self, key: K, look_up: impl FnOnce() -> F) -> Result<Flight<V>, LookupError>
    where
        F: Future<Output = Answer<V>> + Send + 'static,
    {
        // OK because nothing that holds this lock can panic
        let mut under_way = self.under_way.lock().unwrap();
        if let Some(flight) = under_way.get(&key) {
            return Ok(flight.clone());
        }
        if under_way.len() >= LIMIT {
            return Err(LookupError("too many questions to the API server at once: try again".to_owned()));
        }
        let landing = Landing { under_way: self.under_way.clone(), key: key.clone() };
        let look_up = look_up();
        let task = self.runtime.spawn(async move {
            let _landing = landing;
            timeout(LONGEST, look_up).await.unwrap_or_else(|_| {
                Err(LookupError(format!("the API server gave no answer within {} s", LONGEST.as_secs())))
            })
        });
        let flight = task
            .map(|ended| ended.unwrap_or_else(|_| Err(LookupError("the look-up broke off".to_owned()))))
            .boxed()
            .shared();
        under_way.insert(key, flight.clone());
        Ok(flight)
    }
}

/// Takes a look-up out of the list when it ends, however it ends.
struct Landing<K: Eq + Hash, V: Clone> {
    under_way: Arc<Mutex<HashMap<K, Flight<V>>>>,
    key: K,
}

impl<K: Eq + Hash, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        // OK because nothing that holds this lock can panic
        self.under_way.lock().unwrap().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures::future::{join_all, pending};
    use tokio::{runtime::Handle, sync::Notify, task::yield_now};

    use super::{Flights, LIMIT};
    use crate::review::ports::LookupError;

    #[tokio::test]
    async fn those_who_ask_the_same_share_one_look_up() {
        let flights = Flights::<u8, usize>::new(Handle::current());
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (asked, gate) = (asked.clone(), gate.clone());
            async move {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                Ok(number)
            }
        };
        let open = async {
            yield_now().await;
            gate.notify_waiters();
        };
        let (answers, ()) = tokio::join!(join_all((0..8).map(|_| flights.join(1, ask))), open);
        assert_eq!(answers, vec![Ok(0); 8]);
        gate.notify_one();
        assert_eq!(flights.join(1, ask).await, Ok(1), "what has landed is asked again");
    }

    #[tokio::test]
    async fn a_look_up_goes_on_when_nobody_waits() {
        let flights = Flights::<u8, u8>::new(Handle::current());
        let done = Arc::new(Notify::new());
        let told = done.clone();
        let flight = flights
            .board(1, || async move {
                yield_now().await;
                told.notify_one();
                Ok(1)
            })
            .unwrap();
        drop(flight);
        done.notified().await;
    }

    #[tokio::test]
    async fn a_panic_is_an_error_for_those_who_wait() {
        let flights = Flights::<u8, u8>::new(Handle::current());
        let answer = flights.join(1, || async { panic!("on purpose") }).await;
        assert_eq!(answer, Err(LookupError("the look-up broke off".to_owned())));
        assert!(flights.under_way.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn there_is_a_limit_to_what_is_under_way() {
        let flights = Flights::<usize, u8>::new(Handle::current());
        for key in 0..LIMIT {
            drop(flights.board(key, pending).unwrap());
        }
        assert!(flights.board(LIMIT, pending).is_err());
    }
}
