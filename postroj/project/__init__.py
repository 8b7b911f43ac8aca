"""The file of a project: `postroj.toml`, or the table `tool.postroj` of pyproject.toml.

From the file to values that are of the right form, and to the line of each. What they mean is the
business of who is given them, as with those of the command line.
"""
