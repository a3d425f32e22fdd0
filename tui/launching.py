"""The desk's part of launching: templates and files, checks, prices, the launch itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from engine.errors import BadDataset, BadInput, BadSpec, PodiumError
from engine.home import Home
from tui.draft import Draft, as_yaml, clouds_of, columns, resolve
from tui.launch_answers import Checked, Gpu, Offered, Source

if TYPE_CHECKING:
    from engine.controller import Controller
    from engine.controller.preparation import Data
    from engine.job.spec import JobSpec
    from engine.pods.provider import Offer
    from engine.records import Job

PATIENCE: Final = 15.0
"""How long a provider may take to tell its prices, seconds."""
RENEWED: Final = 60.0
"""For how long prices and stock are taken as they were told, seconds."""
LEAVING: Final = 20.0
"""How long the app's end waits for what was rented by launches that are not done, seconds."""
PREVIEWED: Final = 3
"""How many rows are shown."""
RECENT: Final = 5
"""How many job files are remembered."""
_KEPT: Final = "recent_specs"
_SHOWN: Final = 600
"""Characters of a text of a row that are shown."""


class Memory(Protocol):
    """What is kept from session to session."""

    def recall(self, key: str, default: Any = None) -> Any:
        """A setting."""
        ...

    def remember(self, key: str, value: Any) -> None:
        """Keep one."""
        ...


