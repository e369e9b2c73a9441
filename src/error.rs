//! Every error that the extension raises itself, with its SQLSTATE, DETAIL and HINT.
//!
//! Class WF is ours: conditions that workflow code may want to catch by name.

use pg_workflow_core::options::OptionError;
use pg_workflow_core::script::ScriptError;
use thiserror::Error as ThisError;

use crate::pg::PgError;
use crate::pg::catalog::quote_literal;
use crate::pg::errdata::pack;

#[derive(Debug, ThisError)]
pub(crate) enum Error {
    /// One that has its SQLSTATE already: of user code, or of Postgres.
    #[error("{}", .0.message)]
    Passed(Box<PgError>),
    #[error("{0} must not be null")]
    NullArgument(&'static str),
    #[error("{name} must not be empty")]
    EmptyArgument { name: &'static str },
    #[error("{name} is too long")]
    TooLong {
        name: &'static str,
        bytes: usize,
        limit: usize,
    },
    #[error("{name} must be {expected}")]
    WrongArgument { name: &'static str, expected: String },
    /// Of an age at which something is removed.
    #[error("{0} must not be negative")]
    NegativeAge(&'static str),
    #[error("{first} and {second} cannot be given together")]
    Together { first: &'static str, second: &'static str },
    #[error("{given} cannot be given without {with}")]
    OnlyTogether { given: &'static str, with: &'static str },
    #[error("exactly one of {0} must be given")]
    OneOf(&'static str),
    #[error("{0}")]
    Options(#[from] OptionError),
    #[error("{0}")]
    Script(#[from] ScriptError),
    #[error("{what} is too large")]
    TooLarge { what: String, bytes: usize, limit: usize },

    #[error("workflow \"{0}\" does not exist")]
    UnknownWorkflow(String),
    #[error("function \"{0}\" does not exist")]
    NoSuchFunction(String),
    /// As a step's target.
    #[error("function \"{0}\" does not exist")]
    UnknownFunction(String),
    #[error("{0} is not a function")]
    NotAFunction(String),
    #[error("function {0} has a result type that cannot be used")]
    NotCallable(String),
    #[error("function name \"{name}\" is not unique")]
    AmbiguousFunction { name: String, candidates: Vec<String> },
    #[error("input does not fit {function}")]
    InputMismatch {
        function: String,
        detail: String,
        hint: String,
    },
    #[error("permission denied for function {0}")]
    NoExecute(String),
    #[error("role \"{0}\" cannot own workflow instances")]
    RoleCannotLogin(String),
    #[error("permission denied for role \"{0}\" to start workflows")]
    MayNotUse(String),
    #[error("parameter \"{parameter}\" of {function} has the pseudo-type {type_name}")]
    PseudoType {
        function: String,
        parameter: String,
        type_name: String,
    },

    #[error("\"{0}\" is not a table")]
    NotATable(String),
    #[error("trigger \"{name}\" for table \"{table}\" already exists")]
    TriggerExists { name: String, table: String },

    #[error("workflow instance \"{0}\" does not exist")]
    UnknownInstance(String),
    #[error("workflow instance \"{id}\" has no run {run}")]
    UnknownRun { id: String, run: i32 },
    #[error("there is neither an instance nor a workflow \"{0}\"")]
    NothingToDraw(String),
    #[error("workflow instance \"{id}\" already exists")]
    InstanceExists { id: String, detail: String, own: bool },
    #[error("permission denied for workflow instance \"{0}\"")]
    NotYours(String),
    #[error("owner of workflow instance \"{0}\" was dropped")]
    OwnerDropped(String),
    #[error("workflow instance \"{id}\" has ended")]
    InstanceEnded { id: String, status: String },
    #[error("workflow instance \"{id}\" has not ended")]
    NotEnded {
        id: String,
        detail: String,
        hint: &'static str,
    },
    #[error("workflow instance \"{0}\" has not failed")]
    NotFailed(String),
    #[error("workflow instance \"{0}\" is not paused")]
    NotPaused(String),
    #[error("workflow instance \"{0}\" is being worked on")]
    Busy(String),
    #[error("workflow instance \"{id}\" has no step \"{step}\"")]
    UnknownStep { id: String, step: String },
    #[error("values of workflow instance \"{id}\" cannot be waited for")]
    CannotWait {
        id: String,
        detail: &'static str,
        hint: &'static str,
    },
    #[error("workflow instance \"{id}\" was cancelled")]
    InstanceCancelled { id: String, reason: Option<String> },

    #[error("{0} was called outside of a workflow")]
    OutsideWorkflow(&'static str),
    #[error("{0} was called inside a step")]
    InsideStep(&'static str),
    #[error("{0} cannot be called inside a workflow")]
    InsideWorkflow(&'static str),

    #[error("schema of signal \"{signal}\" is malformed")]
    MalformedSchema { signal: String, detail: String },
    #[error("payload of signal \"{signal}\" does not fit its schema")]
    UnfitPayload { signal: String, detail: String },

    #[error("a workflow cannot end its transaction")]
    TransactionEnded,
    #[error("workflow instance was cancelled")]
    Cancelled { reason: Option<String> },
    #[error("replay took another path than its history")]
    Diverged { expected: String, found: String },
    #[error("workflow \"{workflow}\" did not end within its timeout")]
    RunTimeout { workflow: String, detail: String },
    #[error("workflow \"{workflow}\" did not start within its start timeout")]
    StartTimeout { workflow: String, detail: String },
    #[error("step \"{step}\" did not end within its timeout")]
    StepTimeout { step: String, detail: String },
    #[error("attempt of step \"{0}\" was lost")]
    AttemptLost(String),
    #[error("step \"{0}\" needs a background worker")]
    NeedsWorker(String),
    #[error("step \"{0}\" was stopped at the timeout of its workflow")]
    StepCutOff(String),
    #[error("step has left a transaction open")]
    TransactionLeftOpen,
    #[error("step \"{step}\" did not succeed within its total timeout, in {attempts}")]
    StepTotalTimeout {
        step: String,
        /// In words.
        attempts: String,
        detail: String,
    },
    #[error("workflow instance \"{0}\" has undone what it had done")]
    Compensated(String),
    #[error("workflow instance \"{id}\" has no open call{}", .call.as_ref().map(|call| format!(" \"{call}\"")).unwrap_or_default())]
    NoOpenCall { id: String, call: Option<String> },
    #[error("handle {0} is not one that wf_begin has returned")]
    UnknownHandle(i32),
    #[error("{0} was not done within the timeout")]
    AwaitTimeout(String),
    #[error("{failed} of {total} items of map \"{name}\" failed")]
    MapFailed {
        name: String,
        failed: i32,
        total: i32,
        first: Option<String>,
    },
    #[error("query of a map must return rows")]
    NotAQuery,
    #[error("workflow has too many parents above it")]
    TooDeep(i16),
    #[error("task \"{name}\" {what} within its timeout")]
    TaskTimeout {
        name: String,
        what: &'static str,
        micros: i64,
    },
    #[error("lease of task \"{name}\" has expired")]
    LeaseExpired { name: String, worker: Option<String> },
    /// As a worker is told.
    #[error("task \"{name}\" is not this worker's any more")]
    TaskLost { name: String, detail: String },
    #[error("task does not exist")]
    UnknownTask,
    #[error("permission denied for queue \"{0}\"")]
    NotYourQueue(String),
    #[error("queue \"{queue}\" is full")]
    QueueFull { queue: String, limit: i32, dropped: bool },
    #[error("CALL wf_poll cannot wait inside a transaction block")]
    WaitInTransaction,
    #[error("client has closed the connection")]
    ClientGone,
    #[error("version {version} of workflow \"{workflow}\" cannot be restored")]
    VersionLost {
        workflow: String,
        version: i32,
        detail: String,
    },

    #[error("workflow instance \"{id}\" cannot go on with version {version} of workflow \"{workflow}\"")]
    CannotUpgrade {
        id: String,
        workflow: String,
        version: i32,
        detail: String,
    },

    #[error("{function} needs a session of role \"{role}\" itself")]
    NotConnectedAs { function: &'static str, role: String },
    #[error("{0} needs a READ COMMITTED transaction")]
    OneSnapshot(&'static str),
    #[error("the instances of this database belong to another installation")]
    NotHome,
    #[error("the schema of pg_workflow in this database is of version {schema}, its library of version {library}")]
    OtherSchema { schema: String, library: &'static str },
    #[error("test of workflow \"{workflow}\" has not come to its end")]
    TestWithoutEnd { workflow: String, limit: i32 },

    #[error("invalid schedule \"{text}\"")]
    WrongSchedule { text: String, detail: String },
    #[error("time zone \"{0}\" is not known")]
    UnknownZone(String),
    #[error("schedule \"{0}\" has no time to come")]
    TimePassed(String),
    #[error("schedule \"{0}\" does not exist")]
    UnknownSchedule(String),
    #[error("schedule name \"{name}\" is not unique")]
    AmbiguousSchedule { name: String, owners: Vec<String> },
    #[error("permission denied to change what schedule \"{0}\" runs")]
    OwnersSchedule(String),

    #[error("cannot PREPARE a transaction that has started, signalled or cancelled a workflow")]
    PrepareTransaction,
}

/// Functions that neither workflows nor their steps can call.
const OUTSIDE_ONLY: [&str; 9] = [
    "CALL wf_poll",
    "wf_run_pending",
    "wf_step of a paused instance",
    "wf_test",
    "wf_result with a wait",
    "wf_read_stream with a wait",
    "wf_wait_value",
    "wf_upgrade",
    "wf_replay_check",
];

pub(crate) const CANCELLED: i32 = pack(*b"WF002");

impl Error {
    fn sqlstate(&self) -> i32 {
        use Error::*;
        pack(*match self {
            Passed(error) => return error.sqlstate,
            NullArgument(_) => b"22004",
            EmptyArgument { .. }
            | WrongArgument { .. }
            | NegativeAge(_)
            | Together { .. }
            | OnlyTogether { .. }
            | Options(_)
            | Script(_)
            | InputMismatch { .. }
            | MalformedSchema { .. }
            | UnfitPayload { .. } => b"22023",
            WrongSchedule { .. } | UnknownZone(_) | TimePassed(_) => b"22023",
            UnknownSchedule(_) => b"42704",
            AmbiguousSchedule { .. } => b"42725",
            OwnersSchedule(_) => b"42501",
            OneOf(_) | UnknownHandle(_) | NotAQuery => b"22023",
            TooLong { .. } | TooLarge { .. } | TooDeep(_) | TestWithoutEnd { .. } => b"54000",
            UnknownWorkflow(_) | NoSuchFunction(_) | UnknownFunction(_) => b"42883",
            NotAFunction(_) | NotATable(_) => b"42809",
            AmbiguousFunction { .. } => b"42725",
            NoExecute(_) | MayNotUse(_) | NotYourQueue(_) | NotYours(_) | NotConnectedAs { .. } => b"42501",
            RoleCannotLogin(_) => b"28000",
            PseudoType { .. } | NotCallable(_) | PrepareTransaction | NeedsWorker(_) => b"0A000",
            UnknownInstance(_)
            | OwnerDropped(_)
            | UnknownTask
            | UnknownStep { .. }
            | UnknownRun { .. }
            | NothingToDraw(_) => b"42704",
            InstanceExists { .. } | TriggerExists { .. } => b"42710",
            InstanceEnded { .. }
            | NotEnded { .. }
            | CannotWait { .. }
            | OutsideWorkflow(_)
            | InsideStep(_)
            | InsideWorkflow(_) => b"55000",
            Compensated(_) | NoOpenCall { .. } | NotFailed(_) | NotPaused(_) | NotHome | OtherSchema { .. } => b"55000",
            Busy(_) => b"55006",
            OneSnapshot(_) => b"25000",
            TransactionEnded => b"2D000",
            Diverged { .. } | CannotUpgrade { .. } => b"WF001",
            InstanceCancelled { .. } | Cancelled { .. } => b"WF002",
            RunTimeout { .. } | StartTimeout { .. } | StepCutOff(_) => b"WF003",
            StepTimeout { .. } | StepTotalTimeout { .. } | AwaitTimeout(_) | TaskTimeout { .. } => b"WF004",
            LeaseExpired { .. } | TaskLost { .. } | AttemptLost(_) => b"WF007",
            WaitInTransaction | TransactionLeftOpen => b"25001",
            QueueFull { .. } => b"WF009",
            ClientGone => b"08006",
            MapFailed { .. } => b"WF006",
            VersionLost { .. } => b"WF005",
        })
    }

    fn detail(&self) -> Option<String> {
        use Error::*;
        Some(match self {
            Passed(error) => return error.detail.clone(),
            TooLong { bytes, limit, .. } | TooLarge { bytes, limit, .. } => {
                format!("It has {bytes} bytes; the limit is {limit}.")
            }
            AmbiguousFunction { candidates, .. } => format!("Candidates are {}.", candidates.join(", ")),
            InputMismatch { detail, .. } | InstanceExists { detail, .. } | VersionLost { detail, .. } => detail.clone(),
            NotEnded { detail, .. } | CannotUpgrade { detail, .. } | TaskLost { detail, .. } => detail.clone(),
            WrongSchedule { detail, .. } => detail.clone(),
            AmbiguousSchedule { owners, .. } => format!("Schedules of this name belong to {}.", owners.join(", ")),
            NotFailed(_) => "Its last run has completed.".into(),
            AttemptLost(_) => "The process that ran it has ended.".into(),
            NeedsWorker(_) => {
                "It is not transactional: it runs as a command of its own, which this session cannot do.".into()
            }
            CannotWait { detail, .. } => (*detail).into(),
            Script(ScriptError { place: Some(place), .. }) => format!("It stands in {place}."),
            TestWithoutEnd { limit, .. } => format!("It has taken {limit} turns and attempts of steps."),
            InstanceEnded { status, .. } => format!("Its status is {status}."),
            InstanceCancelled {
                reason: Some(reason), ..
            }
            | Cancelled { reason: Some(reason) } => {
                format!("Reason: {}.", reason.strip_suffix('.').unwrap_or(reason))
            }
            MapFailed { first: Some(first), .. } => first.clone(),
            TooDeep(limit) => format!("A child may have {limit} runs above it."),
            Diverged { expected, found } => format!("Expected {expected}, found {found}."),
            QueueFull { limit, dropped, .. } => {
                let what = if *dropped {
                    "It was dropped for a later one. "
                } else {
                    ""
                };
                format!("{what}No more than {limit} may wait in it.")
            }
            TaskTimeout { micros, .. } => format!("The limit is {} ms.", micros / 1000),
            LeaseExpired {
                worker: Some(worker), ..
            } => format!("Worker \"{worker}\" was not heard of in time."),
            LeaseExpired { .. } => "Its worker was not heard of in time.".to_owned(),
            RunTimeout { detail, .. }
            | StartTimeout { detail, .. }
            | StepTimeout { detail, .. }
            | StepTotalTimeout { detail, .. }
            | MalformedSchema { detail, .. }
            | UnfitPayload { detail, .. } => detail.clone(),
            _ => return None,
        })
    }

    fn hint(&self) -> Option<String> {
        use Error::*;
        Some(match self {
            Passed(error) => return error.hint.clone(),
            Options(OptionError::Unknown { known, .. })
            | Script(ScriptError {
                error: OptionError::Unknown { known, .. },
                ..
            }) => format!("Known keys are {}.", known.join(", ")),
            Script(ScriptError {
                error: OptionError::Empty { .. },
                ..
            }) => "Give a result, or a failure, or both.".into(),
            WrongSchedule { .. } => {
                "Give a cron expression ('0 3 * * *'), an interval ('every 15 minutes'), a time ('at 2030-12-24 18:00') or a query that returns the next times.".into()
            }
            UnknownInstance(_) => {
                "wf.workflows lists what there is: it may not be committed yet, or was removed when its time of retention was over.".into()
            }
            UnknownSchedule(_) => "wf.schedules lists those that you may see.".into(),
            UnknownTask => "Pass the task as wf_poll has returned it; it goes with its workflow instance.".into(),
            NoSuchFunction(name) if !name.contains('.') => "Functions are looked up by the search_path: is it set, or the name qualified?".into(),
            NegativeAge(_) => "To keep instances for ever, give a long time: '1000 years'.".into(),
            UnknownZone(_) => "The view pg_timezone_names lists the names.".into(),
            AmbiguousSchedule { .. } => "Pass owner => ...".into(),
            OwnersSchedule(_) => {
                "Members of its owner's role may pause it, and change its policies; its workflow, and a query for its times, are looked up as the owner itself.".into()
            }
            CannotWait { hint, .. } => (*hint).into(),
            QueueFull { dropped: false, .. } => {
                "Come again when it is shorter, or raise its limit: wf_queue(name, max_backlog => ...).".into()
            }
            TestWithoutEnd { .. } => "Stop it with until => ..., or raise max_turns.".into(),
            UnknownWorkflow(_) => {
                "A workflow is a function, found by the search_path, or a name given by wf_define.".into()
            }
            UnknownFunction(_) => {
                "A target of one word names a function, looked up in the search_path that the workflow was started with.".into()
            }
            TransactionEnded => {
                "Steps are committed for you; what has to commit in the middle is not a workflow's own code.".into()
            }
            NotAFunction(_) => "Name a plain function.".into(),
            NotATable(_) => "Rows of tables start workflows, those of partitioned and foreign ones too.".into(),
            TriggerExists { .. } => "Take it away with wf_off, or give this one a name of its own.".into(),
            AmbiguousFunction { .. } => "Give the overloads names of their own.".into(),
            InputMismatch { hint, .. } => hint.clone(),
            MayNotUse(role) => format!("A superuser allows it: SELECT wf_grant({}).", quote_literal(role)),
            RoleCannotLogin(_) => {
                "Workflows run in a process that is connected as their owner: start them as a role with LOGIN.".into()
            }
            PseudoType { .. } => "Give the parameter a concrete type.".into(),
            InstanceExists { own: false, .. } => "Choose another id.".into(),
            InstanceExists { .. } => {
                "Choose another id, or pass on_conflict => 'start_new' to run it again once it has ended.".into()
            }
            NotEnded { hint, .. } => (*hint).into(),
            OutsideWorkflow(function) if *function != "wf_step" => {
                "Call it in a function that was started by wf_start.".into()
            }
            OutsideWorkflow(_) => {
                "Call it in a function that was started by wf_start; outside, call the target itself.".into()
            }
            InsideStep(function) | InsideWorkflow(function) if OUTSIDE_ONLY.contains(function) => return None,
            InsideStep(_) => "A step is one piece of work: call it from the workflow function instead.".into(),
            InstanceEnded { .. } => "Run it again with wf_start(..., on_conflict => 'start_new').".into(),
            AttemptLost(_) => "What it has committed stays: see to it that it can be repeated.".into(),
            NeedsWorker(_) => "Load the library by shared_preload_libraries; in wf_test, give the step a mock.".into(),
            TransactionLeftOpen => "End it in the same text, or leave out BEGIN: several statements are one transaction.".into(),
            NotFailed(_) => {
                "Run it again with wf_start(..., on_conflict => 'start_new'), or a part of it with wf_fork.".into()
            }
            NotPaused(_) => "Pause it with wf_pause(id): then nobody else takes its steps.".into(),
            CannotUpgrade { .. } => {
                "It stays on its version. New code has to make the recorded calls again, in their order: add calls behind them only.".into()
            }
            Busy(_) => "A process is at a step of it: wait for the end of the step, or cancel the instance.".into(),
            UnknownRun { .. } => "wf.workflows shows the runs of an id.".into(),
            NothingToDraw(_) => "wf.workflows shows the instances, wf.definitions the workflows that were started.".into(),
            UnknownStep { .. } => "wf.steps shows what is recorded; a call has a number there, too.".into(),
            OneSnapshot(_) => "What others do meanwhile would not be seen under this isolation level.".into(),
            NotHome => "If they are to run here, call wf_adopt().".into(),
            OtherSchema { .. } => {
                "Run ALTER EXTENSION pg_workflow UPDATE; if that does not help, restart the server to load the new library.".into()
            }
            NotConnectedAs { .. } => {
                "Connect as the role: after SET ROLE, or inside a SECURITY DEFINER function, its code could take the session's own privileges."
                    .into()
            }
            NotYours(_) => {
                "It is for its owner and for members of its owner's role; some of it for operators, too: see wf_grant.".into()
            }
            InsideWorkflow(_) => "Call it in a step: wf_step('name', 'SELECT ...').".into(),
            Diverged { .. } => {
                "A workflow decides by its input and by recorded answers only: use wf_now(), wf_random(), wf_uuid() and steps for what may change."
                    .into()
            }
            MalformedSchema { .. } => {
                "Give a JSON Schema, of draft 2020-12 or the one that its $schema names, that refers to nothing outside of itself.".into()
            }
            UnfitPayload { .. } => "The view wf.waiting shows the schema.".into(),
            StartTimeout { .. } => "No executor came to it in time, or its queue did not let it: see wf_health(), pg_workflow.max_executors and wf.queues.".into(),
            UnknownHandle(_) => "A handle is of the run that has begun the call; it is not passed on to others.".into(),
            TaskLost { .. } => "Drop the work, or leave it to the idempotency key: what another attempt does counts.".into(),
            NotYourQueue(_) => "Its owner names who may work on it: wf_queue(name, workers => '{role}').".into(),
            WaitInTransaction => "Call it outside of a transaction block, or use the function wf_poll, which does not wait.".into(),
            Compensated(_) => "Run it again with wf_start(..., on_conflict => 'start_new'), or fork it before the step: wf_fork(id, step).".into(),
            NoOpenCall { .. } => "Open are waits, steps that are tried again, and what a run has failed at: see wf.steps.".into(),
            AwaitTimeout(_) => "It goes on, and can be waited for again.".into(),
            MapFailed { .. } => "Results of the others are kept: see wf.branches. Pass tolerate => n to go on with some failures.".into(),
            TooDeep(_) => "Does a workflow call itself without an end?".into(),
            TooLarge { .. } => "Store the data in a table and pass its key, or raise pg_workflow.max_payload.".into(),
            _ => return None,
        })
    }
}

impl From<PgError> for Error {
    fn from(error: PgError) -> Self {
        Self::Passed(Box::new(error))
    }
}

impl From<Error> for PgError {
    fn from(error: Error) -> Self {
        if let Error::Passed(error) = error {
            return *error;
        }
        Self {
            sqlstate: error.sqlstate(),
            message: shortened(error.to_string()),
            detail: error.detail().map(shortened),
            hint: error.hint(),
            context: None,
        }
    }
}

/// What names something that a caller has passed is not to be as long as that may be.
fn shortened(text: String) -> String {
    const LIMIT: usize = 4000;
    if text.len() <= LIMIT {
        return text;
    }
    let characters = |count| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    let (head, tail) = (
        characters(LIMIT / 8),
        text.char_indices().nth_back(LIMIT / 8).map_or(0, |(at, _)| at),
    );
    format!("{} ... {}", &text[..head], &text[tail..])
}

/// Unwinds with `error`, for code below a subtransaction.
impl Error {
    pub(crate) fn throw(self) -> ! {
        crate::pg::guard::throw(self.into())
    }
}
