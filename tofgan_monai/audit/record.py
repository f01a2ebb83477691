"""Strict reader of audit.json, which also selects the parts that may leave the clinic.

Two parts may leave the clinic: the figures from which the verdicts follow, and a summary. The list that names the
closest training pair of a synthetic pair stays at the clinic, because together with the pairs or the generator it would
point at patients. Pictures, ROC curves and the digests of stacks of real pairs stay at the clinic, too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema

from tofgan_monai.audit.verdict import RELEASES, RULE, canary_caught, verdicts, worst
from tofgan_monai.errors import InputError
from tofgan_monai.volumes.kinds import KINDS

Schema = dict[str, Any]
FORMAT = 1  # version of the format of audit.json and of the parts that leave the clinic
MAX_REASON = 500  # largest length of a reason, in characters


def closed(optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Returns the JSON schema of an object that has the given properties and no others.

    Args:
        optional: names of the properties that may be missing.
        properties: schema of each property, by its name.
    """
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _list(schema: Schema) -> Schema:
    return {"type": "array", "items": schema, "maxItems": 1000}


NUMBER: Schema = {"type": "number", "minimum": -1e9, "maximum": 1e9}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 10**9}
TRUTH: Schema = {"type": "boolean"}
NAME: Schema = {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9 _-]{0,39}\Z"}
SHA256: Schema = {"type": "string", "pattern": r"^[0-9a-f]{64}\Z"}
INTERVAL = closed(value=NUMBER, low=NUMBER, high=NUMBER, n=COUNT)
RISK = closed(
    auc=INTERVAL,
    advantage=INTERVAL,
    tpr=closed((), **{"0.01": _or_null(INTERVAL), "0.1": _or_null(INTERVAL)}),
    epsilon=NUMBER,
    epsilon_ceiling=NUMBER,
    n_members=COUNT,
    n_non_members=COUNT,
)
CONTROL = closed(patch=closed(auc=INTERVAL), patient=closed(auc=INTERVAL))
ATTACK = closed(
    optional=("strangers", "excess"),
    name=NAME,
    release={"enum": ["data", "generator", "critic", "network"]},
    patch=RISK,
    patient=RISK,
    member_only=CONTROL,
    strangers=_or_null(CONTROL),
    excess=_or_null(closed(patch=INTERVAL, patient=INTERVAL)),
)
COHORT = closed(patients=COUNT, pairs=COUNT, kind={"enum": list(KINDS)})
GUARANTEE = closed(epsilon=NUMBER, delta=NUMBER, unit={"enum": ["patient", "patch"]}, n_units=COUNT)
REPEAT = closed(above_all=TRUTH, rank=COUNT, of=COUNT, attack=NAME)
PLANTED = {"type": "object", "additionalProperties": closed(auc=INTERVAL, caught=TRUTH), "propertyNames": NAME}


def _audit(target: Schema, copies: Schema) -> Schema:
    return closed(
        optional=("guarantee", "planted", "canary", "copies"),
        format={"const": FORMAT},
        target=closed(kind={"enum": list(RELEASES)}, weights_sha256=_or_null(SHA256), **target),
        cohorts=closed(members=COHORT, non_members=COHORT, references=COHORT),
        training_checked=TRUTH,
        guarantee=_or_null(GUARANTEE),
        attacks={**_list(ATTACK), "minItems": 1, "maxItems": 20},
        planted=_or_null(closed(n=COUNT, attacks=PLANTED)),
        canary=_or_null(closed(times={**COUNT, "minimum": 2}, repeats=_list(REPEAT))),
        copies=_or_null(closed(n_copies=COUNT, n_near_copies=COUNT, n_expected=NUMBER, p=NUMBER, **copies)),
    )


STACK = closed(
    ("digest",),
    digest={"type": "string", "pattern": r"^[0-9a-f]{16}\Z"},
    n=COUNT,
    seed=_or_null(COUNT),
    label_threshold=_or_null(NUMBER),
    weights_sha256=_or_null(SHA256),
)
MEASURES = {name: NUMBER for name in ("precision", "recall", "density", "coverage")}
TITLE: Schema = {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9 ,()_-]{0,79}\Z"}
QUALITY = closed(  # figures of the quality of pairs; the values of training patients alone are left out
    distances=_list(closed(name=TITLE, value=NUMBER, floor=NUMBER, n=COUNT)),
    manifold=closed((), **MEASURES, floor=closed((), **MEASURES), n=COUNT),
)
INDICES: Schema = {"type": "array", "items": COUNT}
AUDIT = _audit({"stack": _or_null(STACK)}, {"near_copies": INDICES})  # the part of audit.json that is read
FIGURES = _audit({"stack": _or_null(closed(n=COUNT))}, {})  # the part of audit.json that may leave the clinic
SUMMARY = closed(
    format={"const": FORMAT},
    rule={"const": RULE},
    release={"enum": list(RELEASES.values())},
    outcome={"enum": ["passed", "failed", "inconclusive"]},
    patients=closed(members=COUNT, non_members=COUNT, references=COUNT),
    worst=closed(attack=NAME, auc=INTERVAL),
    canary_caught={"type": ["boolean", "null"]},
    guarantee=_or_null(GUARANTEE),
    sha256=SHA256,
)
OVERRIDDEN = closed(
    overridden={"const": True},
    reason={"type": "string", "minLength": 1, "maxLength": MAX_REASON},
    summary=_or_null(SUMMARY),
)


