"""Formulas with an implementation of their own: the same values, faster or in less memory."""
