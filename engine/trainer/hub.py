"""What was trained, to the Hub; the token comes from the environment and goes nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import TrainingError
from engine.trainer import failures

_ADVICE = "The model is in the job's folder: push it from there."


def push(folders: list[Path], repo: str, private: bool) -> str:
    """Make the repository where there is none, and put the files of some folders into its root.

    Args:
        folders: The folders; of a file that several have the last one's counts.
        repo: `owner/name`.
        private: Is a new repository for its owner alone?

    Returns:
        The commit's address.

    Raises:
        TrainingError: Why it could not be done; the token is not in it.
    """
    token = os.environ.get("HF_TOKEN")
    if not token:
        raise TrainingError("push", f"{repo}: HF_TOKEN is not set", "Set it where the job is launched.")
    from huggingface_hub import CommitOperationAdd, HfApi

    files = {item.name: item for folder in folders for item in sorted(folder.iterdir()) if item.is_file()}
    operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    try:
        hub = HfApi(token=token)
        hub.create_repo(repo, private=private, exist_ok=True)
        done = hub.create_commit(repo, operations, commit_message="Trained with Podium")
    # Of many kinds, none of which may cost the job its end.
    except Exception as error:  # noqa: BLE001
        raise TrainingError("push", f"{repo}: {_reason(error).replace(token, '…')}", _ADVICE) from None
    return str(done.commit_url)


def _reason(error: Exception) -> str:
    """Why the Hub did not take it, in few words."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set"
    if status in (401, 403):
        return f"access refused ({status}): may this token write there?"
    if status is not None:
        return f"the Hub answers {status} ({failures.first_line(error)})"
    if isinstance(error, OSError) or "connect" in type(error).__name__.lower():
        return f"the Hub can't be reached ({failures.first_line(error)})"
    return failures.first_line(error)
