"""Depth of erasure: what a model's hidden states still tell the finetuned model, layer by layer.

Needs: base model, adapters below <results>/models/, the benchmark.
Makes: <results>/depth/{model}/items.jsonl, one line per question, and probes.jsonl.

Each job patches one model's states into the finetuned model. The job of an oracle makes S1; the table
compares all models with it.
"""

DEPTH_QUESTIONS = ["representations", "depth_sets", "wrong_details", "utility"]


rule depth:
    """Patch a model's states into the finetuned model; read them with its head and with probes."""
    input:
        study.base_files(),
        study.adapter_of("finetuned"),
        study.own_adapters,
        study.asked_files(*DEPTH_QUESTIONS),
        script="workflow_scripts/measure_depth.py",
        lib=library_of("measure_depth", unread=study.unread_kinds(*DEPTH_QUESTIONS)),
    output:
        "<results>/depth/{model}/items.jsonl",
        "<results>/depth/{model}/probes.jsonl",
    log:
        "<logs>/depth/{model}.log",
    benchmark:
        "<benchmarks>/depth/{model}.jsonl"
    wildcard_constraints:
        model=r"base|finetuned|oracle/seed_\d+|unlearn/.+",
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("depth"),
        runtime=walltime("depth"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        data=folder("<data>"),
        hp=study.depth_settings(),
        models_dir=folder("<results>/models"),
        out_dir=folder("<results>/depth"),
        target="finetuned",
        models="{model}",
    message:
        "Patching hidden states: {wildcards.model}"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --hp {params.hp:q} --models-dir {params.models_dir:q} --out-dir {params.out_dir:q}"
        " --target {params.target:q} --models {params.models:q} > {log:q} 2>&1"
