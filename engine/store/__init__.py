"""What is known of every job, kept on this machine (SQLite) or hosted."""
