"""RunPod's official OpenAPI description as a judge of requests and answers.

The description stays where it is, beside the repository; nothing of it is copied here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

WHERE = Path(__file__).parents[4] / "shared" / "data" / "runpod_v2_openapi.json"
ROOT = "urn:runpod"
FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    from datetime import datetime

    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def path() -> Path:
    return Path(os.environ.get("PODIUM_RUNPOD_OPENAPI", WHERE))


@cache
def contract() -> Contract | None:
    """The description; None where it is not at hand."""
    return Contract(json.loads(path().read_text())) if path().is_file() else None


class Contract:
    """Each method returns what is wrong, one line a mistake."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        self.registry = Registry().with_resource(ROOT, DRAFT202012.create_resource(description))
        self.paths = {
            re.compile(re.sub(r"\{[^}]+\}", "[^/]+", route) + "$"): (route, methods)
            for route, methods in description["paths"].items()
        }

    def request(self, method: str, path: str, query: Mapping[str, str], body: Any) -> list[str]:
        found = self._operation(method, path)
        if found is None:
            return [f"{method} {path} is not described"]
        route, operation = found
        problems = list(self._query(route, operation, query))
        if "requestBody" in operation:
            pointer = f"{_pointer(route, method)}/requestBody/content/application~1json/schema"
            problems += self._check(body, pointer) if body is not None else ["no body"]
        elif body is not None:
            problems.append("a body that is not described")
        return problems

    def answer(self, method: str, path: str, status: int, kind: str | None, body: Any) -> list[str]:
        found = self._operation(method, path)
        if found is None:
            return []
        route, operation = found
        code = str(status) if str(status) in operation["responses"] else "default"
        pointer = f"{_pointer(route, method)}/responses/{code}"
        response = operation["responses"][code]
        if "$ref" in response:
            pointer = response["$ref"]
            response = self._resolve(pointer)
        content = response.get("content")
        if not content:
            return [f"{status}: a body that is not described"] if body is not None else []
        if kind not in content:
            return [f"{status}: {kind} instead of {', '.join(content)}"]
        return [
            f"{status}: {line}" for line in self._check(body, f"{pointer}/content/{_escaped(kind)}/schema")
        ]

    def _operation(self, method: str, path: str) -> tuple[str, Any] | None:
        # A fixed path wins over one with a parameter, as in /catalog/gpus and /catalog/{id}.
        routes = [found for pattern, found in self.paths.items() if pattern.match(path)]
        for route, methods in sorted(routes, key=lambda found: found[0].count("{")):
            if method.lower() in methods:
                return route, methods[method.lower()]
        return None

    def _query(self, route: str, operation: Any, query: Mapping[str, str]) -> Iterator[str]:
        described = {}
        for parameter in operation.get("parameters", []):
            if "$ref" in parameter:
                parameter = self._resolve(parameter["$ref"])
            if parameter["in"] == "query":
                described[parameter["name"]] = parameter
        for name, text in query.items():
            if name not in described:
                yield f"{route}: query parameter {name} is not described"
            else:
                schema = described[name]["schema"]
                yield from (f"{name}: {line}" for line in self._check(_value(text, schema), schema))
        for name, parameter in described.items():
            if parameter.get("required") and name not in query:
                yield f"{name} is required"

    def _check(self, value: Any, schema: str | dict[str, Any]) -> list[str]:
        if isinstance(schema, str):
            schema = {"$ref": f"{ROOT}{schema}"}
        else:
            schema = json.loads(json.dumps(schema).replace('"#/', f'"{ROOT}#/'))
        validator = Draft202012Validator(schema, registry=self.registry, format_checker=FORMATS)
        errors = list(validator.iter_errors(value))
        # Where a part does not fit, all that it allows counts as unevaluated: that says nothing.
        telling = [error for error in errors if error.validator != "unevaluatedProperties"]
        error = best_match(telling or errors)
        return [f"{error.json_path}: {error.message}"[:400]] if error else []

    def _resolve(self, pointer: str) -> Any:
        return self.registry.resolver(ROOT).lookup(f"{ROOT}{pointer}").contents


def _pointer(route: str, method: str) -> str:
    return f"#/paths/{_escaped(route)}/{method.lower()}".replace("{", "%7B").replace("}", "%7D")


def _escaped(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "array":
        return text.split(",")
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text
