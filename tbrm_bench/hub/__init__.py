"""The Hugging Face Hub, through its own client: the only package that imports huggingface_hub.

    download_model("owner/name", "main").path        what an engine needs, in the cache
    download_repo("owner/name", ...)                 everything, checked file by file
    HubRepo("owner/results", repo_type="dataset")    read the head, commit on top of it, or learn that it has moved

The client's environment is respected as it is: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE. A token is never read,
kept or printed here.
"""

from tbrm_bench.hub.client import Backoff, endpoint
from tbrm_bench.hub.commit_loop import check_visibility, push_changes
from tbrm_bench.hub.download import Download, Snapshot, download_model, download_repo
from tbrm_bench.hub.eval_results import EvalResult, eval_results_yaml
from tbrm_bench.hub.repo import Head, HubMoved, HubRepo, RemoteFile, Upload
from tbrm_bench.hub.status import HubStatus, hub_status

__all__ = [
    "Backoff",
    "Download",
    "EvalResult",
    "Head",
    "HubMoved",
    "HubRepo",
    "HubStatus",
    "RemoteFile",
    "Snapshot",
    "Upload",
    "check_visibility",
    "download_model",
    "download_repo",
    "endpoint",
    "eval_results_yaml",
    "hub_status",
    "push_changes",
]
