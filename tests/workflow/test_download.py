"""The hub path, against an imitation of the Hugging Face hub on loopback (HF_ENDPOINT)."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from werkzeug import Request, Response

from tiny_models import tiny_folder

pytestmark = pytest.mark.workflow

ROOT = Path(__file__).parents[2]
REPO, COMMIT = "tiny/qwen2", "0123456789abcdef0123456789abcdef01234567"
EXTRA_FILES = {"README.md": "# Tiny", "pytorch_model.bin": "other weights", "onnx/model.json": "{}"}


class Hub:
    """One repository with one commit, on branch main."""

    def __init__(self, server, files: dict[str, bytes]):
        self.files = files
        self.url = server.url_for("")
        server.expect_request(f"/api/models/{REPO}/revision/main").respond_with_handler(self.info)
        server.expect_request(f"/api/models/{REPO}/revision/{COMMIT}").respond_with_handler(
            self.info
        )
        server.expect_request(f"/api/models/{REPO}/tree/{COMMIT}").respond_with_handler(self.tree)
        for name in files:
            server.expect_request(f"/{REPO}/resolve/{COMMIT}/{name}").respond_with_handler(
                self.file
            )
        missing = {"X-Error-Code": "RevisionNotFound"}
        server.expect_request(f"/api/models/{REPO}/revision/v9").respond_with_data(
            "{}", status=404, headers=missing
        )
        server.expect_request("/api/models/tiny/nothing/revision/main").respond_with_data(
            "{}", status=404, headers={"X-Error-Code": "RepoNotFound"}
        )
        server.expect_request("/api/models/tiny/gated/revision/main").respond_with_data(
            "{}", status=403, headers={"X-Error-Code": "GatedRepo"}
        )

    def info(self, request: Request) -> Response:
        siblings = [{"rfilename": name} for name in self.files]
        return answer({"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings})

    def tree(self, request: Request) -> Response:
        entry = {"type": "file", "oid": "0" * 40}
        sizes = {name: len(content) for name, content in self.files.items()}
        return answer([entry | {"path": name, "size": size} for name, size in sizes.items()])

    def file(self, request: Request) -> Response:
        content = self.files[request.path.partition(f"/{COMMIT}/")[2]]
        digest = hashlib.sha256(content).hexdigest()
        return Response(content, headers={"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT})


def answer(content) -> Response:
    return Response(json.dumps(content), content_type="application/json")


@pytest.fixture
def hub(httpserver, tmp_path) -> Hub:
    folder = tiny_folder(tmp_path / "repository")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return Hub(httpserver, files | {name: text.encode() for name, text in EXTRA_FILES.items()})


@pytest.fixture
def without_hub_settings(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def download(endpoint: str, out: Path, repo: str = REPO, revision: str = "main", **variables: str):
    command = [sys.executable, ROOT / "workflow_scripts/download_model.py"]
    command += ["--repo", repo, "--revision", revision, "--out", out]
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(out.parent / "cache")}
    environment |= variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.usefixtures("without_hub_settings")
def test_a_model_is_pinned_to_a_commit_with_digests(hub, tmp_path):
    out = tmp_path / "model"
    done = download(hub.url, out)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    wanted = set(hub.files) - set(EXTRA_FILES)
    assert manifest["commit"] == COMMIT and manifest["revision"] == "main"
    assert manifest["sha256"] == {
        name: hashlib.sha256(hub.files[name]).hexdigest() for name in wanted
    }
    assert not [name for name in EXTRA_FILES if (out / name).exists()]
    assert (out / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


@pytest.mark.usefixtures("without_hub_settings")
def test_the_same_commit_gives_the_same_manifest(hub, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for out in (first, second):
        assert download(hub.url, out).returncode == 0
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()


@pytest.mark.usefixtures("without_hub_settings")
@pytest.mark.parametrize(
    "repo, revision, reason",
    [
        (REPO, "v9", "the repository has no such revision"),
        ("tiny/nothing", "main", "no such repository"),
        ("tiny/gated", "main", "access is restricted; set HF_TOKEN"),
    ],
)
def test_what_the_hub_refuses_gets_one_line(hub, tmp_path, repo, revision, reason):
    done = download(hub.url, tmp_path / "model", repo, revision)
    assert done.returncode == 1
    assert done.stderr.strip().startswith(f"error: model.hub: {repo} at {revision}: {reason}")
    assert not (tmp_path / "model/manifest.json").exists()


@pytest.mark.usefixtures("without_hub_settings")
def test_no_network_gets_one_line(tmp_path):
    done = download("http://127.0.0.1:9", tmp_path / "model")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: model.hub: {REPO} at main: the hub did not answer")


@pytest.mark.usefixtures("without_hub_settings")
def test_a_repository_without_a_chat_template_gets_one_line(hub, tmp_path):
    del hub.files["chat_template.jinja"]
    done = download(hub.url, tmp_path / "model")
    assert done.returncode == 1 and "no chat template" in done.stderr
    assert not (tmp_path / "model/manifest.json").exists()


@pytest.mark.usefixtures("without_hub_settings")
def test_a_method_that_does_not_fit_the_model_gets_one_line(hub, tmp_path):
    block = {"method": "rmu", "learning_rate": [1e-4], "steering_layer": [99]}
    block |= {"steering_scale": [1.0], "retain_weight": [0.0], "epochs": [1]}
    trajectories = json.dumps({"unlearning": {"trajectories": [block]}})
    done = download(hub.url, tmp_path / "model", EXCISE_UNLEARNING=trajectories)
    place = "config: unlearning.trajectories[0]: steering_layer: found 99; allowed: 1 to "
    assert done.returncode == 1 and f"error: {place}" in done.stderr
    assert not (tmp_path / "model/manifest.json").exists()


@pytest.mark.usefixtures("without_hub_settings")
def test_the_workflow_downloads_and_then_works_offline(hub, fresh, tmp_path):
    own = fresh.copy(tmp_path / "own")
    model = f"model={{path: null, hub: {{repo: {REPO}, revision: main}}}}"
    target = "experiments/smoke/results/eval/finetuned/items.jsonl"
    own.run(target, "--config", model, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "cache"))
    assert (own / "data/models/tiny--qwen2--main/manifest.json").is_file()
    hub.files.clear()
    assert own.plan(target, "--config", model) == set()
