"""Download a model of the Hugging Face hub, pinned to a commit, with the digest of every file.

Runs where there is internet; everything after it reads the folder. The endpoint is the
environment variable HF_ENDPOINT, a token for gated models HF_TOKEN.
"""

import argparse
import os
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from excise.errors import InputError, run
from excise.files import sha256
from excise.modeling.settings import ModelCheckSettings
from excise.records import write_json
from excise.settings import json_of
from excise.workflow.preflight import check_model_folder, model_files

WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
UNWANTED = ["*/*", "consolidated*.safetensors"]  # other formats of the same weights


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", required=True, help="owner/name")
    parser.add_argument("--revision", required=True, help="commit, tag or branch")
    parser.add_argument("--out", required=True, type=Path, help="folder of the model")
    args = parser.parse_args(argv)

    commit = download(args.repo, args.revision, args.out)
    check_model_folder(args.out, f"{args.repo} at {commit}")
    if settings := os.environ.get("EXCISE_MODEL"):  # of the experiment that uses the model
        from excise.workflow.model_check import check_model  # takes seconds to import

        check_model(args.out, json_of(ModelCheckSettings, "EXCISE_MODEL")(settings))
    files = model_files(args.out)
    manifest = {
        "repo": args.repo,
        "revision": args.revision,
        "commit": commit,
        "sha256": {Path(path).name: sha256(path) for path in files},
    }
    write_json(args.out / "manifest.json", manifest)
    print(f"{args.repo} at {commit}: {len(files)} files in {args.out}")


def download(repo: str, revision: str, folder: Path) -> str:
    """Download the files of a revision; returns its commit.

    Raises:
        InputError: no such repository or revision, no access, or no answer from the hub.
    """
    what = f"model.hub: {repo} at {revision}"
    try:
        commit = HfApi().model_info(repo, revision=revision).sha
        snapshot_download(
            repo,
            revision=commit,
            local_dir=folder,
            allow_patterns=WANTED,
            ignore_patterns=UNWANTED,
        )
    except GatedRepoError as error:
        raise InputError(
            f"{what}: access is restricted; set HF_TOKEN to a token that has it"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{what}: the repository has no such revision") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"{what}: no such repository, or a private one (HF_TOKEN)") from error
    except (HTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{what}: the hub did not answer ({reason})") from error
    return commit


if __name__ == "__main__":
    run(main)
