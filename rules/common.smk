"""What the rules share: the checked config, names of models, inputs of programs. No rules here.

Parsed in every job: nothing here may import torch.
"""

import json
import os
import shlex
from functools import cache

from excise.workflow import result_checks
from excise.slurm import job_request, start
from excise.config.check import check_config, load_config
from excise.config.trajectories import expand_trajectories, labels_of, needs_of
from excise.benchmark.export import FILES as EXPORTED_FILES
from excise.errors import InputError
from excise.workflow.imports import import_closure
from excise.workflow.job_records import Digests, recording
from excise.lifeline import VARIABLE as WAITING
from excise.lifeline import this_process
from excise.workflow.model_verdicts import check_once, known_fault
from excise.workflow.resources import STAGES, estimated_minutes, memory_mb, parameters
from excise.workflow.patterns import pattern_of
from excise.workflow.planning import remember_signature, speed_up_planning
from excise.workflow.preflight import (
    check_model_fits,
    check_model_folder,
    check_writable,
    model_files,
)
from excise.unlearning.registry import is_file
from excise.workflow.unchanged import skip_unchanged_jobs
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

speed_up_planning()
skip_unchanged_jobs()

# PYTHONSAFEPATH removes a program's own folder from its path; programs would miss their library.
os.environ.pop("PYTHONSAFEPATH", None)
os.environ.update(
    # Programs find the packages beside the running Snakemake, also when no .venv is activated.
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    # glibc hands large blocks back to the system after every use, and page faults take them back:
    # 4 % of a training step of the default (perf/train_step.py), more for larger batches.
    MALLOC_MMAP_THRESHOLD_=str(1 << 30),
    MALLOC_TRIM_THRESHOLD_=str(1 << 33),
    # Compute nodes often have no internet: only download_model may ask the hub.
    HF_HUB_OFFLINE="1",
)
# Processes that wait for the programs: this Snakemake, and the one that started it here.
above = [os.environ.get(WAITING)] if workflow.subprocess_exec else []
os.environ[WAITING] = ";".join(filter(None, [*above, this_process()]))

ADAPTER_FILES = ["adapter_model.safetensors", "adapter_config.json"]
BASE_MODEL_FILES = [
    "manifest.json",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
]
VALIDATED_FILES = [
    "sf",
    "sr",
    "perturbed_candidates",
    "forget_paraphrased",
]  # known before training
DATA_FILES = ["sf", "sr", "wrong_details", "forget_paraphrased"]  # what models are asked
ASKED = [f"<data>/{name}.jsonl" for name in ("sf", "sr", "forget_paraphrased")]  # all questions
JUDGE_PROMPTS = [
    "joint_inference",
    "one_answer",
    "statement",
    "same_event",
    "same_meaning",
    "polarity",
    "severity",
    "real_person",
]
GENERATED_PARTS = ["profiles", "facts", "qa", "forget_paraphrased"]
# Modules that only the openai backend imports, and the keys of generation.llm that decide what
# the model answers. The other keys say how it is reached.
MODEL_AUTHOR = ["excise.llm", "excise.generation.verbalising"]
MODEL_KEYS = ["base_url", "model", "extra_body", "structured", "resample_max"]
PEOPLE_KEYS = ["reserve"]  # of generation.llm too: who is drawn
UTILITY = "data/inputs/utility_qa.jsonl"
METHODS = "workflow_scripts/excise/unlearning/methods"
ALTERNATIVES = "data/inputs/idk_answers.txt"
PUBLIC_FIGURES = "data/inputs/public_figures.txt"
STAGES_OF_TRAJECTORIES = ["unlearn", "evaluate_unlearned", "represent_unlearned"]
VERDICTS = ".snakemake/excise_models"
REFERENCE = "<results>/models/finetuned_reference.json"


READ_IN_PASSING = 2_000_000_000  # bytes; `check` reads all; no file is read twice
DIGESTS = Digests(Path(".snakemake/excise-digests.json"), READ_IN_PASSING)


