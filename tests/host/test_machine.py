"""The machine, asked without JAX."""

from fedjax_diffusion.host.machine import has_gpu_plugin


def test_a_plugin_is_found_where_jax_looks_for_it(tmp_path, monkeypatch):
    assert not has_gpu_plugin()
    (tmp_path / "jax_plugins" / "xla_cuda13").mkdir(parents=True)
    (tmp_path / "jax_plugins" / "xla_cuda13" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert has_gpu_plugin()
