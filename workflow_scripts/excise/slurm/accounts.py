"""Accounts: checked once at the start, then taken from the profile.

Before every submission, the plugin (2.8.0) would ask sacctmgr, then sshare, without a time limit.
If neither answers, it fails the job. If the profile names no account, it guesses one.
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
    """Check that the user has the accounts that jobs name.

    Returns:
        A warning if SLURM lists no accounts; sbatch then reports a wrong one.

    Raises:
        InputError: the user does not have one of them; the message lists the user's accounts.
    """
    requested = {account: one.rule for one in requests for account in names(one.account)}
    if not requested:
        return None
    available = user_accounts()
    if not available:
        return (
            "neither sacctmgr nor sshare lists your accounts; "
            f"{', '.join(requested)} is not checked"
        )
    for account, rule in requested.items():
        if account.lower() not in available:
            raise InputError(
                f"{PROFILE}: slurm_account of {rule} is {account}; "
                f"yours: {', '.join(sorted(available))}"
            )
    return None


def user_accounts() -> set[str]:
    """The user's accounts in lower case, as SLURM compares them; empty if SLURM lists none."""
    user = ["user", getpass.getuser()]
    queries = (
        ["sacctmgr", "--noheader", "--associations", "list", *user, "format=account%256"],
        ["sshare", "--Users", "--noheader", "--format", "Account%256"],
    )
    for query in queries:
        try:
            found = {name.lower() for name in commands.ask(*query).split()}
        except (commands.NoAnswerError, InputError):
            continue
        if found:
            return found
    return set()


def names(accounts: str | None) -> list[str]:
    """The accounts in a resource `slurm_account`; the plugin submits jobs with the first one."""
    return [name for name in re.split(r"[,\s]+", accounts or "") if name]


def account_argument(job: Any) -> Iterator[str]:
    """The argument of sbatch, for the plugin: from the profile, without a query to SLURM."""
    first = names(str(job.resources.get("slurm_account") or ""))[:1]
    yield "".join(f" -A {shlex.quote(name)}" for name in first)
