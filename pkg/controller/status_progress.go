package controller

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// stalled is True when a person has to act: the first thing that only a person can mend speaks.
func stalled(v *visit) verdict {
	for _, problem := range v.problems {
		if problem.mendedBy != byTime {
			return yes(problem.reason, "%s", problem.message())
		}
	}
	if len(v.seen.missingSecrets) > 0 {
		return yes(v1alpha1.ReasonSecretMissing, "%s", strings.Join(v.seen.missingSecrets, "; "))
	}
	for _, w := range []*workload{v.seen.redis, v.seen.gateway} {
		if diagnosis := diagnose(w); diagnosis.needsPerson {
			return yes(diagnosis.reason, "%s", diagnosis.message)
		}
	}
	return no(v1alpha1.ReasonNotStalled, "nothing waits for a person")
}

// progressing is True while the cluster is on its way to what the spec says, and False when it is there or stalled.
func progressing(v *visit, stalled verdict) verdict {
	switch {
	case stalled.status == metav1.ConditionTrue:
		return no(stalled.reason, "waits for a person; the condition Stalled says for what")
	case len(v.problems) > 0:
		return yes(v1alpha1.ReasonApplyFailed, "%s; the operator tries again", v.problems[0].message())
	case v.seen.err != nil:
		return unknown("%s", statusMessage(v.seen.err))
	case v.seen.gateway == nil:
		return yes(v1alpha1.ReasonRollingOut, "the objects of the cluster are being made")
	case v.cluster.Spec.Redis.Type == v1alpha1.RedisStandalone && (v.seen.redis == nil || !v.seen.redis.complete()):
		return yes(v1alpha1.ReasonRollingOut, "Redis is being started or replaced")
	case !v.seen.gateway.complete():
		gateway := v.seen.gateway
		return yes(v1alpha1.ReasonRollingOut, "%s, %d run the newest template, %d exist", podCount(gateway, "gateway"), gateway.updated, gateway.replicas)
	}
	return no(v1alpha1.ReasonComplete, "everything is as the spec says")
}
