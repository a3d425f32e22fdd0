"""`podium store`: the hosted store that a team shares: set-up, sign-in, schema, copies, standing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from engine.errors import BadInput, HostedDown, PodiumError, SignedOut
from engine.home import Home
from tui.cli.errors import FAILED
from tui.cli.options import json_option
from tui.cli.output import emit, fields, interactive, line, one_line, table

if TYPE_CHECKING:
    from engine.store.hosted.migrate import Finding
    from engine.store.hosted.project import Project
    from engine.store.supabase import SupabaseStore

DATABASE: Final = "PODIUM_DATABASE_URL"
_SET_UP: Final = "podium store init URL KEY"

database_option = click.option(
    "--database-url", metavar="URL", help=f"The database; with a password in it by {DATABASE} alone."
)


@click.group()
def store() -> None:
    """The hosted store that a team shares its runs in."""


@store.command()
@click.argument("url", metavar="URL")
@click.argument("key", metavar="KEY")
@click.option("--team", metavar="ID", default="", help="The team that new runs belong to.")
@json_option
def init(url: str, key: str, team: str, as_json: bool) -> None:
    """Say which Supabase project is used: its URL and its publishable key."""
    import uuid

    from engine.store.hosted.project import Project, checked, keep

    if team:
        try:
            team = str(uuid.UUID(team))
        except ValueError:
            raise BadInput(f"{team[:60]}: no id of a team", "It is a UUID.") from None
    project = checked(Project(url, key, team))
    keep(Home.default(), project)
    if as_json:
        emit("store", {"url": project.url, "team": project.team or None})
    else:
        line(one_line(f"{project.url} is the hosted store. Now sign in: podium store sign-in"))


@store.command("sign-in")
@click.option("--email", metavar="ADDRESS", help="Who signs in.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.option("--link", is_flag=True, help="Send an e-mail with a code and a link instead.")
@click.option("--code-stdin", is_flag=True, help="Read the code of that e-mail from stdin.")
@click.option("--link-stdin", is_flag=True, help="Read the link of that e-mail or an invitation.")
@click.option("--token", is_flag=True, help="Read an access token from stdin.")
@json_option
def sign_in(as_json: bool, **given: Any) -> None:
    """Sign in; the session goes to the system's keyring. Runs of before stay here until they are copied."""
    from engine.store.hosted import secrets
    from engine.store.hosted.project import keep

    home = Home.default()
    project = _project(home)
    session = _session(project, given)
    if session is None:
        if as_json:
            emit("store", {"sent": True, "url": project.url})
        else:
            line("An e-mail is on its way: podium store sign-in --email … --code-stdin, or --link-stdin")
        return
    signed = project.by(session["user_id"], session["email"])
    if not secrets.in_environment():
        secrets.keep(signed.account, session)
    keep(home, signed)
    if as_json:
        emit("store", _facts(signed))
    else:
        line(one_line(f"Signed in to {signed.url} as {signed.email or signed.user_id}."))


def _session(project: Project, given: dict[str, Any]) -> dict[str, Any] | None:
    """The session that is asked for; None when an e-mail was sent that opens one."""
    from engine.store.hosted import account, secrets, wire

    asked = any(given[name] for name in ("password_stdin", "link", "code_stdin", "link_stdin", "token"))
    client = wire.client(project)
    if given["token"]:
        return account.with_token(client, _secret("Access token"))
    if not asked and (token := os.environ.get(secrets.TOKEN)):
        return account.with_token(client, token)
    if given["link_stdin"]:
        return account.with_link(client, _secret("Link"))
    email = given["email"] or os.environ.get(secrets.EMAIL) or _asked("E-mail")
    if given["link"]:
        account.send_link(client, email)
        return None
    if given["code_stdin"]:
        return account.with_code(client, email, _secret("Code"))
    password = None if asked or given["email"] else os.environ.get(secrets.PASSWORD)
    return account.with_password(client, email, password or _secret("Password"))


@store.command("sign-out")
@json_option
def sign_out(as_json: bool) -> None:
    """Forget the session; what is known of runs stays here."""
    from engine.store.hosted import account, wire
    from engine.store.hosted.project import keep

    home = Home.default()
    project = _project(home)
    try:
        account.end(wire.client(project), project)
    except (HostedDown, SignedOut):
        pass  # it is forgotten here, and expires there
    keep(home, project.by("", ""))
    if as_json:
        emit("store", _facts(project.by("", "")))
    else:
        line("Signed out.")


