"""Running on SLURM: `start` checks what must hold before the first job is submitted; `commands`
asks SLURM by its own programs; `client` stands between Snakemake's plugin and them; `probe` looks
from a node; `ledger` keeps the jobs that a run waits for, `watch` says what it waits for;
`interrupt` makes Ctrl-C heard.
"""
