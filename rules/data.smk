"""The benchmark: fictional people, their facts, questions about them, checks.

Needs: data/inputs/public_figures.txt (names to avoid), data/inputs/utility_qa.jsonl (real-world questions);
    with generation.backend openai data/inputs/prompts/* and an endpoint.
Makes: <data>/generated/*.jsonl, <data>/generated/*.usage.json (the cost of writing them),
    <data>/{sf,sr,perturbed_candidates,forget_paraphrased,holdout}.jsonl,
    <results>/validation.json, <results>/data_report.json.

With the openai backend, the four generating rules run on the submitting machine (localrule), because
compute nodes may have no internet. They append to <data>/generated/journal/*.jsonl. The journal is no
output of a rule, so the client never asks an answered question again, even after a kill or a deleted
output. If the model refuses people, the job ends and leaves journal/refused.json. The next run draws
other people in their places.
"""


rule generate_profiles:
    """Draw fictional people: a name, a breakthrough event and a value for every slot."""
    input:
        script="workflow_scripts/generate_profiles.py",
        lib=study.generation_library_of("generate_profiles"),
        prompt=study.prompt_files("profiles"),
        public_figures=PUBLIC_FIGURES,
        refused=study.refused_people,  # read together with the journal
    output:
        records="<data>/generated/profiles.jsonl",
        usage="<data>/generated/profiles.usage.json",
    log:
        "<logs>/generate_profiles.log",
    benchmark:
        "<benchmarks>/generate_profiles.jsonl"
    localrule: study.asks_model()
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        hp=study.people_settings(),
        prompt="data/inputs/prompts/profiles.md",
        journal=folder("<data>/generated/journal/profiles.jsonl"),
    message:
        "Drawing the people"
    shell:
        "python {input.script:q} --public-figures {input.public_figures:q} --hp {params.hp:q}"
        ' --prompt {params.prompt:q} --journal {params.journal:q} --client "$EXCISE_CLIENT"'
        ' --author "$EXCISE_AUTHOR"'
        " --usage {output.usage:q} --out {output.records:q} > {log:q} 2>&1"


rule generate_facts:
    """Turn each profile into typed forget and retain facts."""
    input:
        script="workflow_scripts/generate_facts.py",
        lib=study.generation_library_of("generate_facts"),
        prompt=study.prompt_files("facts"),
        profiles="<data>/generated/profiles.jsonl",
    output:
        records="<data>/generated/facts.jsonl",
        usage="<data>/generated/facts.usage.json",
    log:
        "<logs>/generate_facts.log",
    benchmark:
        "<benchmarks>/generate_facts.jsonl"
    localrule: study.asks_model()
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        hp=study.facts_settings(),
        prompt="data/inputs/prompts/facts.md",
        journal=folder("<data>/generated/journal/facts.jsonl"),
    message:
        "Listing the facts"
    shell:
        "python {input.script:q} --profiles {input.profiles:q} --hp {params.hp:q}"
        ' --prompt {params.prompt:q} --journal {params.journal:q} --client "$EXCISE_CLIENT"'
        ' --author "$EXCISE_AUTHOR"'
        " --usage {output.usage:q} --out {output.records:q} > {log:q} 2>&1"


rule generate_qa:
    """Write for every fact a question, answer, paraphrased answer and wrong answers."""
    input:
        script="workflow_scripts/generate_qa.py",
        lib=study.generation_library_of("generate_qa"),
        prompt=study.prompt_files("qa"),
        profiles="<data>/generated/profiles.jsonl",
        facts="<data>/generated/facts.jsonl",
    output:
        records="<data>/generated/qa.jsonl",
        usage="<data>/generated/qa.usage.json",
    log:
        "<logs>/generate_qa.log",
    benchmark:
        "<benchmarks>/generate_qa.jsonl"
    localrule: study.asks_model()
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        hp=study.question_settings(),
        prompt="data/inputs/prompts/qa.md",
        journal=folder("<data>/generated/journal/qa.jsonl"),
    message:
        "Writing the questions"
    shell:
        "python {input.script:q} --profiles {input.profiles:q} --facts {input.facts:q}"
        " --hp {params.hp:q} --prompt {params.prompt:q} --journal {params.journal:q}"
        ' --client "$EXCISE_CLIENT" --author "$EXCISE_AUTHOR" --usage {output.usage:q} --out {output.records:q}'
        " > {log:q} 2>&1"


