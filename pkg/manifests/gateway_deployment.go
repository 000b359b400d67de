package manifests

import (
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// annotationRestart on a pod template changes when pods must be replaced to take over a change that is not in the template itself.
const annotationRestart = "wscluster.dev/restart-on"

// configVolume names the operator's own volume; the schema keeps the prefix wscluster- free for it.
const configVolume = "wscluster-config"

// graceBeyondDrain is what a gateway may take after its drain to flush and exit, in seconds, before it is killed.
const graceBeyondDrain = 10

// gatewayDeployment runs the gateways. A rollout starts new pods before it stops old ones, so the number of ready pods never
// falls below what was asked for.
func (b builder) gatewayDeployment() Object {
	return apps.Deployment(GatewayName(b.cluster), b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, ComponentGateway)).WithOwnerReferences(ownerReference(b.cluster)).
		WithSpec(apps.DeploymentSpec().
			WithReplicas(ptr.Deref(b.cluster.Spec.Replicas, 2)).
			WithRevisionHistoryLimit(3).
			WithSelector(meta.LabelSelector().WithMatchLabels(Selector(b.cluster, ComponentGateway))).
			WithStrategy(apps.DeploymentStrategy().WithType(appsv1.RollingUpdateDeploymentStrategyType).
				WithRollingUpdate(apps.RollingUpdateDeployment().
					WithMaxSurge(intstr.FromString("25%")).WithMaxUnavailable(intstr.FromInt32(0)))).
			WithTemplate(b.gatewayPodTemplate()))
}

func (b builder) gatewayPodTemplate() *core.PodTemplateSpecApplyConfiguration {
	extra := ptr.Deref(b.cluster.Spec.Gateway.PodTemplate, v1alpha1.PodTemplate{})
	labels := maps.Clone(extra.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, objectLabels(b.cluster, ComponentGateway))
	annotations := maps.Clone(extra.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationRestart] = b.settings.restartHash

	drain := b.cluster.Spec.Gateway.Drain
	spec := core.PodSpec().
		WithServiceAccountName(GatewayName(b.cluster)).WithAutomountServiceAccountToken(false).
		// Kubernetes would put variables named after Services into the environment; one named wsc-… would pass for a setting
		WithEnableServiceLinks(false).
		WithTerminationGracePeriodSeconds(int64(ptr.Deref(drain.DelaySeconds, 5) + drain.TimeoutSeconds + graceBeyondDrain)).
		WithSecurityContext(podSecurity()).
		WithImagePullSecrets(pullSecrets(b.cluster)...).
		WithTopologySpreadConstraints(b.spreadOverNodes(extra)...).
		WithTolerations(convertAll[core.TolerationApplyConfiguration](extra.Tolerations)...).
		WithContainers(b.gatewayContainer(extra)).
		WithVolumes(b.gatewayVolume()).
		WithVolumes(convertAll[core.VolumeApplyConfiguration](extra.Volumes)...)
	if len(extra.NodeSelector) > 0 {
		spec.WithNodeSelector(extra.NodeSelector)
	}
	if affinity := b.affinity(extra); affinity != nil {
		spec.WithAffinity(affinity)
	}
	if extra.PriorityClassName != "" {
		spec.WithPriorityClassName(extra.PriorityClassName)
	}
	return core.PodTemplateSpec().WithLabels(labels).WithAnnotations(annotations).WithSpec(spec)
}

func (b builder) gatewayContainer(extra v1alpha1.PodTemplate) *core.ContainerApplyConfiguration {
	image := b.cluster.Spec.Image
	if image == "" {
		image = b.release.GatewayImage
	}
	return core.Container().WithName(GatewayContainer).WithImage(image).
		WithArgs("--config", inConfig(settingsFileName)).
		// what the gateway said last is in its status, and so in the condition that names the pod
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError).
		WithEnv(b.gatewayEnv(extra)...).
		WithPorts(containerPort(publicPortName, PublicPort), containerPort(apiPortName, APIPort), containerPort(opsPortName, OpsPort)).
		WithResources(resourceRequirements(b.gatewayResources())).
		WithSecurityContext(containerSecurity()).
		WithStartupProbe(opsProbe("/livez").WithPeriodSeconds(1).WithFailureThreshold(60)).
		WithLivenessProbe(opsProbe("/livez").WithPeriodSeconds(10).WithTimeoutSeconds(5).WithFailureThreshold(3)).
		WithReadinessProbe(opsProbe("/readyz").WithPeriodSeconds(3).WithTimeoutSeconds(2).WithFailureThreshold(2)).
		WithVolumeMounts(core.VolumeMount().WithName(configVolume).WithMountPath(configDirectory).WithReadOnly(true)).
		WithVolumeMounts(convertAll[core.VolumeMountApplyConfiguration](extra.VolumeMounts)...)
}

