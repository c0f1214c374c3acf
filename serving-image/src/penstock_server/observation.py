"""All that watches answered requests: counts for drift, delayed labels, the prediction log."""

import asyncio
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock_contract import metrics as names
from penstock_contract.environment import PREDICTION_LOG_OFF, ServingEnvironment
from penstock_contract.feedback import FeedbackCounts
from penstock_contract.segments import Segmentation
from penstock_server.feedback import BODY_BYTES_MAX, BadFeedback
from penstock_server.inference import Answer, refusal
from penstock_server.log import Log
from penstock_server.observer import Observer
from penstock_server.prediction_log import Outcomes, PredictionLog, SinkFailed
from penstock_server.prediction_sinks import sink_of
from penstock_server.profile import reference
from penstock_server.profile.live import LiveProfile, Stuck
from penstock_server.protocol import TensorSpec

#: Smaller bodies are not worth compressing.
_GZIP_BYTES_MIN = 1024
_GZIP_LEVEL = 5


class Observation:
    """Made when the model is loaded; ``observers`` are told of each answered request."""

    def __init__(
        self,
        *,
        serving: ServingEnvironment,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        errors: Callable[[], Mapping[str, int]],
        log: Log,
    ) -> None:
        identity = {
            "modelName": serving.model_name,
            "modelVersion": serving.model_version,
            "revision": serving.revision,
        }
        self._live = LiveProfile(
            inputs=inputs,
            outputs=outputs,
            source=reference.source(Path(serving.model_path), serving.profile_path, inputs, outputs),
            identity=identity,
            errors=errors,
            log=log,
        )
        self._predictions = _prediction_log(serving, inputs, outputs, identity, log)
        self.observers: tuple[Observer, ...] = (
            (self._live,) if self._predictions is None else (self._live, self._predictions)
        )

    def start(self) -> None:
        """Begin; to be called when the server is ready: nothing here is worth waiting for."""
        self._live.start()
        if self._predictions is not None:
            self._predictions.start()

    def close(self) -> None:
        """Finish what waits. Blocks."""
        self._live.close()
        if self._predictions is not None:
            self._predictions.close()

    async def profile(self, *, query: str, accepts_gzip: bool) -> tuple[Answer, bool]:
        """Return the answer of GET /v1/profile, and whether its body is compressed; a query asks for segments."""
        return await asyncio.to_thread(self._profile, query=query, accepts_gzip=accepts_gzip)

    async def reference(self, *, query: str, accepts_gzip: bool) -> tuple[Answer, bool]:
        """Return the answer of GET /v1/profile/reference: the profile that is counted against, 404 without one."""
        del query  # there is but one
        return await asyncio.to_thread(self._reference, accepts_gzip=accepts_gzip)

    def _profile(self, *, query: str, accepts_gzip: bool) -> tuple[Answer, bool]:
        try:
            body = self._live.body(Segmentation.of_query(query))
        except ValueError as error:
            return refusal(400, str(error)), False
        except Stuck as error:
            return refusal(503, str(error), retry_after_seconds=1), False
        return _packed(body, accepts_gzip=accepts_gzip)

    def _reference(self, *, accepts_gzip: bool) -> tuple[Answer, bool]:
        try:
            body = self._live.reference()
        except Stuck as error:
            return refusal(503, str(error), retry_after_seconds=1), False
        if body is None:
            why = self._live.error or "there is no profile beside the model; make one with penstock-profile"
            return refusal(404, why), False
        return _packed(body, accepts_gzip=accepts_gzip)

    async def label(self, body: bytes) -> Answer:
        """Return the answer of POST /v1/feedback."""
        if len(body) > BODY_BYTES_MAX:
            return refusal(413, f"the body is larger than {BODY_BYTES_MAX} bytes; send labels in parts")
        try:
            return Answer(status=200, body=await asyncio.to_thread(self._live.label, body))
        except BadFeedback as error:
            return refusal(400, str(error))
        except Stuck as error:
            return refusal(503, str(error), retry_after_seconds=1)

    def families(self) -> Iterator[Metric]:
        """Yield what Prometheus is told of all this."""
        live = self._live
        yield CounterMetricFamily(names.PROFILE_ROWS_TOTAL, "Rows counted for the drift profile", live.rows)
        yield CounterMetricFamily(
            names.PROFILE_ROWS_DROPPED_TOTAL, "Rows answered but not counted for the drift profile", live.dropped_rows
        )
        yield GaugeMetricFamily(
            names.PROFILE_UNUSABLE, "1 where a reference profile was found and cannot be used", float(bool(live.error))
        )
        feedback = CounterMetricFamily(names.FEEDBACK_TOTAL, "Labels, by what became of them", labels=[names.OUTCOME])
        for outcome in FeedbackCounts.OUTCOMES:
            feedback.add_metric([outcome], getattr(live.feedback, outcome))
        yield feedback
        log = CounterMetricFamily(
            names.PREDICTION_LOG_TOTAL, "Sampled requests of the prediction log, by what became of them",
            labels=[names.OUTCOME],
        )  # fmt: skip
        for outcome, count in (self._predictions.outcomes if self._predictions else Outcomes()).items():
            log.add_metric([outcome], count)
        yield log


def _packed(body: bytes, *, accepts_gzip: bool) -> tuple[Answer, bool]:
    if accepts_gzip and len(body) >= _GZIP_BYTES_MIN:
        return Answer(status=200, body=gzip.compress(body, _GZIP_LEVEL, mtime=0)), True
    return Answer(status=200, body=body), False


def _prediction_log(
    serving: ServingEnvironment,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    identity: Mapping[str, str],
    log: Log,
) -> PredictionLog | None:
    if serving.prediction_log == PREDICTION_LOG_OFF or not serving.prediction_log_sample:
        return None
    try:
        sink = sink_of(
            serving.prediction_log, credentials_dir=serving.prediction_log_credentials_dir, revision=serving.revision
        )
    except SinkFailed as error:
        # Nobody who asks for an answer should go without it because of this.
        log("prediction-log-failed", error=str(error))
        return None
    return PredictionLog(
        sink=sink, sample=serving.prediction_log_sample, inputs=inputs, outputs=outputs, identity=identity, log=log
    )
