//! Who guesses, alone, in crowds and from everywhere; and who does not.

use super::*;

fn twin(id: &str) -> TwinId {
    TwinId::in_default_tenant(id).unwrap()
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

impl Guesses {
    fn unheard() -> Self {
        let failures = Arc::new(super::Failures::unheard());
        Self(Arc::new(Inner { attempts: Mutex::default(), failures, hashing: Hashing::default() }))
    }
}

fn attempts() -> (Attempts, Instant) {
    (Attempts::default(), Instant::now())
}

impl Attempts {
    /// Makes one of a device: when it is looked at, if it is.
    fn make(&mut self, from: &str, id: &str, mut now: Instant) -> Option<Instant> {
        let deadline = now + PATIENCE;
        loop {
            match self.turn(address(from), &twin(id), now, (deadline, false)) {
                Turn::Now => return Some(now),
                Turn::Later(at, _) => now = at,
                Turn::Never(_) => return None,
            }
        }
    }

    /// It was wrong, and is over.
    fn fail(&mut self, from: &str, id: &str, now: Instant) {
        self.wrong(address(from), &twin(id), now);
        self.ended(address(from));
    }
}

#[test]
fn of_100_000_wrong_passwords_in_an_hour_few_are_looked_at() {
    let (mut attempts, begin) = attempts();
    let (mut now, mut seen) = (begin, 0);

    for _ in 0..100_000 {
        if let Some(at) = attempts.make("192.0.2.1", "pump-1", now) {
            attempts.fail("192.0.2.1", "pump-1", at);
            seen += usize::from(at <= begin + Duration::from_secs(3_600));
            now = at;
        }
        now += Duration::from_millis(36);
    }

    assert!((3_600..=3_640).contains(&seen), "{seen}");
}

#[test]
fn many_at_once_are_turned_away_unseen() {
    let (mut attempts, now) = attempts();
    let mut unseen = 0;
    for n in 0..100_000 {
        // They name another device each time, and none waits for the one before.
        match attempts.turn(address("192.0.2.1"), &twin(&format!("pump-{n}")), now, (now + PATIENCE, false)) {
            Turn::Now => attempts.fail("192.0.2.1", &format!("pump-{n}"), now),
            _ => unseen += 1,
        }
    }

    assert!(unseen >= 99_950, "{unseen}");
}

/// Somebody at that address tries at a device of their own, now: whether it is looked at, waits, or is turned away.
fn crowd(attempts: &mut Attempts, n: usize, now: Instant) -> [usize; 3] {
    let mut turns = [0; 3];
    for n in 0..n {
        match attempts.turn(address("192.0.2.1"), &twin(&format!("pump-{n}")), now, (now + PATIENCE, false)) {
            Turn::Now => turns[0] += 1,
            Turn::Later(..) => {
                attempts.lines.get_mut(&network(address("192.0.2.1").unwrap())).unwrap().waiting += 1;
                turns[1] += 1;
            }
            Turn::Never(_) => turns[2] += 1,
        }
    }
    turns
}

#[test]
fn guesses_at_the_same_time_are_as_many_as_one_after_the_other() {
    let (mut attempts, now) = attempts();
    assert_eq!(crowd(&mut attempts, 1_000, now), [30, 970, 0], "nobody knows yet that they are wrong");

    attempts.fail("192.0.2.1", "pump-0", now);

    // Of those who wait all but a few are turned away when they are woken.
    let mut turned_away = 0;
    for n in 30..1_000 {
        let turn =
            attempts.turn(address("192.0.2.1"), &twin(&format!("pump-{n}")), now, (now + PATIENCE, true));
        if let Turn::Never(_) = turn {
            attempts.lines.get_mut(&network(address("192.0.2.1").unwrap())).unwrap().waiting -= 1;
            turned_away += 1;
        }
    }
    assert!((963..=966).contains(&turned_away), "{turned_away}");
    assert_eq!(crowd(&mut attempts, 10_000, now)[0], 0);
}

#[tokio::test]
async fn a_crowd_that_is_right_comes_in_and_leaves_nothing_behind() {
    let guesses = Guesses::unheard();
    let from = address("192.0.2.1");
    let all: Vec<_> = (0..500)
        .map(|n| {
            let guesses = guesses.clone();
            tokio::spawn(async move {
                let attempt = guesses.attempt(from, &twin(&format!("pump-{n}"))).await?;
                tokio::task::yield_now().await;
                drop(attempt);
                Ok::<_, Duration>(())
            })
        })
        .collect();

    for attempt in all {
        assert_eq!(attempt.await.unwrap(), Ok(()));
    }

    assert!(guesses.lock().lines.is_empty());
}

#[test]
fn what_is_right_waits_for_nothing_but_its_turn() {
    let (mut attempts, now) = attempts();
    for _ in 0..10_000 {
        assert_eq!(attempts.make("192.0.2.1", "pump-1", now), Some(now));
        attempts.ended(address("192.0.2.1"));
    }
    assert!(attempts.lines.is_empty());
}

#[test]
fn a_device_under_attack_is_let_in_from_elsewhere_within_the_patience() {
    let (mut attempts, now) = attempts();
    for n in 0..100_000_u32 {
        attempts.wrong(Some(IpAddr::from(n.to_be_bytes())), &twin("pump-1"), now);
    }

    assert_eq!(attempts.make("198.51.100.7", "pump-1", now), Some(now + PATIENCE));
    assert_eq!(attempts.make("198.51.100.7", "pump-2", now), Some(now));
}

#[test]
fn a_network_of_64_bits_is_one_address() {
    let (mut attempts, now) = attempts();
    for n in 0..60 {
        attempts.wrong(address(&format!("2001:db8:0:1::{n:x}")), &twin(&format!("pump-{n}")), now);
    }

    assert_eq!(attempts.make("2001:db8:0:1:ffff::", "x", now), None);
    assert_eq!(attempts.make("2001:db8:0:2::", "x", now), Some(now));
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
    let (mut attempts, now) = attempts();
    for n in 0..200_000_u32 {
        attempts.wrong(Some(IpAddr::from(n.to_be_bytes())), &twin(&format!("pump-{n}")), now);
        attempts.wrong(address("198.51.100.7"), &twin("pump-1"), now);
    }

    let Attempts { addresses, devices, .. } = &attempts;
    assert!(addresses.newer.len() + addresses.older.len() <= REMEMBERED_MAX);
    assert!(devices.newer.len() + devices.older.len() <= REMEMBERED_MAX);
    assert_eq!(attempts.make("198.51.100.7", "pump-1", now), None);
}
