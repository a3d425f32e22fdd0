-- What the laptop that follows a run knows of it besides, so that others see it too.
ALTER TABLE public.local_training_jobs
    ADD COLUMN IF NOT EXISTS spent jsonb,
    ADD COLUMN IF NOT EXISTS laptop_spent jsonb,
    ADD COLUMN IF NOT EXISTS best_at timestamptz,
    ADD COLUMN IF NOT EXISTS checkpoint_count integer,
    ADD COLUMN IF NOT EXISTS size_bytes bigint,
    ADD COLUMN IF NOT EXISTS bad_lines integer;
