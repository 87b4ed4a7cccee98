"""The figures of the notebooks: plain functions of arrays → Picture, a module for each subject."""
