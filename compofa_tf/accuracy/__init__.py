"""How good each subnet is: evaluation, and tables of many."""
