"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Final

import click

REPLACE: Final = "Give another name, or --force to replace it."
"""What is said where a file is there already."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
force_option = click.option("--force", is_flag=True, help="Replace a file that is there already.")
job_argument = click.argument("job", metavar="JOB")
jobs_argument = click.argument("jobs", metavar="JOB…", nargs=-1, required=True)
