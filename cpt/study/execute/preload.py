"""Imports of the server that workers are forked from, with garbage collection off.

Collections take a third of the time of these imports, and would later copy memory pages that workers share.
"""

import gc
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher handles Ctrl-C, also during these imports
gc.disable()

import sacrebleu  # noqa: E402, F401
import transformers.models.llama.modeling_llama  # noqa: E402, F401

import cpt.study.execute.stages  # noqa: E402, F401

gc.freeze()
gc.enable()