def check_folder():
    """Rules name their files relative to the repository: Snakemake must work in it."""
    here, repository = Path.cwd(), Path(workflow.basedir).resolve()
    if not here.samefile(repository):
        sys.exit(
            f"error: Snakemake runs in {here}; it must run in the repository {repository} "
            "(cd there and leave out --directory; to move results, set pathvars)"
        )


def checked_config():
    """The config with its defaults; a mistake in it ends Snakemake with one line."""
    settings = workflow.config_settings
    paths = [os.path.relpath(path) for path in settings.configfiles]
    try:
        merged, sources = load_config(["config.yaml", *paths], settings.config)
        checked = check_config(merged, sources)
        if workflow.is_main_process:  # what holds there holds in its jobs
            check_surroundings(checked)
    except InputError as error:
        sys.exit(f"error: {error}")
    return checked


def check_surroundings(checked):
    """Folders can be written and the base model is one, before any job starts."""
    for name, folder in checked["pathvars"].items():
        check_writable(folder, f"pathvars.{name}")
    folder = base_folder(checked)
    builds_base = "pretrain_base" in sys.argv  # Snakemake tells its targets only later
    if checked["model"]["hub"] is None and not builds_base:
        check_model_folder(folder, "model.path")
    if model_files(folder) and not builds_base:  # a hub model is there from the second run on
        targets = checked["lora"]["target_modules"]
        check_model_fits(folder, targets, checked["representations"]["middle_layer"])
        if fault := known_fault(*model_trial(checked)):  # a dry run should say this too
            logger.warning(f"A run with this model will stop before its first job: {fault}")


def model_trial(checked):
    """Arguments of `check_once`: model, its settings, the checking program, folder of verdicts."""
    settings = {
        "system_prompt": checked["model"]["system_prompt"],
        "lora": checked["lora"],
        "max_new_tokens": checked["evaluation"]["max_new_tokens"],
    }
    return base_folder(checked), settings, "workflow_scripts/check_model.py", VERDICTS


def try_model():
    """Check the model before the first job that needs it. Takes seconds, once per model."""
    asked = any(estimate_of_rule(job.rule.name) is not None for job in workflow.dag.needrun_jobs())
    if not (workflow.is_main_process and asked and model_files(base_folder())):
        return  # download_model checks a hub model that is not there yet
    if workflow.touch:
        return
    try:
        check_once(*model_trial(config), logger.warning)
    except InputError as error:
        sys.exit(f"error: {error}")


def before_the_first_job():
    """Report results that do not match, check the model, then run the checks for SLURM."""
    if checks_only():
        sys.exit(report_belonging())
    for line in lines_about_results():
        logger.warning(line)
    try_model()
    remember_base_model()
    start_on_cluster()


def at_the_end():
    """Report again: Snakemake calls `onstart` only if there is a job to run."""
    try:
        if workflow._dag is not None and not checks_only():
            for line in lines_about_results():
                print(line, file=sys.stderr)
    except (Exception, KeyboardInterrupt) as error:  # a failed report must not make the run fail
        print(f"warning: {not_checked(error)}", file=sys.stderr)
    finally:
        DIGESTS.remember()


def lines_about_results():
    """One line for each kind of finding; a fault of this report ends no run."""
    try:
        return belonging_lines(results_examined())
    except Exception as error:
        return [f"warning: {not_checked(error)}"]


def not_checked(error):
    """Why there is no report about the results."""
    return f"the results could not be checked ({error!r})"


def checks_only():
    """Whether the target is `check`."""
    return any(rule.name == "check" for rule in workflow.dag.targetrules)


