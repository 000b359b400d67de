package controller

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// announced are the conditions whose changes people want to see among the events, with the status that is good news.
var announced = []struct {
	condition string
	good      metav1.ConditionStatus
}{
	{v1alpha1.ConditionReady, metav1.ConditionTrue},
	{v1alpha1.ConditionStalled, metav1.ConditionFalse},
	{v1alpha1.ConditionDeliveryVerified, metav1.ConditionTrue},
	{v1alpha1.ConditionInsecureAuth, metav1.ConditionFalse},
}

// maxNote bounds the note of an event, in bytes (events.k8s.io/v1).
const maxNote = 1024

// announce tells as events how the conditions changed. What was never bad is no news when it is good, and a cluster that is not ready
// while it starts is no warning.
func (r *Reconciler) announce(before, after *v1alpha1.WebSocketCluster) {
	for _, kind := range announced {
		old := meta.FindStatusCondition(before.Status.Conditions, kind.condition)
		now := meta.FindStatusCondition(after.Status.Conditions, kind.condition)
		if !isNews(old, now, kind.good) {
			continue
		}
		eventType := corev1.EventTypeWarning
		if now.Status == kind.good || now.Reason == v1alpha1.ReasonSuspended {
			eventType = corev1.EventTypeNormal
		}
		r.Events.Eventf(after, nil, eventType, now.Reason, "Reconcile", "%s", shorten(now.Message, maxNote))
	}
}

// isNews tells whether people want to know of a condition's change: it turned good after it was bad, it turned bad after it was
// good, or it is bad for another reason than before. A Ready that was never True is a start, not a fault: Stalled tells of those.
func isNews(old, now *metav1.Condition, good metav1.ConditionStatus) bool {
	switch {
	case now == nil || now.Status == metav1.ConditionUnknown:
		return false
	case now.Status == good:
		return old != nil && old.Status != good && old.Status != metav1.ConditionUnknown
	case now.Type == v1alpha1.ConditionReady:
		return old != nil && old.Status == good
	}
	return old == nil || old.Status != now.Status || old.Reason != now.Reason
}
