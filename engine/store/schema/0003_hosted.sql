-- What is known of the copies of jobs and comparisons in a hosted store; `project` is its address and who is
-- signed in. `base` (JSON) is what a row held there when both sides last agreed: what a merge of changes made here
-- and there starts from.
CREATE TABLE hosted_jobs (
    project TEXT NOT NULL,
    job_id TEXT NOT NULL,
    hosted_id TEXT NOT NULL,
    -- Is it followed from this machine? Its figures then go there, else they come from there.
    here INTEGER NOT NULL,
    base TEXT NOT NULL DEFAULT '{}',
    -- The row's revision there, and the job's revision here that was last sent.
    revision INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT -1,
    -- The newest event that is there, as far as this machine has sent it or been told.
    sent_seq INTEGER NOT NULL DEFAULT 0,
    -- The row's revision when its events were last taken from there.
    taken INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (project, job_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX hosted_jobs_by_id ON hosted_jobs (project, hosted_id);
-- All but the base, which is large: what is looked through every other second.
CREATE INDEX hosted_jobs_small ON hosted_jobs (project, job_id, here, sent, sent_seq, revision, taken, hosted_id);
CREATE INDEX hosted_jobs_by_job ON hosted_jobs (job_id);

CREATE TABLE hosted_comparisons (
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    base TEXT NOT NULL,
    PRIMARY KEY (project, id)
) WITHOUT ROWID;

CREATE TABLE hosted_cursors (
    project TEXT PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    synced_at TEXT
) WITHOUT ROWID;

PRAGMA user_version = 3;
