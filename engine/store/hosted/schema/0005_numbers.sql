-- A run's number is its own among the runs of its model that its team sees: of two laptops that gave the same one
-- while they were apart, the run that comes second gets the next that is free.
CREATE INDEX IF NOT EXISTS training_jobs_by_number ON public.local_training_jobs (base_model, number);

CREATE OR REPLACE FUNCTION public.training_job_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.user_id, NEW.created_at) IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.created_at)
    THEN
        RAISE EXCEPTION 'id, user_id and created_at of a job are fixed' USING ERRCODE = 'PT403';
    END IF;
    IF TG_OP = 'INSERT' THEN
        -- One after the other, so that each sees what the one before it took.
        PERFORM pg_advisory_xact_lock(hashtext('podium runs of ' || coalesce(NEW.base_model, '')));
        IF EXISTS (
            SELECT 1 FROM public.local_training_jobs AS other
            WHERE other.base_model = NEW.base_model AND other.number = NEW.number AND other.id <> NEW.id
                AND (other.user_id = NEW.user_id OR other.team_id = NEW.team_id)
        ) THEN
            NEW.number := NULL;
        END IF;
    END IF;
    IF NEW.number IS NULL THEN
        NEW.number := 1 + (SELECT coalesce(max(number), 0) FROM public.local_training_jobs AS other
            WHERE other.base_model IS NOT DISTINCT FROM NEW.base_model
                AND (other.user_id IS NOT DISTINCT FROM NEW.user_id OR other.team_id = NEW.team_id));
    END IF;
    NEW.revision := nextval('public.training_revision');
    RETURN NEW;
END $$;

-- A comparison is put into a team by its members alone, as a run is.
DROP POLICY IF EXISTS comparisons_are_ones_own ON public.training_comparisons;
CREATE POLICY comparisons_are_ones_own ON public.training_comparisons FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid()))
    WITH CHECK (user_id = (SELECT auth.uid()) AND (team_id IS NULL OR public.training_is_member(team_id)));
