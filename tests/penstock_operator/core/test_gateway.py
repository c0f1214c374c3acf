"""What a Gateway's controller says of a route, read back as an acknowledgement."""

from typing import Any

import pytest

from penstock_operator.core.gateway import Attachment, GatewayTarget, Parent, acknowledgement_of
from penstock_operator.core.objects import Manifest
from penstock_operator.core.routes import Acknowledgement

EDGE = Parent(namespace="shop", name="edge")
TLS = Parent(namespace="infra", name="tls", section="https")
GENERATION = 7


def condition(type_: str, status: str, reason: str = "Because", generation: int | None = GENERATION) -> dict[str, Any]:
    told = {"type": type_, "status": status, "reason": reason, "message": f"{type_} is {status}"}
    return told if generation is None else {**told, "observedGeneration": generation}


WELL = [condition("Accepted", "True"), condition("ResolvedRefs", "True")]


def route(*parents: tuple[dict[str, Any], list[dict[str, Any]]]) -> Manifest:
    told = [{"parentRef": reference, "controllerName": "c", "conditions": said} for reference, said in parents]
    return {"metadata": {"namespace": "shop", "generation": GENERATION}, "status": {"parents": told}}


def gateway(programmed: str = "True", reason: str = "Programmed", generation: int = 1) -> Manifest:
    told = condition("Programmed", programmed, reason, generation)
    return {"metadata": {"generation": 1}, "status": {"conditions": [told]}}


def edge(said: list[dict[str, Any]], of_edge: Manifest | None = None, *, known: bool = True) -> Acknowledgement:
    reference = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
    gateways = {EDGE: of_edge or gateway()} if known else {}
    return acknowledgement_of(route((reference, said)), GatewayTarget(parents=(EDGE,)), Attachment(gateways=gateways))


def test_accepted_and_resolved_of_this_generation_at_a_programmed_gateway_is_run() -> None:
    told = edge(WELL)
    assert told.complete
    assert told.acknowledged == {"Gateway shop/edge"}
    assert told.version == "7"


@pytest.mark.parametrize(
    "said",
    [
        [],
        WELL[:1],
        WELL[1:],
        [condition("Accepted", "True", generation=6), WELL[1]],
        [WELL[0], condition("ResolvedRefs", "True", generation=None)],
        [condition("Accepted", "Unknown"), WELL[1]],
        [condition("Accepted", "False", "Pending"), WELL[1]],
        # It was refused as it was before, and nobody has looked at what it is now.
        [
            condition("Accepted", "False", "NoMatchingParent", generation=6),
            condition("ResolvedRefs", "True", generation=6),
        ],
    ],
)
def test_what_is_not_said_of_this_generation_yet_is_missing(said: list[dict[str, Any]]) -> None:
    told = edge(said)
    assert told.missing == {"Gateway shop/edge"}
    assert not told.rejected


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            [condition("Accepted", "False", "NotAllowedByListeners"), WELL[1]],
            "NotAllowedByListeners: Accepted is False",
        ),
        ([WELL[0], condition("ResolvedRefs", "False", "BackendNotFound")], "BackendNotFound: ResolvedRefs is False"),
        (
            [*WELL, condition("PartiallyInvalid", "True", "UnsupportedValue")],
            "UnsupportedValue: PartiallyInvalid is True",
        ),
    ],
)
def test_a_refusal_is_told_in_the_controllers_words(said: list[dict[str, Any]], words: str) -> None:
    assert edge(said).rejected == {"Gateway shop/edge": words}


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (gateway("False", "AddressNotAssigned"), "rejected"),
        (gateway("False", "Pending"), "missing"),
        (gateway("Unknown"), "missing"),
        (gateway("True", generation=0), "missing"),
        ({"metadata": {"generation": 1}}, "missing"),
    ],
)
def test_a_gateway_that_is_not_programmed_runs_nothing(found: Manifest, outcome: str) -> None:
    told = edge(WELL, found)
    assert not told.complete
    assert list(getattr(told, outcome)) == ["Gateway shop/edge"]


def test_a_gateway_that_may_not_be_read_is_trusted_by_the_routes_own_conditions() -> None:
    assert edge(WELL, known=False).complete


def test_a_gateway_that_does_not_exist_is_a_refusal_that_names_the_field() -> None:
    told = acknowledgement_of(route(), GatewayTarget(parents=(EDGE,)), Attachment(gateways={EDGE: None}))
    assert told.rejected == {
        "Gateway shop/edge": "there is no such Gateway; correct spec.gateway.parentRefs or create it"
    }


def test_each_parent_speaks_for_itself_and_all_must_run_the_route() -> None:
    said = route(
        ({"name": "edge"}, WELL),
        ({"name": "tls", "namespace": "infra", "sectionName": "http"}, WELL),
    )
    told = acknowledgement_of(
        said, GatewayTarget(parents=(EDGE, TLS)), Attachment(gateways={EDGE: gateway(), TLS: gateway()})
    )
    assert told.acknowledged == {"Gateway shop/edge"}
    assert told.missing == {"Gateway infra/tls, listener https"}
    assert not told.complete


@pytest.mark.parametrize("status", [None, {}, {"parents": None}, {"parents": ["x"]}, {"parents": [{"parentRef": "x"}]}])
def test_a_status_that_makes_no_sense_is_no_acknowledgement(status: Any) -> None:
    strange = {"metadata": {"namespace": "shop", "generation": 1}, "status": status}
    told = acknowledgement_of(strange, GatewayTarget(parents=(EDGE,)), Attachment(gateways={EDGE: gateway()}))
    assert told.missing == {"Gateway shop/edge"}
