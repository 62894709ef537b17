"""Hidden states of every model: their drift from a reference model, layer by layer.

Needs: base model, adapters below <results>/models/, the benchmark, data/inputs/utility_qa.jsonl.
Makes: <results>/repr/{model}/items.jsonl, one line per question and position.

Moved from what: from the finetuned model. Controls: finetuned against itself (0), base (the
scale), and the later oracles against the first (the noise floor).
"""


rule represent:
    """Compare hidden states of base, finetuned or an oracle with those of its reference."""
    input:
        base_files(),
        adapters,
        reference_adapters,
        collect("<data>/{name}.jsonl", name=["sf", "sr"]),
        script="workflow_scripts/represent.py",
        lib=library_of("represent", unread=["wrong_details", "forget_paraphrased"]),
        utility=UTILITY,
    output:
        "<results>/repr/{model}/items.jsonl",
    log:
        "<logs>/represent/{model}.log",
    benchmark:
        "<benchmarks>/represent/{model}.jsonl"
    wildcard_constraints:
        model=r"base|finetuned|oracle/seed_\d+",
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("represent"),
        runtime=walltime("represent"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(base_folder()),
        data=folder("<data>"),
        hp=representation_settings(),
        models_dir=folder("<results>/models"),
        out_dir=folder("<results>/repr"),
        models="{model}",
        reference=reference_model,
    message:
        "Extracting hidden states: {wildcards.model}"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
        " --out-dir {params.out_dir:q} --reference {params.reference:q}"
        " --models {params.models:q} > {log:q} 2>&1"


for epochs, trajectories in trajectories_by_epochs():

    rule:
        """Compare hidden states of all checkpoints of a trajectory with the finetuned model."""
        name:
            rule_name("represent_unlearned", epochs)
        input:
            base_files(),
            collect(
                "<results>/models/unlearn/{{trajectory}}/epoch_{epoch}/{name}",
                epoch=epochs,
                name=ADAPTER_FILES,
            ),
            adapter_of("finetuned"),
            collect("<data>/{name}.jsonl", name=["sf", "sr"]),
            script="workflow_scripts/represent.py",
            lib=library_of("represent", unread=["wrong_details", "forget_paraphrased"]),
            utility=UTILITY,
        output:
            collect(
                "<results>/repr/unlearn/{{trajectory}}/epoch_{epoch}/items.jsonl",
                epoch=epochs,
            ),
        log:
            "<logs>/represent/unlearn/{trajectory}.log",
        benchmark:
            "<benchmarks>/represent/unlearn/{trajectory}.jsonl"
        wildcard_constraints:
            trajectory=trajectories,
        conda:
            "../envs/model.yaml"
        threads: config["resources"]["threads"]
        resources:
            mem_mb=memory("represent"),
            runtime=walltime("represent", epochs),
            gpu=config["resources"]["gpu"],
        params:
            base=folder(base_folder()),
            data=folder("<data>"),
            hp=representation_settings(),
            models_dir=folder("<results>/models"),
            out_dir=folder("<results>/repr"),
            reference="finetuned",
            models=recorded_models,
        message:
            "Extracting hidden states: {wildcards.trajectory}"
        shell:
            "python {input.script:q} --base {params.base:q} --data {params.data:q}"
            " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
            " --out-dir {params.out_dir:q} --reference {params.reference:q}"
            " --models {params.models:q} > {log:q} 2>&1"
