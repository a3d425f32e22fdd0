"""How a pod ends itself: the provider's API with the pod's own key, and the vendor's tool. Stdlib only.

RunPod gives every pod a key for itself alone. Whether it may delete the pod or only stop it is not
documented, so it is found out: what is refused is not asked for again.
"""

from __future__ import annotations

import http.client
import json
import math
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from engine.errors import (
    Conflict,
    Forbidden,
    NoSuchPod,
    ProviderDown,
    ProviderError,
    RateLimited,
    Unauthorized,
)

How = Literal["stop", "terminate"]

_LONGEST_WAIT: Final = 600.0
"""A longer Retry-After is not believed (seconds)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The provider let the pod do something to itself.

    Args:
        rate: Dollars an hour that it says it bills; None where it does not tell.
        clustered: Is the pod one of a cluster's? The provider ends those together alone.
    """

    rate: float | None = None
    clustered: bool = False


class Way(Protocol):
    """One way for a pod to end itself.

    Raises:
        Unauthorized, Forbidden, NoSuchPod: It can't.
        ProviderDown, RateLimited: Nobody knows; later.
    """

    def prove(self) -> Proof:
        """Show that the pod could be ended, without ending it."""
        ...

    def end(self, how: How) -> None:
        """End the pod; returning means that the provider took the order."""
        ...


class Api:
    """The provider's REST API.

    Args:
        url: Where it is.
        pod_id: The pod that this runs in.
        key: Its own key.
        timeout: Seconds for one request.
    """

    def __init__(self, url: str, pod_id: str, key: str, timeout: float = 20.0) -> None:
        self._url, self._key, self._timeout = f"{url.rstrip('/')}/v2", key, timeout
        self._pod = f"/pods/{pod_id}"
        self._cluster = ""
        self._opener = urllib.request.build_opener(_Straight)

    def prove(self) -> Proof:
        """Read the pod, then ask for what a running pod is refused by its state, not by its key."""
        shown = self._ask("GET", self._pod)
        if seat := shown.get("cluster"):
            # Its first pod is the job; the guards of the others would end that in the midst of its work.
            first = isinstance(seat, dict) and seat.get("rank") == 0
            self._cluster = f"/clusters/{seat.get('id')}" if first else ""
            # What this pod costs is a share of the bill: the confirmed price is that of all of them.
            return Proof(clustered=True)
        try:
            self._ask("POST", f"{self._pod}/action", {"action": "start"})
        except Conflict:
            pass  # allowed, and of no effect: it runs already
        return Proof(_rate(shown))

    def end(self, how: How) -> None:
        """Delete the pod, with its cluster where it is the first of one, or stop it."""
        if how == "terminate":
            self._ask("DELETE", self._cluster or self._pod)
        else:
            self._ask("POST", f"{self._pod}/action", {"action": "stop"})

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "User-Agent": "podium-guard",
        }
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                text = answer.read(1 << 20)
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = getattr(error, "reason", error)
            raise ProviderDown(f"the provider can't be reached ({str(why)[:200]})") from None
        try:
            shown = json.loads(text) if text else {}
        except ValueError:
            raise ProviderDown("the provider's answer makes no sense") from None
        return shown if isinstance(shown, dict) else {}


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the key would go along."""

    def redirect_request(self, *what: Any) -> None:
        """Nothing: the answer stands as it is."""


class Tool:
    """The vendor's command, which is on every official image.

    Args:
        pod_id: The pod that this runs in.
    """

    def __init__(self, pod_id: str) -> None:
        self._pod_id = pod_id

    def prove(self) -> Proof:
        """Read the pod."""
        self._run("get")
        return Proof()

    def end(self, how: How) -> None:
        """Delete the pod, or stop it."""
        self._run("delete" if how == "terminate" else "stop")

    def _run(self, verb: str) -> None:
        tool = shutil.which("runpodctl")
        if tool is None:
            raise Forbidden("there is no runpodctl on this pod")
        command = [tool, "pod", verb, self._pod_id]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            raise ProviderDown("runpodctl does not answer") from None
        if done.returncode:
            raise Forbidden(f"runpodctl pod {verb} ended with status {done.returncode}")


class Ways:
    """All ways, the best first; one that was refused is passed over until nothing else is left.

    Args:
        ways: In order.
    """

    def __init__(self, *ways: Way) -> None:
        self._ways = ways

    def prove(self) -> Proof:
        """Prove by the first way that can.

        Raises:
            ProviderError: The first way's, when none can.
        """
        refused: list[ProviderError] = []
        for way in self._ways:
            try:
                return way.prove()
            except ProviderError as error:
                refused.append(error)
        # What may pass weighs more than a refusal: it is tried again.
        passing = [error for error in refused if isinstance(error, (ProviderDown, RateLimited))]
        raise (passing or refused)[0]

    def end(self, how: How) -> How:
        """End the pod, by whatever way is open; what may not be terminated is stopped.

        Returns:
            What was ordered.

        Raises:
            ProviderError: The first way's, when none was open.
        """
        refused: list[ProviderError] = []
        for wanted in dict.fromkeys((how, "stop")):
            for way in self._ways:
                try:
                    way.end(wanted)
                except ProviderError as error:
                    refused.append(error)
                else:
                    return wanted
        raise refused[0]


def _rate(shown: dict[str, Any]) -> float | None:
    cost = shown.get("cost")
    return float(cost) if isinstance(cost, (int, float)) and math.isfinite(cost) and cost > 0 else None


def _refusal(error: urllib.error.HTTPError) -> ProviderError:
    """What a status means; the body is the provider's, and is not repeated."""
    code = error.code
    if code == 401:
        return Unauthorized("the provider refuses the pod's own key (401)")
    if code == 403:
        return Forbidden("the pod's own key may not do that (403)")
    if code == 404:
        return NoSuchPod("the provider knows no such pod (404)")
    if code in (400, 409, 422):
        return Conflict(f"the pod's state does not allow it ({code})")
    if code == 429:
        return RateLimited("asked too often (429)", retry_after=_seconds(error.headers.get("Retry-After")))
    return ProviderDown(f"the provider answers with {code}")


def _seconds(text: str | None) -> float:
    try:
        return min(_LONGEST_WAIT, max(0.0, float(text or 0)))
    except ValueError:
        return 0.0
