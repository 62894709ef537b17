"""The red team with models: a model that never saw the forget facts must not know them.

Needs: base model, oracles, the finetuned model, the validated benchmark.
Makes: <data>/wrong_details.jsonl, <results>/red_team/candidate_scores.jsonl,
    <results>/red_team/{model}/items.jsonl, <results>/red_team/gradients.jsonl,
    <results>/red_team_models.json,
    <results>/diversity_report.json; <results>/red_team_judge.json if a judge is enabled.

Training reads no wrong answers. So the workflow selects them after it trained the oracles. A change
of the selection evaluates models again, but trains none.
"""


rule select_wrong_answers:
    """Select wrong answers that are as probable as the truth for base and oracles."""
    input:
        study.base_files(),
        [study.adapter_of(model) for model in study.unexposed_models()],
        collect("<data>/{name}.jsonl", name=["sf", "sr", "perturbed_candidates"]),
        script="workflow_scripts/select_wrong_answers.py",
        lib=library_of("select_wrong_answers", unread=["forget_paraphrased", "utility"]),
        profiles="<data>/generated/profiles.jsonl",
        public_figures=PUBLIC_FIGURES,
    output:
        details="<data>/wrong_details.jsonl",
        scores="<results>/red_team/candidate_scores.jsonl",
    log:
        "<logs>/select_wrong_answers.log",
    benchmark:
        "<benchmarks>/select_wrong_answers.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("evaluate"),
        runtime=walltime("select_wrong_answers"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        data=subpath(output.details, parent=True),
        hp=study.selection_settings(),
        models_dir=folder("<results>/models"),
        models=study.unexposed_models(),
    message:
        "Selecting the wrong answers"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q} --hp {params.hp:q}"
        " --profiles {input.profiles:q} --public-figures {input.public_figures:q}"
        " --models-dir {params.models_dir:q} --models {params.models:q}"
        " --out {output.details:q} --scores {output.scores:q} > {log:q} 2>&1"


