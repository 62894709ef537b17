"""Accounts are checked before the first submission and not queried again."""

import os
from types import SimpleNamespace

import pytest

from excise.errors import InputError
from excise.slurm import commands
from excise.slurm.accounts import account_argument, check_accounts
from excise.slurm.job_request import JobRequest
from excise.slurm.start import skip_site_queries

ASSOCIATIONS = "printf '  Study  \\n  other  \\n  study \\n'"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site with fake programs, each a line of shell."""

    def programs(**lines: str) -> None:
        for name, line in lines.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
            (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    return programs


@pytest.mark.parametrize("account", ["study", "STUDY", "other, study", None])
def test_accounts_of_the_user_pass(site, account):
    site(sacctmgr=ASSOCIATIONS)
    assert check_accounts([JobRequest("plot", account=account)]) is None


def test_an_account_of_another_user_gets_one_line(site):
    site(sacctmgr=ASSOCIATIONS)
    with pytest.raises(InputError, match=r"slurm_account of plot is theirs; yours: other, study$"):
        check_accounts([JobRequest("plot", account="theirs")])


def test_the_controller_is_asked_if_the_database_does_not_answer(site):
    site(sacctmgr="exit 1", sshare=ASSOCIATIONS)
    with pytest.raises(InputError, match="yours: other, study"):
        check_accounts([JobRequest("plot", account="theirs")])


@pytest.mark.parametrize("sshare", ["exit 1", "true", "exec sleep 600"])
def test_without_a_list_of_accounts_there_is_a_warning(site, monkeypatch, sshare):
    monkeypatch.setattr(commands.ask, "__kwdefaults__", {"timeout": 1})
    site(sacctmgr="exec sleep 600", sshare=sshare)
    assert "study is not checked" in check_accounts([JobRequest("plot", account="study")])


@pytest.mark.parametrize(
    "given, argument", [("study", " -A study"), (1234, " -A 1234"), ("a, b", " -A a"), (None, "")]
)
def test_the_account_argument_comes_from_the_profile(given, argument):
    job = SimpleNamespace(resources={"slurm_account": given})
    assert next(account_argument(job)) == argument


def test_a_submission_queries_neither_account_nor_partition(site):
    """Controller and database may not answer then; only our sbatch waits for them."""
    from snakemake_executor_plugin_slurm import Executor

    site(sacctmgr="exit 1", sshare="exit 1", sacct="exit 1", sinfo="exit 1")
    executor = Executor.__new__(Executor)
    executor._partitions = executor._fallback_account_arg = executor._fallback_partition = None
    skip_site_queries(executor)
    job = SimpleNamespace(resources={"slurm_account": "study"})
    assert next(executor.get_account_arg(job)) == " -A study"
    assert executor.get_partition_arg(job) == ""
