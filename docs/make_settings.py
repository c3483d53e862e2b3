"""Writes the table of docs/settings.md anew: ``python docs/make_settings.py``."""

from pathlib import Path

from fedjax_diffusion.experiment.setting_kinds import format_settings

if __name__ == "__main__":
    page = Path(__file__).with_name("settings.md")
    text, heading, _ = page.read_text().partition("| key | allowed | default |\n")
    page.write_text(text + format_settings())
