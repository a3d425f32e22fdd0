-- Figures that are added to a step (`metric` events) are in the table of metrics, too; and what comes late, because a
-- sender had left it out, takes the job back to nothing that was so before.
SET LOCAL check_function_bodies = off; -- the table of what just came is made when it is needed
CREATE OR REPLACE FUNCTION public.training_project_figures(job uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    WITH told AS (
        SELECT CASE data ->> 'kind' WHEN 'eval' THEN 'eval' ELSE 'train' END AS kind, step, seq, attempt, ts,
            data - '{kind,step}'::text[] AS data
        FROM pg_temp.training_incoming
        WHERE type = 'metric' AND step IS NOT NULL
    ), joined AS (
        SELECT kind, step, max(attempt) AS attempt, max(ts) AS ts, jsonb_object_agg(key, value ORDER BY seq) AS data
        FROM told, jsonb_each(told.data)
        GROUP BY kind, step
    )
    INSERT INTO public.local_training_metrics AS known (
        job_id, kind, step, attempt, epoch, train_loss, eval_loss, learning_rate, grad_norm, perplexity,
        train_perplexity, samples_per_second, tokens_per_second, gpu_memory_allocated_gb,
        gpu_memory_reserved_gb, timestamp, extra)
    SELECT job, kind, step, attempt, public.training_number(data -> 'epoch'),
        CASE kind WHEN 'train' THEN public.training_number(data -> 'loss') END,
        public.training_number(data -> 'eval_loss'), public.training_number(data -> 'learning_rate'),
        public.training_number(data -> 'grad_norm'), public.training_number(data -> 'perplexity'),
        public.training_number(data -> 'train_perplexity'), public.training_number(data -> 'samples_per_second'),
        public.training_number(data -> 'tokens_per_second'),
        public.training_number(data -> 'gpu_memory_allocated_gb'),
        public.training_number(data -> 'gpu_memory_reserved_gb'), ts,
        data - '{epoch,loss,train_loss,eval_loss,learning_rate,grad_norm,perplexity,train_perplexity,samples_per_second,tokens_per_second,gpu_memory_allocated_gb,gpu_memory_reserved_gb}'::text[]
    FROM joined
    ON CONFLICT (job_id, kind, step) WHERE kind IS NOT NULL DO UPDATE SET
        epoch = coalesce(known.epoch, excluded.epoch), train_loss = coalesce(excluded.train_loss, known.train_loss),
        eval_loss = coalesce(excluded.eval_loss, known.eval_loss),
        learning_rate = coalesce(excluded.learning_rate, known.learning_rate),
        grad_norm = coalesce(excluded.grad_norm, known.grad_norm),
        perplexity = coalesce(excluded.perplexity, known.perplexity),
        train_perplexity = coalesce(excluded.train_perplexity, known.train_perplexity),
        samples_per_second = coalesce(excluded.samples_per_second, known.samples_per_second),
        tokens_per_second = coalesce(excluded.tokens_per_second, known.tokens_per_second),
        gpu_memory_allocated_gb = coalesce(excluded.gpu_memory_allocated_gb, known.gpu_memory_allocated_gb),
        gpu_memory_reserved_gb = coalesce(excluded.gpu_memory_reserved_gb, known.gpu_memory_reserved_gb),
        extra = coalesce(known.extra, '{}') || coalesce(excluded.extra, '{}')
    WHERE excluded.attempt >= coalesce(known.attempt, 0)
$$;
REVOKE ALL ON FUNCTION public.training_project_figures(uuid) FROM anon, authenticated, public;

CREATE OR REPLACE FUNCTION public.training_take_events(job uuid, events jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    known bigint;
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
    SELECT coalesce(max(seq), 0) INTO known FROM public.training_events WHERE job_id = job;

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
        IF EXISTS (SELECT 1 FROM pg_temp.training_incoming WHERE type = 'metric') THEN
            PERFORM public.training_project_figures(job);
        END IF;
        PERFORM public.training_project_artifacts(job);
        -- What is older than what is here says nothing of how the job stands; that it changed is said all the same.
        DELETE FROM pg_temp.training_incoming WHERE seq < known;
        PERFORM public.training_project_job(job);
    END IF;
    -- The newest event that is here: senders send in order, so they need not send what is before it.
    SELECT max(seq) INTO newest FROM public.training_events WHERE job_id = job;
    RETURN coalesce(newest, 0);
END $$;
REVOKE ALL ON FUNCTION public.training_take_events(uuid, jsonb) FROM anon, authenticated, public;
