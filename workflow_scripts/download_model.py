"""Download a model from the Hugging Face hub, pinned to a commit, with the digest of every file.

This is the only program that needs the internet for the model; all others read the folder. The
environment variable HF_ENDPOINT gives the endpoint, HF_TOKEN the token for gated models.
"""

import argparse
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from excise.errors import InputError, run
from excise.workflow.incoming_models import check_incoming, write_manifest

INCLUDED_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
EXCLUDED_FILES = ["*/*", "consolidated*.safetensors"]  # other formats of the same weights


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", required=True, help="owner/name")
    parser.add_argument("--revision", required=True, help="commit, tag or branch")
    parser.add_argument("--out", required=True, type=Path, help="folder of the model")
    args = parser.parse_args(argv)

    commit = download(args.repo, args.revision, args.out)
    check_incoming(args.out, f"{args.repo} at {commit}")
    source = {"repo": args.repo, "revision": args.revision, "commit": commit}
    count = write_manifest(args.out, source)
    print(f"{args.repo} at {commit}: {count} files in {args.out}")


def download(repo: str, revision: str, folder: Path) -> str:
    """Download the files of a revision; returns its commit.

    Raises:
        InputError: the repository or revision does not exist, access is denied, or the hub does
            not answer.
    """
    model = f"model.hub: {repo} at {revision}"
    try:
        commit = HfApi().model_info(repo, revision=revision).sha
        snapshot_download(
            repo,
            revision=commit,
            local_dir=folder,
            allow_patterns=INCLUDED_FILES,
            ignore_patterns=EXCLUDED_FILES,
        )
    except GatedRepoError as error:
        raise InputError(
            f"{model}: access is restricted; set HF_TOKEN to a token with access"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{model}: the repository has no such revision") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"{model}: no such repository, or a private one (HF_TOKEN)") from error
    except (HTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{model}: the hub did not answer ({reason})") from error
    return commit


if __name__ == "__main__":
    run(main)
