"""A cluster of one machine: nodes that are network namespaces, pods that are containers, and HAProxy for all between.

HAProxy stands for Octavia (PROXY v2, its time-outs and its look at each node), for kube-proxy (whose health port says
whether a node has a pod that is ready and not terminating), for kubelet's readiness probe, for the internal Service,
and for the way to the sandbox, which pods may only call on loopback. No address but loopback's is used anywhere.
"""

import csv
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent

from smtpgw.sandbox.certificate import write_pair
from tests.chart.rendering import Manifest, environment, of_kind
from tests.support.container import AS_ROOT, Container, Image, as_root, remove
from tests.support.ports import free_port

API_PORT, HEALTHZ_PORT = 8025, 10256  # in each node's namespace
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin") or ""

# kubelet asks as the Deployment's readiness probe does, Octavia as the Service's annotations have it.
COMMON = """
global
    stats socket {socket} mode 666 level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client {timeout_client}ms
    timeout server {timeout_member}ms
    timeout check {monitor_timeout}s
    timeout http-request 5s
frontend octavia
    bind 127.0.0.1:{smtp}
    default_backend members
frontend internal-service
    bind 127.0.0.1:{internal}
    default_backend endpoints
backend sandbox
    server sandbox {sandbox}
backend members
    balance leastconn
    option httpchk GET /healthz
{members}
backend endpoints
    balance leastconn
{endpoints}
"""
MEMBER = (
    "    server {node} 127.0.0.1:{smtp_port} namespace {node} send-proxy-v2 check port {healthz}"
    " inter {delay}s rise {rise} fall {fall}"
)
ENDPOINT = "    server {node} 127.0.0.1:{internal_port} namespace {node} track kubelet-{node}/pod"
NODE = """
frontend api-{node}
    bind 127.0.0.1:{api} namespace {node}
    default_backend sandbox
frontend kube-proxy-{node}
    mode http
    bind 127.0.0.1:{healthz} namespace {node}
    http-request return status 200 if {{ nbsrv(kubelet-{node}) gt 0 }}
    http-request return status 503
frontend probe-{node}
    mode http
    bind 127.0.0.1:{probe}
    default_backend kubelet-{node}
backend kubelet-{node}
    mode http
    option httpchk GET {path}
    server pod 127.0.0.1:{http_port} namespace {node} check inter {period}s rise 1 fall {failures}
"""


