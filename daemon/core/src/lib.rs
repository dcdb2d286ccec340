//! Placeholder until its step lands.
