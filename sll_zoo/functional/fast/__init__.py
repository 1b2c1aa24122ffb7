"""The formulas that are worth their own implementation: the same values, faster or in less memory."""
