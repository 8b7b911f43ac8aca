"""The project file: `postroj.toml`, or the table `tool.postroj` of pyproject.toml.

Reads the file, validates the form of its values, and finds the line of each key. The options of
`postroj pkgprobe` validate the meaning of values, as for the command line.
"""
