"""Every run of a scale on one accelerator, in stages that a time limit may cut and a call resume.

classifier, teachers and students (which compile while their teacher trains) -> gap metrics and
pictures -> scores.  A run is stored in ``results/`` when it is trained; its scores are added at
the end of every call.  What is not finished lies in the work folder.
"""
