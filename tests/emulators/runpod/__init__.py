"""An emulator of RunPod's API on loopback: a real HTTP server with REST v2 and GraphQL.

    with Emulator() as runpod:
        provider = RunPodREST(SecretStr(runpod.account.key), url=runpod.url)

`account` holds the pods and the rules, `server` speaks HTTP and makes requests go wrong, `rest` and
`graphql` are its two tongues, `contract` judges by the official description.
"""

from tests.emulators.runpod.account import Account, Clock, Pod, Stages
from tests.emulators.runpod.server import Emulator, Fault

__all__ = ["Account", "Clock", "Emulator", "Fault", "Pod", "Stages"]
