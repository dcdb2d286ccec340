//! How a gateway gets its lanes from kadenzd: one unix socket, one question, one answer with
//! descriptors attached. Mainland on both sides; no iceoryx2, and nothing of what travels in lanes.
//!
//! ```text
//! gateway                                   kadenzd
//!   connect R/handover.sock  ───────────►   SO_PEERCRED uid → may it hold the role?
//!   {"role":"plan",…}\n      ───────────►   layout hash equal? role free?
//!            ◄───────────  {"token":…}\n + [outbound fd, inbound fd]   (or {"refused":…}\n, close)
//!   ready\n                  ───────────►   R/plan.epoch = token
//!   (connection stays open: its end is the end of the gateway's, or kadenzd's, life)
//! ```
//!
//! A view gateway is given no inbound lane: who may only look has nothing to command with.

mod role_table;
mod message;
mod lanes;
mod runtime_dir;
mod sys;
mod connection;
mod server;
mod client;

pub use client::{ClientError, Handover, Tether, request};
pub use lanes::{
    CATALOG_REGION, EVENT_REGION, HEALTH_REGION, INCIDENT_REGION, REQUEST_REGION, STATE_REGION,
    contract, mailbox_region, operate_inbound_layout, outbound_layout, plan_inbound_layout,
};
pub use message::{Grant, Terms};
pub use role_table::{RoleRefusal, RoleTable};
pub use runtime_dir::own_operate_socket;
pub use server::{Happening, Offer, Server};
