"""The unlearning updates: how large they are, and which share lies in the finetuning update.

Needs: base model, adapters below <results>/models/. No model runs.
Makes: <results>/updates.json, <results>/update_results.json.
"""


rule measure_updates:
    """Measure the updates of all models, and project them onto the finetuning update."""
    input:
        study.base_files(),
        [study.adapter_of(model) for model in study.baselines() + study.checkpoints()],
        script="workflow_scripts/measure_updates.py",
        lib=library_of("measure_updates"),
    output:
        "<results>/updates.json",
    log:
        "<logs>/measure_updates.log",
    benchmark:
        "<benchmarks>/measure_updates.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("updates"),
        runtime=per_attempt(60),
        gpu=0,
    params:
        base=folder(study.base_folder()),
        hp=study.machine_settings(),
        models_dir=folder("<results>/models"),
        models=study.baselines() + study.checkpoints(),
    message:
        "Measuring the updates"
    shell:
        "python {input.script:q} --base {params.base:q} --models-dir {params.models_dir:q}"
        " --models {params.models:q} --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


rule summarize_updates:
    """Summarise the updates of every model, over the whole model and block by block."""
    input:
        script="workflow_scripts/summarize_updates.py",
        lib=library_of("summarize_updates", unread=RECORDS),
        updates="<results>/updates.json",
        report="<results>/data_report.json",
    output:
        report("<results>/update_results.json", **place_of("update_results", "table")),
    log:
        "<logs>/summarize_updates.log",
    benchmark:
        "<benchmarks>/summarize_updates.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        models=study.baselines() + study.checkpoints(),
        hp=study.update_settings(),
        experiment=config["experiment"],
        config=study.result_config("lora", "finetuning", "oracle", "unlearning", "evaluation"),
    message:
        "Summarising the updates"
    shell:
        "python {input.script:q} --updates {input.updates:q} --models {params.models:q}"
        " --hp {params.hp:q} --experiment {params.experiment:q} --config {params.config:q}"
        " --out {output:q} > {log:q} 2>&1"
