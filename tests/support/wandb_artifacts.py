"""Artifacts of the stand-in for a Weights & Biases server: what a client stores can be downloaded again."""

PROJECT = {"id": "p", "internalId": "p", "name": "x", "entity": {"id": "e", "name": "me"}}
TIME = "2026-11-01T00:00:00"


class Artifacts:
    """Keeps one version of one artifact; `uploads` are the bodies of what was put, by their path."""

    def __init__(self, url, uploads):
        self._url, self._uploads = url, uploads
        self.created = None
        """What the client said of the artifact."""
        self.committed = False
        self._stored = {}

    def answer(self, query, variables):
        """Return the answer to a question about artifacts, or None if it is about something else."""
        asked = query.split("(")[0].split("{")[0].split()[1]
        method = getattr(self, f"_{asked}", None)
        return None if method is None else {"data": method(variables)}

    def _CreateArtifact(self, variables):  # noqa: N802 (wandb's names)
        self.created = variables["input"]
        artifact = {"id": "artifact", "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def _CreateArtifactManifest(self, variables):  # noqa: N802
        file = {"id": "manifest", "uploadUrl": f"{self._url}/artifact/manifest", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "manifest", "file": file}}}

    _UpdateArtifactManifest = _CreateArtifactManifest

    def _CreateArtifactFiles(self, variables):  # noqa: N802
        edges = []
        for file in variables["input"]["artifactFiles"]:
            path = f"/artifact/files/{file['name']}"
            self._stored[file["name"]] = path
            node = {
                "storagePath": file["name"],
                "uploadUrl": self._url + path,
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": "artifact"},
            }
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, variables):  # noqa: N802
        self.committed = True
        return {"commitArtifact": {"artifact": {"id": "artifact", "digest": self.created["digest"]}}}

    def _ArtifactType(self, variables):  # noqa: N802
        return {"project": {"artifact": None}}  # there is none of that name, so that any type will do

    def _ArtifactMembershipByName(self, variables):  # noqa: N802
        sequence = {"__typename": "ArtifactSequence", "name": "policy", "project": PROJECT}
        if self.created is None or variables["name"] not in ("policy:latest", "policy:v0"):
            return {"project": {"artifactCollectionMembership": None}}
        alias = {"id": "l", "alias": "latest", "artifactCollection": sequence}
        artifact = {
            "__typename": "Artifact", "id": "artifact", "artifactSequence": sequence, "versionIndex": 0,
            "artifactType": {"name": "policy"}, "description": None, "metadata": "{}", "ttlDurationSeconds": -2,
            "ttlIsInherited": True, "tags": [], "historyStep": None, "state": "COMMITTED", "size": 1,
            "digest": self.created["digest"], "digestAlgorithm": "MANIFEST_MD5", "commitHash": "c", "fileCount": 1,
            "createdAt": TIME, "updatedAt": TIME, "aliases": [alias],
        }  # fmt: skip
        membership = {
            "__typename": "ArtifactCollectionMembership", "id": "m", "versionIndex": 0, "createdAt": TIME,
            "aliases": [alias], "artifactCollection": sequence, "artifact": artifact,
        }  # fmt: skip
        return {"project": {"artifactCollectionMembership": membership}}

    def _FetchArtifactManifest(self, variables):  # noqa: N802
        return {"artifact": {"currentManifest": {"file": {"directUrl": f"{self._url}/artifact/manifest"}}}}

    def _GetArtifactMembershipFileUrls(self, variables):  # noqa: N802
        edges = [
            {"node": {"__typename": "File", "name": name, "directUrl": self._url + path}}
            for name, path in self._stored.items()
        ]
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        collection = {
            "__typename": "ArtifactSequence",
            "artifactMembership": {"files": {"pageInfo": page, "edges": edges}},
        }
        return {"project": {"artifactCollection": collection}}
