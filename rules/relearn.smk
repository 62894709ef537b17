"""The relearning attack: what comes back when training goes on with a few facts.

Needs: base model, adapters of the levels and of all oracles, <data>/sf.jsonl, <data>/sr.jsonl.
Makes: <results>/relearn/{model}/{attack}/step_{step}.jsonl and training_log.json.
"""


rule relearn:
    """Train a model further on each attack set, and ask it the forget questions meanwhile."""
    input:
        study.base_files(),
        study.adapters,
        collect("<data>/{name}.jsonl", name=["sf", "sr"]),
        script="workflow_scripts/relearn.py",
        lib=library_of("relearn", unread=["forget_paraphrased", "wrong_details", "utility"]),
    output:
        "<results>/relearn/{model}/training_log.json",
        collect(
            "<results>/relearn/{{model}}/{attack}/step_{step}.jsonl",
            attack=study.relearning_attacks(),
            step=config["relearning"]["steps"],
        ),
    log:
        "<logs>/relearn/{model}.log",
    benchmark:
        "<benchmarks>/relearn/{model}.jsonl"
    wildcard_constraints:
        model=r"oracle/seed_\d+|unlearn/.+",
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("train"),
        runtime=walltime("relearn"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        data=folder("<data>"),
        hp=study.relearning_settings(),
        models_dir=folder("<results>/models"),
        out_dir=folder("<results>/relearn"),
        models="{model}",
        attacks=study.recorded_attacks,
        steps=study.recorded_steps,
    message:
        "Relearning: {wildcards.model}"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --hp {params.hp:q} --models-dir {params.models_dir:q} --out-dir {params.out_dir:q}"
        " --models {params.models:q} --attacks {params.attacks} --steps {params.steps}"
        " > {log:q} 2>&1"
