"""The manifests say what nodes and gateways do, and a cluster takes them."""

from __future__ import annotations

import copy
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kubernetes_validate
import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.kustomized import (
    BASES,
    KUBERNETES,
    OVERLAYS,
    Document,
    check,
    documents,
    kubectl,
    one,
    pod_template,
)
from tests.support.facts import FACTS
from vinom.base.settings.values import StoreAddress
from vinom.fleet.kubernetes.objects import GAME_SERVER, ROLE
from vinom.fleet.kubernetes.template import PodTemplate
from vinom.gateway.routing.rules import check_rules
from vinom.gateway.settings import SOURCES as GATEWAY_SOURCES
from vinom.gateway.settings import GatewaySettings
from vinom.node.settings import Settings, gather
from vinom.node.web.collector import NodeCollector

ROOT = KUBERNETES.parents[1]
#: Secrets that the runbook makes.
SECRETS = {
    "vinom-admin": {"token"},
    "vinom-authority": {"ca.pem", "ca.key"},
    "vinom-gateway-link": {"link.pem", "link.key", "authority.pem"},
    "vinom-redis": {"password"},
    "vinom-tls": {"tls.crt", "tls.key"},
}


def pods(found: list[Document]) -> Iterator[tuple[str, Document, Document]]:
    """Every pod template: its kind and name, its labels, and its spec."""
    for document in found:
        template = pod_template(document)
        if template is not None:
            where = f"{document['kind']} {document['metadata']['name']}"
            yield where, template["metadata"]["labels"], template["spec"]


def container_of(document: Document) -> Document:
    """Find the only container of a workload."""
    template = pod_template(document)
    assert template is not None
    (container,) = template["spec"]["containers"]
    return dict(container)


