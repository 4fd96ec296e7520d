"""The run: lanes of Jobs sent, paced, budgeted, polled, kept and recorded (DESIGN §3).

Read `job_run` first: one Job, from top to bottom.
"""
