"""From two networks to a trained model, and on after a stop.

Here live one adversarial update and the loop around it, its settings, the recipes that bring data,
networks and settings together, the runs that keep checkpoints and a log, and what makes a resumed
run equal an uninterrupted one. The losses themselves are in ``method``.
"""
