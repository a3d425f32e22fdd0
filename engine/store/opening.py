"""Which store this machine uses: the hosted one where somebody is signed in, else its own."""

from __future__ import annotations

import os
from typing import Final

from engine.errors import BadInput
from engine.home import Home
from engine.store.hosted import secrets
from engine.store.hosted.project import Project, claims, project_of
from engine.store.sqlite import SQLiteStore

CHOICE: Final = "PODIUM_STORE"
"""`local` leaves the hosted store alone, whatever is set up; nothing is sent or taken in then."""


def open_store(home: Home, *, live: bool) -> SQLiteStore:
    """Open the store.

    Args:
        home: Where it is, and what is set up.
        live: Keep it in step with the hosted one for as long as it is open; else only when told to.

    Raises:
        BadInput: The home can't be made, or what is set up can't be read.
        StoreError: The store can't be opened.
    """
    home.create()
    project = in_use(home)
    if project is None:
        return SQLiteStore(home.database)
    from engine.store.supabase import SupabaseStore

    return SupabaseStore(home.database, project, live=live)


def in_use(home: Home) -> Project | None:
    """The hosted project that is used; None where there is none, nobody is signed in, or it is not wanted."""
    wanted = os.environ.get(CHOICE, "")
    if wanted not in ("", "local", "hosted"):
        raise BadInput(f"{CHOICE}={wanted[:40]}: no such store", "It is local or hosted.")
    project = None if wanted == "local" else project_of(home)
    if project is None:
        if wanted == "hosted":
            raise BadInput(
                "there is no hosted store", "podium store init, then podium store sign-in."
            )
        return None
    if not project.user_id and (token := os.environ.get(secrets.TOKEN)):
        told = claims(token)
        project = project.by(str(told.get("sub", "")), str(told.get("email", "")))
    if wanted == "hosted" and not project.user_id:
        raise BadInput("nobody is signed in to the hosted store", "podium store sign-in.")
    return project if project.user_id else None