def environment(found: list[Document], document: Document) -> dict[str, str]:
    """The variables of a workload's container, in its first pod."""
    container = container_of(document)
    metadata = document["metadata"]
    fields = {
        "metadata.name": f"{metadata['name']}-0",
        "metadata.namespace": metadata.get("namespace", "default"),
        "status.hostIP": "192.0.2.1",
        "status.podIP": "192.0.2.2",
    }
    values: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        values |= one(found, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", ()):
        if "valueFrom" in variable:
            text = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            text = re.sub(
                r"\$\((\w+)\)", lambda name: values[name[1]], variable["value"]
            )
        values[variable["name"]] = text
    return values


def node_settings(found: list[Document]) -> Settings:
    """The settings of the first node."""
    document = one(found, "StatefulSet", "vinom-node")
    given = environment(found, document)
    given = {name: text for name, text in given.items() if name.startswith("VINOM_")}
    path = given.pop("VINOM_CONFIG", None)
    if path is None:
        return gather({}, given)
    text = mounted(found, document, Path(path).parent)[Path(path).name]
    with TemporaryDirectory() as folder:
        config = Path(folder, "node.toml")
        config.write_text(text, encoding="utf-8")
        return gather({}, given, config)


def gateway_settings(found: list[Document]) -> GatewaySettings:
    """The settings of a gateway."""
    given = environment(found, one(found, "Deployment", "vinom-gateway"))
    return GatewaySettings(**GATEWAY_SOURCES.gather({}, given))


class SchemaTests(SynchronousTestCase):
    """What a cluster would refuse."""

    def test_schemas(self) -> None:
        """
        A cluster takes each object of each kustomization: no member is misspelt,
        missing or of another type, by the schemas that Kubernetes publishes.
        """
        for folder in (*BASES, *OVERLAYS):
            found = documents(folder)
            self.assertGreater(len(found), 5, folder)
            for document in found:
                check(document)

    def test_mistakes_are_found(self) -> None:
        """
        The check refuses members and kinds that there are not.
        """
        found = documents("overlays/kubernetes")
        budget = copy.deepcopy(one(found, "PodDisruptionBudget", "vinom-node"))
        budget["spec"]["maxUnavailible"] = budget["spec"].pop("maxUnavailable")
        self.assertRaises(kubernetes_validate.ValidationError, check, budget)
        unknown = {"apiVersion": "v1", "kind": "Pot", "metadata": {"name": "one"}}
        self.assertRaises(kubernetes_validate.SchemaNotFoundError, check, unknown)

    def test_every_file_is_used(self) -> None:
        """
        No file is forgotten: each is named by its kustomization.
        """
        for path in KUBERNETES.rglob("kustomization.yaml"):
            text = path.read_text(encoding="utf-8")
            for each in path.parent.iterdir():
                if each.is_file() and each != path:
                    self.assertIn(each.name, text, str(each))
        folders = {path.parent for path in KUBERNETES.rglob("*") if path.is_file()}
        for folder in folders:
            self.assertTrue((folder / "kustomization.yaml").exists(), str(folder))


class WorkloadTests(SynchronousTestCase):
    """Each overlay as a whole."""

    def test_settings_are_accepted(self) -> None:
        """
        Node and gateway start with the variables that each overlay gives them.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            node, gateway = node_settings(found), gateway_settings(found)
            # So that nobody else can read it, and its owner may change its mode.
            mounts = container_of(one(found, "StatefulSet", "vinom-node"))
            places = [each["mountPath"] for each in mounts["volumeMounts"]]
            self.assertIn(str(node.state_dir.parent), places)
            self.assertNotIn(str(node.state_dir), places)
            self.assertIsNotNone(node.node_link)
            self.assertIsNotNone(gateway.routes)

    def test_services_are_no_settings(self) -> None:
        """
        Kubernetes adds variables of services, such as ``VINOM_GATEWAY_PORT``, which a
        program of ours would refuse as settings that it does not have.
        """
        for folder in (*BASES, *OVERLAYS):
            for where, _, pod in pods(documents(folder)):
                self.assertIs(pod["enableServiceLinks"], False, f"{folder}: {where}")

    def test_files_are_mounted(self) -> None:
        """
        Each file that a setting names is of a secret or a config map that is mounted
        there, and the secret has it.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            for kind, name, settings in (
                ("StatefulSet", "vinom-node", node_settings(found)),
                ("Deployment", "vinom-gateway", gateway_settings(found)),
            ):
                document = one(found, kind, name)
                paths = [
                    one
                    for value in vars_of(settings)
                    for one in (value if isinstance(value, tuple) else (value,))
                    if isinstance(one, Path) and str(one).startswith("/etc/")
                ]
                self.assertGreater(len(paths), 2)
                for path in paths:
                    self.assertIn(path.name, mounted(found, document, path.parent))

    def test_references(self) -> None:
        """
        What an object calls by name is there: config maps, accounts, roles, targets of
        autoscalers; secrets are those that the runbook makes.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            names = {(each["kind"], each["metadata"]["name"]) for each in found}
            for where, _, pod in pods(found):
                account = pod.get("serviceAccountName")
                if account is not None:
                    self.assertIn(("ServiceAccount", account), names, where)
                for volume in pod["volumes"]:
                    if "secret" in volume:
                        self.assertIn(volume["secret"]["secretName"], SECRETS, where)
                    if "configMap" in volume:
                        called = ("ConfigMap", volume["configMap"]["name"])
                        self.assertIn(called, names, where)
            for each in found:
                if each["kind"] in ("RoleBinding", "ClusterRoleBinding"):
                    role = each["roleRef"]
                    self.assertIn((role["kind"], role["name"]), names)
                    for subject in each["subjects"]:
                        self.assertIn((subject["kind"], subject["name"]), names)
                        # Or the API server refuses it.
                        account = one(found, subject["kind"], subject["name"])
                        namespace = account["metadata"]["namespace"]
                        self.assertEqual(subject["namespace"], namespace)
                if each["kind"] == "HorizontalPodAutoscaler":
                    target = each["spec"]["scaleTargetRef"]
                    self.assertIn((target["kind"], target["name"]), names)
                    scaled = one(found, target["kind"], target["name"])
                    # Else each apply would undo what the autoscaler did.
                    self.assertNotIn("replicas", scaled["spec"])

    def test_selectors(self) -> None:
        """
        What chooses pods by labels finds some.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            labels = [labels for _, labels, _ in pods(found)]
            # Pods that nodes start.
            labels.append({ROLE: GAME_SERVER})
            for each in found:
                for selector in selectors(each):
                    self.assertTrue(
                        any(selector.items() <= one.items() for one in labels),
                        f"{folder}: {each['kind']} {each['metadata']['name']}",
                    )

    def test_not_root(self) -> None:
        """
        Nothing runs as root, writes to its image's file system, or gets more rights.
        """
        for folder in OVERLAYS:
            for where, _, pod in pods(documents(folder)):
                context = pod["securityContext"]
                self.assertIs(context["runAsNonRoot"], True, where)
                self.assertGreater(context["runAsUser"], 0, where)
                profile = context["seccompProfile"]
                self.assertEqual(profile, {"type": "RuntimeDefault"}, where)
                for container in pod["containers"]:
                    self.assertEqual(
                        container["securityContext"],
                        {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        where,
                    )
                    self.assertIn("memory", container["resources"]["limits"], where)

    def test_who_may_ask_the_api_server(self) -> None:
        """
        Only nodes that start game servers in the cluster have a token of the API
        server, and no role allows more than it names.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            with_token = {
                where
                for where, _, pod in pods(found)
                if pod.get("automountServiceAccountToken", "serviceAccountName" in pod)
                and not is_tokenless(found, pod)
            }
            roles = [each for each in found if each["kind"] in ("Role", "ClusterRole")]
            if folder == "overlays/development":
                self.assertEqual((with_token, roles), (set(), []))
                continue
            self.assertIn("StatefulSet vinom-node", with_token)
            self.assertEqual(
                with_token - {"StatefulSet vinom-node", "Fleet vinom"}, set()
            )
            for role in roles:
                for rule in role["rules"]:
                    self.assertNotIn("*", str(rule), folder)

    def test_ports(self) -> None:
        """
        Settings, containers, services, probes and policies name the same ports.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            node, gateway = node_settings(found), gateway_settings(found)
            ports = ports_of(one(found, "StatefulSet", "vinom-node"))
            self.assertEqual(ports["lobby"], node.port)
            self.assertEqual(f"tls:{ports['link']}", node.gateway_link)
            self.assertEqual(str(ports["nodes"]), node.node_link)
            self.assertEqual(str(ports["http"]), node.http)
            self.assertEqual(str(ports["admin"]), node.admin)
            public = ports_of(one(found, "Deployment", "vinom-gateway"))
            self.assertEqual(gateway.listen, (f"tcp:{public['public']}",))
            self.assertEqual(gateway.admin, f"tcp:{public['admin']}")
            for each in found:
                if each["kind"] == "Service":
                    wanted = each["spec"]["selector"]
                    (target,) = [
                        document
                        for document in found
                        if (template := pod_template(document)) is not None
                        and wanted.items() <= template["metadata"]["labels"].items()
                    ]
                    for port in each["spec"]["ports"]:
                        self.assertIn(port["targetPort"], ports_of(target))
                if each["kind"] == "NetworkPolicy":
                    named = {
                        port["port"]
                        for rule in (*each["spec"]["ingress"], *each["spec"]["egress"])
                        for port in rule.get("ports", ())
                        if isinstance(port.get("port"), str)
                    }
                    self.assertEqual(named - ports.keys() - public.keys(), set())

    def test_where_game_servers_dial(self) -> None:
        """
        Game servers in pods dial the node that has them, at a port that is open, and
        all others if it is gone.
        """
        found = documents("overlays/kubernetes")
        settings = node_settings(found)
        port = ports_of(one(found, "StatefulSet", "vinom-node"))["control"]
        self.assertEqual(settings.game_server_link, f"tls:{port}")
        address = f"{settings.advertise}:{port}"
        self.assertEqual(settings.game_server_address, address)
        # The headless Service, which has the addresses of all nodes.
        service = one(found, "Service", "vinom-nodes")
        self.assertEqual(service["spec"]["clusterIP"], "None")
        where = f"vinom-nodes.{service['metadata']['namespace']}.svc:{port}"
        self.assertEqual(settings.game_server_any_node, where)

    def test_pods_of_nodes(self) -> None:
        """
        Nodes make pods that are confined like all others, and run the image of the same
        release.
        """
        found = documents("overlays/kubernetes")
        settings = node_settings(found)
        table = settings.pods
        assert table is not None
        one(found, "ServiceAccount", table.service_account)
        (image,) = {
            container["image"]
            for where, _, pod in pods(found)
            for container in pod["containers"]
            if where == "StatefulSet vinom-node"
        }
        self.assertEqual(table.image, image.replace("vinom-node", "vinom-gameserver"))
        pod = PodTemplate(table, "vinom-node-0", {}).pod("one", "one", "secret", 30000)
        check(pod)
        context = pod["spec"]["securityContext"]
        self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertGreater(context["runAsUser"], 0)
        labels = pod["metadata"]["labels"]
        policy = one(found, "NetworkPolicy", "vinom-gameserver")["spec"]
        chosen = policy["podSelector"]["matchLabels"]
        self.assertLessEqual(chosen.items(), labels.items())
        # Its network is its own, or no policy would hold.
        self.assertNotIn("hostNetwork", str(pod))

    def test_probes(self) -> None:
        """
        A node that drains, or whose store is away, gets no new players, and lives.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            for kind, name, scheme in (
                ("StatefulSet", "vinom-node", "HTTPS"),
                ("Deployment", "vinom-gateway", None),
            ):
                container = container_of(one(found, kind, name))
                for probe, path in (
                    ("readinessProbe", "/ready"),
                    ("livenessProbe", "/health"),
                ):
                    asked = container[probe]["httpGet"]
                    self.assertEqual(asked["path"], path)
                    self.assertEqual(asked.get("scheme"), scheme)
                    # One slow answer takes no pod away.
                    self.assertGreater(container[probe]["timeoutSeconds"], 1)
                    self.assertGreater(container[probe]["failureThreshold"], 1)
                # One that hangs is replaced soon: it does not drain.
                hangs = container["livenessProbe"]["terminationGracePeriodSeconds"]
                self.assertLessEqual(hangs, 10)
            # Probes ask for HTTPS because the node serves it.
            self.assertTrue(node_settings(found).http_tls)

    def test_drained_before_killed(self) -> None:
        """
        A pod is killed only after the deadlines of the program in it.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            node, gateway = node_settings(found), gateway_settings(found)
            for kind, name, seconds in (
                ("StatefulSet", "vinom-node", node.drain_seconds),
                (
                    *("Deployment", "vinom-gateway"),
                    gateway.drain_lag + gateway.drain_seconds,
                ),
            ):
                document = one(found, kind, name)
                container = container_of(document)
                sleep = container["lifecycle"]["preStop"]["exec"]["command"][-1]
                (pause,) = map(int, re.findall(r"sleep\((\d+)\)", sleep))
                template = pod_template(document)
                assert template is not None
                given = template["spec"]["terminationGracePeriodSeconds"]
                self.assertGreaterEqual(given, pause + seconds + 5)
                # Long enough to be found not ready before the port is closed.
                probe = container["readinessProbe"]
                noticed = probe["periodSeconds"] * probe["failureThreshold"]
                self.assertGreater(pause, noticed)

    def test_images_are_found(self) -> None:
        """
        No image of ours is "latest": a cluster would ask a registry for it each time,
        also for one that was built on the machine.
        """
        for folder in OVERLAYS:
            for where, _, pod in pods(documents(folder)):
                for container in pod["containers"]:
                    tag = container["image"].rpartition(":")[2]
                    self.assertNotEqual(tag, "latest", f"{folder}: {where}")

    def test_public_ports(self) -> None:
        """
        A gateway with a certificate is where browsers look for it.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            has_tls = bool(gateway_settings(found).tls_certificate_file)
            service = one(found, "Service", "vinom-gateway")
            public = {each["port"] for each in service["spec"]["ports"]}
            self.assertEqual(public, {4600, 443} if has_tls else {4600}, folder)

    def test_images(self) -> None:
        """
        Each pod runs a stage of the Containerfile, as the user that this makes.
        """
        text = (ROOT / "deploy" / "container" / "Containerfile").read_text()
        stages = set(re.findall(r"(?m)^FROM user AS (\w+)$", text))
        for folder in OVERLAYS:
            seen = set()
            for where, _, pod in pods(documents(folder)):
                (container,) = pod["containers"]
                name = container["image"].rpartition("/")[2].partition(":")[0]
                if name == "redis":
                    continue
                self.assertIn(name.removeprefix("vinom-"), stages, where)
                user = pod["securityContext"]["runAsUser"]
                self.assertIn(f"\nUSER {user}:{user}\n", text)
                seen.add(name)
            self.assertLessEqual({"vinom-node", "vinom-gateway"}, seen)


class RouteTests(SynchronousTestCase):
    """How gateways find nodes."""

    def test_gateways_know_every_node(self) -> None:
        """
        Every node that the autoscaler may start is a back end of both services, by the
        name and port that Kubernetes gives it.
        """
        for folder in OVERLAYS:
            found = documents(folder)
            maps = [each for each in found if each["kind"] == "ConfigMap"]
            (text,) = [
                each["data"]["routes.toml"]
                for each in maps
                if "routes.toml" in each["data"]
            ]
            services = tomllib.loads(text)["services"]
            check_rules(services)
            nodes = one(found, "StatefulSet", "vinom-node")
            service = one(found, "Service", nodes["spec"]["serviceName"])
            (port,) = [
                each["port"]
                for each in service["spec"]["ports"]
                if each["name"] == "link"
            ]
            base = one(documents("node"), "HorizontalPodAutoscaler", "vinom-node")
            wanted = [
                f"vinom-node-{number}.{service['metadata']['name']}:{port}"
                for number in range(base["spec"]["maxReplicas"])
            ]
            for name in ("lobby", "web"):
                self.assertEqual(services[name]["endpoints"], wanted)
                self.assertEqual(services[name]["transport"], "packets+tls")


def with_component(folder: Path, overlay: str, component: str) -> list[Document]:
    """
    Build an overlay with a component, as an operator's own kustomization does.

    :param folder: for that; made.
    """
    folder = folder.resolve()
    folder.mkdir()

    def path(name: str) -> str:
        return os.path.relpath(KUBERNETES / name, folder)

    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [path(overlay)],
        "components": [path(f"components/{component}")],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return list(yaml.safe_load_all(kubectl("kustomize", str(folder))))


class RelayTests(SynchronousTestCase):
    """Players who cannot reach the machines of a cluster."""

    def test_relay(self) -> None:
        """
        Players over UDP find each node that there may be at a Service of its own, under
        the name that the node sends them; policies let them in there, and nowhere else.
        """
        found = with_component(Path(self.mktemp()), "overlays/kubernetes", "relay")
        for each in found:
            check(each)
        settings = node_settings(found)
        self.assertEqual(settings.udp, "relay")
        nodes = one(found, "StatefulSet", "vinom-node")
        port = ports_of(nodes)["players"]
        self.assertEqual(port, settings.ports[0])
        (declared,) = [
            each for each in container_of(nodes)["ports"] if each["name"] == "players"
        ]
        self.assertEqual(declared["protocol"], "UDP")
        scaler = one(found, "HorizontalPodAutoscaler", "vinom-node")["spec"]
        self.assertLessEqual(scaler["minReplicas"], scaler["maxReplicas"])
        for number in range(scaler["maxReplicas"]):
            name = f"vinom-node-{number}"
            service = one(found, "Service", f"{name}-players")
            spec, annotations = service["spec"], service["metadata"]["annotations"]
            self.assertEqual(
                spec["selector"], {"statefulset.kubernetes.io/pod-name": name}
            )
            (public,) = spec["ports"]
            self.assertEqual(public["protocol"], "UDP")
            self.assertEqual(public["targetPort"], "players")
            host = annotations["external-dns.alpha.kubernetes.io/hostname"]
            sent = container_of(nodes)["env"][-1]
            self.assertEqual(sent["name"], "VINOM_UDP_ADDRESS")
            self.assertEqual(
                sent["value"].replace("$(POD_NAME)", name),
                f"{host}:{public['port']}",
            )
            # Its players stay while it drains, and keep their own addresses.
            self.assertIs(spec["publishNotReadyAddresses"], True)
            self.assertEqual(spec["externalTrafficPolicy"], "Local")
        node = one(found, "NetworkPolicy", "vinom-node")["spec"]
        self.assertIn(
            {"ports": [{"protocol": "UDP", "port": "players"}]}, node["ingress"]
        )
        game = one(found, "NetworkPolicy", "vinom-gameserver")["spec"]
        self.assertEqual(game["ingress"], [])
        self.assertIn("Ingress", game["policyTypes"])


class RedisRulesTests(SynchronousTestCase):
    """Gateways whose rules are in Redis."""

    def test_redis_rules(self) -> None:
        """
        A gateway starts with the component's variables, has the password that it needs,
        and may reach Redis and back ends that are no nodes.
        """
        for base in ("gateway", "overlays/kubernetes", "overlays/development"):
            found = with_component(Path(self.mktemp()), base, "redis-rules")
            for each in found:
                check(each)
            settings = gateway_settings(found)
            self.assertIsNone(settings.routes)
            assert isinstance(settings.store, StoreAddress)
            assert settings.store_password_file is not None
            gateway = one(found, "Deployment", "vinom-gateway")
            folder = settings.store_password_file.parent
            self.assertIn("password", mounted(found, gateway, folder))
            (host, port), *_ = settings.store.hosts
            if base == "overlays/development":
                # Policies are not for a cluster on one's own machine.
                (service,) = one(found, "Service", host)["spec"]["ports"]
                self.assertEqual(service["port"], port)
                continue
            egress = one(found, "NetworkPolicy", "vinom-gateway")["spec"]["egress"]
            self.assertIn({"ports": [{"protocol": "TCP", "port": port}]}, egress)
            label = {"matchLabels": {"vinom.dev/back-end": "yes"}}
            self.assertIn({"to": [{"podSelector": label}]}, egress)


class MetricTests(SynchronousTestCase):
    """Scaling by more than CPU."""

    def test_metrics(self) -> None:
        """
        Autoscalers go by CPU as before, and by metrics that gateways and nodes export
        and that the adapter's rules serve under these names.
        """
        rules: dict[str, Any] = yaml.safe_load(
            (KUBERNETES / "components/metrics/adapter-rules.yaml").read_text()
        )["rules"]
        served = {
            kind: {rule["name"]["as"] for rule in rules[kind]}
            for kind in ("custom", "external")
        }
        for rule in (*rules["custom"], *rules["external"]):
            name = rule["name"]["as"]
            self.assertTrue(rule["seriesQuery"].startswith(name + "{"))
        exported = {family.name for family in NodeCollector(FACTS).collect()}
        source = Path(ROOT, "vinom", "gateway", "admin.py").read_text()
        exported |= {f"vinom_gateway_{n}" for n in re.findall(r'\("(\w+)", ', source)}
        asked = {"custom": set[str](), "external": set[str]()}
        before = documents("overlays/kubernetes")
        overlay, folder = "overlays/kubernetes", Path(self.mktemp())
        for each in with_component(folder, overlay, "metrics"):
            if each["kind"] != "HorizontalPodAutoscaler":
                continue
            check(each)
            metrics = each["spec"]["metrics"]
            plain = one(before, each["kind"], each["metadata"]["name"])
            self.assertEqual(metrics[0], plain["spec"]["metrics"][0])
            self.assertGreater(len(metrics), 1)
            for metric in metrics[1:]:
                if metric["type"] == "Pods":
                    asked["custom"].add(metric["pods"]["metric"]["name"])
                else:
                    asked["external"].add(metric["external"]["metric"]["name"])
        self.assertEqual(asked, served)
        self.assertEqual((asked["custom"] | asked["external"]) - exported, set())


def vars_of(settings: Any) -> list[Any]:
    """The values of all settings."""
    return [getattr(settings, field.name) for field in settings.__attrs_attrs__]


def mounted(found: list[Document], document: Document, place: Path) -> dict[str, str]:
    """The files that a workload's container has in a folder, with their text."""
    container, template = container_of(document), pod_template(document)
    assert template is not None
    (mount,) = [
        each for each in container["volumeMounts"] if each["mountPath"] == str(place)
    ]
    (volume,) = [
        each for each in template["spec"]["volumes"] if each["name"] == mount["name"]
    ]
    if "secret" in volume:
        return dict.fromkeys(SECRETS[volume["secret"]["secretName"]], "")
    data: dict[str, str] = one(found, "ConfigMap", volume["configMap"]["name"])["data"]
    return data


def is_tokenless(found: list[Document], pod: Mapping[str, Any]) -> bool:
    """Does a pod get no token because its account says so?"""
    if "automountServiceAccountToken" in pod:
        return not pod["automountServiceAccountToken"]
    account = one(found, "ServiceAccount", pod["serviceAccountName"])
    return not account.get("automountServiceAccountToken", True)


def ports_of(document: Document) -> dict[str, int]:
    """The named ports of a workload's container."""
    return {
        each["name"]: each["containerPort"] for each in container_of(document)["ports"]
    }


def selectors(document: Document) -> Iterator[dict[str, str]]:
    """Every choice of pods by labels in an object."""
    spec = document.get("spec", {})
    if document["kind"] == "Service":
        yield spec["selector"]
    elif document["kind"] == "NetworkPolicy":
        yield spec["podSelector"]["matchLabels"]
        for rule in (*spec["ingress"], *spec["egress"]):
            for peer in (*rule.get("from", ()), *rule.get("to", ())):
                if "podSelector" in peer:
                    yield peer["podSelector"]["matchLabels"]
    elif "selector" in spec:
        yield spec["selector"]["matchLabels"]
