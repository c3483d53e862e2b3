"""One process at a time plays a run, and signals stop it in good order."""

import json
import os
import re
import signal
import threading

import pytest

from fedjax_diffusion import run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.host.interruption import Interruption, StoppedBySignal
from fedjax_diffusion.runs import claims
from fedjax_diffusion.runs.claims import LostClaimError, claim_folder
from fedjax_diffusion.runs.records import METRICS, read_metrics
from tests.runs.claimants import Claimant
from tests.tiny import PIXELS, pixel_config


def test_a_second_process_is_refused_in_one_line(tmp_path, capsys):
    workdir = tmp_path / "run"
    with claim_folder(workdir):
        assert main(["run", f"--workdir={workdir}", *PIXELS]) == 2
    error = capsys.readouterr().err
    assert re.search(rf"process {os.getpid()} on host \S+ works on it since \d{{4}}-", error)
    assert error.count("\n") == 1
    assert [path.name for path in workdir.iterdir()] == [claims.FOLDER]


def test_an_owner_that_was_overtaken_writes_nothing_more(tmp_path):
    def overtake(record):
        (tmp_path / "run" / claims.FOLDER / "run.2").write_text("{}")

    with pytest.raises(LostClaimError):
        run(pixel_config(), tmp_path / "run", on_record=overtake)
    assert len(read_metrics(tmp_path / "run")) == 1
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))


def test_a_request_before_the_first_round_leaves_a_run_without_rounds(tmp_path):
    interruption = Interruption()
    interruption.exit_code = 130
    with pytest.raises(StoppedBySignal, match="0 rounds are saved"):
        run(pixel_config(), tmp_path / "run", interruption=interruption)
    assert read_metrics(tmp_path / "run") == []
    owner = claims.read_owners(tmp_path / "run" / claims.FOLDER)["run"]
    assert owner.state == "released"


def test_a_signal_ends_the_command_with_a_checkpoint_and_the_run_goes_on(tmp_path, capsys):
    workdir, is_over = tmp_path / "run", threading.Event()

    def send():
        while not (metrics := workdir / METRICS).exists() or not metrics.stat().st_size:
            if is_over.wait(0.05):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    flags = ["--config.num_rounds=5000", "--config.checkpoint.every_rounds=4000"]
    try:
        assert main(["run", *PIXELS, f"--workdir={workdir}", *flags]) == 143
    finally:
        is_over.set()
        sender.join()
    out, error = capsys.readouterr()
    assert re.search(r"^round +1/5000", out, re.MULTILINE)
    rounds = int(re.search(r"run: (\d+) rounds are saved; repeat the command to", error)[1])
    assert 1 <= rounds < 4000
    assert len(read_metrics(workdir)) == rounds

    with Claimant(workdir / claims.FOLDER, 'take()\nprint("owner", flush=True)\nask()') as dead:
        assert dead.read() == "owner"
        dead.kill()
    config = json.loads((workdir / "config.json").read_text())
    started_at = []
    with pytest.raises(InterruptedError):
        run(config, workdir, on_start=lambda _, first: started_at.append(first) or stop())
    assert started_at == [rounds]


def stop():
    raise InterruptedError
