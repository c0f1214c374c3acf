"""Whose an object is: owner references, and the check that keeps us from touching what is not ours."""

from typing import Any

from penstock_operator.core.objects import Manifest


def controller_reference(owner: Manifest) -> dict[str, Any]:
    """Return the ownerReference that makes ``owner`` the controller of a child.

    blockOwnerDeletion stays false: deleting an owner never waits for anything.
    """
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def shared_reference(owner: Manifest) -> dict[str, Any]:
    """Return an ownerReference of one among several owners; the child goes when the last of them is gone."""
    return {**controller_reference(owner), "controller": False}


def owner_uids(manifest: Manifest) -> frozenset[str]:
    """Return the uids of everything that owns an object."""
    return frozenset(reference["uid"] for reference in manifest["metadata"].get("ownerReferences", ()))


def shares_an_owner(live: Manifest, desired: Manifest) -> bool:
    """Return whether a live object belongs to one of the owners that the desired one names."""
    return bool(owner_uids(live) & owner_uids(desired))
