-- Jobs, their events and what follows from them.
-- local_training_jobs, local_training_metrics and training_predictions keep the names and columns of
-- the system that Podium replaces. Times are ISO 8601 text in UTC; losses nats a token; *_gb 10^9 bytes.

CREATE TABLE local_training_jobs (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT,
    name TEXT NOT NULL,
    number INTEGER NOT NULL DEFAULT 0,
    model_name TEXT,
    base_model TEXT,
    dataset_path TEXT,
    method TEXT,
    status TEXT NOT NULL,
    phase TEXT,
    attempt INTEGER NOT NULL DEFAULT 1,
    job_token TEXT,
    config TEXT NOT NULL DEFAULT '{}',
    metadata TEXT NOT NULL DEFAULT '{}',
    tags TEXT NOT NULL DEFAULT '[]',
    error_message TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    completed_at TEXT,
    failed_at TEXT,
    updated_at TEXT,
    last_heartbeat_at TEXT,
    archived_at TEXT,
    deleted_at TEXT,
    progress REAL,
    current_step INTEGER,
    total_steps INTEGER,
    current_epoch REAL,
    total_epochs REAL,
    elapsed_seconds REAL,
    remaining_seconds REAL,
    learning_rate REAL,
    warmup_steps INTEGER,
    batch_size INTEGER,
    gradient_accumulation_steps INTEGER,
    num_gpus INTEGER,
    distributed_strategy TEXT,
    loss REAL,
    eval_loss REAL,
    grad_norm REAL,
    perplexity REAL,
    train_perplexity REAL,
    samples_per_second REAL,
    tokens_per_second REAL,
    gpu_memory_allocated_gb REAL,
    gpu_memory_reserved_gb REAL,
    gpu_utilization_percent REAL,
    loss_trend TEXT,
    epochs_without_improvement INTEGER,
    final_loss REAL,
    final_eval_loss REAL,
    best_eval_loss REAL,
    best_epoch REAL,
    best_step INTEGER,
    best_checkpoint_path TEXT,
    best_checkpoint_score REAL,
    checkpoint_count INTEGER,
    size_bytes INTEGER,
    total_samples INTEGER,
    train_samples INTEGER,
    val_samples INTEGER,
    total_tokens_processed INTEGER,
    resumed_from_job_id TEXT,
    resumed_from_checkpoint TEXT,
    provider TEXT,
    gpu_type TEXT,
    gpu_count INTEGER,
    pod_id TEXT,
    pod_status TEXT,
    cost_per_hour REAL,
    cost_total REAL,
    job_dir TEXT,
    exit_code INTEGER,
    bad_lines INTEGER NOT NULL DEFAULT 0,
    schema_version INTEGER NOT NULL DEFAULT 1,
    -- What the projection must remember between two deliveries (JSON), and the revision that the row
    -- was last changed in, so that a reader asks only for what changed.
    projection TEXT NOT NULL DEFAULT '{}',
    revision INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX jobs_by_model ON local_training_jobs (base_model, number);
CREATE INDEX jobs_by_revision ON local_training_jobs (revision);

-- The wire, whole: what the projections below could be made from again.
CREATE TABLE training_events (
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    ts TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    type TEXT NOT NULL,
    step INTEGER,
    data TEXT NOT NULL,
    PRIMARY KEY (job_id, seq)
) WITHOUT ROWID;
CREATE INDEX events_by_type ON training_events (job_id, type, seq);
CREATE INDEX alerts_by_time ON training_events (ts) WHERE type = 'alert';

CREATE TABLE training_bad_lines (
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    length INTEGER NOT NULL,
    reason TEXT NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (job_id, at)
) WITHOUT ROWID;

CREATE TABLE stream_offsets (
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (job_id, file)
) WITHOUT ROWID;

-- One row a step and kind (train, eval), or a heartbeat (host). `position` counts the rows of a kind
-- from 0 in order of step; of a step that several attempts logged, only the latest attempt's row stays.
-- `extra` holds the metrics that have no column (JSON). SQLite has no NaN: it is kept as the text 'NaN'.
CREATE TABLE local_training_metrics (
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('train', 'eval', 'host')),
    position INTEGER NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    epoch REAL,
    tokens REAL,
    elapsed_seconds REAL,
    train_loss REAL,
    eval_loss REAL,
    learning_rate REAL,
    grad_norm REAL,
    gpu_memory_allocated_gb REAL,
    gpu_memory_reserved_gb REAL,
    gpu_utilization_percent REAL,
    perplexity REAL,
    train_perplexity REAL,
    samples_per_second REAL,
    tokens_per_second REAL,
    loss_trend TEXT,
    best_eval_loss REAL,
    best_epoch REAL,
    best_step INTEGER,
    epochs_without_improvement INTEGER,
    extra TEXT,
    timestamp TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (job_id, kind, position)
) WITHOUT ROWID;
CREATE UNIQUE INDEX metrics_by_step ON local_training_metrics (job_id, kind, step) WHERE kind <> 'host';

-- The names that a job has curves of; `place` is their place in a bucket's stats.
CREATE TABLE training_curve_names (
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (job_id, kind, name)
) WITHOUT ROWID;

-- The pyramid: a bucket of level L stands for 8^L rows of local_training_metrics. `step` … are sums of
-- its rows' x; `stats` five doubles a metric: points, points that are not finite, least, greatest, sum.
CREATE TABLE training_curves (
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    level INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    step REAL,
    epoch REAL,
    tokens REAL,
    elapsed_seconds REAL,
    stats BLOB NOT NULL,
    PRIMARY KEY (job_id, kind, level, bucket)
) WITHOUT ROWID;

CREATE TABLE training_checkpoints (
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    epoch REAL,
    eval_loss REAL,
    train_loss REAL,
    score TEXT,
    path TEXT,
    size_bytes INTEGER,
    sha256 TEXT,
    verified INTEGER NOT NULL DEFAULT 0,
    created_at TEXT,
    removed_at TEXT,
    PRIMARY KEY (job_id, step)
) WITHOUT ROWID;

CREATE TABLE training_predictions (
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    sample_index INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    user_id TEXT,
    epoch REAL,
    prompt TEXT,
    ground_truth TEXT,
    prediction TEXT,
    exact_match INTEGER,
    char_error_rate REAL,
    length_ratio REAL,
    word_overlap REAL,
    prompt_id TEXT,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    latency_ms REAL,
    max_new_tokens INTEGER,
    validation_pass INTEGER,
    validation_errors TEXT,
    created_at TEXT NOT NULL,
    PRIMARY KEY (job_id, step, sample_index)
);

CREATE TABLE training_comparisons (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT,
    name TEXT NOT NULL,
    job_ids TEXT NOT NULL,
    reference_job_id TEXT,
    notes TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL
);

-- What was done to which jobs, with what was there before, so that it can be taken back.
CREATE TABLE actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    action TEXT NOT NULL,
    done_at TEXT NOT NULL,
    undone_at TEXT
);
CREATE TABLE action_items (
    action_id INTEGER NOT NULL REFERENCES actions (id) ON DELETE CASCADE,
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    archived_before TEXT,
    deleted_before TEXT,
    archived_after TEXT,
    deleted_after TEXT,
    PRIMARY KEY (action_id, job_id)
) WITHOUT ROWID;

-- Rises with every change of any job.
CREATE TABLE revision (value INTEGER NOT NULL);
INSERT INTO revision VALUES (0);

CREATE TABLE settings (
    key TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;

PRAGMA application_id = 1349477481;
PRAGMA user_version = 1;
