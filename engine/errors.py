"""Every error that Podium raises on purpose.

    PodiumError
    ├── BadInput              the user gave something that can't be used (exit status 2)
    │   ├── BadSpec           a job file with mistakes, all of them listed
    │   ├── BadDataset        a data file with broken rows, each with its number
    │   └── NoSuchJob         no job, or several, answer to that name
    ├── BadWireLine           a line of events.jsonl that is no event
    ├── StoreError            the local database can't be read or written
    │   ├── HostedDown        the hosted store can't be reached, or fails; what is to go there waits
    │   └── SignedOut         nobody is signed in to the hosted store, or the session is refused
    ├── PodError              the machine that should run the job
    │   ├── PodLost           the connection is gone; the job may well go on
    │   │   └── StartLost     it went while the job was started, and nobody can say whether it was
    │   └── ProviderError     who rents out the machines refused or failed
    │       ├── Unauthorized  no key, or one that is refused
    │       ├── Forbidden     the key may not do that
    │       ├── NoBalance     the account has no money left
    │       ├── NoCapacity    no such machine is free now
    │       ├── BadRequest    the request itself is wrong: no machine would take it
    │       ├── NoSuchPod     it is not there, or no longer
    │       ├── Conflict      the pod's state does not allow it
    │       ├── RateLimited   asked too often, and told to wait longer than we would
    │       ├── ProviderDown  unreachable, or failing on its side
    │       ├── AnswerLost    something may have been rented, and nobody can say
    │       └── NotGone       it was to end, and it may still bill
    ├── Missing               something that is not installed here
    └── TrainingError         the trainer gave up, with its cause classified

An error says what happened, where, and what to do about it. `str(error)` is one
line fit for a terminal and for an event; secrets never go into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Outcome = Literal["unsent", "failed", "unknown"]


class PodiumError(Exception):
    """Base of all errors that are shown to the user as one line.

    Args:
        what: What happened, with the place (a path, a row, a host) in it.
        advice: What the user can do about it; may be empty.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        self.what = what
        self.advice = advice
        super().__init__(what, advice)

    def __str__(self) -> str:
        return f"{self.what}. {self.advice}" if self.advice else self.what


class BadInput(PodiumError):
    """The user gave something that can't be used; nothing was written."""


class BadSpec(BadInput):
    """A job file with mistakes.

    Args:
        where: The file or template the mistakes are in.
        mistakes: One line each, with the key's path.
    """

    def __init__(self, where: str, mistakes: Sequence[str], advice: str = "") -> None:
        self.where = where
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__(f"{where}: {count}: " + "; ".join(self.mistakes), advice)


class BadDataset(BadInput):
    """A data file that can't be trained on.

    Args:
        where: The data file.
        problems: One line each, with the row's number (the first row is 1).
    """

    def __init__(self, where: str, problems: Sequence[str], advice: str = "") -> None:
        self.where = where
        self.problems = tuple(problems)
        super().__init__(f"{where}: " + "; ".join(self.problems), advice)


class NoSuchJob(BadInput):
    """No job, or more than one, answers to that name."""


class BadWireLine(PodiumError):
    """A line of events.jsonl that is no event of this wire version."""


class StoreError(PodiumError):
    """The local database can't be read or written."""


class HostedDown(StoreError):
    """The hosted store can't be reached, or fails; what is to go there waits here.

    Args:
        retry_after: Seconds that the server wants us to wait; 0 when it does not say.
    """

    def __init__(self, what: str, advice: str = "", *, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(what, advice)


class SignedOut(StoreError):
    """Nobody is signed in to the hosted store, or the session is refused."""


class PodError(PodiumError):
    """The machine that should run the job refused or failed."""


class PodLost(PodError):
    """The connection to the pod is gone; what runs there may well go on."""


class StartLost(PodLost):
    """The connection went while the job was started; nobody can say whether it was."""


class ProviderError(PodError):
    """Who rents out the machines refused or failed."""


class Unauthorized(ProviderError):
    """There is no key, or the provider refuses it."""


class Forbidden(ProviderError):
    """The key is good, but it may not do that."""


class NoBalance(ProviderError):
    """The account has no money left: no candidate will succeed."""


class NoCapacity(ProviderError):
    """No such machine is free now."""


class BadRequest(ProviderError):
    """The provider refused what was asked.

    Args:
        certain: Would every machine refuse it? RunPod's 400 leaves that open: it may be capacity.
    """

    def __init__(self, what: str, advice: str = "", *, certain: bool = True) -> None:
        self.certain = certain
        super().__init__(what, advice)


class NoSuchPod(ProviderError):
    """It is not there, or no longer, or not this account's."""


class Conflict(ProviderError):
    """The pod's state does not allow it."""


class RateLimited(ProviderError):
    """Asked too often.

    Args:
        retry_after: Seconds that the provider wants us to wait.
    """

    def __init__(self, what: str, advice: str = "", *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(what, advice)


class ProviderDown(ProviderError):
    """The provider can't be reached, or fails on its side.

    Args:
        outcome: What became of the request: `unsent` (it never left), `failed` (the provider says
            so itself), or `unknown` (it may have been carried out).
    """

    def __init__(self, what: str, advice: str = "", *, outcome: Outcome = "unknown") -> None:
        self.outcome: Outcome = outcome
        super().__init__(what, advice)


class AnswerLost(ProviderError):
    """Something may have been rented, and nobody can say; it is never asked for again blindly."""


class NotGone(ProviderError):
    """It was to end, and the provider still lists it: it may still bill."""


class Missing(PodiumError):
    """Something that this needs is not installed here."""


class TrainingError(PodiumError):
    """The trainer gave up.

    Args:
        kind: The class of failure: `dataset`, `tokenizer`, `model`, `out_of_memory`,
            `disk_full`, `permission`, `diverged` or `unknown`.
    """

    def __init__(self, kind: str, what: str, advice: str = "") -> None:
        self.kind = kind
        super().__init__(what, advice)
