"""LightningModules, optimizers, schedules and callbacks."""
