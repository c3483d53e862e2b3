"""``fedjax-diffusion report``, as a user types it."""

import pytest

from fedjax_diffusion.cli.main import main
from tests.empty_figures import leave_figures_empty
from tests.report.folders import make_played_sweep


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return make_played_sweep(tmp_path_factory.mktemp("report") / "sweep", num_seeds=2)


def fail(capsys, *arguments):
    """Returns the line of a command that is refused."""
    assert main(["report", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_page_and_figures_go_where_they_are_asked_for_and_else_replace_the_folders_page(
    workdir, tmp_path, capsys, monkeypatch
):
    """Figures of nothing: what they show is held in ``tests/report``."""
    leave_figures_empty(monkeypatch)
    page, figures = tmp_path / "new" / "page.html", tmp_path / "figures"
    arguments = [f"--workdir={workdir}", f"--output={page}", f"--figures={figures}"]
    assert main(["report", *arguments, "--format=png"]) == 0
    out = capsys.readouterr().out
    assert str(page) in out
    assert str(figures) in out
    names = {path.name for path in figures.iterdir()}
    assert len(names) > 2
    assert all(name.endswith(".png") for name in names)
    content = page.read_text()
    assert all(f'id="figure-{name[:-4]}"' in content for name in names)
    own = workdir / "report.html"
    assert not own.exists()
    own.write_text(content.replace("<body>", "<body>an earlier report"))
    assert main(["report", f"--workdir={workdir}"]) == 0
    assert capsys.readouterr().out == f"{own}\n"
    assert own.read_text().startswith("<!DOCTYPE html>")
    assert "an earlier report" not in own.read_text()


def test_bad_arguments_are_one_line(workdir, tmp_path, capsys):
    assert "holds no run, comparison, study or sweep" in fail(capsys, f"--workdir={tmp_path}")
    own = tmp_path / "own.html"
    own.write_text("<p>mine</p>")
    given = f"--workdir={workdir}"
    assert "was not made by fedjax-diffusion" in fail(capsys, given, f"--output={own}")
    assert own.read_text() == "<p>mine</p>"
    assert "--output must end in .html" in fail(capsys, given, f"--output={tmp_path / 'a.txt'}")
    assert "not a folder" in fail(capsys, given, f"--figures={own}/inside")
    assert "unknown argument --config.seed=1" in fail(capsys, given, "--config.seed=1")
