"""What a real API server says to valid and invalid objects."""

import copy
from dataclasses import dataclass
from typing import Any

import pytest
from tests.fakes.people import People
from tests.penstock_operator.api.schemas import defaulted, nodes, schema_of

from penstock_operator.api.model import ApiModel
from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.ports import RequestRejected

SHA256 = "9f2c" * 16
KINDS = {"modeldeployments": "ModelDeployment", "trafficsplits": "TrafficSplit", "driftpolicies": "DriftPolicy"}
SPECS: dict[str, dict[str, Any]] = {
    "modeldeployments": {"model": {"uri": "s3://models/fraud/3/model.onnx", "sha256": SHA256}},
    "trafficsplits": {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": [{"weight": 100}]}},
    "driftpolicies": {
        "target": {"name": "fraud"},
        "metrics": [{"name": "errors", "source": "ErrorRate", "against": "Stable"}],
    },
}
MDEP, TSPLIT, DPOL = KINDS

Change = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One rule: what it refuses with which words, and a twin that it accepts. Both replace fields by dotted path."""

    kind: str
    said: str
    invalid: Change
    valid: Change


def steps(*entries: dict[str, Any]) -> Change:
    return {"spec.strategy.steps": list(entries)}


def freeze(**fields: Any) -> Change:
    return {"spec.freeze": [{"cron": "0 18 * * 5", "duration": "60h", **fields}]}


def metric(**fields: Any) -> Change:
    return {"spec.metrics": [{"name": "errors", "source": "ErrorRate", "against": "Stable", **fields}]}


QUERY = 'sum(rate(orders_total{revision="{{revision}}"}[5m]))'


JOB = {"name": "smoke", "source": "Job", "job": {"cronJob": "fraud-smoke"}}


def prometheus(**fields: Any) -> Change:
    return metric(**{"name": "revenue", "source": "Prometheus", "query": QUERY, **fields})


def limit_of(source: str, limit: str) -> Change:
    return {"spec.metrics": [{"name": "shadow", "source": source, "limit": limit}]}


def web(**fields: Any) -> Change:
    where = {"url": "https://shop.example.com/stats/{{revision}}", "pointer": "/sales", **fields}
    return metric(source="Web", web=where)


def latency(**fields: Any) -> Change:
    return {"spec.metrics": [{"name": "slow", "source": "LatencyQuantile", "quantile": 0.99, **fields}]}


def limit_of_errors(limit: str) -> Change:
    return {"spec.metrics": [{"name": "errors", "source": "ErrorRate", "limit": limit}]}


def watched(**fields: Any) -> Change:
    return {"spec": {"target": {"name": "fraud"}, **fields}}


def actions(*entries: dict[str, Any]) -> Change:
    return {"spec.actions": list(entries)}


LONGEST = "a" * 46
XGB = {"name": "xgb", "modelDeployment": "fraud-xgb"}
MLP = {"name": "mlp", "modelDeployment": "fraud-mlp"}
AB = {"type": "ABTest"}
CASES = {
    "a deployment's name is too long": Case(
        kind=MDEP,
        said="metadata.name becomes a Service name; use at most 46 characters",
        invalid={"metadata.name": LONGEST + "a"},
        valid={"metadata.name": LONGEST},
    ),
    "a split's name starts with a digit": Case(
        kind=TSPLIT,
        said="starting with a letter",
        invalid={"metadata.name": "3fraud"},
        valid={"metadata.name": "fraud3"},
    ),
    "an unknown scheme": Case(
        kind=MDEP,
        said="write http(s)://host/path, s3://bucket/key, gs://bucket/key, az://container/path, oci://",
        invalid={"spec.model.uri": "ftp://models/fraud.onnx"},
        valid={"spec.model.uri": "configmap://fraud/model.onnx"},
    ),
    "an artifact without a tag": Case(
        kind=MDEP,
        said="oci://registry/repository:tag",
        invalid={"spec.model.uri": "oci://ghcr.io/acme/fraud"},
        valid={"spec.model.uri": f"oci://ghcr.io/acme/fraud@sha256:{SHA256}#model.onnx"},
    ),
    "an image without a path": Case(
        kind=MDEP,
        said="image://registry/repository:tag#path",
        invalid={"spec.model.uri": "image://ghcr.io/acme/fraud:3"},
        valid={"spec.model.uri": "image://ghcr.io/acme/fraud:3#models/model.onnx"},
    ),
    "a registered model without a version": Case(
        kind=MDEP,
        said="models:/name/version, models:/name@alias",
        invalid={"spec.model.uri": "models:/fraud", "spec.model.credentials": {"secretName": "mlflow"}},
        valid={"spec.model.uri": "models:/fraud@champion", "spec.model.credentials": {"secretName": "mlflow"}},
    ),
    "a registered model without a server": Case(
        kind=MDEP,
        said="models:/… needs model.credentials: a Secret with MLFLOW_TRACKING_URI",
        invalid={"spec.model.uri": "models:/fraud/3"},
        valid={"spec.model.uri": "models:/fraud/3", "spec.model.credentials": {"secretName": "mlflow"}},
    ),
    "a blob without an account": Case(
        kind=MDEP,
        said="az://… needs model.credentials: a Secret with AZURE_STORAGE_ACCOUNT_NAME",
        invalid={"spec.model.uri": "az://models/fraud.onnx"},
        valid={"spec.model.uri": "az://models/fraud.onnx", "spec.model.credentials": {"secretName": "azure"}},
    ),
    "a file outside the model's folder": Case(
        kind=MDEP,
        said="write a relative path of letters, digits",
        invalid={"spec.model.files": [{"path": "w/../../secret", "sha256": SHA256}]},
        valid={"spec.model.files": [{"path": "w/model.onnx.data", "sha256": SHA256}]},
    ),
    "a file in the place of the model": Case(
        kind=MDEP,
        said="model.onnx is the model itself",
        invalid={"spec.model.files": [{"path": "model.onnx", "sha256": SHA256}]},
        valid={"spec.model.files": [{"path": "other.onnx", "sha256": SHA256}]},
    ),
    "a file's digest cut off": Case(
        kind=MDEP,
        said="write the 64 lower-case hexadecimal digits that `sha256sum` prints",
        invalid={"spec.model.files": [{"path": "w", "sha256": SHA256[1:]}]},
        valid={"spec.model.files": [{"path": "w", "sha256": SHA256}]},
    ),
    "a file on another volume": Case(
        kind=MDEP,
        said="or leave uri out for a file that lies beside the model",
        invalid={"spec.model.files": [{"path": "w", "sha256": SHA256, "uri": "pvc://claim/w"}]},
        valid={"spec.model.files": [{"path": "w", "sha256": SHA256, "uri": "gs://bucket/w"}]},
    ),
    "a profile's digest cut off": Case(
        kind=MDEP,
        said="write the 64 lower-case hexadecimal digits that `sha256sum profile.json` prints",
        invalid={"spec.model.profile": {"sha256": "abc"}},
        valid={"spec.model.profile": {"sha256": SHA256}},
    ),
    "a profile on another volume": Case(
        kind=MDEP,
        said="or leave uri out for profile.json beside the model",
        invalid={"spec.model.profile": {"sha256": SHA256, "uri": "configmap://name/profile.json"}},
        valid={"spec.model.profile": {"sha256": SHA256, "uri": "https://host/profile.json"}},
    ),
    "two profiles": Case(
        kind=MDEP,
        said="the profile is either model.profile or a file of path profile.json",
        invalid={
            "spec.model.profile": {"sha256": SHA256},
            "spec.model.files": [{"path": "profile.json", "sha256": SHA256}],
        },
        valid={
            "spec.model.profile": {"sha256": SHA256},
            "spec.model.files": [{"path": "labels.txt", "sha256": SHA256}],
        },
    ),
    "a batching delay without a unit": Case(
        kind=MDEP,
        said="write a number with a unit, such as 250ms, 2s, 5m or 1h30m",
        invalid={"spec.serving": {"batching": {"maxDelay": "2"}}},
        valid={"spec.serving": {"batching": {"maxDelay": "2ms"}}},
    ),
    "a batching delay of minutes": Case(
        kind=MDEP,
        said="must be at most 1s; batching takes what is there",
        invalid={"spec.serving": {"batching": {"maxDelay": "1m"}}},
        valid={"spec.serving": {"batching": {"maxDelay": "1s"}}},
    ),
    "replicas beside an autoscaler": Case(
        kind=MDEP,
        said="replicas and autoscaling exclude each other",
        invalid={"spec.replicas": 4, "spec.autoscaling": {"maxReplicas": 10}},
        valid={"spec.autoscaling": {"maxReplicas": 10}},
    ),
    "an autoscaler without a request of CPU": Case(
        kind=MDEP,
        said="autoscaling measures the share of the requested CPU",
        invalid={
            "spec.autoscaling": {"maxReplicas": 10},
            "spec.resources": {"requests": {"memory": "1Gi"}, "limits": {}},
        },
        valid={
            "spec.autoscaling": {"maxReplicas": 10},
            "spec.resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": 1}},
        },
    ),
    "an autoscaler whose minimum is above its maximum": Case(
        kind=MDEP,
        said="minReplicas is above maxReplicas",
        invalid={"spec.autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
        valid={"spec.autoscaling": {"minReplicas": 3, "maxReplicas": 3}},
    ),
    "a prediction log on a disk": Case(
        kind=MDEP,
        said="write stdout, or a folder of an object store",
        invalid={"spec.serving": {"predictionLog": {"destination": "/var/log/predictions"}}},
        valid={"spec.serving": {"predictionLog": {"destination": "stdout"}}},
    ),
    "a sample in percent": Case(
        kind=MDEP,
        said="write a share between 0 and 1, such as 0.01",
        invalid={"spec.serving": {"predictionLog": {"destination": "s3://logs/fraud", "sample": 5}}},
        valid={"spec.serving": {"predictionLog": {"destination": "s3://logs/fraud", "sample": 1}}},
    ),
    "credentials in a URI": Case(
        kind=MDEP,
        said="put them in a Secret and name it in model.credentials.secretName",
        invalid={"spec.model.uri": "https://jane:secret@example.com/model.onnx"},
        valid={"spec.model.uri": "https://example.com/jane@home/model.onnx"},
    ),
    "a digest in capitals": Case(
        kind=MDEP,
        said="write the 64 lower-case hexadecimal digits that `sha256sum model.onnx` prints",
        invalid={"spec.model.sha256": SHA256.upper()},
        valid={"spec.model.sha256": SHA256},
    ),
    "a model name with a slash": Case(
        kind=MDEP,
        said="use letters, digits, '-', '_' and '.'",
        invalid={"spec.serving": {"modelName": "risk/fraud"}},
        valid={"spec.serving": {"modelName": "risk_fraud.v3"}},
    ),
    "a timeout without a unit": Case(
        kind=MDEP,
        said="write a number with a unit, such as 250ms, 2s, 5m or 1h30m",
        invalid={"spec.serving": {"timeout": "2"}},
        valid={"spec.serving": {"timeout": "1m30s"}},
    ),
    "a timeout of nothing": Case(
        kind=MDEP,
        said="must be more than 0s and at most 10m",
        invalid={"spec.serving": {"timeout": "0s"}},
        valid={"spec.serving": {"timeout": "0.5ms"}},
    ),
    "a label of the operator's": Case(
        kind=MDEP,
        said="labels under penstock.dev/ and app.kubernetes.io/ belong to the operator",
        invalid={"spec.pod": {"labels": {"penstock.dev/revision": "mine"}}},
        valid={"spec.pod": {"labels": {"example.com/team": "risk"}}},
    ),
    "two candidates in a canary": Case(
        kind=TSPLIT,
        said="Canary and BlueGreen try one candidate at a time",
        invalid={"spec.candidates": [XGB, MLP]},
        valid={"spec.candidates": [XGB]},
    ),
    "two candidates of one deployment": Case(
        kind=TSPLIT,
        said="two candidates name the same modelDeployment",
        invalid={"spec.strategy": AB, "spec.candidates": [{**XGB, "weight": 5}, {**XGB, "name": "b", "weight": 5}]},
        valid={"spec.strategy": AB, "spec.candidates": [{**XGB, "weight": 5}, {**MLP, "weight": 5}]},
    ),
    "a candidate named stable": Case(
        kind=TSPLIT,
        said="give the candidate another name",
        invalid={"spec.candidates": [{**XGB, "name": "stable"}]},
        valid={"spec.candidates": [{**XGB, "name": "stable-2"}]},
    ),
    "a candidate with a name in capitals": Case(
        kind=TSPLIT,
        said="use a-z, 0-9 and -, such as xgb-2",
        invalid={"spec.candidates": [{**XGB, "name": "XGB"}]},
        valid={"spec.candidates": [{**XGB, "name": "xgb-2"}]},
    ),
    "a test without competitors": Case(
        kind=TSPLIT,
        said="an ABTest needs to know who competes",
        invalid={"spec.strategy": AB},
        valid={"spec.strategy": AB, "spec.candidates": [{**XGB, "weight": 50}]},
    ),
    "a competitor without a weight": Case(
        kind=TSPLIT,
        said="each with a weight",
        invalid={"spec.strategy": AB, "spec.candidates": [{**XGB, "weight": 5}, MLP]},
        valid={"spec.strategy": AB, "spec.candidates": [{**XGB, "weight": 5}, {**MLP, "weight": 5}]},
    ),
    "a test that leaves stable nothing": Case(
        kind=TSPLIT,
        said="lower them to at most 99 together",
        invalid={"spec.strategy": AB, "spec.candidates": [{**XGB, "weight": 50}, {**MLP, "weight": 50}]},
        valid={"spec.strategy": AB, "spec.candidates": [{**XGB, "weight": 50}, {**MLP, "weight": 49}]},
    ),
    "a weight of its own in a canary": Case(
        kind=TSPLIT,
        said="only candidates of an ABTest have a weight of their own",
        invalid={"spec.candidates": [{**XGB, "weight": 5}]},
        valid={"spec.candidates": [XGB]},
    ),
    "steps in a test": Case(
        kind=TSPLIT,
        said="an ABTest has fixed weights and a Shadow none",
        invalid={
            "spec.strategy": {**AB, "steps": [{"weight": 100}]},
            "spec.candidates": [{**XGB, "weight": 5}],
        },
        valid={"spec.strategy": AB, "spec.candidates": [{**XGB, "weight": 5}]},
    ),
    "a schedule in blue-green": Case(
        kind=TSPLIT,
        said="BlueGreen goes from 0 to 100 at once",
        invalid={"spec.strategy": {"type": "BlueGreen", "schedule": {"kind": "Linear", "every": "2m"}}},
        valid={"spec.strategy": {"type": "BlueGreen", "steps": [{"pause": {}}, {"weight": 100}]}},
    ),
    "a weight between in blue-green": Case(
        kind=TSPLIT,
        said="BlueGreen has no weight between 0 and 100",
        invalid={"spec.strategy": {"type": "BlueGreen", "steps": [{"weight": 5}, {"weight": 100}]}},
        valid={"spec.strategy": {"type": "BlueGreen", "steps": [{"weight": 0, "hold": "5m"}, {"weight": 100}]}},
    ),
    "a winner of a canary": Case(
        kind=TSPLIT,
        said="only an ABTest has a winner by evidence",
        invalid={"spec.strategy": {"steps": [{"weight": 100}], "winner": {}}},
        valid={
            "spec.strategy": {**AB, "winner": {"hold": "24h"}},
            "spec.candidates": [{**XGB, "weight": 5}],
        },
    ),
    "a winner that holds for days as people say it": Case(
        kind=TSPLIT,
        said="write a number with a unit, such as 30s, 5m or 1h30m",
        invalid={"spec.strategy": {**AB, "winner": {"hold": "2d"}}, "spec.candidates": [{**XGB, "weight": 5}]},
        valid={"spec.strategy": {**AB, "winner": {"hold": "48h"}}, "spec.candidates": [{**XGB, "weight": 5}]},
    ),
    "a test promoted by the clock": Case(
        kind=TSPLIT,
        said="which one to promote is not known when time is up",
        invalid={
            "spec.strategy": {**AB, "maxDuration": "2h", "onUndecided": "Promote"},
            "spec.candidates": [{**XGB, "weight": 5}],
        },
        valid={
            "spec.strategy": {**AB, "maxDuration": "2h", "onUndecided": "Rollback"},
            "spec.candidates": [{**XGB, "weight": 5}],
        },
    ),
    "a shadow without a share": Case(
        kind=TSPLIT,
        said="a Shadow needs to know how many requests to copy",
        invalid={"spec.strategy": {"type": "Shadow"}},
        valid={"spec.strategy": {"type": "Shadow"}, "spec.shadow": {"percent": 20}},
    ),
    "a tolerance that is no number": Case(
        kind=TSPLIT,
        said='write percent, such as 5%, or a number, such as "0.5"',
        invalid={"spec.shadow": {"compareOutputs": True, "tolerance": "-1%"}},
        valid={"spec.shadow": {"compareOutputs": True, "tolerance": "2.5%"}},
    ),
    "a shadow of who has a weight": Case(
        kind=TSPLIT,
        said="copies go only to candidates without weight",
        invalid={"spec.strategy": AB, "spec.candidates": [{**XGB, "weight": 5}], "spec.shadow": {"percent": 20}},
        valid={"spec.strategy": {"type": "Shadow"}, "spec.candidates": [XGB], "spec.shadow": {"percent": 20}},
    ),
    "a match for nobody": Case(
        kind=TSPLIT,
        said="match: to names a candidate of the list",
        invalid={"spec.match": [{"header": "x-beta", "exact": "yes", "to": "xgb"}]},
        valid={"spec.match": [{"header": "x-beta", "exact": "yes", "to": "xgb"}], "spec.candidates": [XGB]},
    ),
    "a match that is exact and a prefix": Case(
        kind=TSPLIT,
        said='write one of exact: "yes", prefix: "b" and present: true',
        invalid={"spec.match": [{"header": "x-beta", "exact": "yes", "prefix": "y", "to": "candidate"}]},
        valid={"spec.match": [{"header": "x-beta", "present": True, "to": "stable"}]},
    ),
    "a match by what is not there": Case(
        kind=TSPLIT,
        said="requests without a header cannot be matched",
        invalid={"spec.match": [{"header": "x-beta", "present": False, "to": "candidate"}]},
        valid={"spec.match": [{"header": "x-beta", "present": True, "to": "candidate"}]},
    ),
    "a match by a header that is none": Case(
        kind=TSPLIT,
        said="a header's name has letters, digits and -",
        invalid={"spec.match": [{"header": "x_beta", "present": True, "to": "candidate"}]},
        valid={"spec.match": [{"header": "X-Beta", "present": True, "to": "candidate"}]},
    ),
    "a match by the host": Case(
        kind=TSPLIT,
        said="never reach a match; send a header of your own",
        invalid={"spec.match": [{"header": "Host", "exact": "a", "to": "candidate"}]},
        valid={"spec.match": [{"header": "x-host", "exact": "a", "to": "candidate"}]},
    ),
    "keys by header and cookie": Case(
        kind=TSPLIT,
        said="write either header: x-account or cookie: {name: penstock, ttl: 1h}",
        invalid={"spec.stickiness": {"header": "x-account", "cookie": {}}},
        valid={"spec.stickiness": {"cookie": {}}},
    ),
    "a cookie with a space": Case(
        kind=TSPLIT,
        said="a cookie's name has letters, digits, - and _",
        invalid={"spec.stickiness": {"cookie": {"name": "my cookie"}}},
        valid={"spec.stickiness": {"cookie": {"name": "my_cookie", "ttl": "24h"}}},
    ),
    "a watch of nothing": Case(
        kind=TSPLIT,
        said="must be at least 1s and at most 720h, which is 30 days",
        invalid={"spec.afterPromotion": {"watch": "0s"}},
        valid={"spec.afterPromotion": {"watch": "30m"}},
    ),
    "a deadline without a unit": Case(
        kind=TSPLIT,
        said="write a number with a unit, such as 30s, 5m or 1h30m",
        invalid={"spec.strategy.progressDeadline": "600"},
        valid={"spec.strategy.progressDeadline": "600s"},
    ),
    "weights that fall": Case(
        kind=TSPLIT,
        said="weights must not fall",
        invalid=steps({"weight": 50}, {"weight": 25}, {"weight": 100}),
        valid=steps({"weight": 25}, {"weight": 25}, {"weight": 100}),
    ),
    "no last step of 100": Case(
        kind=TSPLIT,
        said="the last step must be {weight: 100}",
        invalid=steps({"weight": 50}),
        valid=steps({"weight": 50}, {"weight": 100}),
    ),
    "a pause after the last weight": Case(
        kind=TSPLIT,
        said="the last step must be {weight: 100}",
        invalid=steps({"weight": 100}, {"pause": {}}),
        valid=steps({"pause": {}}, {"weight": 100}),
    ),
    "a freeze with three fields": Case(
        kind=TSPLIT,
        said="write five fields: minute hour day-of-month month day-of-week, such as 0 18 * * 5",
        invalid=freeze(cron="0 18 *"),
        valid=freeze(cron="0  18 * * MON-FRI,SUN"),
    ),
    "a freeze of two days as people say it": Case(
        kind=TSPLIT,
        said="write a number with a unit, such as 90m or 60h",
        invalid=freeze(duration="2d"),
        valid=freeze(duration="48h"),
    ),
    "a freeze of a quarter": Case(
        kind=TSPLIT,
        said="must be at least 1m and at most 1440h, which is 60 days",
        invalid=freeze(duration="2160h"),
        valid=freeze(duration="1440h"),
    ),
    "a freeze somewhere": Case(
        kind=TSPLIT,
        said="write the IANA name of a time zone, such as Europe/Berlin or UTC",
        invalid=freeze(timeZone="../Berlin"),
        valid=freeze(timeZone="America/Argentina/Buenos_Aires"),
    ),
    "a Gateway and a header that keeps requests together": Case(
        kind=TSPLIT,
        said="a Gateway cannot keep requests with the same value of a header together",
        invalid={"spec.gateway": {"parentRefs": [{"name": "edge"}]}, "spec.stickiness": {"header": "x-account"}},
        valid={"spec.gateway": {"parentRefs": [{"name": "edge"}]}, "spec.stickiness": {"cookie": {"name": "penstock"}}},
    ),
    "a Gateway and answers that are compared": Case(
        kind=TSPLIT,
        said="copies that a Gateway makes cannot be told from their originals",
        invalid={"spec.gateway": {"parentRefs": [{"name": "edge"}]}, "spec.shadow": {"compareOutputs": True}},
        valid={"spec.gateway": {"parentRefs": [{"name": "edge"}]}, "spec.shadow": {"percent": 20}},
    ),
    "a hostname in upper case": Case(
        kind=TSPLIT,
        said="write a DNS name in lower case, such as fraud.example.com or *.example.com",
        invalid={"spec.gateway": {"parentRefs": [{"name": "edge"}], "hostnames": ["Fraud.example.com"]}},
        valid={"spec.gateway": {"parentRefs": [{"name": "edge"}], "hostnames": ["*.fraud.example.com", "fraud"]}},
    ),
    "a step that is weight and pause": Case(
        kind=TSPLIT,
        said="a step is either {weight: …} or {pause: {}}",
        invalid=steps({"weight": 5, "pause": {}}, {"weight": 100}),
        valid=steps({"weight": 5}, {"pause": {}}, {"weight": 100}),
    ),
    "a step that is neither": Case(
        kind=TSPLIT,
        said="a step is either {weight: …} or {pause: {}}",
        invalid=steps({"hold": "5m"}, {"weight": 100}),
        valid=steps({"weight": 5, "hold": "5m"}, {"weight": 100}),
    ),
    "a pause with a hold": Case(
        kind=TSPLIT,
        said="a pause ends when a person promotes; it takes no hold and no require",
        invalid=steps({"pause": {}, "hold": "5m"}, {"weight": 100}),
        valid=steps({"pause": {}}, {"weight": 100}),
    ),
    "a hold without a unit": Case(
        kind=TSPLIT,
        said="write a number with a unit, such as 30s, 5m or 1h30m",
        invalid=steps({"weight": 5, "hold": "5"}, {"weight": 100}),
        valid=steps({"weight": 5, "hold": "1h30m"}, {"weight": 100}),
    ),
    "a hold of a thousand hours": Case(
        kind=TSPLIT,
        said="must be at most 720h, which is 30 days",
        invalid=steps({"weight": 5, "hold": "1000h"}, {"weight": 100}),
        valid=steps({"weight": 5, "hold": "720h"}, {"weight": 100}),
    ),
    "steps and a schedule": Case(
        kind=TSPLIT,
        said="write either steps: [{weight: 5, hold: 2m}, {weight: 100}] or schedule: {kind: Exponential, every: 2m}",
        invalid={"spec.strategy": {"steps": [{"weight": 100}], "schedule": {"kind": "Linear", "every": "2m"}}},
        valid={"spec.strategy": {"schedule": {"kind": "Linear", "every": "2m"}}},
    ),
    "neither steps nor a schedule": Case(
        kind=TSPLIT,
        said="write either steps: [{weight: 5, hold: 2m}, {weight: 100}] or schedule: {kind: Exponential, every: 2m}",
        invalid={"spec.strategy": {"type": "Canary"}},
        valid={"spec.strategy": {"schedule": {"kind": "Exponential", "every": "30s", "require": "Pass"}}},
    ),
    "a schedule that falls": Case(
        kind=TSPLIT,
        said="from must not be above to; weights rise",
        invalid={"spec.strategy": {"schedule": {"kind": "Linear", "every": "2m", "from": 50, "to": 20}}},
        valid={"spec.strategy": {"schedule": {"kind": "Linear", "every": "2m", "from": 20, "to": 50}}},
    ),
    "a schedule without a unit of time": Case(
        kind=TSPLIT,
        said="write a number with a unit, such as 30s, 5m or 1h30m",
        invalid={"spec.strategy": {"schedule": {"kind": "Linear", "every": "2"}}},
        valid={"spec.strategy": {"schedule": {"kind": "Linear", "every": "2m", "by": 25}}},
    ),
    "what follows, but not when": Case(
        kind=TSPLIT,
        said="onUndecided says what follows after maxDuration; write maxDuration too, such as 2h",
        invalid={"spec.strategy": {"steps": [{"weight": 100}], "onUndecided": "Rollback"}},
        valid={"spec.strategy": {"steps": [{"weight": 100}], "onUndecided": "Rollback", "maxDuration": "2h"}},
    ),
    "no time at all to decide": Case(
        kind=TSPLIT,
        said="must be more than 0s and at most 720h, which is 30 days",
        invalid={"spec.strategy": {"steps": [{"weight": 100}], "maxDuration": "0s"}},
        valid={"spec.strategy": {"steps": [{"weight": 100}], "maxDuration": "90m"}},
    ),
    "a budget of everything": Case(
        kind=DPOL,
        said="write a share between 0.000001 and 0.5, such as 0.05",
        invalid={"spec.falseAlarms": {"perRollout": 1}},
        valid={"spec.falseAlarms": {"perRollout": 0.5}},
    ),
    "against nothing": Case(
        kind=DPOL,
        said="say against what: either against: Stable or limit",
        invalid={"spec.metrics": [{"name": "errors", "source": "ErrorRate"}]},
        valid=limit_of_errors("2%"),
    ),
    "against both": Case(
        kind=DPOL,
        said="say against what: either against: Stable or limit",
        invalid=metric(limit="2%"),
        valid=metric(),
    ),
    "a latency without its quantile": Case(
        kind=DPOL,
        said="a LatencyQuantile needs quantile, such as 0.99; other sources take none",
        invalid={"spec.metrics": [{"name": "slow", "source": "LatencyQuantile", "against": "Stable"}]},
        valid=latency(against="Stable"),
    ),
    "an error rate with a quantile": Case(
        kind=DPOL,
        said="a LatencyQuantile needs quantile, such as 0.99; other sources take none",
        invalid=metric(quantile=0.99),
        valid=metric(),
    ),
    "a latency limit in percent": Case(
        kind=DPOL,
        said="the limit of a LatencyQuantile is a duration, such as 50ms",
        invalid=latency(limit="2%"),
        valid=latency(limit="50ms"),
    ),
    "a latency limit of nothing": Case(
        kind=DPOL,
        said="the limit of a LatencyQuantile must be more than 0s and at most 10m",
        invalid=latency(limit="0ms"),
        valid=latency(limit="10m"),
    ),
    "an error limit as a duration": Case(
        kind=DPOL,
        said="the limit of an ErrorRate is a percentage above 0% and below 100%, such as 2%",
        invalid=limit_of_errors("50ms"),
        valid=limit_of_errors("0.5%"),
    ),
    "an error limit of nothing": Case(
        kind=DPOL,
        said="the limit of an ErrorRate is a percentage above 0% and below 100%, such as 2%",
        invalid=limit_of_errors("0.0%"),
        valid=limit_of_errors("99.9%"),
    ),
    "margins that leave no way to pass": Case(
        kind=DPOL,
        said="acceptRatio must be above tolerateRatio, or acceptDifference above tolerateDifference",
        invalid=metric(tolerateRatio=2, acceptRatio=2, tolerateDifference=0.01, acceptDifference=0.01),
        valid=metric(tolerateRatio=2, acceptRatio=2, tolerateDifference=0.01, acceptDifference=0.02),
    ),
    "a metric's name in capitals": Case(
        kind=DPOL,
        said="use a-z, 0-9 and '-', starting and ending with a letter or digit",
        invalid=metric(name="Errors"),
        valid=metric(name="errors-5xx"),
    ),
    "a quantile in percent": Case(
        kind=DPOL,
        said="write a share between 0.01 and 0.9999, such as 0.99",
        invalid=latency(against="Stable", quantile=99),
        valid=latency(against="Stable", quantile=0.9999),
    ),
    "a tolerated ratio below one": Case(
        kind=DPOL,
        said="write one from 1 to 100, such as 1.2",
        invalid=metric(tolerateRatio=0.9),
        valid=prometheus(tolerateRatio=0.9, acceptRatio=0.5, direction="HigherIsBetter"),
    ),
    "a tolerated difference in percent": Case(
        kind=DPOL,
        said="write a share between 0 and 1, such as 0.001",
        invalid=metric(tolerateDifference=5),
        valid=metric(tolerateDifference=0),
    ),
    "a tolerated ratio of everything": Case(
        kind=DPOL,
        said="write a ratio, such as 1.2, or with HigherIsBetter such as 0.95",
        invalid=metric(tolerateRatio=101),
        valid=metric(tolerateRatio=1),
    ),
    "an accepted ratio of everything": Case(
        kind=DPOL,
        said="write a ratio, such as 2, or with HigherIsBetter such as 0.9",
        invalid=metric(acceptRatio=0),
        valid=metric(acceptRatio=100),
    ),
    "ratios of a mean that leave no way to pass": Case(
        kind=DPOL,
        said="acceptRatio must be farther from 1 than tolerateRatio, such as 0.9 and 0.95",
        invalid=prometheus(tolerateRatio=0.8, acceptRatio=0.9, direction="HigherIsBetter"),
        valid=prometheus(tolerateRatio=0.95, acceptRatio=2, direction="HigherIsBetter"),
    ),
    "a direction of errors": Case(
        kind=DPOL,
        said="direction is for Prometheus and Web",
        invalid=metric(direction="HigherIsBetter"),
        valid=prometheus(direction="HigherIsBetter"),
    ),
    "a Prometheus metric without its query": Case(
        kind=DPOL,
        said="a Prometheus metric needs query, such as sum(rate(orders_total",
        invalid=metric(source="Prometheus"),
        valid=prometheus(),
    ),
    "a query that says the same of every revision": Case(
        kind=DPOL,
        said="the query must hold {{revision}}",
        invalid=prometheus(query="sum(rate(orders_total[5m]))"),
        valid=prometheus(query='sum(rate(orders_total{revision="{{revision}}"}[5m]))'),
    ),
    "a limit of a mean with a unit": Case(
        kind=DPOL,
        said="the limit of a Prometheus or Web metric is a number in the unit of its values, such as 0.8",
        invalid={"spec.metrics": [{"name": "a", "source": "Prometheus", "query": QUERY, "limit": "2%"}]},
        valid={"spec.metrics": [{"name": "a", "source": "Prometheus", "query": QUERY, "limit": "-2.5e-3"}]},
    ),
    "a Job metric without its template": Case(
        kind=DPOL,
        said="a Job metric needs job, such as {cronJob: fraud-smoke}; other sources take none",
        invalid={"spec.metrics": [{"name": "smoke", "source": "Job"}]},
        valid={"spec.metrics": [JOB]},
    ),
    "a Job against a limit": Case(
        kind=DPOL,
        said="a Job passes or fails by its exit: leave out against and limit",
        invalid={"spec.metrics": [{**JOB, "limit": "1"}]},
        valid={"spec.metrics": [JOB]},
    ),
    "a shadow compared without a limit": Case(
        kind=DPOL,
        said="what compares a shadow with the stable needs limit, such as 1% for OutputDisagreement",
        invalid=metric(source="OutputDisagreement"),
        valid=limit_of("OutputDisagreement", "1%"),
    ),
    "a limit of disagreement that is no percentage": Case(
        kind=DPOL,
        said="the limit of an OutputDisagreement is a percentage above 0% and below 100%",
        invalid=limit_of("OutputDisagreement", "0.01"),
        valid=limit_of("OutputDisagreement", "0.1%"),
    ),
    "a limit of scores with a unit": Case(
        kind=DPOL,
        said="the limit of a ScoreDifference is a number from 0",
        invalid=limit_of("ScoreDifference", "2%"),
        valid=limit_of("ScoreDifference", "0.02"),
    ),
    "a limit of delays without a unit": Case(
        kind=DPOL,
        said="the limit of a LatencyDifference is a duration, such as 5ms",
        invalid=limit_of("LatencyDifference", "0.005"),
        valid=limit_of("LatencyDifference", "5ms"),
    ),
    "a Web metric without its place": Case(
        kind=DPOL,
        said="a Web metric needs web, such as {url: https://shop.example.com/stats/{{revision}}, pointer: /sales}",
        invalid=metric(source="Web"),
        valid=web(),
    ),
    "a document that anybody on the way can change": Case(
        kind=DPOL,
        said="write https://host/path with {{revision}} in it",
        invalid=web(url="http://shop.example.com/{{revision}}"),
        valid=web(url="https://shop.example.com/stats?revision={{revision}}"),
    ),
    "a pointer like a path in JavaScript": Case(
        kind=DPOL,
        said="write a JSON pointer, such as /data/0/value",
        invalid=web(pointer="data[0].value"),
        valid=web(pointer=""),
    ),
    "an interval without a unit": Case(
        kind=DPOL,
        said="write a number with a unit, such as 15s, 30s or 1m",
        invalid=prometheus(interval="30"),
        valid=prometheus(interval="1m30s"),
    ),
    "a source that is asked all the time": Case(
        kind=DPOL,
        said="must be at least 5s and at most 1h",
        invalid=prometheus(interval="1s"),
        valid=prometheus(interval="5s"),
    ),
    "an accepted difference in percent": Case(
        kind=DPOL,
        said="write a share between 0 and 1, such as 0.005",
        invalid=metric(acceptDifference=5),
        valid=metric(acceptDifference=1),
    ),
    "a rollback for what hits every revision": Case(
        kind=DPOL,
        said="Rollback and Pause are about a revision: add when: AttributableToRevision",
        invalid=actions({"signals": ["Metrics", "Outputs"], "do": ["Rollback"]}),
        valid=actions({"signals": ["Metrics", "Outputs"], "when": "AttributableToRevision", "do": ["Rollback"]}),
    ),
    "more windows than there are": Case(
        kind=DPOL,
        said="windows must not be above of",
        invalid=actions({"signals": ["Inputs"], "confirm": {"windows": 3, "of": 2}, "do": ["Alert"]}),
        valid=actions({"signals": ["Inputs"], "confirm": {"windows": 2, "of": 2}, "do": ["Alert"]}),
    ),
    "a training that nobody described": Case(
        kind=DPOL,
        said="the action Retrain needs spec.retrain, such as retrain: {cronJob: fraud-train}",
        invalid=actions({"signals": ["Inputs"], "do": ["Retrain"]}),
        valid={**actions({"signals": ["Inputs"], "do": ["Retrain"]}), "spec.retrain": {"cronJob": "fraud-train"}},
    ),
    "a training in two ways": Case(
        kind=DPOL,
        said="say how: either cronJob: NAME",
        invalid={"spec.retrain": {"cronJob": "fraud-train", "webhook": {"url": "https://ci.example.com"}}},
        valid={"spec.retrain": {"webhook": {"url": "https://ci.example.com", "secretName": "ci"}}},
    ),
    "a password in a webhook": Case(
        kind=DPOL,
        said="a user, password or token goes into a Secret that secretName names",
        invalid={"spec.alert": {"webhook": {"url": "https://jane:secret@alerts.example.com/"}}},
        valid={"spec.alert": {"webhook": {"url": "http://alertmanager.monitoring.svc:9093/api/v2/alerts"}}},
    ),
    "a webhook that is a file": Case(
        kind=DPOL,
        said="write http(s)://host/path",
        invalid={"spec.retrain": {"webhook": {"url": "file:///etc/passwd"}}},
        valid={"spec.retrain": {"webhook": {"url": "https://ci.example.com/hooks/train"}}},
    ),
    "a cooldown without a unit": Case(
        kind=DPOL,
        said="write a number with a unit, such as 30m, 24h or 1h30m",
        invalid={"spec.retrain": {"cronJob": "train", "cooldown": "24"}},
        valid={"spec.retrain": {"cronJob": "train", "cooldown": "1h30m"}},
    ),
    "a cooldown of a quarter": Case(
        kind=DPOL,
        said="must be at most 720h, which is 30 days",
        invalid={"spec.retrain": {"cronJob": "train", "cooldown": "2160h"}},
        valid={"spec.retrain": {"cronJob": "train", "cooldown": "720h"}},
    ),
    "a repetition without a unit": Case(
        kind=DPOL,
        said="write a number with a unit, such as 1m, 5m or 1h",
        invalid={"spec.alert": {"webhook": {"url": "https://alerts.example.com", "repeatEvery": "60"}}},
        valid={"spec.alert": {"webhook": {"url": "https://alerts.example.com", "repeatEvery": "1m"}}},
    ),
    "a repetition every second": Case(
        kind=DPOL,
        said="must be at least 10s and at most 24h",
        invalid={"spec.alert": {"webhook": {"url": "https://alerts.example.com", "repeatEvery": "1s"}}},
        valid={"spec.alert": {"webhook": {"url": "https://alerts.example.com", "repeatEvery": "10s"}}},
    ),
    "a mute that is once and again": Case(
        kind=DPOL,
        said="write either {from: …, until: …} or {cron:",
        invalid={"spec.mute": [{"from": "2026-12-24T18:00:00Z", "cron": "0 2 * * 0", "duration": "3h"}]},
        valid={"spec.mute": [{"cron": "0 2 * * 0", "duration": "3h", "timeZone": "Europe/Berlin"}]},
    ),
    "a mute by six fields": Case(
        kind=DPOL,
        said="write five fields: minute hour day-of-month month day-of-week, such as 0 2 * * 0",
        invalid={"spec.mute": [{"cron": "0 0 2 * * 0", "duration": "3h"}]},
        valid={"spec.mute": [{"cron": "30 2 * * 1-5", "duration": "3h"}]},
    ),
    "a mute without a unit": Case(
        kind=DPOL,
        said="write a number with a unit, such as 90m or 3h",
        invalid={"spec.mute": [{"cron": "0 2 * * 0", "duration": "3"}]},
        valid={"spec.mute": [{"cron": "0 2 * * 0", "duration": "90m"}]},
    ),
    "a mute of a fortnight": Case(
        kind=DPOL,
        said="must be at least 1m and at most 168h, which is a week",
        invalid={"spec.mute": [{"cron": "0 2 * * 0", "duration": "336h"}]},
        valid={"spec.mute": [{"cron": "0 2 * * 0", "duration": "168h"}]},
    ),
    "a mute in a zone of no form": Case(
        kind=DPOL,
        said="write the IANA name of a time zone, such as Europe/Berlin or UTC",
        invalid={"spec.mute": [{"cron": "0 2 * * 0", "duration": "3h", "timeZone": "in the north"}]},
        valid={"spec.mute": [{"cron": "0 2 * * 0", "duration": "3h", "timeZone": "UTC"}]},
    ),
    "a mute that ends before it begins": Case(
        kind=DPOL,
        said="from must be before until",
        invalid={"spec.mute": [{"from": "2026-12-24T18:00:00Z", "until": "2026-12-24T18:00:00+01:00"}]},
        valid={"spec.mute": [{"from": "2026-12-24T18:00:00+01:00", "until": "2026-12-24T18:00:00Z"}]},
    ),
    "a policy that watches nothing": Case(
        kind=DPOL,
        said="say what is watched: metrics, drift, dataQuality or performance, such as drift: {inputs: {}",
        invalid={"spec.metrics": []},
        valid=watched(dataQuality={}),
    ),
    "metrics of a ModelDeployment": Case(
        kind=DPOL,
        said="metrics judge the candidates of a TrafficSplit",
        invalid={"spec.target": {"kind": "ModelDeployment", "name": "fraud"}, "spec.drift": {"inputs": {}}},
        valid=watched(target={"kind": "ModelDeployment", "name": "fraud"}, drift={"inputs": {}}),
    ),
    "a target without a name": Case(
        kind=DPOL,
        said="say which: either name: fraud, or selector: {matchLabels: {team: risk}}",
        invalid={"spec.target": {}},
        valid=watched(
            target={"kind": "ModelDeployment", "selector": {"matchLabels": {"team": "risk"}}}, drift={"outputs": {}}
        ),
    ),
    "a selector of splits": Case(
        kind=DPOL,
        said="a selector is for many models: write kind: ModelDeployment",
        invalid={"spec.target": {"selector": {"matchLabels": {"team": "risk"}}}},
        valid={"spec.target": {"name": "fraud"}},
    ),
    "more false alarms than looks": Case(
        kind=DPOL,
        said="write a number of alarms between 0.0001 and 100000, such as 1",
        invalid={"spec.falseAlarms": {"per30Days": 0}},
        valid={"spec.falseAlarms": {"per30Days": 0.5}},
    ),
    "drift of nothing": Case(
        kind=DPOL,
        said="say what is watched, such as drift: {inputs: {}, outputs: {}, correlation: true, contribution: {}}",
        invalid={"spec.drift": {}},
        valid={"spec.drift": {"correlation": True}},
    ),
    "a PSI in percent": Case(
        kind=DPOL,
        said="write a PSI from 0 to 10, such as 0.1",
        invalid={"spec.drift": {"inputs": {"psiMax": 20}}},
        valid={"spec.drift": {"inputs": {"psiMax": 0}, "outputs": {"psiMax": 10}}},
    ),
    "a link that is lost by more than all of it": Case(
        kind=DPOL,
        said="write a share from 0 to below 1, such as 0.1",
        invalid={"spec.drift": {"contribution": {"lostMin": 1}}},
        valid={"spec.drift": {"contribution": {"lostMin": 0.99}}},
    ),
    "an order of contributions that nothing reaches": Case(
        kind=DPOL,
        said="write a number between 0 and 1, such as 0.9",
        invalid={"spec.drift": {"contribution": {"nDCGMin": 1}}},
        valid={"spec.drift": {"contribution": {"nDCGMin": 0.9}}},
    ),
    "a distance in percent": Case(
        kind=DPOL,
        said="write a distance from 0 to below 1, such as 0.01",
        invalid={"spec.drift": {"mmd": {"distanceMax": 2}}},
        valid={"spec.drift": {"mmd": {}}},
    ),
    "a model that one window switches off": Case(
        kind=DPOL,
        said="Retire needs confirm in its entry of actions, such as confirm: {windows: 3, of: 3}",
        invalid={"spec.actions": [{"signals": ["Inputs"], "do": ["Retire"]}]},
        valid={"spec.actions": [{"signals": ["Inputs"], "do": ["Retire"], "confirm": {"windows": 3, "of": 3}}]},
    ),
    "an update of what no Job publishes": Case(
        kind=DPOL,
        said="update reads what a Job has published: write cronJob: NAME, or leave update out",
        invalid={"spec.retrain": {"webhook": {"url": "https://a.example"}, "update": {"modelDeployment": "fraud"}}},
        valid={"spec.retrain": {"cronJob": "train", "update": {"modelDeployment": "fraud"}}},
    ),
    "mmd against live rows": Case(
        kind=DPOL,
        said="mmd needs reference: Profile",
        invalid={"spec.drift": {"mmd": {}, "reference": "FirstRows", "firstRows": {"rows": 5000}}},
        valid={"spec.drift": {"mmd": {}}},
    ),
    "a curve of two models": Case(
        kind=DPOL,
        said="against: Stable compares how often both are right: write metric: Accuracy, or min for ROCAUC",
        invalid={"spec.performance": {"labelled": {"metric": "ROCAUC", "min": 0.9, "against": "Stable"}}},
        valid={"spec.performance": {"labelled": {"against": "Stable", "tolerateDifference": 0.01}}},
    ),
    "a drop in percent": Case(
        kind=DPOL,
        said="write a share from 0 to below 1, such as 0.02",
        invalid={"spec.performance": {"labelled": {"against": "Stable", "tolerateDifference": 2}}},
        valid={"spec.performance": {"labelled": {"against": "Stable", "tolerateDifference": 0}}},
    ),
    "missing values in percent": Case(
        kind=DPOL,
        said="write a share from 0 to below 1, such as 0.02",
        invalid={"spec.dataQuality": {"missingMax": 2}},
        valid={"spec.dataQuality": {"missingMax": 0}},
    ),
    "infinite values in percent": Case(
        kind=DPOL,
        said="write a share from 0 to below 1, such as 0.001",
        invalid={"spec.dataQuality": {"invalidMax": -0.1}},
        valid={"spec.dataQuality": {"invalidMax": 0.5}},
    ),
    "unseen categories in percent": Case(
        kind=DPOL,
        said="write a share from 0 to below 1, such as 0.01",
        invalid={"spec.dataQuality": {"unseenCategoryMax": 5}},
        valid={"spec.dataQuality": {"unseenCategoryMax": 0.05, "outOfRangeMax": 0.05}},
    ),
    "performance of nothing": Case(
        kind=DPOL,
        said="say of what: estimated: {min: 0.9} from the model's probabilities",
        invalid={"spec.performance": {}},
        valid=watched(performance={"estimated": {"min": 0.9}}),
    ),
    "an estimate in percent": Case(
        kind=DPOL,
        said="write a share between 0 and 1, such as 0.9",
        invalid={"spec.performance": {"estimated": {"min": 90}}},
        valid={"spec.performance": {"estimated": {"min": 0.9}, "labelled": {"min": 0.88}}},
    ),
    "labelled accuracy in percent": Case(
        kind=DPOL,
        said="write a share between 0 and 1, such as 0.88",
        invalid={"spec.performance": {"labelled": {"min": 88}}},
        valid={"spec.performance": {"labelled": {"min": 0.88}}},
    ),
    "accuracy at most": Case(
        kind=DPOL,
        said="Accuracy and ROCAUC need min, such as {min: 0.88}; MeanAbsoluteError and RootMeanSquaredError need max",
        invalid={"spec.performance": {"labelled": {"max": 0.88}}},
        valid={"spec.performance": {"labelled": {"metric": "MeanAbsoluteError", "max": 12.5}}},
    ),
    "no error at all": Case(
        kind=DPOL,
        said="write an error above 0, such as 12.5",
        invalid={"spec.performance": {"labelled": {"metric": "MeanAbsoluteError", "max": 0}}},
        valid={"spec.performance": {"labelled": {"metric": "MeanAbsoluteError", "max": 0.001}}},
    ),
    "a volume that may not change at all": Case(
        kind=DPOL,
        said="write how many times, from 1.1 to 1000, such as 5",
        invalid={"spec.dataQuality": {"volumeChangeMax": 1}},
        valid={"spec.dataQuality": {"volumeChangeMax": 1.1}},
    ),
    "a silence without a unit": Case(
        kind=DPOL,
        said="write a number with a unit, such as 10m or 2h",
        invalid={"spec.dataQuality": {"silenceMax": "10"}},
        valid={"spec.dataQuality": {"silenceMax": "10m"}},
    ),
    "first rows that nobody counted": Case(
        kind=DPOL,
        said="reference: FirstRows needs firstRows, such as firstRows: {rows: 50000}",
        invalid={"spec.drift": {"reference": "FirstRows", "inputs": {}}},
        valid={"spec.drift": {"reference": "FirstRows", "firstRows": {}, "inputs": {}}},
    ),
    "a window for another reference": Case(
        kind=DPOL,
        said="reference: Window needs window, such as",
        invalid={
            "spec.drift": {
                "window": {"from": "2026-12-01T00:00:00Z", "until": "2026-12-08T00:00:00Z"},
                "inputs": {},
            }
        },
        valid={
            "spec.drift": {
                "reference": "Window",
                "window": {"from": "2026-12-01T00:00:00Z", "until": "2026-12-08T00:00:00Z"},
                "inputs": {},
            }
        },
    ),
    "a window that ends before it begins": Case(
        kind=DPOL,
        said="from must be before until",
        invalid={
            "spec.drift": {
                "reference": "Window",
                "window": {"from": "2026-12-08T00:00:00Z", "until": "2026-12-01T00:00:00Z"},
                "inputs": {},
            }
        },
        valid={
            "spec.drift": {
                "reference": "Window",
                "window": {"from": "2026-12-01T00:00:00+01:00", "until": "2026-12-08T00:00:00+01:00"},
                "inputs": {},
            }
        },
    ),
    "a stable revision beside nobody": Case(
        kind=DPOL,
        said="reference: Stable compares candidates with the stable revision of a TrafficSplit",
        invalid={
            "spec.target": {"kind": "ModelDeployment", "name": "fraud"},
            "spec.metrics": [],
            "spec.drift": {"reference": "Stable", "outputs": {}},
        },
        valid={"spec.drift": {"reference": "Stable", "outputs": {}}},
    ),
    "segments of nothing": Case(
        kind=DPOL,
        said="segmentBy parts what drift and dataQuality watch: write one of them",
        invalid={"spec.segmentBy": {"input": "country", "values": ["de"]}},
        valid={"spec.segmentBy": {"input": "country", "values": ["de"]}, "spec.drift": {"inputs": {}}},
    ),
    "a segment by the name of all others": Case(
        kind=DPOL,
        said="other is what rows of all other values are called: leave it out",
        invalid={"spec.segmentBy": {"input": "country", "values": ["de", "other"]}, "spec.drift": {"inputs": {}}},
        valid={"spec.segmentBy": {"input": "country", "values": ["de", "at"]}, "spec.drift": {"inputs": {}}},
    ),
    "a silence of a second": Case(
        kind=DPOL,
        said="must be at least 10s and at most 720h",
        invalid={"spec.dataQuality": {"silenceMax": "1s"}},
        valid={"spec.dataQuality": {"silenceMax": "720h"}},
    ),
}


def manifest(kind: str, change: Change, namespace: str) -> dict[str, Any]:
    """Return a valid object with some fields replaced."""
    built: dict[str, Any] = {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": KINDS[kind],
        "metadata": {"name": "fraud", "namespace": namespace},
        "spec": copy.deepcopy(SPECS[kind]),
    }
    for path, value in change.items():
        *parents, last = path.split(".")
        inside = built
        for parent in parents:
            inside = inside[parent]
        inside[last] = value
    return built


async def dry_run(people: People, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return what the API server would store."""
    where = f"/apis/penstock.dev/v1alpha1/namespaces/{body['metadata']['namespace']}/{kind}"
    stored = await people.client.request("create", where, resource=kind, body=body, query={"dryRun": "All"})
    assert stored is not None
    return stored


@pytest.mark.controlplane
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_rule_refuses_with_the_fix_and_accepts_the_twin(case: Case, people: People) -> None:
    with pytest.raises(RequestRejected) as refused:
        await dry_run(people, case.kind, manifest(case.kind, case.invalid, "default"))
    assert case.said in str(refused.value)
    await dry_run(people, case.kind, manifest(case.kind, case.valid, "default"))


def test_every_rule_has_a_case() -> None:
    said = [(case.kind, case.said) for case in CASES.values()]
    uncovered = [
        (kind, rule["message"])
        for kind in KINDS
        for _, node in nodes(schema_of(kind))
        for rule in node.get("x-kubernetes-validations", ())
        if not any(kind == of and words in rule["message"] for of, words in said)
    ]
    assert uncovered == []


@pytest.mark.controlplane
@pytest.mark.parametrize("kind", KINDS)
async def test_the_api_server_fills_in_the_defaults_that_the_operator_assumes(kind: str, people: People) -> None:
    stored = await dry_run(people, kind, manifest(kind, {}, "default"))
    assert stored["spec"] == defaulted(schema_of(kind)["properties"]["spec"], SPECS[kind])
    assert stored["status"] == {"observedGeneration": -1}
    types: dict[str, type[ApiModel]] = {
        "modeldeployments": ModelDeploymentSpec,
        "trafficsplits": TrafficSplitSpec,
        "driftpolicies": DriftPolicySpec,
    }
    assert types[kind].parse(stored["spec"]) == types[kind].parse(SPECS[kind])


@pytest.mark.controlplane
@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        pytest.param(MDEP, {"spec.replicas": -1}, "spec.replicas", id="fewer pods than none"),
        pytest.param(TSPLIT, steps({"weight": 101}), "spec.strategy.steps[0].weight", id="more than everything"),
        pytest.param(TSPLIT, {"spec.strategy.steps": []}, "spec.strategy.steps", id="a rollout without steps"),
        pytest.param(DPOL, metric(source="Oracle"), "spec.metrics[0].source", id="a source of a later version"),
        pytest.param(
            DPOL,
            {"spec.metrics": SPECS[DPOL]["metrics"] * 2},
            "spec.metrics[1]",
            id="two metrics of one name",
        ),
    ],
)
async def test_a_value_out_of_bounds_is_refused_by_the_name_of_its_field(
    kind: str, change: Change, said: str, people: People
) -> None:
    with pytest.raises(RequestRejected) as refused:
        await dry_run(people, kind, manifest(kind, change, "default"))
    assert said in str(refused.value)
