//! What every process owes the service manager that started it: signs of life, and log lines with a priority. No process's own work.

pub mod notify;
pub mod journal;
