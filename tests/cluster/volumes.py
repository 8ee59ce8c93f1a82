"""A persistent volume on the node, for claims of one namespace: there is no provisioner, so it is made by hand."""

from tests.cluster.stage import Stage


def provide_volume(stage: Stage) -> None:
    """Make a volume whose storage class is the namespace's name."""
    folder = stage.node.folder / "volumes" / stage.namespace
    folder.mkdir(parents=True)
    # The kubelet does not hand a folder of the node to the pod's group, as it does with a cloud's disk.
    folder.chmod(0o777)
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Delete",
        "storageClassName": stage.namespace,
        "hostPath": {"path": str(folder), "type": "Directory"},
    }
    stage.core.create_persistent_volume({"metadata": {"name": stage.namespace}, "spec": spec})
