"""`flexai simulate`: one cluster, one workload, several policies, side by side.

Nothing is simulated here: the engine runs in `driven`, the others in `replay`. Here a question becomes a scenario
(`sources`, `options`), its runs become figures (`measures`), and figures become a table and a report.
"""
