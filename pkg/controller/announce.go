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
	{v1alpha1.ConditionInsecureAuth, metav1.ConditionFalse},
}

// maxNote bounds the note of an event, in bytes (events.k8s.io/v1).
const maxNote = 1024

// announce tells as events how the conditions changed. What was never bad is no news when it is good.
func (r *Reconciler) announce(before, after *v1alpha1.WebSocketCluster) {
	for _, kind := range announced {
		old := meta.FindStatusCondition(before.Status.Conditions, kind.condition)
		now := meta.FindStatusCondition(after.Status.Conditions, kind.condition)
		if now == nil || now.Status == metav1.ConditionUnknown || old != nil && old.Status == now.Status && old.Reason == now.Reason {
			continue
		}
		good := now.Status == kind.good
		if good && kind.condition != v1alpha1.ConditionReady && (old == nil || old.Status == metav1.ConditionUnknown) {
			continue
		}
		starting := kind.condition == v1alpha1.ConditionReady && (old == nil || old.Status == metav1.ConditionUnknown)
		eventType := corev1.EventTypeWarning
		if good || starting || now.Reason == v1alpha1.ReasonSuspended {
			eventType = corev1.EventTypeNormal
		}
		note := now.Message
		if len(note) > maxNote {
			note = note[:maxNote]
		}
		r.Events.Eventf(after, nil, eventType, now.Reason, "Reconcile", "%s", note)
	}
}
