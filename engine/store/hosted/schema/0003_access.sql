-- Who may do what. A pod has no grant on any table; a user has its own runs, and reads those of its teams.

CREATE OR REPLACE FUNCTION public.training_is_member(team uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT 1 FROM public.training_team_members AS member
        WHERE member.team_id = team AND member.user_id = (SELECT auth.uid())
    ) OR EXISTS (
        SELECT 1 FROM public.training_teams WHERE id = team AND owner_id = (SELECT auth.uid())
    )
$$;

CREATE OR REPLACE FUNCTION public.training_may_see(job uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT 1 FROM public.local_training_jobs
        WHERE id = job AND (user_id = (SELECT auth.uid()) OR public.training_is_member(team_id))
    )
$$;

-- Who a job is of, and since when, never changes; every change gets a new revision.
CREATE OR REPLACE FUNCTION public.training_job_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.user_id, NEW.created_at) IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.created_at)
    THEN
        RAISE EXCEPTION 'id, user_id and created_at of a job are fixed' USING ERRCODE = 'PT403';
    END IF;
    IF NEW.number IS NULL THEN
        NEW.number := 1 + (SELECT coalesce(max(number), 0) FROM public.local_training_jobs
            WHERE base_model IS NOT DISTINCT FROM NEW.base_model AND user_id IS NOT DISTINCT FROM NEW.user_id);
    END IF;
    NEW.revision := nextval('public.training_revision');
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER training_job_changed BEFORE INSERT OR UPDATE ON public.local_training_jobs
    FOR EACH ROW EXECUTE FUNCTION public.training_job_changed();

ALTER TABLE public.local_training_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.training_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.local_training_metrics ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.training_predictions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.training_checkpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.training_comparisons ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.training_teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.training_team_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.training_job_tokens ENABLE ROW LEVEL SECURITY;

-- The old system's policies admitted any writer: whatever stands there on our tables goes.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN SELECT policyname, tablename FROM pg_policies WHERE schemaname = 'public' AND tablename IN (
        'local_training_jobs', 'training_events', 'local_training_metrics', 'training_predictions',
        'training_checkpoints', 'training_comparisons', 'training_teams', 'training_team_members',
        'training_job_tokens')
    LOOP
        EXECUTE format('DROP POLICY %I ON public.%I', old.policyname, old.tablename);
    END LOOP;
END $$;

CREATE POLICY jobs_are_seen ON public.local_training_jobs FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()) OR public.training_is_member(team_id));
CREATE POLICY jobs_are_made ON public.local_training_jobs FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid()) AND (team_id IS NULL OR public.training_is_member(team_id)));
CREATE POLICY jobs_are_changed ON public.local_training_jobs FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid()))
    WITH CHECK (user_id = (SELECT auth.uid()) AND (team_id IS NULL OR public.training_is_member(team_id)));
CREATE POLICY jobs_are_purged ON public.local_training_jobs FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()) AND deleted_at IS NOT NULL);

CREATE POLICY events_are_seen ON public.training_events FOR SELECT TO authenticated
    USING (public.training_may_see(job_id));
CREATE POLICY metrics_are_seen ON public.local_training_metrics FOR SELECT TO authenticated
    USING (public.training_may_see(job_id));
CREATE POLICY predictions_are_seen ON public.training_predictions FOR SELECT TO authenticated
    USING (public.training_may_see(job_id));
CREATE POLICY checkpoints_are_seen ON public.training_checkpoints FOR SELECT TO authenticated
    USING (public.training_may_see(job_id));

CREATE POLICY comparisons_are_seen ON public.training_comparisons FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()) OR public.training_is_member(team_id));
CREATE POLICY comparisons_are_ones_own ON public.training_comparisons FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY teams_are_seen ON public.training_teams FOR SELECT TO authenticated
    USING (public.training_is_member(id));
CREATE POLICY teams_are_ones_own ON public.training_teams FOR ALL TO authenticated
    USING (owner_id = (SELECT auth.uid())) WITH CHECK (owner_id = (SELECT auth.uid()));
CREATE POLICY members_are_seen ON public.training_team_members FOR SELECT TO authenticated
    USING (public.training_is_member(team_id));
CREATE POLICY members_are_the_owners ON public.training_team_members FOR ALL TO authenticated
    USING (EXISTS (SELECT 1 FROM public.training_teams AS team
        WHERE team.id = team_id AND team.owner_id = (SELECT auth.uid())))
    WITH CHECK (EXISTS (SELECT 1 FROM public.training_teams AS team
        WHERE team.id = team_id AND team.owner_id = (SELECT auth.uid())));

-- Supabase grants everything on new tables to everybody and leaves it to the policies; here a pod, which is
-- anon, gets nothing but the one function.
REVOKE ALL ON public.local_training_jobs, public.training_events, public.local_training_metrics,
    public.training_predictions, public.training_checkpoints, public.training_comparisons,
    public.training_teams, public.training_team_members, public.training_job_tokens FROM anon, authenticated, public;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.local_training_jobs, public.training_comparisons,
    public.training_teams, public.training_team_members TO authenticated;
GRANT SELECT ON public.training_events, public.local_training_metrics, public.training_predictions,
    public.training_checkpoints TO authenticated;
GRANT USAGE ON SEQUENCE public.training_revision TO authenticated;

REVOKE ALL ON FUNCTION public.training_take_events(uuid, jsonb), public.training_project_metrics(uuid),
    public.training_project_artifacts(uuid), public.training_project_job(uuid),
    public.report_events(uuid, text, jsonb), public.push_events(uuid, jsonb),
    public.grant_job_token(uuid, text, double precision), public.revoke_job_tokens(uuid),
    public.training_may_see(uuid), public.training_is_member(uuid) FROM anon, authenticated, public;
GRANT EXECUTE ON FUNCTION public.report_events(uuid, text, jsonb) TO anon, authenticated;
GRANT EXECUTE ON FUNCTION public.push_events(uuid, jsonb), public.grant_job_token(uuid, text, double precision),
    public.revoke_job_tokens(uuid), public.training_may_see(uuid), public.training_is_member(uuid) TO authenticated;

-- Changes are sent to whoever watches, where the server can.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_publication WHERE pubname = 'supabase_realtime') AND NOT EXISTS (
        SELECT 1 FROM pg_publication_tables
        WHERE pubname = 'supabase_realtime' AND schemaname = 'public' AND tablename = 'local_training_jobs')
    THEN
        ALTER PUBLICATION supabase_realtime ADD TABLE public.local_training_jobs;
    END IF;
END $$;
