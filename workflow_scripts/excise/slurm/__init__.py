"""Running on SLURM: `start` checks what must hold before the first job is submitted, from what jobs
ask for (`request`), what the plugin makes of it (`rehearsal`) and who pays (`accounts`); `probe`
looks from a node. `commands` asks SLURM by its own programs; `client` and `ledger` stand between
Snakemake, its plugin and them. `watch` says what a run waits for, `folders` that a file system does
not answer; `interrupt` makes Ctrl-C heard.
"""