rule ask_about_names:
    """Ask forget questions with another person's name, and ask the base model who people are."""
    input:
        study.base_files(),
        [study.adapter_of(model) for model in study.unexposed_models()],
        script="workflow_scripts/ask_about_names.py",
        lib=library_of("ask_about_names"),
        sf="<data>/sf.jsonl",
        sr="<data>/sr.jsonl",
        public_figures=PUBLIC_FIGURES,
    output:
        collect("<results>/red_team/{model}/items.jsonl", model=study.unexposed_models()),
    log:
        "<logs>/ask_about_names.log",
    benchmark:
        "<benchmarks>/ask_about_names.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("evaluate"),
        runtime=walltime("ask_about_names"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        hp=study.asking_settings(),
        models_dir=folder("<results>/models"),
        models=study.unexposed_models(),
        out_dir=folder("<results>/red_team"),
    message:
        "Asking questions with other names"
    shell:
        "python {input.script:q} --base {params.base:q} --sf {input.sf:q} --sr {input.sr:q}"
        " --public-figures {input.public_figures:q}"
        " --hp {params.hp:q} --models-dir {params.models_dir:q} --models {params.models:q}"
        " --out-dir {params.out_dir:q} > {log:q} 2>&1"


rule compare_gradients:
    """Compare gradients of forget facts with those of the same person's other facts."""
    input:
        study.base_files(),
        study.adapter_of("finetuned"),
        script="workflow_scripts/compare_gradients.py",
        lib=library_of(
            "compare_gradients", unread=["forget_paraphrased", "utility", "wrong_details"]
        ),
        sf="<data>/sf.jsonl",
        sr="<data>/sr.jsonl",
    output:
        "<results>/red_team/gradients.jsonl",
    log:
        "<logs>/compare_gradients.log",
    benchmark:
        "<benchmarks>/compare_gradients.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("gradients"),
        runtime=walltime("compare_gradients"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        adapter=folder("<results>/models/finetuned"),
        hp=study.gradient_settings(),
    message:
        "Comparing gradients"
    shell:
        "python {input.script:q} --base {params.base:q} --adapter {params.adapter:q}"
        " --sf {input.sf:q} --sr {input.sr:q} --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


rule red_team_models:
    """Check truth ratio, win rate and guesses of base and oracles against their gates.

    It runs early (priority), so that a failed gate is known before unlearning. No table needs its
    output.
    """
    input:
        collect("<results>/eval/{model}/items.jsonl", model=study.unexposed_models()),
        collect("<results>/red_team/{model}/items.jsonl", model=study.unexposed_models()),
        script="workflow_scripts/red_team_models.py",
        lib=library_of("red_team_models", unread=["wrong_details"]),
        scores="<results>/red_team/candidate_scores.jsonl",
        gradients="<results>/red_team/gradients.jsonl",
        asked=ASKED,
        utility=UTILITY,
        public_figures=PUBLIC_FIGURES,
        report="<results>/data_report.json",
    output:
        report("<results>/red_team_models.json", **place_of("red_team_models", "table")),
    log:
        "<logs>/red_team_models.log",
    benchmark:
        "<benchmarks>/red_team_models.jsonl"
    priority: 50
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        eval_dir=folder("<results>/eval"),
        names_dir=folder("<results>/red_team"),
        data=folder("<data>"),
        models=study.unexposed_models(),
        hp=study.gate_settings(),
        experiment=config["experiment"],
        config=study.result_config("lora", "finetuning", "oracle", red_team=["models"]),
    message:
        "Checking the gates of base and oracles"
    shell:
        "python {input.script:q} --scores {input.scores:q} --eval-dir {params.eval_dir:q}"
        " --names-dir {params.names_dir:q} --gradients {input.gradients:q}"
        " --data {params.data:q} --utility {input.utility:q}"
        " --public-figures {input.public_figures:q}"
        " --models {params.models:q} --hp {params.hp:q} --experiment {params.experiment:q}"
        " --config {params.config:q} --out {output:q} > {log:q} 2>&1"


rule embed_texts:
    """Embed questions and answers with the base model, for the diversity report.

    If a language model wrote the dataset, author `offline` means the texts of the offline frames
    about the same people.
    """
    input:
        study.base_files(),
        collect("<data>/{name}.jsonl", name=VALIDATED_FILES),
        script="workflow_scripts/embed_texts.py",
        lib=library_of("embed_texts"),
        profiles="<data>/generated/profiles.jsonl",
    output:
        "<results>/red_team/embeddings_{author}.npz",
    log:
        "<logs>/embed_texts/{author}.log",
    benchmark:
        "<benchmarks>/embed_texts/{author}.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("evaluate"),
        runtime=walltime("embed_texts"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        data=folder("<data>"),
        hp=study.embedding_settings(),
        twin=study.twin_argument,
    message:
        "Embedding the texts ({wildcards.author})"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q} --hp {params.hp:q}"
        " {params.twin} --out {output:q} > {log:q} 2>&1"


rule diversity_report:
    """Measure the diversity of texts and values, raw and with masked names and values."""
    input:
        collect("<data>/{name}.jsonl", name=VALIDATED_FILES),
        script="workflow_scripts/diversity_report.py",
        lib=library_of("diversity_report"),
        profiles="<data>/generated/profiles.jsonl",
        embeddings=collect("<results>/red_team/embeddings_{author}.npz", author=study.authors()),
        report="<results>/data_report.json",
    output:
        report("<results>/diversity_report.json", **place_of("diversity_report", "table")),
    log:
        "<logs>/diversity_report.log",
    benchmark:
        "<benchmarks>/diversity_report.jsonl"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(60),
        gpu=0,
    params:
        data=folder("<data>"),
        name=config["generation"]["backend"],
        embeddings=study.embedding_arguments,
        twin=study.twin_argument,
        experiment=config["experiment"],
        config=study.result_config(),
    message:
        "Measuring diversity"
    shell:
        "python {input.script:q} --datasets {params.name:q}={params.data:q}"
        " --embeddings {params.embeddings} {params.twin} --experiment {params.experiment:q}"
        " --config {params.config:q} --out {output:q} > {log:q} 2>&1"


rule red_team_judge:
    """Let a language model judge the dataset, with planted defects (only if enabled).

    The journal is no output, so paid answers survive failed jobs and reruns.
    """
    input:
        collect("<data>/{name}.jsonl", name=VALIDATED_FILES),
        collect(
            "data/inputs/prompts/judge_{name}.{suffix}",
            name=JUDGE_PROMPTS,
            suffix=["md", "schema.json"],
        ),
        script="workflow_scripts/red_team_judge.py",
        lib=library_of("red_team_judge"),
        profiles="<data>/generated/profiles.jsonl",
        validation="<results>/validation.json",
        public_figures=PUBLIC_FIGURES,
        utility=UTILITY,
        report="<results>/data_report.json",
    output:
        table=report("<results>/red_team_judge.json", **place_of("red_team_judge", "table")),
        records="<results>/red_team/judge.jsonl",
    log:
        "<logs>/red_team_judge.log",
    benchmark:
        "<benchmarks>/red_team_judge.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(240),
        gpu=0,
    params:
        data=folder("<data>"),
        hp=study.judge_settings(),
        llm=study.judge_model(),
        journal=folder("<data>/generated/journal/red_team_judge.jsonl"),
        experiment=config["experiment"],
        config=study.result_config(red_team=["judge"]),
    message:
        "Judging the benchmark with a language model"
    shell:
        "python {input.script:q} --data {params.data:q} --profiles {input.profiles:q}"
        " --validation {input.validation:q} --public-figures {input.public_figures:q}"
        " --utility {input.utility:q} --prompts data/inputs/prompts --hp {params.hp:q}"
        ' --llm {params.llm:q} --client "$EXCISE_CLIENT"'
        " --journal {params.journal:q} --experiment {params.experiment:q}"
        " --config {params.config:q} --records {output.records:q} --out {output.table:q}"
        " > {log:q} 2>&1"