// gatewayResources are the schema's defaults also where resources are given and empty: a CPU autoscaler needs a request, and the
// collector a limit.
func (b builder) gatewayResources() v1alpha1.Resources {
	wanted := b.cluster.Spec.Gateway.Resources
	if len(wanted.Requests)+len(wanted.Limits) > 0 {
		return wanted
	}
	return v1alpha1.Resources{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("256Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}
}

// gatewayEnv names the pod to the gateway, and passes on the user of an external Redis, which must not stand in a ConfigMap.
// A variable that the spec gives itself is left to the spec.
func (b builder) gatewayEnv(extra v1alpha1.PodTemplate) []*core.EnvVarApplyConfiguration {
	env := []*core.EnvVarApplyConfiguration{
		core.EnvVar().WithName("WSC_NODE").WithValueFrom(core.EnvVarSource().
			WithFieldRef(core.ObjectFieldSelector().WithFieldPath("metadata.name"))),
	}
	if external := b.cluster.Spec.Redis.External; external != nil && external.UsernameSecretRef != nil {
		ref := external.UsernameSecretRef
		env = append(env,
			core.EnvVar().WithName("REDIS_USERNAME").WithValueFrom(core.EnvVarSource().
				WithSecretKeyRef(core.SecretKeySelector().WithName(ref.Name).WithKey(ref.Key))),
			core.EnvVar().WithName("WSC_BACKPLANE").WithValue(backplaneURL(b.cluster, "$(REDIS_USERNAME)")))
	}
	if limit, ok := b.gatewayResources().Limits[corev1.ResourceMemory]; ok && !sets(extra.Env, "GOMEMLIMIT") {
		// the collector works harder near the limit, instead of the kernel killing the process with all its connections
		env = append(env, core.EnvVar().WithName("GOMEMLIMIT").WithValue(strconv.FormatInt(percentOf(limit, 90), 10)))
	}
	return append(env, convertAll[core.EnvVarApplyConfiguration](extra.Env)...)
}

func sets(env []corev1.EnvVar, name string) bool {
	return slices.ContainsFunc(env, func(variable corev1.EnvVar) bool { return variable.Name == name })
}

// gatewayVolume holds everything that the gateway reads, in one volume, so that all its files change in one step.
func (b builder) gatewayVolume() *core.VolumeApplyConfiguration {
	sources := []*core.VolumeProjectionApplyConfiguration{
		projectConfigMap(GatewayName(b.cluster), settingsFileName),
		projectSecret(OpsName(b.cluster), [2]string{OpsTokenKey, opsTokenFile}),
	}
	if b.cluster.Spec.API.Mode == v1alpha1.ModeEnabled {
		sources = append(sources, projectSecret(APIKeySecretName(b.cluster), [2]string{APIKeyKey, apiKeyFile}))
	}
	if jwt := b.cluster.Spec.Auth.JWT; jwt != nil && jwt.SecretRef != nil {
		sources = append(sources, projectSecret(jwt.SecretRef.Name, [2]string{jwt.SecretRef.Key, jwtSecretFile}))
	}
	if tls := b.cluster.Spec.Gateway.TLS; tls != nil {
		sources = append(sources, projectSecret(tls.SecretName,
			[2]string{corev1.TLSCertKey, tlsCertFile}, [2]string{corev1.TLSPrivateKeyKey, tlsKeyFile}))
	}
	return projectedVolume(configVolume, append(sources, b.redisSecretFiles()...)...)
}

// redisSecretFiles are the files with which a gateway logs in to Redis.
func (b builder) redisSecretFiles() []*core.VolumeProjectionApplyConfiguration {
	external := b.cluster.Spec.Redis.External
	if external == nil {
		return []*core.VolumeProjectionApplyConfiguration{
			projectSecret(RedisName(b.cluster), [2]string{redisPasswordKey, redisPasswordFile}),
		}
	}
	var sources []*core.VolumeProjectionApplyConfiguration
	if ref := external.PasswordSecretRef; ref != nil {
		sources = append(sources, projectSecret(ref.Name, [2]string{ref.Key, redisPasswordFile}))
	}
	if tls := external.TLS; tls != nil && tls.CASecretRef != nil {
		sources = append(sources, projectSecret(tls.CASecretRef.Name, [2]string{tls.CASecretRef.Key, redisCAFile}))
	}
	if tls := external.TLS; tls != nil && tls.CertSecretRef != nil {
		sources = append(sources, projectSecret(tls.CertSecretRef.Name,
			[2]string{corev1.TLSCertKey, redisCertFile}, [2]string{corev1.TLSPrivateKeyKey, redisKeyFile}))
	}
	return sources
}

func containerPort(name string, port int32) *core.ContainerPortApplyConfiguration {
	return core.ContainerPort().WithName(name).WithContainerPort(port).WithProtocol(corev1.ProtocolTCP)
}

func opsProbe(path string) *core.ProbeApplyConfiguration {
	return core.Probe().WithHTTPGet(core.HTTPGetAction().WithPath(path).WithPort(intstr.FromString(opsPortName)))
}
