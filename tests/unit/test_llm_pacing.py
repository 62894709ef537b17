"""Rates reached, bursts cut once, budgets kept: in virtual time, so in milliseconds.

One test goes over a real socket, in real time.
"""

import asyncio
import io
import os
import pty
import select

import pytest
from rich.console import Console

from excise.errors import InputError
from excise.llm import Session, load_settings
from excise.llm.budget import Budget, BudgetSpentError, worst_case
from excise.llm.headers import rate_limits
from excise.llm.in_flight import Breaker, InFlight
from excise.llm.pacing import Pacer, Rate
from excise.llm.progress import ProgressLine
from excise.llm.tally import Tally
from llm_client_process import accept, requests_for
from llm_server import KEY, Limits
from rate_simulation import simulate
from virtual_time import VirtualLoop

ADAPTATION = {"decrease": 0.75, "increase": 1, "window": 25, "cooldown_s": 2.0, "breaker_s": 300}
RATE = 1200.0  # requests per minute


@pytest.fixture
def no_sync(monkeypatch):
    """Do not sync journals, because syncing takes real time."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


def known_by_config(path):
    return simulate(path, 600, Limits(RATE, announced=False), requests_per_minute=RATE)


def known_by_header(path):
    return simulate(path, 600, Limits(RATE))


def known_by_header_alone(path):
    """The settings give no rate, and the server announces more than the default."""
    return simulate(path, 600, Limits(RATE), requests_per_minute=None)


def known_tokens(path):
    tokens = RATE * 30
    limits = Limits(tokens_per_minute=tokens, announced=False)
    return simulate(path, 600, limits, tokens_per_minute=tokens)


@pytest.mark.parametrize(
    "case", [known_by_config, known_by_header, known_by_header_alone, known_tokens]
)
def test_known_limits_are_used_to_97_percent_with_few_429s(case, tmp_path, no_sync):
    figures = case(tmp_path / "qa.jsonl")
    assert figures.answered == 600
    assert 0.97 <= figures.share <= 1.01
    assert figures.refused < 0.01


def test_a_known_limit_is_kept_to_over_a_real_socket(fault_server, tmp_path, monkeypatch, no_sync):
    """Wide bounds: they hold on a busy machine, and not for a client that paces nothing."""
    monkeypatch.setenv("EXCISE_TEST_KEY", KEY)
    server = fault_server(limits=Limits(RATE, announced=False), latency_s=0.2)
    section = server.settings(limits={"requests_per_minute": RATE}, structured="json_schema")
    section["retry"], section["adaptation"] = {}, {}  # as a user has them
    with Session(load_settings(section), tmp_path / "qa.jsonl", progress=False) as session:
        outcomes = session.complete(requests_for(100), accept)
    assert [one.status for one in outcomes] == ["ok"] * 100
    served = [call.at for call in server.calls if call.status == 200]
    assert len(server.calls) - len(served) <= 5, "refused with 429"
    share = (len(served) - 1) / (RATE / 60 * (max(served) - min(served)))
    assert 0.6 <= share <= 1.2


@pytest.mark.parametrize("retry_after", [True, False])
def test_hidden_limits_are_used_to_90_percent(retry_after, tmp_path, no_sync):
    limits = Limits(RATE, announced=False, retry_after=retry_after)
    figures = simulate(tmp_path / "qa.jsonl", 800, limits)
    assert figures.answered == 800
    assert figures.share >= 0.90


@pytest.mark.parametrize(
    "known, announced, allowed",
    [
        (None, None, 500),
        (None, 60, 60),
        (None, 9000, 9000),
        (700, None, 700),
        (700, 60, 60),
        (700, 9000, 700),
    ],
)
def test_a_rate_of_the_settings_is_the_maximum_and_without_one_the_server_decides(
    known, announced, allowed
):
    section = {"model": "m", "limits": {"requests_per_minute": known, "headroom": 1}}
    settings = load_settings(section)
    pacer = Pacer(settings["limits"], settings["adaptation"], lambda: 0.0)
    headers = {"x-ratelimit-limit-requests": str(announced)} if announced else {}
    pacer.observe(rate_limits(headers))
    assert pacer.requests.per_minute == allowed
    assert pacer.tokens.per_minute == 200_000


def test_a_server_that_announces_more_again_is_believed_up_to_the_settings():
    settings = load_settings({"model": "m", "limits": {"requests_per_minute": 700, "headroom": 1}})
    pacer = Pacer(settings["limits"], settings["adaptation"], lambda: 0.0)
    for announced, allowed in ((60, 60), (300, 300), (900, 700)):
        pacer.observe(rate_limits({"x-ratelimit-limit-requests": str(announced)}))
        assert pacer.requests.per_minute == allowed


@pytest.mark.parametrize(
    "known, announced, allowed",
    [
        (None, 10_000, 500),  # OpenAI's smallest tiers: so many a day
        (700, 10_000, 700),
        (None, 200, 200),  # so many a day are not more in a minute
        (50, 200, 50),
    ],
)
def test_a_limit_per_day_does_not_count_as_a_limit_per_minute(known, announced, allowed):
    section = {"model": "m", "limits": {"requests_per_minute": known, "headroom": 1}}
    settings = load_settings(section)
    pacer = Pacer(settings["limits"], settings["adaptation"], lambda: 0.0)
    headers = {"x-ratelimit-limit-requests": str(announced), "x-ratelimit-limit-tokens": "60000"}
    for reset in ("7m12s", "86s", "14m24s"):  # of a limit that was of a day once, whatever it says
        more = {"x-ratelimit-reset-requests": reset, "x-ratelimit-reset-tokens": "59s"}
        pacer.observe(rate_limits(headers | more))
        assert pacer.requests.per_minute == allowed
        assert pacer.tokens.per_minute == 60_000


def test_one_odd_reset_raises_no_rate():
    settings = load_settings({"model": "m", "limits": {"headroom": 1}})
    pacer = Pacer(settings["limits"], settings["adaptation"], lambda: 0.0)
    for reset in ("12s", "1790000000", "12s"):
        headers = {"x-ratelimit-limit-tokens": "10000", "x-ratelimit-reset-tokens": reset}
        pacer.observe(rate_limits(headers))
        assert pacer.tokens.per_minute == 10_000


def test_a_rate_holds_back_no_more_than_it_must():
    async def spend() -> float:
        rate = Rate(600)  # 10 a second, 5 at once
        for _ in range(25):
            await rate.acquire(1)
        await rate.acquire(25)  # larger than the bucket: it grows
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(spend()) == pytest.approx(2.0, abs=0.1)


def test_the_unused_part_of_a_charge_goes_to_the_next_calls():
    async def spend() -> float:
        rate = Rate(600)
        for _ in range(40):
            await rate.acquire(2)
            rate.carry -= 1  # it used only half
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(spend()) == pytest.approx(3.6, abs=0.1)


def test_one_cut_per_burst_and_slow_recovery():
    now = [0.0]
    places = InFlight(32, ADAPTATION, lambda: now[0])
    assert [places.refused() for _ in range(10)] == [True] + [False] * 9
    assert places.allowed == 24
    now[0] = 2.5
    assert places.refused() and places.allowed == 18
    for _ in range(50):
        places.succeeded()
    assert places.allowed == 20
    for second in range(100):
        now[0] = 10.0 + 3 * second
        places.refused()
    assert places.allowed == 1


def test_the_breaker_does_not_count_a_wait_that_the_server_asked_for():
    now = [0.0]
    breaker = Breaker(300, lambda: now[0])
    breaker.failed("HTTP 429", 310)
    now[0] = 311
    breaker.failed("HTTP 429", 5)
    now[0] = 611
    with pytest.raises(InputError, match="answered nothing for 611 s"):
        breaker.failed("HTTP 429", 5)


def test_the_breaker_counts_from_the_first_failure_after_an_answer():
    now = [0.0]
    breaker = Breaker(300, lambda: now[0])
    breaker.failed("HTTP 429")
    now[0] = 299
    breaker.failed("HTTP 429")
    breaker.succeeded()
    now[0] = 500
    breaker.failed("HTTP 503")
    now[0] = 800
    with pytest.raises(InputError, match=r"answered nothing for 300 s .*HTTP 503"):
        breaker.failed("HTTP 503")


def budget(**caps) -> Budget:
    settings = {"usd": None, "tokens": None, "usd_per_million_in": 1.0, "usd_per_million_out": 4.0}
    return Budget({**settings, **caps})


def test_a_reservation_waits_for_others_and_gives_up_when_there_are_none():
    async def play():
        purse = budget(tokens=100)
        await purse.reserve((40, 20))
        second = asyncio.create_task(purse.reserve((40, 20)))
        await asyncio.sleep(1)
        assert not second.done()
        purse.settle((40, 20), (10, 5))
        await second
        purse.settle((40, 20), (30, 20))
        with pytest.raises(BudgetSpentError, match="spent 65 tokens, the next call may cost 60"):
            await purse.reserve((40, 20))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_a_budget_in_money():
    purse = budget(usd=0.01)
    assert purse.fits((2000, 2000)) and not purse.fits((2001, 2000))


def test_the_worst_case_bounds_any_byte_level_tokenizer():
    payload = {"messages": [{"role": "user", "content": "naïve 漢字"}], "response_format": None}
    assert worst_case(payload, 50, {})[0] >= len("naïve 漢字".encode())
    assert worst_case(payload, 50, {})[1] == 50


def tally_of(accepted: int, total: int) -> Tally:
    return Tally(total=total, accepted=accepted, waiting=total - accepted, round=1)


def test_progress_is_a_line_every_half_minute_where_there_is_no_terminal(capsys):
    now = [0.0]
    tally = tally_of(accepted=20, total=100)
    line = ProgressLine("qa", tally, clock=lambda: now[0])
    for second in range(65):
        now[0] = float(second)
        tally.accepted, tally.waiting = 20 + second, 80 - second
        line.update(in_flight=4, tokens=1000 * second, usd=0.5)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    assert printed[0] == (
        "qa: 50 of 100 accepted, 0 rejected, 0 asked again, 4 in flight, 30,000 tokens, $0.50, "
        "about 1 min left"
    )


def on_screen(keyboard: int, wanted: bytes) -> bytes:
    """What a terminal shows, up to `wanted`. Linux delivers it in pieces, and with a delay."""
    shown = b""
    while wanted not in shown and select.select([keyboard], [], [], 10)[0]:
        shown += os.read(keyboard, 1 << 16)
    return shown


def test_the_bar_is_on_the_terminal_while_lines_go_to_the_log(monkeypatch, capsys):
    keyboard, screen = pty.openpty()
    monkeypatch.setenv("EXCISE_BAR", os.ttyname(screen))
    tally = tally_of(accepted=20, total=100)
    line = ProgressLine("qa", tally)
    tally.accepted, tally.waiting = 45, 55
    line.update(in_flight=4, tokens=30_000, usd=0.5)
    line.close(0, 30_000, 0.5)
    os.close(screen)
    assert b"45/100" in on_screen(keyboard, b"45/100")
    assert "qa: 45 of 100 accepted, 0 rejected" in capsys.readouterr().out
    monkeypatch.setenv("EXCISE_BAR", "/no/such/terminal")
    ProgressLine("qa", tally_of(accepted=20, total=100)).close(0, 0, 0.0)
    assert capsys.readouterr().out == (
        "qa: 20 of 100 accepted, 0 rejected, 0 asked again, 0 in flight, 0 tokens\n"
    )


def test_progress_is_a_bar_on_a_terminal():
    screen, now = io.StringIO(), [0.0]
    console = Console(file=screen, force_terminal=True, width=120)
    tally = tally_of(accepted=20, total=100)
    line = ProgressLine("qa", tally, console=console, clock=lambda: now[0])
    line.update(in_flight=4, tokens=1_000, usd=0.5)
    line._bar.refresh()
    assert "left" not in screen.getvalue(), "time left: not known before an answer"
    for step in range(1, 26):  # one in two seconds
        now[0] = 2.0 * step
        tally.accepted, tally.waiting = 20 + step, 80 - step
        line.update(in_flight=4, tokens=30_000, usd=0.5)
    line.close(0, 30_000, 0.5)
    last = screen.getvalue().rsplit("qa ", 1)[1]
    assert "45/100" in last and "4 in flight, 30,000 tokens, $0.50" in last
    assert "about 2 min left" in last, "55 to go, two seconds each"
