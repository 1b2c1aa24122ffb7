"""The zoo's own commands: functions that ``sll_zoo.parsers`` names, given what was parsed."""