def report_belonging():
    """Print a line for each result that does not match; return the exit status of `check`."""
    DIGESTS.allowance = float("inf")
    try:
        found, folders = results_examined(), made_folders()
        model = result_checks.model_faults(base_folder(), DIGESTS)
        planned = [str(path) for job in workflow.dag.jobs for path in job.output]
        packages = {} if conda_is_used() else found.packages
        left = result_checks.leftover_files(planned, folders)
        lines = result_checks.report(found, strange_results(), left, model, packages)
    except Exception as error:
        print(f"error: {not_checked(error)}", file=sys.stderr)
        return 1
    print("\n".join(lines), flush=True)
    return int(bool(found.mismatches or found.broken or model))


def results_examined():
    """Compare the results in the plan with the records of what they were made from."""
    dag, memory = workflow.dag, workflow.persistence
    return result_checks.examine(
        dag.jobs,
        dag.needrun,  # results of this run match by definition
        lambda path: memory.metadata(path) is not None,
        made_folders(),
        DIGESTS,
    )


def belonging_lines(found):
    """One line for each kind of finding."""
    lines = [
        result_checks.mismatch_line(found.mismatches),
        result_checks.unknown_line(found.unknown),
        result_checks.broken_line(found.broken),
        result_checks.unexpected_results_line(made_folders()["results"], strange_results()),
        result_checks.model_line(result_checks.model_faults(base_folder(), DIGESTS)),
        None if conda_is_used() else result_checks.package_line(found.packages),
    ]
    return list(filter(None, lines))


def strange_results():
    """Tables and plots in the results folder that today's config does not make."""
    made = [f"{table}.json" for table in result_tables()]
    made += [f"{plot}.png" for plot in result_plots()]
    return result_checks.unexpected_results(made_folders()["results"], made)


def conda_is_used():
    """Whether programs run in conda environments; their packages may differ from those here."""
    return any(str(method) == "conda" for method in workflow.deployment_settings.deployment_method)


def made_folders():
    """The experiment's folders `data` and `results`; their files have records."""
    folders = {name: workflow.pathvars.apply(f"<{name}>") for name in ("data", "results")}
    return {name: os.path.normpath(folder) for name, folder in folders.items()}


def only_preview():
    """With `preview` in the config, refuse every other target."""
    names = {job.rule.name for job in workflow.dag.needrun_jobs()}
    if config["preview"] is not None and names - {"preview"}:
        sys.exit(
            f"error: preview: found {config['preview']}; with it only the preview can be made; "
            "leave out the other targets, or the key preview"
        )


def start_on_cluster():
    """Before the first job goes to SLURM: checks, names, status commands. Elsewhere nothing."""
    if workflow.executor_plugin.name != "slurm":
        return
    folders = {f"pathvars.{name}": Path(path) for name, path in config["pathvars"].items()}
    try:
        start.start(
            workflow.scheduler._executor,
            job_request.submissions(workflow.dag),
            estimate_of_rule,
            config["experiment"],
            folders | {"the repository": Path.cwd()},
            model_elsewhere(),
            logger.warning,
        )
    except (InputError, WorkflowError) as error:  # of groups whose jobs cannot go together
        sys.exit(f"error: {error}")


def remember_base_model():
    """A SLURM job knows the digests of the base model: else each would read it whole, first."""
    if workflow.executor_plugin.name != "slurm":
        return
    read = {str(path) for job in workflow.dag.needrun_jobs() for path in job.input}
    for path in read.intersection(base_files()):
        DIGESTS(path)
    DIGESTS.remember()


def model_elsewhere():
    """A file of a base model that lies outside of the repository: nodes must see it too."""
    model = Path(base_folder()).resolve()
    file = model / "config.json"
    inside = model.is_relative_to(Path.cwd().resolve())
    return {} if inside or not file.is_file() else {"model.path": file}


def folder(path):
    """A folder as a param, its path variables filled in."""
    filled = workflow.pathvars.apply(path)
    return remember_signature(lambda wildcards: filled)


