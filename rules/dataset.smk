"""The benchmark as a dataset folder for other programs: rows and a dataset card.

Needs: <data>/*.jsonl, data/inputs/utility_qa.jsonl and a passed red team; the card quotes its report.
Makes: <results>/dataset/; on request <results>/open_unlearning/{model}/.
"""


rule export_dataset:
    """Write files for `datasets.load_dataset` and open-unlearning, in our and TOFU's fields."""
    input:
        collect("<data>/{name}.jsonl", name=DATA_FILES),
        script="workflow_scripts/export_dataset.py",
        lib=library_of("export_dataset"),
        profiles="<data>/generated/profiles.jsonl",
        holdout=HOLDOUT,
        utility=UTILITY,
        report="<results>/data_report.json",
    output:
        collect("<results>/dataset/{name}", name=study.exported_files()),
    log:
        "<logs>/export_dataset.log",
    benchmark:
        "<benchmarks>/export_dataset.jsonl"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        data=subpath(input[0], parent=True),
        out=folder("<results>/dataset"),
    message:
        "Exporting the dataset"
    shell:
        "python {input.script:q} --data {params.data:q} --profiles {input.profiles:q}"
        " --utility {input.utility:q} --report {input.report:q} --out {params.out:q}"
        " > {log:q} 2>&1"


rule export_open_unlearning:
    """Write an evaluated model in the files of open-unlearning's evaluator for TOFU."""
    input:
        study.records_of_exported,
        collect("<data>/{name}.jsonl", name=DATA_FILES),
        script="workflow_scripts/export_open_unlearning.py",
        lib=library_of("export_open_unlearning"),
        holdout=HOLDOUT,
        utility=UTILITY,
    output:
        "<results>/open_unlearning/{model}/TOFU_EVAL.json",
        "<results>/open_unlearning/{model}/TOFU_SUMMARY.json",
        "<results>/open_unlearning/{model}/LEFT_OUT.json",
    log:
        "<logs>/export_open_unlearning/{model}.log",
    benchmark:
        "<benchmarks>/export_open_unlearning/{model}.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        eval_dir=folder("<results>/eval"),
        data=folder("<data>"),
        retain=study.retain_argument,
        tokens=config["evaluation"]["max_new_tokens"],
        out=subpath(output[0], parent=True),
    message:
        "Exporting {wildcards.model} for open-unlearning"
    shell:
        "python {input.script:q} --eval-dir {params.eval_dir:q} --model {wildcards.model:q}"
        " {params.retain} --data {params.data:q} --utility {input.utility:q}"
        " --max-new-tokens {params.tokens} --out-dir {params.out:q} > {log:q} 2>&1"
