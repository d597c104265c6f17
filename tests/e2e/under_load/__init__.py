"""An installation as production has it, worked on while load goes on."""
