"""Which source reads a location.

Each kind of source brings libraries that take longer to import than a small model takes to fetch; a pod that starts
waits for those of its own source only.
"""
# ruff: noqa: PLC0415

from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.location import Artifact, Http, Location, Mounted, RegisteredModel, StoredObject
from penstock_server.fetch.source import Source


class Sources:
    """Makes sources that share credentials, the folder of mounted volumes, and the time that an answer may take."""

    def __init__(self, credentials: Credentials, *, mount_dir: str, timeout_seconds: float) -> None:
        self._credentials = credentials
        self._mount_dir = mount_dir
        self._timeout_seconds = timeout_seconds

    def source(self, location: Location, *, shown: str) -> Source:
        """Return the source; raise FetchFailed if the credentials lack what it needs."""
        match location:
            case Mounted(path=path):
                from penstock_server.fetch.mounted_source import MountedSource

                return MountedSource(path, mount_dir=self._mount_dir, shown=shown)
            case StoredObject():
                from penstock_server.fetch.object_stores import object_source

                return object_source(location, self._credentials, timeout_seconds=self._timeout_seconds)
            case Http(url=url):
                from penstock_server.fetch.http_source import HttpSource, authorization

                return HttpSource(url, authorization(self._credentials))
            case Artifact():
                from penstock_server.fetch.oci_source import OciSource

                return OciSource(location, self._credentials)
            case RegisteredModel():
                from penstock_server.fetch.mlflow_source import MlflowSource

                return MlflowSource(location, self._credentials, direct=self._named_by_a_registry)

    def _named_by_a_registry(self, location: Http | StoredObject) -> Source:
        from penstock_server.fetch.http_source import HttpSource

        if isinstance(location, StoredObject):
            return self.source(location, shown="")
        # The credentials are for hosts that the spec names, not for those that an answer names.
        return HttpSource(location.url, "")
