"""Reports of measurements: tables, plots and pages."""
