"""The endpoints of the test Hub; each is named for the path that it answers."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from hub_http import Request, Response, answer, refuse
from hub_repos import Commit, HubStore, Repo
from hub_write import HubWriter

if TYPE_CHECKING:
    from hub_server import User

DATE = "2026-01-01T00:00:00.000Z"
Endpoint = Callable[..., Response]
REPO = r"(?P<name>[^/]+/[^/]+?)"
REV = r"(?P<rev>refs/pr/\d+|[^/]+)"


class HubApi:
    """Routes a request to its endpoint, after looking at its token."""

    def __init__(
        self,
        store: HubStore,
        url: str,
        storage_url: str,
        users: "Mapping[str, User]",
        part_size: int | None,
        page_size: int,
    ) -> None:
        self.store = store
        self.url = url
        self.storage_url = storage_url
        self.users = users
        self.page_size = page_size
        writer = HubWriter(store, url, part_size)
        kind = r"/api/(?P<kind>models|datasets)"
        guarded: list[tuple[str, str, Endpoint, str]] = [
            ("GET", kind + f"/{REPO}", self.info, "see"),
            ("GET", kind + f"/{REPO}/revision/{REV}", self.info, "see"),
            ("GET", kind + f"/{REPO}/tree/{REV}", self.tree, "see"),
            ("GET", kind + f"/{REPO}/refs", self.refs, "see"),
            ("GET", kind + f"/{REPO}/discussions", self.discussions, "see"),
            ("GET", kind + rf"/{REPO}/discussions/(?P<num>\d+)", self.discussion, "see"),
            ("POST", kind + f"/{REPO}/preupload/{REV}", writer.preupload, "see"),
            ("POST", kind + f"/{REPO}/commit/{REV}", writer.commit, "propose"),
            ("POST", kind + f"/{REPO}/branch/{REV}", writer.branch, "write"),
            ("POST", rf"/(?:(?P<kind>datasets)/)?{REPO}\.git/info/lfs/objects/batch", writer.batch, "see"),
            ("GET", rf"/(?:(?P<kind>datasets)/)?{REPO}/resolve/{REV}/(?P<path>.+)", self.resolve, "read"),
        ]
        unguarded: list[tuple[str, str, Endpoint]] = [
            ("GET", r"/storage/(?P<sha256>[0-9a-f]{64})", self.storage),
            ("PUT", r"/lfs/(?P<sha256>[0-9a-f]{64})", writer.upload),
            ("PUT", r"/lfs/(?P<sha256>[0-9a-f]{64})/(?P<part>\d+)", writer.upload_part),
            ("POST", r"/lfs/(?P<sha256>[0-9a-f]{64})/complete", writer.complete),
            ("POST", r"/lfs/(?P<sha256>[0-9a-f]{64})/verify", writer.verify),
            ("POST", r"/api/validate-yaml", writer.validate_yaml),
            ("GET", r"/", lambda _: Response()),
        ]
        self.routes = [(method, re.compile(f"{path}$"), endpoint, need) for method, path, endpoint, need in guarded]
        self.open_routes = [(method, re.compile(f"{path}$"), endpoint) for method, path, endpoint in unguarded]

    def handle(self, request: Request) -> Response:
        """Answer a request, or refuse it as the Hub would."""
        method = "GET" if request.method == "HEAD" else request.method
        for wanted, pattern, endpoint in self.open_routes:
            if method == wanted and (match := pattern.match(request.path)):
                return endpoint(request, **match.groupdict())
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        user = self.users.get(token)
        if token and user is None:
            return refuse(401, "Invalid credentials in Authorization header")
        if request.path == "/api/whoami-v2":
            return self.whoami(user)
        if request.path == "/api/repos/create":
            return self.create(request, user)
        for wanted, pattern, endpoint, need in self.routes:
            if method == wanted and (match := pattern.match(request.path)):
                fields = match.groupdict()
                found = self._admit(request, user, fields.pop("kind") or "models", fields.pop("name"), need)
                return found if isinstance(found, Response) else endpoint(request, found, user=user, **fields)
        return refuse(404, f"no endpoint {request.method} {request.path}")

    def _admit(self, request: Request, user: "User | None", kind: str, name: str, need: str) -> Repo | Response:
        """Return the repository if the user may do what the endpoint needs."""
        repo = self.store.repos.get((kind, name))
        may_see = repo is not None and (not repo.private or (user is not None and _owns(user, name)))
        if repo is None or not may_see:
            return refuse(401 if user is None else 404, "Repository not found", "RepoNotFound")
        if need == "read" and repo.gated and (user is None or not _owns(user, name)):
            return refuse(403 if user else 401, f"Access to {kind} {name} is restricted", "GatedRepo")
        if need == "propose":
            need = "see" if request.flag("create_pr") and user is not None else "write"
        if need == "write" and user is None:
            return refuse(401, "Invalid username or password.")
        if need == "write" and user is not None and not (user.can_write and _owns(user, name)):
            return refuse(403, "you must use a write token to upload to a repository.")
        return repo

    def whoami(self, user: "User | None") -> Response:
        if user is None:
            return refuse(401, "Invalid username or password.")
        return answer({"type": "user", "name": user.name, "orgs": [{"name": org} for org in user.orgs]})

    def create(self, request: Request, user: "User | None") -> Response:
        if user is None:
            return refuse(401, "Invalid username or password.")
        wanted = request.json()
        kind = f"{wanted.get('type') or 'model'}s"
        name = f"{wanted['organization'] or user.name}/{wanted['name']}"
        if not (user.can_write and _owns(user, name)):
            return refuse(403, f"You don't have the rights to create a repository under {wanted['organization']!r}")
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        prefix = "" if kind == "models" else f"{kind}/"
        try:
            self.store.create(kind, name, private=private)
        except KeyError:
            return answer({"error": "You already created this repo", "url": f"{self.url}/{prefix}{name}"}, 409)
        return answer({"url": f"{self.url}/{prefix}{name}"})

    def info(self, request: Request, repo: Repo, *, rev: str = "main", user: object) -> Response:
        commit = repo.resolve(rev)
        if commit is None:
            return _no_revision(rev)
        files = [{"rfilename": path} for path in sorted(commit.files)]
        facts = {"id": repo.name, "sha": commit.oid, "private": repo.private, "siblings": files, "tags": []}
        return answer({**facts, "gated": "auto" if repo.gated else False, "lastModified": DATE, "createdAt": DATE})

    def tree(self, request: Request, repo: Repo, *, rev: str, user: object) -> Response:
        commit = repo.resolve(rev)
        if commit is None:
            return _no_revision(rev)
        start = int(request.query.get("cursor", ["0"])[0])
        rows = _entries(commit)
        headers = {}
        if len(rows) > start + self.page_size:
            page = f"{self.url}/api/{repo.kind}/{repo.name}/tree/{quote(rev, safe='')}"
            headers["Link"] = f'<{page}?recursive=true&cursor={start + self.page_size}>; rel="next"'
        return answer(rows[start : start + self.page_size], headers=headers)

    def refs(self, request: Request, repo: Repo, *, user: object) -> Response:
        def listed(names: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": prefix + n, "targetCommit": oid} for n, oid in names.items()]

        branches = {name: oid for name, oid in repo.branches.items() if not name.startswith("refs/")}
        requests = [{"name": p.branch, "ref": p.branch, "targetCommit": ""} for p in repo.pull_requests]
        return answer(
            {
                "branches": listed(branches, "refs/heads/"),
                "tags": listed(repo.tags, "refs/tags/"),
                "converts": [],
                "pullRequests": requests,
            }
        )

    def discussions(self, request: Request, repo: Repo, *, user: object) -> Response:
        rows = [_discussion(repo, request.num) for request in repo.pull_requests]
        return answer({"discussions": rows, "count": len(rows), "start": 0})

    def discussion(self, request: Request, repo: Repo, *, num: str, user: object) -> Response:
        details = {"events": [], "filesWithConflicts": [], "changes": {"base": "refs/heads/main"}}
        return answer({**_discussion(repo, int(num)), **details})

    def resolve(self, request: Request, repo: Repo, *, rev: str, path: str, user: object) -> Response:
        commit = repo.resolve(rev)
        if commit is None:
            return _no_revision(rev)
        blob = commit.files.get(path)
        if blob is None:
            return refuse(404, f"{path} does not exist", "EntryNotFound")
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{blob.git_oid}"', "Accept-Ranges": "bytes"}
        if blob.is_lfs:
            linked = {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(blob.size)}
            return Response(302, b"", {**headers, **linked, "Location": f"{self.storage_url}/storage/{blob.sha256}"})
        return _ranged(request, self.store.read(blob), headers)

    def storage(self, request: Request, *, sha256: str) -> Response:
        content = self.store.read(self.store.lfs_blob(sha256))
        return _ranged(request, content, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})


def _owns(user: "User", name: str) -> bool:
    return name.partition("/")[0] in (user.name, *user.orgs)


def _no_revision(rev: str) -> Response:
    return refuse(404, f"Invalid rev id: {rev}", "RevisionNotFound")


def _entries(commit: Commit) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for path, blob in sorted(commit.files.items()):
        row: dict[str, object] = {"type": "file", "oid": blob.git_oid, "size": blob.size, "path": path}
        if blob.is_lfs:
            row["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 130}
        rows.append(row)
    return rows


def _discussion(repo: Repo, num: int) -> dict[str, object]:
    request = repo.pull_requests[num - 1]
    return {
        "num": num,
        "title": request.title,
        "author": {"name": request.author},
        "createdAt": DATE,
        "status": "open",
        "isPullRequest": True,
        "repo": {"name": repo.name, "type": repo.kind.removesuffix("s")},
    }


def _ranged(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not wanted:
        return Response(200, content, headers | {"Content-Length": str(len(content))})
    start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
    part = content[start : end + 1]
    where = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"}
    return Response(206, part, headers | where | {"Content-Length": str(len(part))})
