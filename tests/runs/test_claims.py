"""One owner at a time, when processes are killed, stopped or slow at any step: real ones."""

import contextlib
import json
import os
import random
import subprocess
import time

import pytest

from fedjax_diffusion.host import processes, shared_files
from fedjax_diffusion.host.process_life import describe_process
from fedjax_diffusion.runs.claims import ClaimedError, claim_folder, read_owners, take
from tests.runs.claimants import ELSEWHERE, HOLD, THIEF, Claimant


def write(folder, number, about=None, age_seconds=0.0):
    """Writes a claim on "run" by hand: of another machine, or of a process here."""
    folder.mkdir(exist_ok=True)
    path = folder / f"run.{number}"
    path.write_text(json.dumps(about or {"host": "elsewhere", "pid": 7, "since": "yesterday"}))
    os.utime(path, (time.time() - age_seconds,) * 2)


def state(folder):
    return read_owners(folder)["run"].state


def wait_until(is_so):
    """Returns as soon as something is so; fails if it is not within 30 seconds."""
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_claim_is_held_until_it_is_released(tmp_path):
    with take(tmp_path / "claims", "run", worker="me") as claim:
        assert claim.is_owner()
        about = json.loads((tmp_path / "claims" / "run.1").read_text())
        assert about.keys() == {*describe_process(), "worker", "since"}
        assert about["worker"] == "me"
        take(tmp_path / "claims", "other").release()
        with pytest.raises(ClaimedError, match=r"run: process \d+ on host .* since 20") as refused:
            take(tmp_path / "claims", "run")
        assert refused.value.owner.about == about
        assert "\n" not in str(refused.value)
    assert not claim.is_owner()
    claim.release()
    assert state(tmp_path / "claims") == "released"
    with take(tmp_path / "claims", "run") as second:
        assert second.is_owner()
        assert not claim.is_owner()
    assert sorted(p.name for p in (tmp_path / "claims").iterdir() if "run" in p.name) == [
        "run.1",
        "run.1.released",
        "run.2",
        "run.2.released",
    ]


def test_a_refusal_names_the_owner_and_when_its_claim_ends(tmp_path):
    write(tmp_path, 1)
    with pytest.raises(ClaimedError) as refused:
        take(tmp_path, "run", what="point 3")
    assert str(refused.value) == (
        "point 3: process 7 on host elsewhere works on it since yesterday; wait for its end. Of a "
        "process that was killed the claim ends 10 minutes after its last sign of life at the "
        "latest"
    )


def test_an_error_releases_the_claim(tmp_path):
    with pytest.raises(KeyboardInterrupt), take(tmp_path, "run"):
        raise KeyboardInterrupt
    assert state(tmp_path) == "released"


def test_a_claim_of_another_machine_goes_stale_by_age_alone(tmp_path):
    write(tmp_path, 1, age_seconds=590)
    assert state(tmp_path) == "live"
    write(tmp_path, 1, age_seconds=610)
    assert state(tmp_path) == "stale"
    assert take(tmp_path, "run").is_owner()
    assert read_owners(tmp_path)["run"].number == 2


def test_the_highest_number_counts_as_a_number(tmp_path):
    for number in (1, 2, 9, 10):
        write(tmp_path, number, age_seconds=0 if number == 10 else 999)
    assert read_owners(tmp_path)["run"].number == 10
    with pytest.raises(ClaimedError):
        take(tmp_path, "run")


@pytest.mark.parametrize("local_time", [0.0, 4e9])
def test_a_wrong_local_clock_changes_nothing(tmp_path, monkeypatch, local_time):
    write(tmp_path, 1, age_seconds=590)
    monkeypatch.setattr(time, "time", lambda: local_time)
    assert state(tmp_path) == "live"
    with pytest.raises(ClaimedError):
        take(tmp_path, "run")
    server_clock = shared_files.read_server_clock
    monkeypatch.setattr(shared_files, "read_server_clock", lambda f: server_clock(f) + 20)
    assert state(tmp_path) == "stale", "the server's clock decides"
    take(tmp_path, "run").release()


