//! Words that mean something in the code of a workflow.

/// A call that is recorded by name: which names it shares, and where its target stands, from 0.
pub(super) struct Recorded {
    pub(super) function: &'static str,
    pub(super) kind: &'static str,
    pub(super) target: Option<usize>,
}

pub(super) const RECORDED: [Recorded; 6] = [
    Recorded {
        function: "wf_step",
        kind: "step",
        target: Some(1),
    },
    Recorded {
        function: "wf_begin",
        kind: "step",
        target: Some(1),
    },
    Recorded {
        function: "wf_map",
        kind: "map",
        target: Some(1),
    },
    Recorded {
        function: "wf_compensate",
        kind: "compensation",
        target: Some(1),
    },
    Recorded {
        function: "wf_call",
        kind: "child",
        target: None,
    },
    Recorded {
        function: "wf_task",
        kind: "task",
        target: None,
    },
];

/// Calls that wait, or end the run, and what they are recorded as.
pub(super) const WAITS: [(&str, &str); 5] = [
    ("wf_sleep", "sleep"),
    ("wf_sleep_until", "sleep"),
    ("wf_wait_signal", "signal"),
    ("wf_rollback", "rollback"),
    ("wf_continue_as_new", "continue"),
];

/// Key words that are a time.
pub(super) const TIMES: [&str; 5] = [
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
];

/// Functions whose value is another one in the next replay, and what to use instead.
pub(super) const CHANGING: [(&str, &str); 20] = [
    ("now", "wf_now()"),
    ("clock_timestamp", "wf_now()"),
    ("statement_timestamp", "wf_now()"),
    ("transaction_timestamp", "wf_now()"),
    ("timeofday", "wf_now()"),
    ("random", "wf_random()"),
    ("random_normal", "wf_random()"),
    ("gen_random_uuid", "wf_uuid()"),
    ("uuid_generate_v1", "wf_uuid()"),
    ("uuid_generate_v4", "wf_uuid()"),
    ("uuidv4", "wf_uuid()"),
    ("uuidv7", "wf_uuid()"),
    ("gen_random_bytes", "a step"),
    ("currval", "a step"),
    ("lastval", "a step"),
    ("txid_current", "a step"),
    ("pg_current_xact_id", "a step"),
    ("pg_backend_pid", "a step"),
    ("inet_client_addr", "a step"),
    ("pg_postmaster_start_time", "a step"),
];

/// Functions that do something beyond the transaction, anew in each replay.
pub(super) const REACHING_OUT: [&str; 8] = [
    "dblink",
    "dblink_connect",
    "dblink_exec",
    "dblink_send_query",
    "http_get",
    "http_post",
    "pg_notify",
    "pg_advisory_lock",
];

/// Commands that a workflow's own code cannot give, where they begin a statement.
pub(super) const WRITING: [&str; 8] = [
    "truncate", "create", "alter", "drop", "grant", "revoke", "comment", "refresh",
];
