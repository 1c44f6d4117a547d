"""The grader in other people's programs: functions with the signatures that trainers and harnesses call.

Each module imports its library only where it must subclass something of it; docs/grading-elsewhere.md has the lines to
paste.
"""
