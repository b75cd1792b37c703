-- Added by user_version 2: executed runs, what they measured, and what was learned from it.

CREATE TABLE programs (
    program_hash     TEXT PRIMARY KEY,
    rank_count       INTEGER NOT NULL,
    stage_count      INTEGER NOT NULL,
    microbatch_count INTEGER NOT NULL,
    part_count       INTEGER NOT NULL,            -- stages of one pipeline
    slice_count      INTEGER NOT NULL,
    stage_ranks      TEXT NOT NULL,
    message_bytes    TEXT NOT NULL,               -- per stage, of what it gets from the one before
    schedule_text    TEXT NOT NULL                -- lowered CSV, as --format csv-comms
) STRICT;

-- What was learned from executions. Module rows serve any split of the same model.
CREATE TABLE calibrations (
    number           INTEGER PRIMARY KEY,         -- in the order in which they were made
    calibration_id   TEXT NOT NULL UNIQUE,
    model_key        TEXT NOT NULL,
    device           TEXT NOT NULL,
    transport        TEXT NOT NULL,
    machine          TEXT NOT NULL,
    executions       TEXT NOT NULL,               -- JSON array of ids
    link_alpha_ns    INTEGER NOT NULL,            -- of a message, whatever its size
    link_bytes_per_s INTEGER NOT NULL,            -- 0: sizes did not vary, all is in link_alpha_ns
    link_spread_ns   INTEGER NOT NULL,            -- median absolute deviation from the line
    link_count       INTEGER NOT NULL,
    sample_count     INTEGER NOT NULL,            -- compute actions
    residual         REAL NOT NULL                -- median of |measured - fitted| / measured
) STRICT;

CREATE TABLE calibration_rows (
    calibration INTEGER NOT NULL REFERENCES calibrations (number),
    kind        TEXT NOT NULL                     -- action: what no module explains of a type
                CHECK (kind IN ('module', 'stage', 'action', 'lag')),
    key         INTEGER NOT NULL,                 -- module (-1 embedding) or stage; else 0
    type        TEXT NOT NULL,                    -- of a lag compute, post, wake: what it is before
    median_ns   INTEGER NOT NULL,
    spread_ns   INTEGER NOT NULL,                 -- median absolute deviation
    count       INTEGER NOT NULL,
    PRIMARY KEY (calibration, kind, key, type)
) STRICT, WITHOUT ROWID;

CREATE INDEX calibrations_of_model ON calibrations (model_key, device, transport, machine);

CREATE TABLE executions (
    number                INTEGER PRIMARY KEY,    -- short key of the tables below
    execution_id          TEXT NOT NULL UNIQUE,
    plan_id               TEXT REFERENCES plan_rows (plan_id),
    program_hash          TEXT NOT NULL REFERENCES programs (program_hash),
    workload              TEXT NOT NULL,
    model_key             TEXT NOT NULL,
    split                 TEXT,                   -- JSON: a stage [embedding, begin, end, head]
    device                TEXT NOT NULL,
    transport             TEXT NOT NULL,
    machine               TEXT NOT NULL,
    options               TEXT NOT NULL,          -- JSON object
    predicted_makespan_ns INTEGER,
    calibration_id        TEXT REFERENCES calibrations (calibration_id),
    costs                 TEXT,                   -- JSON: what else predicted it, ns a stage
    started_at            INTEGER NOT NULL,       -- unix seconds
    state                 TEXT NOT NULL
                          CHECK (state IN ('running', 'done', 'failed', 'interrupted')),
    error                 TEXT                    -- JSON
) STRICT;

CREATE TABLE execution_steps (
    execution   INTEGER NOT NULL REFERENCES executions (number),
    step        INTEGER NOT NULL,
    loss        REAL,
    makespan_ns INTEGER,
    wall_ns     INTEGER NOT NULL,
    has_trace   INTEGER NOT NULL,                 -- its samples were kept
    PRIMARY KEY (execution, step)
) STRICT, WITHOUT ROWID;

-- Of the steps whose traces were kept: one row an action of the program.
CREATE TABLE sample_rows (
    execution  INTEGER NOT NULL,
    step       INTEGER NOT NULL,
    action     INTEGER NOT NULL,                  -- index in the program's schedule
    rank       INTEGER NOT NULL,
    type       TEXT NOT NULL,
    stage      INTEGER NOT NULL,
    microbatch INTEGER,
    queue_ns   INTEGER,                           -- handed to its lane
    start_ns   INTEGER NOT NULL,
    end_ns     INTEGER NOT NULL,
    PRIMARY KEY (execution, step, action)
) STRICT, WITHOUT ROWID;

CREATE TABLE profiles (
    execution INTEGER NOT NULL REFERENCES executions (number),
    module    INTEGER NOT NULL,                   -- -1 embedding, then the layers, then the head
    type      TEXT NOT NULL,                      -- F, I or W
    median_ns INTEGER NOT NULL,
    spread_ns INTEGER NOT NULL,                   -- median absolute deviation
    count     INTEGER NOT NULL,
    PRIMARY KEY (execution, module, type)
) STRICT, WITHOUT ROWID;

-- With the ids that people use.
CREATE VIEW samples AS
SELECT execution_id, step, action, rank, type, stage, microbatch, queue_ns, start_ns, end_ns
FROM sample_rows JOIN executions ON executions.number = sample_rows.execution;
