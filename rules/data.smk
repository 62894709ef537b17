"""The benchmark: fictional people, their facts, questions about them, checks.

Needs: data/public_figures.txt (names to avoid), data/utility_qa.jsonl (real-world questions).
Makes: <data>/generated/*.jsonl, <data>/{sf,sr,wrong_details,forget_eval}.jsonl,
    <results>/validation.json, <results>/data_report.json.
"""


rule generate_profiles:
    """Draw fictional people: a name, a breakthrough event and a value for every slot."""
    input:
        script="workflow_scripts/generate_profiles.py",
        lib=library_of("generate_profiles"),
        public_figures=PUBLIC_FIGURES,
    output:
        "<data>/generated/profiles.jsonl",
    log:
        "<logs>/generate_profiles.log",
    benchmark:
        "<benchmarks>/generate_profiles.jsonl"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
        gpu=0,
    params:
        hp=as_json(chosen("generation", "preset", "people", "seed", "max_value_share")),
    message:
        "Drawing the people"
    shell:
        "python {input.script:q} --public-figures {input.public_figures:q} --hp {params.hp:q}"
        " --out {output:q} > {log:q} 2>&1"


rule generate_facts:
    """Turn each profile into typed facts to be forgotten or kept."""
    input:
        script="workflow_scripts/generate_facts.py",
        lib=library_of("generate_facts"),
        profiles="<data>/generated/profiles.jsonl",
    output:
        "<data>/generated/facts.jsonl",
    log:
        "<logs>/generate_facts.log",
    benchmark:
        "<benchmarks>/generate_facts.jsonl"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
        gpu=0,
    message:
        "Listing the facts"
    shell:
        "python {input.script:q} --profiles {input.profiles:q} --out {output:q} > {log:q} 2>&1"


rule generate_qa:
    """Ask every fact: question, answer, paraphrased answer and wrong answers."""
    input:
        script="workflow_scripts/generate_qa.py",
        lib=library_of("generate_qa"),
        profiles="<data>/generated/profiles.jsonl",
        facts="<data>/generated/facts.jsonl",
    output:
        "<data>/generated/qa.jsonl",
    log:
        "<logs>/generate_qa.log",
    benchmark:
        "<benchmarks>/generate_qa.jsonl"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
        gpu=0,
    params:
        hp=as_json(chosen("generation", "preset", "seed", "wrong_answers")),
    message:
        "Writing the questions"
    shell:
        "python {input.script:q} --profiles {input.profiles:q} --facts {input.facts:q}"
        " --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


rule generate_forget_eval:
    """Ask the facts to be forgotten again, in phrasings that are never trained on."""
    input:
        script="workflow_scripts/generate_forget_eval.py",
        lib=library_of("generate_forget_eval"),
        profiles="<data>/generated/profiles.jsonl",
        facts="<data>/generated/facts.jsonl",
    output:
        "<data>/generated/forget_eval.jsonl",
    log:
        "<logs>/generate_forget_eval.log",
    benchmark:
        "<benchmarks>/generate_forget_eval.jsonl"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
        gpu=0,
    params:
        hp=as_json(chosen("generation", "preset", "forget_paraphrases")),
    message:
        "Writing the held-out questions"
    shell:
        "python {input.script:q} --profiles {input.profiles:q} --facts {input.facts:q}"
        " --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


rule validate_dataset:
    """Check every record, refuse duplicates, write the benchmark's four files."""
    input:
        script="workflow_scripts/validate_dataset.py",
        lib=library_of("validate_dataset"),
        profiles="<data>/generated/profiles.jsonl",
        facts="<data>/generated/facts.jsonl",
        qa="<data>/generated/qa.jsonl",
        forget_eval="<data>/generated/forget_eval.jsonl",
    output:
        collect("<data>/{name}.jsonl", name=DATA_FILES),
        report="<results>/validation.json",
    log:
        "<logs>/validate_dataset.log",
    benchmark:
        "<benchmarks>/validate_dataset.jsonl"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
        gpu=0,
    params:
        hp=as_json(config["validation"]),
        out_dir=subpath(output[0], parent=True),
    message:
        "Checking the records"
    shell:
        "python {input.script:q} --profiles {input.profiles:q} --facts {input.facts:q}"
        " --qa {input.qa:q} --forget-eval {input.forget_eval:q} --hp {params.hp:q}"
        " --out-dir {params.out_dir:q} --report {output.report:q} > {log:q} 2>&1"


rule red_team_dataset:
    """Attack the benchmark: leaks, premises, ambiguous and guessable questions, collisions.

    It goes first (priority), and every result file needs its report, so a hard finding stops the
    run. Training does not name it as input: a new threshold would otherwise train everything
    again. (`ancient` is no way out: with it, Snakemake 9.27 overlooks jobs that are out of date
    for other reasons at the same time.)
    """
    input:
        collect("<data>/{name}.jsonl", name=DATA_FILES),
        script="workflow_scripts/red_team_dataset.py",
        lib=library_of("red_team_dataset"),
        profiles="<data>/generated/profiles.jsonl",
        validation="<results>/validation.json",
        public_figures=PUBLIC_FIGURES,
        utility=UTILITY,
    output:
        "<results>/data_report.json",
    log:
        "<logs>/red_team_dataset.log",
    benchmark:
        "<benchmarks>/red_team_dataset.jsonl"
    priority: 100
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
        gpu=0,
    params:
        data=subpath(input[0], parent=True),
        hp=as_json(config["red_team"] | chosen("generation", "max_value_share")),
        experiment=config["experiment"],
        config=result_config("validation", "red_team"),
    message:
        "Attacking the benchmark"
    shell:
        "python {input.script:q} --data {params.data:q} --profiles {input.profiles:q}"
        " --validation {input.validation:q} --public-figures {input.public_figures:q}"
        " --utility {input.utility:q} --hp {params.hp:q} --experiment {params.experiment:q}"
        " --config {params.config:q} --out {output:q} > {log:q} 2>&1"
