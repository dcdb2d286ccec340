//! Who acts on the island: planners, operators, vandals and the weather. Each has its own stream of
//! random numbers and sees nothing but published records.
pub mod planner;
pub mod mischief;
pub mod operator;
pub mod vandal;
pub mod weather;
