"""How the keys of a Secret become access to an object store."""

import json
from typing import Any

from obstore.store import AzureStore, GCSStore, S3Store

from penstock_contract.termination import Reason
from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.location import StoredObject
from penstock_server.fetch.object_source import ObjectSource, StoreAccess

_DEFAULT_REGION = "us-east-1"
_GOOGLE_KEYS = ("GOOGLE_SERVICE_ACCOUNT_KEY", "gcloud-application-credentials.json")


def object_source(location: StoredObject, credentials: Credentials, *, timeout_seconds: float) -> ObjectSource:
    """Return the source of an object; raise FetchFailed if the Secret lacks what the store needs."""
    access = store_access(location.scheme, location.bucket, credentials, timeout_seconds=timeout_seconds)
    shown = f"{location.scheme}://{location.bucket}/{location.key}"
    return ObjectSource(access, location.key, shown=shown)


def store_access(scheme: str, bucket: str, credentials: Credentials, *, timeout_seconds: float) -> StoreAccess:
    """Return how to reach a bucket (s3, gs) or container (az); raise FetchFailed if the Secret lacks what it needs."""
    access = {"s3": _amazon, "gs": _google, "az": _azure}[scheme]
    return access(bucket, credentials, timeout_seconds)


def _amazon(bucket: str, credentials: Credentials, timeout_seconds: float) -> StoreAccess:
    endpoint = credentials.get("AWS_ENDPOINT_URL")
    config: dict[str, Any] = {"region": credentials.get("AWS_REGION") or _DEFAULT_REGION}
    if endpoint:
        # Stores other than Amazon's rarely have a DNS name per bucket.
        config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    signed = bool(credentials.get("AWS_ACCESS_KEY_ID"))
    if signed:
        config |= {
            "access_key_id": credentials.get("AWS_ACCESS_KEY_ID"),
            "secret_access_key": credentials.get("AWS_SECRET_ACCESS_KEY"),
        }
        if credentials.get("AWS_SESSION_TOKEN"):
            config["session_token"] = credentials.get("AWS_SESSION_TOKEN")
    return StoreAccess(
        kind=S3Store,
        bucket=bucket,
        config=config,
        timeout_seconds=timeout_seconds,
        endpoint=endpoint,
        endpoint_name="AWS_ENDPOINT_URL",
        signed=signed,
        redact=credentials.redact,
    )


def _google(bucket: str, credentials: Credentials, timeout_seconds: float) -> StoreAccess:
    name = next((one for one in _GOOGLE_KEYS if credentials.get(one)), "")
    endpoint = credentials.get("GOOGLE_ENDPOINT_URL")
    config: dict[str, Any] = {}
    if name:
        key = _service_account(name, credentials.get(name))
        endpoint = endpoint or str(key.get("gcs_base_url") or "")
        config["service_account_key"] = json.dumps(key)
    if endpoint:
        config["base_url"] = endpoint
    return StoreAccess(
        kind=GCSStore,
        bucket=bucket,
        config=config,
        timeout_seconds=timeout_seconds,
        endpoint=endpoint,
        endpoint_name="GOOGLE_ENDPOINT_URL",
        signed=bool(name),
        redact=credentials.redact,
    )


def _service_account(name: str, text: str) -> dict[str, Any]:
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict) or "private_key" not in key:
        raise FetchFailed(
            Reason.INVALID_CONFIGURATION, f"{name} of the Secret must be the JSON key file of a Google service account"
        )
    return key


def _azure(container: str, credentials: Credentials, timeout_seconds: float) -> StoreAccess:
    account = credentials.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        raise FetchFailed(
            Reason.INVALID_CONFIGURATION,
            "az:// needs AZURE_STORAGE_ACCOUNT_NAME in the Secret of spec.model.credentials; a public blob can be "
            "fetched by its https:// URL",
        )
    endpoint = credentials.get("AZURE_ENDPOINT_URL")
    config: dict[str, Any] = {"account_name": account}
    keys = {
        "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
        "sas_key": "AZURE_STORAGE_SAS_TOKEN",
        "tenant_id": "AZURE_TENANT_ID",
        "client_id": "AZURE_CLIENT_ID",
        "client_secret": "AZURE_CLIENT_SECRET",
    }
    config |= {field: credentials.get(name) for field, name in keys.items() if credentials.get(name)}
    signed = bool({"account_key", "sas_key", "client_secret"} & set(config))
    if endpoint:
        config["endpoint"] = endpoint
    return StoreAccess(
        kind=AzureStore,
        bucket=container,
        config=config,
        timeout_seconds=timeout_seconds,
        endpoint=endpoint,
        endpoint_name="AZURE_ENDPOINT_URL",
        signed=signed,
        redact=credentials.redact,
    )
