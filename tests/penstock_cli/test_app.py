"""The plugin's commands, with a cluster in memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.penstock_cli.samples import FakeCluster, condition, shop
from typer.testing import CliRunner, Result

from penstock_cli import __main__ as plugin
from penstock_cli.command import ANNOTATION
from penstock_operator.api.v1alpha1.traffic_split import COMMAND_ANNOTATION
from penstock_operator.core.acknowledgement import answer
from penstock_operator.core.action_state import ActionState
from penstock_operator.core.commands import VERBS, parse_command

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the plugin against a cluster; the clock stands still between two looks at it."""

    def call(cluster: FakeCluster, *arguments: str) -> Result:
        monkeypatch.setattr(plugin, "_connect", lambda *_: cluster)
        return CliRunner().invoke(plugin.app, list(arguments))

    return call


def test_status_without_a_name_shows_every_endpoint(run: Run) -> None:
    result = run(shop(), "status")
    assert result.exit_code == 0
    assert "fraud  Ready" in result.output


def test_a_long_message_stays_on_its_line_in_a_pipe(run: Run) -> None:
    message = "word " * 100
    shown = run(shop(conditions=[condition("False", "RouterRejected", message)]), "status").output
    (line,) = (line for line in shown.splitlines() if "RouterRejected" in line)
    assert line.rstrip().endswith(message.rstrip())
    assert max(len(line) for line in shown.splitlines()) < 700  # and is not padded either


def test_status_in_json_can_be_read_by_a_machine(run: Run) -> None:
    (endpoint,) = json.loads(run(shop(), "status", "fraud", "-o", "json").output)
    assert endpoint["rollout"]["phase"] == "Progressing"
    assert {entry["name"]: entry["weight"] for entry in endpoint["revisions"]}["fraud-d03e88aa"] == 25


def test_an_unknown_name_is_answered_with_the_names_there_are(run: Run) -> None:
    result = run(shop(), "status", "fruad")
    assert result.exit_code == 1
    assert "no endpoint named 'fruad' in namespace shop; there are: fraud, fraud-guard" in result.stderr


def test_a_command_to_an_unknown_split_is_not_given(run: Run) -> None:
    cluster = shop()
    result = run(cluster, "promote", "fruad")
    assert result.exit_code == 1
    assert "there are: fraud" in result.stderr
    assert cluster.commands == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_the_operator_is_given_as_the_operator_reads_it(run: Run, verb: str) -> None:
    cluster = shop()
    result = run(cluster, verb, "fraud")
    assert result.exit_code == 0, result.output
    command = parse_command(json.dumps(cluster.commands[0]))
    assert (command.verb, command.by, command.full, command.revision) == (verb, "jane@example.com", False, None)
    assert len(command.id) == 16
    assert result.output == f"fraud: {verb}: done\n"


def test_full_and_revision_reach_the_operator(run: Run) -> None:
    cluster = shop()
    run(cluster, "promote", "fraud", "--full")
    run(cluster, "retry", "fraud", "fraud-d03e88aa")
    assert parse_command(json.dumps(cluster.commands[0])).full
    assert parse_command(json.dumps(cluster.commands[1])).revision == "fraud-d03e88aa"


def test_an_acknowledgement_goes_to_the_policy_as_the_operator_reads_it(run: Run) -> None:
    cluster = shop()
    result = run(cluster, "ack", "fraud-guard", "inputs/amount")
    assert result.exit_code == 0, result.output
    (command,) = cluster.commands
    assert (command["verb"], command["alarm"], command["by"]) == ("ack", "inputs/amount", "jane@example.com")
    answered = answer(json.dumps(command), ActionState(), now=0.0)
    assert answered.state.command["id"] == command["id"]


def test_two_commands_never_have_the_same_id(run: Run) -> None:
    cluster = shop()
    run(cluster, "pause", "fraud")
    run(cluster, "pause", "fraud")
    assert len({command["id"] for command in cluster.commands}) == 2


def test_a_refused_command_ends_with_exit_code_1_and_the_reason(run: Run) -> None:
    cluster = shop()
    cluster._operator = lambda _: "Refused: the split is Idle; nothing is paused"
    result = run(cluster, "resume", "fraud")
    assert result.exit_code == 1
    assert "Refused: the split is Idle; nothing is paused" in result.stderr


def test_an_operator_that_does_not_answer_is_reported(run: Run) -> None:
    cluster = shop()
    cluster._operator = lambda _: None
    result = run(cluster, "pause", "fraud", "--timeout", "0.1")
    assert result.exit_code == 1
    assert "no answer within 0.1s" in result.stderr
    assert "is it running?" in result.stderr


def test_a_split_that_may_not_act_says_why_it_takes_no_command(run: Run) -> None:
    cluster = shop(conditions=[condition("True", "EndpointTaken", "Service fraud is not ours", type_="Stalled")])
    cluster._operator = lambda _: None
    result = run(cluster, "pause", "fraud", "--timeout", "0.1")
    assert "the split may not act: EndpointTaken: Service fraud is not ours" in result.stderr


def test_no_wait_gives_the_command_and_asks_nothing(run: Run) -> None:
    cluster = shop()
    cluster._operator = lambda _: None
    result = run(cluster, "pause", "fraud", "--no-wait")
    assert (result.exit_code, result.output) == (0, "fraud: pause sent\n")


def test_an_answer_to_another_command_is_not_taken_for_ours(run: Run) -> None:
    old: dict[str, Any] = {"id": "old", "verb": "pause", "by": "joe", "outcome": "held at 25%"}
    cluster = shop(lastCommand=old)
    cluster._operator = lambda _: None
    assert run(cluster, "pause", "fraud", "--timeout", "0.1").exit_code == 1


def test_version_names_the_plugin_and_the_api(run: Run) -> None:
    lines = run(shop(), "version").output.splitlines()
    assert lines[0].startswith("kubectl-penstock ")
    assert lines[1] == "penstock.dev v1alpha1"


def test_the_annotation_is_the_one_that_the_operator_watches() -> None:
    assert ANNOTATION == COMMAND_ANNOTATION


def test_help_loads_neither_the_kubernetes_client_nor_pydantic() -> None:
    code = (
        "import sys, penstock_cli.__main__; print(sorted({'kubernetes', 'pydantic', 'rich.tree'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["status", "-n", "shop"], ["status", "-n", "shop"]),
        (["-n", "shop", "--context=c", "status", "fraud"], ["status", "fraud", "-n", "shop", "--context=c"]),
        (["--help"], ["--help"]),
        (["-n"], ["-n"]),
        ([], []),
    ],
)
def test_options_of_kubectl_may_stand_before_the_verb(written: list[str], meant: list[str]) -> None:
    assert plugin.verb_first(written) == meant