@dataclass
class Pod:
    """A pod on a node of its own."""

    node: str
    container: Container
    probe_url: str

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.probe_url}/health/ready", timeout=3) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Cluster:
    """Nodes for as many pods as there are at a time, and what is between them. A context manager."""

    def __init__(self, found: list[Manifest], image: Image, folder: Path, sandbox_url: str, nodes: int) -> None:
        self.image, self.folder = image, folder
        self.deployment = of_kind("Deployment", found)["spec"]
        self.spec: dict[str, Any] = self.deployment["template"]["spec"]
        self.container: dict[str, Any] = self.spec["containers"][0]
        self.annotations = of_kind("Service", found, "smtpgw")["metadata"]["annotations"]
        self.environ = environment(found)
        self.environ["CAKEMAIL_API_URL"] = f"http://127.0.0.1:{API_PORT}"
        self.sandbox = sandbox_url.removeprefix("http://")
        self.cert, self.key = write_pair(folder)
        self.nodes = [f"smtpgw-{os.getpid()}-{number}" for number in range(nodes)]
        self.probes = {node: free_port() for node in self.nodes}
        self.smtp, self.internal = free_port(), free_port()
        self.pods: list[Pod] = []

    def __enter__(self) -> "Cluster":
        for node in self.nodes:
            as_root("ip", "netns", "add", node)
            as_root("ip", "-n", node, "link", "set", "lo", "up")
        (self.folder / "haproxy.cfg").write_text(self.configuration())
        self.haproxy = subprocess.Popen(
            [*AS_ROOT, HAPROXY, "-q", "-db", "-f", self.folder / "haproxy.cfg"], stdin=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self.pods:
            pod.container.stop()
            remove(pod.container.scratch)
        as_root("kill", str(self.haproxy.pid))
        self.haproxy.wait(10)
        for node in self.nodes:
            as_root("ip", "netns", "delete", node)

    def configuration(self) -> str:
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        probe = self.container["readinessProbe"]
        octavia = {key.partition("/")[2]: value for key, value in self.annotations.items()}
        known = {
            "socket": self.folder / "haproxy.sock",
            "timeout_client": octavia["timeout-client-data"],
            "timeout_member": octavia["timeout-member-data"],
            "monitor_timeout": octavia["health-monitor-timeout"],
            "delay": octavia["health-monitor-delay"],
            "rise": octavia["health-monitor-max-retries"],
            "fall": octavia["health-monitor-max-retries-down"],
            "smtp": self.smtp,
            "internal": self.internal,
            "sandbox": self.sandbox,
            "api": API_PORT,
            "healthz": HEALTHZ_PORT,
            "path": probe["httpGet"]["path"],
            "period": probe["periodSeconds"],
            "failures": probe["failureThreshold"],
            **{f"{name}_port": port for name, port in ports.items()},
        }
        nodes = [{"node": node, "probe": self.probes[node], **known} for node in self.nodes]
        members = "\n".join(MEMBER.format(**node) for node in nodes)
        endpoints = "\n".join(ENDPOINT.format(**node) for node in nodes)
        return COMMON.format(members=members, endpoints=endpoints, **known) + "".join(NODE.format(**n) for n in nodes)

    def ask_haproxy(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.folder / "haproxy.sock"))
            control.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: control.recv(65536), b"")).decode()

    def start_pod(self) -> Pod:
        """Start a pod as the Deployment has it, and wait until it is ready."""
        node = self.nodes[len(self.pods)]
        container = Container(self.image, self.folder / node, self.environ, node)
        user = self.spec["securityContext"]
        assert self.image.user == f"{user['runAsUser']}:{user['fsGroup']}"
        container.put(self.environ["SMTPGW_TLS_CERT"], self.cert.read_bytes())
        container.put(self.environ["SMTPGW_TLS_KEY"], self.key.read_bytes())
        pod = Pod(node, container, f"http://127.0.0.1:{self.probes[node]}")
        self.pods.append(pod)
        container.start(*self.container["args"])
        container.until(pod.is_ready, seconds=60)
        return pod

    def delete_pod(self, pod: Pod) -> int:
        """End a pod as Kubernetes does; its exit status."""
        said = self.ask_haproxy(f"disable server kubelet-{pod.node}/pod")  # terminating, whatever its probe says
        assert said.strip() == "", said
        sleep = self.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        gevent.sleep(sleep)
        pod.container.kill(signal.SIGTERM)
        return pod.container.wait(self.spec["terminationGracePeriodSeconds"] - sleep)

    def roll_out(self) -> list[int]:
        """Replace each pod as a rolling update with maxSurge 1 and maxUnavailable 0; their exit statuses."""
        assert self.deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        ending = []
        for old in list(self.pods):
            self.start_pod()
            gevent.sleep(self.deployment["minReadySeconds"])
            ending.append(gevent.spawn(self.delete_pod, old))
        gevent.joinall(ending, raise_error=True)
        return [ended.value for ended in ending]

    def wait_until_balanced(self) -> None:
        """Until the load balancer has seen which nodes have a pod, and which have none."""
        wanted = dict.fromkeys(self.nodes[: len(self.pods)], "UP")
        with gevent.Timeout(60):
            while {node: "UP" for node, status in self.members() if status.startswith("UP")} != wanted:
                gevent.sleep(0.5)

    def members(self) -> list[tuple[str, str]]:
        """The load balancer's view of each node."""
        rows = csv.DictReader(self.ask_haproxy("show stat").removeprefix("# ").splitlines())
        return [(row["svname"], row["status"]) for row in rows if row["pxname"] == "members" and row["type"] == "2"]
