"""The shared truth: who holds and who waits, kept by the kernel as byte-range locks on empty files.

A grant of ``n`` bytes is a lock of length ``n``; a ticket and a request are locks too. There is nothing to
corrupt, tear, fill up or reap: death of any kind gives everything back in one stroke, in any PID namespace.
Nothing in here knows what a budget is or who may have how much; that is :mod:`pytest_gpuguard.budget`.
"""