class EngineLaunching:
    """Answers the dialog.

    Args:
        home: Where runs are.
        memory: Where recent job files are remembered.
        controller: The controller, as soon as there is one.
    """

    def __init__(self, home: Home, memory: Memory, controller: Callable[[], Awaitable[Controller]]) -> None:
        self._home, self._memory, self._controller = home, memory, controller
        self._reading = asyncio.Lock()
        self._read: tuple[Any, Data] | None = None
        self._launches: set[asyncio.Task[Job]] = set()
        self._catalog: dict[Any, tuple[float, tuple[Offer, ...]]] = {}

    # What a run can start from

    async def sources(self) -> tuple[Source, ...]:
        """Recent files, the files of this folder, the templates."""
        recent = await asyncio.to_thread(self._memory.recall, _KEPT, [])
        return await asyncio.to_thread(lambda: tuple(_sources(recent)))

    async def begin(self, source: str) -> Draft:
        """On a template or a file."""
        return await asyncio.to_thread(_begun, source.strip())

    async def paths(self, text: str) -> str | None:
        """In the folder that the text ends in."""
        return await asyncio.to_thread(_completed, text)

    # What it comes to

    async def check(self, draft: Draft) -> Checked:
        """The spec first; of a sound one the data too, and the estimate."""
        found = await asyncio.to_thread(resolve, draft)
        if found.spec is None:
            return Checked(found.mistakes, found.others)
        spec = found.spec
        mistakes = {**found.mistakes, **await asyncio.to_thread(_missing_here, spec)}
        try:
            data = await self._data(spec)
        except BadDataset as error:
            where = "eval" if error.where == spec.dataset.eval_path else "data"
            mistakes[where] = f"{len(error.problems)} kinds of mistakes" if len(error.problems) > 1 else ""
            mistakes[where] = mistakes[where] or error.problems[0]
            advice = (error.advice,) if error.advice else ()
            return Checked(mistakes, found.others, (*error.problems, *advice))
        except BadInput as error:
            return Checked(mistakes, (*found.others, str(error)))
        estimate = await asyncio.to_thread(_estimated, spec, data)
        return Checked(
            mistakes, found.others, (), tuple(_about(spec, data)), tuple(_preview(data)), tuple(estimate)
        )

    async def _data(self, spec: JobSpec) -> Data:
        """Its data, read once for as long as nothing about them changes."""
        from engine.controller import preparation

        async with self._reading:
            key = await asyncio.to_thread(_identity, spec)
            if self._read is None or self._read[0] != key or spec.script is not None:
                self._read = key, await asyncio.to_thread(preparation.check, spec)
            return self._read[1]

    async def offers(self, draft: Draft) -> Offered:
        """Price, stock and worst cost, as `podium launch` tells them."""
        spec = (await asyncio.to_thread(resolve, draft)).spec
        if spec is None or spec.pod.provider != "runpod":
            return Offered()
        from engine.controller.quoting import estimated
        from tui.cli.renting import bounds, offered

        try:
            data = await self._data(spec)
            controller = await self._controller()
            async with asyncio.timeout(PATIENCE):
                quote = await controller.quote(spec)
        except TimeoutError:
            return Offered(trouble=f"RunPod did not tell its prices within {PATIENCE:g} s")
        except PodiumError as error:
            return Offered(trouble=str(error))
        found = await asyncio.to_thread(estimated, spec, data, quote.offers[0].gpu_name)
        return Offered((*offered(spec, quote, found), *bounds(quote)), "", quote)

    async def gpus(self, draft: Draft) -> tuple[Gpu, ...]:
        """From the catalog, asked at most once a minute."""
        if not draft.rented:
            return ()
        from tui import catalog
        from tui.run_deeds import with_provider

        wanted, now = catalog.wanted(draft), asyncio.get_running_loop().time()
        if wanted not in self._catalog or now - self._catalog[wanted][0] > RENEWED:
            count, product = wanted
            try:
                async with asyncio.timeout(PATIENCE):
                    found = await with_provider(lambda account: account.offers(count=count, product=product))
            except (TimeoutError, PodiumError):
                return ()  # what would be rented says why
            self._catalog[wanted] = now, found
        return catalog.gpus(self._catalog[wanted][1], clouds_of(draft))

    # Doing it

    async def write(self, draft: Draft, path: str, *, replacing: bool) -> str:
        """Whole or not at all."""
        from tui.keeping import write

        there = await asyncio.to_thread(lambda: Path(draft.here, Path(path).expanduser()).absolute())
        spec = await asyncio.to_thread(_sound, draft)
        await asyncio.to_thread(write, there, as_yaml(spec), replacing=replacing)
        await asyncio.to_thread(self._remember, str(there))
        return f"Written to {there}: podium launch {there.name} launches it."

    async def launch(self, draft: Draft, offered: Offered | None, begun: Callable[[str], None]) -> str:
        """With the quote that was confirmed, where a machine is rented."""
        from tui.cli.launch import need_room

        spec = await asyncio.to_thread(_sound, draft)
        data = await self._data(spec)
        size = data.size if spec.script is not None else Path(spec.dataset.path).stat().st_size  # noqa: ASYNC240
        await asyncio.to_thread(need_room, self._home.path, size)
        quote = offered.quote if offered is not None else None
        if quote is not None:
            quote = replace(quote, limits=spec.limits)
        controller = await self._controller()

        def told(job: Job) -> None:
            begun(job.id)

        if draft.source.endswith((".yaml", ".yml")):
            await asyncio.to_thread(self._remember, str(Path(draft.source).absolute()))  # noqa: ASYNC240
        launch = asyncio.create_task(controller.launch(spec, quote=quote, begun=told))
        self._launches.add(launch)
        launch.add_done_callback(self._done)
        # The app's end cuts off whoever waits here, and must leave the launch the time to end what it rented.
        job = await asyncio.shield(launch)
        return f"{job.name} is launched; it goes on without the app."

    def _done(self, launch: asyncio.Task[Job]) -> None:
        self._launches.discard(launch)
        if not launch.cancelled():
            launch.exception()  # somebody has looked at it, should whoever waited have gone

    async def close(self) -> None:
        """Give up launches, and wait until what was rented for them is ended, within reason."""
        launches = list(self._launches)
        for launch in launches:
            launch.cancel()
        if launches:
            await asyncio.wait(launches, timeout=LEAVING)

    def _remember(self, path: str) -> None:
        before = self._memory.recall(_KEPT, [])
        kept = [item for item in before if item != path] if isinstance(before, list) else []
        self._memory.remember(_KEPT, [path, *kept][:RECENT])


def _sound(draft: Draft) -> JobSpec:
    """The spec.

    Raises:
        BadSpec: There are mistakes in it.
    """
    found = resolve(draft)
    if found.spec is None or found.mistakes:
        raise BadSpec("the spec", [*found.mistakes.values(), *found.others])
    return found.spec


