-- What an action changed of each job, as JSON objects before and after: hidden or not, and what the user says of it.
CREATE TABLE action_changes (
    action_id INTEGER NOT NULL REFERENCES actions (id) ON DELETE CASCADE,
    job_id TEXT NOT NULL REFERENCES local_training_jobs (id) ON DELETE CASCADE,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    PRIMARY KEY (action_id, job_id)
) WITHOUT ROWID;
INSERT INTO action_changes
SELECT action_id, job_id, json_object('archived_at', archived_before, 'deleted_at', deleted_before),
    json_object('archived_at', archived_after, 'deleted_at', deleted_after)
FROM action_items;
DROP TABLE action_items;

PRAGMA user_version = 4;
