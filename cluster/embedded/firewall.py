"""The cluster's chains in iptables: ours to add, and to find and delete again."""

import re
import shutil
from collections.abc import Iterator

from . import shell
from .control_plane import POD_CIDR
from .errors import ClusterError
from .network import BRIDGE

MASQUERADE_CHAIN = "PENSTOCK-MASQUERADE"
FORWARD_CHAIN = "PENSTOCK-FORWARD"
# KUBE-: kube-proxy and kubelet; CNI-: the portmap plugin, for a pod's hostPort.
OURS = re.compile(r"^(KUBE-|CNI-|PENSTOCK-)")
FAMILIES = {"iptables": "ip", "ip6tables": "ip6"}  # and the names that nft has for them

# Pods leave under the machine's address; a machine whose policy is to drop what it forwards lets theirs through.
_RULES = f"""\
*nat
:{MASQUERADE_CHAIN} - [0:0]
-A {MASQUERADE_CHAIN} -s {POD_CIDR} ! -d {POD_CIDR} -j MASQUERADE
COMMIT
*filter
:{FORWARD_CHAIN} - [0:0]
-A {FORWARD_CHAIN} -i {BRIDGE} -j ACCEPT
-A {FORWARD_CHAIN} -o {BRIDGE} -j ACCEPT
COMMIT
"""
_JUMPS = (
    ("nat", "POSTROUTING", MASQUERADE_CHAIN),
    ("filter", "FORWARD", FORWARD_CHAIN),
)


def refuse_foreign() -> None:
    """Raise ClusterError where another Kubernetes' rules are on this machine: two cannot share them."""
    for family in FAMILIES:
        chains = sorted({chain for _, chain in chains_in(_saved(family)) if chain.startswith("KUBE-")})
        if chains:
            raise ClusterError(
                f"another Kubernetes keeps its rules on this machine ({family}: {', '.join(chains[:3])}, …): stop it "
                "and remove its rules, or use CLUSTER=current"
            )


def prepare() -> None:
    """Add our two chains and the jumps to them; a second call changes nothing."""
    shell.run(["iptables-restore", "--noflush"], stdin=_RULES)
    for table, chain, target in _JUMPS:
        rule = ["-t", table, "{}", chain, "-j", target]
        if not shell.succeeds(["iptables", "-w", *(word.format("-C") for word in rule)]):
            shell.run(["iptables", "-w", *(word.format("-A") for word in rule)])


def present() -> list[str]:
    """Return the tables, and the chains with names like ours, that are there now: ``family/table[/chain]``."""
    found: list[str] = []
    for family in FAMILIES:
        saved = _saved(family)
        found += [f"{family}/{table}" for table, _ in _tables(saved)]
        found += [f"{family}/{table}/{chain}" for table, chain in chains_in(saved)]
    return found


def remove(*, keep: frozenset[str]) -> None:
    """Delete our chains, the rules elsewhere that jump to them, and tables that are empty then; not those in ``keep``.

    ``keep`` is what ``present`` returned before the first ``up``.
    """
    for family, nft_family in FAMILIES.items():
        kept_chains = frozenset(name.rpartition("/")[2] for name in keep if name.startswith(f"{family}/"))
        if script := removal(_saved(family), keep=kept_chains):
            shell.run([f"{family}-restore", "--noflush"], stdin=script)
        for table, lines in _tables(_saved(family)):
            # iptables never deletes the tables that it makes on the way; an empty one with no policy is without effect.
            is_empty = all(line.split()[1:2] == ["ACCEPT"] and line.startswith(":") for line in lines)
            if is_empty and f"{family}/{table}" not in keep:
                shell.succeeds(["nft", "delete", "table", nft_family, table])


def removal(saved: str, *, keep: frozenset[str] = frozenset()) -> str:
    r"""Return the input for ``iptables-restore`` that takes our chains out of ``saved``; empty where there are none.

    Chains in ``keep`` are somebody else's, in spite of their names.

    >>> print(removal("*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE-X - [0:0]\n-A OUTPUT -j KUBE-X\n-A OUTPUT -j MINE\nCOMMIT\n"))
    *nat
    :KUBE-X - [0:0]
    -D OUTPUT -j KUBE-X
    -X KUBE-X
    COMMIT
    <BLANKLINE>
    """
    script: list[str] = []
    for table, lines in _tables(saved):
        named = [line[1:].split()[0] for line in lines if line.startswith(":")]
        chains = [chain for chain in named if OURS.match(chain) and chain not in keep]
        jumps = [f"-D{line[2:]}" for line in lines if line.startswith("-A") and _jumps_in(line, frozenset(chains))]
        if chains:
            # Naming a chain empties it; after that none of them refers to another, and all can be deleted.
            script += [f"*{table}", *(f":{chain} - [0:0]" for chain in chains), *jumps]
            script += [*(f"-X {chain}" for chain in chains), "COMMIT"]
    return "".join(f"{line}\n" for line in script)


def chains_in(saved: str) -> list[tuple[str, str]]:
    """Return (table, chain) of every chain of ours in the output of ``iptables-save``."""
    return [
        (table, line[1:].split()[0])
        for table, lines in _tables(saved)
        for line in lines
        if line.startswith(":") and OURS.match(line[1:])
    ]


def _jumps_in(rule: str, chains: frozenset[str]) -> bool:
    """Tell whether ``rule`` is in a chain outside ``chains`` and jumps to one of them."""
    words = rule.split()
    target = words[words.index("-j") + 1] if "-j" in words else ""
    return words[1] not in chains and target in chains


def _tables(saved: str) -> Iterator[tuple[str, list[str]]]:
    table, lines = "", list[str]()
    for line in saved.splitlines():
        if line.startswith("*"):
            table, lines = line[1:], []
        elif line == "COMMIT":
            yield table, lines
        elif not line.startswith("#"):
            lines.append(line)


def _saved(family: str) -> str:
    command = f"{family}-save"
    if shutil.which(command) is None:
        return ""
    # A kernel without IPv6 has no ip6tables: nothing of ours can be there.
    try:
        return shell.run([command])
    except ClusterError:
        if family == "iptables":
            raise
        return ""
