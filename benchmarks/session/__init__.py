"""The parts of the accelerator session, each a process that ``accelerator_session.py`` starts."""
