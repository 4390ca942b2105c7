"""A local page on the trainings of some folders."""
