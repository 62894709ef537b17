"""Unlearning: one job per trajectory, from the finetuned adapter, with checkpoints.

Needs: base model, <results>/models/finetuned/, <data>/sf.jsonl, <data>/sr.jsonl, the method's file.
Makes: <results>/models/finetuned_reference.json,
    <results>/models/unlearn/{method}/{config_id}/epoch_{epoch}/ and training_log.json beside them.
"""


rule reference_logprobs:
    """Score the forget answers with the finetuned model, once for all trajectories."""
    input:
        base_files(),
        adapter_of("finetuned"),
        script="workflow_scripts/reference_logprobs.py",
        lib=library_of("reference_logprobs"),
        sf="<data>/sf.jsonl",
    output:
        REFERENCE,
    log:
        "<logs>/reference_logprobs.log",
    benchmark:
        "<benchmarks>/reference_logprobs.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("evaluate"),
        runtime=walltime("reference_logprobs"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(base_folder()),
        adapter=folder("<results>/models/finetuned"),
        hp=reference_settings(),
    message:
        "Scoring the forget answers before unlearning"
    shell:
        "python {input.script:q} --base {params.base:q} --adapter {params.adapter:q}"
        " --sf {input.sf:q} --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


for epochs, trajectories in trajectories_by_epochs():

    rule:
        """Unlearn along one trajectory; its checkpoints are those of shorter runs."""
        name:
            rule_name("unlearn", epochs)
        input:
            base_files(),
            adapter_of("finetuned"),
            script="workflow_scripts/unlearn.py",
            lib=library_of("unlearn"),
            method=method_files,
            sf="<data>/sf.jsonl",
            sr="<data>/sr.jsonl",
            reference=reference,
            alternatives=alternatives,
        output:
            "<results>/models/unlearn/{trajectory}/training_log.json",
            collect(
                "<results>/models/unlearn/{{trajectory}}/epoch_{epoch}/{name}",
                epoch=epochs,
                name=ADAPTER_FILES,
            ),
        log:
            "<logs>/unlearn/{trajectory}.log",
        benchmark:
            "<benchmarks>/unlearn/{trajectory}.jsonl"
        wildcard_constraints:
            trajectory=trajectories,
        conda:
            "../envs/model.yaml"
        threads: config["resources"]["threads"]
        resources:
            mem_mb=memory("train"),
            runtime=walltime("unlearn", epochs),
            gpu=config["resources"]["gpu"],
        params:
            base=folder(base_folder()),
            adapter=folder("<results>/models/finetuned"),
            optional=optional_arguments,
            hp=unlearning_settings,
            epochs=saved_epochs,
            out=subpath(output[0], parent=True),
        message:
            "Unlearning: {wildcards.trajectory}"
        shell:
            "python {input.script:q} --base {params.base:q} --adapter {params.adapter:q}"
            " --sf {input.sf:q} --sr {input.sr:q} {params.optional} --hp {params.hp:q}"
            " --epochs {params.epochs} --out {params.out:q} > {log:q} 2>&1"
