package v1alpha1

// The types of the conditions in status.conditions. All but Autoscaling and InsecureAuth are present from the first visit on.
const (
	// ConditionReady is True while RedisReady and GatewayReady are: messages can pass, and no gateway is missing. When some are, it is
	// False, though clients can connect to the others: GatewayReady says so with the reason Degraded.
	ConditionReady = "Ready"
	// ConditionProgressing is True while pods are still coming, going or being replaced.
	ConditionProgressing = "Progressing"
	// ConditionStalled is True when the operator cannot go on until a person acts; its message says what to do.
	ConditionStalled = "Stalled"
	// ConditionRedisReady is True while the cluster's Redis takes connections; with redis.type External it is Unknown to the
	// operator itself and follows from the gateways, which are ready only after they have reached Redis once.
	ConditionRedisReady = "RedisReady"
	// ConditionGatewayReady is True while as many gateway pods are ready as spec.replicas asks for.
	ConditionGatewayReady = "GatewayReady"
	// ConditionAutoscaling is present with spec.autoscaling, and True while the HorizontalPodAutoscaler can scale.
	ConditionAutoscaling = "Autoscaling"
	// ConditionDeliveryVerified is True while messages that every gateway sends to itself come back through every shard of Redis,
	// and Redis takes what is to be kept.
	ConditionDeliveryVerified = "DeliveryVerified"
	// ConditionInsecureAuth is present and True while anyone who reaches an exposed Service or Ingress can claim to be anybody.
	ConditionInsecureAuth = "InsecureAuth"
)

// The reasons of the conditions.
const (
	// ReasonAvailable: everything that was asked for is there. (Ready, RedisReady, GatewayReady)
	ReasonAvailable = "Available"
	// ReasonDegraded: clients can connect, but fewer pods are ready than wanted. (GatewayReady)
	ReasonDegraded = "Degraded"
	// ReasonSuspended: spec.replicas is 0. (Ready, GatewayReady, DeliveryVerified)
	ReasonSuspended = "Suspended"
	// ReasonPending: not known yet, since the operator has not seen the object. (any, with status Unknown)
	ReasonPending = "Pending"
	// ReasonStarting: pods exist, none is ready yet, and nothing says that they will not be. (RedisReady, GatewayReady)
	ReasonStarting = "Starting"
	// ReasonRedisNotReady: see RedisReady. (Ready)
	ReasonRedisNotReady = "RedisNotReady"
	// ReasonGatewayNotReady: see GatewayReady. (Ready)
	ReasonGatewayNotReady = "GatewayNotReady"
	// ReasonReachedByGateways: an external Redis was reached by every ready gateway. (RedisReady)
	ReasonReachedByGateways = "ReachedByGateways"
	// ReasonNotReached: no gateway has reached the external Redis yet. (RedisReady)
	ReasonNotReached = "NotReached"

	// ReasonImageNotPulled: a node cannot pull an image. (RedisReady, GatewayReady, Stalled)
	ReasonImageNotPulled = "ImageNotPulled"
	// ReasonCrashLoop: a container ends again and again. (RedisReady, GatewayReady, Stalled)
	ReasonCrashLoop = "CrashLoop"
	// ReasonPodRefused: the API server refuses the pod: a quota, Pod Security, a webhook. (RedisReady, GatewayReady, Stalled)
	ReasonPodRefused = "PodRefused"
	// ReasonUnschedulable: no node takes the pod. (RedisReady, GatewayReady, Stalled)
	ReasonUnschedulable = "Unschedulable"
	// ReasonContainerConfig: a Secret or ConfigMap that a pod needs is not there. (RedisReady, GatewayReady, Stalled)
	ReasonContainerConfig = "ContainerConfig"
	// ReasonSecretMissing: a Secret that the spec names, or an entry of it, is not there. (RedisReady, GatewayReady, Stalled)
	ReasonSecretMissing = "SecretMissing"
	// ReasonNotOwned: an object with a name that the operator needs belongs to somebody else. (Stalled)
	ReasonNotOwned = "NotOwned"
	// ReasonApplyRefused: the API server refuses an object that the operator made from the spec. (Stalled)
	ReasonApplyRefused = "ApplyRefused"
	// ReasonApplyFailed: an object could not be written; the operator tries again. (Progressing)
	ReasonApplyFailed = "ApplyFailed"

	// ReasonRollingOut: pods are being started or replaced. (Progressing)
	ReasonRollingOut = "RollingOut"
	// ReasonComplete: nothing is left to do. (Progressing)
	ReasonComplete = "Complete"
	// ReasonNotStalled: nothing waits for a person. (Stalled)
	ReasonNotStalled = "NotStalled"

	// ReasonScaling: the HorizontalPodAutoscaler can compute and set replicas. (Autoscaling)
	ReasonScaling = "Scaling"
	// ReasonMetricsMissing: the metrics that the target needs are not served. (Autoscaling)
	ReasonMetricsMissing = "MetricsMissing"
	// ReasonCannotScale: the HorizontalPodAutoscaler cannot read or write the scale. (Autoscaling)
	ReasonCannotScale = "CannotScale"

	// ReasonVerified: the messages of all gateways to themselves come back. (DeliveryVerified)
	ReasonVerified = "Verified"
	// ReasonGatewayNotDelivering: those of some gateways do not come back, and those of others do. (DeliveryVerified)
	ReasonGatewayNotDelivering = "GatewayNotDelivering"
	// ReasonNothingDelivered: those of no gateway come back; it is Redis, or what all share on the way there. (DeliveryVerified)
	ReasonNothingDelivered = "NothingDelivered"
	// ReasonWritesRefused: Redis passes messages on and refuses to keep any: its memory is full, or it cannot save. (DeliveryVerified)
	ReasonWritesRefused = "WritesRefused"
	// ReasonNotObserved: gateways that run cannot be asked. (DeliveryVerified, with status Unknown)
	ReasonNotObserved = "NotObserved"

	// ReasonExposedWithoutTokens: auth.type is not JWT and the Service or an Ingress is open to the outside. (InsecureAuth)
	ReasonExposedWithoutTokens = "ExposedWithoutTokens"
)
