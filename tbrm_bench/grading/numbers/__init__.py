"""What a tree is worth: exact values, bounds on them, remainders."""
