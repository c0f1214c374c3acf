"""Check an installation from inside: the API server serves the three kinds, and the operator is ready."""

import json
import os
import pathlib
import ssl
import sys
import time
import urllib.error
import urllib.request

ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
KINDS = {"modeldeployments", "trafficsplits", "driftpolicies"}
PATIENCE_SECONDS = 60


def served_kinds() -> set[str]:
    """Return the resources that the API server serves under penstock.dev/v1alpha1."""
    request = urllib.request.Request(
        "https://kubernetes.default.svc/apis/penstock.dev/v1alpha1",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    # Cluster authorities are often made without key identifiers, which Python 3.13 asks for otherwise.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310
        return {resource["name"] for resource in json.load(answer)["resources"]}


def check() -> None:
    """Raise OSError with what is wrong."""
    try:
        missing = KINDS - served_kinds()
    except urllib.error.HTTPError as error:
        raise OSError(f"the API server does not serve penstock.dev/v1alpha1 ({error}); are the CRDs there?") from error
    if missing:
        raise OSError(f"the API server does not serve {', '.join(sorted(missing))}; are the CRDs there?")
    with urllib.request.urlopen(os.environ["READY_URL"], timeout=5) as answer:  # noqa: S310
        answer.read()


deadline = time.monotonic() + PATIENCE_SECONDS
while True:
    try:
        check()
    except OSError as problem:
        print(f"not yet: {problem}", flush=True)
        if time.monotonic() > deadline:
            sys.exit(1)
        time.sleep(2)
    else:
        print("the API server serves the three kinds and the operator is ready")
        sys.exit(0)
