//! bus-core
