"""The same work three ways: open-unlearning or a stand-in, an expert's script, Excise.

`../compare_peers.py` is the program. `expert.py` and `stand_in.py` are programs that it starts.
"""
