"""etcd, the API server and its controllers: a control plane that any number of tests can have for themselves."""

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from . import binaries, certificates, files, kubeconfig, ports, processes
from .api_probe import ApiProbe, wait_until
from .errors import ClusterError

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"

SERVICE_CIDR = "10.96.0.0/16"
POD_CIDR = "10.244.0.0/16"
KUBERNETES_SERVICE_ADDRESS = "10.96.0.1"
START_SECONDS = 60.0

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    # One line per request, written when it is answered.
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
CLIENTS = {
    "admin": "kubernetes-admin/system:masters",
    "etcd-client": "kube-apiserver-etcd-client/",
    "kubelet-client": "kube-apiserver-kubelet-client/system:masters",
    "controller-manager": "system:kube-controller-manager/",
    "scheduler": "system:kube-scheduler/",
    "kube-proxy": "system:kube-proxy/",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForNodes:
    """What a control plane needs that has nodes: an address that pods can reach, and a scheduler."""

    address: str
    node_name: str


class ControlPlane:
    """One control plane with all its state in ``directory``; several may run at once, each on its own free ports.

    ``audit_log`` gets one JSON line per API request (metadata level). ``die_with_parent`` ends the processes when
    the thread that started them ends, so that a killed test run leaves none.

    As a context manager it starts on the way in, and stops on the way out.
    """

    def __init__(
        self,
        directory: Path,
        *,
        audit_log: Path | None = None,
        die_with_parent: bool = False,
        for_nodes: ForNodes | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self._audit_log = audit_log.absolute() if audit_log else None
        self._die_with_parent = die_with_parent
        self._for_nodes = for_nodes

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def server(self) -> str:
        """Return the URL of the API server."""
        return f"https://{self._host}:{self._ports()[API_SERVER]}"

    @property
    def components(self) -> tuple[str, ...]:
        """Return the names of the processes, in the order in which they start."""
        scheduler = (SCHEDULER,) if self._for_nodes else ()
        return (ETCD, API_SERVER, CONTROLLER_MANAGER, *scheduler)

    @property
    def run_dir(self) -> Path:
        """Return the folder of the pid records and logs."""
        return self.directory / "run"

    def certificates(self) -> certificates.Certificates:
        """Make the certificates, or return those there are."""
        service_names = (
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        )
        node_client = {"kubelet": f"system:node:{self._for_nodes.node_name}/system:nodes"} if self._for_nodes else {}
        hosts = dict.fromkeys(["localhost", "127.0.0.1", self._host, KUBERNETES_SERVICE_ADDRESS, *service_names])
        return certificates.ensure(self.directory / "pki", hosts=list(hosts), clients={**CLIENTS, **node_client})

    def start(self) -> None:
        """Start what is not running; returns when the API answers and the default service account exists.

        About 3 s from nothing. Raises ClusterError with the end of the log of a component that died.
        """
        binaries.ensure(binaries.CONTROL_PLANE_MODULES)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        self._forget_the_dead()
        self.start_component(ETCD)
        self._wait(self._etcd_listens, "etcd to listen")
        self.start_component(API_SERVER)
        # The others end at once where the API server has not yet made their roles.
        self.wait_api_ready()
        for component in self.components[2:]:
            self.start_component(component)
        self.wait_ready()

    def wait_api_ready(self) -> None:
        """Wait until the API server says that it is ready."""
        probe = self.probe()
        self._wait(lambda: probe.status("/readyz") == HTTPStatus.OK, "the API server to be ready")

    def wait_ready(self) -> None:
        """Wait until the API server is ready, and the controllers have done their first work."""
        self.wait_api_ready()
        probe = self.probe()
        # Without this account no pod can be created; its being there shows that the controllers run.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait(lambda: probe.status(account) == HTTPStatus.OK, "the controller manager's first service account")

    def probe(self) -> ApiProbe:
        """Return a small reader of this API server."""
        return ApiProbe(self.server, self.certificates())

    def is_running(self) -> bool:
        """Tell whether every process is alive, and was started as this object would start it."""
        return all(processes.is_current(self._daemon(component)) for component in self.components)

    def is_alive(self, component: str) -> bool:
        """Tell whether one process is alive."""
        record = processes.find(self.run_dir, component)
        return record is not None and processes.is_alive(record)

    def stop(self) -> None:
        """Stop all processes, the API server first gracefully; the state stays in the directory."""
        for component in reversed(self.components):
            self.stop_component(component)

    def start_component(self, component: str) -> None:
        """Start one process if it is not running; does not wait for it to be ready."""
        processes.ensure(self._daemon(component))

    def stop_component(self, component: str) -> None:
        """Stop one process by SIGTERM, after 5 s by SIGKILL."""
        if record := processes.find(self.run_dir, component):
            processes.stop(record)
            processes.forget(self.run_dir, component)

    def kill(self, component: str) -> None:
        """Kill one process (SIGKILL); ``start_component`` starts it again."""
        processes.kill(self._record(component))
        processes.forget(self.run_dir, component)

    def pause(self, component: str) -> None:
        """Freeze one process (SIGSTOP): its connections stay open and nothing is answered."""
        processes.send(self._record(component), signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """Let a frozen process go on (SIGCONT)."""
        processes.send(self._record(component), signal.SIGCONT)

    @contextmanager
    def paused(self, *components: str) -> Iterator[None]:
        """Freeze the components (all of them, where none is named) for the length of the block."""
        frozen = components or self.components
        for component in frozen:
            self.pause(component)
        try:
            yield
        finally:
            for component in reversed(frozen):
                self.resume(component)

    def log_path(self, component: str) -> Path:
        """Return the log of one component."""
        return self.run_dir / f"{component}.log"

    @property
    def _host(self) -> str:
        return self._for_nodes.address if self._for_nodes else "127.0.0.1"

    def _daemon(self, component: str) -> processes.Daemon:
        return processes.Daemon(
            name=component,
            argv=[str(binaries.program(component)), *self._arguments(component)],
            run_dir=self.run_dir,
            die_with_parent=self._die_with_parent,
        )

    def _record(self, component: str) -> processes.ProcessRecord:
        record = processes.find(self.run_dir, component)
        if record is None:
            raise ClusterError(f"{component} of {self.directory} is not running: start_component() it first")
        return record

    def _ports(self) -> dict[str, int]:
        """Return the ports, the same ones at every start: a kubeconfig stays valid over a restart."""
        path = self.directory / "ports.json"
        if path.exists():
            return dict(json.loads(path.read_text()))
        preferred = {API_SERVER: 6443} if self._for_nodes else None
        names = [ETCD, "etcd-peer", API_SERVER, CONTROLLER_MANAGER, SCHEDULER]
        chosen = ports.choose(names, preferred=preferred)
        files.write(path, json.dumps(chosen))
        return chosen

    def _write_configuration(self) -> None:
        made = self.certificates()
        files.write(self._audit_policy, json.dumps(AUDIT_POLICY))
        kubeconfig.write(self.kubeconfig, server=self.server, certificates=made, client="admin")
        for client in ("controller-manager", "scheduler"):
            kubeconfig.write(self._kubeconfig_of(client), server=self.server, certificates=made, client=client)

    @property
    def _audit_policy(self) -> Path:
        return self.directory / "audit-policy.json"

    def _kubeconfig_of(self, client: str) -> Path:
        return self.directory / "kubeconfigs" / client

    def _etcd_listens(self) -> bool:
        return not ports.is_free(self._ports()[ETCD])

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        dead: list[str] = []

        def settled() -> bool:
            if happened():
                return True
            dead.extend(name for name in self.components if self._has_died(name))
            return bool(dead)

        in_time = wait_until(settled, timeout_seconds=START_SECONDS)
        if in_time and not dead:
            return
        suspect = dead[0] if dead else API_SERVER
        why = f"{suspect} died" if dead else f"{START_SECONDS:.0f} s went by"
        log = self.log_path(suspect)
        raise ClusterError(f"waited for {what}, but {why}; the end of {log}:\n{processes.tail(log)}")

    def _forget_the_dead(self) -> None:
        """Delete the records of an earlier, killed run: what they name has not died just now."""
        for component in self.components:
            if self._has_died(component):
                processes.forget(self.run_dir, component)

    def _has_died(self, component: str) -> bool:
        return processes.find(self.run_dir, component) is not None and not self.is_alive(component)

    def _arguments(self, component: str) -> list[str]:
        flags = {
            ETCD: self._etcd_flags,
            API_SERVER: self._api_server_flags,
            CONTROLLER_MANAGER: self._controller_manager_flags,
            SCHEDULER: self._scheduler_flags,
        }[component]()
        return [f"--{name}={value}" for name, value in flags.items()]

    def _etcd_flags(self) -> Mapping[str, object]:
        client = f"https://127.0.0.1:{self._ports()[ETCD]}"
        peer = f"https://127.0.0.1:{self._ports()['etcd-peer']}"
        server = self.certificates().pair("server")
        # TLS even on loopback: whoever writes to etcd is administrator, and any local user can reach a port.
        tls = {
            f"{prefix}{name}": value
            for prefix in ("", "peer-")
            for name, value in {
                "cert-file": server.certificate,
                "key-file": server.key,
                "trusted-ca-file": self.certificates().ca,
                "client-cert-auth": "true",
            }.items()
        }
        return {
            "name": "default",
            "data-dir": self.directory / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            # A development cluster may lose its last second in a power cut; waiting for disks makes every write slow.
            "unsafe-no-fsync": "true",
            "log-level": "warn",
            **tls,
        }

    def _api_server_flags(self) -> Mapping[str, object]:
        made = self.certificates()
        server, etcd_client, kubelet_client = (made.pair(name) for name in ("server", "etcd-client", "kubelet-client"))
        return {
            "bind-address": self._host,
            "advertise-address": self._host,
            "secure-port": self._ports()[API_SERVER],
            "tls-cert-file": server.certificate,
            "tls-private-key-file": server.key,
            "client-ca-file": made.ca,
            "etcd-servers": f"https://127.0.0.1:{self._ports()[ETCD]}",
            "etcd-cafile": made.ca,
            "etcd-certfile": etcd_client.certificate,
            "etcd-keyfile": etcd_client.key,
            "kubelet-client-certificate": kubelet_client.certificate,
            "kubelet-client-key": kubelet_client.key,
            # logs and exec go to the node's address: its name is in nobody's DNS.
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": made.token_keys.certificate,
            "service-account-signing-key-file": made.token_keys.key,
            "service-cluster-ip-range": SERVICE_CIDR,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            # Endpoints refuse a loopback address, and without nodes nobody would use them.
            **({} if self._for_nodes else {"endpoint-reconciler-type": "none"}),
            **self._audit_flags(),
        }

    def _audit_flags(self) -> Mapping[str, object]:
        if self._audit_log is None:
            return {}
        return {
            "audit-policy-file": self._audit_policy,
            "audit-log-path": self._audit_log,
            "audit-log-maxsize": 50,  # MB
            "audit-log-maxbackup": 3,
        }

    def _controller_manager_flags(self) -> Mapping[str, object]:
        made = self.certificates()
        own = self._kubeconfig_of("controller-manager")
        nodes = {"allocate-node-cidrs": "true", "cluster-cidr": POD_CIDR} if self._for_nodes else {}
        return {
            "kubeconfig": own,
            "authentication-kubeconfig": own,
            "authorization-kubeconfig": own,
            "bind-address": "127.0.0.1",
            "secure-port": self._ports()[CONTROLLER_MANAGER],
            "leader-elect": "false",
            # Each controller under its own name, so that an audit log tells who wrote.
            "use-service-account-credentials": "true",
            "service-account-private-key-file": made.token_keys.key,
            "root-ca-file": made.ca,
            "cluster-signing-cert-file": made.pair("ca").certificate,
            "cluster-signing-key-file": made.pair("ca").key,
            "service-cluster-ip-range": SERVICE_CIDR,
            "kube-api-qps": 200,
            "kube-api-burst": 400,
            # Else it makes a folder in /usr/libexec.
            "flex-volume-plugin-dir": self.directory / "volume-plugins",
            **nodes,
        }

    def _scheduler_flags(self) -> Mapping[str, object]:
        own = self._kubeconfig_of("scheduler")
        return {
            "kubeconfig": own,
            "authentication-kubeconfig": own,
            "authorization-kubeconfig": own,
            "bind-address": "127.0.0.1",
            "secure-port": self._ports()[SCHEDULER],
            "leader-elect": "false",
        }
