-- The tables of a team's runs, for a fresh Supabase project and for one that has the tables of the system
-- that Podium replaces: their names and columns are kept, what they lack is added, no row is changed.
-- Times are UTC; losses nats a token; *_gb 10^9 bytes; numbers that JSON has no word for are null here and
-- strings ("NaN") in training_events, which is the wire as the pod wrote it.

CREATE TABLE IF NOT EXISTS public.local_training_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text,
    status text NOT NULL DEFAULT 'queued',
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE public.local_training_jobs
    ADD COLUMN IF NOT EXISTS user_id uuid,
    ADD COLUMN IF NOT EXISTS team_id uuid,
    ADD COLUMN IF NOT EXISTS number integer,
    ADD COLUMN IF NOT EXISTS model_name text,
    ADD COLUMN IF NOT EXISTS base_model text,
    ADD COLUMN IF NOT EXISTS dataset_path text,
    ADD COLUMN IF NOT EXISTS method text,
    ADD COLUMN IF NOT EXISTS phase text,
    ADD COLUMN IF NOT EXISTS attempt integer,
    ADD COLUMN IF NOT EXISTS config jsonb,
    ADD COLUMN IF NOT EXISTS metadata jsonb,
    ADD COLUMN IF NOT EXISTS tags jsonb,
    ADD COLUMN IF NOT EXISTS note text,
    ADD COLUMN IF NOT EXISTS error_message text,
    ADD COLUMN IF NOT EXISTS started_at timestamptz,
    ADD COLUMN IF NOT EXISTS completed_at timestamptz,
    ADD COLUMN IF NOT EXISTS failed_at timestamptz,
    ADD COLUMN IF NOT EXISTS updated_at timestamptz,
    ADD COLUMN IF NOT EXISTS last_heartbeat_at timestamptz,
    ADD COLUMN IF NOT EXISTS archived_at timestamptz,
    ADD COLUMN IF NOT EXISTS deleted_at timestamptz,
    ADD COLUMN IF NOT EXISTS progress double precision,
    ADD COLUMN IF NOT EXISTS current_step bigint,
    ADD COLUMN IF NOT EXISTS total_steps bigint,
    ADD COLUMN IF NOT EXISTS current_epoch double precision,
    ADD COLUMN IF NOT EXISTS total_epochs double precision,
    ADD COLUMN IF NOT EXISTS elapsed_seconds double precision,
    ADD COLUMN IF NOT EXISTS remaining_seconds double precision,
    ADD COLUMN IF NOT EXISTS learning_rate double precision,
    ADD COLUMN IF NOT EXISTS warmup_steps integer,
    ADD COLUMN IF NOT EXISTS batch_size integer,
    ADD COLUMN IF NOT EXISTS gradient_accumulation_steps integer,
    ADD COLUMN IF NOT EXISTS num_gpus integer,
    ADD COLUMN IF NOT EXISTS distributed_strategy text,
    ADD COLUMN IF NOT EXISTS loss double precision,
    ADD COLUMN IF NOT EXISTS eval_loss double precision,
    ADD COLUMN IF NOT EXISTS grad_norm double precision,
    ADD COLUMN IF NOT EXISTS perplexity double precision,
    ADD COLUMN IF NOT EXISTS train_perplexity double precision,
    ADD COLUMN IF NOT EXISTS samples_per_second double precision,
    ADD COLUMN IF NOT EXISTS tokens_per_second double precision,
    ADD COLUMN IF NOT EXISTS gpu_memory_allocated_gb double precision,
    ADD COLUMN IF NOT EXISTS gpu_memory_reserved_gb double precision,
    ADD COLUMN IF NOT EXISTS gpu_utilization_percent double precision,
    ADD COLUMN IF NOT EXISTS loss_trend text,
    ADD COLUMN IF NOT EXISTS epochs_without_improvement integer,
    ADD COLUMN IF NOT EXISTS final_loss double precision,
    ADD COLUMN IF NOT EXISTS final_eval_loss double precision,
    ADD COLUMN IF NOT EXISTS best_eval_loss double precision,
    ADD COLUMN IF NOT EXISTS best_epoch double precision,
    ADD COLUMN IF NOT EXISTS best_step bigint,
    ADD COLUMN IF NOT EXISTS best_checkpoint_path text,
    ADD COLUMN IF NOT EXISTS best_checkpoint_score double precision,
    ADD COLUMN IF NOT EXISTS total_samples bigint,
    ADD COLUMN IF NOT EXISTS train_samples bigint,
    ADD COLUMN IF NOT EXISTS val_samples bigint,
    ADD COLUMN IF NOT EXISTS total_tokens_processed bigint,
    ADD COLUMN IF NOT EXISTS resumed_from_job_id text,
    ADD COLUMN IF NOT EXISTS resumed_from_checkpoint text,
    ADD COLUMN IF NOT EXISTS provider text,
    ADD COLUMN IF NOT EXISTS gpu_type text,
    ADD COLUMN IF NOT EXISTS gpu_count integer,
    ADD COLUMN IF NOT EXISTS pod_id text,
    ADD COLUMN IF NOT EXISTS pod_status text,
    ADD COLUMN IF NOT EXISTS cost_per_hour double precision,
    ADD COLUMN IF NOT EXISTS cost_total double precision,
    ADD COLUMN IF NOT EXISTS job_dir text,
    ADD COLUMN IF NOT EXISTS exit_code integer,
    ADD COLUMN IF NOT EXISTS schema_version integer NOT NULL DEFAULT 1,
    -- Rises with every change of any job: what a reader asks «what is new since» by.
    ADD COLUMN IF NOT EXISTS revision bigint NOT NULL DEFAULT 0;

