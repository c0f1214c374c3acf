"""Serving pods that count with the server's own code and say so as /v1/profile does, without a server."""

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import numpy.typing as npt

from penstock_contract import outputs
from penstock_contract.counts import SCHEMA
from penstock_contract.feedback import FeedbackCounts
from penstock_contract.profile import Profile, Role, layout_of
from penstock_contract.segments import Segmentation
from penstock_operator.core.serving_pods import ServingPod
from penstock_server.outputs_ring import OutputsRing
from penstock_server.profile.binding import without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.counting import Counter
from penstock_server.profile.rows import Block
from penstock_server.profile.segments import Segments
from penstock_server.profile.table import Table
from penstock_server.protocol import DTYPES

Values = Mapping[str, npt.NDArray[Any]]
_BOOTS = itertools.count(1)


def profile_of(values: Values, outputs: tuple[str, ...] = ("score",)) -> Profile:
    """Return the reference profile of rows, as penstock-profile makes it."""
    inputs, answers = without_model(Table(arrays=dict(values)), outputs)
    return build(inputs, answers, labels=None, choices=Choices())


class CountingPod:
    """One pod. ``now`` is its clock, in seconds."""

    def __init__(self, profile: Profile | None, *, error: str | None = None) -> None:
        self.profile = profile
        self.error = error
        self.now = 0.0
        self.feedback = FeedbackCounts()
        #: Changed into what it says of itself, for pods that lie.
        self.lies: dict[str, Any] = {}
        self.restart()

    def restart(self) -> None:
        """Begin a new life, with counters at 0."""
        self._boot = f"boot-{next(_BOOTS)}"
        self._seq = 0
        self._requests = 0
        # Made once: it is a digest of the whole layout.
        self._hash = self.profile.hash if self.profile else None
        self._counter = Counter.of(self.profile) if self.profile else None
        self._segments = Segments(self.profile) if self.profile else None
        self._first: float | None = None

    def serve(self, values: Values, *, test: npt.NDArray[np.intp] | None = None) -> None:
        """Answer rows, each in a request of its own; ``test`` says which rows count as that if they are fewer."""
        rows = len(next(iter(values.values())))
        tensors: dict[Role, dict[str, npt.NDArray[Any]]] = {Role.INPUT: {}, Role.OUTPUT: {}}
        for column in self.profile.columns if self.profile else ():
            array = values[column.name.partition("/")[2]]
            dtype = DTYPES[column.datatype] if column.datatype != "BYTES" else np.dtype(object)
            tensors[column.role][column.tensor] = array.astype(dtype)[:, np.newaxis]
        if self._counter is not None:
            block = Block(rows=rows, inputs=tensors[Role.INPUT], outputs=tensors[Role.OUTPUT], test=test)
            self._counter.add(block)
            if self._segments is not None:
                self._segments.add(block, self.now)
        self._requests += rows
        self._first = self.now if self._first is None else self._first

    def message(self) -> dict[str, Any]:
        """Return what it says now."""
        self._seq += 1
        message: dict[str, Any] = {
            "schema": SCHEMA,
            "modelName": "fraud",
            "modelVersion": "1",
            "revision": "fraud-a",
            "profileHash": self._hash,
            "profileError": self.error,
            "bootId": self._boot,
            "seq": self._seq,
            "firstTs": self._first,
            "lastTs": self.now,
            "counters": {"requests": self._requests, "droppedRows": 0, "errors": {}},
        }
        if self.feedback != FeedbackCounts():
            message["feedback"] = self.feedback.to_wire()
        if self._counter is not None and self.profile is not None:
            message["counts"] = self._counter.counts().to_wire(layout_of(self.profile.columns))
        else:
            message["plain"] = {"rows": self._requests, "columns": []}
        return message | self.lies

    def body(self, wanted: Segmentation | None = None) -> bytes:
        """Return what it says now, as it goes over the wire; from the first time that it is ``wanted``, of segments."""
        message = self.message()
        if wanted is not None and self._segments is not None:
            error = self._segments.ask(wanted, self.now)
            message["segments"] = {wanted.by: {"error": error}} if error else self._segments.to_wire(wanted)
        return json.dumps(message).encode()


class FakeServingPods:
    """Implements ports.ServingPods over counting pods, by the names of pods; what is not there does not answer.

    ``noted`` are the answers to copied requests, in the very rings that real pods have.
    """

    def __init__(self) -> None:
        self.pods: dict[str, CountingPod] = {}
        self.noted: defaultdict[str, OutputsRing] = defaultdict(OutputsRing)
        self.silent: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    async def get(self, namespace: str, pod: ServingPod, path: str) -> bytes | None:
        """Answer as the pod would."""
        assert namespace
        self.asked.append((pod.name, path))
        parts = urlsplit(path)
        if parts.path == outputs.PATH and pod.name not in self.silent:
            query = dict(parse_qsl(parts.query))
            return self.noted[pod.name].take(int(query.get("after", "0")), query.get("boot", "")).body()
        counting = self.pods.get(pod.name)
        if counting is None or pod.name in self.silent:
            return None
        match parts.path:
            case "/v1/profile":
                return counting.body(Segmentation.of_query(parts.query))
            case "/v1/profile/reference":
                return counting.profile.to_json().encode() if counting.profile else None
        return None
