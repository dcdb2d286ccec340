//! Who keeps a place and who comes next among the clients of several users: pure rules, no socket.
//!
//! Both rules go by user, because whoever opens one connection can open thirty.

/// One client, as these rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Its user.
    pub(crate) uid: u32,
    /// When it connected, or last asked for something that could be asked; CLOCK_MONOTONIC.
    pub(crate) asked_ns: u64,
    /// It waits for an answer.
    pub(crate) is_busy: bool,
    /// Grows with every turn that is given: when it had its last one.
    pub(crate) turn: u64,
}

/// The seat that a newcomer of `uid` gets when all are taken: one of the user who has most, the one
/// that has had nothing under way for longest. `None`: the newcomer's own user has most, and waits
/// for an answer on every seat.
pub(crate) fn who_parts(seats: &[Seat], uid: u32) -> Option<usize> {
    let count = |uid: u32| seats.iter().filter(|seat| seat.uid == uid).count();
    let own = count(uid) + 1;
    let most = seats.iter().map(|seat| count(seat.uid)).max()?;
    let parts = |seat: &Seat| {
        if own > most {
            return seat.uid == uid && !seat.is_busy;
        }
        // Who has more than the newcomer parts even while something is under way.
        count(seat.uid) == most && (!seat.is_busy || most > own)
    };
    let candidates = seats.iter().enumerate().filter(|(_, seat)| parts(seat));
    candidates.min_by_key(|(_, seat)| (seat.is_busy, seat.asked_ns)).map(|(place, _)| place)
}

/// The next to be served of those that `wants` something: of the user whose last turn is longest ago
/// the client whose last turn is.
pub(crate) fn who_is_next(seats: &[Seat], wants: impl Fn(usize) -> bool) -> Option<usize> {
    let users_turn = |uid: u32| {
        seats.iter().filter(|seat| seat.uid == uid).map(|seat| seat.turn).max().unwrap_or(0)
    };
    let waiting = seats.iter().enumerate().filter(|(place, _)| wants(*place));
    waiting.min_by_key(|(_, seat)| (users_turn(seat.uid), seat.turn)).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seat(uid: u32, asked_ns: u64, is_busy: bool) -> Seat {
        Seat { uid, asked_ns, is_busy, turn: 0 }
    }

    #[test]
    fn a_user_with_many_connections_makes_room_for_another_user_even_while_busy() {
        let mut seats: Vec<Seat> = (0..31).map(|n| seat(1, 100 + n, true)).collect();
        seats.push(seat(2, 0, false));
        assert_eq!(who_parts(&seats, 3), Some(0), "not the single idle one of user 2");
        seats[7].is_busy = false;
        assert_eq!(who_parts(&seats, 3), Some(7), "an idle one first");
        assert_eq!(who_parts(&seats, 2), Some(7));
    }

    #[test]
    fn a_user_alone_makes_room_for_himself_and_is_refused_only_when_busy_everywhere() {
        let mut seats: Vec<Seat> = (0..32).map(|n| seat(1, 100 - n, false)).collect();
        assert_eq!(who_parts(&seats, 1), Some(31), "idle for longest");
        for one in &mut seats {
            one.is_busy = true;
        }
        assert_eq!(who_parts(&seats, 1), None);
    }

    #[test]
    fn users_take_turns_however_many_clients_one_of_them_has() {
        let mut seats: Vec<Seat> = (0..20).map(|_| seat(1, 0, true)).collect();
        seats.push(seat(2, 0, true));
        let served: Vec<u32> = (1..=8)
            .map(|turn| {
                let place = who_is_next(&seats, |_| true).unwrap();
                seats[place].turn = turn;
                seats[place].uid
            })
            .collect();
        assert_eq!(served, [1, 2, 1, 2, 1, 2, 1, 2]);
    }

    proptest! {
        #[test]
        fn nobody_loses_a_seat_to_a_user_who_has_more(
            users in proptest::collection::vec((0..5_u32, 0..9_u64, any::<bool>()), 1..32),
            uid in 0..5_u32,
        ) {
            let seats: Vec<Seat> =
                users.iter().map(|(uid, ns, busy)| seat(*uid, *ns, *busy)).collect();
            let count = |uid: u32| seats.iter().filter(|seat| seat.uid == uid).count();
            if let Some(place) = who_parts(&seats, uid) {
                prop_assert!(seats[place].uid == uid || count(seats[place].uid) > count(uid));
            }
            // Whoever has fewer than somebody else by two gets in.
            let most = seats.iter().map(|seat| count(seat.uid)).max().unwrap_or(0);
            if most > count(uid) + 1 {
                prop_assert!(who_parts(&seats, uid).is_some());
            }
        }

        #[test]
        fn between_two_turns_of_a_waiting_user_every_other_user_has_one_at_most(
            clients in proptest::collection::vec(0..4_u32, 1..20),
        ) {
            let mut seats: Vec<Seat> = clients.iter().map(|uid| seat(*uid, 0, true)).collect();
            let mut last = std::collections::HashMap::new();
            let users = clients.iter().collect::<std::collections::HashSet<_>>().len() as u64;
            for turn in 1..60_u64 {
                let place = who_is_next(&seats, |_| true).unwrap();
                seats[place].turn = turn;
                if let Some(before) = last.insert(seats[place].uid, turn) {
                    prop_assert!(turn - before <= users);
                }
            }
        }
    }
}
