"""What is exposed is what the contract names, with the pod's labels on all of it."""

from io import StringIO

from penstock_contract import metrics as names
from penstock_contract.environment import ServingEnvironment
from penstock_server.log import json_log
from penstock_server.metrics import Metrics
from penstock_server.observation import Observation

LABELS = {"revision": "m-1", "model": "m", "model_version": "3"}


def exposed(metrics: Metrics) -> list[str]:
    return metrics.exposition().decode().splitlines()


def used() -> Metrics:
    metrics = Metrics(LABELS)
    metrics.watch(in_flight=lambda: 2, queued=lambda: 3, ready=lambda: True)
    metrics.info(server_version="1", onnxruntime_version="2")
    metrics.loaded(0.5)
    metrics.answered(200, 0.003)
    metrics.answered(500, 0.1)
    metrics.rejected("overloaded")
    metrics.ran(0.001, rows=32)
    serving = ServingEnvironment(model_name="m", revision="m-1", namespace="n")
    observation = Observation(serving=serving, inputs=(), outputs=(), errors=metrics.errors, log=json_log(StringIO()))
    metrics.add(observation.families)
    return metrics


def test_every_name_of_the_contract_is_exposed() -> None:
    types = {line.split()[2] for line in exposed(used()) if line.startswith("# TYPE penstock_")}
    promised = {value for key, value in vars(names).items() if key.isupper() and str(value).startswith("penstock_")}
    assert types == promised


def test_every_series_carries_the_labels_of_the_pod() -> None:
    series = [line for line in exposed(used()) if not line.startswith("#")]
    assert series
    for label, value in LABELS.items():
        assert all(f'{label}="{value}"' in line for line in series)


def test_values_are_what_was_counted() -> None:
    pod = 'model="m",model_version="3",revision="m-1"'
    lines = exposed(used())
    for expected in (
        f'penstock_requests_total{{code="500",{pod}}} 1.0',
        f"penstock_rows_total{{{pod}}} 32.0",
        f'penstock_requests_rejected_total{{reason="overloaded",{pod}}} 1.0',
        f'penstock_request_duration_seconds_bucket{{le="0.004",{pod}}} 1.0',
        f"penstock_requests_in_flight{{{pod}}} 2.0",
        f"penstock_requests_queued{{{pod}}} 3.0",
        f"penstock_ready{{{pod}}} 1.0",
        f"penstock_model_load_seconds{{{pod}}} 0.5",
    ):
        normalised = {_sorted_labels(line) for line in lines}
        assert _sorted_labels(expected) in normalised, expected


def test_a_second_scrape_says_the_same() -> None:
    metrics = used()
    first, second = (
        [line for line in exposed(metrics) if line.startswith("penstock_") and "cpu_seconds" not in line]
        for _ in range(2)
    )
    assert first == second


def _sorted_labels(line: str) -> str:
    name, _, rest = line.partition("{")
    labels, _, value = rest.partition("}")
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}"


def test_statistics_are_what_was_counted() -> None:
    made = used().statistics()
    assert (made.successes, made.success_seconds) == (1, 0.003)
    assert (made.failures, round(made.failure_seconds, 6)) == (1, 0.1)
    assert (made.rows, made.runs, made.run_seconds) == (32, 1, 0.001)
    assert made.last_run_at > 0
    assert Metrics(LABELS).statistics().last_run_at == 0