# Where runs start from. Blocking.


def _sources(recent: Any) -> Iterator[Source]:
    from engine.job.spec import template_values, templates

    known = [str(path) for path in recent] if isinstance(recent, list) else []
    here = [path for kind in ("*.yaml", "*.yml") for path in sorted(Path.cwd().glob(kind))]
    for path in known:
        if Path(path).is_file() and Path(path) not in here:
            yield Source(path, "recent", "launched before")
    for there in here:
        yield Source(there.name, "file", "in this folder")
    for name in templates():
        values = template_values(name)
        model = values.get("model")
        yield Source(name, "template", f"{values.get('method')} · {model['name'] if model else ''}")


def _begun(source: str) -> Draft:
    import yaml

    from engine.job.spec import JobSpec, merged, template_values, templates

    here, path = str(Path.cwd()), Path(source).expanduser()
    if source in templates() and not path.exists():
        return Draft(source, {"name": source, **template_values(source)}, here, here=here)
    if not path.is_file():
        raise BadSpec(source or "the spec", ["is neither a file nor a template"])
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        JobSpec.load(path)  # says what is wrong with it
        raise
    if not isinstance(values, Mapping):
        raise BadSpec(source, ["must be a mapping of sections, such as model, dataset, training"])
    base = dict(values)
    if (template := base.pop("template", None)) is not None:
        base = merged(template_values(str(template)), base)
    return Draft(source, base, str(path.parent.absolute()), here=here)


def _completed(text: str) -> str | None:
    """The first path that goes on from the text; folders end in a slash."""
    head, slash, tail = text.rpartition("/")
    folder = Path(f"{head}{slash}" or ".").expanduser()
    try:
        names = sorted(folder.iterdir(), key=lambda path: (path.name.startswith("."), path.name))
    except OSError:
        return None
    for path in names:
        if path.name.startswith(tail) and (tail or not path.name.startswith(".")):
            return f"{head}{slash}{path.name}{'/' if path.is_dir() else ''}"
    return None


# What there is to say. Blocking.


def _identity(spec: JobSpec) -> Any:
    """What the data depend on."""
    stats = []
    for path in filter(None, (spec.dataset.path, spec.dataset.eval_path)):
        try:
            stat = Path(path).stat()
            stats.append((path, stat.st_mtime_ns, stat.st_size))
        except OSError:
            stats.append((path, 0, -1))
    return spec.dataset, spec.method, spec.columns, spec.training.seed, spec.pod, spec.model.name, stats


def _missing_here(spec: JobSpec) -> dict[str, str]:
    """What this machine lacks for training."""
    from tui.cli.launch import untrained

    if spec.pod.provider != "local" or spec.script is not None or not (missing := untrained()):
        return {}
    return {"place": f"training here needs {', '.join(missing)}: pip install '.[train]' in Podium's folder"}


def _about(spec: JobSpec, data: Data) -> Iterator[str]:
    from engine.analysis import format as words

    if data.train is None:
        yield f"{words.count(len(data.luggage))} files, {words.size(data.size)}, are brought along"
        return
    rows, share = len(data.train.rows), words.percent(100 * spec.dataset.train_split)
    held_out = f"{share} of them to train on"
    if data.eval is not None:
        held_out = f"{words.count(len(data.eval.rows))} more to evaluate on"
    yield f"{words.count(rows)} rows of format {data.train.format}, all fit for {spec.method}; {held_out}"
    yield from (f"⚠ {warning}" for warning in data.warnings)


def _preview(data: Data) -> Iterator[tuple[int, tuple[tuple[str, str], ...]]]:
    if data.train is None:
        return
    for number, row in zip(data.train.numbers[:PREVIEWED], data.train.rows[:PREVIEWED], strict=True):
        yield number, tuple((name, text[:_SHOWN]) for name, text in columns(row))


def _estimated(spec: JobSpec, data: Data) -> list[str]:
    if data.train is None:
        return []
    from engine.controller.quoting import estimated
    from engine.job import estimate

    gpu = spec.pod.rent.gpu[0] if spec.pod.rent is not None else None
    return estimate.told(estimated(spec, data, gpu))
