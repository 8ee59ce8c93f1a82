"""Which identity signs, in the SDK's own order."""

import pytest

from sidecar.marketplace import IdentityKind, find_identity

TOKEN = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
IRSA = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/meter", "AWS_WEB_IDENTITY_TOKEN_FILE": TOKEN}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hush"}
ECS = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1"}
FULL = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
POD = {FULL: "http://169.254.170.23/v1/credentials"}
CREDENTIALS_FILE = {
    "/home/app/.aws/credentials": "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = x"
}
ROLE_PROFILE = {"/home/app/.aws/config": "[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = y"}

K = IdentityKind


@pytest.mark.parametrize(
    ("environ", "files", "node_role", "expected"),
    [
        ({}, {}, False, (K.NONE, False, None)),
        ({}, {}, True, (K.NODE_ROLE, False, None)),
        (IRSA, {}, False, (K.IRSA, True, None)),
        (IRSA, {}, True, (K.IRSA, True, None)),
        (KEYS, {}, False, (K.STATIC_KEYS, False, None)),
        (KEYS | IRSA, {}, False, (K.STATIC_KEYS, False, K.IRSA)),
        (KEYS | ECS, {}, False, (K.STATIC_KEYS, False, K.ECS_TASK_ROLE)),
        ({"AWS_ACCESS_KEY_ID": ""} | IRSA, {}, False, (K.IRSA, True, None)),
        (ECS, {}, True, (K.ECS_TASK_ROLE, True, None)),
        ({FULL: "http://169.254.170.2/v2/x"}, {}, False, (K.ECS_TASK_ROLE, True, None)),
        (POD, {}, True, (K.EKS_POD_IDENTITY, False, None)),
        ({FULL: "http://[fd00:ec2::23]/v1/credentials"}, {}, False, (K.EKS_POD_IDENTITY, False, None)),
        (
            {
                FULL: "http://localhost/x",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/t",
            },
            {},
            False,
            (K.EKS_POD_IDENTITY, False, None),
        ),
        ({FULL: "http://localhost/x"}, {}, False, (K.OTHER, False, None)),
        ({FULL: "http://[broken"}, {}, False, (K.OTHER, False, None)),
        (POD | IRSA, {}, False, (K.IRSA, True, None)),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": TOKEN}, {}, False, (K.IRSA, False, None)),
        (IRSA | {"AWS_WEB_IDENTITY_TOKEN_FILE": "/missing"}, {}, False, (K.IRSA, False, None)),
        ({"AWS_ROLE_ARN": "arn:aws:iam::1:role/x"}, {}, False, (K.NONE, False, None)),
        ({}, CREDENTIALS_FILE, False, (K.STATIC_KEYS, False, None)),
        (IRSA, CREDENTIALS_FILE, False, (K.IRSA, True, None)),
        (ECS, CREDENTIALS_FILE, False, (K.STATIC_KEYS, False, K.ECS_TASK_ROLE)),
        (IRSA, ROLE_PROFILE, False, (K.OTHER, False, K.IRSA)),
        (
            {"AWS_PROFILE": "dev"},
            {"/home/app/.aws/config": "[profile dev]\nsso_session = x"},
            False,
            (K.OTHER, False, None),
        ),
        ({"AWS_PROFILE": "dev"}, CREDENTIALS_FILE, False, (K.NONE, False, None)),
        (
            {"AWS_PROFILE": "dev", "AWS_CONFIG_FILE": "/c"},
            {"/c": "[profile dev]\naws_access_key_id = AKIAEXAMPLE"},
            False,
            (K.STATIC_KEYS, False, None),
        ),
        ({"AWS_CONFIG_FILE": "/c"}, {"/c": "[default]\ncredential_process = /bin/x"}, False, (K.OTHER, False, None)),
        ({"AWS_CONFIG_FILE": "/c"}, {"/c": "[default]\nlogin_session = x"}, False, (K.OTHER, False, None)),
        (
            {"AWS_CONFIG_FILE": "/c"},
            {"/c": f"[default]\nrole_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = {TOKEN}"},
            False,
            (K.IRSA, True, None),
        ),
        (IRSA | {"AWS_CONFIG_FILE": "/c"}, {"/c": "not an ini file"}, False, (K.IRSA, True, None)),
    ],
)
def test_identity_follows_the_sdk(
    environ: dict[str, str],
    files: dict[str, str],
    node_role: bool,  # noqa: FBT001 - a column of the table
    expected: tuple[IdentityKind, bool, IdentityKind | None],
) -> None:
    """The first source in the SDK's order wins; only IRSA and the ECS task role are accepted, others are reported."""
    readable = files | {TOKEN: "eyJ..."}
    found = find_identity({"HOME": "/home/app"} | environ, read=readable.get, node_role=node_role)
    assert expected == (found.kind, found.accepted, found.shadows)
    assert found.accepted is (found.cure == "")
    assert found.accepted or "Restart the pod after that" in found.cure
    assert "hush" not in repr(found)
    assert "AKIAEXAMPLE" not in repr(found)
