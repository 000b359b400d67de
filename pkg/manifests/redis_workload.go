package manifests

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// redisOverhead is the memory that Redis needs beside its data, beyond the half of maxMemory that is left for fragmentation
// and for connections' buffers.
const redisOverhead = 32 << 20

// dataVolume names Redis's volume, and with storage its claim: data-<cr>-redis-0.
const dataVolume = "data"

// redisWorkload runs Redis: a Deployment that keeps nothing, or a StatefulSet with a volume.
func (b builder) redisWorkload() Object {
	if storage := standalone(b.cluster).Storage; storage != nil {
		return b.redisStatefulSet(storage)
	}
	return b.redisDeployment()
}

// redisDeployment never runs two Redis at once: gateways on the old and on the new one would not hear each other.
func (b builder) redisDeployment() Object {
	template := b.redisPodTemplate()
	template.Spec.WithVolumes(core.Volume().WithName(dataVolume).WithEmptyDir(core.EmptyDirVolumeSource()))
	return apps.Deployment(RedisName(b.cluster), b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, ComponentRedis)).WithOwnerReferences(ownerReference(b.cluster)).
		WithSpec(apps.DeploymentSpec().
			WithReplicas(1).
			WithRevisionHistoryLimit(3).
			WithSelector(meta.LabelSelector().WithMatchLabels(Selector(b.cluster, ComponentRedis))).
			WithStrategy(apps.DeploymentStrategy().WithType(appsv1.RecreateDeploymentStrategyType)).
			WithTemplate(template))
}

func (b builder) redisStatefulSet(storage *v1alpha1.Storage) Object {
	retention := appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	if storage.OnDelete == v1alpha1.OnDeleteDelete {
		retention = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	}
	claim := core.PersistentVolumeClaimSpec().
		WithAccessModes(corev1.ReadWriteOnce).
		WithResources(core.VolumeResourceRequirements().WithRequests(corev1.ResourceList{corev1.ResourceStorage: storage.Size}))
	claim.StorageClassName = storage.StorageClassName
	return apps.StatefulSet(RedisName(b.cluster), b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, ComponentRedis)).WithOwnerReferences(ownerReference(b.cluster)).
		WithSpec(apps.StatefulSetSpec().
			WithReplicas(1).
			WithRevisionHistoryLimit(3).
			WithServiceName(RedisName(b.cluster)).
			WithSelector(meta.LabelSelector().WithMatchLabels(Selector(b.cluster, ComponentRedis))).
			WithPersistentVolumeClaimRetentionPolicy(apps.StatefulSetPersistentVolumeClaimRetentionPolicy().
				WithWhenDeleted(retention).WithWhenScaled(appsv1.RetainPersistentVolumeClaimRetentionPolicyType)).
			WithVolumeClaimTemplates(core.PersistentVolumeClaim(dataVolume, "").
				WithLabels(Selector(b.cluster, ComponentRedis)).WithSpec(claim)).
			WithTemplate(b.redisPodTemplate()))
}

// redisPodTemplate restarts Redis when its configuration or its users change: it reads both only when it starts.
func (b builder) redisPodTemplate() *core.PodTemplateSpecApplyConfiguration {
	restartOn := shortHash([]byte(redisConfig(b.cluster) + redisACL(b.cluster, b.credentials.RedisPassword)))
	return core.PodTemplateSpec().
		WithLabels(objectLabels(b.cluster, ComponentRedis)).
		WithAnnotations(map[string]string{annotationRestart: restartOn}).
		WithSpec(core.PodSpec().
			WithAutomountServiceAccountToken(false).WithEnableServiceLinks(false).
			WithTerminationGracePeriodSeconds(30).
			WithSecurityContext(podSecurity()).
			WithImagePullSecrets(pullSecrets(b.cluster)...).
			WithContainers(b.redisContainer()).
			WithVolumes(projectedVolume(configVolume,
				projectConfigMap(RedisName(b.cluster), redisConfigFile),
				projectSecret(RedisName(b.cluster), [2]string{redisACLKey, redisACLKey}))))
}

func (b builder) redisContainer() *core.ContainerApplyConfiguration {
	wanted := standalone(b.cluster)
	image := wanted.Image
	if image == "" {
		image = b.release.RedisImage
	}
	return core.Container().WithName(RedisContainer).WithImage(image).
		WithCommand("redis-server", redisConfigDirectory+"/"+redisConfigFile).
		WithWorkingDir(redisDataDirectory).
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError).
		WithPorts(containerPort(redisPortName, RedisPort)).
		WithResources(resourceRequirements(redisResources(wanted))).
		WithSecurityContext(containerSecurity()).
		// loading a large append-only file may take minutes; it answers, but with an error, until then
		WithStartupProbe(redisProbe().WithPeriodSeconds(1).WithTimeoutSeconds(5).WithFailureThreshold(600)).
		WithLivenessProbe(redisProbe().WithPeriodSeconds(10).WithTimeoutSeconds(5).WithFailureThreshold(6)).
		WithReadinessProbe(redisProbe().WithPeriodSeconds(5).WithTimeoutSeconds(3).WithFailureThreshold(3)).
		WithVolumeMounts(
			core.VolumeMount().WithName(configVolume).WithMountPath(redisConfigDirectory).WithReadOnly(true),
			core.VolumeMount().WithName(dataVolume).WithMountPath(redisDataDirectory))
}

// redisProbe asks as the user probe, who may do nothing but ping; -e makes an error reply a failure.
func redisProbe() *core.ProbeApplyConfiguration {
	return core.Probe().WithExec(core.ExecAction().WithCommand(
		"redis-cli", "-e", "-p", fmt.Sprint(RedisPort), "--user", "probe", "--pass", "probe", "--no-auth-warning", "ping"))
}

// redisResources keeps the memory limit above maxmemory, so that Redis refuses a write before the kernel kills it.
func redisResources(wanted v1alpha1.StandaloneRedis) v1alpha1.Resources {
	if given := wanted.Resources; given != nil && len(given.Requests)+len(given.Limits) > 0 {
		return *wanted.Resources
	}
	memory := *resource.NewQuantity(wanted.MaxMemory.Value()/2*3+redisOverhead, resource.BinarySI)
	return v1alpha1.Resources{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: memory},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: memory},
	}
}
