"""What the deployment files name exists, and what they promise of the container stands in them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compose_spec
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from deployment import DEPLOY, ROOT, compose, container_stages, manifests

from leasehold.cli.program import program
from leasehold.policy.cases import run_tests
from leasehold.policy.load import Source, load_policy

ACCOUNT = "10001"
SECRET = re.compile(r"postgresql://[^@\s]*:[^@\s]*@|lhk_|BEGIN [A-Z ]*PRIVATE KEY")


def commands() -> dict[str, list[str]]:
    """Every `leasehold` command that the files start."""
    services = compose()["services"]
    pod = manifests()["StatefulSet"]["spec"]["template"]["spec"]
    return {
        "image": container_stages()[-1][-1].words,
        "compose authority": services["authority"]["command"],
        "compose migrate": services["migrate"]["command"],
        **{f"pod {each['name']}": each["args"] for each in containers(pod) if "args" in each},
    }


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["initContainers"], *pod["containers"]]


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_exists_in_the_command_line(name: str) -> None:
    words = commands()[name]
    verbs = [word for word in words if not word.startswith("-")]
    shown = CliRunner().invoke(program, [*verbs, "--help"], prog_name="leasehold").output
    assert shown.startswith(f"Usage: leasehold {' '.join(verbs)}"), shown
    for option in [word.partition("=")[0] for word in words if word.startswith("-")]:
        assert f"  {option} " in shown, option


def test_final_stage_runs_as_an_account_without_rights_and_holds_no_package_manager_of_its_own() -> None:
    build, final = container_stages()
    words = [instruction.word for instruction in final]
    assert [each.rest for each in final if each.word == "USER"] == [f"{ACCOUNT}:{ACCOUNT}"]
    assert words.index("USER") > max(index for index, word in enumerate(words) if word in ("RUN", "COPY"))
    assert "ADD" not in words + [instruction.word for instruction in build]
    assert [each.rest for each in final if each.word == "COPY"] == ["--from=build /opt/leasehold /opt/leasehold"]
    assert any("pip uninstall --yes pip" in each.rest for each in build)


def test_everything_that_the_image_installs_is_pinned_by_hash() -> None:
    build, final = container_stages()
    installs = [part for each in build if each.word == "RUN" for part in each.rest.split("&&") if " install " in part]
    assert len(installs) == 3
    for install in installs:
        assert "--no-deps" in install
        assert "--require-hashes" in install or "--no-index" in install
    assert not any("pip" in each.rest or "apt" in each.rest for each in final if each.word == "RUN")
    for name in ("serve", "build"):
        text = (ROOT / f"requirements/{name}.lock").read_text()
        entries = re.split(r"\n(?=[a-z0-9])", text)
        assert all("--hash=sha256:" in entry for entry in entries if "==" in entry and not entry.startswith("#"))


def test_the_image_installs_what_was_tested_and_all_that_serving_needs() -> None:
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements/serve.lock").read_text(), re.MULTILINE))
    tested = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements/dev.lock").read_text(), re.MULTILINE))
    assert {name: tested.get(name) for name in pinned} == pinned
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    shipped = ("notices", "otel", "postgres", "server")
    needed = [*project["dependencies"], *(each for extra in shipped for each in extras[extra])]
    assert {re.split(r"[\[>=;]", each)[0].lower() for each in needed} <= set(pinned)


def test_what_the_container_file_copies_exists_and_is_let_through() -> None:
    let_through = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    build = container_stages()[0]
    for copied in [each.rest.split()[:-1] for each in build if each.word == "COPY"]:
        for path in copied:
            assert (ROOT / path).exists(), path
            assert f"!{path}" in let_through, path


def test_ports_health_and_environment_are_those_of_the_program() -> None:
    final = container_stages()[-1]
    served = CliRunner().invoke(program, ["serve", "--help"]).output
    (exposed,) = [each.rest for each in final if each.word == "EXPOSE"]
    assert exposed == "8470 9470"
    assert "[default: 8470;" in served
    (health,) = [each.rest for each in final if each.word == "HEALTHCHECK"]
    assert "http://127.0.0.1:8470/healthz" in health
    settings = (ROOT / "src/leasehold/http/health.py").read_text()
    assert all(path in settings for path in ("/healthz", "/readyz"))
    assert set(environments()) <= {"LEASEHOLD_POLICY", "LEASEHOLD_STATE", "XDG_STATE_HOME", "PGPASSFILE", "PUBLIC_URL"}
    for name in ("LEASEHOLD_POLICY", "LEASEHOLD_STATE", "XDG_STATE_HOME"):
        assert any(name in path.read_text() for path in (ROOT / "src").glob("**/*.py")), name


def environments() -> Iterator[str]:
    """The names of every variable that the files set for the program."""
    yield from compose()["services"]["authority"]["environment"]
    pod = manifests()["StatefulSet"]["spec"]["template"]["spec"]
    yield from (each["name"] for container in containers(pod) for each in container.get("env", []))
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    literals = [text for each in listed["configMapGenerator"] for text in each.get("literals", [])]
    yield from (text.partition("=")[0] for text in literals)


def test_the_compose_file_is_one() -> None:
    read = compose_spec.PyCompose.from_yaml(yaml.safe_dump(compose()))  # merged: it reads no merge keys
    assert sorted(read.service_names()) == ["authority", "database", "migrate", "proxy"]


@pytest.mark.parametrize("name", ["authority", "migrate", "proxy"])
def test_services_have_a_read_only_root_and_no_capabilities(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "pid", "network_mode", "devices"} & service.keys()
    if name != "proxy":
        assert service["user"] == f"{ACCOUNT}:{ACCOUNT}"
        assert "cap_add" not in service


def test_only_the_proxy_can_be_reached_from_outside_and_every_name_leads_somewhere() -> None:
    file = compose()
    published = [name for name, service in file["services"].items() if "ports" in service]
    assert published == ["proxy"]
    assert file["networks"]["database"] == {"internal": True}
    assert file["networks"]["front"]["internal"] is True
    addresses = {name: service["networks"] for name, service in file["services"].items()}
    (trusted,) = [word for word in file["services"]["authority"]["command"] if word.startswith("--proxy=")]
    assert trusted == f"--proxy={addresses['proxy']['front']['ipv4_address']}"
    for service in file["services"].values():
        assert set(service.get("secrets", [])) <= file["secrets"].keys()
        assert {volume.split(":")[0] for volume in service.get("volumes", []) if volume[0] not in "./"} <= file[
            "volumes"
        ].keys()
        assert set(service.get("depends_on", {})) <= file["services"].keys()


def test_a_policy_that_an_editor_replaced_is_the_one_that_containers_read() -> None:
    mounted = [volume.split(":") for volume in compose()["services"]["authority"]["volumes"] if volume.startswith("./")]
    ((here, there, mode),) = mounted
    assert (DEPLOY / "compose" / here).is_dir()  # a file mounted alone stays the old one when its name gets another
    assert mode == "ro"
    policy = Path(compose()["services"]["authority"]["environment"]["LEASEHOLD_POLICY"])
    assert (DEPLOY / "compose" / here / policy.relative_to(there)).is_file()


def test_the_database_counts_as_healthy_only_where_the_authority_reaches_it() -> None:
    check = compose()["services"]["database"]["healthcheck"]["test"]
    assert "--host=127.0.0.1" in check  # the server that answers while the database is made has no such address


def test_what_is_secret_beside_the_compose_file_is_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/deploy/compose/secrets/", "/deploy/compose/.env"} <= set(ignored)
    assert all(each["file"].startswith("./secrets/") for each in compose()["secrets"].values())


@pytest.mark.parametrize("kind", manifests())
def test_manifests_are_what_kubernetes_takes(kind: str) -> None:
    kubernetes_validate.validate(manifests()[kind], "1.31", strict=True)


def test_pods_meet_the_restricted_standard_and_have_a_read_only_root() -> None:
    found = manifests()
    assert found["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = found["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert str(pod["securityContext"]["runAsUser"]) == ACCOUNT
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
    assert not any("hostPath" in volume for volume in pod["volumes"])


def test_manifests_agree_with_each_other() -> None:
    found = manifests()
    pod = found["StatefulSet"]["spec"]["template"]["spec"]
    (authority,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in authority["ports"]}
    assert ports == {"http": 8470, "metrics": 9470}
    assert {port["targetPort"] for port in found["Service"]["spec"]["ports"]} == set(ports)
    allowed = [port["port"] for rule in found["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]]
    assert sorted(allowed) == sorted(ports)
    probes = {name: authority[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: (get["path"], get["port"]) for name, get in probes.items()} == {
        "startup": ("/healthz", "http"),
        "liveness": ("/healthz", "http"),
        "readiness": ("/readyz", "http"),
    }
    volumes = {volume["name"] for volume in pod["volumes"]} | {
        claim["metadata"]["name"] for claim in found["StatefulSet"]["spec"]["volumeClaimTemplates"]
    }
    for container in containers(pod):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    labels = found["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        found["StatefulSet"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector == labels


def test_the_kustomization_lists_every_file_and_makes_what_pods_refer_to() -> None:
    folder = DEPLOY / "kubernetes"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())
    others = {"kustomization.yaml", "leasehold.toml"}
    assert {path.name for path in folder.iterdir()} == {*listed["resources"], *others}
    made = {each["name"] for each in listed["configMapGenerator"]}
    pod = manifests()["StatefulSet"]["spec"]["template"]["spec"]
    wanted = {source["configMapRef"]["name"] for each in containers(pod) for source in each.get("envFrom", [])}
    wanted |= {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert wanted == made
    assert {container["image"] for container in containers(pod)} == {each["name"] for each in listed["images"]}


@pytest.mark.parametrize("where", ["compose/policy", "kubernetes"])
def test_policies_beside_the_files_load_and_pass_their_own_tests(where: str) -> None:
    text = (DEPLOY / where / "leasehold.toml").read_text()
    policy = load_policy([Source("leasehold.toml", text)])
    assert policy.authority == "leasehold"
    assert run_tests(policy) == []


def test_no_secret_stands_in_the_files() -> None:
    for path in sorted(DEPLOY.glob("**/*")):
        if path.is_file():
            assert not SECRET.search(path.read_text()), path.name
