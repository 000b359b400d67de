package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// name is what a StorageClass calls this provisioner.
	name = "wscluster.dev/folder"
	// Kubernetes's volume controller marks a claim with the provisioner it waits for, and leaves a volume with the other
	// mark to its provisioner.
	claimAnnotation  = "volume.kubernetes.io/storage-provisioner"
	volumeAnnotation = "pv.kubernetes.io/provisioned-by"
)

type provisioner struct {
	client kubernetes.Interface
	folder string
	log    *slog.Logger
}

// claim makes the folder and the volume of a claim that waits for us. The volume's name follows from the claim's UID, so
// doing it twice is harmless.
func (p *provisioner) claim(ctx context.Context, claim *corev1.PersistentVolumeClaim) {
	if claim.Annotations[claimAnnotation] != name || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
		return
	}
	volume := volumeFor(claim, p.folder)
	if err := os.MkdirAll(volume.Spec.Local.Path, 0o755); err != nil {
		p.log.Error("folder not made", "claim", claim.Namespace+"/"+claim.Name, "error", err)
		return
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
	case err != nil:
		p.log.Error("volume not made", "claim", claim.Namespace+"/"+claim.Name, "error", err)
	default:
		p.log.Info("volume made", "claim", claim.Namespace+"/"+claim.Name, "volume", volume.Name)
	}
}

// volume removes a volume of ours whose claim is gone, folder first: the object is the only record of the folder.
func (p *provisioner) volume(ctx context.Context, volume *corev1.PersistentVolume) {
	if volume.Annotations[volumeAnnotation] != name || volume.Status.Phase != corev1.VolumeReleased ||
		volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return
	}
	if err := os.RemoveAll(p.path(volume.Name)); err != nil {
		p.log.Error("folder not removed", "volume", volume.Name, "error", err)
		return
	}
	if volume.DeletionTimestamp != nil { // waits for Kubernetes to take its finalizer off
		return
	}
	if err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		p.log.Error("volume not removed", "volume", volume.Name, "error", err)
		return
	}
	p.log.Info("volume removed", "volume", volume.Name)
}

func (p *provisioner) path(volume string) string {
	return filepath.Join(p.folder, filepath.Base(volume))
}

// volumeFor returns the volume of a claim, bound to it.
func volumeFor(claim *corev1.PersistentVolumeClaim, folder string) *corev1.PersistentVolume {
	volumeName := "pvc-" + string(claim.UID)
	class := ""
	if claim.Spec.StorageClassName != nil {
		class = *claim.Spec.StorageClassName
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volumeName, Annotations: map[string]string{volumeAnnotation: name}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              class,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: filepath.Join(folder, volumeName)},
			},
			// A local volume must say where it is: wherever there is a host name, since all nodes share the folder.
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpExists}},
			}}}},
		},
	}
}
