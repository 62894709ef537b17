"""Running on SLURM: `start` checks what must hold before the first job is submitted; `commands`
asks SLURM by its own programs; `client` stands between Snakemake's plugin and them; `probe` looks
from a node; `watch` says what a run waits for; `interrupt` makes Ctrl-C heard.
"""
