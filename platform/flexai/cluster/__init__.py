"""Cells, pools, nodes, chips, chip types, contact, telemetry."""
