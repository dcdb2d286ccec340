//! The operate role: requests from a unix socket into the request ring, answers from events back, and
//! the machine's status for whoever may ask. No iceoryx2 is used.

mod request;
mod client;
mod pending;
mod seats;
mod door;
mod outlook;
mod desk;

pub(crate) use desk::Desk;
