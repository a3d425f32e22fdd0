"""Options and arguments that several commands share."""

from __future__ import annotations

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
job_argument = click.argument("job", metavar="JOB")
jobs_argument = click.argument("jobs", metavar="JOB…", nargs=-1, required=True)
