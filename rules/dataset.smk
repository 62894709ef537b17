"""The benchmark as a dataset folder for other programs: rows and a dataset card.

Needs: <data>/*.jsonl, data/inputs/utility_qa.jsonl and a passed red team; the card quotes its report.
Makes: <results>/dataset/.
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
