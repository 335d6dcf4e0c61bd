"""Every published way to mend broken samples, and ours, behind one interface."""