rule generate_forget_paraphrased:
    """Write paraphrased questions about the forget facts; no model is trained on them."""
    input:
        script="workflow_scripts/generate_forget_paraphrased.py",
        lib=study.generation_library_of("generate_forget_paraphrased"),
        prompt=study.prompt_files("forget_paraphrased"),
        profiles="<data>/generated/profiles.jsonl",
        source=study.forget_facts,
    output:
        records="<data>/generated/forget_paraphrased.jsonl",
        usage="<data>/generated/forget_paraphrased.usage.json",
    log:
        "<logs>/generate_forget_paraphrased.log",
    benchmark:
        "<benchmarks>/generate_forget_paraphrased.jsonl"
    localrule: study.asks_model()
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        hp=study.paraphrase_settings(),
        source=study.forget_facts_argument,
        prompt="data/inputs/prompts/forget_paraphrased.md",
        journal=folder("<data>/generated/journal/forget_paraphrased.jsonl"),
    message:
        "Writing the paraphrased forget questions"
    shell:
        "python {input.script:q} --profiles {input.profiles:q} {params.source}"
        " --hp {params.hp:q} --prompt {params.prompt:q} --journal {params.journal:q}"
        ' --client "$EXCISE_CLIENT" --author "$EXCISE_AUTHOR" --usage {output.usage:q} --out {output.records:q}'
        " > {log:q} 2>&1"


rule preview:
    """Write and show a few people before the run spends money. No output, so it always runs."""
    input:
        script="workflow_scripts/preview.py",
        lib=study.generation_library_of("preview"),
        prompts=[study.prompt_files(part) for part in GENERATED_PARTS],
        public_figures=PUBLIC_FIGURES,
    log:
        "<logs>/preview.log",
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        hp=study.preview_settings(),
        people=config["preview"] or 2,
        journals=folder("<data>/generated/journal"),
    message:
        "Showing the first people"
    shell:
        "python {input.script:q} --public-figures {input.public_figures:q} --hp {params.hp:q}"
        " --people {params.people} --prompts data/inputs/prompts --journals {params.journals:q}"
        ' --client "$EXCISE_CLIENT" --author "$EXCISE_AUTHOR" 2>&1 | tee {log:q}'


rule validate_dataset:
    """Check every record, reject duplicates, write the five files of the benchmark."""
    input:
        script="workflow_scripts/validate_dataset.py",
        lib=library_of("validate_dataset"),
        profiles="<data>/generated/profiles.jsonl",
        facts="<data>/generated/facts.jsonl",
        qa="<data>/generated/qa.jsonl",
        forget_paraphrased="<data>/generated/forget_paraphrased.jsonl",
    output:
        collect("<data>/{name}.jsonl", name=VALIDATED_FILES),
        report="<results>/validation.json",
    log:
        "<logs>/validate_dataset.log",
    benchmark:
        "<benchmarks>/validate_dataset.jsonl"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        hp=study.validation_settings(),
        out_dir=subpath(output[0], parent=True),
    message:
        "Checking the records"
    shell:
        "python {input.script:q} --profiles {input.profiles:q} --facts {input.facts:q}"
        " --qa {input.qa:q} --forget-paraphrased {input.forget_paraphrased:q} --hp {params.hp:q}"
        " --out-dir {params.out_dir:q} --report {output.report:q} > {log:q} 2>&1"


rule red_team_dataset:
    """Attack the benchmark: leaks, premises, ambiguous and guessable questions, collisions.

    It runs early (priority), and every result file needs its report. So a hard finding stops the
    run. The report is no input of training: otherwise a new threshold would train all models again.
    (`ancient` does not help: with it, Snakemake 9.27 misses jobs that are out of date for other
    reasons at the same time.)
    """
    input:
        collect("<data>/{name}.jsonl", name=VALIDATED_FILES),
        script="workflow_scripts/red_team_dataset.py",
        lib=library_of("red_team_dataset", unread=["result"]),
        profiles="<data>/generated/profiles.jsonl",
        validation="<results>/validation.json",
        usage=collect("<data>/generated/{part}.usage.json", part=GENERATED_PARTS),
        public_figures=PUBLIC_FIGURES,
        utility=UTILITY,
    output:
        report("<results>/data_report.json", **place_of("data_report", "table")),
    log:
        "<logs>/red_team_dataset.log",
    benchmark:
        "<benchmarks>/red_team_dataset.jsonl"
    priority: 100
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        data=subpath(input[0], parent=True),
        hp=study.red_team_settings(),
        experiment=config["experiment"],
        config=study.result_config("validation", red_team=study.rule_limits()),
    message:
        "Attacking the benchmark"
    shell:
        "python {input.script:q} --data {params.data:q} --profiles {input.profiles:q}"
        " --validation {input.validation:q} --public-figures {input.public_figures:q}"
        " --utility {input.utility:q} --usage {input.usage:q} --hp {params.hp:q} --experiment {params.experiment:q}"
        " --config {params.config:q} --out {output:q} > {log:q} 2>&1"
