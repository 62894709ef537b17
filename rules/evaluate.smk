"""Evaluate every model on every question: generations and log-probabilities, a line per question.

Needs: base model, adapters below <results>/models/, the benchmark, data/inputs/utility_qa.jsonl.
Makes: <results>/eval/{model}/items.jsonl.
"""


rule evaluate:
    """Evaluate base, finetuned or an oracle."""
    input:
        base_files(),
        adapters,
        collect("<data>/{name}.jsonl", name=DATA_FILES),
        script="workflow_scripts/evaluate.py",
        lib=library_of("evaluate"),
        utility=UTILITY,
    output:
        "<results>/eval/{model}/items.jsonl",
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
        base=folder(base_folder()),
        data=folder("<data>"),
        hp=evaluation_settings(),
        models_dir=folder("<results>/models"),
        out_dir=folder("<results>/eval"),
        models="{model}",
    message:
        "Evaluating {wildcards.model}"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
        " --out-dir {params.out_dir:q} --models {params.models:q} > {log:q} 2>&1"


for epochs, trajectories in trajectories_by_epochs():

    rule:
        """Evaluate all checkpoints of a trajectory, with one load of the base model."""
        name:
            rule_name("evaluate_unlearned", epochs)
        input:
            base_files(),
            collect(
                "<results>/models/unlearn/{{trajectory}}/epoch_{epoch}/{name}",
                epoch=epochs,
                name=ADAPTER_FILES,
            ),
            "<results>/models/unlearn/{trajectory}/training_log.json",
            collect("<data>/{name}.jsonl", name=DATA_FILES),
            script="workflow_scripts/evaluate.py",
            lib=library_of("evaluate"),
            utility=UTILITY,
        output:
            collect(
                "<results>/eval/unlearn/{{trajectory}}/epoch_{epoch}/items.jsonl",
                epoch=epochs,
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
            base=folder(base_folder()),
            data=folder("<data>"),
            hp=evaluation_settings(),
            models_dir=folder("<results>/models"),
            out_dir=folder("<results>/eval"),
            models=recorded_models,
        message:
            "Evaluating {wildcards.trajectory}"
        shell:
            "python {input.script:q} --base {params.base:q} --data {params.data:q}"
            " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
            " --out-dir {params.out_dir:q} --models {params.models:q} > {log:q} 2>&1"
