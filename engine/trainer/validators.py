"""Is an answer what it must be: JSON, or JSON that fits a schema? A JSON Schema needs `jsonschema`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from engine.job.sections import PredictionsSpec, SchemaValidator

Validate = Callable[[str], str]
"""An answer -> what is wrong with it, one line; empty when nothing is."""

_LONGEST: Final = 300
"""Characters of one complaint."""


def validators(spec: PredictionsSpec) -> tuple[list[Validate], list[str]]:
    """What checks answers, and, one line each, which of the spec's validators can't be had and why."""
    found: list[Validate] = []
    lacking: list[str] = []
    for wanted in spec.validators:
        if isinstance(wanted, SchemaValidator):
            try:
                found.append(_schema(wanted.json_schema))
            except ValueError as error:
                lacking.append(str(error))
        else:
            found.append(_json)
    return found, lacking


def verdict(answer: str, validate: list[Validate]) -> tuple[bool | None, str | None]:
    """Does an answer pass all validators, and what is wrong; None and None where there are none."""
    if not validate:
        return None, None
    wrong = [problem for check in validate if (problem := check(answer))]
    return not wrong, "; ".join(dict.fromkeys(wrong)) or None


def _json(answer: str) -> str:
    try:
        _parsed(answer)
    except ValueError as error:
        return str(error)
    return ""


def _parsed(answer: str) -> Any:
    """The JSON value that an answer is, white space around it aside.

    Raises:
        ValueError: It is none; one line says why.
    """
    try:
        return json.loads(answer, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("no JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _schema(schema: dict[str, Any]) -> Validate:
    """A validator for a schema.

    Raises:
        ValueError: `jsonschema` is not installed, or the schema is none.
    """
    try:
        from jsonschema import SchemaError, ValidationError
        from jsonschema.validators import validator_for
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ImportError:
        raise ValueError("json_schema needs jsonschema, which is not installed here") from None
    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"json_schema is no JSON Schema: {error.message[:_LONGEST]}") from None
    # A registry of nothing: what a $ref names is never fetched from anywhere.
    checker = kind(schema, registry=Registry())

    def validate(answer: str) -> str:
        try:
            checker.validate(_parsed(answer))
        except ValidationError as error:
            return f"{error.json_path}: {error.message}"[:_LONGEST]
        except (ValueError, Unresolvable, RecursionError) as error:
            return str(error)[:_LONGEST]
        return ""

    return validate
