//! rule-engine

pub mod shape;