def test_a_folder_that_cannot_be_written_shows_its_claims(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(shared_files, "read_server_clock", refuse)
    assert state(tmp_path) == "live"
    assert read_owners(tmp_path / "none") == {}


def test_a_dead_process_of_this_machine_is_replaced_at_once(tmp_path):
    child = subprocess.Popen(["sleep", "0"])
    child.wait()
    write(tmp_path, 1, describe_process() | {"pid": child.pid})
    assert state(tmp_path) == "stale"


def test_a_process_whose_number_was_given_to_another_is_replaced(tmp_path):
    write(tmp_path, 1, describe_process())
    assert state(tmp_path) == "live"
    write(tmp_path, 1, describe_process() | {"process_start": 1})
    assert state(tmp_path) == "stale"


@pytest.mark.parametrize("content", [b"", b'{"host": "el', b"[1]", b"3", b"\xff"])
def test_a_damaged_claim_ends_by_age(tmp_path, content):
    (tmp_path / "run.1").write_bytes(content)
    with pytest.raises(ClaimedError, match="process unknown on host unknown"):
        take(tmp_path, "run")
    os.utime(tmp_path / "run.1", (time.time() - 601,) * 2)
    take(tmp_path, "run").release()


def test_an_emptied_folder_has_no_owner(tmp_path):
    first = take(tmp_path, "run")
    for path in tmp_path.iterdir():
        path.unlink()
    assert not first.is_owner()
    second = take(tmp_path, "run", worker="second")
    assert second.is_owner()
    assert not first.is_owner()


def test_a_heartbeat_keeps_a_claim_alive_as_long_as_its_process(tmp_path):
    with Claimant(tmp_path, ELSEWHERE + HOLD) as owner:
        assert owner.read() == "owner"
        os.utime(tmp_path / "run.1", (0, 0))
        wait_until(lambda: state(tmp_path) == "live")
        owner.kill()
        os.utime(tmp_path / "run.1", (0, 0))
        time.sleep(0.1)  # several heartbeats
        assert state(tmp_path) == "stale"


DIE_BEFORE_WRITING = """
create = claims.shared_files.create
def create_and_die(path):
    descriptor = create(path)
    if path.name.startswith("run"):
        die()
    return descriptor
claims.shared_files.create = create_and_die
take()
"""


def test_killed_at_each_step_an_owner_is_replaced(tmp_path):
    with Claimant(tmp_path, DIE_BEFORE_WRITING) as claimant:
        assert claimant.process.wait(timeout=30) == -9
    assert (tmp_path / "run.1").read_bytes() == b"", "killed before it wrote its name"
    with pytest.raises(ClaimedError):
        take(tmp_path, "run")
    os.utime(tmp_path / "run.1", (0, 0))
    with Claimant(tmp_path, "claims.Claim = die\ntake()") as claimant:
        assert claimant.process.wait(timeout=30) == -9, "killed before it returned"
    assert read_owners(tmp_path)["run"][:2] == (2, "stale")
    with Claimant(tmp_path, HOLD) as claimant:
        assert claimant.read() == "owner"
        claimant.kill()
    assert read_owners(tmp_path)["run"][:2] == (3, "stale")
    release = "claim = take()\nclaims.shared_files.create = die\nclaim.release()"
    with Claimant(tmp_path, release) as claimant:
        assert claimant.process.wait(timeout=30) == -9, "killed as it released"
    assert read_owners(tmp_path)["run"][:2] == (4, "stale")
    assert take(tmp_path, "run").is_owner()


def test_of_two_thieves_stopped_between_judging_and_stealing_one_becomes_owner(tmp_path):
    write(tmp_path, 1, age_seconds=999)
    with Claimant(tmp_path, THIEF) as first, Claimant(tmp_path, THIEF) as second:
        assert first.read() == second.read() == "judged"
        assert first.ask("steal") == "owner run.2"
        assert second.ask("steal") == "refused"
        assert first.end() == second.end() == 0


def test_a_thief_that_is_killed_leaves_the_claim_to_the_other(tmp_path):
    write(tmp_path, 1, age_seconds=999)
    with Claimant(tmp_path, THIEF) as first, Claimant(tmp_path, THIEF) as second:
        assert first.read() == second.read() == "judged"
        assert first.ask("die") == ""
        assert second.ask("steal") == "owner run.2"


def test_a_slow_thief_takes_no_later_claim(tmp_path):
    """The first is stopped on claim 1, while claim 2 comes and goes and claim 3 is alive."""
    write(tmp_path, 1, age_seconds=999)
    with Claimant(tmp_path, THIEF) as slow:
        assert slow.read() == "judged"
        take(tmp_path, "run").release()
        with take(tmp_path, "run") as third:
            assert slow.ask("steal") == "refused"
            assert third.is_owner()


def test_a_suspended_owner_that_was_replaced_knows_it(tmp_path):
    with Claimant(tmp_path, ELSEWHERE + HOLD) as owner:
        assert owner.read() == "owner"
        assert owner.ask("still?") == "True"
        owner.stop()
        os.utime(tmp_path / "run.1", (0, 0))
        with take(tmp_path, "run") as thief:
            owner.go_on()
            assert owner.ask("still?") == "False"
            assert owner.end() == 0
            assert thief.is_owner(), "the release of the first changes nothing"
            with pytest.raises(ClaimedError):
                take(tmp_path, "run")


WORK = """
import time
for name in map(str, range(20)):
    while not (folder / f"{name}-summary").exists():
        try:
            with take(name, heartbeat_seconds=0.1, stale_seconds=5) as claim:
                if not (folder / f"{name}-summary").exists():
                    time.sleep(0.02)
                    if claim.is_owner():
                        os.link(__file__, folder / f"{name}-summary")  # fails if it is there
        except ValueError:
            time.sleep(0.01)
"""


def test_every_point_is_finished_once_by_workers_that_are_killed_at_random(tmp_path):
    (tmp_path / "result").touch()
    script = f"__file__ = {str(tmp_path / 'result')!r}\n{WORK}"
    rng, codes = random.Random(0), []
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Claimant(tmp_path, script)) for _ in range(2)]
        for _ in range(6):
            time.sleep(rng.uniform(0.1, 0.3))
            victim = rng.randrange(2)
            codes.append(workers[victim].process.poll())
            workers[victim].kill()
            workers[victim] = stack.enter_context(Claimant(tmp_path, script))
        codes += [worker.process.wait(timeout=60) for worker in workers]
    assert {*codes} <= {None, 0}, "nobody wrote a summary a second time"
    assert len(list(tmp_path.glob("*-summary"))) == 20


def test_a_run_folder_has_one_owner(tmp_path):
    with claim_folder(tmp_path / "run") as claim:
        assert claim.is_owner()
        with pytest.raises(ClaimedError, match=f"{tmp_path / 'run'}: process {os.getpid()} on"):
            claim_folder(tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["claims"]
    with claim_folder(tmp_path / "run") as claim:
        assert claim.is_owner()


def test_several_processes_of_one_run_are_one_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "is_primary", lambda: False)
    monkeypatch.setattr(processes, "agree", lambda value: 1)  # the first process has got it
    with claim_folder(tmp_path) as claim:
        assert claim.is_owner()
    assert list(tmp_path.iterdir()) == [], "the others write nothing"
    monkeypatch.setattr(processes, "agree", lambda value: 0)
    with pytest.raises(ValueError, match="first process got no claim"):
        claim_folder(tmp_path)
