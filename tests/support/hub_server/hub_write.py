"""The endpoints of the test Hub that take content: preupload, large files in one part or several, commits, branches."""

import base64
import hashlib
import json
import threading
from typing import Any

import yaml
from hub_http import Request, Response, answer, refuse
from hub_repos import Change, Conflict, HubStore, MissingBlob, Repo

# The Hub keeps these, and whatever is above 10 MB, as large files.
LFS_SUFFIXES = (".parquet", ".safetensors", ".bin", ".pt")
LFS_BYTES = 10_000_000


class HubWriter:
    """Uploads and commits."""

    def __init__(self, store: HubStore, url: str, part_size: int | None) -> None:
        self.store = store
        self.url = url
        self.part_size = part_size
        self._parts: dict[tuple[str, int], bytes] = {}
        self._lock = threading.Lock()

    def validate_yaml(self, request: Request) -> Response:
        """Refuse a card whose front matter is no YAML mapping, or names a data file twice."""
        content = request.json()["content"]
        _, mark, rest = content.partition("---\n")
        try:
            data = yaml.safe_load(rest.partition("\n---")[0]) if mark else None
        except yaml.YAMLError as error:
            return answer({"errors": [{"message": str(error)}], "warnings": []}, 400)
        if not isinstance(data, dict):
            return answer({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        return answer({"errors": [], "warnings": []})

    def preupload(self, request: Request, repo: Repo, *, rev: str, user: object) -> Response:
        """Say of each file whether it is a large one, and what is there now."""
        commit = repo.resolve(rev)
        if commit is None:
            return refuse(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        rows = []
        for file in request.json()["files"]:
            is_lfs = file["path"].endswith(LFS_SUFFIXES) or file["size"] > LFS_BYTES
            present = commit.files.get(file["path"])
            row = {"path": file["path"], "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False}
            rows.append(row | ({"oid": present.etag} if present else {}))
        return answer({"files": rows})

    def batch(self, request: Request, repo: Repo, *, user: object) -> Response:
        """Say where each large file goes; one that is there already goes nowhere."""
        if user is None:
            return refuse(401, "Invalid username or password.")
        objects = []
        for wanted in request.json()["objects"]:
            sha256, size = wanted["oid"], wanted["size"]
            row: dict[str, Any] = {"oid": sha256, "size": size}
            if not (self.store.folder / sha256).is_file():
                row["actions"] = {
                    "upload": self._upload_action(sha256, size),
                    "verify": {"href": f"{self.url}/lfs/{sha256}/verify"},
                }
            objects.append(row)
        return answer({"transfer": "multipart" if self.part_size else "basic", "objects": objects})

    def _upload_action(self, sha256: str, size: int) -> dict[str, Any]:
        base = f"{self.url}/lfs/{sha256}"
        if self.part_size is None or size <= self.part_size:
            return {"href": base}
        num_parts = -(-size // self.part_size)
        urls = {str(part): f"{base}/{part}" for part in range(1, num_parts + 1)}
        return {"href": f"{base}/complete", "header": {"chunk_size": str(self.part_size), **urls}}

    def upload(self, request: Request, *, sha256: str) -> Response:
        """Take a large file in one piece."""
        return self._keep(sha256, request.body)

    def upload_part(self, request: Request, *, sha256: str, part: str) -> Response:
        """Take one part; its ETag is asked for at the end."""
        with self._lock:
            self._parts[sha256, int(part)] = request.body
        return Response(200, b"", {"ETag": hashlib.md5(request.body).hexdigest()})

    def complete(self, request: Request, *, sha256: str) -> Response:
        """Put the parts together."""
        parts = request.json()["parts"]
        with self._lock:
            contents = [self._parts.get((sha256, part["partNumber"])) for part in parts]
        if any(c is None or hashlib.md5(c).hexdigest() != p["etag"] for c, p in zip(contents, parts, strict=True)):
            return refuse(400, "a part is missing or another one")
        response = self._keep(sha256, b"".join(content for content in contents if content is not None))
        with self._lock:
            for part in parts:
                self._parts.pop((sha256, part["partNumber"]), None)
        return response

    def _keep(self, sha256: str, content: bytes) -> Response:
        if hashlib.sha256(content).hexdigest() != sha256:
            return refuse(400, "the content does not have the hash that was announced")
        self.store.put(content, is_lfs=True)
        return answer({})

    def verify(self, request: Request, *, sha256: str) -> Response:
        """Say whether a large file has arrived."""
        try:
            size = self.store.lfs_blob(sha256).size
        except MissingBlob:
            return refuse(404, "no such object")
        return answer({}) if size == request.json()["size"] else refuse(400, "another size")

    def branch(self, request: Request, repo: Repo, *, rev: str, user: object) -> Response:
        """Start a branch."""
        with repo.lock:
            if rev in repo.branches:
                return refuse(409, f"Reference already exists: {rev}")
            start = repo.resolve(request.json().get("startingPoint") or "main")
            if start is None:
                return refuse(404, "Invalid rev id", "RevisionNotFound")
            repo.branches[rev] = start.oid
        return answer({})

    def commit(self, request: Request, repo: Repo, *, rev: str, user: Any) -> Response:
        """Apply a commit as a whole, on a branch or as a pull request."""
        lines = [json.loads(line) for line in request.body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        try:
            changes = [change for line in lines if (change := self._change(line["key"], line["value"]))]
            return self._apply(request, repo, rev, header, changes, user)
        except MissingBlob as error:
            return refuse(400, f"LFS pointer pointed to a file that does not exist: {error}")
        except Conflict:
            return refuse(412, "A commit has happened since. Please refresh and try again.")

    def _change(self, key: str, value: dict[str, Any]) -> Change | None:
        match key:
            case "file":
                return ("add", value["path"], self.store.put(base64.b64decode(value["content"])))
            case "lfsFile":
                return ("add", value["path"], self.store.lfs_blob(value["oid"]))
            case "deletedFile":
                return ("delete", value["path"], None)
            case "deletedFolder":
                return ("delete", value["path"].rstrip("/") + "/", None)
            case "header":
                return None
        raise AssertionError(f"unknown line {key!r} in a commit")

    def _apply(
        self, request: Request, repo: Repo, rev: str, header: dict[str, Any], changes: list[Change], user: Any
    ) -> Response:
        prefix = "" if repo.kind == "models" else f"{repo.kind}/"
        page = f"{self.url}/{prefix}{repo.name}"
        link = None
        with repo.lock:
            if rev not in repo.branches:
                return refuse(404, f"Invalid rev id: {rev}", "RevisionNotFound")
            branch = rev
            if request.flag("create_pr"):
                opened = repo.open_pull_request(header["summary"], header.get("description", ""), user.name, rev)
                branch, link = opened.branch, f"{page}/discussions/{opened.num}"
            parent = header.get("parentCommit")
            done = repo.commit(branch, changes, message=header["summary"], parent=parent)
        return answer({"commitUrl": f"{page}/commit/{done.oid}", "commitOid": done.oid, "pullRequestUrl": link})
