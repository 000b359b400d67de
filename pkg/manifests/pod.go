package manifests

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// podUser runs every process; the images have no user of their own that would matter.
const podUser = 65532

// podSecurity and containerSecurity meet the restricted Pod Security Standard. The group lets the process read its secret files.
func podSecurity() *core.PodSecurityContextApplyConfiguration {
	return core.PodSecurityContext().
		WithRunAsNonRoot(true).WithRunAsUser(podUser).WithRunAsGroup(podUser).
		WithFSGroup(podUser).WithFSGroupChangePolicy(corev1.FSGroupChangeOnRootMismatch).
		WithSeccompProfile(core.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))
}

func containerSecurity() *core.SecurityContextApplyConfiguration {
	return core.SecurityContext().
		WithAllowPrivilegeEscalation(false).WithReadOnlyRootFilesystem(true).
		WithCapabilities(core.Capabilities().WithDrop("ALL"))
}

func resourceRequirements(wanted v1alpha1.Resources) *core.ResourceRequirementsApplyConfiguration {
	requirements := core.ResourceRequirements()
	if len(wanted.Requests) > 0 {
		requirements.WithRequests(wanted.Requests)
	}
	if len(wanted.Limits) > 0 {
		requirements.WithLimits(wanted.Limits)
	}
	return requirements
}

func pullSecrets(cluster *v1alpha1.WebSocketCluster) []*core.LocalObjectReferenceApplyConfiguration {
	var refs []*core.LocalObjectReferenceApplyConfiguration
	for _, secret := range cluster.Spec.ImagePullSecrets {
		refs = append(refs, core.LocalObjectReference().WithName(secret.Name))
	}
	return refs
}

// projectSecret puts entries of a Secret into files: key → path.
func projectSecret(name string, entries ...[2]string) *core.VolumeProjectionApplyConfiguration {
	projection := core.SecretProjection().WithName(name)
	for _, entry := range entries {
		projection.WithItems(core.KeyToPath().WithKey(entry[0]).WithPath(entry[1]))
	}
	return core.VolumeProjection().WithSecret(projection)
}

func projectConfigMap(name, key string) *core.VolumeProjectionApplyConfiguration {
	return core.VolumeProjection().WithConfigMap(core.ConfigMapProjection().WithName(name).
		WithItems(core.KeyToPath().WithKey(key).WithPath(key)))
}

func projectedVolume(name string, sources ...*core.VolumeProjectionApplyConfiguration) *core.VolumeApplyConfiguration {
	return core.Volume().WithName(name).WithProjected(core.ProjectedVolumeSource().
		WithDefaultMode(0o440).WithSources(sources...))
}

// percentOf returns n percent of a quantity, in whole units.
func percentOf(quantity resource.Quantity, n int64) int64 {
	return quantity.Value() / 100 * n
}
