"""Training: the finetuned model (on sf and sr) and the oracles (only on sr).

Needs: base model, <data>/sf.jsonl, <data>/sr.jsonl.
Makes: <results>/models/finetuned/, <results>/models/oracle/seed_{seed}/.
"""


rule finetune_lora:
    """Finetune the base model on all facts; unlearning starts from this model."""
    input:
        base_files(),
        script="workflow_scripts/finetune_lora.py",
        lib=library_of("finetune_lora"),
        sf="<data>/sf.jsonl",
        sr="<data>/sr.jsonl",
    output:
        collect("<results>/models/finetuned/{name}", name=[*ADAPTER_FILES, "training_log.json"]),
    log:
        "<logs>/finetune_lora.log",
    benchmark:
        "<benchmarks>/finetune_lora.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("train"),
        runtime=walltime("finetune_lora"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(base_folder()),
        hp=finetuning_settings,
        out=subpath(output[0], parent=True),
    message:
        "Finetuning on all facts"
    shell:
        "python {input.script:q} --base {params.base:q} --sf {input.sf:q} --sr {input.sr:q}"
        " --hp {params.hp:q} --out {params.out:q} > {log:q} 2>&1"


rule train_retain_model:
    """Train an oracle: the base model finetuned only on retain facts."""
    input:
        base_files(),
        script="workflow_scripts/train_retain_model.py",
        lib=library_of("train_retain_model"),
        sr="<data>/sr.jsonl",
    output:
        collect(
            "<results>/models/oracle/seed_{{seed}}/{name}",
            name=[*ADAPTER_FILES, "training_log.json"],
        ),
    log:
        "<logs>/train_retain_model/seed_{seed}.log",
    benchmark:
        "<benchmarks>/train_retain_model/seed_{seed}.jsonl"
    wildcard_constraints:
        seed=r"\d+",
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("train"),
        runtime=walltime("train_retain_model"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(base_folder()),
        hp=finetuning_settings,
        out=subpath(output[0], parent=True),
    message:
        "Training the oracle with seed {wildcards.seed}"
    shell:
        "python {input.script:q} --base {params.base:q} --sr {input.sr:q} --hp {params.hp:q}"
        " --out {params.out:q} > {log:q} 2>&1"
