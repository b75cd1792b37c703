-- Schema of a pipeplan database, user_version 1; schema_executions.sql adds to it. Times in ns, sizes
-- in bytes, arrays as JSON text.
-- Ids are text derived from content: the same inputs give the same ids.

CREATE TABLE runs (
    run_id              TEXT PRIMARY KEY,
    tool_version        TEXT NOT NULL,
    recipe_path         TEXT NOT NULL,
    recipe_text         TEXT NOT NULL,            -- verbatim, before settings
    settings            TEXT NOT NULL,            -- JSON array of "key=value", in order
    model_name          TEXT,
    model_text          TEXT,                     -- config.json verbatim; NULL: from the catalogue
    hardware_name       TEXT NOT NULL,
    hardware_text       TEXT NOT NULL,            -- verbatim
    schedule_csv_text   TEXT,                     -- the recipe's pp_schedule_csv, verbatim
    gpu_count           INTEGER NOT NULL,
    layers              INTEGER,                  -- --layers; NULL: not given
    search_pp           INTEGER NOT NULL,
    considered_count    INTEGER NOT NULL,         -- settings looked at, refused ones included
    current_plan_id     TEXT,                     -- the recipe as it is; NULL: it cannot be followed
    best_plan_id        TEXT,                     -- NULL: nothing fits
    best_same_memory_plan_id TEXT,
    other_round_plan_id TEXT,
    current_error       TEXT,                     -- JSON; NULL: the recipe is legal as it is
    lints               TEXT NOT NULL             -- JSON array
) STRICT;

-- What the stages of a plan cost. Plans that cut model and batch the same way share a row.
CREATE TABLE stage_costs (
    costs_id TEXT PRIMARY KEY,
    fields   TEXT NOT NULL,                       -- JSON array of names
    stages   TEXT NOT NULL                        -- JSON array a stage, in the order of fields
) STRICT;

CREATE TABLE plan_rows (
    plan_id               TEXT PRIMARY KEY,
    run_id                TEXT NOT NULL REFERENCES runs (run_id),
    position              INTEGER,                -- 1 is best; NULL: the recipe as it is, unranked
    schedule              TEXT,                   -- NULL: no pipeline
    pp_size               INTEGER NOT NULL,
    layers_per_stage      INTEGER,
    round                 TEXT,
    num_virtual_stages    INTEGER NOT NULL,
    stages_per_rank       INTEGER NOT NULL,
    layer_counts          TEXT NOT NULL,
    stage_ranks           TEXT NOT NULL,
    pp_microbatch_size    INTEGER NOT NULL,
    local_batch_size      INTEGER NOT NULL,
    num_microbatches      INTEGER NOT NULL,
    flushes_per_step      INTEGER NOT NULL,
    dp_size               INTEGER NOT NULL,
    uses_csv              INTEGER NOT NULL,
    uses_fqns             INTEGER NOT NULL,
    flush_time_ns         INTEGER NOT NULL,       -- one alone; of unit costs where step_time_ns is NULL
    step_time_ns          INTEGER,                -- all flushes, one into the other, and these three:
    grad_sync_ns          INTEGER,                -- from the flushes' end to the last reduction
    param_gather_ns       INTEGER,                -- by which gathering stages first puts that end off
    optimizer_ns          INTEGER,                -- from the last reduction to the end
    bubble_ratio          REAL NOT NULL,
    peak_memory_bytes     TEXT,                   -- per rank, upper end
    resident_memory_bytes TEXT,                   -- per rank, the part that is always there
    reserved_memory_bytes INTEGER,                -- of each peak: context, communicators
    peak_actions          TEXT,                   -- per rank, the action that makes the peak
    limit_bytes           INTEGER,
    fits                  INTEGER,
    why                   TEXT NOT NULL,
    overrides             TEXT NOT NULL,          -- JSON array of "--key=value"
    costs_id              TEXT REFERENCES stage_costs (costs_id)
) STRICT;

CREATE INDEX plan_rows_of_run ON plan_rows (run_id, position);

-- One row a plan, under the names of the command line's JSON.
CREATE VIEW plans AS
SELECT plan_id, run_id, position, schedule, pp_size, layers_per_stage, round, num_virtual_stages,
       stages_per_rank, layer_counts, pp_microbatch_size, local_batch_size, num_microbatches,
       flushes_per_step, step_time_ns, bubble_ratio, peak_memory_bytes, fits, why, overrides,
       plan_id IS (SELECT current_plan_id FROM runs WHERE runs.run_id = plan_rows.run_id)
           AS is_current
FROM plan_rows;