@store.command()
@json_option
def status(as_json: bool) -> int:
    """Say which store is used, who is signed in and whether it is in step; 1 when it is not."""
    from engine.store.hosted.project import project_of
    from engine.store.opening import in_use

    home = Home.default()
    project = in_use(home)
    if project is None:
        known = project_of(home)
        facts = {**(_facts(known) if known else {}), "in_use": "local", "standing": None, "why": ""}
        _show(facts, as_json)
        return 0
    with_it = _opened(home)
    try:
        with_it.sync()
        state = with_it.state
    finally:
        with_it.close()
    _show(
        {
            **_facts(project),
            "in_use": "hosted",
            "standing": state.standing,
            "waiting_events": state.waiting,
            "why": state.line or "All is in step.",
        },
        as_json,
    )
    return 0 if state.standing == "synced" else FAILED


@store.command()
@click.argument("jobs", metavar="[JOB…]", nargs=-1)
@click.option(
    "--to", "where", type=click.Choice(["hosted", "local"]), required=True,
    help="hosted: bring runs of this machine there. local: fetch all that is known there of runs.",
)  # fmt: skip
@json_option
def copy(jobs: tuple[str, ...], where: str, as_json: bool) -> int:
    """Copy runs with all that is known of them, those named or all; what is there already is not doubled."""
    from tui.cli.workplace import find_all

    home = Home.default()
    opened = _opened(home)
    try:
        opened.sync()
        if opened.state.standing in ("offline", "signed out"):
            raise PodiumError(opened.standing)
        chosen = find_all(opened, jobs) if jobs else opened.jobs(archived=True)
        if where == "hosted":
            moved = opened.share([job.id for job in chosen])
            opened.sync()
        else:
            distant = [job for job in chosen if opened.elsewhere(job.id)]
            for job in distant:
                opened.fetch(job.id)
            moved = len(distant)
        trouble = opened.standing
    finally:
        opened.close()
    if as_json:
        emit("copied", moved, to=where, why=trouble)
    else:
        line(f"{moved} run{'' if moved == 1 else 's'} copied.")
        if trouble:
            line(one_line(trouble), err=True)
    return FAILED if trouble else 0


@store.command()
@database_option
@click.option("--print", "printed", is_flag=True, help="Print the SQL for the project's editor instead.")
@json_option
def migrate(database_url: str | None, printed: bool, as_json: bool) -> None:
    """Bring the hosted database to the current schema; rows are never changed."""
    from engine.store.hosted.migrate import migrate as bring
    from engine.store.hosted.migrate import script

    if printed:
        if as_json:
            emit("sql", script())
        else:
            click.echo(script())
        return
    applied = bring(_database(database_url))
    if as_json:
        emit("applied", applied)
    else:
        line(f"Applied: {', '.join(applied)}." if applied else "The schema is current.")


@store.command()
@database_option
@json_option
def check(database_url: str | None, as_json: bool) -> int:
    """Prove that schema and policies of the hosted database stand; 1 when something does not."""
    from engine.store.hosted.migrate import check as prove

    findings = prove(_database(database_url))
    if as_json:
        emit("findings", findings)
    else:
        table(("", "what", "what to do"), map(_row, findings))
    return 0 if all(item.ok for item in findings) else FAILED


def _row(item: Finding) -> tuple[str, str, str]:
    return ("ok" if item.ok else "BAD", item.what, item.advice)


def _project(home: Home) -> Project:
    from engine.store.hosted.project import project_of

    project = project_of(home)
    if project is None:
        raise BadInput("no hosted store is set up", f"{_SET_UP} does that.")
    return project


def _opened(home: Home) -> SupabaseStore:
    from engine.store.opening import in_use
    from engine.store.supabase import SupabaseStore

    home.create()
    project = in_use(home)
    if project is None:
        raise BadInput("the hosted store is not in use", f"{_SET_UP}, then podium store sign-in.")
    return SupabaseStore(home.database, project, live=False)


def _facts(project: Project) -> dict[str, Any]:
    return {
        "url": project.url,
        "team": project.team or None,
        "email": project.email or None,
        "user_id": project.user_id or None,
    }


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit("store", facts)
    else:
        fields(
            (name.replace("_", " "), str(value)) for name, value in facts.items() if value not in (None, "")
        )


def _database(given: str | None) -> str:
    """The database's address, which may hold a password."""
    if given is not None:
        if urlsplit(given).password:
            raise BadInput("an argument can be read by everybody on this machine", f"Set {DATABASE} instead.")
        return given
    return os.environ.get(DATABASE) or _secret("Database URL")


def _asked(what: str) -> str:
    if not interactive():
        raise BadInput(f"{what.lower()}: missing, and there is no terminal to ask on", "Give --email.")
    return str(click.prompt(what, err=True))


def _secret(what: str) -> str:
    """A secret: asked for without showing it, or the first line of stdin."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True))
    told = sys.stdin.readline().strip()
    if not told:
        raise BadInput(f"{what.lower()}: nothing came on stdin")
    return told
