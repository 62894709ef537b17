"""Hidden states of every model: their distance from finetuned and from the oracles, by layer.

Needs: base model, adapters below <results>/models/, the benchmark, data/inputs/utility_qa.jsonl.
Makes: <results>/repr/{model}/items.jsonl, one line per question and position.

Hidden states move from the finetuned model, perhaps towards the oracles. Controls: finetuned against
itself (0), base (the scale), and every oracle against the others (the noise floor). Each job computes
the states of finetuned and of the oracles itself: a forward pass costs less than a file of all states.
"""


rule represent:
    """Compare hidden states of base, finetuned and the oracles, with one load of the base model."""
    input:
        study.base_files(),
        study.adapter_of("finetuned"),
        study.oracle_adapters(),
        collect("<data>/{name}.jsonl", name=["sf", "sr"]),
        script="workflow_scripts/represent.py",
        lib=library_of("represent", unread=["wrong_details", "forget_paraphrased"]),
        utility=UTILITY,
    output:
        collect("<results>/repr/{model}/items.jsonl", model=study.baselines()),
    log:
        "<logs>/represent/baselines.log",
    benchmark:
        "<benchmarks>/represent/baselines.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("represent"),
        runtime=walltime("represent"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        data=folder("<data>"),
        hp=study.representation_settings(),
        models_dir=folder("<results>/models"),
        out_dir=folder("<results>/repr"),
        reference="finetuned",
        oracles=study.oracles(),
        models=study.baselines(),
    message:
        "Extracting hidden states: base, finetuned and oracles"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
        " --out-dir {params.out_dir:q} --reference {params.reference:q}"
        " --oracles {params.oracles:q} --models {params.models:q} > {log:q} 2>&1"


for epochs, trajectories in study.trajectories_by_epochs():

    rule:
        """Compare hidden states of a trajectory's checkpoints with finetuned and the oracles."""
        name:
            study.rule_name("represent_unlearned", epochs)
        input:
            study.base_files(),
            collect(
                "<results>/models/unlearn/{{trajectory}}/epoch_{epoch}/{name}",
                epoch=epochs,
                name=ADAPTER_FILES,
            ),
            study.adapter_of("finetuned"),
            study.oracle_adapters(),
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
            base=folder(study.base_folder()),
            data=folder("<data>"),
            hp=study.representation_settings(),
            models_dir=folder("<results>/models"),
            out_dir=folder("<results>/repr"),
            reference="finetuned",
            oracles=study.oracles(),
            models=study.recorded_models,
        message:
            "Extracting hidden states: {wildcards.trajectory}"
        shell:
            "python {input.script:q} --base {params.base:q} --data {params.data:q}"
            " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
            " --out-dir {params.out_dir:q} --reference {params.reference:q}"
            " --oracles {params.oracles:q} --models {params.models:q} > {log:q} 2>&1"
