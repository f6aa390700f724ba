//! Rule files.

/// What became of the newest look at the rule files.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Files read.
    pub files: usize,
    /// Rules in force that come from files.
    pub rules: usize,
    /// When the set in force was loaded, epoch milliseconds.
    pub loaded_ms: i64,
    /// Why the files as they are now are not in force; `None` if they are.
    pub fault: Option<String>,
}