CREATE SEQUENCE IF NOT EXISTS public.training_revision;
CREATE INDEX IF NOT EXISTS training_jobs_by_revision ON public.local_training_jobs (revision);
CREATE INDEX IF NOT EXISTS training_jobs_by_user ON public.local_training_jobs (user_id);

-- The wire, whole.
CREATE TABLE IF NOT EXISTS public.training_events (
    job_id uuid NOT NULL REFERENCES public.local_training_jobs (id) ON DELETE CASCADE,
    seq bigint NOT NULL CHECK (seq > 0),
    ts timestamptz NOT NULL,
    attempt integer NOT NULL DEFAULT 1,
    type text NOT NULL,
    step bigint,
    data jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (job_id, seq)
);

CREATE TABLE IF NOT EXISTS public.local_training_metrics (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL,
    step bigint,
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE public.local_training_metrics
    -- Null in rows of the old system, which had none and so could be doubled.
    ADD COLUMN IF NOT EXISTS kind text,
    ADD COLUMN IF NOT EXISTS attempt integer,
    ADD COLUMN IF NOT EXISTS epoch double precision,
    ADD COLUMN IF NOT EXISTS train_loss double precision,
    ADD COLUMN IF NOT EXISTS eval_loss double precision,
    ADD COLUMN IF NOT EXISTS learning_rate double precision,
    ADD COLUMN IF NOT EXISTS grad_norm double precision,
    ADD COLUMN IF NOT EXISTS gpu_memory_allocated_gb double precision,
    ADD COLUMN IF NOT EXISTS gpu_memory_reserved_gb double precision,
    ADD COLUMN IF NOT EXISTS gpu_utilization_percent double precision,
    ADD COLUMN IF NOT EXISTS perplexity double precision,
    ADD COLUMN IF NOT EXISTS train_perplexity double precision,
    ADD COLUMN IF NOT EXISTS samples_per_second double precision,
    ADD COLUMN IF NOT EXISTS tokens_per_second double precision,
    ADD COLUMN IF NOT EXISTS loss_trend text,
    ADD COLUMN IF NOT EXISTS best_eval_loss double precision,
    ADD COLUMN IF NOT EXISTS best_epoch double precision,
    ADD COLUMN IF NOT EXISTS best_step bigint,
    ADD COLUMN IF NOT EXISTS epochs_without_improvement integer,
    ADD COLUMN IF NOT EXISTS extra jsonb,
    ADD COLUMN IF NOT EXISTS timestamp timestamptz;
CREATE UNIQUE INDEX IF NOT EXISTS training_metrics_once
    ON public.local_training_metrics (job_id, kind, step) WHERE kind IS NOT NULL;
CREATE INDEX IF NOT EXISTS training_metrics_by_step ON public.local_training_metrics (job_id, step);

CREATE TABLE IF NOT EXISTS public.training_predictions (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL,
    step bigint,
    sample_index integer,
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE public.training_predictions
    ADD COLUMN IF NOT EXISTS user_id uuid,
    -- Null in rows of the old system.
    ADD COLUMN IF NOT EXISTS attempt integer,
    ADD COLUMN IF NOT EXISTS epoch double precision,
    ADD COLUMN IF NOT EXISTS prompt text,
    ADD COLUMN IF NOT EXISTS ground_truth text,
    ADD COLUMN IF NOT EXISTS prediction text,
    ADD COLUMN IF NOT EXISTS exact_match boolean,
    ADD COLUMN IF NOT EXISTS char_error_rate double precision,
    ADD COLUMN IF NOT EXISTS length_ratio double precision,
    ADD COLUMN IF NOT EXISTS word_overlap double precision,
    ADD COLUMN IF NOT EXISTS prompt_id text,
    ADD COLUMN IF NOT EXISTS prompt_tokens integer,
    ADD COLUMN IF NOT EXISTS completion_tokens integer,
    ADD COLUMN IF NOT EXISTS latency_ms double precision,
    ADD COLUMN IF NOT EXISTS max_new_tokens integer,
    ADD COLUMN IF NOT EXISTS validation_pass boolean,
    ADD COLUMN IF NOT EXISTS validation_errors text;
CREATE UNIQUE INDEX IF NOT EXISTS training_predictions_once
    ON public.training_predictions (job_id, step, sample_index) WHERE attempt IS NOT NULL;

CREATE TABLE IF NOT EXISTS public.training_checkpoints (
    job_id uuid NOT NULL REFERENCES public.local_training_jobs (id) ON DELETE CASCADE,
    step bigint NOT NULL,
    attempt integer NOT NULL DEFAULT 1,
    epoch double precision,
    eval_loss double precision,
    train_loss double precision,
    score jsonb,
    path text,
    size_bytes bigint,
    sha256 text,
    verified boolean NOT NULL DEFAULT false,
    created_at timestamptz,
    removed_at timestamptz,
    PRIMARY KEY (job_id, step)
);

CREATE TABLE IF NOT EXISTS public.training_comparisons (
    id text PRIMARY KEY,
    user_id uuid NOT NULL,
    team_id uuid,
    name text NOT NULL,
    job_ids jsonb NOT NULL,
    reference_job_id text,
    notes text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    revision bigint NOT NULL DEFAULT 0
);

-- Who works together: members of a team see its runs.
CREATE TABLE IF NOT EXISTS public.training_teams (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    owner_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS public.training_team_members (
    team_id uuid NOT NULL REFERENCES public.training_teams (id) ON DELETE CASCADE,
    user_id uuid NOT NULL,
    PRIMARY KEY (team_id, user_id)
);

-- What a pod shows to tell of its job; only the hash of a token is kept. No role but the functions reads it.
CREATE TABLE IF NOT EXISTS public.training_job_tokens (
    job_id uuid NOT NULL REFERENCES public.local_training_jobs (id) ON DELETE CASCADE,
    token_sha256 text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    PRIMARY KEY (job_id, token_sha256)
);