def library_of(program, unread=()):
    """Our own files that a program uses, as inputs: editing one reruns only the programs using it.

    unread: kinds of records that an imported module could read but this program never reads.
    """
    return import_closure(f"workflow_scripts/{program}.py", unread=unread)


def generation_library_of(program):
    """The same for a program that writes text; without the model's author if nobody asks it."""
    without = [] if asks_model() else MODEL_AUTHOR
    return import_closure(f"workflow_scripts/{program}.py", without)


def asks_model():
    """Whether a language model writes the benchmark."""
    return config["generation"]["backend"] != "offline"


def generation_settings(*keys):
    """What decides the text of a part: its keys, and which model is asked what way."""
    return as_json(config_keys("generation", "backend", *keys) | model_asked())


def people_settings():
    """What decides who is drawn; of a model's people a few more, since it may leave some out."""
    llm = config["generation"].get("llm", {}) if asks_model() else {}
    drawn = config_keys("generation", "backend", "preset", "people", "seed", "max_value_share")
    more = {key: value for key, value in llm.items() if key in PEOPLE_KEYS}
    return as_json(drawn | more | model_asked())


def preview_settings():
    """Settings of all four parts: they decide the texts of the people shown."""
    more = config_keys("generation", "perturbed_candidates", "forget_paraphrases")
    return as_json(json.loads(people_settings()) | more)


def model_keys():
    """The keys of generation.llm that decide what a model answers."""
    llm = config["generation"].get("llm", {})
    return {key: value for key, value in llm.items() if key in MODEL_KEYS}


def model_asked():
    """The same, where a model writes the benchmark."""
    return {"llm": model_keys()} if asks_model() else {}


def reported_generation():
    """Section `generation` for the header of a result file: what the data depend on."""
    settings = {key: value for key, value in config["generation"].items() if key != "llm"}
    return settings | model_asked()


def client_settings():
    """How the model is reached: limits, retries, budget, name of the key's variable.

    Handed to the programs by the environment, which Snakemake does not track: a new budget or a
    slower pace continues a run and makes nothing again.
    """
    llm = config["generation"].get("llm", {})
    tracked = MODEL_KEYS + PEOPLE_KEYS
    return as_json({key: value for key, value in llm.items() if key not in tracked})


def author_settings():
    """What else an author that is a model must know that decides no text: how much is to come, its
    judge among it, and how many people may stay without one."""
    settings = config_keys("generation", "people", "forget_paraphrases")
    settings |= config_keys("validation", "incomplete_people")
    judge = config["red_team"]["judge"]
    asked = {key: judge[key] for key in ("cases", "planted")} if judge["enabled"] else None
    return as_json(settings | {"judge": asked})


def prompt_files(part):
    """Prompt and reply schema of a part, if a model writes it."""
    stem = f"data/inputs/prompts/{part}"
    return [f"{stem}.md", f"{stem}.schema.json"] if asks_model() else []


def refused_people(wildcards):
    """Whom a model refused to write about after their profile was there; if it refused anybody."""
    path = workflow.pathvars.apply("<data>/generated/journal/refused.json")
    return [path] if asks_model() and os.path.exists(path) else []


def forget_facts(wildcards):
    """Whose held-out questions are written; a model must also know what is trained on."""
    return f"<data>/generated/{'qa' if asks_model() else 'facts'}.jsonl"


def forget_facts_argument(wildcards, input):
    """The same as an argument."""
    return f"--{'qa' if asks_model() else 'facts'} {shlex.quote(input.source)}"


def as_json(settings):
    """Hyperparameters as one JSON string: one tracked param, keys in a fixed order."""
    return json.dumps(settings, sort_keys=True)


def config_keys(section, *keys):
    """Some keys of a section, so that a job reruns for the keys it reads and no others."""
    return {key: config[section][key] for key in keys}


def model_settings():
    """What every program that loads a model needs to know."""
    return config_keys("model", "dtype", "system_prompt") | config_keys(
        "resources", "threads", "gpu"
    )