class Audit(NamedTuple):
    """Content of an audit.json that `read_audit` has checked.

    Attributes:
        file: path of the file.
        sha256: SHA-256 of the whole file.
        content: the properties that the schema AUDIT names; other properties are left out.
        quality: the figures of quality that the schema QUALITY names; empty if the audit does not have all of them.
    """

    file: Path
    sha256: str
    content: dict[str, Any]
    quality: dict[str, Any]

    @property
    def figures(self) -> dict[str, Any]:
        """Part of the audit that may leave the clinic: the figures from which the verdicts follow."""
        return _known(self.content, FIGURES)

    def summary(self, release: str) -> dict[str, Any]:
        """Returns the summary of this audit for a data card or a stack's manifest; see the function `summary`.

        Args:
            release: what would be released, "data", "generator" or "network".
        """
        return summary(self.content, self.sha256, release)


def read_audit(path: str | os.PathLike) -> Audit:
    """Reads and checks an audit; leaves out the content that neither a verdict nor a release needs.

    Args:
        path: an audit.json, or the folder that holds it.

    Raises:
        InputError: there is no such file, the file is not JSON, or figures are missing or have another form.
    """
    file = Path(path)
    file = file / "audit.json" if file.is_dir() else file
    try:
        data = file.read_bytes()
        whole = json.loads(data)
        content = _known(whole, AUDIT)
    except OSError as error:
        raise InputError(
            f"{file}: the audit cannot be read ({error.strerror}); give the output folder of `tofgan audit`"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: the file is not valid JSON; make the audit again (`tofgan audit`)") from error
    if problems := [f"{file}: {'.'.join(map(str, where))}: {what}" for where, what in departures(content, AUDIT)]:
        raise InputError(
            [*problems[:5], f"{file}: the file is not an audit of this version; make it again (`tofgan audit`)"]
        )
    quality = _known(whole.get("quality") or {}, QUALITY)
    return Audit(file, hashlib.sha256(data).hexdigest(), content, {} if any(departures(quality, QUALITY)) else quality)


def _known(value: Any, schema: Schema) -> Any:
    """Returns a JSON value without the properties that the schema does not name."""
    if isinstance(value, dict) and "properties" in schema:
        return {name: _known(value[name], known) for name, known in schema["properties"].items() if name in value}
    if isinstance(value, dict) and "additionalProperties" in schema:
        return {name: _known(item, schema["additionalProperties"]) for name, item in value.items()}
    if isinstance(value, list) and "items" in schema:
        return [_known(item, schema["items"]) for item in value]
    return value


def departures(content: Any, schema: Schema) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yields the path of each place where JSON content violates a schema, with the reason.

    NaN and infinity violate every schema; then only one violation is yielded, with an empty path.

    Args:
        content: JSON content as Python values.
        schema: JSON schema (draft 2020-12).
    """
    try:
        json.dumps(content, allow_nan=False)
    except ValueError:
        yield (), "a value is NaN or infinite"
        return
    for error in jsonschema.Draft202012Validator(schema).iter_errors(content):
        yield tuple(error.absolute_path), error.message


def summary(audit: dict[str, Any], sha256: str, release: str) -> dict[str, Any]:
    """Returns the entry about an audit in a data card or in a stack's manifest.

    The function judges the verdict again from the figures, and does not trust a verdict in the file.

    Args:
        audit: content of `audit.json`, or the figures that left the clinic.
        sha256: SHA-256 of the `audit.json` at the clinic.
        release: what would be released, "data", "generator" or "network".
    """
    strongest, guarantee = worst(audit, release), audit.get("guarantee")
    return {
        "format": FORMAT,
        "rule": RULE,
        "release": release,
        "outcome": verdicts(audit)[release]["outcome"],
        "patients": {name: audit["cohorts"][name]["patients"] for name in ("members", "non_members", "references")},
        "worst": {"attack": strongest["name"], "auc": strongest["patient"]["auc"]},
        "canary_caught": canary_caught(audit),
        "guarantee": guarantee and _known(guarantee, GUARANTEE),
        "sha256": sha256,
    }
