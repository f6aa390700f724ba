//! Why a document is refused (certificate-lifecycle.md 6.5).

use std::fmt;
use std::ops::Range;

macro_rules! codes {
    ($($code:ident = $text:literal),* $(,)?) => {
        /// The kind of a refusal. Its text is a contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the text of each says it")]
        pub enum Code { $($code),* }

        impl Code {
            /// As 6.5 spells it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$code => $text),* }
            }
        }
    };
}

codes! {
    ScopeNotAllowed = "scope-not-allowed",
    ScopeMalformed = "scope-malformed",
    ScopeMissing = "scope-missing",
    ScopeReserved = "scope-reserved",
    IgnoreWithActions = "ignore-with-actions",
    TriggerWithoutActions = "trigger-without-actions",
    TriggerWithSchedule = "trigger-with-schedule",
    ActionsWithoutTrigger = "actions-without-trigger",
    UnknownEvent = "unknown-event",
    UnknownProfile = "unknown-profile",
    UnknownParameter = "unknown-parameter",
    FieldNotSettable = "field-not-settable",
    SetFieldSource = "set-field-source",
    DuplicatePair = "duplicate-pair",
    MatchMissing = "match-missing",
    SelectorMalformed = "selector-malformed",
    InternalNeedsRecipient = "internal-needs-recipient",
    NoChannel = "no-channel",
    RecipientIdsMissing = "recipient-ids-missing",
    DurationMalformed = "duration-malformed",
    RepetitionsRange = "repetitions-range",
    EventNotMonitoring = "event-not-monitoring",
    ResourceMismatch = "resource-mismatch",
    SourceReserved = "source-reserved",
    EmitNotInMatch = "emit-not-in-match",
    SchemaKeyword = "schema-keyword",
    NameMalformed = "name-malformed",
    PatternInvalid = "pattern-invalid",
    MemberMissing = "member-missing",
    MemberUnknown = "member-unknown",
    MemberType = "member-type",
    InUse = "in-use",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One fault of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub code: Code,
    /// JSON pointer to the value at fault; to the object around it when a member is missing.
    pub at: String,
    /// Bytes of the document's text; of a fault between documents, see [`super::span_of`].
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What to try.
    pub help: String,
}