def training_settings(section):
    """Model and training loop: what all adapters of a section share."""
    shared = "batch_size warmup_steps max_grad_norm weight_decay autocast seed".split()
    return {"model": model_settings(), "training": config_keys(section, *shared)}


def finetuning_settings(wildcards):
    """What makes the finetuned model, or the oracle of a seed."""
    settings = training_settings("finetuning") | config_keys(
        "finetuning", "epochs", "learning_rate"
    )
    if "seed" in wildcards.keys():
        settings["training"]["seed"] = int(wildcards.seed)
    return as_json(settings | {"lora": config["lora"]})


def unlearning_settings(wildcards):
    """Settings of a trajectory, without the epochs to save (see `saved_epochs`)."""
    own = TRAJECTORIES[wildcards.trajectory]
    method = {key: own[key] for key in ("method", "hyperparameters")}
    return as_json(training_settings("unlearning") | method)


def saved_epochs(wildcards, output):
    """Epochs at which a trajectory is saved.

    This function and the next two derive their lists from the outputs. Snakemake does not track
    such a param, so a shorter or reordered list reruns nothing. A longer one lacks an output.
    """
    folders = {Path(path).parent.name for path in output[1:]}
    return sorted(int(name.removeprefix("epoch_")) for name in folders)


def recorded_models(wildcards, output):
    """Models whose records a job makes, such as `unlearn/ga/lr0.0002/epoch_5`."""
    folders = [Path(path).parent.name for path in output]
    return [f"unlearn/{wildcards.trajectory}/{name}" for name in folders]


def recorded_precisions(wildcards, output):
    """Precisions whose records a job makes; the first output, weights.json, has none."""
    return [Path(path).stem for path in output[1:]]


def reference_settings():
    """How the forget answers are scored before unlearning."""
    keys = ("batch_size", "autocast", "seed")
    return as_json({"model": model_settings()} | config_keys("unlearning", *keys))


def method_files(wildcards):
    """The file of a trajectory's method, and the modules of ours that it imports."""
    method = TRAJECTORIES[wildcards.trajectory]["method"]
    path = method if is_file(method) else f"{METHODS}/{method}.py"
    return [path, *import_closure(path, root="workflow_scripts")]


def reference(wildcards):
    """Log-probabilities of the finetuned model, for the methods that read them."""
    return REFERENCE if needs_of(TRAJECTORIES[wildcards.trajectory]).reference_sums else []


def alternatives(wildcards):
    """Other answers to the forget questions, for the methods that read them."""
    return ALTERNATIVES if needs_of(TRAJECTORIES[wildcards.trajectory]).alternatives else []


def optional_arguments(wildcards, input):
    """The same two as arguments."""
    given = {name: input.get(name) for name in ("reference", "alternatives")}
    return " ".join(f"--{name} {shlex.quote(path)}" for name, path in given.items() if path)


def evaluation_settings():
    """How questions are asked and answers scored."""
    return as_json(model_settings() | config_keys("evaluation", "batch_size", "max_new_tokens"))


def representation_settings():
    """How hidden states are read."""
    positions = config_keys("representations", "positions")
    return as_json(model_settings() | config_keys("evaluation", "batch_size") | positions)


def reference_model(wildcards):
    """Whose hidden states a model's are compared with: later oracles with the first one."""
    first, *later = oracles()
    return first if wildcards.model in later else "finetuned"


def reference_adapters(wildcards):
    """Adapter files of the reference, unless they are the model's own."""
    model = reference_model(wildcards)
    return [] if model == wildcards.model else adapter_of(model)


def selection_settings():
    """How candidates are scored and drawn, how many become wrong answers, what they are held to."""
    settings = model_settings() | config_keys("evaluation", "batch_size")
    own = "wrong_answers perturbed_candidates wrong_rounds wrong_tolerance seed".split()
    return as_json(settings | config_keys("generation", *own))


