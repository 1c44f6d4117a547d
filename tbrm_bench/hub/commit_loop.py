"""The one loop in which everything here is pushed: read the head, see what differs, commit on top of that head.

    done = push_changes(remote, lambda head: (missing_uploads(head), []), message="Push x")

    read the head --> what differs --> upload --> commit on top of that head --refused--> wait --> read the head again

A commit is made for one head only, so that of two pushes at the same time neither is lost: the second one sees what the
first has brought, and `changes` is asked again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.hub.repo import Head, HubMoved, HubRepo, Upload

# How often another push may be first; each of those made its own commit meanwhile.
MAX_MOVES = 40
Changes = Callable[[Head], tuple[Sequence[Upload], Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Committed:
    """What a push did. `commit` is the head that holds it all; `uploads` and `deletions` are empty if it was there."""

    commit: str
    uploads: tuple[Upload, ...] = ()
    deletions: tuple[str, ...] = ()


def push_changes(remote: HubRepo, changes: Changes, *, message: str) -> Committed:
    """Make one commit of what `changes` (uploads, paths to delete) says of the head, whichever it is by then.

    Waits by the repository's backoff before each further try, also for what the Hub asks with Retry-After. Raises
    what `changes` raises, UserError where the repository has gone, RunFailed when no try comes through.
    """
    num_moves, num_stuck, last_head = 0, 0, ""
    while num_moves < MAX_MOVES and num_stuck < remote.backoff.num_tries:
        head = remote.head()
        if head is None:
            raise UserError(f"{remote.repo!r} was deleted, or cannot be seen with this token; check it and push again")
        uploads, deletions = changes(head)
        if not uploads and not deletions:
            return Committed(head.commit)
        try:
            commit = remote.commit(head, uploads=uploads, deletions=deletions, message=message)
        except HubMoved as error:
            # A head that stays where it is was not moved by others: the Hub itself is in trouble.
            num_stuck = num_stuck + 1 if head.commit == last_head else 1
            num_moves, last_head = num_moves + 1, head.commit
            if num_moves < MAX_MOVES and num_stuck < remote.backoff.num_tries:
                remote.backoff.wait(num_stuck, reason=f"{error}: reading {remote.repo} again", asked_s=error.asked_s)
        else:
            return Committed(commit, tuple(uploads), tuple(deletions))
    raise RunFailed(
        f"no commit to {remote.repo} came through in {num_moves} tries; nothing is half done, push again later"
    )


def check_visibility(head: Head, repo: str, *, public: bool, what: str) -> None:
    """Raise UserError where a repository is public and nobody said that `what` may be."""
    if not head.is_private and not public:
        raise UserError(f"{repo} is public; give --public to publish the {what} there, or name another repository")
