"""Who pays: checked once at the start, then taken from the profile.

The plugin (2.8.0) would ask sacctmgr, then sshare, before every submission, for as long as they
take, and fail the job where neither answers; where no account is named it would guess one.
"""

import getpass
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from excise.errors import InputError
from excise.slurm import commands
from excise.slurm.job_request import PROFILE, JobRequest


def check_accounts(requests: Iterable[JobRequest]) -> str | None:
    """Check that the accounts which jobs name are ours.

    Returns:
        A warning where nobody knows: then sbatch will tell.

    Raises:
        InputError: one is not; the message names those that are.
    """
    named = {account: one.rule for one in requests for account in names(one.account)}
    if not named:
        return None
    ours = our_accounts()
    if not ours:
        return f"neither sacctmgr nor sshare knows your accounts; {', '.join(named)} is not checked"
    for account, rule in named.items():
        if account.lower() not in ours:
            raise InputError(
                f"{PROFILE}: slurm_account of {rule} is {account}; yours: {', '.join(sorted(ours))}"
            )
    return None


def our_accounts() -> set[str]:
    """Our accounts in lower case, as SLURM compares them; none where nobody knows them."""
    user = ["user", getpass.getuser()]
    questions = (
        ["sacctmgr", "--noheader", "--associations", "list", *user, "format=account%256"],
        ["sshare", "--Users", "--noheader", "--format", "Account%256"],
    )
    for question in questions:
        try:
            found = {name.lower() for name in commands.ask(*question).split()}
        except (commands.SlurmSilentError, InputError):
            continue
        if found:
            return found
    return set()


def names(accounts: str | None) -> list[str]:
    """The accounts of a resource `slurm_account`; jobs are submitted with the first."""
    return [name for name in re.split(r"[,\s]+", accounts or "") if name]


def account_argument(job: Any) -> Iterator[str]:
    """For the plugin: sbatch's argument, from the profile and without a question to anybody."""
    first = names(str(job.resources.get("slurm_account") or ""))[:1]
    yield "".join(f" -A {shlex.quote(name)}" for name in first)
