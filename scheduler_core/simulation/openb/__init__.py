"""Figure 1: Alibaba's openb trace under the protocol of the FGD paper (Weng et al., ATC'23), with its baselines."""

from scheduler_core.simulation.openb.command import register, run

__all__ = ["register", "run"]
