//! The operate role: requests from a unix socket into the request ring, answers from events back.
//! No iceoryx2 is used.

mod request;
mod client;
mod pending;
mod desk;

pub(crate) use desk::Desk;
