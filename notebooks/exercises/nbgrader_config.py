"""The exercises as a course of nbgrader; README.md beside this file says how to use it."""

c = get_config()  # noqa: F821 - nbgrader puts it there

c.CourseDirectory.course_id = "capsedu"

# What stands in place of a solution in the notebooks that students get.
c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("not written yet")'}

# Seconds for one cell of a submission. A check stops an endless function by itself, and says so;
# this is for whatever else never ends.
c.Execute.timeout = 60

# A test cell that a student deleted is put back, and judged.
c.OverwriteCells.add_missing_cells = True