def rule_limits():
    """Keys of red_team that the checks without models use."""
    return [key for key in config["red_team"] if key not in ("models", "judge")]


def red_team_settings():
    """What the checks that need no model let pass."""
    return as_json(
        config_keys("red_team", *rule_limits()) | config_keys("generation", "max_value_share")
    )


def authors():
    """Who wrote the texts that are compared: the experiment's author, and always the frames."""
    return list(dict.fromkeys([config["generation"]["backend"], "offline"]))


def twin_argument(wildcards):
    """How the offline frames write about the people of a dataset that a model wrote."""
    if not asks_model() or wildcards.get("author", "offline") != "offline":
        return ""
    settings = as_json(config_keys("generation", "preset", "seed", "forget_paraphrases"))
    return f"--offline-twin {shlex.quote(settings)}"


def embedding_arguments(wildcards, input):
    """AUTHOR=FILE for each file of embeddings."""
    pairs = zip(authors(), input.embeddings, strict=True)
    return " ".join(shlex.quote(f"{author}={file}") for author, file in pairs)


def validation_settings():
    """What counts as a duplicate, how many people there are to be and how many may be missing."""
    return as_json(config["validation"] | config_keys("generation", "people"))


def judge_settings():
    """How many cases a judge is asked, and the seed of their choice."""
    asked = {key: config["red_team"]["judge"][key] for key in ("cases", "planted")}
    return summary_settings(**asked, **config_keys("generation", "seed"))


def gate_settings():
    """What models that never saw the forget facts must not do."""
    return summary_settings(**config["red_team"]["models"])


def summary_settings(**more):
    """How intervals are made, and which checkpoints stand for which level."""
    return as_json(config_keys("evaluation", "confidence") | more)


def plot_settings():
    """How figures write the methods."""
    return as_json({"labels": labels_of(TRAJECTORIES)})


def drift_settings(wildcards):
    """Which layer a table of drift is about."""
    named = {"repr_layers": "all", "repr_results": "last"}
    number = wildcards.table.rpartition("_")[2]
    layer = named.get(wildcards.table) or int(number)
    return as_json(config_keys("evaluation", "confidence") | {"layer": layer})


def result_config(*sections, **parts):
    """The part of the config that a result depends on, for its header: sections, or keys of one."""
    settings = {key: config[key] for key in ("experiment", "model", *sections)}
    settings |= {section: config_keys(section, *keys) for section, keys in parts.items()}
    return as_json(settings | {"generation": reported_generation()})


def per_attempt(amount):
    """A resource of which every further attempt of a job gets more."""
    return remember_signature(lambda wildcards, attempt: amount * attempt)


def model_size():
    """Parameters of the base model; of a hub model by its name until it is there."""
    hub = config["model"]["hub"]
    return parameters(base_folder(), hub["repo"] if hub else "")


def memory(kind):
    """Main memory of a model job in MB, as configured or from the model's size."""
    given = config["resources"]["mem_mb"]
    return remember_signature(
        lambda wildcards, attempt: attempt * (given or memory_mb(kind, config, model_size()))
    )


def estimate(stage, epochs=()):
    """Minutes that a model job is estimated to take."""
    return estimated_minutes(stage, config, model_size(), epochs)


def walltime(stage, epochs=()):
    """Wall time of a model job in minutes: as configured, or three times the estimate."""
    given = config["resources"]["runtime"]
    return remember_signature(
        lambda wildcards, attempt: attempt * (given or round(3 * estimate(stage, epochs)) + 10)
    )


def estimate_of_rule(name):
    """The estimate of a rule's jobs; None for a rule without a model."""
    if name in STAGES:
        return estimate(name, next(iter(TRAJECTORIES.values()))["epochs"] * (name == "unlearn"))
    for epochs, _ in trajectories_by_epochs():
        for stem in STAGES_OF_TRAJECTORIES:
            if name == rule_name(stem, epochs):
                return estimate(stem.removesuffix("_unlearned"), epochs)
    return None


