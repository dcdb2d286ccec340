//! Wake-up latency in counted time: the real daemon against cyclictest, on the same kernel, at the same priority and
//! period, beside the same company.

pub mod histogram;
pub mod golden;
pub mod stage;
pub mod outcome;
