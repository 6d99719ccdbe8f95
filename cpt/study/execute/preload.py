"""What the server of workers imports, with the collector of cycles at rest: nothing of it is ever garbage.

Looking for it again and again costs a third of the time of these imports, and would later copy pages that workers
share.
"""

import gc
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's to handle, also while this imports
gc.disable()

import sacrebleu  # noqa: E402, F401
import transformers.models.llama.modeling_llama  # noqa: E402, F401

import cpt.study.execute.stages  # noqa: E402, F401

gc.freeze()
gc.enable()
