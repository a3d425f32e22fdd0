-- What a pod tells of its job, and what a laptop passes on: the one way that events come in.
SET LOCAL check_function_bodies = off; -- the table of what just came is made when it is needed

-- A number of the wire: null for what is none, and for NaN and infinity, which a chart can't draw.
CREATE OR REPLACE FUNCTION public.training_number(value jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT CASE WHEN jsonb_typeof(value) = 'number' AND abs(value::numeric) < 1e300 THEN value::double precision END
$$;

CREATE OR REPLACE FUNCTION public.training_count(value jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT CASE WHEN jsonb_typeof(value) = 'number' AND value::numeric BETWEEN 0 AND 9e15
        THEN trunc(value::numeric)::bigint END
$$;

CREATE OR REPLACE FUNCTION public.training_text(value jsonb, longest integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT left(CASE jsonb_typeof(value) WHEN 'string' THEN value #>> '{}' WHEN 'null' THEN NULL
        ELSE value::text END, longest)
$$;

-- Takes events in, each once, and brings the rows up to date that follow from them. Called by the two
-- functions below, which have asked who is there.
CREATE OR REPLACE FUNCTION public.training_take_events(job uuid, events jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    newest bigint;
BEGIN
    -- Some servers hand JSON on as a text that holds it.
    IF jsonb_typeof(events) = 'string' THEN
        events := (events #>> '{}')::jsonb;
    END IF;
    IF jsonb_typeof(events) <> 'array' OR jsonb_array_length(events) > 2000 THEN
        RAISE EXCEPTION 'events must be an array of at most 2000' USING ERRCODE = 'PT400';
    END IF;
    -- Deliveries of one job come one after the other.
    PERFORM 1 FROM public.local_training_jobs WHERE id = job FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such job' USING ERRCODE = 'PT404';
    END IF;

    CREATE TEMPORARY TABLE IF NOT EXISTS training_incoming (
        seq bigint, ts timestamptz, attempt integer, type text, step bigint, data jsonb
    ) ON COMMIT DELETE ROWS;
    DELETE FROM pg_temp.training_incoming;
    WITH given AS (
        SELECT DISTINCT ON (seq) * FROM jsonb_to_recordset(events)
            AS x(seq bigint, ts timestamptz, attempt integer, type text, step bigint, data jsonb)
        WHERE seq > 0 AND ts IS NOT NULL AND type IS NOT NULL AND length(type) <= 60
            AND (step IS NULL OR step BETWEEN 0 AND 9e15)
        ORDER BY seq
    ), stored AS (
        INSERT INTO public.training_events (job_id, seq, ts, attempt, type, step, data)
        SELECT job, seq, ts, coalesce(attempt, 1), type, step,
            CASE WHEN jsonb_typeof(data) = 'object' THEN data ELSE '{}' END FROM given
        ON CONFLICT (job_id, seq) DO NOTHING
        RETURNING seq, ts, attempt, type, step, data
    )
    INSERT INTO pg_temp.training_incoming SELECT * FROM stored;

    IF EXISTS (SELECT 1 FROM pg_temp.training_incoming) THEN
        PERFORM public.training_project_metrics(job);
        PERFORM public.training_project_artifacts(job);
        PERFORM public.training_project_job(job);
    END IF;
    -- The newest event that is here: senders send in order, so they need not send what is before it.
    SELECT max(seq) INTO newest FROM public.training_events WHERE job_id = job;
    RETURN coalesce(newest, 0);
END $$;

CREATE OR REPLACE FUNCTION public.training_project_metrics(job uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO public.local_training_metrics (
        job_id, kind, step, attempt, epoch, train_loss, eval_loss, learning_rate, grad_norm, perplexity,
        train_perplexity, samples_per_second, tokens_per_second, gpu_memory_allocated_gb,
        gpu_memory_reserved_gb, timestamp, extra)
    SELECT DISTINCT ON (type, step)
        job, type, step, attempt, public.training_number(data -> 'epoch'),
        public.training_number(coalesce(data -> 'train_loss', data -> 'loss')),
        public.training_number(data -> 'eval_loss'), public.training_number(data -> 'learning_rate'),
        public.training_number(data -> 'grad_norm'), public.training_number(data -> 'perplexity'),
        public.training_number(data -> 'train_perplexity'),
        public.training_number(data -> 'samples_per_second'),
        public.training_number(data -> 'tokens_per_second'),
        public.training_number(data -> 'gpu_memory_allocated_gb'),
        public.training_number(data -> 'gpu_memory_reserved_gb'), ts,
        data - '{epoch,loss,train_loss,eval_loss,learning_rate,grad_norm,perplexity,train_perplexity,samples_per_second,tokens_per_second,gpu_memory_allocated_gb,gpu_memory_reserved_gb,score}'::text[]
    FROM pg_temp.training_incoming WHERE type IN ('train', 'eval') AND step IS NOT NULL
    ORDER BY type, step, attempt DESC, seq DESC
    ON CONFLICT (job_id, kind, step) WHERE kind IS NOT NULL DO UPDATE SET
        attempt = excluded.attempt, epoch = excluded.epoch, train_loss = excluded.train_loss,
        eval_loss = excluded.eval_loss, learning_rate = excluded.learning_rate,
        grad_norm = excluded.grad_norm, perplexity = excluded.perplexity,
        train_perplexity = excluded.train_perplexity, samples_per_second = excluded.samples_per_second,
        tokens_per_second = excluded.tokens_per_second,
        gpu_memory_allocated_gb = excluded.gpu_memory_allocated_gb,
        gpu_memory_reserved_gb = excluded.gpu_memory_reserved_gb, timestamp = excluded.timestamp,
        extra = excluded.extra
    WHERE excluded.attempt >= coalesce(local_training_metrics.attempt, 0)
$$;

CREATE OR REPLACE FUNCTION public.training_project_artifacts(job uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO public.training_checkpoints (
        job_id, step, attempt, epoch, eval_loss, train_loss, score, path, size_bytes, sha256, verified, created_at)
    SELECT DISTINCT ON (step) job, step, attempt, public.training_number(data -> 'epoch'),
        public.training_number(coalesce(data -> 'eval_loss', data #> '{score,metrics,eval_loss}')),
        public.training_number(coalesce(data -> 'train_loss', data #> '{score,metrics,train_loss}')),
        data -> 'score', public.training_text(data -> 'path', 1000), public.training_count(data -> 'bytes'),
        public.training_text(data -> 'sha256', 64), data -> 'verified' IS NOT DISTINCT FROM 'true', ts
    FROM pg_temp.training_incoming
    WHERE type = 'checkpoint' AND step IS NOT NULL AND data -> 'removed' IS DISTINCT FROM 'true'
    ORDER BY step, attempt DESC, seq DESC
    ON CONFLICT (job_id, step) DO UPDATE SET
        attempt = excluded.attempt, epoch = excluded.epoch, eval_loss = excluded.eval_loss,
        train_loss = excluded.train_loss, score = excluded.score, path = excluded.path,
        size_bytes = excluded.size_bytes, sha256 = excluded.sha256, verified = excluded.verified,
        created_at = excluded.created_at, removed_at = NULL
    WHERE excluded.attempt >= training_checkpoints.attempt;

    UPDATE public.training_checkpoints AS checkpoint SET path = NULL, removed_at = gone.ts
    FROM pg_temp.training_incoming AS gone
    WHERE gone.type = 'checkpoint' AND gone.data -> 'removed' = 'true' AND checkpoint.job_id = job
        AND checkpoint.path = gone.data ->> 'path' AND checkpoint.created_at <= gone.ts;

    INSERT INTO public.training_predictions (
        job_id, user_id, step, sample_index, attempt, epoch, prompt, ground_truth, prediction, exact_match,
        char_error_rate, length_ratio, word_overlap, prompt_id, prompt_tokens, completion_tokens, latency_ms,
        max_new_tokens, validation_pass, validation_errors, created_at)
    SELECT DISTINCT ON (coalesce(step, 0), public.training_count(data -> 'sample_index'))
        job, (SELECT user_id FROM public.local_training_jobs WHERE id = job), coalesce(step, 0),
        public.training_count(data -> 'sample_index')::integer, attempt, public.training_number(data -> 'epoch'),
        public.training_text(data -> 'prompt', 200000), public.training_text(data -> 'ground_truth', 200000),
        public.training_text(data -> 'prediction', 200000), (data -> 'exact_match') = 'true',
        public.training_number(data -> 'char_error_rate'), public.training_number(data -> 'length_ratio'),
        public.training_number(data -> 'word_overlap'), public.training_text(data -> 'prompt_id', 100),
        public.training_count(data -> 'prompt_tokens')::integer,
        public.training_count(data -> 'completion_tokens')::integer,
        public.training_number(data -> 'latency_ms'), public.training_count(data -> 'max_new_tokens')::integer,
        (data -> 'validation_pass') = 'true', public.training_text(data -> 'validation_errors', 10000), ts
    FROM pg_temp.training_incoming
    WHERE type = 'prediction' AND public.training_count(data -> 'sample_index') < 2147483647
    ORDER BY coalesce(step, 0), public.training_count(data -> 'sample_index'), attempt DESC, seq DESC
    ON CONFLICT (job_id, step, sample_index) WHERE attempt IS NOT NULL DO UPDATE SET
        attempt = excluded.attempt, epoch = excluded.epoch, prompt = excluded.prompt,
        ground_truth = excluded.ground_truth, prediction = excluded.prediction,
        exact_match = excluded.exact_match, char_error_rate = excluded.char_error_rate,
        length_ratio = excluded.length_ratio, word_overlap = excluded.word_overlap,
        latency_ms = excluded.latency_ms, validation_pass = excluded.validation_pass,
        validation_errors = excluded.validation_errors, created_at = excluded.created_at
    WHERE excluded.attempt >= training_predictions.attempt
$$;

-- The job's own columns, from the newest event of each type among those that just came.
CREATE OR REPLACE FUNCTION public.training_project_job(job uuid) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    newest timestamptz := (SELECT max(ts) FROM pg_temp.training_incoming);
    state jsonb := (SELECT data FROM pg_temp.training_incoming WHERE type = 'state' ORDER BY seq DESC LIMIT 1);
    state_at timestamptz := (SELECT ts FROM pg_temp.training_incoming WHERE type = 'state' ORDER BY seq DESC LIMIT 1);
    start jsonb := (SELECT data FROM pg_temp.training_incoming WHERE type = 'start' ORDER BY seq DESC LIMIT 1);
    train jsonb := (SELECT data FROM pg_temp.training_incoming WHERE type = 'train' ORDER BY seq DESC LIMIT 1);
    eval jsonb := (SELECT data FROM pg_temp.training_incoming WHERE type = 'eval' ORDER BY seq DESC LIMIT 1);
    busy jsonb := (SELECT data FROM pg_temp.training_incoming WHERE type = 'phase' ORDER BY seq DESC LIMIT 1);
    beat timestamptz := (SELECT max(ts) FROM pg_temp.training_incoming WHERE type = 'heartbeat');
    at bigint := (SELECT step FROM pg_temp.training_incoming WHERE step IS NOT NULL AND type IN ('train', 'eval')
        ORDER BY seq DESC LIMIT 1);
    told text := state ->> 'status';
BEGIN
    IF told NOT IN ('queued', 'pending', 'running', 'paused', 'completed', 'failed', 'cancelled') THEN
        told := NULL;
    END IF;
    UPDATE public.local_training_jobs SET
        status = coalesce(told, status),
        attempt = greatest(attempt, (SELECT max(i.attempt) FROM pg_temp.training_incoming AS i)),
        error_message = CASE WHEN told IS NULL THEN error_message
            ELSE public.training_text(coalesce(state -> 'error', state -> 'reason'), 2000) END,
        started_at = coalesce(started_at, (SELECT min(ts) FROM pg_temp.training_incoming
            WHERE type = 'start' OR (type = 'state' AND data ->> 'status' = 'running'))),
        completed_at = CASE WHEN told IN ('completed', 'cancelled') THEN state_at
            WHEN told IS NULL THEN completed_at END,
        failed_at = CASE WHEN told = 'failed' THEN state_at WHEN told IS NULL THEN failed_at END,
        phase = coalesce(public.training_text(busy -> 'phase', 60), phase),
        total_steps = coalesce(public.training_count(start -> 'total_steps'), total_steps),
        train_samples = coalesce(public.training_count(start #> '{samples,train}'), train_samples),
        val_samples = coalesce(public.training_count(start #> '{samples,eval}'), val_samples),
        current_step = coalesce(at, current_step),
        current_epoch = coalesce(public.training_number(train -> 'epoch'), public.training_number(eval -> 'epoch'),
            current_epoch),
        loss = CASE WHEN train ? 'loss' THEN public.training_number(train -> 'loss') ELSE loss END,
        learning_rate = coalesce(public.training_number(train -> 'learning_rate'), learning_rate),
        grad_norm = coalesce(public.training_number(train -> 'grad_norm'), grad_norm),
        samples_per_second = coalesce(public.training_number(train -> 'samples_per_second'), samples_per_second),
        tokens_per_second = coalesce(public.training_number(train -> 'tokens_per_second'), tokens_per_second),
        eval_loss = CASE WHEN eval ? 'eval_loss' THEN public.training_number(eval -> 'eval_loss') ELSE eval_loss END,
        perplexity = coalesce(public.training_number(eval -> 'perplexity'), perplexity),
        total_tokens_processed = coalesce(public.training_count(train -> 'tokens'), total_tokens_processed),
        best_eval_loss = (SELECT min(m.eval_loss) FROM public.local_training_metrics AS m
            WHERE m.job_id = job AND m.kind = 'eval'),
        progress = CASE WHEN coalesce(public.training_count(start -> 'total_steps'), total_steps) > 0
            THEN least(100, 100.0 * coalesce(at, current_step)
                / coalesce(public.training_count(start -> 'total_steps'), total_steps)) END,
        last_heartbeat_at = greatest(last_heartbeat_at, beat),
        updated_at = greatest(updated_at, newest)
    WHERE id = job;
END $$;

-- A pod's way in: its token, and progress of its own job alone.
CREATE OR REPLACE FUNCTION public.report_events(job_id uuid, job_token text, events jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM public.training_job_tokens AS known
        WHERE known.job_id = report_events.job_id
            AND known.token_sha256 = encode(sha256(convert_to(job_token, 'UTF8')), 'hex')
            AND known.revoked_at IS NULL AND known.expires_at > now()
    ) THEN
        RAISE EXCEPTION 'the job token is refused' USING ERRCODE = 'PT401', HINT = 'It is wrong, expired or revoked.';
    END IF;
    RETURN public.training_take_events(report_events.job_id, events);
END $$;

-- A laptop's way in: the events of a job of its user.
CREATE OR REPLACE FUNCTION public.push_events(job_id uuid, events jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM public.local_training_jobs AS job
        WHERE job.id = push_events.job_id AND job.user_id = (SELECT auth.uid())
    ) THEN
        RAISE EXCEPTION 'not your job' USING ERRCODE = 'PT403';
    END IF;
    RETURN public.training_take_events(push_events.job_id, events);
END $$;

-- A token for a job of the caller's; the token itself never comes here, only its hash.
CREATE OR REPLACE FUNCTION public.grant_job_token(job_id uuid, token_sha256 text, hours double precision)
RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    until timestamptz := now() + make_interval(secs => least(greatest(hours, 0.0), 24.0 * 60) * 3600);
BEGIN
    IF token_sha256 !~ '^[0-9a-f]{64}$' THEN
        RAISE EXCEPTION 'not the SHA-256 of a token' USING ERRCODE = 'PT400';
    END IF;
    IF NOT EXISTS (
        SELECT 1 FROM public.local_training_jobs AS job
        WHERE job.id = grant_job_token.job_id AND job.user_id = (SELECT auth.uid())
    ) THEN
        RAISE EXCEPTION 'not your job' USING ERRCODE = 'PT403';
    END IF;
    INSERT INTO public.training_job_tokens (job_id, token_sha256, expires_at)
    VALUES (grant_job_token.job_id, grant_job_token.token_sha256, until)
    ON CONFLICT ON CONSTRAINT training_job_tokens_pkey DO UPDATE SET expires_at = excluded.expires_at;
    RETURN until;
END $$;

-- No token of a job of the caller's is good any more.
CREATE OR REPLACE FUNCTION public.revoke_job_tokens(job_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE public.training_job_tokens AS token SET revoked_at = now()
    FROM public.local_training_jobs AS job
    WHERE token.job_id = revoke_job_tokens.job_id AND job.id = token.job_id
        AND job.user_id = (SELECT auth.uid()) AND token.revoked_at IS NULL;
END $$;
