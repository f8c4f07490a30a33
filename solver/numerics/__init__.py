"""What is computed: the methods' numbers, what a program is made for, sampled inputs, how a run can end."""