def inherit_from_profile():
    """What a profile sets for `unlearn` holds for `unlearn_5_10` too, and so on.

    A block of trajectories with epochs of its own is a rule of its own, which nobody can name
    before the experiment is written.
    """
    given = workflow.resource_settings
    for settings in (given.overwrite_resources, given.overwrite_threads):
        for stem in STAGES_OF_TRAJECTORIES:
            for epochs, _ in trajectories_by_epochs():
                if stem in settings:
                    settings.setdefault(rule_name(stem, epochs), settings[stem])


def base_folder(checked=None):
    """Folder of the base model."""
    model = (checked or config)["model"]
    if model["hub"] is None:
        return model["path"]
    hub = Path(model["hub"]["repo"], model["hub"]["revision"])
    return f"data/models/{'--'.join(hub.parts)}"


def base_files():
    """Files of the base model as inputs; for a hub model its manifest, which has their digests."""
    if config["model"]["hub"] is None:
        return model_files(config["model"]["path"])
    return [f"{base_folder()}/manifest.json"]


def adapter_of(model):
    """Adapter files of a model; base has none."""
    return [] if model == "base" else [f"<results>/models/{model}/{name}" for name in ADAPTER_FILES]


def adapters(wildcards):
    """Adapter files of the model that a job is about."""
    return adapter_of(wildcards.model)


def oracles():
    """Names of the oracles, in the order of their seeds."""
    return [f"oracle/seed_{seed}" for seed in config["oracle"]["seeds"]]


def unexposed_models():
    """Names of the models that never saw the forget facts."""
    return ["base", *oracles()]


def baselines():
    """Names of the models that every checkpoint is compared with."""
    return ["base", "finetuned", *oracles()]


def quantized_models():
    """Names of the models that go through the quantization stress test."""
    return ["finetuned", *level_checkpoints()]


def checkpoints():
    """Names of all unlearned models."""
    return [
        f"unlearn/{name}/epoch_{epoch}"
        for name, trajectory in TRAJECTORIES.items()
        for epoch in trajectory["epochs"]
    ]


def level_checkpoints():
    """Names of the unlearned models that stand for light, medium, heavy, each once."""
    levels = config["evaluation"]["checkpoints"].values()
    return list(dict.fromkeys(f"unlearn/{name}" for names in levels for name in names))


@cache
def trajectories_by_epochs():
    """For each distinct list of epochs, as text: the epochs, and a pattern of its trajectories.

    Outputs cannot depend on wildcards, so each list of checkpoints is a rule of its own.
    """
    groups = {}
    for name, trajectory in TRAJECTORIES.items():
        groups.setdefault(tuple(trajectory["epochs"]), []).append(name)
    return [(list(epochs), pattern_of(names)) for epochs, names in groups.items()]


def rule_name(stem, epochs):
    """`unlearn` for the first list of epochs, `unlearn_2_4` for others."""
    first = next(iter(TRAJECTORIES.values()))["epochs"]
    return stem if epochs == first else "_".join([stem, *map(str, epochs)])


def result_tables():
    """Stems of the tables of the experiment."""
    middle = config["representations"]["middle_layer"]
    tables = ["eval_results", "sweep_results", "retain_compare_results"]
    tables += ["repr_layers", "repr_results", f"repr_results_{middle}"]
    tables += ["red_team_models", "diversity_report"]
    tables += ["red_team_judge"] * config["red_team"]["judge"]["enabled"]
    return tables + ["quantize_results"] * bool(config["quantization"]["precisions"])


def result_plots():
    """Stems of the pictures of the experiment."""
    plots = ["forget_vs_retain", "retain_gap", "layerdrift_by_epoch", "layerdrift_by_method"]
    return plots + ["quantize_recovery"] * bool(config["quantization"]["precisions"])
