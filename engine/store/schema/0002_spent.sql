-- Where a job's time went: seconds by phase (JSON), and when its best checkpoint was saved.
ALTER TABLE local_training_jobs ADD COLUMN spent TEXT NOT NULL DEFAULT '{}';
ALTER TABLE local_training_jobs ADD COLUMN laptop_spent TEXT NOT NULL DEFAULT '{}';
ALTER TABLE local_training_jobs ADD COLUMN best_at TEXT;
UPDATE local_training_jobs SET best_at = (
    SELECT created_at FROM training_checkpoints
    WHERE job_id = local_training_jobs.id AND step = local_training_jobs.best_step
);

PRAGMA user_version = 2;
