"""Evaluate every model on every question: generations, and log-probabilities token by token.

Needs: base model, adapters below <results>/models/, the benchmark, data/inputs/utility_qa.jsonl.
Makes: <results>/eval/{model}/items.jsonl and tokens.parquet.
"""


rule evaluate:
    """Evaluate base, finetuned or an oracle."""
    input:
        study.base_files(),
        study.adapters,
        collect("<data>/{name}.jsonl", name=DATA_FILES),
        script="workflow_scripts/evaluate.py",
        lib=library_of("evaluate"),
        holdout=HOLDOUT,
        utility=UTILITY,
    output:
        "<results>/eval/{model}/items.jsonl",
        "<results>/eval/{model}/tokens.parquet",
    log:
        "<logs>/evaluate/{model}.log",
    benchmark:
        "<benchmarks>/evaluate/{model}.jsonl"
    wildcard_constraints:
        model=r"base|finetuned|oracle/seed_\d+",
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("evaluate"),
        runtime=walltime("evaluate"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        data=folder("<data>"),
        hp=study.evaluation_settings(),
        models_dir=folder("<results>/models"),
        out_dir=folder("<results>/eval"),
        models="{model}",
    message:
        "Evaluating {wildcards.model}"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
        " --out-dir {params.out_dir:q} --models {params.models:q} > {log:q} 2>&1"


for epochs, trajectories in study.trajectories_by_epochs():

    rule:
        """Evaluate all checkpoints of a trajectory, with one load of the base model."""
        name:
            study.rule_name("evaluate_unlearned", epochs)
        input:
            study.base_files(),
            collect(
                "<results>/models/unlearn/{{trajectory}}/epoch_{epoch}/{name}",
                epoch=epochs,
                name=ADAPTER_FILES,
            ),
            "<results>/models/unlearn/{trajectory}/training_log.json",
            collect("<data>/{name}.jsonl", name=DATA_FILES),
            script="workflow_scripts/evaluate.py",
            lib=library_of("evaluate"),
            holdout=HOLDOUT,
            utility=UTILITY,
        output:
            collect(
                "<results>/eval/unlearn/{{trajectory}}/epoch_{epoch}/{file}",
                epoch=epochs,
                file=["items.jsonl", "tokens.parquet"],
            ),
        log:
            "<logs>/evaluate/unlearn/{trajectory}.log",
        benchmark:
            "<benchmarks>/evaluate/unlearn/{trajectory}.jsonl"
        wildcard_constraints:
            trajectory=trajectories,
        conda:
            "../envs/model.yaml"
        threads: config["resources"]["threads"]
        resources:
            mem_mb=memory("evaluate"),
            runtime=walltime("evaluate", epochs),
            gpu=config["resources"]["gpu"],
        params:
            base=folder(study.base_folder()),
            data=folder("<data>"),
            hp=study.evaluation_settings(),
            models_dir=folder("<results>/models"),
            out_dir=folder("<results>/eval"),
            models=study.recorded_models,
            sweep=study.sweep_argument,
        message:
            "Evaluating {wildcards.trajectory}"
        shell:
            "python {input.script:q} --base {params.base:q} --data {params.data:q}"
            " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
            " --out-dir {params.out_dir:q} --models {params.models:q} {params.sweep}"
            " > {log:q} 2>&1"
