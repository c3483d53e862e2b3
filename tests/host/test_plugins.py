"""Plug-ins: found, imported once, from the hashed bytes, and never from results."""

import hashlib
import sys

import pytest

from fedjax_diffusion.host import own_names
from fedjax_diffusion.host.plugins import (
    IMPORTED,
    check_imported,
    check_recorded,
    describe_plugins,
    find_installed,
    import_plugin,
    import_plugins,
    list_flags,
    read_plugin,
)


@pytest.fixture(autouse=True)
def nothing_imported(monkeypatch, tmp_path):
    before = dict(IMPORTED)
    monkeypatch.chdir(tmp_path)
    yield
    IMPORTED.clear()
    IMPORTED.update(before)


def len_of_file(path):
    return len(path.read_bytes())


def make(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_file_is_found_in_the_folders_in_their_order_and_imported_once(tmp_path):
    first = make(tmp_path / "a" / "mine.py", "import sys\nsys.loaded = ['a']\n")
    make(tmp_path / "b" / "mine.py", "raise RuntimeError('never')\n")
    import_plugins(("mine", "mine.py"), (tmp_path / "a", tmp_path / "b"))
    sys.loaded.append("kept")
    import_plugins(["mine"], (tmp_path / "a",))
    assert sys.loaded == ["a", "kept"]
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    assert describe_plugins(("mine",)) == {"mine": digest}
    assert list_flags(("a/mine.py",)) == [f"--plugins={first}"]
    check_imported(["folder/mine.py"])


def test_missing_failing_and_changed_plugins_are_named_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"no file nowhere\.py in .*; nor is a module nowhere"):
        import_plugins(["nowhere"])
    with pytest.raises(ValueError, match=r"no file parts/nowhere\.py in"):
        import_plugins(["parts/nowhere.py"])
    failing = make(tmp_path / "failing.py", "x = 1\ny = x / 0\n")
    with pytest.raises(ValueError, match=r"failing\.py, line 2: ZeroDivisionError"):
        import_plugins([str(failing)])
    assert "failing" not in IMPORTED
    changing = make(tmp_path / "changing.py", "x = 1\n")
    import_plugins([str(changing)])
    changing.write_text("x = 2\n")
    with pytest.raises(ValueError, match=r"plug-in changing: .* start a new process"):
        import_plugins([str(changing)])
    with pytest.raises(ValueError, match=r"config\.plugins: other is not imported; give --plugins"):
        check_imported(["other"])


def test_a_recorded_source_must_agree_unless_trusted(tmp_path):
    path = make(tmp_path / "recorded.py", "x = 1\n")
    import_plugins([str(path)])
    check_recorded(tmp_path, describe_plugins(["recorded"]))
    with pytest.raises(ValueError, match=r"plug-in recorded has changed since .*--trust_plugins"):
        check_recorded(tmp_path, {"recorded": "0" * 64})
    import_plugins([str(path)], is_trusted=True)
    check_recorded(tmp_path, {"recorded": "0" * 64, "another": "1" * 64})


def test_installed_modules_are_found_without_importing_and_not_here(tmp_path, monkeypatch):
    make(tmp_path / "lib" / "parcel" / "__init__.py", "raise RuntimeError('imported')\n")
    inner = make(tmp_path / "lib" / "parcel" / "inner.py", "")
    make(tmp_path / "loose.py", "")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), str(tmp_path / "lib")])
    assert find_installed("parcel.inner") == inner
    assert find_installed("parcel.missing") is None
    assert find_installed("missing.inner") is None
    assert find_installed("loose") is None, "the working folder is no place of installation"
    assert find_installed("sys") is None


def test_installed_module_is_imported_and_not_its_namesake_here(tmp_path, monkeypatch):
    installed = make(tmp_path / "lib" / "namesake.py", "ORIGIN = 'installed'\n")
    make(tmp_path / "namesake.py", "raise RuntimeError('imported from here')\n")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), str(tmp_path / "lib"), *sys.path])
    import_plugin(read_plugin(installed, "namesake"))
    assert sys.modules.pop("namesake").ORIGIN == "installed"
    assert sys.path[0] == ""
    IMPORTED.pop("namesake")
    monkeypatch.setitem(sys.modules, "namesake", sys)
    with pytest.raises(ValueError, match="a module namesake is imported already"):
        import_plugin(read_plugin(installed, "namesake"))


def test_digest_is_that_of_the_file_of_a_function(tmp_path):
    one, two = {}, {}
    for scope, text in ((one, "A = 1"), (two, "A = 2")):
        path = make(tmp_path / f"{text[-1]}.py", f"{text}\ndef f(): return A\n")
        exec(compile(path.read_text(), path, "exec"), scope)
    digests = {own_names.digest_source(scope["f"]) for scope in (one, two, one)}
    assert len(digests) == 2
    assert own_names.digest_source(make) == own_names.digest_source(
        test_digest_is_that_of_the_file_of_a_function
    )
